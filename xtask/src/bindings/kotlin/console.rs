//! Reads what JUnit's console launcher says.

use crate::tally::Tally;

/// Counts of one run.
#[derive(Default)]
pub(super) struct Console {
    passed: u64,
    failed: u64,
    found: u64,
}

impl Console {
    /// Takes one line. The counts are the last ones: `[         5 tests successful      ]`.
    pub(super) fn read_line(&mut self, line: &str) {
        let Some(inner) = line.trim().strip_prefix('[').and_then(|line| line.strip_suffix(']')) else { return };
        let Some((count, what)) = inner.trim().split_once(' ') else { return };
        let Ok(count) = count.parse() else { return };
        match what {
            "tests found" => self.found = count,
            "tests successful" => self.passed = count,
            "tests failed" => self.failed = count,
            _ => {}
        }
    }

    /// Adds the counts to `tally`, under this name. A test that was found, and neither passed nor failed, was skipped or
    /// aborted: none is meant to be, so it has failed.
    pub(super) fn count(&self, name: &str, tally: &mut Tally) {
        let failed = self.found.saturating_sub(self.passed).max(self.failed);
        let word = if failed == 0 { "ok" } else { "FAILED" };
        tally.read_line(&format!("Running {name} (kotlin)"));
        tally.read_line(&format!("test result: {word}. {} passed; {failed} failed", self.passed));
    }

    pub(super) fn passed(&self) -> u64 {
        self.passed
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn counts_are_read_and_skipped_tests_have_failed() {
        let mut console = Console::default();
        let said = "[         3 containers found      ]\n[         9 tests found           ]\n[         2 tests skipped         ]\n\
            [         6 tests successful      ]\n[         1 tests failed          ]\n[x]\ntests found";
        said.lines().for_each(|line| console.read_line(line));
        let mut tally = Tally::default();
        console.count("JUnit", &mut tally);
        assert_eq!((tally.passed(), tally.failed()), (6, 3));
        assert!(tally.to_string().contains("kotlin JUnit"), "{tally}");
    }
}
