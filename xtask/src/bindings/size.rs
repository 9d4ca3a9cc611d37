//! What the published library weighs, and that nothing of the tests is in it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::folder;
use super::library::{Library, file_name};
use crate::command;
use crate::tools::{apt_install, on_path};

/// Stripped, as an app carries it. Measured for the machine that builds it; 1 MB is 1,000,000 bytes.
const MOST: u64 = 8_000_000;

/// How the name of every function that the library exports begins.
const EXPORTED: &[u8] = b"uniffi_scale_fl_sdk_fn_";

/// In the name of every one that the feature `testing` adds.
const OF_TESTS: &str = "_testing_";

/// Prints the size of the published library, and looks for the tests' functions in both.
///
/// # Errors
/// If it is too large, or has a function of the tests.
pub(super) fn check(published: &Library, testing: Option<&Library>) -> Result<()> {
    let stripped = folder().join("library/release/stripped").join(file_name());
    strip(&published.shared, &stripped)?;
    let size = |path: &Path| {
        let metadata = path.metadata().with_context(|| format!("cannot read {}", path.display()))?;
        anyhow::Ok(metadata.len())
    };
    let (whole, small) = (size(&published.shared)?, size(&stripped)?);
    println!(
        "  {}: {} MB, stripped {} MB, at most {} MB",
        file_name(),
        megabytes(whole),
        megabytes(small),
        megabytes(MOST)
    );
    ensure!(small <= MOST, "the library is too large: {} MB stripped, at most {}", megabytes(small), megabytes(MOST));
    let found = of_tests(&read(&published.shared)?);
    ensure!(
        found.is_empty(),
        "the published library has functions of the feature `testing` ({}): see `cargo tree -p scale-bindings -e features`",
        found.into_iter().collect::<Vec<_>>().join(", ")
    );
    if let Some(testing) = testing {
        ensure!(
            !of_tests(&read(&testing.shared)?).is_empty(),
            "no function of the feature `testing` is found even in the library for tests: does uniffi name them otherwise now?"
        );
    }
    Ok(())
}

fn strip(library: &Path, into: &Path) -> Result<()> {
    if !on_path("strip") {
        apt_install(&["binutils"], "there is no `strip` to measure the library with")?;
    }
    let folder = into.parent().context("a file lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // What Xcode and Android's Gradle plugin do with a release.
    let what = if cfg!(target_os = "macos") { "-x" } else { "--strip-unneeded" };
    command::run(command::command("strip").arg(what).arg("-o").arg(into).arg(library))
}

fn read(library: &Path) -> Result<Vec<u8>> {
    std::fs::read(library).with_context(|| format!("cannot read {}", library.display()))
}

/// The exported functions of the feature `testing`, found by their names among the library's symbols.
fn of_tests(library: &[u8]) -> BTreeSet<String> {
    let starts = library.windows(EXPORTED.len()).enumerate().filter(|(_, window)| *window == EXPORTED);
    let names = starts.map(|(start, _)| {
        let name = library[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
        name.map(|byte| char::from(*byte)).collect::<String>()
    });
    names.filter(|name| name.contains(OF_TESTS)).collect()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_tests_are_found_by_their_names() {
        let [free, method] = [
            "uniffi_scale_fl_sdk_fn_func_testing_panic",
            "uniffi_scale_fl_sdk_fn_method_nativeclient_testing_participate",
        ];
        let others = "a crate::testing_panic\0uniffi_scale_fl_sdk_fn_func_sdk_version\0";
        let with = |names: &str| of_tests(format!("\u{7f}ELF {others}{names}\0").as_bytes());
        assert_eq!(with(""), BTreeSet::new());
        assert_eq!(with(&format!("{free}\0{method}\0{free}")), BTreeSet::from([free.to_owned(), method.to_owned()]));
    }
}
