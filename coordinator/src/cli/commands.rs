//! The commands that talk to a running coordinator.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use scale_proto::ids::{Digest, RoundId, TaskId};
use scale_proto::wire;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Failure;
use super::args::{ClientCommand, ModelsCommand, Remote, RoundsCommand, TaskCommand, TokenCommand, TokenKind};
use super::client::{self, Admin, explain};
use super::output::{self, Output};

pub(super) async fn run(command: ClientCommand, remote: &Remote, data: &Path, json: bool) -> Result<(), Failure> {
    let output = match command {
        ClientCommand::Health => health(remote, data).await?,
        ClientCommand::Plan(args) => super::plan::run(&args)?,
        ClientCommand::Task(command) => {
            // Mistakes in files and flags show before anybody is called.
            let command = prepare(command)?;
            task(command, client::admin(remote, data).await?).await?
        }
        ClientCommand::Rounds(command) => rounds(command, client::admin(remote, data).await?).await?,
        ClientCommand::Models(command) => models(command, client::admin(remote, data).await?).await?,
        ClientCommand::Token(TokenCommand::Mint { kind: TokenKind::Person, ttl, person }) => {
            super::people::mint(&person, ttl, data)?
        }
        ClientCommand::Token(TokenCommand::Mint { kind, ttl, .. }) => {
            let request = wire::MintTokenRequest { kind: kind.word().to_owned(), ttl_s: ttl.unwrap_or(0) };
            let minted =
                client::admin(remote, data).await?.mint_token(request).await.map_err(|status| explain(&status))?;
            output::token(&minted.into_inner())
        }
    };
    println!("{}", if json { output.json() } else { output.text().to_owned() });
    Ok(())
}

async fn health(remote: &Remote, data: &Path) -> Result<Output, Failure> {
    let mut client = HealthClient::new(client::channel(remote, data).await?);
    let answer =
        client.check(HealthCheckRequest { service: String::new() }).await.map_err(|status| explain(&status))?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(output::health()),
        _ => Err(Failure::new("the coordinator answers, but takes no calls at the moment")),
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
    let id = |round: &str| round.parse::<RoundId>().map(RoundId::to_bytes);
    let answer = match command {
        RoundsCommand::List { task, limit } => {
            let rounds =
                admin.list_rounds(wire::ListRoundsRequest { task, limit }).await.map_err(|status| explain(&status))?;
            return Ok(output::rounds(&rounds.into_inner().rounds));
        }
        RoundsCommand::Open { task } => admin.open_round(wire::OpenRoundRequest { task }).await,
        RoundsCommand::Show { round } => admin.get_round(wire::GetRoundRequest { round_id: id(&round)? }).await,
        RoundsCommand::Abandon { round, reason } => {
            admin.abandon_round(wire::AbandonRoundRequest { round_id: id(&round)?, reason }).await
        }
    };
    Ok(output::round(&answer.map_err(|status| explain(&status))?.into_inner()))
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
    let failed = |error: reqwest::Error| Failure::new(format!("the download failed: {}", error.without_url()));
    let response = reqwest::get(&model.url).await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(Failure::new(format!("the download failed with HTTP {}", response.status())));
    }
    let bytes = response.bytes().await.map_err(failed)?;
    if Digest::of(&bytes).0 != *model.digest {
        return Err(Failure::new("the downloaded file does not have the digest of the model; nothing was written"));
    }
    std::fs::write(path, &bytes).map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use crate::cli::date;

    #[test]
    fn dates_are_readable() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(date(u64::MAX), u64::MAX.to_string());
    }
}
