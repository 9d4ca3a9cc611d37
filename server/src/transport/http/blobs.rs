//! `GET /v1/blobs/{path}`: a blob, or a part of one, to whoever has a signed URL.
//!
//! The URL is checked first, and the blob store is not touched for a bad one. Blobs never change, so an answer may be
//! cached for ever and a broken download goes on where it stopped.

use std::ops::Range;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload};
use scale_coordinator::blobs::sign::ROUTE;
use scale_coordinator::blobs::{BlobError, BlobPath};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::super::{App, problem};
use super::range::{self, Wanted};

/// Bytes read from a file at once.
const CHUNK: usize = 256 << 10;

pub(super) async fn download(State(app): State<App>, request: Request) -> Response {
    let method = request.method().clone();
    // The path as it stands in the URL: escapes are not undone, and no name of ours has any.
    let path = request.uri().path().strip_prefix(ROUTE).unwrap_or_default();
    let path = match app.signer.verify(method.as_str(), path, request.uri().query(), app.services.clock.now()) {
        Ok(path) => path,
        Err(refused) => return problem::http(StatusCode::FORBIDDEN, refused.code(), &refused.to_string()),
    };
    match answer(&app, &path, &method, request.headers()).await {
        Ok(Some(response)) => response,
        Ok(None) => problem::http(StatusCode::NOT_FOUND, "blob_gone", "the file is not there any more"),
        Err(error) => {
            tracing::warn!(code = error.code(), %error, %path, "a download failed");
            problem::http(StatusCode::SERVICE_UNAVAILABLE, error.code(), "the file cannot be read at the moment")
        }
    }
}

/// `None`: there is no such blob.
async fn answer(
    app: &App,
    path: &BlobPath,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Response>, BlobError> {
    let Some(found) = app.blobs.read(path, GetOptions { head: true, ..GetOptions::default() }).await? else {
        return Ok(None);
    };
    let size = found.meta.size;
    // Written once and never changed: the name stands for the content.
    let tag = format!("\"{path}\"");
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());

    let mut response = Response::new(Body::empty());
    let fields = response.headers_mut();
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fields.insert(header::ETAG, tag);
    }
    if text(header::IF_NONE_MATCH).is_some_and(|tags| tags == "*" || tags.split(',').any(|known| known.trim() == tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(Some(response));
    }
    let whole_only = text(header::IF_RANGE).is_some_and(|known| known != tag);
    let (status, part) = match range::parse(text(header::RANGE).filter(|_| !whole_only), size) {
        Wanted::Whole => (StatusCode::OK, 0..size),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Unsatisfiable => {
            let mut refused = problem::http(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range",
                &format!("the file has {size} bytes, and none of those asked for"),
            );
            refused.headers_mut().insert(header::CONTENT_RANGE, number(format!("bytes */{size}")));
            return Ok(Some(refused));
        }
    };
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.insert(header::CONTENT_LENGTH, number((part.end - part.start).to_string()));
    if status == StatusCode::PARTIAL_CONTENT {
        fields.insert(header::CONTENT_RANGE, number(format!("bytes {}-{}/{size}", part.start, part.end - 1)));
    }
    *response.status_mut() = status;
    if method != Method::HEAD && !part.is_empty() {
        let options = GetOptions { range: Some(GetRange::Bounded(part.clone())), ..GetOptions::default() };
        let Some(found) = app.blobs.read(path, options).await? else { return Ok(None) };
        *response.body_mut() = stream(found, part).await?;
    }
    Ok(Some(response))
}

/// Digits and signs of ours always make a header.
fn number(text: String) -> HeaderValue {
    HeaderValue::from_str(&text).expect("ASCII digits and signs are a header value")
}

/// The bytes of `part`, read as the client takes them.
async fn stream(found: GetResult, part: Range<u64>) -> Result<Body, BlobError> {
    match found.payload {
        GetResultPayload::File(file, _) => {
            let mut file = tokio::fs::File::from_std(file);
            let sought = file.seek(std::io::SeekFrom::Start(part.start)).await;
            sought.map_err(|error| BlobError::Unavailable(error.to_string()))?;
            Ok(Body::from_stream(ReaderStream::with_capacity(file.take(part.end - part.start), CHUNK)))
        }
        GetResultPayload::Stream(stream) => Ok(Body::from_stream(stream.map(|bytes| bytes.map_err(axum::Error::new)))),
    }
}
