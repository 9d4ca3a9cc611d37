//! The figures: a table for people, JSON for programs, and the bars that they are held against.

use std::fmt;

use scale_benches::quantiles::Quantiles;
use serde::Serialize;

use crate::calls::Kind;
use crate::database::DatabaseFigures;
use crate::imports::ImportFigures;
use crate::load::LoadFigures;
use crate::settings::Arguments;
use crate::streams::StreamFigures;

/// What was measured; parts that were not asked for are missing.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    database: &'static str,
    transactions: u64,
    users: u32,
    rate_per_s: u32,
    connections: u32,
    seconds: u32,
    cores: usize,
    pub(crate) database_time: Option<DatabaseFigures>,
    pub(crate) load: Option<LoadFigures>,
    pub(crate) imports: Option<ImportFigures>,
    pub(crate) streams: Option<StreamFigures>,
    bars: Vec<Bar>,
}

/// A figure and what it may be at most.
#[derive(Debug, Serialize)]
struct Bar {
    what: &'static str,
    measured: f64,
    limit: f64,
    unit: &'static str,
    ok: bool,
}

fn at_most(what: &'static str, measured: f64, limit: f64, unit: &'static str) -> Bar {
    Bar { what, measured, limit, unit, ok: measured <= limit }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl Report {
    pub(crate) fn new(arguments: &Arguments) -> Self {
        Self {
            database: if arguments.postgres.is_some() { "Postgres" } else { "SQLite" },
            transactions: u64::from(arguments.users) * u64::from(arguments.each()),
            users: arguments.users,
            rate_per_s: arguments.rate,
            connections: arguments.connections,
            seconds: arguments.seconds,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            database_time: None,
            load: None,
            imports: None,
            streams: None,
            bars: Vec::new(),
        }
    }

    /// Holds the figures against their bars.
    pub(crate) fn judge(&mut self) {
        let mut bars = Vec::new();
        if let Some(load) = &self.load {
            // 1 % of the time is what the last answers take.
            let missing = f64::from(self.rate_per_s) - load.answered_per_s;
            bars.extend([
                at_most("all calls, p95", load.all.p95_ms, 100.0, "ms"),
                at_most("calls that failed", load.errors as f64, 0.0, ""),
                at_most("short of the rate", missing.max(0.0), 0.01 * f64::from(self.rate_per_s), "/s"),
                at_most("status from memory, p95", load.of(Kind::Status).p95_ms, 5.0, "ms"),
            ]);
        }
        if let Some(database) = &self.database_time {
            bars.push(at_most("database time, p95", database.all.p95_ms, 10.0, "ms"));
        }
        if let Some(imports) = &self.imports {
            let grown = imports.resident_peak_bytes.saturating_sub(imports.resident_before_bytes);
            bars.extend([
                at_most("import of 1,000 rows, p95", imports.of_1_000.p95_ms, 100.0, "ms"),
                at_most("import of 100,000 rows", imports.of_100_000_s, 5.0, "s"),
                // `import_max_mb` times `imports_at_once`, as docs/rest.md promises.
                at_most("memory that it takes", megabytes(grown), 128.0, "MB"),
            ]);
        }
        if let Some(streams) = &self.streams {
            let silent = streams.open - streams.heartbeats;
            let missed = streams.cancelled - streams.event.count;
            bars.extend([
                at_most("memory with all streams, peak", megabytes(streams.resident_peak_bytes), 600.0, "MB"),
                at_most("streams without a sign of life", silent as f64, 0.0, ""),
                at_most("streams that broke", streams.lost as f64, 0.0, ""),
                at_most("events that did not arrive", missed as f64, 0.0, ""),
            ]);
        }
        self.bars = bars;
    }

    /// Whether no bar is missed.
    pub(crate) fn is_good(&self) -> bool {
        self.bars.iter().all(|bar| bar.ok)
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, figures: &Quantiles) -> fmt::Result {
    let Quantiles { count, p50_ms, p95_ms, p99_ms, max_ms } = figures;
    writeln!(f, "  {name:<28}{count:>8}{p50_ms:>10.2}{p95_ms:>10.2}{p99_ms:>10.2}{max_ms:>10.1}")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, transactions, users, rate_per_s, connections, cores, .. } = self;
        writeln!(
            f,
            "{database}, {transactions} transactions of {users} people stored, {cores} cores for everything\n"
        )?;
        if self.load.is_some() || self.database_time.is_some() {
            writeln!(f, "  {:<28}{:>8}{:>10}{:>10}{:>10}{:>10}", "ms", "calls", "p50", "p95", "p99", "max")?;
        }
        if let Some(load) = &self.load {
            for kind in &load.kinds {
                row(f, kind.kind, &kind.latency)?;
            }
            row(f, "all", &load.all)?;
            row(f, "of it: sent late", &load.sent_late)?;
            writeln!(
                f,
                "  {:.1} answers a second of {rate_per_s}, on {connections} connections; CPU a call: server {:.2} ms, \
                 generator {:.2} ms; server's memory {:.0} MB",
                load.answered_per_s,
                load.server_cpu_ms_per_call,
                load.generator_cpu_ms_per_call,
                megabytes(load.server_resident_bytes)
            )?;
            for failure in &load.failures {
                writeln!(f, "  failed: {failure}")?;
            }
        }
        if let Some(database) = &self.database_time {
            row(f, "rows alone, reads", &database.reads)?;
            row(f, "rows alone, writes", &database.writes)?;
            row(f, "rows alone, all", &database.all)?;
        }
        if let Some(imports) = &self.imports {
            row(f, "import of 1,000 rows", &imports.of_1_000)?;
            writeln!(
                f,
                "  import of 100,000 rows ({:.1} MB): {:.2} s; server's memory {:.0} MB before, {:.0} MB at most",
                imports.of_100_000_bytes as f64 / 1e6,
                imports.of_100_000_s,
                megabytes(imports.resident_before_bytes),
                megabytes(imports.resident_peak_bytes)
            )?;
        }
        if let Some(streams) = &self.streams {
            row(f, "cancel a job to its event", &streams.event)?;
            let per_stream = streams.resident_open_bytes.saturating_sub(streams.resident_before_bytes) as f64
                / streams.open.max(1) as f64;
            writeln!(
                f,
                "  {} streams open after {:.1} s; server's memory {:.0} MB before, {:.0} MB with all, {:.0} MB at most \
                 ({:.1} KB a stream); {:.1} % of a core to hold them",
                streams.open,
                streams.opened_s,
                megabytes(streams.resident_before_bytes),
                megabytes(streams.resident_open_bytes),
                megabytes(streams.resident_peak_bytes),
                per_stream / 1e3,
                100.0 * streams.held_cpu_share
            )?;
        }
        writeln!(f, "\n  {:<32}{:>12}{:>12}", "bar", "limit", "measured")?;
        for Bar { what, measured, limit, unit, ok } in &self.bars {
            let (limit, measured) = (format!("{limit} {unit}"), format!("{measured:.2} {unit}"));
            writeln!(f, "  {what:<32}{limit:>12}{measured:>12}  {}", if *ok { "ok" } else { "MISSED" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_missed_bar_is_seen() {
        let mut report = Report::new(&Arguments::parse_from([""]));
        report.judge();
        assert!(report.is_good() && report.bars.is_empty());
        let fast = Quantiles { count: 1, p95_ms: 9.0, ..Quantiles::default() };
        report.database_time = Some(DatabaseFigures { reads: fast, writes: fast, all: fast });
        report.judge();
        assert!(report.is_good() && report.to_string().contains("ok"));
        report.database_time =
            Some(DatabaseFigures { reads: fast, writes: fast, all: Quantiles { p95_ms: 10.1, ..fast } });
        report.judge();
        assert!(!report.is_good() && report.to_string().contains("MISSED"));
    }
}
