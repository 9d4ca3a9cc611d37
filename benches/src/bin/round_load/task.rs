//! The task of the measurement, and whether its round published the sum.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use scale_proto::ids::{ModelVersion, TaskId};
use scale_proto::model::{Family, ModelSpec};
use scale_proto::task::{
    Aggregation, Cohort, Privacy, Quantization, Schedule, SecureAggregation, Sessions, TaskConfig, Timing, Training,
};
use scale_proto::{model_file, wire};
use scale_secagg::config::RoundConfig;
use tokio::net::TcpStream;

use crate::device::Device;
use crate::settings::{self, Arguments};

pub(crate) const TASK: &str = "load";
/// No step ends for want of time: everybody answers.
const HOUR_MS: u64 = 3_600_000;

/// Two classes and no hidden layer: `entries` parameters.
fn model(entries: u32) -> ModelSpec {
    let labels = vec!["no".to_owned(), "yes".to_owned()];
    ModelSpec { labels, family: Family::Mlp { inputs: entries / 2 - 1, hidden: vec![] } }
}

/// One round of everybody. The model starts at zero, so that what is published is the mean update to the last bit.
pub(crate) fn request(arguments: &Arguments) -> anyhow::Result<wire::CreateTaskRequest> {
    let model = model(arguments.entries);
    let task: TaskId = TASK.parse()?;
    let zero = vec![0.0; model.flat_len() as usize];
    let initial_model = model_file::encode(&task, ModelVersion(1), &model, &zero)?.into();
    let config = TaskConfig {
        model,
        training: Training {
            epochs: 1,
            batch_size: 1,
            learning_rate: 0.1,
            proximal_mu: 0.0,
            time_limit_ms: 10_000,
            max_weight: 1,
            holdout_permille: 0,
        },
        cohort: Cohort { goal: arguments.devices, floor: 10, over_selection_permille: 1000, session_max: 128 },
        timing: Timing {
            selecting_ms: HOUR_MS,
            training_ms: HOUR_MS,
            grace_ms: HOUR_MS,
            shares_ms: HOUR_MS,
            masked_input_ms: HOUR_MS,
            agreement_ms: HOUR_MS,
            unmask_ms: HOUR_MS,
        },
        schedule: Schedule::WhenReady,
        aggregation: Aggregation::FedAvg { learning_rate: 1.0 },
        quantization: Quantization { clip: 1.0, grid_factor: 64 },
        secure_aggregation: SecureAggregation {
            sessions: match arguments.sessions {
                settings::Sessions::One => Sessions::One,
                settings::Sessions::Many => Sessions::Auto,
            },
            ..Default::default()
        },
        privacy: Privacy::None,
        max_rounds: Some(1),
    };
    config.check()?;
    Ok(wire::CreateTaskRequest { task: TASK.to_owned(), config: Some((&config).into()), initial_model })
}

/// Whether the published model is exactly the mean of the updates of those that were told that they are in the sum.
pub(crate) async fn is_exact(
    model: &wire::ModelInfo,
    server: &str,
    config: &RoundConfig,
    devices: &[Device],
) -> anyhow::Result<bool> {
    let spec = model_of(config);
    let weights = model_file::decode(&spec, &download(server, &model.url).await?)?;
    let unit = config.clip * (1.0 + 2f64.powi(-20)) / f64::from(config.grid);
    let inside: Vec<&Device> = devices.iter().filter(|device| device.committed).collect();
    let mut sum = vec![0_i64; weights.len()];
    for device in &inside {
        sum.iter_mut().zip(device.update(weights.len() as u64)).for_each(|(sum, entry)| *sum += i64::from(entry));
    }
    let published = weights.iter().map(|weight| (f64::from(*weight) * inside.len() as f64 / unit).round() as i64);
    Ok(published.eq(sum))
}

fn model_of(config: &RoundConfig) -> ModelSpec {
    model(u32::try_from(config.vectors[0].len).unwrap_or(u32::MAX))
}

/// What the URL names, from the server that was asked.
async fn download(server: &str, url: &str) -> anyhow::Result<Bytes> {
    let place = server.strip_prefix("http://").context("only http:// is measured")?;
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
    let request = hyper::Request::get(path.context("a model's URL has a path")?).header("host", place);
    let stream = TcpStream::connect(place).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let reading = tokio::spawn(connection);
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    ensure!(answer.status() == 200, "the model's download answered {}", answer.status());
    let body = answer.into_body().collect().await?.to_bytes();
    reading.abort();
    Ok(body)
}
