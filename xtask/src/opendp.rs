//! The privacy crate against opendp, a package apart: its conversions, its price of noise, its sampler.

use anyhow::{Result, ensure};

use crate::command;
use crate::tally::Tally;
use crate::workspace::target_dir;

const MANIFEST: &str = "privacy/oracle/Cargo.toml";

pub(crate) fn run(tally: &mut Tally) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--locked", "--manifest-path", MANIFEST]);
    // Inside the ordinary folder, where it is found and cleaned, but apart: it has a lock file of its own.
    cargo.arg("--target-dir").arg(target_dir().join("opendp"));
    let mut own = Tally::default();
    let result = command::run_reading(&mut cargo, |line| own.read_line(line)).and_then(|()| {
        ensure!(own.passed() > 0, "{MANIFEST} has no test");
        Ok(())
    });
    tally.absorb("opendp: ", own);
    result
}
