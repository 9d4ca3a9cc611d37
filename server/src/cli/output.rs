//! What a command says: a table for people, a JSON document for programs.

use std::path::Path;

use scale_proto::ids::RoundId;
use scale_proto::task::TaskConfig;
use scale_proto::wire;
use serde_json::{Value, json};

use super::date;

/// In place of a figure that there is none of.
const NONE: &str = "—";

/// One answer, in both forms.
pub(super) struct Output {
    text: String,
    json: Value,
}

impl Output {
    pub(super) fn new(text: String, json: Value) -> Self {
        Self { text, json }
    }

    /// For people.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        // A value always has a text.
        serde_json::to_string_pretty(&self.json).expect("a JSON value has a text")
    }
}

/// Figures with names.
pub(super) fn figures(rows: &[(&str, String)], json: Value) -> Output {
    Output { text: sheet(rows), json }
}

pub(super) fn health() -> Output {
    Output { text: "the coordinator is healthy".to_owned(), json: json!({ "status": "serving" }) }
}

pub(super) fn token(minted: &wire::MintTokenResponse) -> Output {
    Output {
        // Only the token, so that it can be piped; its end is in the JSON form.
        text: minted.token.clone(),
        json: json!({ "token": minted.token, "expires_at": date(minted.expires_at_ms) }),
    }
}

pub(super) fn task(task: &wire::TaskInfo) -> Output {
    let rows = [
        ("task", task.task.clone()),
        ("state", task.state.clone()),
        ("created", date(task.created_at_ms)),
        ("finished rounds", task.rounds.to_string()),
        ("model version", task.model_version.to_string()),
    ];
    Output { text: sheet(&rows), json: task_json(task) }
}

pub(super) fn tasks(tasks: &[wire::TaskInfo]) -> Output {
    let rows = tasks.iter().map(|task| {
        let goal = task.config.as_ref().and_then(|config| config.cohort).map_or(0, |cohort| cohort.goal);
        vec![
            task.task.clone(),
            task.state.clone(),
            task.rounds.to_string(),
            task.model_version.to_string(),
            goal.to_string(),
            date(task.created_at_ms),
        ]
    });
    let text = table(&["TASK", "STATE", "ROUNDS", "MODEL", "GOAL", "CREATED"], rows, "no tasks yet");
    Output { text, json: tasks.iter().map(task_json).collect() }
}

fn task_json(task: &wire::TaskInfo) -> Value {
    let config = task.config.clone().and_then(|config| TaskConfig::try_from(config).ok());
    json!({
        "task": task.task,
        "state": task.state,
        "created_at": date(task.created_at_ms),
        "finished_rounds": task.rounds,
        "model_version": task.model_version,
        "config": config,
    })
}

pub(super) fn round(round: &wire::RoundInfo) -> Output {
    let mut rows = vec![
        ("round", id(&round.round_id)),
        ("task", round.task.clone()),
        ("number", round.number.to_string()),
        ("phase", round.phase.clone()),
        ("opened", date(round.opened_at_ms)),
        ("cohort", round.cohort.to_string()),
        ("from model", round.base_version.to_string()),
    ];
    if round.closed_at_ms > 0 {
        rows.push(("closed", date(round.closed_at_ms)));
    }
    if !round.reason_code.is_empty() {
        rows.push(("reason", format!("{} [{}]", round.reason, round.reason_code)));
    }
    if round.new_version > 0 {
        rows.push(("new model", round.new_version.to_string()));
        rows.push(("survivors", round.survivors.to_string()));
        rows.push(("examples", round.examples.to_string()));
        rows.push(("loss", format!("{:.4}", round.loss)));
        rows.push(("accuracy", format!("{:.4}", round.accuracy)));
        rows.push(("bytes up", format!("{} per device", round.bytes_up_per_device)));
        rows.push(("signal/noise", ratio(round)));
    }
    let mut text = sheet(&rows);
    if !round.sessions.is_empty() {
        let sessions = round.sessions.iter().map(|session| {
            let counts = [session.advertised, session.shared, session.committed, session.confirmed, session.revealed];
            let mut row = vec![id(&session.session_handle), session.stage.clone()];
            row.extend(counts.iter().map(u32::to_string));
            row.push(session.reason_code.clone());
            row
        });
        let head = ["SESSION", "STAGE", "KEYS", "SHARES", "INPUTS", "AGREED", "REVEALED", "REASON"];
        text = format!("{text}\n\n{}", table(&head, sessions, ""));
    }
    Output { text, json: round_json(round) }
}

pub(super) fn rounds(rounds: &[wire::RoundInfo]) -> Output {
    let rows = rounds.iter().map(|round| {
        let finished = round.new_version > 0;
        vec![
            round.number.to_string(),
            id(&round.round_id),
            round.phase.clone(),
            round.cohort.to_string(),
            if finished { round.survivors.to_string() } else { String::new() },
            if finished { format!("{} -> {}", round.base_version, round.new_version) } else { String::new() },
            if finished { format!("{:.4}", round.loss) } else { String::new() },
            if finished { format!("{:.4}", round.accuracy) } else { String::new() },
            if finished { ratio(round) } else { String::new() },
            date(round.opened_at_ms),
            round.reason_code.clone(),
        ]
    });
    let head = ["NUMBER", "ROUND", "PHASE", "COHORT", "SUM", "MODEL", "LOSS", "ACCURACY", "SNR", "OPENED", "REASON"];
    Output { text: table(&head, rows, "no rounds yet"), json: rounds.iter().map(round_json).collect() }
}

/// The mean update over its noise; a dash without noise.
fn ratio(round: &wire::RoundInfo) -> String {
    round.signal_to_noise.map_or_else(|| NONE.to_owned(), |ratio| format!("{ratio:.2}"))
}

fn round_json(round: &wire::RoundInfo) -> Value {
    let finished = round.new_version > 0;
    let sessions: Vec<Value> = round
        .sessions
        .iter()
        .map(|session| {
            json!({
                "session": id(&session.session_handle),
                "stage": session.stage,
                "advertised": session.advertised,
                "shared": session.shared,
                "committed": session.committed,
                "confirmed": session.confirmed,
                "revealed": session.revealed,
                "reason_code": filled(&session.reason_code),
                "reason": filled(&session.reason),
            })
        })
        .collect();
    json!({
        "round": id(&round.round_id),
        "task": round.task,
        "number": round.number,
        "phase": round.phase,
        "reason_code": filled(&round.reason_code),
        "reason": filled(&round.reason),
        "cohort": round.cohort,
        "survivors": round.survivors,
        "base_version": round.base_version,
        "new_version": finished.then_some(round.new_version),
        "opened_at": date(round.opened_at_ms),
        "closed_at": (round.closed_at_ms > 0).then(|| date(round.closed_at_ms)),
        "loss": finished.then_some(round.loss),
        "accuracy": finished.then_some(round.accuracy),
        "examples": finished.then_some(round.examples),
        "bytes_up_per_device": finished.then_some(round.bytes_up_per_device),
        "signal_to_noise": round.signal_to_noise,
        "sessions": sessions,
    })
}

pub(super) fn model(model: &wire::ModelInfo) -> Output {
    let rows = [
        ("task", model.task.clone()),
        ("version", format!("{}{}", model.version, if model.current { " (served)" } else { "" })),
        ("origin", model.origin.clone()),
        ("parent", number(model.parent)),
        ("cohort", number(model.cohort.into())),
        ("digest", hex::encode(&model.digest)),
        ("bytes", model.bytes.to_string()),
        ("created", date(model.created_at_ms)),
        ("privacy", cost_sentence(model.privacy.as_ref())),
        ("clip", model.clip.map_or_else(|| "fixed".to_owned(), |clip| format!("{clip:.4}, follows the devices"))),
    ];
    Output { text: sheet(&rows), json: model_json(model) }
}

pub(super) fn models(models: &[wire::ModelInfo]) -> Output {
    let rows = models.iter().map(|model| {
        vec![
            format!("{}{}", model.version, if model.current { "*" } else { "" }),
            model.origin.clone(),
            number(model.parent),
            number(model.cohort.into()),
            epsilon(model.privacy.as_ref()),
            model.bytes.to_string(),
            hex::encode(&model.digest[..model.digest.len().min(8)]),
            date(model.created_at_ms),
        ]
    });
    let head = ["VERSION", "ORIGIN", "PARENT", "COHORT", "EPSILON", "BYTES", "DIGEST", "CREATED"];
    let text = table(&head, rows, "no models yet");
    Output { text, json: models.iter().map(model_json).collect() }
}

pub(super) fn downloaded(model: &wire::ModelInfo, path: &Path) -> Output {
    let mut json = model_json(model);
    json["file"] = json!(path.display().to_string());
    let text = format!("version {} of {} is in {} ({} bytes)", model.version, model.task, path.display(), model.bytes);
    Output { text, json }
}

/// Without the URL: it is as good as the model, and this may be kept in a log.
fn model_json(model: &wire::ModelInfo) -> Value {
    json!({
        "task": model.task,
        "version": model.version,
        "parent": (model.parent > 0).then_some(model.parent),
        "round": (!model.round_id.is_empty()).then(|| id(&model.round_id)),
        "cohort": model.cohort,
        "digest": hex::encode(&model.digest),
        "bytes": model.bytes,
        "created_at": date(model.created_at_ms),
        "origin": model.origin,
        "current": model.current,
        "privacy": model.privacy.as_ref().map(cost_json),
        "clip": model.clip,
    })
}

/// What all rounds so far reveal, in one cell: an epsilon and, where it is not a person's, whose; "no bound" where a mode
/// promises none; a dash for models older than the account.
fn epsilon(cost: Option<&wire::PrivacyCost>) -> String {
    let Some(cost) = cost else { return NONE.to_owned() };
    let promised = match cost.mode.as_str() {
        "distributed" => cost.epsilon_aggregate.map(|epsilon| format!("{epsilon:.2}")),
        "local" => cost.epsilon_alone.map(|epsilon| format!("{epsilon:.2}")),
        "example" => cost.epsilon_at_most.map(|epsilon| format!("<= {epsilon:.2} (example)")),
        _ => None,
    };
    promised.unwrap_or_else(|| "no bound".to_owned())
}

/// What has been spent, against whom, and for whom.
fn cost_sentence(cost: Option<&wire::PrivacyCost>) -> String {
    let Some(cost) = cost else { return format!("{NONE} (older than the account)") };
    let &wire::PrivacyCost { rounds, delta, rounds_at_most, .. } = cost;
    match (cost.epsilon_aggregate, cost.epsilon_alone, cost.epsilon_at_most) {
        (Some(aggregate), Some(alone), _) => format!(
            "{}: one person in all {rounds} round(s) so far: epsilon {aggregate:.2} against whoever sees only sums, \
             {alone:.2} by the device's own noise alone; delta {delta:e}",
            cost.mode
        ),
        (_, _, Some(at_most)) => format!(
            "{}: no bound for a person; one training example: at most epsilon {at_most:.2} over {rounds_at_most} round(s) \
             of a device, delta {delta:e}; {rounds} round(s) so far",
            cost.mode
        ),
        _ => format!("{}: no bound: sums over enough devices are all that protects anybody", cost.mode),
    }
}

/// What a mode does not promise is the word `no_bound`: some languages read null as 0.
fn cost_json(cost: &wire::PrivacyCost) -> Value {
    let bound = |epsilon: Option<f64>| epsilon.map_or_else(|| json!("no_bound"), |epsilon| json!(epsilon));
    let noisy = cost.delta > 0.0;
    json!({
        "mode": cost.mode,
        "rounds": cost.rounds,
        "epsilon_aggregate": bound(cost.epsilon_aggregate),
        "epsilon_alone": bound(cost.epsilon_alone),
        "epsilon_at_most": bound(cost.epsilon_at_most),
        "rounds_at_most": (cost.rounds_at_most > 0).then_some(cost.rounds_at_most),
        "delta": noisy.then_some(cost.delta),
    })
}

/// 16 bytes as they are written everywhere else.
fn id(bytes: &[u8]) -> String {
    RoundId::try_from(bytes).map_or_else(|_| hex::encode(bytes), |id| id.to_string())
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A number that is nothing when it is 0.
fn number(value: u64) -> String {
    if value == 0 { String::new() } else { value.to_string() }
}

/// Names and values, one a line.
fn sheet(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:width$}  {value}"))
        .collect();
    lines.join("\n")
}

/// Columns under their heads, each as wide as its widest cell; `empty` when there are no rows.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>, empty: &str) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return empty.to_owned();
    }
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let mut widths: Vec<usize> = head.iter().map(String::len).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &Vec<String>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    std::iter::once(&head).chain(&rows).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_say_when_they_are_empty() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["longer".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "N"], rows.into_iter(), "none"), "NAME    N\na       1\nlonger");
        assert_eq!(table(&["NAME"], std::iter::empty(), "none"), "none");
    }

    #[test]
    fn an_epsilon_is_shown_as_what_the_mode_promises() {
        let cost = |mode: &str, aggregate, alone, at_most| wire::PrivacyCost {
            mode: mode.into(),
            rounds: 2,
            epsilon_aggregate: aggregate,
            epsilon_alone: alone,
            epsilon_at_most: at_most,
            rounds_at_most: if at_most.is_some() { 10 } else { 0 },
            delta: if mode == "none" { 0.0 } else { 1e-6 },
        };
        for (cost, shown, says) in [
            (Some(cost("distributed", Some(1.234), Some(45.6), None)), "1.23", "45.60 by the device's own noise alone"),
            (Some(cost("local", Some(1.0), Some(4.0), None)), "4.00", "delta 1e-6"),
            (
                Some(cost("example", None, None, Some(8.0))),
                "<= 8.00 (example)",
                "at most epsilon 8.00 over 10 round(s)",
            ),
            (Some(cost("example", None, None, Some(8.0))), "<= 8.00 (example)", "no bound for a person"),
            (Some(cost("none", None, None, None)), "no bound", "none: no bound"),
            (None, "—", "older than the account"),
        ] {
            let info = wire::ModelInfo { version: 3, privacy: cost, ..Default::default() };
            let (list, one) = (models(std::slice::from_ref(&info)), model(&info));
            let cells: Vec<&str> = list.text().lines().last().unwrap().split("  ").map(str::trim).collect();
            assert!(cells.contains(&shown), "{shown}: {}", list.text());
            assert!(one.text().contains(says), "{says}: {}", one.text());
            let json: Value = serde_json::from_str(&one.json()).unwrap();
            if let Some(cost) = &info.privacy {
                let alone = cost.epsilon_alone.map_or_else(|| json!("no_bound"), |alone| json!(alone));
                assert_eq!(json["privacy"]["epsilon_alone"], alone);
            }
            assert_eq!(json["privacy"].is_null(), info.privacy.is_none());
        }
    }

    #[test]
    fn a_round_says_how_much_of_its_mean_is_noise() {
        let info = |ratio| wire::RoundInfo { new_version: 2, signal_to_noise: ratio, ..Default::default() };
        for (ratio, shown) in [(Some(1.504), "1.50"), (None, "—")] {
            let (list, one) = (rounds(&[info(ratio)]), round(&info(ratio)));
            assert!(one.text().contains(&format!("signal/noise  {shown}")), "{}", one.text());
            assert!(list.text().lines().last().unwrap().contains(shown), "{}", list.text());
            let json: Value = serde_json::from_str(&one.json()).unwrap();
            assert_eq!(json["signal_to_noise"].as_f64(), ratio);
        }
    }

    #[test]
    fn a_model_is_shown_without_its_url() {
        let shown = model(&wire::ModelInfo { version: 3, url: "https://x?sig=secret".into(), ..Default::default() });
        assert!(!shown.json().contains("secret") && !shown.text().contains("secret"));
        assert_eq!(serde_json::from_str::<Value>(&shown.json()).unwrap()["version"], 3);
    }
}
