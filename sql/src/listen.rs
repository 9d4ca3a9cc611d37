//! To be told of what others have kept. What is heard is a hint: whoever waits looks at the rows as well, now and then.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;

use crate::{Error, postgres};

/// Pauses between attempts to reach the server again.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// What a listener is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The payload of one [`crate::Tx::notify`].
    Payload(String),
    /// The connection was lost and is there again: anything may have been missed in between.
    Gap,
}

/// Listens to one channel on a connection of its own, which it makes again whenever it is lost.
pub struct Listener {
    channel: &'static str,
    pool: PgPool,
    /// `None`: the connection is to be made.
    listening: Option<PgListener>,
}

impl Listener {
    pub(crate) async fn new(pool: PgPool, channel: &'static str) -> Result<Self, Error> {
        let mut listener = Self { channel, pool, listening: None };
        listener.listening = Some(listener.connect().await.map_err(|error| postgres::classify(&error))?);
        Ok(listener)
    }

    /// Waits for the next thing to hear. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Heard {
        let mut pauses = PAUSES.iter();
        loop {
            if let Some(listening) = &mut self.listening {
                match listening.try_recv().await {
                    Ok(Some(heard)) => return Heard::Payload(heard.payload().to_owned()),
                    Ok(None) => tracing::debug!(channel = self.channel, "the connection that listens was lost"),
                    Err(error) => tracing::debug!(channel = self.channel, %error, "listening failed"),
                }
                self.listening = None;
            }
            match self.connect().await {
                Ok(listening) => {
                    self.listening = Some(listening);
                    return Heard::Gap;
                }
                Err(error) => tracing::debug!(channel = self.channel, %error, "cannot listen yet"),
            }
            tokio::time::sleep(pauses.next().copied().unwrap_or(PAUSES[PAUSES.len() - 1])).await;
        }
    }

    async fn connect(&self) -> Result<PgListener, sqlx::Error> {
        let mut listening = PgListener::connect_with(&self.pool).await?;
        // Connections are made above, where a gap is told of.
        listening.eager_reconnect(false);
        listening.listen(self.channel).await?;
        Ok(listening)
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("channel", &self.channel).finish_non_exhaustive()
    }
}
