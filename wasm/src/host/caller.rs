//! gRPC-web and downloads over `fetch`. The worker limits the time of both.

use bytes::Bytes;
use scale_client_core::error::CallError;
use scale_client_core::host::{Body, DeviceToken, Download};
use scale_client_core::transport::{Caller, RpcFailure, download_start};
use wasm_bindgen::JsCast as _;

use super::copied;
use crate::grpc_web::{self, Ended};
use crate::platform::{Answer, Opened, Platform, bytes, sentence};

#[derive(Debug)]
pub(crate) struct FetchCaller(pub(crate) Platform);

/// The bytes of a download.
#[derive(Debug)]
pub(crate) struct FetchBody(Opened);

impl Drop for FetchBody {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Caller for FetchCaller {
    type Body = FetchBody;

    async fn unary(&self, path: &'static str, token: Option<&DeviceToken>, body: Bytes) -> Result<Bytes, RpcFailure> {
        let bearer = token.map(DeviceToken::bearer);
        let bearer = bearer.as_deref().map(String::as_str);
        let answer = self.0.unary(path, bearer, copied(&grpc_web::request(&body))).await;
        let answer: Answer = answer.map_err(|error| RpcFailure::Unreachable(sentence(&error)))?.unchecked_into();
        let headers = Ended { status: answer.status(), message: answer.message(), details: answer.details() };
        grpc_web::response(answer.http(), headers, &answer.body().to_vec())
    }

    async fn download(&self, url: &str, from: u64) -> Result<Download<FetchBody>, CallError> {
        // A model of 2^53 bytes is above the core's limit.
        let opened = self.0.download(url, from as f64).await;
        let opened = opened.map_err(|error| CallError::Unreachable(sentence(&error)))?;
        let body = FetchBody(opened.unchecked_into());
        let from = download_start(body.0.http(), body.0.content_range().as_deref(), from)?;
        Ok(Download { from, body })
    }
}

impl Body for FetchBody {
    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        let next = self.0.next().await.map_err(|error| CallError::Unreachable(sentence(&error)))?;
        Ok(bytes(&next).map(Bytes::from))
    }
}
