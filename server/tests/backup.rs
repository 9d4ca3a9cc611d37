//! A coordinator that is backed up while it runs, lost, and put back.
#![cfg(unix)]

mod operator;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use operator::{Served, create, json, run, stderr};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Sentences of a restore's notes, by their codes.
fn notes<'d>(document: &'d Value, code: &str) -> Vec<&'d str> {
    let notes = document["notes"].as_array().unwrap().iter().filter(|note| note["code"] == code);
    notes.map(|note| note["sentence"].as_str().unwrap()).collect()
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(folder) else { return Vec::new() };
    found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_running_coordinator_is_backed_up_and_another_folder_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, file) = (at("data"), at("today.backup"));
    let served = Served::start(&data);
    json(&data, &create("small", &["none"]));
    let round = json(&data, &["rounds", "open", "small"]);
    let saved = json(&data, &["backup", text(&file), "--with-secrets"]);
    assert_eq!((&saved["blobs"], &saved["secrets"]), (&1.into(), &true.into()), "{saved}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let plain = run(&data, &["backup", text(&at("plain.backup"))]);
    let said = String::from_utf8(plain.stdout).unwrap();
    assert!(said.contains("secrets.json is not in it") && said.contains("people.sqlite3 \".backup"), "{said}");
    let again = run(&data, &["backup", text(&file)]);
    assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
    // What comes after it is not in it.
    json(&data, &create("later", &["none"]));
    served.stop();

    let other = at("other");
    let restored = json(&other, &["restore", text(&file)]);
    assert_eq!((&restored["secrets"], &restored["engine"]), (&"restored".into(), &"sqlite".into()), "{restored}");
    assert_eq!(restored["open_rounds"][0]["number"], round["number"]);
    assert_eq!(restored["tasks"][0]["numbers"], "rise");
    for code in ["one_coordinator", "round_open", "models_forgotten", "tokens", "people", "numbers_rise"] {
        assert_eq!(notes(&restored, code).len(), 1, "{code}: {restored}");
    }
    assert!(notes(&restored, "secrets_missing").is_empty() && notes(&restored, "privacy_account").is_empty());
    let refused = run(&other, &["restore", text(&file)]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("not_empty") && stderr(&refused).contains("empty place"), "{}", stderr(&refused));

    let status =
        |data: &Path| -> Value { serde_json::from_slice(&fs::read(data.join("coordinator.json")).unwrap()).unwrap() };
    let served = Served::start(&other);
    let tasks = json(&other, &["task", "list"]);
    assert_eq!(tasks.as_array().unwrap().len(), 1, "{tasks}");
    let shown = json(&other, &["rounds", "show", round["round"].as_str().unwrap()]);
    assert_eq!((&shown["phase"], &shown["number"]), (&"selecting".into(), &round["number"]));
    assert_eq!(status(&other)["task_key"], restored["task_key"]);
    json(&other, &["models", "download", "small", "--output", text(&at("model"))]);
    // A backup of a folder that is in use, by way of another one that must not be.
    let locked = run(&other, &["restore", text(&file)]);
    assert!(stderr(&locked).contains("already using the data folder"), "{}", stderr(&locked));
    served.stop();

    // Without the secrets nothing starts that devices would refuse.
    let third = at("third");
    let restored = json(&third, &["restore", text(&at("plain.backup"))]);
    assert_eq!(restored["secrets"], "missing");
    let key = restored["task_key"].as_str().unwrap();
    assert!(notes(&restored, "secrets_missing")[0].contains(key), "{restored}");
    let refused = run(&third, &["serve", "--listen", "127.0.0.1:0"]);
    assert!(stderr(&refused).contains("no secrets.json") && stderr(&refused).contains(key), "{}", stderr(&refused));
    fs::copy(data.join("secrets.json"), third.join("secrets.json")).unwrap();
    Served::start(&third).stop();
}

#[test]
fn a_damaged_backup_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, file) = (at("data"), at("today.backup"));
    let missing = run(&data, &["backup", text(&file)]);
    assert!(stderr(&missing).contains("no_data_folder"), "{}", stderr(&missing));
    assert!(!data.exists() && !file.exists());

    let served = Served::start(&data);
    json(&data, &create("small", &["none"]));
    json(&data, &["backup", text(&file), "--with-secrets"]);
    served.stop();
    // Also where nobody runs.
    json(&data, &["backup", text(&at("still.backup"))]);

    let whole = fs::read(&file).unwrap();
    let other = at("other");
    for damaged in [&whole[..whole.len() / 2], &[&whole[..], b"x"].concat(), b"{}\n"] {
        fs::write(&file, damaged).unwrap();
        let refused = run(&other, &["restore", text(&file)]);
        assert_eq!(refused.status.code(), Some(1));
        let said = stderr(&refused);
        assert!(said.contains("backup_damaged") || said.contains("unknown_backup"), "{said}");
        assert!(!other.exists(), "{:?}", entries(&other));
    }
    // A file that is whole, and a place that has other secrets; the task of lost rounds is not there.
    fs::write(&file, &whole).unwrap();
    let refused = run(&other, &["restore", text(&file), "--lost-rounds", "unknown=1"]);
    assert!(stderr(&refused).contains("no task unknown"), "{}", stderr(&refused));
    assert!(
        !other.join("secrets.json").exists() && !other.join("coordinator.sqlite3").exists(),
        "{:?}",
        entries(&other)
    );
    let served = Served::start(&at("stranger"));
    served.stop();
    fs::create_dir_all(&other).unwrap();
    fs::copy(at("stranger").join("secrets.json"), other.join("secrets.json")).unwrap();
    let refused = run(&other, &["restore", text(&file)]);
    assert!(stderr(&refused).contains("secrets of another coordinator"), "{}", stderr(&refused));
    assert!(!other.join("coordinator.sqlite3").exists(), "{:?}", entries(&other));
    fs::remove_file(other.join("secrets.json")).unwrap();
    json(&other, &["restore", text(&file)]);
}

#[test]
fn what_privacy_has_cost_since_the_backup_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, file) = (at("data"), at("today.backup"));
    let served = Served::start(&data);
    let words =
        ["distributed", "--epsilon", "8", "--delta", "1e-6", "--privacy-rounds", "10", "--goal", "10", "--floor", "10"];
    json(&data, &create("small", &words));
    json(&data, &["backup", text(&file)]);
    served.stop();
    let told = json(&at("one"), &["restore", text(&file)]);
    let sentence = notes(&told, "privacy_account")[0];
    for part in ["PRIVACY", "0 rounds", "NOT in it", "--lost-rounds small=N"] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    let raised = json(&at("two"), &["restore", text(&file), "--lost-rounds", "small=5"]);
    let task = &raised["tasks"][0];
    assert_eq!((&task["noisy_rounds"], &task["rounds_added"]), (&5.into(), &5.into()), "{raised}");
    assert!(task["epsilon"].as_f64().unwrap() > 0.0);
    // The next rounds count on from there.
    fs::copy(data.join("secrets.json"), at("two").join("secrets.json")).unwrap();
    let served = Served::start(&at("two"));
    let shown = json(&at("two"), &["models", "show", "small"]);
    assert!(shown.to_string().contains(&task["epsilon"].to_string()), "{shown}");
    served.stop();
}

/// From a laptop to Postgres, and back; the schema comes with `migrate`.
#[test]
fn a_backup_goes_from_sqlite_to_postgres_and_back() {
    let server = Postgres::new();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, file) = (at("data"), at("today.backup"));
    let served = Served::start(&data);
    json(&data, &create("small", &["none"]));
    json(&data, &["backup", text(&file), "--with-secrets"]);
    served.stop();

    let config = at("postgres.toml");
    fs::write(&config, format!("[database]\nurl = \"{}\"\n", server.url)).unwrap();
    let config = ["--config", text(&config)];
    let replica = at("replica");
    for words in [&["serve", "--listen", "127.0.0.1:0"][..], &["restore", text(&file)]] {
        let refused = run(&replica, &[words, &config].concat());
        assert!(stderr(&refused).contains("run `scale-coordinator migrate`"), "{}", stderr(&refused));
    }
    let missing = run(&replica, &[&["migrate", "--check"][..], &config].concat());
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("rounds: 0001 rounds"), "{}", stderr(&missing));
    let taken = json(&replica, &[&["migrate"][..], &config].concat());
    assert_eq!(taken["rounds"].as_array().unwrap().len(), 1, "{taken}");
    json(&replica, &[&["migrate", "--check"][..], &config].concat());

    let restored = json(&replica, &[&["restore", text(&file)][..], &config].concat());
    assert_eq!((&restored["secrets"], &restored["engine"]), (&"restored".into(), &"sqlite".into()));
    let served = Served::start_with(&replica, &config);
    assert_eq!(json(&replica, &["task", "list"])[0]["task"], "small");
    let round = json(&replica, &["rounds", "open", "small"]);
    let back = at("back.backup");
    let saved = json(&replica, &[&["backup", text(&back), "--with-secrets"][..], &config].concat());
    assert_eq!(saved["blobs"], 1);
    served.stop();
    let laptop = at("laptop");
    let restored = json(&laptop, &["restore", text(&back)]);
    assert_eq!((&restored["engine"], &restored["open_rounds"][0]["number"]), (&"postgres".into(), &round["number"]));
    let served = Served::start(&laptop);
    assert_eq!(json(&laptop, &["rounds", "list", "small"])[0]["round"], round["round"]);
    served.stop();
}

/// A database of its own on the Postgres server of the tests.
struct Postgres {
    base: String,
    name: String,
    url: String,
}

impl Postgres {
    fn new() -> Self {
        let base = std::env::var("SCALE_TEST_POSTGRES").expect(
            "SCALE_TEST_POSTGRES must be the URL of a superuser on a throw-away Postgres server; run `cargo xtask test`, \
             which starts one",
        );
        let name = format!("backup_{}", std::process::id());
        psql(&base, &format!("CREATE DATABASE {name}"));
        let url = format!("{}/{name}", base.rsplit_once('/').unwrap().0);
        Self { base, name, url }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        psql(&self.base, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

fn psql(url: &str, sql: &str) {
    let output = Command::new("psql").args([url, "-qc", sql]).output().expect("psql comes with Postgres");
    assert!(output.status.success(), "{}", stderr(&output));
}
