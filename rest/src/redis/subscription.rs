//! Messages of other replicas. Redis keeps none for those who are away, so a listener has to be told when it was.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::redis::Client;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::LinkOptions;

/// Messages a listener may be behind before it loses some.
const BACKLOG: usize = 1024;
/// Until a lost connection is tried again, the first time; twice as long each time that fails.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// And at most: as long as this a Redis may be back before its messages are.
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// What a listener is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Messages before this may have been missed, and those from here on will not be: read the state again. The first
    /// event of every subscription, and one after each lost connection or overflow.
    Gap,
    /// Somebody published.
    Message {
        /// Where.
        channel: String,
        /// What.
        payload: Bytes,
    },
}

/// A stream of [`Event`]s that never ends: it connects, and connects again, by itself. Dropping it stops listening.
#[derive(Debug)]
pub struct Subscription {
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Subscription {
    pub(super) fn start(client: Client, options: LinkOptions, name: String, pattern: bool) -> Self {
        let (sender, events) = mpsc::channel(BACKLOG);
        let listener = Listener { client, options, name, pattern, outlet: Outlet { sender, gap: true } };
        Self { events, task: tokio::spawn(listener.run()) }
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Listener {
    client: Client,
    options: LinkOptions,
    name: String,
    pattern: bool,
    outlet: Outlet,
}

impl Listener {
    async fn run(mut self) {
        let mut wait = FIRST_RETRY;
        loop {
            let since = Instant::now();
            if let Err(error) = self.listen().await {
                tracing::debug!(name = self.name, %error, "a redis subscription has lost its connection");
            }
            // One that lived starts over; one that did not come up is tried less and less.
            wait = if since.elapsed() > LONGEST_RETRY { FIRST_RETRY } else { wait };
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_RETRY);
        }
    }

    /// Until the connection is lost.
    async fn listen(&mut self) -> Result<(), Lost> {
        let connect = self.options.connect;
        let connected = async {
            let mut connection = self.client.get_async_pubsub().await?;
            match self.pattern {
                true => connection.psubscribe(&self.name).await?,
                false => connection.subscribe(&self.name).await?,
            }
            Ok::<_, ::redis::RedisError>(connection)
        };
        let (mut sink, mut messages) = timeout(connect, connected).await??.split();
        self.outlet.gap();
        loop {
            // A connection can die without a sound: silence is asked about.
            match timeout(self.options.heartbeat, messages.next()).await {
                Ok(Some(message)) => self.outlet.send(Event::Message {
                    channel: message.get_channel_name().to_owned(),
                    payload: Bytes::copy_from_slice(message.get_payload_bytes()),
                }),
                Ok(None) => return Err(Lost::Closed),
                Err(_) => {
                    timeout(connect, sink.ping::<()>()).await??;
                    self.outlet.flush();
                }
            }
        }
    }
}

/// Never waits for the listener: what does not fit is lost, and a gap says so.
struct Outlet {
    sender: mpsc::Sender<Event>,
    /// A gap that the listener has not been told of.
    gap: bool,
}

impl Outlet {
    fn gap(&mut self) {
        self.gap = true;
        self.flush();
    }

    fn flush(&mut self) {
        if self.gap {
            self.gap = self.sender.try_send(Event::Gap).is_err();
        }
    }

    fn send(&mut self, event: Event) {
        self.flush();
        // While a gap is untold there was no room for it, and there is none for what comes after it.
        self.gap = self.gap || self.sender.try_send(event).is_err();
    }
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Redis(#[from] ::redis::RedisError),
    #[error("no answer in time")]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("the server has closed it")]
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u8) -> Event {
        Event::Message { channel: "c".to_owned(), payload: Bytes::copy_from_slice(&[number]) }
    }

    #[test]
    fn a_slow_listener_loses_the_newest_and_hears_of_it() {
        let (sender, mut events) = mpsc::channel(3);
        let mut outlet = Outlet { sender, gap: false };
        outlet.gap();
        for number in 1..=4 {
            outlet.send(message(number));
        }
        for expected in [Event::Gap, message(1), message(2)] {
            assert_eq!(events.try_recv(), Ok(expected));
        }
        // Nothing was sent since the overflow, so nothing has told of it yet; the next heartbeat does.
        assert!(events.try_recv().is_err());
        outlet.flush();
        outlet.send(message(5));
        for expected in [Event::Gap, message(5)] {
            assert_eq!(events.try_recv(), Ok(expected));
        }
        assert!(events.try_recv().is_err());
    }
}
