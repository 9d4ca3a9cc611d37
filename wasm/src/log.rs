//! What the core writes to its log, and what a panic says, for the browser's console.

use std::cell::RefCell;

use scale_fl_sdk::log_line;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::host::shared;
use crate::platform::Platform;

thread_local! {
    /// A subscriber has to be usable from every thread, and a JavaScript object is not: hence apart from it.
    static CONSOLE: RefCell<Option<Platform>> = const { RefCell::new(None) };
}

/// Sends everything that is logged from now on to [`Platform::log`].
pub(crate) fn to(platform: &Platform) {
    CONSOLE.with_borrow_mut(|console| *console = Some(shared(platform)));
    // Fails only if it is set already.
    let _set = tracing::subscriber::set_global_default(Console);
    std::panic::set_hook(Box::new(|panic| say("error", &panic.to_string())));
}

fn say(level: &str, text: &str) {
    CONSOLE.with_borrow(|console| {
        if let Some(platform) = console {
            platform.log(level, text);
        }
    });
}

/// Warnings and errors: what goes well names rounds and devices, which are nobody's business in a visitor's console. Spans are
/// of no use there.
struct Console;

impl Subscriber for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            _ => "warn",
        };
        say(level, &log_line::text(event));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
