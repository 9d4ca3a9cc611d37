//! Runs named steps, remembers how each went, and prints the closing table.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::tally::Tally;

/// How one step ended.
enum Outcome {
    Passed,
    Failed(String),
    /// Could not be done here, with the reason. Always shown, never a silent skip.
    NotRun(String),
}

struct Step {
    name: String,
    took: Duration,
    outcome: Outcome,
}

/// The steps of one command, in the order in which they ran.
pub(crate) struct Report {
    started: Instant,
    steps: Vec<Step>,
    tally: Tally,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), steps: Vec::new(), tally: Tally::default() }
    }

    /// Runs `work` and records its outcome. A failure is printed at once and does not stop later steps.
    pub(crate) fn step(&mut self, name: impl Into<String>, work: impl FnOnce() -> Result<()>) {
        self.test_step(name, |_tally| work());
    }

    /// Like [`Self::step`], for work that runs tests: it adds the closing lines of the runners to the tally.
    pub(crate) fn test_step(&mut self, name: impl Into<String>, work: impl FnOnce(&mut Tally) -> Result<()>) {
        let name = name.into();
        println!("\n==> {name}");
        let started = Instant::now();
        let outcome = match work(&mut self.tally) {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                eprintln!("error: {name}: {error:#}");
                Outcome::Failed(format!("{error:#}"))
            }
        };
        let took = started.elapsed();
        let word = if matches!(outcome, Outcome::Passed) { "ok" } else { "FAILED" };
        println!("<== {name}: {word} in {}", clock(took));
        self.steps.push(Step { name, took, outcome });
    }

    /// Records that a step was left out, and why.
    pub(crate) fn not_run(&mut self, name: impl Into<String>, reason: &str) {
        let name = name.into();
        println!("\n==> {name}: NOT RUN: {reason}");
        self.steps.push(Step { name, took: Duration::ZERO, outcome: Outcome::NotRun(reason.to_owned()) });
    }

    /// Prints the table and, if tests ran, the runners' closing lines and their sum. Fails if any step or test failed.
    pub(crate) fn finish(self) -> ExitCode {
        let failed = self.failed();
        println!("\n{:<26} {:>8}  result", "step", "time");
        for step in &self.steps {
            let result = match &step.outcome {
                Outcome::Passed => "ok".to_owned(),
                Outcome::Failed(error) => format!("FAILED: {}", first_line(error)),
                Outcome::NotRun(reason) => format!("NOT RUN: {reason}"),
            };
            println!("{:<26} {:>8}  {result}", step.name, clock(step.took));
        }
        let total = clock(self.started.elapsed());
        if failed.is_empty() {
            println!("{:<26} {total:>8}  ok", "total");
        } else {
            println!("{:<26} {total:>8}  FAILED: {}", "total", failed.join(", "));
        }
        if !self.tally.is_empty() {
            println!("\n{}", self.tally);
        }
        if failed.is_empty() && self.tally.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn failed(&self) -> Vec<&str> {
        let failed = self.steps.iter().filter(|step| matches!(step.outcome, Outcome::Failed(_)));
        failed.map(|step| step.name.as_str()).collect()
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Minutes and seconds, or tenths of a second below ten.
pub(crate) fn clock(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{}:{:02} m", time.as_secs() / 60, time.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn one_failed_step_fails_the_command_and_later_steps_still_run() {
        let mut report = Report::new();
        let mut reached = false;
        report.step("breaks", || bail!("on purpose"));
        report.step("goes on", || {
            reached = true;
            Ok(())
        });
        assert!(reached);
        assert_eq!(report.failed(), ["breaks"]);
        assert_eq!(report.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn a_failed_test_fails_the_command_even_if_its_runner_exits_with_success() {
        let mut report = Report::new();
        report.test_step("lies", |tally| {
            tally.read_line("test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
            Ok(())
        });
        assert_eq!(report.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn all_steps_passing_is_success() {
        let mut report = Report::new();
        report.step("works", || Ok(()));
        report.not_run("left out", "for a reason that is shown");
        assert_eq!(report.finish(), ExitCode::SUCCESS);
    }

    #[test]
    fn durations_read_as_minutes() {
        assert_eq!(clock(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(clock(Duration::from_secs(754)), "12:34 m");
    }
}
