//! One device as a process, so that tests can kill it: FOLDER STATE noise|plain, then `take ROUND STOP_AT` or `reset`.
#![allow(clippy::print_stdout)]

use std::path::Path;

use anyhow::{Context as _, bail};
use scale_tests::solo::device;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [folder, state, noise, command @ ..] = &words[..] else { bail!("FOLDER STATE noise|plain COMMAND") };
    let (folder, state, noise) = (Path::new(folder), Path::new(state), *noise == "noise");
    match command {
        ["take", round, stop_at] => {
            let (round, stop_at) = (round.parse().context("ROUND")?, stop_at.parse().context("STOP_AT")?);
            println!("{}", device::run(folder, state, round, noise, stop_at).await?);
        }
        ["reset"] => println!("{}", device::reset(folder, state).await?),
        other => bail!("unknown command {other:?}"),
    }
    Ok(())
}
