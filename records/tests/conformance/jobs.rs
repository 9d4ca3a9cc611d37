//! Training jobs.

use super::*;
use scale_records::domain::{JobChange, JobStatus};
use uuid::Uuid;

async fn created(rows: &Rows, user: UserId, now: Timestamp) -> TrainingJob {
    match rows.create_job(user, &new_job(), now).await.unwrap() {
        Created::New(job) => job,
        Created::Exists(job) => panic!("there is one already: {job:?}"),
    }
}

fn progress(done_permille: u16, round_id: Option<Uuid>) -> JobChange {
    JobChange::Progress { done_permille, round_id }
}

fn failed(reason: &str) -> JobChange {
    JobChange::Failed { reason: reason.to_owned() }
}

pub(super) async fn a_person_has_one_active_job(rows: &Rows) {
    let user = UserId::new();
    let new = new_job();
    let first = match rows.create_job(user, &new, at(1)).await.unwrap() {
        Created::New(job) => job,
        Created::Exists(job) => panic!("{job:?}"),
    };
    let expected = TrainingJob {
        id: new.id,
        user_id: user,
        status: JobStatus::Pending,
        done_permille: 0,
        model_type: new.model_type,
        credential_hash: new.credential_hash,
        round_id: None,
        metrics: Default::default(),
        failure: None,
        model_version: None,
        created_at: at(1),
        updated_at: at(1),
    };
    assert_eq!(first, expected);
    assert_eq!(rows.create_job(user, &new_job(), at(2)).await.unwrap(), Created::Exists(first.clone()));
    let working = rows.change_job(first.id, &progress(10, None), at(3)).await.unwrap().unwrap();
    assert_eq!(rows.create_job(user, &new_job(), at(4)).await.unwrap(), Created::Exists(working));
    let ended = rows.change_job(first.id, &failed("no device came"), at(5)).await.unwrap().unwrap();
    let second = created(rows, user, at(6)).await;
    assert_eq!(rows.jobs(Scope::User(user), 10).await.unwrap(), vec![second.clone(), ended]);
    assert_eq!(rows.jobs(Scope::User(user), 1).await.unwrap(), vec![second]);
}

pub(super) async fn of_two_jobs_at_once_one_is_made(rows: &Rows) {
    for _ in 0..5 {
        let user = UserId::new();
        let tries = (0..4).map(|_| {
            let rows = rows.clone();
            tokio::spawn(async move { rows.create_job(user, &new_job(), at(1)).await.unwrap() })
        });
        let mut made = Vec::new();
        let mut found = Vec::new();
        for result in tries.collect::<Vec<_>>() {
            match result.await.unwrap() {
                Created::New(job) => made.push(job),
                Created::Exists(job) => found.push(job),
            }
        }
        assert_eq!((made.len(), found.len()), (1, 3));
        assert!(found.iter().all(|job| *job == made[0]));
        assert_eq!(rows.jobs(Scope::User(user), 10).await.unwrap(), made);
    }
}

pub(super) async fn a_job_goes_forward_and_ends_once(rows: &Rows) {
    let user = UserId::new();
    let round = Uuid::now_v7();
    let job = created(rows, user, at(1)).await;
    let change = async |change: JobChange, now| rows.change_job(job.id, &change, at(now)).await.unwrap().unwrap();
    let after = change(progress(300, None), 2).await;
    assert_eq!((after.status, after.done_permille, after.round_id), (JobStatus::Processing, 300, None));
    let after = change(progress(200, Some(round)), 3).await;
    assert_eq!((after.done_permille, after.round_id, after.updated_at), (300, Some(round), at(3)));
    let after = change(progress(u16::MAX, None), 4).await;
    assert_eq!((after.done_permille, after.round_id), (1000, Some(round)));
    let metrics = [("accuracy".to_owned(), 0.94), ("loss".to_owned(), 0.125), ("bad".to_owned(), f64::NAN)];
    let done = JobChange::Completed { model_version: 43, metrics: metrics.into() };
    let after = change(done.clone(), 5).await;
    assert_eq!((after.status, after.done_permille, after.model_version), (JobStatus::Completed, 1000, Some(43)));
    assert_eq!(after.metrics, [("accuracy".to_owned(), 0.94), ("loss".to_owned(), 0.125)].into());
    assert_eq!((after.updated_at, after.created_at), (at(5), at(1)));
    for late in [progress(5, Some(Uuid::now_v7())), done, failed("too late")] {
        assert_eq!(change(late, 6).await, after, "final");
    }
    assert_eq!(rows.job(Scope::User(user), job.id).await.unwrap(), Some(after));

    let other = created(rows, user, at(7)).await;
    let ended = rows.change_job(other.id, &failed("it's \"over\"; --"), at(8)).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.failure.as_deref()), (JobStatus::Failed, Some("it's \"over\"; --")));
    assert_eq!(rows.change_job(other.id, &progress(1, None), at(9)).await.unwrap(), Some(ended));
    assert_eq!(rows.change_job(JobId::new(), &progress(1, None), at(9)).await.unwrap(), None);
}

pub(super) async fn jobs_are_found_by_round_and_by_age(rows: &Rows) {
    let (round, other_round) = (Uuid::now_v7(), Uuid::now_v7());
    let mut jobs = Vec::new();
    for n in 0..4_u64 {
        // Long ago: jobs of other cases are newer.
        let job = created(rows, UserId::new(), Timestamp::from_millis(n)).await;
        let round = if n == 3 { other_round } else { round };
        let moved = rows.change_job(job.id, &progress(1, Some(round)), Timestamp::from_millis(100 + n)).await;
        jobs.push(moved.unwrap().unwrap());
    }
    let ended = jobs.remove(1);
    rows.change_job(ended.id, &failed("gone"), Timestamp::from_millis(101)).await.unwrap();
    assert_eq!(rows.jobs_of_round(round).await.unwrap(), jobs[..2]);
    assert_eq!(rows.jobs_of_round(Uuid::now_v7()).await.unwrap(), vec![]);
    assert_eq!(rows.stale_jobs(Timestamp::from_millis(103)).await.unwrap(), jobs[..2], "longest silent first");
    assert_eq!(rows.stale_jobs(Timestamp::from_millis(104)).await.unwrap(), jobs);
    for job in jobs {
        rows.change_job(job.id, &failed("stale"), at(0)).await.unwrap();
    }
    assert_eq!(rows.stale_jobs(Timestamp::from_millis(1000)).await.unwrap(), vec![]);
}
