//! The device's process, from outside.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use super::world::{Sent, World};

/// An installation in a folder of its own.
pub struct Installation {
    binary: PathBuf,
    folder: tempfile::TempDir,
    /// Whether its rounds carry noise.
    noise: bool,
}

/// A process that waits to be killed.
pub struct Stopped {
    child: Child,
    /// Where it stopped.
    pub point: String,
}

impl Stopped {
    /// Kills it as the kernel would: no handler runs, nothing is flushed.
    ///
    /// # Errors
    /// It is gone already.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Installation {
    /// A new one. `binary`: `env!("CARGO_BIN_EXE_device-under-test")`.
    ///
    /// # Errors
    /// No temporary folder.
    pub fn new(binary: &str, noise: bool) -> anyhow::Result<Self> {
        Ok(Self { binary: binary.into(), folder: tempfile::tempdir()?, noise })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The ledger's log.
    pub fn log(&self) -> PathBuf {
        self.folder().join("ledger/log")
    }

    /// What the device has sent in round `number`.
    pub fn sent(&self, number: u64) -> Vec<Sent> {
        World::new(self.folder(), number, self.noise).sent()
    }

    /// Runs the device to the end.
    ///
    /// # Errors
    /// It fails, or says nothing.
    pub fn run(&self, number: u64) -> anyhow::Result<Value> {
        let (mut child, mut out) = self.start("state", &["take", &number.to_string(), "0"])?;
        let mut text = String::new();
        out.read_to_string(&mut text)?;
        anyhow::ensure!(child.wait()?.success(), "the device failed: {text}");
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }

    /// What it says of its ledger, asked by another process with a store of its own: `code` and `report`.
    ///
    /// # Errors
    /// It fails, or says nothing.
    pub fn report(&self) -> anyhow::Result<Value> {
        let (mut child, mut out) = self.start("other", &["take", "0", "0"])?;
        let mut text = String::new();
        out.read_to_string(&mut text)?;
        anyhow::ensure!(child.wait()?.success(), "the device failed: {text}");
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }

    /// Resets the ledger; whether there was a reason to.
    ///
    /// # Errors
    /// It fails.
    pub fn reset(&self) -> anyhow::Result<bool> {
        let (mut child, mut out) = self.start("state", &["reset"])?;
        let mut text = String::new();
        out.read_to_string(&mut text)?;
        anyhow::ensure!(child.wait()?.success(), "the device failed: {text}");
        Ok(text.trim() == "true")
    }

    /// Runs the device up to point `stop_at`; what it says if it ends before.
    ///
    /// # Errors
    /// It fails.
    pub fn stop(&self, number: u64, stop_at: u32) -> anyhow::Result<Result<Stopped, Value>> {
        let (mut child, out) = self.start("state", &["take", &number.to_string(), &stop_at.to_string()])?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        match line.trim().strip_prefix("stopped ") {
            Some(point) => Ok(Ok(Stopped { child, point: point.to_owned() })),
            None => {
                anyhow::ensure!(child.wait()?.success(), "the device failed: {line}");
                Ok(Err(serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?))
            }
        }
    }

    fn start(&self, state: &str, command: &[&str]) -> anyhow::Result<(Child, ChildStdout)> {
        let mut child = Command::new(&self.binary)
            .arg(self.folder())
            .arg(self.folder().join(state))
            .arg(if self.noise { "noise" } else { "plain" })
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        let out = child.stdout.take().context("stdout is piped")?;
        Ok((child, out))
    }
}
