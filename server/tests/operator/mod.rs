//! The binary in an operator's hands.
// Every test file uses its part of it.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const BINARY: &str = env!("CARGO_BIN_EXE_scale-coordinator");

/// Words that make a small task whose rounds an operator opens. `privacy`: what follows `--privacy`.
pub fn create<'w>(task: &'w str, privacy: &[&'w str]) -> Vec<&'w str> {
    let words = ["task", "create", task, "--model", "mlp", "--inputs", "4", "--hidden", "3", "--labels", "a,b"];
    [&words[..], &["--schedule", "manual", "--privacy"], privacy].concat()
}

pub fn command(data: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    for name in ["SCALE_SERVER", "SCALE_TOKEN", "SCALE_CONFIG", "SCALE_LISTEN", "SCALE_LOG"] {
        command.env_remove(name);
    }
    command.env("SCALE_DATA", data).args(words);
    command
}

pub fn run(data: &Path, words: &[&str]) -> Output {
    command(data, words).output().unwrap()
}

/// Runs a command that must succeed, and reads the one document that it prints.
pub fn json(data: &Path, words: &[&str]) -> serde_json::Value {
    let output = run(data, &[words, &["--json"]].concat());
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A coordinator that ends with the test, also when the test is killed: the other end of its input is here.
pub struct Served {
    pub child: Child,
    pub out: PathBuf,
    log: PathBuf,
}

impl Served {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// [`Self::start`], with more words on the command line.
    pub fn start_with(data: &Path, more: &[&str]) -> Self {
        // Files, because a pipe that nobody empties would stop the coordinator when it is full.
        let (out, log) = (data.with_extension("out"), data.with_extension("log"));
        let child = command(data, &["serve", "--listen", "127.0.0.1:0", "--log", "debug", "--until-stdin-ends"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut served = Self { child, out, log };
        let patience = Instant::now() + Duration::from_secs(60);
        while !run(data, &["health"]).status.success() {
            assert!(served.child.try_wait().unwrap().is_none() && Instant::now() < patience, "it did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        served
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Asks it to stop, and waits for that; what it printed and logged.
    pub fn stop(mut self) -> (String, String) {
        self.ask_to_stop();
        let status = self.child.wait().unwrap();
        let [out, log] = [&self.out, &self.log].map(|path| std::fs::read_to_string(path).unwrap());
        assert_eq!(status.code(), Some(0), "{log}");
        (out, log)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
