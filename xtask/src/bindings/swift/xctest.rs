//! Reads what XCTest says.

use crate::tally::Tally;

/// Counts of one run.
#[derive(Default)]
pub(super) struct Runner {
    executed: u64,
    failed: u64,
    skipped: u64,
}

impl Runner {
    /// Takes one line. Suites contain each other; the last count is that of all tests:
    /// `Executed 12 tests, with 1 test skipped and 1 failure (0 unexpected) in 3.4 (3.4) seconds`. Several failures of one
    /// test are several there, so failed tests are counted by their own lines.
    pub(super) fn read_line(&mut self, line: &str) {
        let line = line.trim();
        if line.starts_with("Test Case '") && line.contains("' failed (") {
            self.failed += 1;
        }
        let Some(counts) = line.strip_prefix("Executed ") else { return };
        let number = |text: &str| text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        let Some(executed) = number(counts) else { return };
        self.executed = executed;
        self.skipped = match counts.split_once("with ") {
            Some((_, rest)) if rest.contains(" skipped") => number(rest).unwrap_or(0),
            _ => 0,
        };
    }

    /// Adds the counts to `tally`, under this name. A skipped test has failed: none is meant to be.
    pub(super) fn count(&self, name: &str, tally: &mut Tally) {
        let failed = self.failed + self.skipped;
        let word = if failed == 0 { "ok" } else { "FAILED" };
        tally.read_line(&format!("Running {name} (swift)"));
        tally.read_line(&format!("test result: {word}. {} passed; {failed} failed", self.passed()));
    }

    pub(super) fn passed(&self) -> u64 {
        self.executed.saturating_sub(self.failed + self.skipped)
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn counts(said: &str) -> (u64, u64) {
        let mut runner = Runner::default();
        said.lines().for_each(|line| runner.read_line(line));
        let mut tally = Tally::default();
        runner.count("XCTest", &mut tally);
        (tally.passed(), tally.failed())
    }

    #[test]
    fn the_last_count_is_that_of_all_tests() {
        let said = "Test Suite 'All tests' started at 2026-12-01 05:00:00.000\n\
            Test Case 'RoundTests.testA' passed (0.1 seconds)\n\
            Test Case 'RoundTests.testB' failed (1.2 seconds)\n\
            \t Executed 2 tests, with 3 failures (0 unexpected) in 1.3 (1.3) seconds\n\
            \t Executed 5 tests, with 3 failures (0 unexpected) in 1.3 (1.3) seconds\n";
        assert_eq!(counts(said), (4, 1));
        assert_eq!(
            counts("\t Executed 3 tests, with 1 test skipped and 0 failures (0 unexpected) in 0 (0) seconds"),
            (2, 1)
        );
        assert_eq!(counts("\t Executed 1 test, with 0 failures (0 unexpected) in 0.1 (0.1) seconds"), (1, 0));
    }

    #[test]
    fn a_run_that_crashed_before_its_end_has_passed_nothing() {
        assert_eq!(counts("Test Case 'RoundTests.testA' started at 2026-12-01\n"), (0, 0));
    }
}
