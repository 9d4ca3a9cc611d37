//! The terminal output of a running demo: one line per round, a progress bar, and what the devices are doing.

use std::collections::HashSet;

use indicatif::{ProgressBar, ProgressStyle};
use scale_client_core::device::Phase;

use super::device::Sighting;
use super::report::{RoundRow, bound, figure};

/// The terminal: permanent lines, and one progress bar below them. Without a terminal only the lines.
pub(super) struct Screen {
    bar: ProgressBar,
    terminal: bool,
}

impl Screen {
    pub(super) fn new(rounds: u64) -> Self {
        use std::io::IsTerminal as _;
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new(rounds) } else { ProgressBar::hidden() };
        // The template is a constant. If it did not parse, the default bar would be used.
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} rounds  {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, terminal }
    }

    #[allow(clippy::print_stderr, reason = "the demo's output for the user")]
    pub(super) fn say(&self, line: &str) {
        if self.terminal { self.bar.println(line) } else { eprintln!("{line}") }
    }

    pub(super) fn note(&self, line: &str) {
        self.say(&format!("  ({line})"));
    }

    pub(super) fn show(&self, finished: u64, line: &str) {
        self.bar.set_position(finished);
        self.bar.set_message(line.to_owned());
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// The line of a round. `unit`: what an epsilon protects.
pub(super) fn row_line(row: &RoundRow, unit: &str) -> String {
    let RoundRow { round, cohort, survivors, loss, accuracy, epsilon, seconds, .. } = row;
    match &row.abandoned {
        Some(reason) => format!("Round {round:>2}: abandoned, nothing revealed: {reason}"),
        None => format!(
            "Round {round:>2}: {survivors} of {cohort} devices in the sum, loss {}, accuracy {:.1} %, \
             {}, {seconds:.1} s",
            figure(*loss, 3),
            accuracy * 100.0,
            epsilon.map_or_else(|| bound(None), |epsilon| format!("epsilon of {unit} so far {}", bound(Some(epsilon)))),
        ),
    }
}

/// The last known phase of every device.
pub(super) struct Seen {
    at: Vec<&'static str>,
    /// The codes of the causes that were already shown.
    shown: HashSet<String>,
}

impl Seen {
    pub(super) fn new(devices: usize) -> Self {
        Self { at: vec!["waiting"; devices], shown: HashSet::new() }
    }

    pub(super) fn take(&mut self, sighting: Sighting, screen: &Screen) {
        match sighting {
            Sighting::At(index, progress) => {
                self.at[index] = match progress.phase {
                    Phase::CheckingIn | Phase::Over => "waiting",
                    Phase::Downloading => "downloading",
                    Phase::Training => "training",
                    Phase::Keys | Phase::Shares => "keys",
                    Phase::Uploading => "uploading",
                    Phase::Agreeing => "agreeing",
                    Phase::Unmasking => "unmasking",
                };
            }
            Sighting::Lost(index, _) => self.at[index] = "lost",
            // A device that dropped out finds its old round over. This is expected, so it is not shown.
            Sighting::Left(_, code, _) if code == "deadline" => {}
            Sighting::Left(index, code, sentence) => {
                // Only the first device that leaves for a cause is shown.
                let note = format!(
                    "device {index} left: {sentence} ({code}); further devices that leave for this cause are not listed"
                );
                if self.shown.insert(code) {
                    screen.note(&note);
                }
            }
        }
    }

    /// The number of devices by phase, such as `training 12 · keys 15 · lost 3`.
    pub(super) fn line(&self) -> String {
        let words = ["waiting", "downloading", "training", "keys", "uploading", "agreeing", "unmasking", "lost"];
        let counts = words.iter().map(|word| (word, self.at.iter().filter(|at| at == &word).count()));
        let shown: Vec<String> =
            counts.filter(|(_, count)| *count > 0).map(|(word, count)| format!("{word} {count}")).collect();
        shown.join(" · ")
    }
}
