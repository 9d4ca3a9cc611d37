//! A person's app, as far as it speaks to the REST facade.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::process::CoordinatorProcess;

/// Somebody with a token of the development issuer.
#[derive(Clone, Debug)]
pub struct Person {
    url: String,
    token: String,
    client: reqwest::Client,
}

impl Person {
    /// Somebody new, who has got a token from the command line.
    ///
    /// # Errors
    /// The command fails.
    pub fn new(binary: &str, coordinator: &CoordinatorProcess) -> anyhow::Result<Self> {
        static PEOPLE: AtomicU32 = AtomicU32::new(0);
        let number = PEOPLE.fetch_add(1, Ordering::Relaxed);
        let minted = Command::new(binary)
            .args(["token", "mint", "--kind", "person", "--user", &format!("person {number}"), "--data"])
            .arg(coordinator.data())
            .output()
            .context("cannot mint a token")?;
        ensure!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
        let token = String::from_utf8(minted.stdout)?.trim().to_owned();
        crate::process::install_tls();
        Ok(Self { url: coordinator.url(), token, client: reqwest::Client::new() })
    }

    /// Status and body of a call; the body is null when it is empty.
    ///
    /// # Errors
    /// Nobody answers, or with something that is no JSON.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        let mut request = self.client.request(method.parse()?, format!("{}/api/v1{path}", self.url));
        request = request.header("authorization", format!("Bearer {}", self.token));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(serde_json::to_vec(body)?);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
        Ok((status, body))
    }

    /// Everything that an event stream says until it ends.
    ///
    /// # Errors
    /// It does not open.
    pub async fn stream(&self, path: &str) -> anyhow::Result<String> {
        let request = self.client.get(format!("{}/api/v1{path}", self.url));
        let answer = request.header("authorization", format!("Bearer {}", self.token)).send().await?;
        ensure!(answer.status() == 200, "{path} answered {}", answer.status());
        Ok(answer.text().await?)
    }
}
