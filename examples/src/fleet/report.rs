//! The report of a demo run: a table for people, JSON for programs.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

/// The results of one round. Accuracies are from 0 to 1.
#[derive(Clone, Debug, Serialize)]
pub struct RoundRow {
    /// Number of the round within the run, from 1. The coordinator's own numbers are derived from times.
    pub round: u64,
    /// Number of devices selected.
    pub cohort: u32,
    /// Number of devices in the sum; 0 if the round was abandoned.
    pub survivors: u32,
    /// Mean loss on the survivors' examples before they trained, in nats, from the sum. `None` if devices do not report
    /// it, because noise on training steps does not protect the loss.
    pub loss: Option<f64>,
    /// Accuracy of the round's model on merchants that no device saw.
    pub accuracy: f64,
    /// Upper bound on what all rounds so far reveal, from the accountant; `None` if there is no bound, because there is
    /// no noise.
    pub epsilon: Option<f64>,
    /// With noise on updates, the epsilon of all rounds so far against parties that see the device's individual
    /// uploads, which remains if secure aggregation fails.
    pub epsilon_alone: Option<f64>,
    /// Payload bytes that one device sent in this round.
    pub bytes_up: u64,
    /// Seconds from the opening of the round to its model.
    pub seconds: f64,
    /// Why the round was abandoned; `None` if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<String>,
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Accuracy of the last model on merchants that no device saw.
    pub accuracy: f64,
    /// Accuracy of the initial model.
    pub accuracy_start: f64,
    /// Accuracy of the same model trained centrally on the data of all devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_central: Option<f64>,
    /// Accuracy of the same model trained by one device alone; the mean over a few devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_alone: Option<f64>,
    /// Accuracy of always predicting the most frequent category.
    pub accuracy_majority: f64,
    /// Accuracy after the same rounds without noise, simulated; `None` if that takes too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_plain: Option<f64>,
    /// Accuracy of the last model on statement lines of those merchants.
    pub accuracy_statements: f64,
    /// Payload bytes that one device sent in one round.
    pub bytes_up: u64,
    /// Wall time of the run in seconds, without the build.
    pub seconds: f64,
    /// Path of the last model's file.
    pub model_file: PathBuf,
    /// Path of the chart as SVG.
    pub chart_svg: PathBuf,
    /// Path of the chart as PNG.
    pub chart_png: PathBuf,
    /// Number of devices that took part.
    pub devices: usize,
    /// Share of devices that dropped out in each round.
    pub drop: f64,
    /// Privacy mode of the task: none, example, distributed or local.
    pub privacy: String,
    /// What `epsilon` protects, with its delta, as a sentence.
    pub promise: String,
    /// The planner's verdict on the noise with this cohort and this model.
    pub verdict: String,
    /// Seed of all random choices except keys and noise.
    pub seed: u64,
    /// Every round, in order.
    pub rounds: Vec<RoundRow>,
}

impl Report {
    /// The table and the summary, as a terminal shows them.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        // Only noise on updates gives a device any protection without secure aggregation.
        let tells_alone = self.rounds.iter().any(|row| row.epsilon_alone.is_some());
        let alone = if tells_alone { "   alone" } else { "" };
        writeln!(out, "  round  cohort  survivors    loss  accuracy   epsilon{alone}  up/device  seconds")?;
        writeln!(out, "  {:>5}  {:>25}  {:>8}", "start", "", percent(self.accuracy_start))?;
        for row in &self.rounds {
            let RoundRow { round, cohort, survivors, loss, epsilon, epsilon_alone, seconds, .. } = row;
            let alone = if tells_alone { format!("  {:>6}", figure(*epsilon_alone, 0)) } else { String::new() };
            match &row.abandoned {
                Some(reason) => writeln!(out, "  {round:>5}  {cohort:>6}  abandoned: {reason}")?,
                None => writeln!(
                    out,
                    "  {round:>5}  {cohort:>6}  {survivors:>9}  {:>6}  {:>8}  {:>8}{alone}  {:>9}  {seconds:>7.1}",
                    figure(*loss, 3),
                    percent(row.accuracy),
                    bound(*epsilon),
                    megabytes(row.bytes_up),
                )?,
            }
        }
        writeln!(out)?;
        writeln!(out, "Accuracy on merchants that no device saw")?;
        writeln!(out, "  federated, {} devices     {}", self.devices, percent(self.accuracy))?;
        writeln!(out, "  gain over the start       {:+.1} points", (self.accuracy - self.accuracy_start) * 100.0)?;
        if let Some(plain) = self.accuracy_plain {
            writeln!(out, "  the same without noise    {}", percent(plain))?;
        }
        if let (Some(central), Some(alone)) = (self.accuracy_central, self.accuracy_alone) {
            writeln!(out, "  trained centrally         {}", percent(central))?;
            writeln!(out, "  one device alone          {}", percent(alone))?;
        }
        writeln!(out, "  always the most frequent  {}", percent(self.accuracy_majority))?;
        writeln!(out, "  on their statement lines  {}", percent(self.accuracy_statements))?;
        writeln!(out)?;
        writeln!(out, "Privacy             {}", self.promise)?;
        for line in self.verdict.lines() {
            writeln!(out, "                    {line}")?;
        }
        writeln!(out, "Update on the wire  {} per device and round", megabytes(self.bytes_up))?;
        writeln!(out, "Time                {:.0} s", self.seconds)?;
        writeln!(out, "Model               {}", self.model_file.display())?;
        writeln!(out, "Chart               {}", self.chart_png.display())?;
        writeln!(out, "                    {}", self.chart_svg.display())
    }
}

/// A number, or a dash if it is unknown.
pub(super) fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "—".to_owned(), |value| format!("{value:.digits$}"))
}

/// An epsilon, or "no bound" if there is none.
pub(super) fn bound(epsilon: Option<f64>) -> String {
    epsilon.map_or_else(|| "no bound".to_owned(), |epsilon| format!("{epsilon:.2}"))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn megabytes(bytes: u64) -> String {
    if bytes < 1_000_000 { format!("{:.1} kB", bytes as f64 / 1e3) } else { format!("{:.2} MB", bytes as f64 / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let row = RoundRow {
            round: 1,
            cohort: 30,
            survivors: 28,
            loss: None,
            accuracy: 0.31,
            epsilon: Some(1.5),
            epsilon_alone: None,
            bytes_up: 2_900_000,
            seconds: 6.0,
            abandoned: None,
        };
        let told = RoundRow { round: 3, loss: Some(2.5), epsilon: None, ..row.clone() };
        let lost = RoundRow { round: 2, survivors: 0, abandoned: Some("too few devices".into()), ..row.clone() };
        Report {
            accuracy: 0.5,
            accuracy_start: 0.05,
            accuracy_central: Some(0.52),
            accuracy_alone: Some(0.2),
            accuracy_majority: 0.1,
            accuracy_plain: None,
            accuracy_statements: 0.45,
            bytes_up: 2_900_000,
            seconds: 100.0,
            model_file: "model.safetensors".into(),
            chart_svg: "chart.svg".into(),
            chart_png: "chart.png".into(),
            devices: 30,
            drop: 0.1,
            privacy: "example".into(),
            promise: "epsilon 8 for one training example".into(),
            verdict: "Training can work.".into(),
            seed: 1,
            rounds: vec![row, lost, told],
        }
    }

    #[test]
    fn the_table_shows_every_round_and_the_gain() {
        let text = report().text();
        assert!(text.contains("31.0 %") && text.contains("2.90 MB") && text.contains("+45.0 points"), "{text}");
        assert!(text.contains("abandoned: too few devices"), "{text}");
        assert!(text.contains("epsilon 8 for one training example"), "{text}");
        let columns = |round: &str| -> Vec<&str> {
            let line = text.lines().find(|line| line.trim_start().starts_with(round)).expect("a line for each round");
            line.split_whitespace().collect()
        };
        assert_eq!(columns("1 ")[3..6], ["—", "31.0", "%"], "what nobody knows is no zero");
        assert_eq!((columns("1 ")[6], &columns("3 ")[6..8]), ("1.50", &["no", "bound"][..]), "no noise is no zero");
        assert_eq!(columns("3 ")[3], "2.500");
    }

    #[test]
    fn noise_on_updates_is_told_with_what_is_left_without_masks() {
        let mut report = report();
        report.accuracy_plain = Some(0.375);
        report.rounds[0].epsilon_alone = Some(163.4);
        report.rounds[0].bytes_up = 21_430;
        let text = report.text();
        for part in ["epsilon   alone  up/device", "1.50     163    21.4 kB", "without noise    37.5 %"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    #[test]
    fn the_json_has_the_promised_keys() {
        let json = serde_json::to_value(report()).unwrap();
        for key in
            ["accuracy", "accuracy_start", "accuracy_central", "accuracy_alone", "bytes_up", "seconds", "model_file"]
        {
            assert!(!json[key].is_null(), "{key}");
        }
        for key in ["cohort", "survivors", "epsilon", "accuracy", "seconds"] {
            assert!(json["rounds"][0][key].is_number(), "{key}");
        }
    }
}
