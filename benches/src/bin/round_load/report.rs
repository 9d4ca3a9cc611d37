//! The figures, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use scale_benches::clock;
use scale_benches::quantiles::Quantiles;
use serde::Serialize;

use crate::calls::{Attempt, What};
use crate::floor::Floor;
use crate::server::Server;
use crate::settings::Sessions;
use crate::wire::Wire;

/// One stage.
#[derive(Debug, Serialize)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) wall_s: f64,
    pub(crate) server_cpu_s: f64,
    pub(crate) generator_cpu_s: f64,
    /// Most bytes in the server's memory during the stage.
    pub(crate) server_peak_bytes: u64,
    /// Over the sockets.
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    /// Of the messages alone, where the protocol sets a floor.
    pub(crate) floor: Option<Floor>,
    pub(crate) calls: Calls,
}

/// All calls of a stage.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Calls {
    pub(crate) all: usize,
    /// Answered with "not yet", and sent again.
    pub(crate) waits: usize,
    /// By code.
    pub(crate) refused: BTreeMap<String, usize>,
    /// How late answers were by the server's own doing.
    pub(crate) late: Quantiles,
}

impl Calls {
    /// `closed`: a moment at which the caller's stage was still open, by its place. A stage's answer is late from then
    /// on, or from its request if that came later; "not yet" from the end of the long poll; everything else from its
    /// request.
    pub(crate) fn of<'a>(
        all: impl IntoIterator<Item = (usize, &'a Attempt)>,
        closed: impl Fn(usize) -> Option<Instant>,
        long_poll: Duration,
    ) -> Self {
        let (mut calls, mut late) = (Self::default(), Vec::new());
        for (place, attempt) in all {
            calls.all += 1;
            let took = attempt.answered - attempt.sent;
            late.push(match &attempt.what {
                What::Stage => {
                    let from = closed(place).map_or(attempt.sent, |closed| closed.max(attempt.sent));
                    attempt.answered.saturating_duration_since(from)
                }
                What::Wait => {
                    calls.waits += 1;
                    // Timers are a little early or late.
                    if took + Duration::from_millis(50) > long_poll { took.saturating_sub(long_poll) } else { took }
                }
                What::Refused(code) => {
                    *calls.refused.entry(code.clone()).or_default() += 1;
                    took
                }
                What::Own => took,
            });
        }
        calls.late = Quantiles::of(late);
        calls
    }
}

/// What a stage costs, from its begin.
pub(crate) struct Meter {
    name: &'static str,
    begin: Instant,
    server: Duration,
    generator: Duration,
    traffic: (u64, u64),
}

impl Meter {
    pub(crate) fn start(name: &'static str, server: &Server, wire: &Wire) -> anyhow::Result<Self> {
        server.forget_peak()?;
        Ok(Self {
            name,
            begin: Instant::now(),
            server: server.cpu(),
            generator: clock::process(),
            traffic: wire.traffic.now(),
        })
    }

    pub(crate) fn stop(self, server: &Server, wire: &Wire, calls: Calls) -> Stage {
        let traffic = wire.traffic.now();
        Stage {
            name: self.name,
            wall_s: self.begin.elapsed().as_secs_f64(),
            server_cpu_s: server.cpu().saturating_sub(self.server).as_secs_f64(),
            generator_cpu_s: clock::process().saturating_sub(self.generator).as_secs_f64(),
            server_peak_bytes: server.peak(),
            sent_bytes: traffic.0 - self.traffic.0,
            received_bytes: traffic.1 - self.traffic.1,
            floor: None,
            calls,
        }
    }
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) devices: u32,
    pub(crate) sessions: Sessions,
    /// Devices of each.
    pub(crate) session_sizes: Vec<u32>,
    pub(crate) entries: u32,
    pub(crate) wire_bits: u8,
    pub(crate) connections: u32,
    pub(crate) rate: u32,
    pub(crate) stages: Vec<Stage>,
    /// Most bytes in the server's memory before the round.
    pub(crate) server_before_bytes: u64,
    pub(crate) phase: String,
    pub(crate) reason: String,
    pub(crate) survivors: u32,
    /// Devices that did not come to the end, by why.
    pub(crate) lost: BTreeMap<String, usize>,
    /// What was published is the sum of the uploads that were acknowledged.
    pub(crate) exact: bool,
}

const MB: f64 = 1e6;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.session_sizes.iter().min(), self.session_sizes.iter().max());
        writeln!(
            f,
            "{} devices in {} session(s) of {} to {}; {} entries of {} bits; {} connections; {} messages a second",
            self.devices,
            self.session_sizes.len(),
            least.unwrap_or(&0),
            most.unwrap_or(&0),
            self.entries,
            self.wire_bits,
            self.connections,
            self.rate
        )?;
        writeln!(
            f,
            "\n{:<13} {:>7} {:>9} {:>9} {:>8} {:>15} {:>15} {:>7} {:>6} {:>7} {:>8} {:>8} {:>8}",
            "stage",
            "wall s",
            "server s",
            "devices s",
            "peak MB",
            "up MB (floor)",
            "down MB (floor)",
            "calls",
            "waits",
            "refused",
            "p50 ms",
            "p99 ms",
            "max ms"
        )?;
        for stage in &self.stages {
            let floor =
                |way: usize| stage.floor.map_or_else(String::new, |floor| format!(" ({:.1})", floor[way] as f64 / MB));
            let (up, down) = (stage.sent_bytes as f64 / MB, stage.received_bytes as f64 / MB);
            let late = &stage.calls.late;
            writeln!(
                f,
                "{:<13} {:>7.1} {:>9.2} {:>9.2} {:>8.0} {:>15} {:>15} {:>7} {:>6} {:>7} {:>8.1} {:>8.1} {:>8.1}",
                stage.name,
                stage.wall_s,
                stage.server_cpu_s,
                stage.generator_cpu_s,
                stage.server_peak_bytes as f64 / MB,
                format!("{up:.1}{}", floor(0)),
                format!("{down:.1}{}", floor(1)),
                stage.calls.all,
                stage.calls.waits,
                stage.calls.refused.values().sum::<usize>(),
                late.p50_ms,
                late.p99_ms,
                late.max_ms
            )?;
        }
        let sum = |part: fn(&Stage) -> f64| self.stages.iter().map(part).sum::<f64>();
        writeln!(
            f,
            "{:<13} {:>7.1} {:>9.2} {:>9.2} {:>8.0}",
            "all",
            sum(|stage| stage.wall_s),
            sum(|stage| stage.server_cpu_s),
            sum(|stage| stage.generator_cpu_s),
            self.stages.iter().map(|stage| stage.server_peak_bytes).max().unwrap_or_default() as f64 / MB
        )?;
        for stage in self.stages.iter().filter(|stage| !stage.calls.refused.is_empty()) {
            writeln!(f, "refused in {}: {:?}", stage.name, stage.calls.refused)?;
        }
        if !self.lost.is_empty() {
            writeln!(f, "lost: {:?}", self.lost)?;
        }
        let reason = if self.reason.is_empty() { String::new() } else { format!(" ({})", self.reason) };
        write!(
            f,
            "\n{}{reason}, {} survivors, {}; {:.0} MB in the server's memory before",
            self.phase,
            self.survivors,
            if self.exact { "exact sum" } else { "NOT THE SUM" },
            self.server_before_bytes as f64 / MB
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_late_only_by_the_servers_own_doing() {
        let ms = Duration::from_millis;
        let zero = Instant::now();
        let attempt =
            |sent: u64, answered: u64, what| Attempt { sent: zero + ms(sent), answered: zero + ms(answered), what };
        let (closed, long_poll) = (|_| Some(zero + ms(5_000)), ms(10_000));
        for (name, attempt, expected) in [
            ("sent long before its stage closed", attempt(0, 5_030, What::Stage), 30.0),
            ("sent after its stage closed", attempt(6_000, 6_007, What::Stage), 7.0),
            ("held to the end of the long poll", attempt(0, 10_004, What::Wait), 4.0),
            ("sent away at once", attempt(0, 3, What::Wait), 3.0),
            ("no stage to wait for", attempt(0, 12, What::Own), 12.0),
            ("refused", attempt(0, 2_500, What::Refused("storage".to_owned())), 2_500.0),
        ] {
            let calls = Calls::of([(0, &attempt)], closed, long_poll);
            assert_eq!(calls.late.max_ms, expected, "{name}");
        }
    }
}
