//! Who makes the URL of a model: the coordinator itself, the object store, or nobody, because a CDN serves it to everybody.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Uri};
use object_store::path::Path as ObjectPath;
use object_store::signer::Signer;
use scale_proto::error::Invalid;

use super::error::classify;
use super::sign::{MAX_TTL, UrlSigner};
use super::{BlobError, BlobPath};
use scale_clock::SharedClock;

/// Makes the URLs by which devices fetch models.
#[derive(Clone, Debug)]
pub struct ModelUrls(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Own { signer: Arc<UrlSigner>, clock: SharedClock, ttl: Duration },
    Store { signer: StoreSigner, ttl: Duration },
    Cdn(Cdn),
}

/// Signs URLs of one object store.
#[derive(Clone, Debug)]
pub struct StoreSigner {
    signer: Arc<dyn Signer>,
    prefix: ObjectPath,
}

/// The address below which a CDN serves models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cdn(String);

impl ModelUrls {
    /// The coordinator's own: an HMAC, checked and served by the coordinator ([`super::sign`]).
    pub fn own(signer: Arc<UrlSigner>, clock: SharedClock, ttl: Duration) -> Self {
        Self(Kind::Own { signer, clock, ttl })
    }

    /// The object store's own: it checks them and serves the models. At most [`MAX_TTL`]; shorter where the coordinator's
    /// keys expire sooner. Counted from the system's clock, because the store compares with its own.
    pub fn store(signer: StoreSigner, ttl: Duration) -> Self {
        Self(Kind::Store { signer, ttl: ttl.min(MAX_TTL) })
    }

    /// Plain URLs below an address, for everybody and for ever: names of models hold version and digest.
    pub fn cdn(cdn: Cdn) -> Self {
        Self(Kind::Cdn(cdn))
    }

    /// A URL that reads `path`.
    ///
    /// # Errors
    /// [`BlobError::Path`]; the store's own kinds may have to ask for keys: [`BlobError::Unavailable`],
    /// [`BlobError::Forbidden`].
    pub async fn model_url(&self, path: &str) -> Result<String, BlobError> {
        match &self.0 {
            Kind::Own { signer, clock, ttl } => signer.sign_get(path, *ttl, clock.now()),
            Kind::Store { signer, ttl } => signer.sign_get(path, *ttl).await,
            Kind::Cdn(Cdn(base)) => Ok(format!("{base}/{}", BlobPath::parse(path)?)),
        }
    }
}

impl StoreSigner {
    pub(super) fn new(signer: Arc<dyn Signer>, prefix: Option<&BlobPath>) -> Self {
        Self { signer, prefix: prefix.map(BlobPath::object).unwrap_or_default() }
    }

    async fn sign_get(&self, path: &str, ttl: Duration) -> Result<String, BlobError> {
        let path = BlobPath::parse(path)?.object();
        let whole = ObjectPath::from_iter(self.prefix.parts().chain(path.parts()));
        let url = self.signer.signed_url(Method::GET, &whole, ttl).await.map_err(|error| classify(&error))?;
        Ok(url.into())
    }
}

impl Cdn {
    /// An address such as `https://cdn.example.org/models`.
    ///
    /// # Errors
    /// [`Invalid`] says what would be right.
    pub fn parse(url: &str) -> Result<Self, Invalid> {
        let base = url.trim_end_matches('/');
        let uri: Option<Uri> = base.parse().ok();
        let fine = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("https" | "http"))
                && uri.query().is_none()
                && !base.contains('#')
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        // Without the text: somebody may have written keys into it.
        let problem = "is no address such as https://cdn.example.org/models, without a query, a user or a password";
        if fine { Ok(Self(base.to_owned())) } else { Err(Invalid::new("blobs.cdn_url", problem)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cdn_serves_plain_names_below_its_address() {
        for base in ["https://cdn.example.org/fl", "https://cdn.example.org/fl/"] {
            let urls = ModelUrls::cdn(Cdn::parse(base).expect("an address"));
            let url = urls.model_url("models/m/00000001-9f.safetensors").await;
            assert_eq!(url.as_deref(), Ok("https://cdn.example.org/fl/models/m/00000001-9f.safetensors"));
            assert_eq!(urls.model_url("../segments/x").await, Err(BlobError::Path));
        }
        for bad in ["", "cdn.example.org", "ftp://x", "https://", "https://x?y=1", "https://x/#y", "https://me:pw@x"] {
            assert_eq!(Cdn::parse(bad).expect_err(bad).field, "blobs.cdn_url");
        }
    }
}
