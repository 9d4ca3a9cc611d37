//! The tests of the React Native module, in Node.js.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::package::{copy, write};
use super::{BUILDERS, SOURCES, made, native, typescript};
use crate::bindings::{TestRun, WORLD_VARIABLE};
use crate::command;
use crate::node;
use crate::stamp::files;
use crate::tally::Tally;
use crate::workspace::root;

const ENDING: &str = ".test.js";
/// A process that hangs keeps its test file running.
const FILE_LIMIT: Duration = Duration::from_secs(600);

/// The block in the README that a newcomer pastes.
const QUICK_START: &str = "## Quick start\n\n```ts\n";

/// Checks and tests what [`super::assemble`] has put together, as an app installs it: types, calls against a native module in
/// JavaScript, the native sources against stand-ins, and rounds through the Kotlin that ships for Android, over the real
/// library.
///
/// # Errors
/// If something does not compile, or a test fails.
pub(crate) fn test(run: &TestRun<'_>, tally: &mut Tally) -> Result<()> {
    let tests = prepare()?;
    let chosen = chosen(&tests, run.only)?;
    if run.only.is_none() {
        native::check_swift(run.library)?;
    }
    let bridge: Vec<String> =
        native::check_kotlin(run.library)?.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let builders = BUILDERS.ensure()?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let variables = [
        ("SCALE_REPOSITORY", text(root())),
        ("SCALE_WEB_TOOLS", text(&builders)),
        ("SCALE_BRIDGE", serde_json::to_string(&bridge).context("paths are text")?),
        (WORLD_VARIABLE, text(run.world)),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut failed = Ok(());
    // One after the other: the last ones measure time.
    for file in chosen {
        let result = node::test_within(FILE_LIMIT, &[&file], &variables, tally);
        failed = failed.and(result);
    }
    failed
}

/// Installs the tarball beside the tests, and compiles them. Returns the folder with the compiled ones.
fn prepare() -> Result<PathBuf> {
    let made = made();
    let tarball = files(&made, &["package", "node_modules", "tests", "swift", "kotlin"])?
        .into_iter()
        .find(|path| path.extension().is_some_and(|ending| ending == "tgz"))
        .with_context(|| format!("no tarball is in {}: assemble the React Native module first", made.display()))?;
    let installed = made.join("node_modules/@scale-fl/react-native");
    for folder in [&installed, &made.join("tests")] {
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
    }
    std::fs::create_dir_all(&installed).with_context(|| format!("cannot make {}", installed.display()))?;
    let mut tar = command::command("tar");
    tar.arg("--extract").arg("--file").arg(tarball).args(["--strip-components", "1", "--directory"]).arg(&installed);
    command::run(&mut tar)?;
    copy(&root().join(SOURCES).join("tests"), &made.join("tests"))?;
    let readme = installed.join("README.md");
    let readme = std::fs::read_to_string(&readme).with_context(|| format!("cannot read {}", readme.display()))?;
    write(&made.join("tests/quick-start.ts"), quick_start(&readme)?)?;
    typescript("tests/tsconfig.json")?;
    typescript("tests/tsconfig.quick-start.json")?;
    let built = made.join("tests/build");
    write(&built.join("package.json"), "{ \"type\": \"module\" }\n")?;
    Ok(built)
}

/// The test files whose name has `only` in it.
fn chosen(folder: &Path, only: Option<&str>) -> Result<Vec<String>> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let found: Vec<String> = files(folder, &[])?
        .into_iter()
        .filter(|path| name(path).strip_suffix(ENDING).is_some_and(|name| only.is_none_or(|only| name.contains(only))))
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    ensure!(!found.is_empty(), "no test file of {SOURCES}/tests has {only:?} in its name");
    Ok(found)
}

fn quick_start(readme: &str) -> Result<&str> {
    let block = readme.split_once(QUICK_START).and_then(|(_, rest)| rest.split_once("```"));
    Ok(block.context("README.md of bindings/react-native does not begin its quick start with a block of TypeScript")?.0)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_quick_start_is_found() {
        let readme = std::fs::read_to_string(root().join(SOURCES).join("README.md")).unwrap();
        let program = quick_start(&readme).unwrap();
        assert!(program.starts_with("import ") && program.contains("ScaleClient.create("), "{program}");
        assert!(quick_start("# Something else").is_err());
    }
}
