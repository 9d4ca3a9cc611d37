//! `scale-coordinator`: see `scale-coordinator --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Everything that speaks TLS here uses ring; without a default, libraries would have to guess. It fails only when
    // there is a default already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    scale_server::cli::main()
}
