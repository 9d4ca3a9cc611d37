//! The coordinator's own entry point, built as a binary of this package so that its tests can start and kill it.

fn main() -> std::process::ExitCode {
    // As `scale-coordinator` does; it fails only when there is a default already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    scale_server::cli::main()
}
