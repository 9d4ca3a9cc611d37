//! The library's log, for the app.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Once, PoisonError, RwLock};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::callbacks::{LogLevel, LogSink};
use crate::log_line;

/// Lines that wait for a slow sink; beyond them lines are lost.
const WAITING: usize = 1024;

/// A line with its weight.
type Line = (LogLevel, String);

/// The most that is wanted, and where it goes.
static LISTENING: RwLock<Option<(LogLevel, SyncSender<Line>)>> = RwLock::new(None);

/// Sends the library's log to `sink` from now on, up to `level`; without a sink nowhere. It holds for the whole process. The sink
/// is called from a thread of its own, so that a slow one holds up nothing.
#[uniffi::export]
pub fn set_log_sink(sink: Option<Arc<dyn LogSink>>, level: LogLevel) {
    static SUBSCRIBED: Once = Once::new();
    // Fails if the program that links this library has a subscriber of its own, which then has the log.
    SUBSCRIBED.call_once(|| drop(tracing::subscriber::set_global_default(ToSink)));
    let listening = sink.map(|sink| {
        let (lines, received) = sync_channel(WAITING);
        // It ends with its sender.
        std::thread::spawn(move || received.iter().for_each(|(level, line)| drop(sink.log(level, line))));
        (level, lines)
    });
    *LISTENING.write().unwrap_or_else(PoisonError::into_inner) = listening;
    // What was decided for the sink before may be wrong now.
    tracing::callsite::rebuild_interest_cache();
}

/// The version of the library.
#[uniffi::export]
pub fn sdk_version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

struct ToSink;

impl Subscriber for ToSink {
    /// Only what this project's crates say: their lines hold no secrets and no examples.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let listening = LISTENING.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = listening.as_ref().is_some_and(|(most, _)| level(metadata.level()) <= *most);
        wanted && metadata.is_event() && metadata.target().starts_with("scale_")
    }

    fn event(&self, event: &Event<'_>) {
        let listening = LISTENING.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, lines)) = &*listening {
            // Full: the sink is too slow, and the round does not wait for it.
            let _sent = lines.try_send((level(event.metadata().level()), log_line::text(event)));
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn level(level: &Level) -> LogLevel {
    match *level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}
