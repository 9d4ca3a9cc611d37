//! Uploads staged in real stores by two replicas in turn.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use scale_client_core::testing::inputs::{config, input};
use scale_coordinator::blobs::Put;
use scale_coordinator::staging::{Error, Held, Staging, Upload};
use scale_proto::ids::{DeviceId, Digest, SessionId};

use super::stores::Store;

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_an_upload_and_the_sum_is_exact() {
    for store in Store::all().await {
        share(&store).await;
    }
}

/// The store writes and its answer is lost: the write is tried again, and finds itself there.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_neither_loses_nor_doubles_a_piece() {
    let store = Store::s3().await;
    let server = store.s3.as_ref().expect("it runs in this process");
    server.lose_answers(1);
    let put = store.blobs().put_new("models/x", Bytes::from_static(b"x")).await;
    assert!(!matches!(put, Ok(Put::Created)), "the answer was lost: {put:?}");
    assert_eq!(store.blobs().get("models/x").await.unwrap().unwrap(), "x");
    server.lose_answers(3);
    share(&store).await;
}

/// Each piece goes to the other replica, each is sent to both at once now and then, and replicas that never saw a piece
/// verify and add.
async fn share(store: &Store) {
    let (name, config) = (store.name, config(3001));
    let replicas = [Staging::objects(store.blobs()), Staging::objects(store.blobs())];
    let session = SessionId::from_random([5; 16]);
    let mut expected = vec![0_u32; config.dim() as usize];
    let mut uploads = Vec::new();
    for number in 0..5_u8 {
        let (values, packed) = input(number, &config);
        values.iter().zip(&mut expected).for_each(|(value, sum)| *sum = sum.wrapping_add(*value));
        let device = DeviceId::from_random([number; 16]);
        let upload = Upload { session, device, digest: Digest::of(&packed), total: packed.len() as u64 };
        let mut turn = usize::from(number);
        loop {
            turn += 1;
            let held = replicas[turn % 2].append(&upload, 0, Bytes::new()).await.unwrap();
            let Held::Part(at) = held else { break };
            let from = at as usize;
            let piece = |len: usize| packed.slice(from..(from + len).min(packed.len()));
            let (one, two) = tokio::join!(
                replicas[turn % 2].append(&upload, at, piece(700)),
                replicas[(turn + 1) % 2].append(&upload, at, piece(if turn.is_multiple_of(3) { 900 } else { 0 })),
            );
            one.and(two).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        replicas[turn % 2].verify(&upload, Arc::clone(&config)).await.unwrap();
        uploads.push(upload);
    }
    let fresh = Staging::objects(store.blobs());
    let sum = fresh.add_up(Arc::clone(&config), &uploads).await.unwrap();
    assert_eq!(sum.sums().concat(), expected, "{name}");

    fresh.retain(HashSet::new()).await.unwrap();
    assert_eq!(fresh.append(&uploads[0], 0, Bytes::new()).await.unwrap(), Held::Whole, "{name}: young ones stay");
    fresh.remove(&uploads[0]).await.unwrap();
    let missing = fresh.add_up(Arc::clone(&config), &uploads).await;
    assert!(matches!(missing, Err(Error::Missing { device, .. }) if device == uploads[0].device), "{name}");
    fresh.remove_session(session).await.unwrap();
    assert_eq!(fresh.append(&uploads[1], 0, Bytes::new()).await.unwrap(), Held::Part(0), "{name}");
    assert_eq!(store.blobs().list("staging").await.unwrap(), Vec::<String>::new(), "{name}: nothing is left");
}
