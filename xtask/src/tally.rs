//! Counts tests from the closing lines of test runners: libtest's and wasm-bindgen-test-runner's read the same.

use std::fmt;

const CLOSING: &str = "test result: ";

/// Test counts over any number of runners, with the closing line of each.
#[derive(Default)]
pub(crate) struct Tally {
    /// What is running now, as cargo names it.
    target: String,
    closing: Vec<Closing>,
}

struct Closing {
    target: String,
    line: String,
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Takes one line of a runner's output. Lines that say nothing about tests are ignored.
    pub(crate) fn read_line(&mut self, line: &str) {
        let line = without_escapes(line);
        let line = line.trim();
        if let Some(target) = target_name(line) {
            self.target = target;
        } else if let Some((passed, failed)) = counts(line) {
            self.closing.push(Closing { target: self.target.clone(), line: line.to_owned(), passed, failed });
        }
    }

    /// Takes one line of what `node --test` writes with its reporter `tap`: the counts are its last lines, `# pass 5` and
    /// others. A test that was cancelled has failed, and one that was skipped, too: none is meant to be.
    pub(crate) fn read_node_line(&mut self, line: &str) {
        let Some((word, count)) = line.trim_end().strip_prefix("# ").and_then(|rest| rest.split_once(' ')) else {
            return;
        };
        let Ok(count) = count.parse() else { return };
        if word == "tests" {
            let line = format!("{CLOSING}{count} tests");
            self.closing.push(Closing { target: "node".to_owned(), line, passed: 0, failed: 0 });
        } else if let Some(last) = self.closing.last_mut() {
            match word {
                "pass" => last.passed = count,
                "fail" | "cancelled" | "skipped" | "todo" => last.failed += count,
                _ => return,
            }
            last.line = format!("{CLOSING}{} passed; {} failed", last.passed, last.failed);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.closing.is_empty()
    }

    pub(crate) fn passed(&self) -> u64 {
        self.closing.iter().map(|closing| closing.passed).sum()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.closing.iter().map(|closing| closing.failed).sum()
    }

    /// Adds another tally's runners, each marked with `prefix`.
    pub(crate) fn absorb(&mut self, prefix: &str, other: Tally) {
        self.closing.extend(
            other
                .closing
                .into_iter()
                .map(|closing| Closing { target: format!("{prefix}{}", closing.target), ..closing }),
        );
    }
}

/// The closing lines of runners that ran anything, then one plain line with the sums.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ran = self.closing.iter().filter(|closing| closing.passed + closing.failed > 0);
        for closing in ran {
            writeln!(f, "{:<44} {}", closing.target, closing.line)?;
        }
        write!(f, "{} passed, {} failed", self.passed(), self.failed())
    }
}

/// Reads cargo's `Running unittests src/lib.rs (target/debug/deps/scale_proto-0123)` and `Doc-tests scale_proto`.
fn target_name(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} docs"));
    }
    let (what, binary) = line.strip_prefix("Running ")?.rsplit_once(" (")?;
    let file = binary.strip_suffix(')')?.rsplit(['/', '\\']).next()?;
    let stem = file.split_once('.').map_or(file, |(stem, _wasm)| stem);
    let name = stem.rsplit_once('-').map_or(stem, |(name, _hash)| name);
    Some(match what.strip_prefix("unittests ") {
        Some(source) => format!("{name} {source}"),
        None => format!("{name} {what}"),
    })
}

/// Reads `test result: ok. 5 passed; 0 failed; …`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let mut numbers = line.strip_prefix(CLOSING)?.split_once(". ")?.1.split("; ");
    let passed = numbers.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = numbers.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

/// Drops terminal colors (`ESC [ … letter`), which runners add when they believe that they write to a terminal.
fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(char);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "
   Compiling scale-proto v0.1.0 (/src/proto)
    Finished `test` profile [unoptimized] target(s) in 3.05s
     Running unittests src/lib.rs (target/debug/deps/scale_proto-93a1c06b32dfe4a7)

running 2 tests
test ids::tests::roundtrip ... ok
test ids::tests::short ... FAILED

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

     Running tests/vectors.rs (target/wasm32-unknown-unknown/debug/deps/vectors-1f.wasm)
test result: \u{1b}[32mok\u{1b}[0m. 40 passed; 0 failed; 0 ignored; 0 filtered out; finished in 0.10s
   Doc-tests scale_proto
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    fn read(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read_line(line));
        tally
    }

    #[test]
    fn sums_closing_lines_of_all_runners() {
        let tally = read(RUN);
        assert_eq!((tally.passed(), tally.failed()), (41, 1));
    }

    #[test]
    fn shows_who_closed_and_ends_with_the_plain_line() {
        let shown = read(RUN).to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "runners without tests are left out: {shown}");
        assert!(lines[0].starts_with("scale_proto src/lib.rs "), "{shown}");
        assert!(lines[1].starts_with("vectors tests/vectors.rs "), "{shown}");
        assert!(lines[1].contains("test result: ok. 40 passed"), "{shown}");
        assert_eq!(lines[2], "41 passed, 1 failed");
    }

    #[test]
    fn absorbed_runners_keep_their_counts() {
        let mut all = Tally::default();
        all.absorb("wasm: ", read(RUN));
        all.absorb("", read(RUN));
        assert_eq!((all.passed(), all.failed()), (82, 2));
        assert!(all.to_string().contains("wasm: vectors"));
    }

    #[test]
    fn counts_tests_of_node() {
        let mut tally = Tally::default();
        let closing = "ok 4 - the last one\n1..4\n# tests 4\n# suites 0\n# pass 1\n# fail 1\n# cancelled 1\n# skipped 1\n\
            # todo 0\n# duration_ms 306.5";
        closing.lines().for_each(|line| tally.read_node_line(line));
        assert_eq!((tally.passed(), tally.failed()), (1, 3));
        assert!(tally.to_string().contains("test result: 1 passed; 3 failed"), "{tally}");
        let mut nothing = Tally::default();
        nothing.read_node_line("# pass 3 and more");
        assert!(nothing.is_empty());
    }

    #[test]
    fn text_of_a_test_does_not_count() {
        let tally = read("the line test result: ok. 7 passed; 0 failed;\ntest result: strange");
        assert!(tally.is_empty());
    }
}
