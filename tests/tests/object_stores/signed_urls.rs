//! What a signed URL opens, and what it does not: the same questions to every store, and to the coordinator's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, Url};
use scale_clock::{Clock as _, SystemClock};
use scale_coordinator::auth::secrets::Secrets;
use scale_coordinator::blobs::ModelUrls;
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::small_task;

use super::stores::{Store, http};

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");
const MINUTE: Duration = Duration::from_secs(60);

/// A parameter of the query, and what it becomes.
type Change = (&'static str, fn(&str) -> String);

/// What the questions are about.
struct Subject {
    name: &'static str,
    /// Opens `content`.
    good: String,
    content: Bytes,
    /// Opens another object, `other_content`.
    other: String,
    other_content: Bytes,
    /// For `content`, and over already; signed with the right key.
    expired: String,
    /// For `content`, signed with a key that is not the store's.
    forged: String,
    /// The query's parameter that says when it is over, and a later moment.
    later: Change,
    /// The parameter that says whose key signed, and another key. Azure names the account in the path alone.
    key: Option<Change>,
}

struct Answer {
    status: u16,
    body: Bytes,
    range: Option<String>,
}

async fn ask(method: Method, url: &str, range: Option<&str>) -> Answer {
    let mut request = http().request(method.clone(), url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    if method == Method::PUT {
        request = request.header("x-ms-blob-type", "BlockBlob").body("replaced");
    }
    let answer = request.send().await.unwrap();
    let range = answer.headers().get("content-range").map(|range| range.to_str().unwrap().to_owned());
    Answer { status: answer.status().as_u16(), body: answer.bytes().await.unwrap(), range }
}

/// The URL with one parameter of its query changed, or left out.
fn with(url: &str, name: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let mut url = Url::parse(url).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    assert!(pairs.iter().any(|(known, _)| known == name), "{url} has no {name}");
    let pairs = pairs.into_iter().filter_map(|(known, value)| {
        if known == name { change(&value).map(|value| (known, value)) } else { Some((known, value)) }
    });
    let pairs: Vec<_> = pairs.collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

/// One character in the middle becomes another of its kind.
fn altered(value: &str) -> String {
    let mut characters: Vec<char> = value.chars().collect();
    let middle = characters.len() / 2;
    characters[middle] = match characters[middle] {
        '0'..='8' => char::from_u32(characters[middle] as u32 + 1).unwrap(),
        '9' => '0',
        'a' | 'A' => 'b',
        c if c.is_ascii_alphabetic() => 'a',
        _ => 'x',
    };
    let changed: String = characters.into_iter().collect();
    assert_ne!(changed, value);
    changed
}

impl Subject {
    async fn refused(&self, what: &str, url: &str) {
        for range in [None, Some("bytes=0-3")] {
            let answer = ask(Method::GET, url, range).await;
            let body = String::from_utf8_lossy(&answer.body);
            // 501: a way of signing that the server does not know.
            let refused = (400..500).contains(&answer.status) || answer.status == 501;
            assert!(refused, "{}, {what}: {} {body}\n{url}", self.name, answer.status);
            for content in [&self.content, &self.other_content] {
                let start = String::from_utf8_lossy(&content[..8]).into_owned();
                assert!(!body.contains(&start), "{}, {what}: {body}", self.name);
            }
        }
    }

    async fn stand(&self) {
        let name = self.name;
        // What it is for: the whole, and any part.
        for url in [(&self.good, &self.content), (&self.other, &self.other_content)] {
            let answer = ask(Method::GET, url.0, None).await;
            assert_eq!((answer.status, &answer.body), (200, url.1), "{name}");
        }
        let answer = ask(Method::GET, &self.good, Some("bytes=5-9")).await;
        assert_eq!((answer.status, answer.body), (206, self.content.slice(5..10)), "{name}");
        assert_eq!(answer.range.unwrap(), format!("bytes 5-9/{}", self.content.len()), "{name}");
        let rest = self.content.len() - 3;
        let answer = ask(Method::GET, &self.good, Some(&format!("bytes={rest}-"))).await;
        assert_eq!((answer.status, answer.body), (206, self.content.slice(rest..)), "{name}: how a download goes on");

        // Made by somebody else, over, or used for another object.
        self.refused("forged", &self.forged).await;
        self.refused("expired", &self.expired).await;
        let (good, other) = (Url::parse(&self.good).unwrap(), Url::parse(&self.other).unwrap());
        let mut moved = good.clone();
        moved.set_path(other.path());
        self.refused("re-used for another object", moved.as_str()).await;
        let mut above = good.clone();
        above.set_path(good.path().rsplit_once('/').unwrap().0);
        self.refused("re-used for a folder", above.as_str()).await;
        let mut bare = good.clone();
        bare.set_query(None);
        self.refused("without a signature", bare.as_str()).await;

        // Every parameter counts: none can be left out or changed.
        let names: Vec<String> = good.query_pairs().map(|(name, _)| name.into_owned()).collect();
        for parameter in &names {
            self.refused(&format!("without {parameter}"), &with(&self.good, parameter, |_| None)).await;
            let changed = with(&self.good, parameter, |value| Some(altered(value)));
            self.refused(&format!("another {parameter}"), &changed).await;
        }
        let (parameter, later) = self.later;
        self.refused("a later end", &with(&self.good, parameter, |value| Some(later(value)))).await;
        let revived = with(&self.expired, parameter, |value| Some(later(value)));
        self.refused("a later end for what is over", &revived).await;
        if let Some((parameter, other)) = self.key {
            self.refused("another key", &with(&self.good, parameter, |value| Some(other(value)))).await;
        }

        // A URL to read with is none to write, remove or list with.
        for method in [Method::PUT, Method::DELETE, Method::POST] {
            let answer = ask(method.clone(), &self.good, None).await;
            assert!((400..500).contains(&answer.status), "{name}: {method} was answered {}", answer.status);
        }
        let answer = ask(Method::GET, &self.good, None).await;
        assert_eq!((answer.status, &answer.body), (200, &self.content), "{name}: nothing has changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_of_the_stores_own() {
    let paths = ["models/m/00000001-9f.safetensors", "models/m/00000002-8e.safetensors"];
    let contents = [Bytes::from_static(b"the weights of one"), Bytes::from_static(b"some other weights")];
    for store in Store::all().await {
        let blobs = store.blobs();
        for (path, content) in paths.iter().zip(&contents) {
            blobs.put_new(path, content.clone()).await.unwrap();
        }
        let urls = |ttl| ModelUrls::store(blobs.signer().expect("it has a server").clone(), ttl);
        let wrong = store.blobs_with(&store.wrong_secret);
        let wrong = ModelUrls::store(wrong.signer().expect("it has a server").clone(), MINUTE);
        let expired = urls(Duration::from_secs(1)).model_url(paths[0]).await.unwrap();
        let answer = ask(Method::GET, &expired, None).await;
        assert_eq!(answer.body, contents[0], "{}: it opens as long as it lives", store.name);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let subject = Subject {
            name: store.name,
            good: urls(MINUTE).model_url(paths[0]).await.unwrap(),
            content: contents[0].clone(),
            other: urls(MINUTE).model_url(paths[1]).await.unwrap(),
            other_content: contents[1].clone(),
            expired,
            forged: wrong.model_url(paths[0]).await.unwrap(),
            later: match store.name {
                "S3" => ("X-Amz-Expires", |_| "3600".into()),
                _ => ("se", |_| "2099-01-01T00:00:00Z".into()),
            },
            key: (store.name == "S3")
                .then_some(("X-Amz-Credential", |value| value.replace("scale-test-key", "other-key"))),
        };
        subject.stand().await;
        // Where the account is in the path, a URL is no leave at another account.
        if store.name == "Azure" {
            let account = &store.environment[0].1;
            subject.refused("another account", &subject.good.replace(account.as_str(), "somebodyelse")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_of_the_coordinators_own() {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    let mut urls = Vec::new();
    for task in ["one", "two"] {
        admin.create_task(task, small_task(12, 15_000)).await.unwrap();
        urls.push(admin.models(task).await.unwrap()[0].url.clone());
    }
    let path = |url: &str| Url::parse(url).unwrap().path().strip_prefix("/v1/blobs/").unwrap().to_owned();
    // The coordinator's own keys, so that all that is wrong with it is the time.
    let signer =
        Secrets::load(coordinator.data()).unwrap().expect("it keeps them there").url_signer(&coordinator.url());
    let long_ago = SystemClock.now().as_millis() - 120_000;
    let long_ago = scale_proto::time::Timestamp::from_millis(long_ago);
    let fresh = ModelUrls::own(Arc::new(signer), Arc::new(SystemClock), MINUTE);
    let signer =
        Secrets::load(coordinator.data()).unwrap().expect("it keeps them there").url_signer(&coordinator.url());
    let wrong = Secrets::random().unwrap().url_signer(&coordinator.url());
    let key = Url::parse(&urls[0]).unwrap().query_pairs().find(|(name, _)| name == "kid").unwrap().1.into_owned();
    let forged = wrong.sign_get(&path(&urls[0]), MINUTE, SystemClock.now()).unwrap();
    let subject = Subject {
        name: "the coordinator",
        good: fresh.model_url(&path(&urls[0])).await.unwrap(),
        content: ask(Method::GET, &urls[0], None).await.body,
        other: urls[1].clone(),
        other_content: ask(Method::GET, &urls[1], None).await.body,
        expired: signer.sign_get(&path(&urls[0]), MINUTE, long_ago).unwrap(),
        // By the name of the right key: what is wrong is the signature.
        forged: with(&forged, "kid", |_| Some(key.clone())),
        later: ("exp", |value| (value.parse::<u64>().unwrap() + 600_000).to_string()),
        key: Some(("kid", |_| "00000000".into())),
    };
    subject.refused("another key, by its own name", &forged).await;
    subject.stand().await;
}
