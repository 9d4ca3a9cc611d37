//! `scale-coordinator`: see `scale-coordinator --help`.

use std::process::ExitCode;

/// Rows are read on one thread and freed on another, which the system's allocator pays for with locks: under the REST
/// facade's load, half of the CPU time was there and in waking threads for rows.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Everything that speaks TLS here uses ring; without a default, libraries would have to guess. It fails only when
    // there is a default already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    scale_coordinator::cli::main()
}
