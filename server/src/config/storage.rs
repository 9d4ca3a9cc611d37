//! Sections `[database]` and `[blobs]`: where rounds and models are kept. Left out, both are in the data folder.
//!
//! Keys of object stores are no settings: they come from the environment, as the providers' own tools read them.

use reqwest::Url;
use scale_coordinator::blobs::{BlobLocation, Cdn};
use scale_proto::error::Invalid;
use scale_sql::SecretUrl;
use serde::Deserialize;

use super::ConfigError;

/// The database of rounds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `postgres://user:password@host/name`; empty: SQLite in the data folder.
    pub url: SecretUrl,
    /// Most connections of this process to Postgres.
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: SecretUrl::default(), max_connections: 20 }
    }
}

/// The store of models, optimizer states and partial sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlobStore {
    /// `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`; empty: a folder in the data folder.
    pub url: String,
    /// URL of an S3 or Azure server of another make; empty: the provider's own.
    pub endpoint: String,
    /// S3's region; empty: as the environment says.
    pub region: String,
    /// Public URL below which models can be read without a signature; empty: models have signed URLs.
    pub cdn_url: String,
    /// Whether `endpoint` and `cdn_url` may be plain HTTP.
    pub allow_http: bool,
}

fn wrong(setting: &'static str, problem: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::Value { setting, problem: problem.into() })
}

impl Database {
    /// Whether the values can be used. What is wrong is said without the URL, which may hold a password.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first that cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.url.is_empty() {
            let postgres = Url::parse(self.url.expose())
                .is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql") && url.has_authority());
            if !postgres {
                let problem = "is not a Postgres URL; write postgres://user:password@host/database, with special \
                               characters of the password as %XX; or leave it empty for SQLite in the data folder";
                return wrong("database.url", problem);
            }
        }
        if self.max_connections == 0 {
            return wrong("database.max_connections", "must be at least 1");
        }
        Ok(())
    }
}

impl BlobStore {
    /// The object store that is meant; `None`: a folder in the data folder.
    ///
    /// # Errors
    /// [`ConfigError::Value`] when the values name none, or do not fit each other.
    pub fn location(&self) -> Result<Option<BlobLocation>, ConfigError> {
        if self.url.is_empty() {
            return Ok(None);
        }
        Ok(Some(BlobLocation::parse(&self.url, &self.endpoint, &self.region, self.allow_http)?))
    }

    /// The public address of models; `None`: their URLs are signed.
    ///
    /// # Errors
    /// [`ConfigError::Value`] when it is no address, or plain HTTP without leave.
    pub fn cdn(&self) -> Result<Option<Cdn>, ConfigError> {
        if self.cdn_url.is_empty() {
            return Ok(None);
        }
        let cdn = Cdn::parse(&self.cdn_url)?;
        if self.cdn_url.starts_with("http:") && !self.allow_http {
            let problem = "is plain HTTP; write https://, or set blobs.allow_http";
            return Err(ConfigError::Value { setting: "blobs.cdn_url", problem: problem.to_owned() });
        }
        Ok(Some(cdn))
    }

    /// Whether the values can be used together.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first that cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.location()?.is_none() {
            for (setting, given) in [
                ("blobs.endpoint", !self.endpoint.is_empty()),
                ("blobs.region", !self.region.is_empty()),
                ("blobs.cdn_url", !self.cdn_url.is_empty()),
            ] {
                if given {
                    return wrong(setting, "is of use with an object store only; name one in blobs.url");
                }
            }
        }
        self.cdn().map(drop)
    }
}

/// What the parts say of their own settings.
impl From<Invalid> for ConfigError {
    fn from(invalid: Invalid) -> Self {
        Self::Value { setting: invalid.field, problem: invalid.problem }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn refused(text: &str) -> String {
        toml::from_str::<Config>(text).unwrap().check().unwrap_err().to_string()
    }

    #[test]
    fn storage_that_can_be_used_passes() {
        for text in [
            "[database]\nurl = \"postgres://u:p%40ss@db.example.org:5433/scale?sslmode=require\"",
            "[database]\nurl = \"postgresql:///scale?host=/run/postgresql\"",
            "[blobs]\nurl = \"s3://models\"\nregion = \"eu-central-1\"\ncdn_url = \"https://cdn.example.org/fl\"",
            "[blobs]\nurl = \"s3://models/p\"\nendpoint = \"http://minio:9000\"\nallow_http = true",
        ] {
            let config: Config = toml::from_str(text).unwrap();
            config.check().unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        for (text, setting, help) in [
            ("[database]\nurl = \"mysql://u:hunter2@h/d\"", "database.url", "postgres://user:password@host"),
            ("[database]\nurl = \"u:hunter2@h/d\"", "database.url", "SQLite"),
            ("[database]\nmax_connections = 0", "database.max_connections", "at least 1"),
            ("[blobs]\nurl = \"models\"", "blobs.url", "s3://bucket/prefix"),
            ("[blobs]\nurl = \"ftp://models\"", "blobs.url", "az://"),
            ("[blobs]\nurl = \"s3:///prefix\"", "blobs.url", "no name of a bucket"),
            ("[blobs]\nurl = \"s3://KEY:SECRET@bucket\"", "blobs.url", "no name of a bucket"),
            ("[blobs]\nurl = \"s3://bucket/../other\"", "blobs.url", "cannot be a prefix"),
            ("[blobs]\nurl = \"s3://bucket/a//b\"", "blobs.url", "cannot be a prefix"),
            ("[blobs]\nurl = \"s3://bucket/?a=b\"", "blobs.url", "cannot be a prefix"),
            ("[blobs]\ncdn_url = \"https://cdn.example.org\"", "blobs.cdn_url", "blobs.url"),
            ("[blobs]\nregion = \"eu\"", "blobs.region", "blobs.url"),
            ("[blobs]\nurl = \"gs://models\"\nendpoint = \"https://x\"", "blobs.endpoint", "leave it empty"),
            ("[blobs]\nurl = \"az://models\"\nregion = \"eu\"", "blobs.region", "leave it empty"),
            ("[blobs]\nurl = \"s3://models\"\nendpoint = \"minio:9000\"", "blobs.endpoint", "https://"),
            ("[blobs]\nurl = \"s3://models\"\nendpoint = \"http://minio:9000\"", "blobs.endpoint", "blobs.allow_http"),
            ("[blobs]\nurl = \"s3://models\"\ncdn_url = \"https://u:p@c\"", "blobs.cdn_url", "user or a password"),
            ("[blobs]\nurl = \"s3://models\"\ncdn_url = \"http://c\"", "blobs.cdn_url", "blobs.allow_http"),
            ("[blobs]\nurl = \"s3://models\"\ncdn_url = \"https://c/?v=1\"", "blobs.cdn_url", "query"),
        ] {
            let error = refused(text);
            assert!(error.contains(&format!("`{setting}`")) && error.contains(help), "{text}: {error}");
            assert!(!["hunter2", "SECRET", "u:p@"].iter().any(|secret| error.contains(secret)), "{error}");
        }
        assert!(toml::from_str::<Config>("[blobs]\nbucket = \"b\"").is_err());
    }

    #[test]
    fn a_url_with_a_password_is_not_printed() {
        let config: Config = toml::from_str("[database]\nurl = \"postgres://u:hunter2@h/d\"").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
