//! An app on a phone, as a process that lives for one call: what it keeps is in its folder.
//!
//! `app-under-test FOLDER URL TASK TASK_KEY CALL…` prints one line of JSON. Calls: `enroll TOKEN`; `put COUNT` (examples);
//! `move STEP BUDGET_MS` takes part with a trainer that adds STEP to the first weight; `participate BUDGET_MS` takes part
//! with the examples; `predict LINE`.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use scale_client_core::app::{App, AppConfig};
use scale_client_core::device::{Cancel, Client, ClientConfig, Outcome, Requirements, RunOptions};
use scale_client_core::examples::TextExample;
use scale_client_core::host::native::NativeHost;
use scale_client_core::transport::native::Connection;
use scale_proto::ids::TaskId;
use scale_tests::trainer::MovesFirst;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, url, task, task_key, call @ ..] = &arguments[..] else { bail!("FOLDER URL TASK TASK_KEY CALL…") };
    let task: TaskId = task.parse()?;
    let task_key: [u8; 32] = hex::decode(task_key)?.try_into().ok().context("a task key has 32 bytes")?;
    let host = NativeHost::open(Path::new(folder), Connection::new(url))?;
    let call: Vec<&str> = call.iter().map(String::as_str).collect();
    let answer = match call[..] {
        ["move", step, budget_ms] => {
            let requirements = Requirements::NONE;
            let config = ClientConfig { requirements, ..ClientConfig::new(vec![task], task_key) };
            let mut trainer = MovesFirst(step.parse()?);
            let client = Client::new(host, config);
            told(client.participate(budget(budget_ms)?, &mut trainer, &Cancel::new(), &mut ()).await?)
        }
        _ => {
            let app = App::new(host, AppConfig { requirements: Requirements::NONE, ..AppConfig::new(task, task_key) });
            of_app(&app, &call).await?
        }
    };
    println!("{answer}");
    Ok(())
}

async fn of_app(app: &App<NativeHost>, call: &[&str]) -> anyhow::Result<Value> {
    Ok(match *call {
        ["enroll", token] => match app.enroll(token, &Cancel::new()).await {
            Ok(device) => json!({ "outcome": "enrolled", "device": device.to_string() }),
            Err(error) => json!({ "outcome": "error", "code": error.code() }),
        },
        ["put", count] => {
            let summary = app.put_examples(examples(count.parse()?)).await?;
            json!({ "outcome": "put", "added": summary.added })
        }
        ["participate", budget_ms] => told(app.participate(budget(budget_ms)?, &Cancel::new(), &mut ()).await?),
        ["predict", line] => {
            let prediction = app.predict(&[line.to_owned()], 1).await?;
            json!({ "outcome": "predicted", "label": prediction[0].top[0].label })
        }
        _ => bail!("no such call: {call:?}"),
    })
}

fn budget(text: &str) -> anyhow::Result<RunOptions> {
    Ok(RunOptions { budget: Some(Duration::from_millis(text.parse()?)), ..RunOptions::default() })
}

fn told(outcome: Outcome) -> Value {
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak_kb = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(|rest| rest.trim().to_owned());
    let mut answer = match outcome {
        Outcome::Contributed(contribution) => json!({ "outcome": "contributed", "number": contribution.number }),
        Outcome::Paused { resume, phase } => {
            json!({ "outcome": "paused", "phase": phase, "after_ms": resume.after.as_millis() as u64 })
        }
        Outcome::Waited { code, .. } => json!({ "outcome": "waited", "code": code }),
        Outcome::Left { cause, .. } => {
            json!({ "outcome": "left", "code": cause.code(), "sentence": cause.to_string() })
        }
        Outcome::EnrollmentNeeded { code, .. } => json!({ "outcome": "enrollment_needed", "code": code }),
    };
    answer["peak"] = json!(peak_kb);
    answer
}

fn examples(count: usize) -> Vec<TextExample> {
    let line = |number: usize| {
        let (text, label) = match number % 2 {
            0 => (format!("CAFE {number} ROMA"), "dining"),
            _ => (format!("PETROL {number} OSLO"), "fuel"),
        };
        TextExample { id: format!("transaction-{number}"), text, label: label.to_owned(), time: None }
    };
    (0..count).map(line).collect()
}
