//! The coordinator's own entry point, built as a binary of this package so that its tests can start and kill it.

fn main() -> std::process::ExitCode {
    scale_coordinator::cli::run()
}
