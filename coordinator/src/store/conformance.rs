//! What every store must do, whatever is below it. Each implementation's tests call [`conforms`].

use std::collections::BTreeSet;

use bytes::Bytes;
use scale_privacy::accounting::zcdp::Rho;
use scale_proto::ids::{DeviceId, Digest, ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::model::{Family, ModelSpec};
use scale_proto::task::{Aggregation, Cohort, Privacy, Quantization, Schedule, TaskConfig, Timing, Training};
use scale_proto::time::Timestamp;

use super::{DeviceRow, Store, StoreError, UsedTokenRow};
use crate::round::SessionStage;
use crate::rows::{
    Gate, Inserted, LeaseToken, MessageRow, ModelRow, Origin, ParticipantRow, ParticipantStatus, RoundRow, SegmentRow,
    SessionRow, TaskRow, TaskState, UploadRow, UploadState, WorkKind, WorkRow,
};
use crate::spent::Spent;

/// Runs `$body` in a transaction and takes its value.
macro_rules! tx {
    ($store:expr, |$tx:ident| $body:expr) => {
        $store.run_tx("test", |$tx| Box::pin(async move { $body })).await
    };
}
pub(super) use tx;

pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

pub(super) fn device(n: u8) -> DeviceId {
    DeviceId::from_random([n; 16])
}

pub(super) fn task(name: &str) -> TaskRow {
    TaskRow {
        id: name.parse().unwrap(),
        config: TaskConfig {
            model: ModelSpec {
                labels: vec!["food".into(), "rent".into()],
                family: Family::Mlp { inputs: 3, hidden: vec![4] },
            },
            training: Training {
                epochs: 1,
                batch_size: 8,
                learning_rate: 0.1,
                proximal_mu: 0.0,
                time_limit_ms: 1000,
                max_weight: 100,
                holdout_permille: 100,
            },
            cohort: Cohort { goal: 10, floor: 10, over_selection_permille: 1300, session_max: 128 },
            timing: Timing {
                selecting_ms: 1,
                training_ms: 2,
                grace_ms: 3,
                shares_ms: 4,
                masked_input_ms: 5,
                agreement_ms: 6,
                unmask_ms: 7,
            },
            schedule: Schedule::Manual,
            aggregation: Aggregation::FedAvg { learning_rate: 1.0 },
            quantization: Quantization { clip: 1.5, grid_factor: 64 },
            secure_aggregation: Default::default(),
            privacy: Privacy::None,
            max_rounds: Some(3),
        },
        state: TaskState::Active,
        created_at: at(1000),
        next_round: 1,
        current_version: ModelVersion(1),
        last_opened_at: None,
        finished_rounds: 0,
    }
}

pub(super) fn round(n: u8, task: &TaskId, number: u64) -> RoundRow {
    RoundRow {
        id: RoundId::from_random([n; 16]),
        task: task.clone(),
        number,
        phase: "selecting".into(),
        base_version: ModelVersion(1),
        opened_at: at(number),
        closed_at: None,
        looked_at: at(number),
        revision: 0,
        state: "{}".into(),
        plan: Bytes::new(),
        config: Bytes::from_static(&[1, 2]),
        signature: Bytes::new(),
    }
}

fn participant(round: RoundId, n: u8, joined_at: u64) -> ParticipantRow {
    ParticipantRow {
        round,
        device: device(n),
        identity_key: [n; 32],
        session: None,
        joined_at: at(joined_at),
        seen_at: at(joined_at),
        status: ParticipantStatus::Admitted,
    }
}

/// Everything that the coordinator relies on. `store` is empty at the beginning.
pub(super) async fn conforms(store: &Store) {
    devices(store).await;
    used_tokens(store).await;
    transactions(store).await;
    tasks(store).await;
    let round = rounds(store).await;
    participants(store, round).await;
    let session = sessions(store, round).await;
    uploads(store, session).await;
    models(store, round).await;
}

async fn devices(store: &Store) {
    let first = DeviceRow { id: device(1), identity_key: [1; 32], enrolled_at: at(5) };
    let again = DeviceRow { id: device(2), enrolled_at: at(9), ..first.clone() };
    let stolen = DeviceRow { id: device(1), identity_key: [2; 32], enrolled_at: at(9) };
    for (row, expected) in [
        (&first, Ok(first.clone())),
        (&again, Ok(first.clone())), // the same key keeps its first name
        (&stolen, Err("conflict")),  // one name has one key
    ] {
        let kept = store
            .run_tx("test", |tx| {
                let row = row.clone();
                Box::pin(async move { tx.enroll_device(&row).await })
            })
            .await;
        assert_eq!(kept.map_err(|error: StoreError| error.code()), expected, "{row:?}");
    }
    assert_eq!(tx!(store, |tx| tx.device(device(1)).await), Ok(Some(first)));
    assert_eq!(tx!(store, |tx| tx.device(device(9)).await), Ok(None));
}

async fn used_tokens(store: &Store) {
    let row = move |id, key, end| UsedTokenRow { id: [id; 16], identity_key: [key; 32], expires_at: at(end) };
    let used = async |id, key, end| tx!(store, |tx| tx.use_token(&row(id, key, end)).await);
    assert_eq!(used(1, 7, 50).await, Ok([7; 32]));
    assert_eq!(used(1, 7, 50).await, Ok([7; 32]), "the same key again");
    assert_eq!(used(1, 8, 90).await, Ok([7; 32]), "the first key keeps the token");
    assert_eq!(used(2, 8, 60).await, Ok([8; 32]));
    let forget = async |before| tx!(store, |tx| tx.forget_used_tokens(at(before)).await);
    assert_eq!(forget(50).await, Ok(0), "it ends at 50, not before");
    assert_eq!(forget(60).await, Ok(1));
    assert_eq!(used(1, 8, 50).await, Ok([8; 32]), "forgotten");
    assert_eq!(used(2, 9, 60).await, Ok([8; 32]), "not forgotten");
    assert_eq!(forget(1_000).await, Ok(2));
}

/// A refusal of the core, to see that it undoes what was written before it.
#[derive(Debug, PartialEq, thiserror::Error)]
enum Decision {
    #[error("no")]
    No,
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn transactions(store: &Store) {
    let undone: Result<(), Decision> = tx!(store, |tx| {
        assert!(tx.insert_task(&task("undone")).await?);
        assert!(tx.task(&task("undone").id).await?.is_some(), "a transaction sees its own rows");
        Err(Decision::No)
    });
    assert_eq!(undone, Err(Decision::No));
    assert_eq!(tx!(store, |tx| tx.tasks().await), Ok(vec![]));

    let reader = store.clone();
    let spawned =
        tokio::spawn(async move { reader.read("test", |tx| Box::pin(async move { tx.tasks().await })).await });
    assert_eq!(spawned.await.unwrap(), Ok(vec![]));
}

async fn tasks(store: &Store) {
    assert_eq!(tx!(store, |tx| tx.insert_task(&task("b")).await), Ok(true));
    assert_eq!(tx!(store, |tx| tx.insert_task(&task("a")).await), Ok(true));
    let taken = || TaskRow { state: TaskState::Paused, ..task("a") };
    assert_eq!(tx!(store, |tx| tx.insert_task(&taken()).await), Ok(false));
    assert_eq!(tx!(store, |tx| tx.task(&task("a").id).await), Ok(Some(task("a"))), "nothing changed");
    assert_eq!(tx!(store, |tx| tx.tasks().await), Ok(vec![task("a"), task("b")]));
    let changed = TaskRow { next_round: 7, last_opened_at: Some(at(77)), finished_rounds: 2, ..taken() };
    let row = &changed;
    let done = store
        .run_tx("test", |tx| {
            let row = row.clone();
            Box::pin(async move { tx.update_task(&row).await })
        })
        .await;
    assert_eq!(done, Ok(()));
    assert_eq!(tx!(store, |tx| tx.task(&task("a").id).await), Ok(Some(changed)));
    let missing: Result<(), StoreError> = tx!(store, |tx| tx.update_task(&task("zzz")).await);
    assert_eq!(missing.unwrap_err().code(), "conflict");
}

async fn rounds(store: &Store) -> RoundId {
    let (a, b) = (task("a").id, task("b").id);
    let (first, second) = (round(1, &a, 1), round(2, &b, 2));
    let id = first.id;
    tx!(store, |tx| {
        tx.insert_round(&round(1, &task("a").id, 1)).await?;
        tx.insert_round(&round(2, &task("b").id, 2)).await
    })
    .unwrap();
    for (name, row) in [
        ("a number that is taken", RoundRow { closed_at: Some(at(9)), ..round(3, &a, 1) }),
        ("no such task", round(3, &task("zzz").id, 1)),
        ("a task has one open round", round(3, &a, 3)),
    ] {
        let insert = store.run_tx("test", |tx| {
            let row = row.clone();
            Box::pin(async move { tx.insert_round(&row).await })
        });
        let refused: Result<(), StoreError> = insert.await;
        assert_eq!(refused.unwrap_err().code(), "conflict", "{name}");
    }
    assert_eq!(tx!(store, |tx| tx.round(id).await), Ok(Some(first.clone())));
    assert_eq!(tx!(store, |tx| tx.lock_round(id).await), Ok(Some(first.clone())));
    assert_eq!(tx!(store, |tx| tx.open_rounds().await), Ok(vec![first.clone(), second.clone()]));
    assert_eq!(tx!(store, |tx| tx.open_revisions().await), Ok(vec![(id, 0), (second.id, 0)]));
    assert_eq!(tx!(store, |tx| tx.open_round_of(&task("a").id).await), Ok(Some(first.clone())));
    assert_eq!(tx!(store, |tx| tx.rounds_of(&task("b").id, 1).await), Ok(vec![second.clone()]));
    assert_eq!(tx!(store, |tx| tx.rounds_of(&task("zzz").id, 10).await), Ok(vec![]));

    let closed = RoundRow {
        revision: 1,
        phase: "finished".into(),
        closed_at: Some(at(99)),
        state: "{\"x\":1}".into(),
        plan: Bytes::from_static(b"plan"),
        config: Bytes::from_static(b"config"),
        signature: Bytes::from_static(b"signature"),
        ..second.clone()
    };
    for (row, expected) in [(&closed, true), (&closed, false)] {
        let result = store
            .run_tx("test", |tx| {
                let row = row.clone();
                Box::pin(async move { tx.update_round(&row).await })
            })
            .await;
        assert_eq!(result.is_ok(), expected, "a write over the wrong revision fails");
    }
    let second_id = second.id;
    assert_eq!(tx!(store, |tx| tx.round(second_id).await), Ok(Some(closed)));
    assert_eq!(tx!(store, |tx| tx.open_rounds().await), Ok(vec![first]));
    assert_eq!(tx!(store, |tx| tx.open_round_of(&task("b").id).await), Ok(None));
    work(store, id).await;
    id
}

/// Work is one process's at a time, and whoever has lost it changes nothing.
async fn work(store: &Store, round: RoundId) {
    let row =
        |kind, n: u8| WorkRow { kind, round, session: Some(SessionId::from_random([n; 16])), stage: None, attempts: 0 };
    let (one, two) = (row(WorkKind::EndSession, 1), row(WorkKind::ReleaseSum, 2));
    let (mine, theirs) = (LeaseToken([1; 16]), LeaseToken([2; 16]));
    assert_eq!(tx!(store, |tx| tx.next_work().await), Ok(None));
    tx!(store, |tx| {
        tx.insert_work(&one, at(5)).await?;
        tx.insert_work(&one, at(99)).await?;
        tx.insert_work(&two, at(50)).await
    })
    .unwrap();
    assert_eq!(tx!(store, |tx| tx.next_work().await), Ok(Some(at(5))));
    let lease = async |token, now, until| {
        let leased = tx!(store, |tx| tx.lease_work(token, at(now), at(until), 8).await).unwrap();
        leased.into_iter().map(|row| (row.kind, row.attempts)).collect::<Vec<_>>()
    };
    assert_eq!(lease(mine, 4, 20).await, [], "not due");
    assert_eq!(lease(mine, 10, 20).await, [(WorkKind::EndSession, 1)]);
    assert_eq!(lease(theirs, 10, 30).await, [], "it is leased");
    assert_eq!(tx!(store, |tx| tx.next_work().await), Ok(Some(at(20))), "when the lease ends");
    let (id, other) = (one.id(), two.id());
    let extend = async |token, until| {
        tx!(store, |tx| tx
            .extend_lease(&format!("end_session/{}", SessionId::from_random([1; 16])), token, at(until))
            .await)
    };
    assert_eq!(id, format!("end_session/{}", SessionId::from_random([1; 16])));
    assert_eq!((extend(mine, 25).await, extend(theirs, 99).await), (Ok(true), Ok(false)));
    assert_eq!(lease(theirs, 24, 60).await, []);
    assert_eq!(lease(theirs, 25, 60).await, [(WorkKind::EndSession, 2)], "the lease has ended");
    assert_eq!(extend(mine, 99).await, Ok(false));
    let finish = async |id: String, token| {
        store
            .run_tx("test", |tx| {
                let id = id.clone();
                Box::pin(async move { tx.finish_work(&id, token).await })
            })
            .await
    };
    assert_eq!(finish(id.clone(), mine).await, Ok(false), "whoever lost the lease does not finish the work");
    assert_eq!(finish(id.clone(), theirs).await, Ok(true));
    assert_eq!(finish(id, theirs).await, Ok(false), "it is done");
    assert_eq!(lease(mine, 50, 60).await, [(WorkKind::ReleaseSum, 1)]);
    let give_back = async |token, after| {
        tx!(store, |tx| tx
            .return_work(&format!("release_sum/{}", SessionId::from_random([2; 16])), token, at(after))
            .await)
    };
    give_back(theirs, 1).await.unwrap();
    assert_eq!(lease(theirs, 59, 70).await, [], "only its holder gives it back");
    give_back(mine, 55).await.unwrap();
    assert_eq!(lease(theirs, 54, 70).await, []);
    assert_eq!(lease(theirs, 55, 70).await, [(WorkKind::ReleaseSum, 2)]);
    tx!(store, |tx| tx.end_leases().await).unwrap();
    assert_eq!(lease(mine, 56, 70).await, [(WorkKind::ReleaseSum, 3)]);
    assert_eq!(finish(other, mine).await, Ok(true));
}

async fn participants(store: &Store, round: RoundId) {
    for (n, joined) in [(3, 30), (1, 10), (2, 20)] {
        assert_eq!(tx!(store, |tx| tx.insert_participant(&participant(round, n, joined)).await), Ok(true));
    }
    assert_eq!(tx!(store, |tx| tx.insert_participant(&participant(round, 1, 99)).await), Ok(false));
    let same_key = tx!(store, |tx| {
        tx.insert_participant(&ParticipantRow { device: device(8), ..participant(round, 1, 99) }).await
    });
    assert_eq!(same_key, Ok(false), "one identity takes part once");
    let nowhere: Result<bool, StoreError> =
        tx!(store, |tx| tx.insert_participant(&participant(RoundId::from_random([99; 16]), 1, 1)).await);
    assert_eq!(nowhere.unwrap_err().code(), "conflict");

    let order: Vec<DeviceId> =
        tx!(store, |tx| tx.participants(round).await).unwrap().iter().map(|row| row.device).collect();
    assert_eq!(order, [device(1), device(2), device(3)]);
    let open = async |n| tx!(store, |tx| tx.open_participations(device(n)).await).unwrap();
    assert_eq!(open(1).await, [participant(round, 1, 10)]);
    assert_eq!(open(7).await, []);
    let of_key = async |n: u8| tx!(store, |tx| tx.participant_of_key(round, &[n; 32]).await).unwrap();
    assert_eq!((of_key(2).await, of_key(7).await), (Some(participant(round, 2, 20)), None));

    let session = SessionId::from_random([5; 16]);
    tx!(store, |tx| {
        tx.touch_participants(round, &[device(1), device(77)], at(500)).await?;
        tx.set_participant_status(round, device(1), ParticipantStatus::Left).await?;
        tx.assign_sessions(round, &[(device(1), session), (device(3), session)]).await
    })
    .unwrap();
    let expected = ParticipantRow {
        seen_at: at(500),
        status: ParticipantStatus::Left,
        session: Some(session),
        ..participant(round, 1, 10)
    };
    assert_eq!(tx!(store, |tx| tx.participant(round, device(1)).await), Ok(Some(expected)));
    let stranger: Result<(), StoreError> =
        tx!(store, |tx| tx.assign_sessions(round, &[(device(2), session), (device(77), session)]).await);
    assert_eq!(stranger.unwrap_err().code(), "conflict");
    let untouched = tx!(store, |tx| tx.participant(round, device(2)).await).unwrap().unwrap();
    assert_eq!(untouched.session, None, "the whole transaction was undone");

    assert_eq!(tx!(store, |tx| tx.delete_participants_unseen_since(round, at(30)).await), Ok(1));
    assert_eq!(tx!(store, |tx| tx.participant(round, device(2)).await), Ok(None));
}

async fn sessions(store: &Store, round: RoundId) -> SessionId {
    let row = |n: u8, ordinal| SessionRow {
        id: SessionId::from_random([n; 16]),
        round,
        ordinal,
        stage: SessionStage::Keys,
        gate: Gate::Open,
        sum_blob: None,
    };
    let (first, second) = (row(1, 0), row(2, 1));
    let id = first.id;
    for row in [&second, &first] {
        store
            .run_tx("test", |tx| {
                let row = row.clone();
                Box::pin(async move { tx.insert_session(&row).await })
            })
            .await
            .unwrap();
    }
    assert_eq!(tx!(store, |tx| tx.sessions_of(round).await), Ok(vec![first.clone(), second]));
    for stage in SessionStage::OPEN.into_iter().chain([SessionStage::Released, SessionStage::Abandoned]) {
        tx!(store, |tx| tx.set_session_stage(id, stage, Gate::Closing).await).unwrap();
        assert_eq!(tx!(store, |tx| tx.session(id).await).unwrap().unwrap().stage, stage);
    }
    tx!(store, |tx| tx.set_session_sum(id, Some("sums/x.bin")).await).unwrap();
    assert_eq!(tx!(store, |tx| tx.session(id).await).unwrap().unwrap().sum_blob.as_deref(), Some("sums/x.bin"));
    // Of two rounds one has a sum: only its configuration counts, within the numbers asked for.
    let released = async |after, through| tx!(store, |tx| tx.released_configs(&task("a").id, after, through).await);
    assert_eq!(released(0, 9).await, Ok(vec![Bytes::from_static(&[1, 2])]));
    assert_eq!((released(1, 9).await, released(0, 0).await), (Ok(vec![]), Ok(vec![])));
    let missing: Result<(), StoreError> =
        tx!(store, |tx| tx.set_session_stage(SessionId::from_random([9; 16]), SessionStage::Keys, Gate::Open).await);
    assert_eq!(missing.unwrap_err().code(), "conflict");

    let message = move |n: u8, stage, payload: &'static [u8]| MessageRow {
        session: id,
        stage,
        device: device(n),
        payload: Bytes::from_static(payload),
    };
    for (sent, expected) in [
        (message(1, 0, b"keys"), Inserted::New),
        (message(2, 0, b"keys"), Inserted::New),
        (message(1, 0, b"keys"), Inserted::Same),
        (message(1, 0, b"other"), Inserted::Different),
        (message(1, 1, b"other"), Inserted::New),
    ] {
        let sent = &sent;
        let inserted = store
            .run_tx("test", |tx| {
                let sent = sent.clone();
                Box::pin(async move { tx.insert_message(&sent).await })
            })
            .await;
        assert_eq!(inserted, Ok(expected), "{sent:?}");
    }
    for (stage, expected) in
        [(0, vec![(device(1), &b"keys"[..]), (device(2), b"keys")]), (1, vec![(device(1), b"other")])]
    {
        let kept = tx!(store, |tx| tx.messages(id, stage).await).unwrap();
        let seen: Vec<_> = kept.iter().map(|row| (row.device, &row.payload[..])).collect();
        assert_eq!(seen, expected, "stage {stage}");
        let senders: Vec<_> = expected.iter().map(|(device, _)| *device).collect();
        assert_eq!(tx!(store, |tx| tx.senders(id, stage).await), Ok(senders.clone()));
        assert_eq!(tx!(store, |tx| tx.count_messages(id, stage).await), Ok(senders.len() as u32));
    }
    let one = tx!(store, |tx| tx.message(id, 1, device(1)).await).unwrap();
    assert_eq!(one.map(|row| row.payload), Some(Bytes::from_static(b"other")));
    assert_eq!(tx!(store, |tx| tx.message(id, 1, device(2)).await), Ok(None));
    tx!(store, |tx| tx.delete_messages(id).await).unwrap();
    // Keys outlive the session, for the task's later rounds, until somebody forgets them.
    let left = async |stage| tx!(store, |tx| tx.count_messages(id, stage).await).unwrap();
    assert_eq!((left(0).await, left(1).await), (2, 0));
    let row: SessionRow = tx!(store, |tx| tx.session(id).await).unwrap().unwrap();
    let round: RoundRow = tx!(store, |tx| tx.round(row.round).await).unwrap().unwrap();
    let (number, keys) = (round.number, Bytes::from_static(b"keys"));
    assert_eq!(round.task, task("a").id);
    let before = async |number| tx!(store, |tx| tx.advertised(&task("a").id, number).await).unwrap();
    assert_eq!(before(number).await, [], "earlier rounds only");
    assert_eq!(before(number + 1).await, [(device(1), keys.clone()), (device(2), keys)]);
    let later = tx!(store, |tx| tx.rounds_of(&task("a").id, 100).await).unwrap();
    let later = later.iter().filter(|row| row.number > number).count() as u32;
    tx!(store, |tx| tx.forget_advertised(&task("a").id, later).await).unwrap();
    assert_eq!(before(number + 1).await.len(), 2, "{later} rounds have come since");
    // The next one, with a gap between the numbers.
    let (next_id, closed_at) = (RoundId::from_random([9; 16]), Some(at(1)));
    let next = RoundRow { id: next_id, closed_at, number: number + 1_000_000, ..round };
    store
        .run_tx("test", |tx| {
            let next = next.clone();
            Box::pin(async move { tx.insert_round(&next).await })
        })
        .await
        .unwrap();
    tx!(store, |tx| tx.forget_advertised(&task("a").id, later + 1).await).unwrap();
    assert_eq!(before(number + 1).await.len(), 2, "gaps do not count");
    tx!(store, |tx| tx.forget_advertised(&task("a").id, later).await).unwrap();
    assert_eq!(before(number + 1).await, []);
    id
}

async fn uploads(store: &Store, session: SessionId) {
    let row = move |n: u8, state| UploadRow {
        session,
        device: device(n),
        participant_index: n.into(),
        digest: Digest([n; 32]),
        total: 1 << 20,
        state,
        segment: None,
        created_at: at(n.into()),
    };
    for n in [3, 1, 2] {
        assert_eq!(tx!(store, |tx| tx.insert_upload(&row(n, UploadState::Staging)).await), Ok(true));
        assert_eq!(tx!(store, |tx| tx.insert_upload(&row(n, UploadState::Complete)).await), Ok(false));
    }
    assert_eq!(tx!(store, |tx| tx.upload(session, device(3)).await), Ok(Some(row(3, UploadState::Staging))));
    tx!(store, |tx| tx.set_uploads_complete(session, &[device(1), device(2)]).await).unwrap();
    let segment = move || SegmentRow { id: "s-0".into(), session, blob: "segments/s/0.bin".into(), uploads: 2 };
    let committed = tx!(store, |tx| tx.commit_uploads(session, &segment(), &[device(1), device(2), device(3)]).await);
    assert_eq!(committed, Ok(2), "only complete uploads become part of a sum");
    let again: Result<u32, StoreError> = tx!(store, |tx| tx.commit_uploads(session, &segment(), &[device(3)]).await);
    assert_eq!(again.unwrap_err().code(), "conflict");

    tx!(store, |tx| tx.delete_upload(session, device(1)).await).unwrap();
    tx!(store, |tx| tx.delete_upload(session, device(3)).await).unwrap();
    tx!(store, |tx| tx.set_uploads_complete(session, &[device(1)]).await).unwrap();
    let left = tx!(store, |tx| tx.uploads(session).await).unwrap();
    let committed = |n| UploadRow { segment: Some("s-0".into()), ..row(n, UploadState::Committed) };
    assert_eq!(left, [committed(1), committed(2)], "what is in a sum stays there");
    assert_eq!(tx!(store, |tx| tx.segments(session).await), Ok(vec![segment()]));
    tx!(store, |tx| tx.delete_uploads(session).await).unwrap();
    assert_eq!(tx!(store, |tx| tx.uploads(session).await), Ok(vec![]));
    tx!(store, |tx| tx.delete_segments(session).await).unwrap();
    assert_eq!(tx!(store, |tx| tx.segments(session).await), Ok(vec![]));
}

async fn models(store: &Store, round: RoundId) {
    let row = move |version, round| ModelRow {
        task: task("a").id,
        version: ModelVersion(version),
        parent: (version > 1).then_some(ModelVersion(version - 1)),
        round,
        cohort: 13,
        digest: Digest([7; 32]),
        fingerprint: Digest([8; 32]),
        bytes: 1234,
        blob: format!("models/a/{version:08}.safetensors"),
        optimizer_blob: (version > 1).then(|| "optimizer/a/2.bin".into()),
        origin: if round.is_some() { Origin::Round } else { Origin::Initial },
        clip: (version > 1).then_some(0.1 + 0.2),
        spent: (version > 1).then(|| Spent {
            mode: "local",
            through: 3,
            rounds: 2,
            aggregate: Rho::from_units((1 << 53) + 1),
            alone: Rho::from_units(5),
        }),
        created_at: at(version),
    };
    assert_eq!(tx!(store, |tx| tx.insert_model(&row(1, None)).await), Ok(true));
    assert_eq!(tx!(store, |tx| tx.insert_model(&row(2, Some(round))).await), Ok(true));
    assert_eq!(tx!(store, |tx| tx.insert_model(&row(2, None)).await), Ok(false));
    let twice: Result<bool, StoreError> = tx!(store, |tx| tx.insert_model(&row(3, Some(round))).await);
    assert_eq!(twice.unwrap_err().code(), "conflict", "a round publishes once");
    assert_eq!(tx!(store, |tx| tx.model(&task("a").id, ModelVersion(1)).await), Ok(Some(row(1, None))));
    assert_eq!(tx!(store, |tx| tx.model(&task("a").id, ModelVersion(u64::MAX)).await), Ok(None));
    assert_eq!(tx!(store, |tx| tx.models(&task("a").id).await), Ok(vec![row(2, Some(round)), row(1, None)]));
    assert_eq!(tx!(store, |tx| tx.model_of_round(round).await), Ok(Some(row(2, Some(round)))));
    let names: BTreeSet<_> = tx!(store, |tx| tx.tasks().await).unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(names.len(), 2);
}
