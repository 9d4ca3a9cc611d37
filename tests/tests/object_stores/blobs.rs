//! Blobs in real stores: written once, listed, read in part, removed; and what is wrong is said.

use bytes::Bytes;
use object_store::{GetOptions, GetRange};
use scale_coordinator::blobs::{BlobError, BlobLocation, BlobPath, Blobs, Put};
use scale_tests::s3::S3Server;

use super::stores::Store;

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_written_once_and_never_changed() {
    for store in Store::all().await {
        let (name, blobs) = (store.name, store.blobs());
        blobs.probe().await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let content = Bytes::from_static(b"0123456789");
        assert_eq!(blobs.put_new("models/m/1.safetensors", content.clone()).await, Ok(Put::Created), "{name}");
        let other = store.blobs();
        assert_eq!(other.put_new("models/m/1.safetensors", Bytes::from_static(b"x")).await, Ok(Put::Exists), "{name}");
        assert_eq!(other.get("models/m/1.safetensors").await, Ok(Some(content)), "{name}");
        assert_eq!(other.get("models/m/2.safetensors").await, Ok(None), "{name}");

        let path = BlobPath::parse("models/m/1.safetensors").unwrap();
        let part = GetOptions { range: Some(GetRange::Bounded(3..6)), ..GetOptions::default() };
        let part = blobs.read(&path, part).await.unwrap().expect("it is there").bytes().await.unwrap();
        assert_eq!(part, "345", "{name}");

        for name in ["models/m/2.safetensors", "models/n/1.safetensors", "sums/1.bin", "models-of-others/1"] {
            blobs.put_new(name, Bytes::from_static(b"x")).await.unwrap();
        }
        let models = ["models/m/1.safetensors", "models/m/2.safetensors", "models/n/1.safetensors"];
        assert_eq!(blobs.list("models").await.unwrap(), models, "{name}");
        assert_eq!(blobs.folders("models").await.unwrap(), ["m", "n"], "{name}");
        assert_eq!(blobs.entries("sums").await.unwrap()[0].size, 1, "{name}");
        assert_eq!(blobs.list("nothing").await.unwrap(), Vec::<String>::new(), "{name}");

        blobs.delete("models/m/1.safetensors").await.unwrap();
        blobs.delete("models/m/1.safetensors").await.unwrap_or_else(|error| panic!("{name}, gone: {error}"));
        let gone = ["models/m/1.safetensors", "models/m/2.safetensors", "models/n/1.safetensors"].map(String::from);
        blobs.delete_all(gone.to_vec()).await.unwrap_or_else(|error| panic!("{name}, many: {error}"));
        assert_eq!(blobs.list("models").await.unwrap(), Vec::<String>::new(), "{name}");
    }
}

/// Of many that write one name at once, one is told that it did, and its bytes are there.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_one_wins() {
    for store in Store::all().await {
        let replicas = [store.blobs(), store.blobs()];
        let writes: Vec<_> = (0..8_u8)
            .map(|writer| {
                let blobs = replicas[usize::from(writer) % 2].clone();
                tokio::spawn(async move { (writer, blobs.put_new("segments/s/1.bin", vec![writer; 100].into()).await) })
            })
            .collect();
        let mut winners = Vec::new();
        for write in writes {
            match write.await.unwrap() {
                (writer, Ok(Put::Created)) => winners.push(writer),
                (_, Ok(Put::Exists)) => {}
                (_, Err(error)) => panic!("{}: {error}", store.name),
            }
        }
        assert_eq!(winners.len(), 1, "{}", store.name);
        let found = replicas[0].get("segments/s/1.bin").await.unwrap().expect("it is there");
        assert_eq!(found, vec![winners[0]; 100], "{}", store.name);
    }
}

/// More blobs than fit into one page of a listing or one request of removals.
#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_whole() {
    use futures::stream::{StreamExt as _, TryStreamExt as _};
    for store in Store::all().await {
        let blobs = store.blobs();
        let names: Vec<String> = (0..1100).map(|number| format!("staging/s/{number:05}")).collect();
        let puts = names.iter().map(|name| blobs.put_new(name, Bytes::from_static(b"x")));
        futures::stream::iter(puts).buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(blobs.list("staging/s").await.unwrap(), names, "{}", store.name);
        blobs.delete_all(names).await.unwrap_or_else(|error| panic!("{}: {error}", store.name));
        assert_eq!(blobs.list("staging/s").await.unwrap(), Vec::<String>::new(), "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_a_wrong_bucket_are_errors_of_the_configuration() {
    for store in Store::all().await {
        let name = store.name;
        let wrong = store.blobs_with(&store.wrong_secret);
        let nowhere = match &store.location {
            BlobLocation::Store(_) => {
                let text = store.location.to_string();
                let (url, endpoint) = text.split_once(" at ").unwrap();
                let url = format!("{}/fl", url.replace("://", "://no-").split("/fl").next().unwrap());
                let location = BlobLocation::parse(&url, endpoint, "", true).unwrap();
                Blobs::open_with(&location, store.environment.clone()).unwrap()
            }
            BlobLocation::Folder(_) => unreachable!("all of them are servers"),
        };
        let mut errors = vec![nowhere.list("models").await.expect_err(name)];
        // s3s-fs makes a bucket where there is none.
        if name != "S3" {
            errors.push(nowhere.put_new("models/x", Bytes::from_static(b"x")).await.expect_err(name));
            errors.push(nowhere.get("models/x").await.expect_err(name));
            errors.push(nowhere.probe().await.expect_err(name));
        }
        errors.push(wrong.put_new("models/x", Bytes::from_static(b"x")).await.expect_err(name));
        errors.push(wrong.get("models/x").await.expect_err(name));
        errors.push(wrong.list("models").await.expect_err(name));
        errors.push(wrong.delete("models/x").await.expect_err(name));
        errors.push(wrong.delete_all(vec!["models/x".into()]).await.expect_err(name));
        errors.push(wrong.probe().await.expect_err(name));
        for (number, error) in errors.into_iter().enumerate() {
            assert!(matches!(error, BlobError::Forbidden(_)), "{name}, {number}: {error}");
            assert_eq!(error.code(), "storage_forbidden");
            let text = error.to_string();
            assert!(text.contains("[blobs]") && !text.contains("not-the-secret"), "{name}: {text}");
        }
    }
}

/// Nobody listens there: the answer comes within the bound of retries and says that waiting helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_said_to_be() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let location = BlobLocation::parse("s3://models", &format!("http://127.0.0.1:{port}"), "", true).unwrap();
    let blobs = Blobs::open_with(&location, S3Server::environment()).unwrap();
    let started = std::time::Instant::now();
    let error = blobs.get("models/x").await.expect_err("nobody is there");
    assert!(matches!(error, BlobError::Unavailable(_)) && error.retry_helps(), "{error}");
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

#[test]
fn missing_keys_are_said_at_once() {
    let az = BlobLocation::parse("az://models", "", "", false).unwrap();
    let error = Blobs::open_with(&az, []).expect_err("there is no account");
    assert!(matches!(error, BlobError::Forbidden(_)), "{error}");
    assert!(error.to_string().contains("Azure Blob Storage"), "{error}");
}
