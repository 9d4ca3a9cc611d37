//! URLs of Google Cloud Storage: no server that checks their signatures can run here, so they are held against the form
//! that Google documents (V4 signing, "Signatures" and "Canonical requests"), computed here from its parts.

use std::time::Duration;

use reqwest::Url;
use ring::digest::{SHA256, digest};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use scale_coordinator::blobs::{BlobLocation, Blobs, ModelUrls};

/// Made for this test, and a key of nothing.
const PRIVATE_KEY: &str = include_str!("gcs_key.pem");
const PUBLIC_KEY: &[u8] = include_bytes!("gcs_key.public.der");
const EMAIL: &str = "coordinator@example.iam.gserviceaccount.com";

async fn signed(path: &str, ttl: Duration) -> Url {
    let account = serde_json::json!({
        "type": "service_account",
        "private_key": PRIVATE_KEY,
        "private_key_id": "1",
        "client_email": EMAIL,
    });
    let location = BlobLocation::parse("gs://my-models/fl", "", "", false).unwrap();
    let environment = [("GOOGLE_SERVICE_ACCOUNT_KEY".to_owned(), account.to_string())];
    let blobs = Blobs::open_with(&location, environment).unwrap();
    let urls = ModelUrls::store(blobs.signer().expect("it has a server").clone(), ttl);
    Url::parse(&urls.model_url(path).await.unwrap()).unwrap()
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// What Google's servers do, by its documents: whether the signature fits the method, the path and the query.
fn is_signed(method: &str, url: &Url) -> bool {
    let escape = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let mut query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    query.retain(|(name, _)| name != "X-Goog-Signature");
    query.sort();
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    let host = url.host_str().unwrap();
    let request = format!("{method}\n{}\n{}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD", url.path(), query.join("&"));
    let credential = parameter(url, "X-Goog-Credential").unwrap();
    let (_, scope) = credential.split_once('/').unwrap();
    let request = hex::encode(digest(&SHA256, request.as_bytes()));
    let text = format!("GOOG4-RSA-SHA256\n{}\n{scope}\n{request}", parameter(url, "X-Goog-Date").unwrap());
    let signature = parameter(url, "X-Goog-Signature").and_then(|text| hex::decode(text).ok()).unwrap_or_default();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, PUBLIC_KEY).verify(text.as_bytes(), &signature).is_ok()
}

#[tokio::test]
async fn urls_have_the_documented_form() {
    let url = signed("models/m/00000001-9f.safetensors", Duration::from_secs(600)).await;
    assert_eq!((url.scheme(), url.host_str()), ("https", Some("storage.googleapis.com")));
    assert_eq!(url.path(), "/my-models/fl/models/m/00000001-9f.safetensors");
    let mut names: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    names.sort();
    let expected = [
        "X-Goog-Algorithm",
        "X-Goog-Credential",
        "X-Goog-Date",
        "X-Goog-Expires",
        "X-Goog-Signature",
        "X-Goog-SignedHeaders",
    ];
    assert_eq!(names, expected);
    let date = parameter(&url, "X-Goog-Date").unwrap();
    assert!(date.len() == 16 && date.ends_with('Z') && date.as_bytes()[8] == b'T', "{date}");
    assert_eq!(
        parameter(&url, "X-Goog-Credential").unwrap(),
        format!("{EMAIL}/{}/auto/storage/goog4_request", &date[..8])
    );
    assert_eq!(parameter(&url, "X-Goog-Algorithm").unwrap(), "GOOG4-RSA-SHA256");
    assert_eq!(parameter(&url, "X-Goog-Expires").unwrap(), "600");
    assert_eq!(parameter(&url, "X-Goog-SignedHeaders").unwrap(), "host");
    assert!(is_signed("GET", &url), "{url}");

    // The signature covers all of it.
    assert!(!is_signed("PUT", &url));
    assert!(!is_signed("DELETE", &url));
    let mut moved = url.clone();
    moved.set_path("/my-models/fl/models/m/00000002-8e.safetensors");
    assert!(!is_signed("GET", &moved));
    for (name, value) in [
        ("X-Goog-Expires", "601"),
        ("X-Goog-Date", "20990101T000000Z"),
        ("X-Goog-Credential", "somebody@example.org/20990101/auto/storage/goog4_request"),
        ("X-Goog-SignedHeaders", "host;range"),
        ("X-Goog-Signature", "00"),
    ] {
        let mut changed = url.clone();
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let pairs = pairs.iter().map(|(known, old)| (known.as_str(), if known == name { value } else { old.as_str() }));
        changed.query_pairs_mut().clear().extend_pairs(pairs);
        assert!(!is_signed("GET", &changed), "{name}");
    }
    let longest = signed("models/m/1", Duration::from_secs(1_000_000)).await;
    assert_eq!(parameter(&longest, "X-Goog-Expires").unwrap(), "3600", "no URL lives longer than the cap");
}

/// The known answer of Google's documents is not published with its key. So the check above is checked itself: by a URL
/// that `openssl dgst -sha256 -sign` has signed for a request written out by hand.
#[test]
fn the_check_knows_a_url_that_another_program_has_signed() {
    let text = include_str!("gcs_url.txt");
    let url = Url::parse(text.trim()).unwrap();
    assert!(is_signed("GET", &url));
    assert!(!is_signed("HEAD", &url));
}
