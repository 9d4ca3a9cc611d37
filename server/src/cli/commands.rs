//! The commands that talk to a running coordinator.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use scale_proto::ids::{Digest, RoundId, TaskId};
use scale_proto::wire;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Failure;
use super::args::{ClientCommand, ModelsCommand, Reaching, Remote, RoundsCommand, TaskCommand, TokenCommand};
use super::client::{self, Admin, explain};
use super::output::{self, Output};
use super::plan::PlanArgs;

pub(super) async fn run(command: ClientCommand) -> Result<Output, Failure> {
    match command {
        ClientCommand::Health(remote) => health(&remote).await,
        ClientCommand::Plan(args) => plan(&args).await,
        ClientCommand::Task(Reaching { remote, command }) => {
            // Mistakes in files and flags show before anybody is called.
            let command = prepare(command)?;
            task(command, client::admin(&remote).await?).await
        }
        ClientCommand::Rounds(Reaching { remote, command }) => rounds(command, client::admin(&remote).await?).await,
        ClientCommand::Models(Reaching { remote, command }) => models(command, client::admin(&remote).await?).await,
        #[cfg(feature = "facade")]
        ClientCommand::Token(Reaching {
            remote,
            command: TokenCommand::Mint { kind: super::args::TokenKind::Person, ttl, person },
        }) => super::people::mint(&person, ttl, &remote.folder()),
        ClientCommand::Token(Reaching { remote, command: TokenCommand::Mint { kind, ttl, .. } }) => {
            let request = wire::MintTokenRequest { kind: kind.word().to_owned(), ttl_s: ttl.unwrap_or(0) };
            let minted = client::admin(&remote).await?.mint_token(request).await.map_err(|status| explain(&status))?;
            Ok(output::token(&minted.into_inner()))
        }
    }
}

/// Plans for a task's file, for the task of that name which a running coordinator has, or for what flags say.
async fn plan(args: &PlanArgs) -> Result<Output, Failure> {
    let Some(named) = &args.task else { return super::plan::run(args) };
    let file = Path::new(named);
    if file.is_file() || named.ends_with(".toml") {
        return super::plan::of(&super::task::read(file)?, args);
    }
    let task: TaskId = named.parse()?;
    let mut admin = client::admin(&args.remote).await?;
    let config =
        all_tasks(&mut admin).await?.into_iter().find(|info| info.task == task.as_str()).and_then(|info| info.config);
    let config = config.ok_or_else(|| {
        let sentence = format!("there is no task {task}; `scale-coordinator task list` names those that exist");
        Failure::new("unknown_task", sentence)
    })?;
    super::plan::of(&config.try_into()?, args)
}

async fn health(remote: &Remote) -> Result<Output, Failure> {
    let mut client = HealthClient::new(client::channel(remote).await?);
    let answer =
        client.check(HealthCheckRequest { service: String::new() }).await.map_err(|status| explain(&status))?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(output::health()),
        _ => Err(Failure::new("not_serving", "the coordinator answers, but takes no calls at the moment")),
    }
}

/// A task command whose files have been read.
enum Prepared {
    Create(Box<wire::CreateTaskRequest>),
    List,
    SetState(wire::SetTaskStateRequest),
}

fn prepare(command: TaskCommand) -> Result<Prepared, Failure> {
    let state = |task, state: &str| Prepared::SetState(wire::SetTaskStateRequest { task, state: state.to_owned() });
    Ok(match command {
        TaskCommand::List => Prepared::List,
        TaskCommand::Pause { task } => state(task, "paused"),
        TaskCommand::Resume { task } => state(task, "active"),
        TaskCommand::Create(args) => {
            let task: TaskId = args.name.parse()?;
            let initial_model = match &args.initial {
                Some(path) => Bytes::from(read(path)?),
                None => Bytes::new(),
            };
            let config = Some(args.config()?.into());
            Prepared::Create(Box::new(wire::CreateTaskRequest { task: task.into(), config, initial_model }))
        }
    })
}

async fn task(command: Prepared, mut admin: Admin) -> Result<Output, Failure> {
    Ok(match command {
        Prepared::Create(request) => {
            output::task(&admin.create_task(*request).await.map_err(|status| explain(&status))?.into_inner())
        }
        Prepared::List => {
            let tasks = admin.list_tasks(wire::ListTasksRequest {}).await.map_err(|status| explain(&status))?;
            output::tasks(&tasks.into_inner().tasks)
        }
        Prepared::SetState(request) => {
            output::task(&admin.set_task_state(request).await.map_err(|status| explain(&status))?.into_inner())
        }
    })
}

async fn rounds(command: RoundsCommand, mut admin: Admin) -> Result<Output, Failure> {
    let answer = match command {
        RoundsCommand::List { task, limit } => {
            let rounds =
                admin.list_rounds(wire::ListRoundsRequest { task, limit }).await.map_err(|status| explain(&status))?;
            return Ok(output::rounds(&rounds.into_inner().rounds));
        }
        RoundsCommand::Open { task } => admin.open_round(wire::OpenRoundRequest { task }).await,
        RoundsCommand::Show { round } => {
            let round_id = find_round(&mut admin, &round).await?.to_bytes();
            admin.get_round(wire::GetRoundRequest { round_id }).await
        }
        RoundsCommand::Abandon { round, reason } => {
            let round_id = find_round(&mut admin, &round).await?.to_bytes();
            admin.abandon_round(wire::AbandonRoundRequest { round_id, reason }).await
        }
    };
    Ok(output::round(&answer.map_err(|status| explain(&status))?.into_inner()))
}

async fn all_tasks(admin: &mut Admin) -> Result<Vec<wire::TaskInfo>, Failure> {
    Ok(admin.list_tasks(wire::ListTasksRequest {}).await.map_err(|status| explain(&status))?.into_inner().tasks)
}

/// Fewest digits that stand for an id.
const PREFIX: usize = 8;
/// Rounds of a task among which a shortened id is looked for: as many as one call lists.
const SEARCHED: u32 = 1000;

/// The round that is meant by an id, or by the beginning of one.
async fn find_round(admin: &mut Admin, text: &str) -> Result<RoundId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let prefix = prefix(text)?;
    let mut found = Vec::new();
    for wire::TaskInfo { task, .. } in all_tasks(admin).await? {
        let request = wire::ListRoundsRequest { task, limit: SEARCHED };
        let rounds = admin.list_rounds(request).await.map_err(|status| explain(&status))?.into_inner().rounds;
        let meant = rounds.into_iter().filter(|round| hex::encode(&round.round_id).starts_with(&prefix));
        found.extend(meant.map(|round| (round.round_id, round.task, round.number)));
    }
    one_round(text, &found)
}

/// The digits of the beginning of an id.
fn prefix(text: &str) -> Result<String, Failure> {
    let digits = text.replace('-', "").to_ascii_lowercase();
    if digits.len() < PREFIX || digits.len() > 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let sentence = format!(
            "{text:?} is not a round's id; give the whole id, or its first {PREFIX} digits or more, as `scale-coordinator \
             rounds list TASK` shows them"
        );
        return Err(Failure::new("invalid", sentence));
    }
    Ok(digits)
}

/// The only one of `found` (id, task and number), or a failure that says which there are.
fn one_round(text: &str, found: &[(Bytes, String, u64)]) -> Result<RoundId, Failure> {
    match found {
        [(id, ..)] => Ok(RoundId::try_from(&id[..])?),
        [] => {
            let sentence =
                format!("of the newest {SEARCHED} rounds of every task, none has an id that begins with {text}");
            Err(Failure::new("unknown_round", sentence))
        }
        several => {
            let ids = several.iter().map(|(id, task, number)| {
                RoundId::try_from(&id[..]).map(|id| format!("\n  {id}  round {number} of {task}"))
            });
            let ids = ids.collect::<Result<String, _>>()?;
            Err(Failure::new(
                "ambiguous_id",
                format!("{} rounds have an id that begins with {text}:{ids}\n", several.len()),
            ))
        }
    }
}

async fn models(command: ModelsCommand, mut admin: Admin) -> Result<Output, Failure> {
    Ok(match command {
        ModelsCommand::List { task } => {
            let models =
                admin.list_models(wire::ListModelsRequest { task }).await.map_err(|status| explain(&status))?;
            output::models(&models.into_inner().models)
        }
        ModelsCommand::Show { task, version } => output::model(&model(&mut admin, task, version).await?),
        ModelsCommand::Rollback { task, version } => {
            let request = wire::RollbackModelRequest { task, version };
            output::model(&admin.rollback_model(request).await.map_err(|status| explain(&status))?.into_inner())
        }
        ModelsCommand::Download { task, version, output: path } => {
            let model = model(&mut admin, task, version).await?;
            let path = path.unwrap_or_else(|| PathBuf::from(format!("{}-{}.safetensors", model.task, model.version)));
            download(&model, &path).await?;
            output::downloaded(&model, &path)
        }
    })
}

async fn model(admin: &mut Admin, task: String, version: Option<u64>) -> Result<wire::ModelInfo, Failure> {
    let request = wire::GetModelInfoRequest { task, version: version.unwrap_or(0) };
    Ok(admin.get_model(request).await.map_err(|status| explain(&status))?.into_inner())
}

/// Fetches a model by its signed URL and writes it, when it is what it should be.
async fn download(model: &wire::ModelInfo, path: &Path) -> Result<(), Failure> {
    let failed =
        |error: reqwest::Error| Failure::new("download", format!("the download failed: {}", error.without_url()));
    let response = reqwest::get(&model.url).await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(Failure::new("download", format!("the download failed with HTTP {}", response.status())));
    }
    let bytes = response.bytes().await.map_err(failed)?;
    if Digest::of(&bytes).0 != *model.digest {
        return Err(Failure::new(
            "bad_digest",
            "the downloaded file does not have the digest of the model; nothing was written",
        ));
    }
    std::fs::write(path, &bytes).map_err(|error| Failure::unwritable(path, &error))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::unreadable(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::date;

    #[test]
    fn the_beginning_of_an_id_is_enough_if_it_is_one_round_s() {
        assert_eq!(prefix("63F49A79-12").unwrap(), "63f49a7912");
        for wrong in ["63f49a7", "round-nine", "", "63f49a79-1234-4234-8234-1234567890abc"] {
            let failure = prefix(wrong).unwrap_err().to_string();
            assert!(failure.contains("first 8 digits"), "{failure}");
        }
        let round = |last: u8| {
            let mut id = [0x63; 16];
            id[15] = last;
            (Bytes::copy_from_slice(&id), "words".to_owned(), u64::from(last))
        };
        assert_eq!(one_round("63636363", &[round(1)]).unwrap().as_bytes()[15], 1);
        assert!(one_round("63636363", &[]).unwrap_err().to_string().contains("unknown_round"));
        let several = one_round("63636363", &[round(1), round(2)]).unwrap_err().to_string();
        for part in ["ambiguous_id", "63636363-6363-6363-6363-636363636301  round 1 of words", "round 2 of words"] {
            assert!(several.contains(part), "{several}");
        }
    }

    #[test]
    fn dates_are_readable() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(date(u64::MAX), u64::MAX.to_string());
    }
}
