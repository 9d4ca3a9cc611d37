//! The binary as an operator uses it: start it with nothing, administer it, stop it.
#![cfg(unix)]

mod operator;

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use operator::{BINARY, Served, create, json, run, stderr};

#[test]
fn an_operator_starts_administers_and_stops_a_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let served = Served::start(&data);

    let second = run(&data, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("already using the data folder"), "{}", stderr(&second));

    assert_eq!(json(&data, &["health"])["status"], "serving");
    assert_eq!(json(&data, &["task", "list"]), serde_json::json!([]));
    let create = create("merchants", &["none"]);
    let task = json(&data, &create);
    assert_eq!((&task["state"], &task["model_version"]), (&"active".into(), &1.into()));
    assert_eq!(task["config"]["cohort"]["goal"], 20);
    let again = run(&data, &create);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("task_exists"), "{}", stderr(&again));
    assert_eq!(json(&data, &["task", "pause", "merchants"])["state"], "paused");
    assert_eq!(json(&data, &["task", "resume", "merchants"])["state"], "active");
    let table = String::from_utf8(run(&data, &["task", "list"]).stdout).unwrap();
    assert!(table.starts_with("TASK") && table.contains("merchants"), "{table}");

    let round = json(&data, &["rounds", "open", "merchants"]);
    assert_eq!(round["phase"], "selecting");
    let id = round["round"].as_str().unwrap();
    let abandoned = json(&data, &["rounds", "abandon", id, "--reason", "only a test"]);
    assert_eq!(abandoned["phase"], "abandoned");
    assert_eq!(json(&data, &["rounds", "show", id])["phase"], "abandoned");
    assert_eq!(json(&data, &["rounds", "list", "merchants"]).as_array().unwrap().len(), 1);

    let file = folder.path().join("model.safetensors");
    let downloaded = json(&data, &["models", "download", "merchants", "--output", file.to_str().unwrap()]);
    assert_eq!(downloaded["bytes"], std::fs::metadata(&file).unwrap().len());
    assert_eq!(json(&data, &["models", "rollback", "merchants", "1"])["version"], 2);
    assert_eq!(json(&data, &["models", "list", "merchants"]).as_array().unwrap().len(), 2);

    let token =
        json(&data, &["token", "mint", "--kind", "enroll", "--ttl", "1h"])["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("scale_enroll_"));
    let wrong = run(&data, &["task", "list", "--token", &token]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("wrong_kind"), "{}", stderr(&wrong));

    let status: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.join("coordinator.json")).unwrap()).unwrap();
    let operator = std::fs::read_to_string(data.join("operator.token")).unwrap();
    let (banner, log) = served.stop();
    for part in [status["url"].as_str().unwrap(), status["task_key"].as_str().unwrap(), "token mint --kind enroll"] {
        assert!(banner.contains(part), "{part} is not in\n{banner}");
    }
    assert!(!banner.contains("scale_enroll_"), "a journal keeps what it is told: {banner}");
    assert!(log.contains("answered"), "the log is on");
    for secret in [operator.trim(), &token] {
        let payload = &secret[secret.len() - 40..];
        assert!(!log.contains(payload) && !banner.contains(payload), "a token is in the output");
    }
    assert!(!log.contains("sig="), "a signed URL is in the log");
    assert!(!data.join("coordinator.json").exists());

    let gone = run(&data, &["task", "list"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains("no coordinator answers"), "{}", stderr(&gone));

    let served = Served::start(&data);
    assert_eq!(json(&data, &["task", "list"])[0]["task"], "merchants", "a restart keeps everything");
    let after: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.join("coordinator.json")).unwrap()).unwrap();
    assert_eq!(after["task_key"], status["task_key"], "the pinned key stays");
    served.stop();
}

#[test]
fn a_coordinator_that_is_told_so_ends_with_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut served = Served::start(&data);
    drop(served.child.stdin.take());
    let patience = Instant::now() + Duration::from_secs(5);
    let status = loop {
        if let Some(status) = served.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < patience, "it still runs");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0), "in good order");
    assert!(!data.join("coordinator.json").exists());
}

/// Between the signal and the end, load balancers have time to look elsewhere.
#[test]
fn the_end_is_announced_before_calls_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = folder.path().join("notice.toml");
    std::fs::write(&config, "[server]\ndrain_notice_s = 3\n").unwrap();
    let mut served = Served::start_with(&data, &["--config", config.to_str().unwrap()]);
    let status: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.join("coordinator.json")).unwrap()).unwrap();
    let address = status["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    assert!(get(&address, "/ready").starts_with("HTTP/1.1 200"));

    let asked = Instant::now();
    served.ask_to_stop();
    while get(&address, "/ready").starts_with("HTTP/1.1 200") {
        assert!(asked.elapsed() < Duration::from_secs(3), "the probe says nothing of it");
        std::thread::sleep(Duration::from_millis(10));
    }
    let ready = get(&address, "/ready");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("\"stopping\""), "{ready}");
    let health = run(&data, &["health"]);
    assert!(stderr(&health).contains("not_serving"), "{}", stderr(&health));
    assert_eq!(json(&data, &["task", "list"]), serde_json::json!([]), "calls are served");
    let (status, ended) = (served.child.wait().unwrap(), asked.elapsed());
    assert_eq!(status.code(), Some(0));
    assert!((Duration::from_secs(3)..Duration::from_secs(15)).contains(&ended), "{ended:?}");
}

/// The answer to a request over a connection of its own.
fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn mistakes_have_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["--help"]).status.code(), Some(0));
    assert_eq!(run(folder.path(), &["rounds", "show"]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["frobnicate"]).status.code(), Some(2));
    let no_token = run(folder.path(), &["task", "list"]);
    assert_eq!(no_token.status.code(), Some(1));
    assert!(stderr(&no_token).contains("no operator token"), "{}", stderr(&no_token));
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "[server]\nport = 5\n").unwrap();
    let refused = run(folder.path(), &["serve", "--config", bad.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("port"), "{}", stderr(&refused));
    std::fs::write(&bad, "[database]\nurl = \"mysql://u:hunter2@h/d\"\n").unwrap();
    let refused = run(folder.path(), &["serve", "--config", bad.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("database.url") && said.contains("postgres://") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_failure_is_a_document_for_programs_and_a_sentence_for_people() {
    let folder = tempfile::tempdir().unwrap();
    for (words, exit, code) in [
        (&["rounds", "list", "words"][..], 1, "no_token"),
        (&["health", "--server", "http://127.0.0.1:1"], 1, "unreachable"),
        (&["task", "create", "words", "--config", "/nowhere.toml"], 1, "file"),
        (&["token", "mint", "--kind", "person", "--data", "/nowhere"], 1, "no_data_folder"),
        (&["rounds", "list"], 2, "usage"),
        (&["task", "create", "words", "--model", "mlp", "--labels", "a,b"], 2, "usage"),
    ] {
        let plain = run(folder.path(), words);
        assert_eq!((plain.status.code(), plain.stdout.len()), (Some(exit), 0), "{words:?}");
        assert!(stderr(&plain).starts_with("error: "), "{words:?}: {}", stderr(&plain));
        let output = run(folder.path(), &[words, &["--json"]].concat());
        assert_eq!((output.status.code(), output.stdout.len()), (Some(exit), 0), "{words:?}");
        let document: serde_json::Value =
            serde_json::from_slice(&output.stderr).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        assert_eq!(document["code"], code, "{document}");
        assert!(document["sentence"].as_str().is_some_and(|sentence| sentence.len() > 10), "{document}");
    }
}

#[test]
fn first_pastes_do_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let served = Served::start(&data);

    // The banner's commands, as they stand there.
    let banner = std::fs::read_to_string(&served.out).unwrap();
    let commands: Vec<_> = banner.lines().filter_map(|line| line.find(BINARY).map(|at| &line[at..])).collect();
    assert_eq!(commands.len(), 3, "{banner}");
    for line in commands {
        let pasted = Command::new("sh").args(["-c", &line.replace("NAME", "words")]).output().unwrap();
        assert!(pasted.status.success(), "{line}: {}", stderr(&pasted));
    }

    // Whoever mints again is the same person, and another name is somebody else.
    let person = |more: &[&str]| {
        json(&data, &[&["token", "mint", "--kind", "person"], more].concat())["user_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(person(&[]), person(&["--user", "demo"]));
    assert_ne!(person(&[]), person(&["--user", "anna"]));

    // A round by the beginning of its id, and a sentence for an operator.
    let rounds = json(&data, &["rounds", "list", "words"]);
    let id = rounds[0]["round"].as_str().unwrap();
    assert_eq!(json(&data, &["rounds", "show", &id[..8]])["round"], id);
    let missing = run(&data, &["rounds", "list", "nope"]);
    assert!(stderr(&missing).contains("`scale-coordinator task list`"), "{}", stderr(&missing));

    // A task's plan by its name, and its models: without noise there is no bound.
    assert_eq!(json(&data, &["plan", "words"])["verdict"], "no_bound");
    let models = json(&data, &["models", "list", "words"]);
    assert_eq!(models[0]["privacy"]["epsilon_aggregate"], "no_bound", "{models}");
}
