//! docs/threat-model.md names lies and tests: all of them exist, and none of the lies is missing.

use std::fs;
use std::path::Path;

const THREAT_MODEL: &str = include_str!("../../../docs/threat-model.md");

#[test]
fn the_threat_model_names_every_lie() {
    let lies = super::all_lies();
    for lie in &lies {
        assert!(THREAT_MODEL.contains(&format!("“{}”", lie.name)), "not in the table of checks: {}", lie.name);
    }
    let quoted = THREAT_MODEL.split('“').skip(1).filter_map(|rest| rest.split('”').next());
    for name in quoted {
        assert!(lies.iter().any(|lie| lie.name == name), "no such lie: {name}");
    }
}

#[test]
fn the_threat_model_names_real_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut named = 0;
    for code in THREAT_MODEL.split('`').skip(1).step_by(2) {
        let Some((file, test)) = code.split_once("::").filter(|(file, _)| file.ends_with(".rs")) else { continue };
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no test {test}");
        named += 1;
    }
    assert!(named >= 12, "{named} tests are named");
}
