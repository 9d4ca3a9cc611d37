//! Models as JSON.

use serde::Serialize;
use utoipa::ToSchema;

use super::super::{self as http};
use super::{moment, moment_schema};

/// The newest model of a task.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Model<'a> {
    /// The task.
    #[schema(example = "categorizer")]
    task: &'a str,
    /// Its number.
    #[schema(example = 43)]
    version: u64,
    /// SHA-256 of the file.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// Where the file is; good until `url_expires`.
    #[schema(format = "uri")]
    url: &'a str,
    /// Until when.
    #[schema(schema_with = moment_schema)]
    url_expires: String,
    /// Bytes of the file.
    size_bytes: u64,
    /// When the model was made.
    #[schema(schema_with = moment_schema)]
    created_at: String,
}

impl<'a> From<&'a http::Model> for Model<'a> {
    fn from(model: &'a http::Model) -> Self {
        Self {
            task: &model.task,
            version: model.version,
            sha256: hex::encode(model.sha256),
            url: &model.url,
            url_expires: moment(model.url_expires),
            size_bytes: model.size_bytes,
            created_at: moment(model.created_at),
        }
    }
}
