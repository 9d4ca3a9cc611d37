//! The circuit breaker, and the one connection behind it.
//!
//! ```text
//!            enough failures in a row, or a refused connection
//!   closed ────────────────────────────────────────────────────▶ open
//!      ▲          calls go through          calls fail at once     │
//!      └───────────────────────────────────────────────────────────┘
//!              a probe, made beside the calls, was answered
//! ```
//!
//! Probes are not calls that are let through: no request ever pays for one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, cmd};
use tokio::time::Instant;

use super::{LinkOptions, UP};

/// Says whether calls may go through, and keeps the connection that they take.
pub(super) struct Breaker {
    client: Client,
    /// Host and port: all of the URL that may be shown.
    address: String,
    options: LinkOptions,
    state: Mutex<State>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
}

struct State {
    health: Health,
    /// In a row.
    failures: u32,
    connection: Option<MultiplexedConnection>,
    /// Counts what happened to the connection: news of an older one is no news.
    generation: u64,
    /// Until the next opening's first probe.
    backoff: Duration,
    /// When Redis last began to answer.
    up_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// Nothing was asked yet; calls go through.
    Unknown,
    /// Closed.
    Up,
    /// Open.
    Down,
}

/// A call that may go through.
pub(super) struct Ticket {
    connection: Option<MultiplexedConnection>,
    generation: u64,
}

impl Breaker {
    pub(super) fn new(client: Client, options: LinkOptions) -> Self {
        let address = client.get_connection_info().addr().to_string();
        let state = State {
            health: Health::Unknown,
            failures: 0,
            connection: None,
            generation: 0,
            backoff: options.first_probe,
            up_since: None,
        };
        Self { client, address, options, state: Mutex::new(state), connecting: tokio::sync::Mutex::new(()) }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) const fn options(&self) -> LinkOptions {
        self.options
    }

    pub(super) fn is_up(&self) -> bool {
        self.state().health == Health::Up
    }

    /// Whether a call may go through.
    pub(super) fn admit(&self) -> Option<Ticket> {
        let state = self.state();
        (state.health != Health::Down)
            .then(|| Ticket { connection: state.connection.clone(), generation: state.generation })
    }

    /// The connection of an admitted call; one call makes it when there is none, and the others wait for that.
    pub(super) async fn connection(&self, ticket: &Ticket) -> RedisResult<MultiplexedConnection> {
        if let Some(connection) = &ticket.connection {
            return Ok(connection.clone());
        }
        let _alone = self.connecting.lock().await;
        if let Some(connection) = &self.state().connection {
            return Ok(connection.clone());
        }
        let connection = self.connect().await?;
        let mut state = self.state();
        if state.health != Health::Down {
            state.connection = Some(connection.clone());
        }
        Ok(connection)
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        // Calls have a deadline of their own; a second one inside the connection would only hide which.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(self.options.connect)).set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// The call was answered.
    pub(super) fn succeeded(&self, ticket: &Ticket) {
        let mut state = self.state();
        if ticket.generation != state.generation {
            return;
        }
        state.failures = 0;
        if state.health == Health::Unknown {
            self.close(&mut state);
        }
    }

    /// The call was not answered; `None`: in time.
    pub(super) fn failed(self: &Arc<Self>, ticket: &Ticket, error: Option<&RedisError>) {
        let mut state = self.state();
        if ticket.generation != state.generation || state.health == Health::Down {
            return;
        }
        state.failures += 1;
        let refused = error.is_some_and(RedisError::is_connection_refusal);
        if !refused && state.failures < self.options.failures {
            // A slow answer may still come, and the connection sorts it out; after an error it is of no more use. It
            // keeps its generation: those who fail with it are failures in a row.
            if error.is_some() {
                state.connection = None;
            }
            return;
        }
        state.health = Health::Down;
        state.connection = None;
        state.generation += 1;
        // A server that answers probes and nothing else is asked less and less, too.
        let steady = state.up_since.is_none_or(|since| since.elapsed() >= self.options.longest_probe);
        state.backoff = if steady { self.options.first_probe } else { self.longer(state.backoff) };
        let wait = state.backoff;
        drop(state);
        metrics::gauge!(UP).set(0.0);
        let reason = error.map_or_else(|| "no answer in time".to_owned(), RedisError::to_string);
        tracing::warn!(address = %self.address, %reason, "redis is down; using this process's memory instead");
        tokio::spawn(probe(Arc::downgrade(self), wait));
    }

    fn close(&self, state: &mut State) {
        state.health = Health::Up;
        state.failures = 0;
        state.up_since = Some(Instant::now());
        metrics::gauge!(UP).set(1.0);
        tracing::info!(address = %self.address, "redis is up");
    }

    fn longer(&self, backoff: Duration) -> Duration {
        (backoff * 2).min(self.options.longest_probe)
    }

    /// A connection over which Redis has just answered.
    async fn answering(&self) -> RedisResult<MultiplexedConnection> {
        let mut connection = self.connect().await?;
        cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(connection)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and every state that it can be left in is a valid one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks an open breaker's Redis until it answers, and closes the breaker. Ends when the last link is gone.
async fn probe(breaker: std::sync::Weak<Breaker>, mut wait: Duration) {
    loop {
        tokio::time::sleep(wait).await;
        let Some(breaker) = breaker.upgrade() else { return };
        match tokio::time::timeout(breaker.options.connect, breaker.answering()).await {
            Ok(Ok(connection)) => {
                let mut state = breaker.state();
                state.connection = Some(connection);
                state.generation += 1;
                breaker.close(&mut state);
                return;
            }
            Ok(Err(error)) => tracing::debug!(address = %breaker.address, %error, "redis is still down"),
            Err(_) => tracing::debug!(address = %breaker.address, "redis is still down: no answer in time"),
        }
        wait = breaker.longer(wait);
    }
}
