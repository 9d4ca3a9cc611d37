//! Stores that run, each with a bucket of its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use scale_coordinator::blobs::{BlobLocation, Blobs};
use scale_tests::s3::{BUCKET, S3Server};

/// A bucket on a server that checks signatures, and how it is reached.
pub(crate) struct Store {
    pub(crate) name: &'static str,
    pub(crate) location: BlobLocation,
    pub(crate) environment: Vec<(String, String)>,
    /// With a secret that is not the server's.
    pub(crate) wrong_secret: Vec<(String, String)>,
    /// Where it is one of this process.
    pub(crate) s3: Option<S3Server>,
    _folder: Option<tempfile::TempDir>,
}

impl Store {
    /// All that can run here.
    pub(crate) async fn all() -> [Self; 2] {
        [Self::s3().await, Self::azure().await]
    }

    pub(crate) async fn s3() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = S3Server::start(folder.path(), 0).await.unwrap();
        let location = format!("s3://{BUCKET}/fl/tests");
        let environment = S3Server::environment();
        Self {
            name: "S3",
            location: BlobLocation::parse(&location, &server.endpoint(), "", true).unwrap(),
            wrong_secret: replaced(&environment, "AWS_SECRET_ACCESS_KEY", "not-the-secret"),
            environment,
            s3: Some(server),
            _folder: Some(folder),
        }
    }

    pub(crate) async fn azure() -> Self {
        let azurite = Azurite::find();
        let container = format!("test-{:x}", unique());
        azurite.create(&container).await;
        let environment = vec![
            ("AZURE_STORAGE_ACCOUNT_NAME".to_owned(), azurite.account.clone()),
            ("AZURE_STORAGE_ACCOUNT_KEY".to_owned(), azurite.key.clone()),
        ];
        let location = format!("az://{container}/fl/tests");
        Self {
            name: "Azure",
            location: BlobLocation::parse(&location, &azurite.endpoint, "", true).unwrap(),
            wrong_secret: replaced(&environment, "AZURE_STORAGE_ACCOUNT_KEY", &STANDARD.encode([7; 64])),
            environment,
            s3: None,
            _folder: None,
        }
    }

    /// A connection of its own, as each replica has one.
    pub(crate) fn blobs(&self) -> Blobs {
        self.blobs_with(&self.environment)
    }

    pub(crate) fn blobs_with(&self, environment: &[(String, String)]) -> Blobs {
        Blobs::open_with(&self.location, environment.to_vec()).unwrap()
    }
}

fn replaced(environment: &[(String, String)], name: &str, value: &str) -> Vec<(String, String)> {
    let value =
        |(known, old): &(String, String)| (known.clone(), if known == name { value.to_owned() } else { old.clone() });
    environment.iter().map(value).collect()
}

/// A server of Azure Blob Storage.
struct Azurite {
    endpoint: String,
    account: String,
    key: String,
}

impl Azurite {
    fn find() -> Self {
        let text = std::env::var("SCALE_TEST_AZURITE").expect(
            "SCALE_TEST_AZURITE must be the connection string of a throw-away Azurite server; `cargo xtask services \
             COMMAND` runs COMMAND beside one",
        );
        let part = |name: &str| {
            let found = text.split(';').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("SCALE_TEST_AZURITE has no {name}")).to_owned()
        };
        Self { endpoint: part("BlobEndpoint"), account: part("AccountName"), key: part("AccountKey") }
    }

    /// Makes a container, by an account's shared access signature.
    async fn create(&self, container: &str) {
        let (version, expires) = ("2020-12-06", "2099-01-01T00:00:00Z");
        // Account, permissions, services, resource types, start, expiry, addresses, protocols, version, encryption scope.
        let signed = format!("{}\nc\nb\nc\n\n{expires}\n\n\n{version}\n\n", self.account);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(&self.key).unwrap());
        let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        let query = [
            ("restype", "container"),
            ("sv", version),
            ("ss", "b"),
            ("srt", "c"),
            ("sp", "c"),
            ("se", expires),
            ("sig", &signature),
        ];
        let url = reqwest::Url::parse_with_params(&format!("{}/{container}", self.endpoint), query).unwrap();
        let answer = http().put(url).header("content-length", "0").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 201, "{}", answer.text().await.unwrap());
    }
}

/// A client that follows nothing and sends what it is told.
pub(crate) fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

/// Differs from run to run and within one.
fn unique() -> u128 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    now * 1000 + u128::from(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}
