//! Starting other programs: shown before they run, with a clean environment, and errors that name them.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Starts `program` at the repository's root.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(crate::workspace::root());
    // `cargo run` describes this package to its child. Build scripts (ring's, for one) rebuild when these change, so a
    // cargo started from here must see what a cargo started by hand sees.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let about_this_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if about_this_package.iter().any(|prefix| name_text.starts_with(prefix)) || name_text == "CARGO_PRIMARY_PACKAGE"
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Starts the cargo that started this program.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs to the end with output on the terminal.
///
/// # Errors
/// If the program cannot be started or exits with anything but 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| cannot_start(command))?;
    check(command, status)
}

/// Runs to the end and returns what it wrote to stdout. Its stderr stays on the terminal.
///
/// # Errors
/// If the program cannot be started, exits with anything but 0, or writes something other than UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| cannot_start(command))?;
    check(command, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("`{}` did not write UTF-8", shown(command)))
}

/// True if the program starts and exits with 0. Its output is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// Runs with output on the terminal and ends the program after `limit`.
///
/// # Errors
/// If the program cannot be started, exits with anything but 0, or is still running after `limit`.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Result<()> {
    announce(command);
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| cannot_start(command))?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return check(command, status);
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("`{}` did not finish within {} s", shown(command), limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs with output on the terminal, and hands each line (stdout and stderr in the order written) to `read_line`.
///
/// # Errors
/// If the program cannot be started or exits with anything but 0.
pub(crate) fn run_reading(command: &mut Command, mut read_line: impl FnMut(&str)) -> Result<()> {
    announce(command);
    if io::stdout().is_terminal() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| cannot_start(command))?;
    // The command holds the pipe's writing end: while it does, reading would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let mut stdout = io::stdout();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        stdout.flush()?;
        read_line(&text);
        line.clear();
    }
    let status = child.wait()?;
    check(command, status)
}

/// The command line as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit(['/', '\\']).next().unwrap_or(&program).to_owned();
    let words = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

fn announce(command: &Command) {
    println!("  $ {}", shown(command));
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", command.get_program().to_string_lossy())
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        Ok(())
    } else {
        bail!("`{}` failed ({status})", shown(command));
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn reads_both_outputs_in_order_and_reports_the_exit_status() {
        let mut lines = Vec::new();
        let error = run_reading(&mut shell("echo one; echo two >&2; echo three; exit 3"), |line| {
            lines.push(line.trim().to_owned());
        });
        assert_eq!(lines, ["one", "two", "three"]);
        assert!(error.unwrap_err().to_string().contains("exit status: 3"));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let error = run_within(Duration::from_millis(200), &mut shell("exec sleep 60")).unwrap_err();
        assert!(error.to_string().contains("did not finish"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(format!("{error:#}").contains("no-such-program-here"));
    }
}
