//! Generates the package's `types.ts`, and holds the file in the repository against it.

use ts_rs::{Config, TS};

use super::*;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wasm/package/src/types.ts");

/// The declaration with its comment, indented as the package's other files are.
fn declaration<T: TS>(config: &Config) -> String {
    let docs = T::docs().unwrap_or_default();
    format!("{docs}export {}\n", T::decl(config))
}

fn typescript() -> String {
    let config = Config::new().with_large_int("number");
    let declarations = [
        declaration::<Installation>(&config),
        declaration::<Requirements>(&config),
        declaration::<Power>(&config),
        declaration::<ExampleLimits>(&config),
        declaration::<Guardrails>(&config),
        declaration::<PrivacyLimits>(&config),
        declaration::<PrivacyCaps>(&config),
        declaration::<Example>(&config),
        declaration::<PutSummary>(&config),
        declaration::<Prediction>(&config),
        declaration::<Scored>(&config),
        declaration::<ModelInfo>(&config),
        declaration::<Outcome>(&config),
        declaration::<Phase>(&config),
        declaration::<Progress>(&config),
        declaration::<ProgressEvent>(&config),
        declaration::<Epsilon>(&config),
        declaration::<Epsilons>(&config),
        declaration::<Status>(&config),
        declaration::<Missing>(&config),
        declaration::<LastRun>(&config),
        declaration::<ExampleCounts>(&config),
        declaration::<Durability>(&config),
        declaration::<PrivacyReport>(&config),
        declaration::<Receipt>(&config),
        declaration::<Participation>(&config),
        declaration::<Protection>(&config),
        declaration::<ErrorKind>(&config),
        declaration::<Failure>(&config),
    ];
    let head = "// Generated from bindings/src/types by `SCALE_WRITE_TYPES=1 cargo test -p scale-bindings typescript`. Do not edit.\n";
    let text = format!("{head}\n{}", declarations.join("\n"));
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

#[test]
fn the_packages_types_are_those_of_the_core() {
    let generated = typescript();
    if std::env::var_os("SCALE_WRITE_TYPES").is_some() {
        std::fs::write(PATH, &generated).unwrap();
    }
    let stored = std::fs::read_to_string(PATH).unwrap_or_default();
    assert_eq!(stored, generated, "{PATH} is out of date: SCALE_WRITE_TYPES=1 cargo test -p scale-bindings typescript");
}
