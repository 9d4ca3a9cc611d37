//! The promise to apps that nobody updates: the SDK of the last release takes part in rounds of this coordinator.
//!
//! `bindings/released.toml` names the last release. Its sources are taken out of git into a folder of their own, and its own
//! `cargo xtask bindings` builds its Kotlin library and runs one of its own tests, a whole round with an exact sum. Everything
//! on the phone's side is that release's; the coordinator, which `SCALE_WORLD` names, is this tree's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::library::{GENERATOR_VARIABLE, PROFILE};
use super::{WORLD_VARIABLE, folder};
use crate::command;
use crate::lockfile::Lockfile;
use crate::tally::Tally;
use crate::workspace::{Metadata, root, target_dir, tools_dir};

/// From the repository's root.
const RELEASED: &str = "bindings/released.toml";

/// What `released.toml` says.
#[derive(Debug, PartialEq, Eq)]
struct Released {
    version: String,
    /// A tag or a commit.
    revision: String,
    /// Text in the name of the one Kotlin test that is run.
    test: String,
}

/// Builds the last release's library and runs its round against `world`, a program of this tree. `generator`: this tree's.
///
/// # Errors
/// If this clone does not have the release, it does not build, or it cannot take part.
pub(super) fn test(world: &Path, generator: &Path, tally: &mut Tally) -> Result<()> {
    let released = fs::read_to_string(root().join(RELEASED)).with_context(|| format!("cannot read {RELEASED}"))?;
    let released = Released::parse(&released)?;
    let commit = commit(&released.revision)?;
    println!("  version {}, {} ({})", released.version, released.revision, &commit[..12]);
    let tree = sources(&commit)?;
    keep_apart(&tree)?;
    let xtask = xtask(&tree)?;
    let mut bindings = command::command(&xtask);
    bindings.current_dir(&tree).args(["bindings", "--kotlin", "--test", "--one-library", "--only", &released.test]);
    bindings.env(WORLD_VARIABLE, world).env("SCALE_TOOLS_DIR", absolute(tools_dir()));
    // Dependencies that both have are built once.
    bindings.env("CARGO_TARGET_DIR", absolute(target_dir()));
    if same_uniffi(&tree)? {
        bindings.env(GENERATOR_VARIABLE, generator);
    }
    let mut counts = None;
    let ran = command::run_reading(&mut bindings, |line| counts = closing_counts(line).or(counts));
    let (passed, failed) = counts.unwrap_or_default();
    let word = if ran.is_ok() { "ok" } else { "FAILED" };
    tally.read_line("Running previous release (kotlin)");
    tally.read_line(&format!("test result: {word}. {passed} passed; {failed} failed"));
    let ran = ran.and_then(|()| {
        ensure!(passed > 0, "no test of the release has {:?} in its name: see {RELEASED}", released.test);
        Ok(())
    });
    ran.with_context(|| format!("the SDK of version {} does not work with this coordinator", released.version))
}

impl Released {
    /// Reads `key = "value"` lines; `#` begins a comment line.
    fn parse(text: &str) -> Result<Self> {
        let value = |key: &str| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            let mut found = lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim());
            let value = found.next().with_context(|| format!("{RELEASED} has no line `{key} = \"…\"`"))?;
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = value.filter(|value| !value.is_empty() && !value.starts_with('-'));
            anyhow::Ok(value.with_context(|| format!("{RELEASED}: {key} must be a text in double quotes"))?.to_owned())
        };
        Ok(Self { version: value("version")?, revision: value("revision")?, test: value("test")? })
    }
}

/// Reads the last line of every command that runs tests: `5 passed, 0 failed`.
fn closing_counts(line: &str) -> Option<(u64, u64)> {
    let (passed, failed) = line.trim().split_once(" passed, ")?;
    Some((passed.parse().ok()?, failed.strip_suffix(" failed")?.parse().ok()?))
}

/// The full name of the commit.
fn commit(revision: &str) -> Result<String> {
    let object = format!("{revision}^{{commit}}");
    if command::succeeds(&mut git(&["cat-file", "-e", &object])) {
        return Ok(command::output(&mut git(&["rev-parse", "--verify", &object]))?.trim().to_owned());
    }
    let shallow = command::output(&mut git(&["rev-parse", "--is-shallow-repository"]))
        .context("the last release is taken out of git: please work in a clone of the repository")?;
    bail!("{}", mend(revision, shallow.trim() == "true"));
}

/// What to do about a revision that is not there.
fn mend(revision: &str, shallow: bool) -> String {
    let (why, command) = match shallow {
        true => ("is cut off before it", "git fetch --unshallow --tags"),
        false => ("does not have it", "git fetch --tags"),
    };
    format!("{RELEASED} names {revision} as the last release, and this clone {why}; please run: {command}")
}

/// The sources of `commit` in a folder of their own; of other commits none are kept.
fn sources(commit: &str) -> Result<PathBuf> {
    let all = folder().join("previous");
    let tree = all.join(commit);
    // Made last: a tree that was unpacked in part begins again.
    let complete = tree.join("target/complete");
    if complete.is_file() {
        return Ok(tree);
    }
    if all.exists() {
        fs::remove_dir_all(&all).with_context(|| format!("cannot remove {}", all.display()))?;
    }
    fs::create_dir_all(tree.join("target")).with_context(|| format!("cannot make {}", tree.display()))?;
    let archive = all.join("sources.tar");
    command::run(git(&["archive", "--format=tar", commit]).arg("--output").arg(&archive))?;
    // With the time of now: whatever was built of an earlier release is older.
    command::run(
        command::command("tar").args(["--extract", "--touch", "--file"]).arg(&archive).arg("--directory").arg(&tree),
    )?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    Ok(tree)
}

/// Cargo tells packages of a workspace apart by where they lie in it, so those of two checkouts are one to it, and it would
/// take what was built of one for the other. A setting that changes nothing else, as nothing has debug information, makes
/// them two. The file lies above the tree, which has one of its own.
fn keep_apart(tree: &Path) -> Result<()> {
    let folder = tree.with_file_name(".cargo");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let names: Vec<String> = Metadata::of(tree)?.packages.into_iter().map(|package| package.name).collect();
    let file = folder.join("config.toml");
    fs::write(&file, other_packages(&names)).with_context(|| format!("cannot write {}", file.display()))
}

fn other_packages(names: &[String]) -> String {
    let section = |name| format!("[profile.{PROFILE}.package.{name}]\nsplit-debuginfo = \"off\"\n");
    names.iter().map(section).collect()
}

/// The release's own commands. Not in the shared target folder, where they would replace the program that runs now.
fn xtask(tree: &Path) -> Result<PathBuf> {
    let target = tree.join("target");
    let mut build = command::cargo();
    build.current_dir(tree).env("CARGO_TARGET_DIR", &target).args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "xtask",
    ]);
    command::run(&mut build)?;
    Ok(target.join("debug").join(format!("xtask{}", std::env::consts::EXE_SUFFIX)))
}

/// Whether this tree's generator reads the release's library.
fn same_uniffi(tree: &Path) -> Result<bool> {
    let (own, other) = (Lockfile::read(root())?, Lockfile::read(tree)?);
    Ok(own.versions("uniffi") == other.versions("uniffi"))
}

fn git(arguments: &[&str]) -> Command {
    let mut git = command::command("git");
    git.args(arguments);
    git
}

/// A path of this tree, as a command in the other one has to be told.
fn absolute(path: PathBuf) -> PathBuf {
    root().join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_file_is_read() {
        let text = fs::read_to_string(root().join(RELEASED)).unwrap();
        let released = Released::parse(&text).unwrap();
        assert!(text.contains(&format!("revision = {:?}", released.revision)));
    }

    #[test]
    fn lines_are_read_and_what_is_missing_is_named() {
        let text = "# revision = \"old\"\nversion = \"0.1.0\"\nrevision=\"v0.1.0\"\ntest = \"Round\"\n";
        let expected = Released { version: "0.1.0".into(), revision: "v0.1.0".into(), test: "Round".into() };
        assert_eq!(Released::parse(text).unwrap(), expected);
        for (broken, told) in [
            (text.replace("version", "edition"), "no line `version"),
            (text.replace("\"v0.1.0\"", "v0.1.0"), "revision must be a text"),
            (text.replace("\"v0.1.0\"", "\"--output=x\""), "revision must be a text"),
            (text.replace("\"Round\"", "\"\""), "test must be a text"),
        ] {
            let error = Released::parse(&broken).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn each_package_of_the_release_is_built_apart() {
        let text = other_packages(&["scale-proto".into(), "scale-bindings".into()]);
        assert_eq!(text.matches("split-debuginfo = \"off\"").count(), 2);
        assert!(text.starts_with("[profile.mobile.package.scale-proto]\n"), "{text}");
    }

    #[test]
    fn the_releases_own_counts_are_read() {
        let mut tally = Tally::default();
        tally.read_line("test result: ok. 2 passed; 1 failed");
        let closing = tally.to_string();
        assert_eq!(closing_counts(closing.lines().last().unwrap()), Some((2, 1)));
        assert_eq!(closing_counts("2 passed, none failed"), None);
    }

    #[test]
    fn a_missing_revision_says_which_command_mends_it() {
        let error = commit("no-such-revision").unwrap_err().to_string();
        assert!(error.contains("no-such-revision") && error.contains("please run: git fetch"), "{error}");
        assert!(mend("v0.1.0", true).ends_with("git fetch --unshallow --tags"));
        assert_eq!(commit("HEAD").unwrap().len(), 40);
    }
}
