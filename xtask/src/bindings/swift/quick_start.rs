//! The quick start of `bindings/swift/README.md`, made a project: its two files are the document's first two blocks of Swift,
//! and what the program has written down as an example comes from variables instead.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

const HEADING: &str = "## Quick start";

/// Literals of the program, and the expressions that stand in for them.
const REPLACED: [(&str, &str); 4] = [
    ("\"https://fl.example.org\"", "ProcessInfo.processInfo.environment[\"SCALE_COORDINATOR\"]!"),
    (
        "\"…64 hex digits, as `scale-coordinator` prints them…\"",
        "ProcessInfo.processInfo.environment[\"SCALE_TASK_KEY\"]!",
    ),
    ("\"merchants\"", "ProcessInfo.processInfo.environment[\"SCALE_TASK\"]!"),
    ("\"…from your server…\"", "ProcessInfo.processInfo.environment[\"SCALE_TOKEN\"]!"),
];

/// Where the document says that the package is.
const PACKAGE: &str = "\"../scale-fl/target/bindings/swift\"";

/// Writes the project into the folder `into`, which is emptied of sources first.
///
/// # Errors
/// If the document has no such blocks, or a block does not have each of its literals once.
pub(super) fn project(readme: &Path, package: &Path, into: &Path) -> Result<()> {
    let text = fs::read_to_string(readme).with_context(|| format!("cannot read {}", readme.display()))?;
    let (manifest, program) =
        files(&text, package).with_context(|| format!("the quick start of {}", readme.display()))?;
    let sources = into.join("Sources/YourApp");
    fs::create_dir_all(&sources).with_context(|| format!("cannot make {}", sources.display()))?;
    for (path, text) in [(into.join("Package.swift"), manifest), (sources.join("main.swift"), program)] {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn files(readme: &str, package: &Path) -> Result<(String, String)> {
    let (_, section) = readme.split_once(HEADING).with_context(|| format!("there is no heading {HEADING:?}"))?;
    let section = section.split("\n## ").next().unwrap_or(section);
    let mut blocks = section.split("```swift\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest));
    let manifest = blocks.next().context("there is no block of Swift with the manifest")?;
    let program = blocks.next().context("there is no block of Swift with the program")?;
    let mut program = program.to_owned();
    for (literal, expression) in REPLACED {
        program = replaced(&program, literal, expression)?;
    }
    Ok((replaced(manifest, PACKAGE, &format!("{:?}", package.display().to_string()))?, program))
}

fn replaced(text: &str, literal: &str, by: &str) -> Result<String> {
    let count = text.matches(literal).count();
    ensure!(count == 1, "{literal} is in it {count} times instead of once");
    Ok(text.replace(literal, by))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn literals_become_variables() {
        let literals: Vec<&str> = REPLACED.iter().map(|(literal, _)| *literal).collect();
        let literals = literals.join(", ");
        let readme = format!("# X\n{HEADING}\n```swift\nat({PACKAGE})\n```\n\n```swift\nf({literals})\n```\n\n## Y\n");
        let (manifest, program) = files(&readme, Path::new("/a/b")).unwrap();
        assert_eq!(manifest, "at(\"/a/b\")\n");
        assert_eq!(program.matches("ProcessInfo").count(), REPLACED.len(), "{program}");
        let error = files(&readme.replace("\"https://fl.example.org\"", "x"), Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("fl.example.org"), "{error}");
    }
}
