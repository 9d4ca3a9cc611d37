//! The data folder: who can read it, and what happens when a part of it is lost.
#![cfg(unix)]

mod operator;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use operator::{BINARY, Served, create, json, run, stderr};

/// A start that must fail: what it says.
fn refused(data: &Path, more: &[&str]) -> String {
    let output: Output = run(data, &[&["serve", "--listen", "127.0.0.1:0"][..], more].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}

fn task_key(data: &Path) -> String {
    let status: serde_json::Value = serde_json::from_slice(&fs::read(data.join("coordinator.json")).unwrap()).unwrap();
    status["task_key"].as_str().unwrap().to_owned()
}

/// Everything below `path` that group or others have a right on.
fn open_to_others(path: &Path, seen: &mut usize) -> Vec<PathBuf> {
    let found = fs::symlink_metadata(path).unwrap();
    *seen += 1;
    let mut open = if found.permissions().mode() & 0o077 == 0 { vec![] } else { vec![path.to_owned()] };
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            open.append(&mut open_to_others(&entry.unwrap().path(), seen));
        }
    }
    open
}

/// The usual mask of a shell; the test's own may be stricter.
fn under_usual_mask(data: &Path, words: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask 022 && exec \"$0\" {words}"), BINARY]).env("SCALE_DATA", data);
    command
}

#[test]
fn nobody_else_can_read_a_folder_that_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    // One command that leaves people's rows behind, and one that keeps the process running over the rest.
    let migrated = under_usual_mask(&data, "migrate").output().unwrap();
    assert!(migrated.status.success(), "{}", stderr(&migrated));
    assert!(stderr(&migrated).contains("others could read"), "{}", stderr(&migrated));
    let minted = under_usual_mask(&data, "token mint --kind person").output().unwrap();
    assert!(minted.status.success(), "{}", stderr(&minted));
    // As an earlier build left it.
    fs::set_permissions(data.join("people.sqlite3"), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    let log = folder.path().join("log");
    let mut served = under_usual_mask(&data, "serve --listen 127.0.0.1:0")
        .stdout(fs::File::create(folder.path().join("out")).unwrap())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let started = std::time::Instant::now();
    while !run(&data, &["health"]).status.success() && started.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    json(&data, &create("small", &["none"]));
    let mut seen = 0;
    let open = open_to_others(&data, &mut seen);
    let model = folder.path().join("model.safetensors");
    let words = format!("models download small --output {}", model.display());
    let downloaded = under_usual_mask(&data, &words).output().unwrap();
    served.kill().unwrap();
    served.wait().unwrap();
    let log = fs::read_to_string(log).unwrap();
    assert!(open.is_empty(), "others can read {open:#?}\n{log}");
    for name in ["coordinator.sqlite3-wal", "people.sqlite3", "people.sqlite3-wal", "secrets.json", "lock", "blobs"] {
        assert!(data.join(name).exists(), "{name} is not there: {seen} files");
    }
    assert!(log.contains("others could read") && log.contains("WARN"), "{log}");
    assert!(downloaded.status.success(), "{}", stderr(&downloaded));
    assert_eq!(fs::metadata(&model).unwrap().permissions().mode() & 0o777, 0o644, "an operator's own file");
}

#[test]
fn secrets_that_are_lost_stop_the_start_until_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let served = Served::start(&data);
    json(&data, &create("small", &["none"]));
    let key = task_key(&data);
    served.stop();
    let secrets = data.join("secrets.json");
    let kept = fs::read(&secrets).unwrap();

    fs::remove_file(&secrets).unwrap();
    let said = refused(&data, &[]);
    for part in ["no secrets.json", &key, "every enrolled device", "from the backup", "--new-identity"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!secrets.exists() && !data.join("coordinator.json").exists(), "nothing is half done");

    // Half a file, and half of the keys.
    fs::write(&secrets, &kept[..kept.len() / 2]).unwrap();
    let said = refused(&data, &["--new-identity"]);
    assert!(said.contains("not a secrets file") && said.contains("from the backup"), "{said}");
    let mut keys: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    keys["task_seed"] = "07".repeat(32).into();
    fs::write(&secrets, keys.to_string()).unwrap();
    let said = refused(&data, &[]);
    assert!(said.contains(&format!("belongs to task key {key}")), "{said}");

    // The right file, and nothing is lost.
    fs::write(&secrets, &kept).unwrap();
    let served = Served::start(&data);
    assert_eq!(task_key(&data), key);
    served.stop();

    fs::remove_file(&secrets).unwrap();
    let served = Served::start_with(&data, &["--new-identity"]);
    let other = task_key(&data);
    assert_ne!(other, key);
    assert_eq!(json(&data, &["task", "list"])[0]["task"], "small", "the rows are the same");
    let (_, log) = served.stop();
    assert!(log.contains("WARN") && log.contains("another identity"), "{log}");
    let served = Served::start(&data);
    assert_eq!(task_key(&data), other);
    served.stop();
}

#[test]
fn a_database_that_is_lost_is_told_and_a_task_made_again_counts_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let open = || json(&data, &["rounds", "open", "small"]);
    let abandon = |round: &serde_json::Value| {
        json(&data, &["rounds", "abandon", round["round"].as_str().unwrap(), "--reason", "only a test"]);
        round["number"].as_u64().unwrap()
    };
    let served = Served::start(&data);
    json(&data, &create("small", &["none"]));
    let first = abandon(&open());
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = seconds();
    assert!((now - 60..=now).contains(&first), "{first} is not the present second {now}");
    let last = abandon(&open());
    assert!(last > first);
    let key = task_key(&data);
    served.stop();

    for part in ["coordinator.sqlite3", "coordinator.sqlite3-wal", "coordinator.sqlite3-shm"] {
        let _ = fs::remove_file(data.join(part));
    }
    // Two rounds have opened within a second.
    while seconds() <= last {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let served = Served::start(&data);
    assert_eq!(task_key(&data), key);
    json(&data, &create("small", &["none"]));
    assert!(abandon(&open()) > last, "devices that joined round {last} would refuse");
    let (_, log) = served.stop();
    assert!(log.contains("WARN") && log.contains("the database is new"), "{log}");
    // A first start has nothing to tell of.
    let (_, log) = Served::start(&folder.path().join("fresh")).stop();
    assert!(!log.contains("the database is new") && !log.contains("another identity"), "{log}");
}

#[test]
fn a_task_that_no_device_would_join_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _served = Served::start(&data);
    let output = run(&data, &create("small", &["none", "--max-weight", "1000"]));
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    // 4 x 3 + 3 + 3 x 2 + 2 parameters and 4 statistics: ceil(64 sqrt 27).
    for part in ["training.max_weight", "1000", "at most 333"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(json(&data, &["task", "list"]), serde_json::json!([]), "nothing was made");
    json(&data, &create("small", &["none"]));
    assert_eq!(json(&data, &["task", "list"])[0]["config"]["training"]["max_weight"], 333);
}
