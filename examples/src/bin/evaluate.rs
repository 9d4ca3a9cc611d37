//! Measures a model file on a list of merchants, and prints one line of JSON.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use clap::Parser;
use scale_examples::evaluate::{Evaluator, names, read_model};
use scale_examples::merchants;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures a model on merchants: prints `{"accuracy": share of 1, "n": merchants}`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Model file: safetensors, as the coordinator publishes it.
    #[arg(long)]
    model: PathBuf,
    /// CSV with the columns `merchant` and `category`; others are ignored.
    #[arg(long)]
    data: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (spec, weights) = read_model(&arguments.model)?;
    anyhow::ensure!(
        spec.labels == merchants::categories(),
        "the model's classes are not the spending categories: {:?}",
        spec.labels
    );
    let merchants = merchants::from_file(&arguments.data)?;
    let score = Evaluator::new(&spec, &names(&merchants))?.score(&weights)?;
    println!("{}", serde_json::to_string(&score)?);
    Ok(())
}
