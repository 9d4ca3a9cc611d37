//! However the fleet's process ends, its coordinator ends with it.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A demo with a coordinator that listens at `address`.
fn demo(folder: &Path) -> (Child, String) {
    let mut fleet = Command::new(env!("CARGO_BIN_EXE_fleet"))
        .args(["demo", "--devices", "13", "--rounds", "50", "--no-baselines", "--keep"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the fleet starts");
    let started = Instant::now();
    loop {
        assert_eq!(fleet.try_wait().expect("its own child"), None, "the demo goes on for long");
        let status = std::fs::read(folder.join("coordinator/coordinator.json"));
        let status: Option<serde_json::Value> = status.ok().and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(url) = status.as_ref().and_then(|status| status["url"].as_str()) {
            return (fleet, url.trim_start_matches("http://").to_owned());
        }
        assert!(started.elapsed() < Duration::from_secs(60), "no coordinator");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_coordinator_ends_with_the_fleet() {
    // Not HUP: who starts the tests with nohup has it ignored, here and in the fleet.
    for signal in ["-TERM", "-KILL"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut fleet, address) = demo(folder.path());
        TcpStream::connect(&address).expect("the coordinator listens");
        // Devices are in the middle of things.
        std::thread::sleep(Duration::from_secs(1));
        let killed = Command::new("kill").args([signal, &fleet.id().to_string()]).status().expect("`kill` runs");
        assert!(killed.success());
        assert!(!fleet.wait().expect("its own child").success(), "a demo that was ended has not ended well");
        let ended = Instant::now();
        let status_file = folder.path().join("coordinator/coordinator.json");
        // It takes the file away last: it has ended in good order.
        while status_file.exists() || TcpStream::connect(&address).is_ok() {
            assert!(ended.elapsed() < Duration::from_secs(5), "{signal}: the coordinator still runs");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The parent process reads one line, and has nothing to clean up.
#[test]
fn neighbors_tell_how_to_join_them_and_end_with_their_input() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut fleet = Command::new(env!("CARGO_BIN_EXE_fleet"))
        .args(["neighbors", "--devices", "10", "--before", "0", "--until-stdin-ends", "--keep"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the fleet starts");
    let (input, mut line) = (fleet.stdin.take(), String::new());
    let output = fleet.stdout.take().expect("it is a pipe");
    BufReader::new(output).read_line(&mut line).expect("the fleet writes text");
    let facts: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    let text = |name: &str| facts[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}")).to_owned();
    assert_eq!((text("task").as_str(), text("task_key").len()), ("categorizer", 64));
    assert!(text("enroll_token").starts_with("scale_enroll_"));
    let address = text("url").trim_start_matches("http://").to_owned();
    TcpStream::connect(&address).expect("the coordinator listens");
    drop(input);
    assert!(fleet.wait().expect("its own child").success());
    TcpStream::connect(&address).expect_err("the coordinator has ended");
}
