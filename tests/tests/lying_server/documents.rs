//! docs/threat-model.md names lies and tests: all of them exist, and none of the lies is missing. So do the tests that
//! README.md promises.

use std::fs;
use std::path::Path;

const THREAT_MODEL: &str = include_str!("../../../docs/threat-model.md");
const README: &str = include_str!("../../../README.md");

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
    let named = real_tests(THREAT_MODEL);
    assert!(named >= 12, "{named} tests are named");
}

/// Each row of the table of promises names tests, or a page with measurements; all of them exist.
#[test]
fn every_promise_of_the_readme_names_real_tests() {
    let table = README.split("| promise | shown by |").nth(1).expect("the table of promises");
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 7, "{} promises", rows.len());
    for row in rows {
        let shown_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let pages = shown_by.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let pages = pages.inspect(|page| assert!(root().join(page).exists(), "{page}: {row}")).count();
        assert!(real_tests(shown_by) + pages > 0, "nothing shows this: {row}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Checks that every test named as `FILE.rs::NAME`, or as `FILE.mjs::PART OF ITS NAME`, exists, and gives their number.
fn real_tests(text: &str) -> usize {
    let mut named = 0;
    for code in text.split('`').skip(1).step_by(2) {
        let Some((file, test)) = code.split_once("::") else { continue };
        let there = match Path::new(file).extension().and_then(|extension| extension.to_str()) {
            Some("rs") => format!("fn {test}("),
            Some("mjs") => test.to_owned(),
            _ => continue,
        };
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&there), "{file} has no test {test}");
        named += 1;
    }
    named
}
