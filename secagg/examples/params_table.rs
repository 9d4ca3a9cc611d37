//! Prints `src/params/table.rs` from the known answers: `cargo run -p scale-secagg --example params_table`.
#![allow(clippy::print_stdout)]

use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    classes: Vec<Class>,
}

#[derive(Deserialize)]
struct Class {
    k_t: Vec<(u32, u16, u16)>,
    window_limit: Vec<(u32, u16)>,
}

fn main() {
    let file: File = serde_json::from_str(include_str!("../tests/vectors/13_params.json")).expect("13_params.json");
    println!("//! Parameters of sparse graphs as runs: each line holds from its first n up to the next run's first n.");
    println!("//! Generated from tests/vectors/13_params.json by examples/params_table.rs; not edited by hand.");
    for (name, class) in ["DEFAULT", "PARANOID"].into_iter().zip(file.classes) {
        let runs: Vec<_> = class.k_t.iter().map(|(n, k, t)| format!("({n},{k},{t}),")).collect();
        print("(first n, k, t)", &format!("K_T_{name}: &[(u32, u16, u16)]"), &runs);
        let runs: Vec<_> = class.window_limit.iter().map(|(n, q)| format!("({n},{q}),")).collect();
        print("(first n, window limit)", &format!("WINDOW_{name}: &[(u32, u16)]"), &runs);
    }
}

fn print(doc: &str, head: &str, runs: &[String]) {
    println!("\n/// {doc}.\npub(super) const {head} = &[");
    let mut line = String::new();
    for run in runs {
        if line.len() + run.len() > 112 {
            println!("    {}", line.trim_end());
            line.clear();
        }
        line.push_str(run);
        line.push(' ');
    }
    println!("    {}\n];", line.trim_end());
}
