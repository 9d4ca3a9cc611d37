//! The generator is of the library's version of uniffi. Cargo builds a package's program with its tests only where there is an
//! integration test: the steps after `cargo test --workspace` take the program that this one has made it build.

use std::path::Path;
use std::process::Command;

#[test]
fn the_generator_and_the_library_are_of_one_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_uniffi-bindgen")).arg("--version").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lock = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock")).unwrap();
    let versions: Vec<&str> = lock
        .split("[[package]]")
        .filter(|package| package.contains("name = \"uniffi\"\n"))
        .flat_map(|package| package.lines().find_map(|line| line.strip_prefix("version = ")))
        .map(|version| version.trim_matches('"'))
        .collect();
    let [version] = versions[..] else { panic!("more than one version of uniffi, or none: {versions:?}") };
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("uniffi-bindgen {version}"));
}
