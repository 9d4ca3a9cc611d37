//! The optional back ends of the devices' training: the same training on each, within rounding.
//!
//! Plain `cargo test` sees flex alone. Here come the features: `ndarray` and `avx512` are built and run, `wgpu` is
//! type-checked; running it needs Vulkan, so that is a command of its own. All of them share cargo's ordinary build folder:
//! a crate is built once more only where a feature changes it.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::command;
use crate::report::Report;
use crate::tally::Tally;
use crate::tools::apt_install;

const PACKAGE: &str = "scale-client-core";
const TESTS: &str = "train::tests::parity::";

/// What `test` and `ci` run.
pub(crate) fn steps(report: &mut Report) {
    report.test_step("back ends", |tally| parity("ndarray,avx512", tally));
    report.step("wgpu compiles", || {
        let check = ["check", "--locked", "--package", PACKAGE, "--lib", "--tests", "--features", "wgpu"];
        command::run(command::cargo().args(check))
    });
}

/// The same training on a GPU, or on Mesa's software rendering where there is none.
pub(crate) fn wgpu(report: &mut Report) {
    report.test_step("wgpu", |tally| {
        ensure_vulkan()?;
        parity("wgpu", tally)
    });
}

fn parity(features: &str, tally: &mut Tally) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--locked", "--package", PACKAGE, "--lib", "--features", features]);
    // Shows how far apart they are.
    cargo.args(["--", "--nocapture", TESTS]);
    let mut own = Tally::default();
    let result = command::run_reading(&mut cargo, |line| own.read_line(line)).and_then(|()| {
        ensure!(own.passed() >= 3, "only {} tests of {TESTS} ran", own.passed());
        Ok(())
    });
    tally.absorb(&format!("{features}: "), own);
    result
}

/// A Vulkan driver; `VK_DRIVER_FILES` may name one. The newest that Debian has renders in software.
fn ensure_vulkan() -> Result<()> {
    let drivers = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let has_driver = |folder: &&str| Path::new(folder).read_dir().is_ok_and(|mut files| files.next().is_some());
    if !cfg!(target_os = "linux") || std::env::var_os("VK_DRIVER_FILES").is_some() || drivers.iter().any(has_driver) {
        return Ok(());
    }
    apt_install(&["libvulkan1", "mesa-vulkan-drivers"], "there is no Vulkan driver")
}
