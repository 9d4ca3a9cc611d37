//! Runs the command blocks of the documents, as a newcomer pastes them: each document from its first block to its last, in
//! one shell, in a fresh copy of the repository.
//!
//! A document becomes a shell script in which every line that is no command is empty, so a failure has the document's own
//! line number. What stands in for commands that would build for minutes or never end is the table in [`cargo`]. A block
//! that cannot be run is marked in its document:
//!
//! ```text
//! <!-- not run: needs a nightly toolchain -->
//! ```

mod cargo;
mod markdown;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::api::Program;
use crate::command;
use crate::report::clock;
use crate::services::{Folder, free_port, tail};
use crate::workspace::root;
use markdown::Document;

pub(crate) use cargo::called_in_place_of_cargo;

/// The documents that are run, in the order in which a newcomer meets them; then everything in these folders.
const FIRST: [&str; 2] = ["README.md", "CONTRIBUTING.md"];
const FOLDERS: [&str; 3] = ["docs/", "benches/", "fuzz/"];
/// A document that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(100);
/// The address that documents name. Each run has a port of its own, so that it gets in nobody's way.
const ADDRESS: &str = "127.0.0.1:7400";

/// What a person's shell does by itself, and what a script has to be told: aliases, and an end at the first failure.
/// Servers that were started end with the document.
const PROLOGUE: &str = r#"
unset BASH_ENV
shopt -s expand_aliases
trap 'echo "FAILED at ${0##*/script/}:$LINENO: $BASH_COMMAND" >&2' ERR
trap 'test ! -e "$SCALE_DOCS/servers" || kill $(cat "$SCALE_DOCS/servers")' EXIT
set -eEo pipefail
"#;

/// Runs every document.
///
/// # Errors
/// If a command of any of them fails; all of them are run before.
pub(crate) fn run(program: Program) -> Result<()> {
    let coordinator = program.build()?;
    let files =
        command::output(command::command("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))
            .context("the documents are run in a copy of the files that git knows")?;
    let files: Vec<&str> = files.split('\0').filter(|file| root().join(file).is_file()).collect();
    let folder = Folder::new(None)?;
    let mut failed = Vec::new();
    for (number, path) in documents(&files).into_iter().enumerate() {
        let document = Document::read(path)?;
        if document.blocks.is_empty() {
            continue;
        }
        let place = folder.path.join(number.to_string());
        if let Err(error) = run_one(&document, &place, &files, &coordinator) {
            eprintln!("error: {error:#}");
            failed.push(path);
        }
    }
    ensure!(failed.is_empty(), "commands fail in {}", failed.join(", "));
    Ok(())
}

fn documents<'a>(files: &[&'a str]) -> Vec<&'a str> {
    let is_first = |file: &&str| FIRST.contains(file);
    let first = files.iter().copied().filter(is_first);
    let in_folder = |file: &&str| file.ends_with(".md") && FOLDERS.iter().any(|folder| file.starts_with(folder));
    let mut all: Vec<&str> = first.collect();
    all.sort_by_key(|file| FIRST.iter().position(|name| name == file));
    all.extend(files.iter().copied().filter(in_folder));
    all
}

fn run_one(document: &Document, place: &Path, files: &[&str], coordinator: &Path) -> Result<()> {
    let started = Instant::now();
    let copy = place.join("copy");
    for file in files {
        write(&copy.join(file), &fs::read(root().join(file)).with_context(|| format!("cannot read {file}"))?)?;
    }
    let port = free_port()?;
    let script = place.join("script").join(&document.path);
    write(&script, document.script().replace(ADDRESS, &format!("127.0.0.1:{port}")).as_bytes())?;
    let prologue = place.join("prologue.sh");
    write(&prologue, PROLOGUE.as_bytes())?;
    let bin = place.join("bin");
    cargo::install(&bin)?;

    let log = place.join("output.log");
    let output = File::create(&log).context("cannot write the output")?;
    let mut bash = command::command("bash");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SCALE_")) {
        bash.env_remove(name);
    }
    let path = std::env::join_paths(
        std::iter::once(bin).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    bash.arg(&script).current_dir(&copy).env("PATH", path).env("BASH_ENV", &prologue);
    bash.env("SCALE_DOCS", place).env("SCALE_DOCS_COORDINATOR", coordinator);
    bash.env("SCALE_LISTEN", format!("127.0.0.1:{port}"));
    bash.stdout(output.try_clone()?).stderr(output);
    let result = command::run_within(LIMIT, &mut bash);

    for block in &document.blocks {
        let at = format!("{}:{}", document.path, block.line);
        match &block.not_run {
            Some(reason) => println!("  {at}: NOT RUN: {reason}"),
            None => println!("  {at}: {} lines", block.text.lines().count()),
        }
    }
    for line in cargo::substitutions(place) {
        println!("    instead: {line}");
    }
    println!("  {} in {}", document.path, clock(started.elapsed()));
    result.with_context(|| format!("{} ends with:\n{}", document.path, tail(&log)))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
