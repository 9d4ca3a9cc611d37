//! What memory has of a session is replayed from its rows when it is needed, and only then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::round::SessionStage;
use crate::store::StoreError;

use super::fleet::*;
use super::manual_site;

/// In a session of ten thousand a replay takes minutes, and every call of the session waits for it.
#[tokio::test]
async fn an_answer_that_is_not_needed_any_more_costs_no_replay() {
    let site = manual_site().await;
    let mut phones = gather(&site, 12).await;
    for stage in SessionStage::OPEN.into_iter().take(4) {
        let act = move |mut phone: Phone| async move { phone.act(stage).await.map(|()| phone) };
        let (alive, errors) = together(phones, act).await;
        assert!(errors.is_empty(), "{errors:?}");
        phones = alive;
    }
    let mut last = phones.pop().expect("twelve");
    // The masks come off, and the sum cannot be named: nothing moves, and memory has given its state away.
    let replays = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&replays);
    site.store.database().inject(Some(Arc::new(move |name, _| match name {
        "release_sum" => Some(StoreError::Unavailable("on purpose".into())),
        "messages" => {
            counted.fetch_add(1, Ordering::SeqCst);
            None
        }
        _ => None,
    })));
    let act = |mut phone: Phone| async move { phone.act(SessionStage::Unmask).await.map(|()| phone) };
    let (_, errors) = together(phones, act).await;
    assert!(errors.is_empty(), "{errors:?}");
    site.until_answered(SessionStage::Unmask, 11).await;
    site.pass_window().await;
    while site.blobs.list("sums").await.expect("no error").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    replays.store(0, Ordering::SeqCst);
    last.act(SessionStage::Unmask).await.expect("it is welcome all the same");
    assert_eq!(replays.load(Ordering::SeqCst), 0, "the whole session was read again");
}
