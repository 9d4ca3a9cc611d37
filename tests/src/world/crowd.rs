//! Real clients that train on examples of their own and take part in round after round, whoever else is there.

use std::time::Duration;

use futures::future::try_join_all;
use scale_client_core::app::{App, AppConfig};
use scale_client_core::device::{Cancel, Outcome, Requirements, RunOptions};
use scale_client_core::examples::TextExample;
use scale_proto::ids::TaskId;
use tokio::task::JoinHandle;

use crate::device::RawDevice;
use crate::direct::{DirectCaller, DirectTransport};
use crate::phone;

/// Longest time of one call; the next one goes on.
const BUDGET: Duration = Duration::from_secs(60);
const EXAMPLES: usize = 24;

/// They go on until this is dropped.
pub(super) struct Crowd(Vec<JoinHandle<()>>);

impl Crowd {
    pub(super) async fn gather(
        url: &str,
        token: &str,
        task: &TaskId,
        labels: &[String],
        numbers: &[u8],
    ) -> anyhow::Result<Self> {
        let Some((first, numbers)) = numbers.split_first() else { anyhow::bail!("a crowd of nobody") };
        // The first number only asks for the task key, which the apps then pin.
        let task_key = *RawDevice::enroll(url.to_owned(), *first, token).await?.task_key();
        let members = numbers.iter().map(|&number| async move {
            let config = AppConfig { requirements: Requirements::NONE, ..AppConfig::new(task.clone(), task_key) };
            let app = App::new(phone::host_over(DirectCaller::transport(url.to_owned())?, number), config);
            app.enroll(token, &Cancel::new()).await?;
            app.put_examples(examples(number, labels)).await?;
            anyhow::Ok(app)
        });
        let apps = try_join_all(members).await?;
        let takes_part = |app: App<phone::Host<DirectTransport>>| {
            tokio::spawn(async move {
                let options = RunOptions { budget: Some(BUDGET), ..RunOptions::default() };
                loop {
                    match app.participate(options.clone(), &Cancel::new(), &mut ()).await {
                        Ok(Outcome::Contributed(_) | Outcome::Paused { .. }) => {}
                        // The test may have killed the coordinator, or the round was abandoned.
                        Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                    }
                }
            })
        };
        Ok(Self(apps.into_iter().map(takes_part).collect()))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

fn examples(device: u8, labels: &[String]) -> Vec<TextExample> {
    let example = |number: usize| {
        let label = labels[number % labels.len()].clone();
        TextExample { id: format!("{number}"), text: format!("{label} of {device}"), label, time: None }
    };
    (0..EXAMPLES).map(example).collect()
}
