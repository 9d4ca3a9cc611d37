//! Where blobs are: a folder, or an object store by its URL.

use std::fmt;
use std::path::PathBuf;

use scale_proto::error::Invalid;

use super::path::BlobPath;

/// Where blobs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobLocation {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket or container.
    Store(StoreLocation),
}

/// Whose protocol an object store speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3 and its likes.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

/// A bucket or container, and the folder in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreLocation {
    pub(super) provider: Provider,
    pub(super) bucket: String,
    pub(super) prefix: Option<BlobPath>,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) allow_http: bool,
}

const URL: &str = "blobs.url";
const ENDPOINT: &str = "blobs.endpoint";
const REGION: &str = "blobs.region";

impl BlobLocation {
    /// Reads `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`. The prefix may be missing.
    ///
    /// `endpoint`: the address of an S3 or Azure server of another make, empty for the provider's own. `region`: of S3
    /// only, empty for what the environment says. `allow_http`: whether the endpoint may be one without TLS.
    ///
    /// # Errors
    /// [`Invalid`] names the setting and says what would be right.
    pub fn parse(url: &str, endpoint: &str, region: &str, allow_http: bool) -> Result<Self, Invalid> {
        let forms = "it is s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| Invalid::new(URL, format!("is no address of a store: {forms}")))?;
        let provider = match scheme {
            "s3" => Provider::S3,
            "gs" => Provider::Gcs,
            "az" => Provider::Azure,
            _ => return Err(Invalid::new(URL, format!("\"{scheme}://\" is no kind of store: {forms}"))),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(bucket) {
            let rule = "3 to 63 of a-z, 0-9, '-', '.' and '_', beginning and ending with a letter or a digit";
            // Without the text: somebody may have written keys into it.
            let problem =
                format!("after {scheme}:// comes no name of a bucket: {rule}; keys come from the environment");
            return Err(Invalid::new(URL, problem));
        }
        let prefix = match prefix.trim_end_matches('/') {
            "" => None,
            prefix => Some(
                BlobPath::parse(prefix)
                    .map_err(|error| Invalid::new(URL, format!("{prefix:?} cannot be a prefix: {error}")))?,
            ),
        };
        let endpoint = Some(endpoint.trim_end_matches('/')).filter(|endpoint| !endpoint.is_empty());
        if let Some(endpoint) = endpoint {
            check_endpoint(endpoint, provider, allow_http)?;
        }
        let region = Some(region).filter(|region| !region.is_empty());
        if region.is_some() && provider != Provider::S3 {
            return Err(Invalid::new(REGION, format!("{provider} has none; leave it empty")));
        }
        if let Some(region) = region
            && !region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        {
            return Err(Invalid::new(REGION, format!("{region:?} is no region such as eu-central-1")));
        }
        Ok(Self::Store(StoreLocation {
            provider,
            bucket: bucket.to_owned(),
            prefix,
            endpoint: endpoint.map(str::to_owned),
            region: region.map(str::to_owned),
            allow_http,
        }))
    }
}

impl StoreLocation {
    /// Whose protocol it speaks.
    pub const fn provider(&self) -> Provider {
        self.provider
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S3 => "S3",
            Self::Gcs => "Google Cloud Storage",
            Self::Azure => "Azure Blob Storage",
        })
    }
}

/// For logs. Holds no keys: they never are in a location.
impl fmt::Display for BlobLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "folder {}", path.display()),
            Self::Store(store) => {
                let scheme = match store.provider {
                    Provider::S3 => "s3",
                    Provider::Gcs => "gs",
                    Provider::Azure => "az",
                };
                write!(f, "{scheme}://{}", store.bucket)?;
                store.prefix.iter().try_for_each(|prefix| write!(f, "/{prefix}"))?;
                store.endpoint.iter().try_for_each(|endpoint| write!(f, " at {endpoint}"))
            }
        }
    }
}

/// What S3, Google and Azure have in common, and Google's underscore.
fn is_bucket(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(|c| plain(c) || matches!(c, '-' | '.' | '_'))
        && !name.contains("..")
}

fn check_endpoint(endpoint: &str, provider: Provider, allow_http: bool) -> Result<(), Invalid> {
    if provider == Provider::Gcs {
        return Err(Invalid::new(ENDPOINT, format!("{provider} has one address; leave it empty")));
    }
    let uri: http::Uri = endpoint
        .parse()
        .map_err(|_| Invalid::new(ENDPOINT, format!("{endpoint:?} is no address such as https://minio.example.org")))?;
    let plain = uri.query().is_none() && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") if plain => Ok(()),
        Some("http") if plain && allow_http => Ok(()),
        Some("http") if plain => Err(Invalid::new(
            ENDPOINT,
            "http:// sends models and partial sums unencrypted; take https://, or set blobs.allow_http = true in a \
             network of your own",
        )),
        _ => Err(Invalid::new(
            ENDPOINT,
            // Without the text, for the same reason.
            "is no address such as https://minio.example.org, without a query, a user or a password",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, endpoint: &str, region: &str, allow_http: bool) -> Result<String, Invalid> {
        BlobLocation::parse(url, endpoint, region, allow_http).map(|location| location.to_string())
    }

    #[test]
    fn addresses_of_all_stores_are_read() {
        for (url, endpoint, region, http, shown) in [
            ("s3://models", "", "", false, "s3://models"),
            ("s3://models/", "", "eu-central-1", false, "s3://models"),
            (
                "s3://models/fl/prod/",
                "https://minio.example.org/",
                "",
                false,
                "s3://models/fl/prod at https://minio.example.org",
            ),
            ("s3://models", "http://127.0.0.1:9000", "", true, "s3://models at http://127.0.0.1:9000"),
            ("gs://my_models.example.org/fl", "", "", false, "gs://my_models.example.org/fl"),
            (
                "az://models/fl",
                "http://127.0.0.1:10000/devstoreaccount1",
                "",
                true,
                "az://models/fl at http://127.0.0.1:10000/devstoreaccount1",
            ),
        ] {
            assert_eq!(parse(url, endpoint, region, http).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, endpoint, region, http, field, words) in [
            ("", "", "", false, URL, "s3://bucket/prefix"),
            ("models", "", "", false, URL, "s3://bucket/prefix"),
            ("file:///tmp", "", "", false, URL, "no kind of store"),
            ("https://models.s3.amazonaws.com", "", "", false, URL, "no kind of store"),
            ("s3://", "", "", false, URL, "no name of a bucket"),
            ("s3://Models", "", "", false, URL, "no name of a bucket"),
            ("s3://key:secret@models", "", "", false, URL, "no name of a bucket"),
            ("s3://a..b", "", "", false, URL, "no name of a bucket"),
            ("s3://models/../other", "", "", false, URL, "cannot be a prefix"),
            ("s3://models/Fl", "", "", false, URL, "cannot be a prefix"),
            ("s3://models?region=x", "", "", false, URL, "no name of a bucket"),
            ("s3://models", "http://127.0.0.1:9000", "", false, ENDPOINT, "allow_http"),
            ("s3://models", "minio.example.org", "", true, ENDPOINT, "no address"),
            ("s3://models", "ftp://minio.example.org", "", true, ENDPOINT, "no address"),
            ("s3://models", "https://me:secret@minio.example.org", "", true, ENDPOINT, "no address"),
            ("gs://models", "https://storage.example.org", "", false, ENDPOINT, "leave it empty"),
            ("gs://models", "", "eu", false, REGION, "leave it empty"),
            ("az://models", "", "eu", false, REGION, "leave it empty"),
            ("s3://models", "", "eu central", false, REGION, "no region"),
        ] {
            let error = parse(url, endpoint, region, http).expect_err(url);
            assert_eq!(error.field, field, "{url} {endpoint}");
            assert!(error.problem.contains(words), "{url} {endpoint}: {error}");
        }
    }
}
