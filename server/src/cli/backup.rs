//! `backup` and `restore`: everything that a coordinator keeps, in one file, and what has to be known when it is put back.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use scale_clock::{Clock as _, SystemClock};
use scale_coordinator::backup::{self, After, Numbers, Restored, SecretsAfter, Target};
use serde_json::{Value, json};

use super::args::{BackupArgs, RestoreArgs};
use super::output::Output;
use super::serve::storage;
use super::{Failure, date, folder, serve};
use crate::config::Config;
use crate::files;

/// Between two lines of progress where there is no terminal.
const LINES: Duration = Duration::from_secs(5);
/// Between two on a terminal, where each takes the place of the one before.
const FRAMES: Duration = Duration::from_millis(200);

/// `backup`.
pub(super) async fn save(args: &BackupArgs, json: bool) -> Result<Output, Failure> {
    let config = serve::read_configuration(args.config.as_deref(), args.data.data.clone())?;
    let folder = &config.data.folder;
    let store = storage::rows_to_read(&config).await?;
    let blobs = storage::blobs(&config)?;
    let secrets = args.with_secrets.then_some(folder.as_path());
    let mut progress = Progress::new("blobs written", json);
    let mut show = |done, all| progress.show(done, all);
    let saved = backup::save(&store, &blobs, secrets, &args.file, SystemClock.now(), &mut show).await;
    progress.end();
    store.close().await;
    let saved = saved?;
    let file = args.file.display();
    let mut text = format!(
        "{file}: {} rows and {} blobs of {}, {} bytes",
        saved.rows,
        saved.blobs,
        date(saved.header.made_at),
        saved.bytes
    );
    text += match saved.secrets {
        true => "\nsecrets.json is in it: whoever has the file can sign rounds and mint tokens",
        false => "\nsecrets.json is not in it: keep that in another place, nothing replaces it",
    };
    if let Some(people) = people(&config) {
        text += &format!("\npeople's rows are not in it: {people}");
    }
    let document = json!({
        "file": args.file, "made_at": date(saved.header.made_at), "rows": saved.rows, "blobs": saved.blobs,
        "bytes": saved.bytes, "secrets": saved.secrets, "people": false
    });
    Ok(Output::new(text, document))
}

/// How people's rows are backed up, if there are any.
#[cfg(feature = "facade")]
fn people(config: &Config) -> Option<String> {
    let path = config.data.folder.join(files::PEOPLE_DATABASE);
    match &config.rest.database_url {
        _ if !config.rest.enabled => None,
        Some(_) => Some("take them with pg_dump".to_owned()),
        None if path.exists() => Some(format!("take them with `sqlite3 {} \".backup people.backup\"`", path.display())),
        None => None,
    }
}

#[cfg(not(feature = "facade"))]
fn people(_: &Config) -> Option<String> {
    None
}

/// `restore`.
pub(super) async fn restore(args: &RestoreArgs, json: bool) -> Result<Output, Failure> {
    let config = serve::read_configuration(args.config.as_deref(), args.data.data.clone())?;
    let data = &config.data.folder;
    // Before anything is made.
    let checked = backup::check(&args.file)?;
    let was_there = data.exists();
    if let Some(mended) = folder::open_private(data)? {
        eprintln!("warning: {mended}");
    }
    let rows = storage::rows(&config).await?;
    let restored = async {
        let blobs = storage::blobs(&config)?;
        if !config.blobs.url.is_empty() {
            blobs.probe().await?;
        }
        let lost_rounds = args.lost_rounds.iter().cloned().collect::<BTreeMap<_, _>>();
        let place = Target { store: &rows.store, blobs: &blobs, folder: data, now: SystemClock.now(), lost_rounds };
        let mut progress = Progress::new("rows and blobs written", json);
        let restored = checked.restore(place, &mut |done, all| progress.show(done, all)).await;
        progress.end();
        Ok::<_, Failure>(restored?)
    };
    let restored = restored.await;
    rows.store.close().await;
    match restored {
        Ok(restored) => Ok(output(&restored, &config)),
        Err(failure) => {
            if rows.is_new && config.database.url.is_empty() {
                forget_database(data, was_there);
            }
            Err(failure)
        }
    }
}

/// Removes the empty database that a failed restore leaves, and the folder if nothing else was in it.
fn forget_database(data: &Path, was_there: bool) {
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(data.join(format!("{}{ending}", files::DATABASE)));
    }
    if !was_there {
        let _ = std::fs::remove_file(data.join("lock"));
        // Only where they are empty.
        let _ = std::fs::remove_dir(data.join("blobs"));
        let _ = std::fs::remove_dir(data);
    }
}

fn output(restored: &Restored, config: &Config) -> Output {
    let made = date(restored.header.made_at);
    let notes = notes(restored, &config.data.folder);
    let mut text = format!("restored {} rows and {} blobs of {made}", restored.rows, restored.blobs);
    for (_, sentence) in &notes {
        text += &format!("\n- {sentence}");
    }
    let rounds = restored.after.open_rounds.iter();
    let rounds: Vec<Value> = rounds
        .map(|round| json!({ "task": round.task.as_str(), "number": round.number, "phase": round.phase }))
        .collect();
    let tasks = restored.after.tasks.iter().map(|task| {
        json!({
            "task": task.task.as_str(), "model_version": task.version.0, "noisy_rounds": task.spent.rounds,
            "epsilon": task.spent.epsilon_aggregate, "rounds_added": task.added,
            "numbers": match task.numbers {
                Numbers::Rise => "rise",
                Numbers::ClockBehind(_) => "clock_behind",
                Numbers::Ahead(_) => "ahead_of_clock",
            },
        })
    });
    let document = json!({
        "made_at": made, "engine": restored.header.engine, "rows": restored.rows, "blobs": restored.blobs,
        "secrets": match restored.secrets {
            SecretsAfter::Restored => "restored",
            SecretsAfter::There => "there",
            SecretsAfter::Missing => "missing",
        },
        "task_key": restored.identity.map(|identity| hex::encode(identity.task_key)),
        "open_rounds": rounds, "tasks": tasks.collect::<Vec<_>>(),
        "notes": notes.iter().map(|(code, sentence)| json!({ "code": code, "sentence": sentence })).collect::<Vec<_>>(),
    });
    Output::new(text, document)
}

/// What has to be known, the most urgent first: a stable word, and a sentence.
fn notes(restored: &Restored, data: &Path) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    let after = &restored.after;
    let made = date(after.made_at.as_millis());
    if restored.secrets == SecretsAfter::Missing {
        let key = restored.identity.map(|identity| format!(" with task key {}", hex::encode(identity.task_key)));
        let sentence = format!(
            "put the secrets.json{} into {} before the next start: `serve` refuses another one, because every device's \
             token and every app that pins the task key would be refused",
            key.unwrap_or_default(),
            data.display()
        );
        notes.push(("secrets_missing", sentence));
    }
    let sentence = "the coordinator that this is a copy of must not start again: two that sign with one key would offer \
                    devices two sums of one round";
    notes.push(("one_coordinator", sentence.to_owned()));
    privacy_notes(after, &made, &mut notes);
    number_notes(after, &mut notes);
    for round in &after.open_rounds {
        let sentence = format!(
            "round {} of task {} was open ({}) and goes on: devices that are where they were answer it; those that went \
             on after the backup are told to check in again, and if too many have, it is abandoned and nothing is revealed",
            round.number, round.task, round.phase
        );
        notes.push(("round_open", sentence));
    }
    for task in &after.tasks {
        let sentence = format!(
            "task {} serves model version {}; versions published after {made} are forgotten, and devices that have one \
             download the served one again",
            task.task, task.version.0
        );
        notes.push(("models_forgotten", sentence));
    }
    let sentence = format!(
        "tokens of devices stay good, also of those that enrolled after {made}; an enrollment token for one device that \
         was used after it can be used once more"
    );
    notes.push(("tokens", sentence));
    let sentence = "people's rows of the REST API are not in a backup: put theirs back with their own tools".to_owned();
    notes.push(("people", sentence));
    notes
}

fn privacy_notes(after: &After, made: &str, notes: &mut Vec<(&'static str, String)>) {
    for task in after.tasks.iter().filter(|task| task.spent.delta.is_some()) {
        let epsilon = task.spent.epsilon_aggregate.map(|epsilon| format!(", epsilon {epsilon:.3}")).unwrap_or_default();
        let known = format!("the account of task {} has {} rounds with noise{epsilon}", task.task, task.spent.rounds);
        let sentence = match task.added {
            0 => format!(
                "PRIVACY: {known}. Rounds that released a sum after {made}, {} ago, are NOT in it, and what was spent \
                 cannot be taken back. If there may have been any, restore again into an empty place with --lost-rounds \
                 {}=N, and take a number that is rather too high: `rounds list` of the old coordinator, its log (`a round opens`), \
                 or what its schedule allows in that time. Devices' own ledgers have them in any case",
                span(after.made_at.until(after.now)),
                task.task
            ),
            added => format!("PRIVACY: {known}, with {added} that ran after the backup"),
        };
        notes.push(("privacy_account", sentence));
    }
}

fn number_notes(after: &After, notes: &mut Vec<(&'static str, String)>) {
    let behind = after.tasks.iter().find_map(|task| match task.numbers {
        Numbers::ClockBehind(by) => Some(by),
        _ => None,
    });
    if let Some(by) = behind {
        let sentence = format!(
            "ROUND NUMBERS: the clock is {} behind the time of the backup. Numbers are times, so new rounds could have the \
             numbers of rounds that opened after the backup, and devices refuse those: set the clock before the first \
             start",
            span(by)
        );
        notes.push(("clock_behind", sentence));
    }
    for task in &after.tasks {
        if let Numbers::Ahead(by) = task.numbers {
            let sentence = format!(
                "ROUND NUMBERS: those of task {} are {} ahead of the clock, so rounds after the backup counted on by one, and \
                 new ones will: devices refuse as many new rounds as there were. Abandon as many (`rounds open`, then \
                 `rounds abandon`), or let the clock catch up",
                task.task,
                span(by)
            );
            notes.push(("numbers_ahead", sentence));
        }
    }
    let rise = |task: &&backup::TaskAfter| task.numbers == Numbers::Rise;
    if !after.tasks.is_empty() && after.tasks.iter().filter(rise).count() == after.tasks.len() {
        let sentence = "numbers of new rounds are higher than any that devices have joined: they are times, and the clock is \
                        later than the backup";
        notes.push(("numbers_rise", sentence.to_owned()));
    }
}

/// A time for people, in its largest unit.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Says on stderr how far it is; nothing where that is a program's.
struct Progress {
    what: &'static str,
    /// `None`: nobody looks.
    terminal: Option<bool>,
    shown: Instant,
    drawn: bool,
}

impl Progress {
    fn new(what: &'static str, json: bool) -> Self {
        let terminal = (!json).then(|| std::io::stderr().is_terminal());
        Self { what, terminal, shown: Instant::now(), drawn: false }
    }

    fn show(&mut self, done: u64, all: u64) {
        let Some(terminal) = self.terminal else { return };
        if self.shown.elapsed() < if terminal { FRAMES } else { LINES } {
            return;
        }
        self.shown = Instant::now();
        if terminal {
            eprint!("\r{done} of {all} {}", self.what);
            self.drawn = true;
        } else {
            eprintln!("{done} of {all} {}", self.what);
        }
    }

    /// Leaves the line.
    fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_their_unit() {
        for (seconds, text) in [(7, "7 s"), (600, "10 min"), (7_200, "2 h"), (864_000, "10 days")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
