//! A server of S3 for tests that kill everything else: `s3-under-test FOLDER [PORT]` prints its address, and ends with its
//! input.
#![allow(clippy::print_stdout)]

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use scale_tests::s3::S3Server;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().context("the first argument is a folder")?);
    let port = arguments.next().map(|port| port.to_string_lossy().parse()).transpose().context("a port")?;
    let server = S3Server::start(&folder, port.unwrap_or(0)).await?;
    println!("{}", server.endpoint());
    // This thread may wait: the server runs on the others.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
