//! The program in the quick start of `bindings/kotlin/README.md`, made runnable: what it has written down as an example comes
//! from variables instead.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const HEADING: &str = "## Quick start";

/// Literals of the program, and the variables that stand in for them.
const REPLACED: [(&str, &str); 4] = [
    ("\"https://fl.example.org\"", "SCALE_COORDINATOR"),
    ("\"/var/lib/your-app/scale\"", "SCALE_FOLDER"),
    ("\"…64 hex digits, as `scale-coordinator` prints them…\"", "SCALE_TASK_KEY"),
    ("\"…from your server…\"", "SCALE_TOKEN"),
];

/// Writes the program into the folder `into`, and returns its path.
///
/// # Errors
/// If the document has no such program, or the program does not have each of the literals once.
pub(super) fn program(readme: &Path, into: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(readme).with_context(|| format!("cannot read {}", readme.display()))?;
    let program = runnable(&text).with_context(|| format!("the quick start of {}", readme.display()))?;
    let path = into.join("QuickStart.kt");
    fs::write(&path, program).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn runnable(readme: &str) -> Result<String> {
    let (_, section) = readme.split_once(HEADING).with_context(|| format!("there is no heading {HEADING:?}"))?;
    let section = section.split("\n## ").next().unwrap_or(section);
    let (_, block) = section.split_once("```kotlin\n").context("there is no block of Kotlin")?;
    let (program, _) = block.split_once("\n```").context("the block of Kotlin does not end")?;
    let mut program = format!("{program}\n");
    for (literal, variable) in REPLACED {
        let count = program.matches(literal).count();
        ensure!(count == 1, "{literal} is in it {count} times instead of once");
        program = program.replace(literal, &format!("System.getenv(\"{variable}\")"));
    }
    Ok(program)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn literals_become_variables() {
        let literals: Vec<&str> = REPLACED.iter().map(|(literal, _)| *literal).collect();
        let readme =
            format!("# X\n```kotlin\nno\n```\n{HEADING}\n\n```kotlin\nf({})\n```\n\n## Y\n", literals.join(", "));
        let program = runnable(&readme).unwrap();
        assert_eq!(program.matches("System.getenv(").count(), REPLACED.len(), "{program}");
        assert!(!program.contains("no\n"), "{program}");
        let error = runnable(&readme.replace("\"https://fl.example.org\"", "\"elsewhere\"")).unwrap_err().to_string();
        assert!(error.contains("fl.example.org"), "{error}");
    }
}
