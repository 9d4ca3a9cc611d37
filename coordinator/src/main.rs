//! `scale-coordinator`: see `scale-coordinator --help`.

use std::process::ExitCode;

/// Rows are read on one thread and freed on another: a fifth of the REST facade's time less than with the system's
/// allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Everything that speaks TLS here uses ring; without a default, libraries would have to guess. It fails only when
    // there is a default already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    scale_coordinator::cli::main()
}
