//! The figures of one round: a line of JSON for programs, a table for people.

use std::collections::BTreeMap;
use std::fmt;

use scale_secagg::params::GraphKind;
use serde::Serialize;

use crate::clients::{Client, Clients, STEPS};
use crate::server::ServerFigures;
use crate::settings::Settings;

/// What a round cost. Times are CPU times in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    clients: u32,
    len: u64,
    dropped: u32,
    graph: &'static str,
    neighbours: u32,
    threshold: u32,
    threads: usize,
    wire_bits: u8,
    /// All steps of one client: the median over the clients that stayed.
    client_cpu_ms: f64,
    /// All stages of the server.
    server_cpu_ms: f64,
    client_cpu_ms_by_stage: BTreeMap<String, f64>,
    server_cpu_ms_by_stage: BTreeMap<String, f64>,
    /// Per client that stayed, median.
    bytes_up: u64,
    bytes_down: u64,
    /// Most memory of the server's process above what it took before the first message.
    peak_rss_bytes: u64,
    /// The server's whole process, pipe and start included.
    server_process_cpu_ms: f64,
    prg_gb_s: f64,
    prg: &'static str,
    /// Bytes of keystream that the server expands, over the generator's measured speed.
    floor_cpu_ms: f64,
    /// The same for one client.
    client_floor_cpu_ms: f64,
    /// The server's sum is the sum of the survivors' inputs, entry by entry.
    pub(crate) sum_ok: bool,
}

const STAGES: [&str; 5] = ["0_advertise", "1_share", "2_masked_input", "3_agree", "4_unmask"];

impl Report {
    pub(crate) fn new(
        settings: &Settings,
        clients: &Clients<'_>,
        server: ServerFigures,
        generator: f64,
        sum_ok: bool,
    ) -> Self {
        let survivors: Vec<&Client> = clients.survivors().collect();
        let median_of = |value: &dyn Fn(&Client) -> f64| median(survivors.iter().map(|client| value(client)).collect());
        let ms = |seconds: f64| (1e5 * seconds).round() / 100.0;
        let step = |i: usize| ms(median_of(&|client| client.steps[i].as_secs_f64()));
        let total = |client: &Client| client.steps.iter().sum::<std::time::Duration>().as_secs_f64();

        let bytes_per_mask = 4.0 * settings.len() as f64;
        let k = f64::from(settings.parameters.k);
        // Lost clients are spread evenly, so a lost one has as many surviving neighbours as the graph has on average.
        let staying = f64::from(settings.clients - settings.lost);
        let pairs = f64::from(settings.lost) * k * staying / f64::from(settings.clients - 1);
        Self {
            clients: settings.clients,
            len: settings.len(),
            dropped: settings.lost,
            graph: if settings.parameters.graph == GraphKind::Complete { "complete" } else { "sparse" },
            neighbours: settings.parameters.k,
            threshold: settings.parameters.t,
            threads: settings.threads,
            wire_bits: settings.config.wire_bits,
            client_cpu_ms: ms(median_of(&total)),
            server_cpu_ms: ms(server.stages.iter().sum()),
            client_cpu_ms_by_stage: STEPS
                .iter()
                .enumerate()
                .map(|(i, name)| (format!("{i}_{name}"), step(i)))
                .collect(),
            server_cpu_ms_by_stage: STAGES
                .iter()
                .zip(server.stages)
                .map(|(name, s)| (name.to_string(), ms(s)))
                .collect(),
            bytes_up: median_of(&|client| client.bytes_up as f64) as u64,
            bytes_down: median_of(&|client| client.bytes_down as f64) as u64,
            peak_rss_bytes: server.peak_rss.saturating_sub(server.start_rss),
            server_process_cpu_ms: ms(server.process),
            prg_gb_s: (generator / 1e7).round() / 100.0,
            prg: scale_secagg::prg::backend(),
            floor_cpu_ms: ms((staying + pairs) * bytes_per_mask / generator),
            client_floor_cpu_ms: ms((k + 1.0) * bytes_per_mask / generator),
            sum_ok,
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, len, dropped, graph, neighbours, threshold, .. } = self;
        writeln!(
            f,
            "{clients} clients, {len} entries, {dropped} lost; {graph} graph, {neighbours} neighbours, threshold {threshold}"
        )?;
        writeln!(f, "\n{:<18}{:>12}{:>12}", "CPU ms", "client", "floor")?;
        for (name, value) in &self.client_cpu_ms_by_stage {
            let floor =
                if name.ends_with("mask") && !name.ends_with("unmask") { self.client_floor_cpu_ms } else { 0.0 };
            row(f, name, *value, floor)?;
        }
        row(f, "all", self.client_cpu_ms, 0.0)?;
        writeln!(f, "\n{:<18}{:>12}{:>12}", "CPU ms", "server", "floor")?;
        for (name, value) in &self.server_cpu_ms_by_stage {
            row(f, name, *value, if name.ends_with("unmask") { self.floor_cpu_ms } else { 0.0 })?;
        }
        row(f, "all", self.server_cpu_ms, 0.0)?;
        writeln!(f, "\nper client        {:>12} bytes up, {} down", self.bytes_up, self.bytes_down)?;
        writeln!(f, "server's memory   {:>12} bytes above its start", self.peak_rss_bytes)?;
        writeln!(f, "mask generator    {:>12} GB/s ({})", self.prg_gb_s, self.prg)?;
        write!(f, "sum               {:>12}", if self.sum_ok { "exact" } else { "WRONG" })
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: f64, floor: f64) -> fmt::Result {
    if floor > 0.0 {
        writeln!(f, "{name:<18}{value:>12.2}{floor:>12.2}")
    } else {
        writeln!(f, "{name:<18}{value:>12.2}")
    }
}
