//! The real coordinator as a child of a measuring program, so that its memory and its time are its own: the program
//! starts itself again, told by its environment to be the coordinator.

use std::process::{Command, ExitCode};

/// In the environment of a child: be the coordinator.
const ROLE: &str = "SCALE_BENCH_COORDINATOR";

/// A command that is the coordinator, as `scale-coordinator` is, once its arguments are added.
///
/// # Errors
/// The path of this program is not known.
pub fn command() -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, "1");
    Ok(command)
}

/// What `main` does: it runs the measurement, or is the coordinator if this process is such a child. `false` and errors
/// make the program fail.
#[allow(clippy::print_stderr, reason = "the program's last word")]
pub fn main_or(measure: impl FnOnce() -> anyhow::Result<bool>) -> ExitCode {
    if std::env::var_os(ROLE).is_some() {
        // It fails only when there is a default already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        return scale_server::cli::main();
    }
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
