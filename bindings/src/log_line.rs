//! A line of the log, as platforms show it: one text for an event of [`tracing`].

use std::fmt::Write as _;

use tracing::Event;
use tracing::field::{Field, Visit};

/// The event's message, followed by its fields as `name=value`.
pub fn text(event: &Event<'_>) -> String {
    let mut line = Line::default();
    event.record(&mut line);
    line.message + &line.fields
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string does not fail.
        let _written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
