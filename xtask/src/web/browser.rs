//! The protocol's test vectors and the core's own tests in Chromium, in a worker, which is where the product runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::command;
use crate::tally::Tally;
use crate::tools::{apt_install, on_path};
use crate::wasm::{self, Toolchain};
use crate::workspace::root;

/// Speaks to Chromium for the test runner; of the same version as Chromium, so from the same packages.
const DRIVER: &str = "chromedriver";

const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// # Errors
/// If the driver is missing and cannot be installed, or a test fails.
pub(super) fn test(toolchain: &Toolchain, chromium: &str, tally: &mut Tally) -> Result<()> {
    if !on_path(DRIVER) {
        apt_install(&["chromium-driver"], "there is no chromedriver, by which tests are run in Chromium")?;
    }
    let driver = command::output(command::command("sh").args(["-c", &format!("command -v {DRIVER}")]))?;
    let capabilities = root().join(wasm::TARGET_DIR).join("webdriver.json");
    write_capabilities(&capabilities, chromium)?;
    let environment = [
        ("WASM_BINDGEN_USE_DEDICATED_WORKER", "1".to_owned()),
        ("CHROMEDRIVER", driver.trim().to_owned()),
        ("WASM_BINDGEN_TEST_WEBDRIVER_JSON", capabilities.to_string_lossy().into_owned()),
        // A browser that has to start on a busy machine.
        ("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", "60".to_owned()),
    ];
    wasm::tests(toolchain, &environment, "chromium: ", tally)
}

/// How the test runner starts Chromium.
fn write_capabilities(path: &Path, chromium: &str) -> Result<()> {
    let text = json!({ "goog:chromeOptions": { "binary": chromium, "args": FLAGS } }).to_string();
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
