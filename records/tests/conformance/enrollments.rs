//! Enrollment tokens of a person: how many in how much time.

use super::*;

const DAY_MS: u64 = 86_400_000;
const FIVE_A_DAY: Allowance = Allowance { most: 5, within: Duration::from_millis(DAY_MS) };

pub(super) async fn each_token_is_free_again_after_its_day(rows: &Rows) {
    let (user, other) = (UserId::new(), UserId::new());
    let grant = async |user, ms| rows.grant_enrollment(user, FIVE_A_DAY, at(ms)).await.unwrap();
    for ms in [0, 10, 20, 30, 30] {
        assert_eq!(grant(user, ms).await, Granted::Now, "at {ms}");
    }
    let first_is_free = at(DAY_MS);
    assert_eq!(grant(user, 40).await, Granted::NotBefore(first_is_free));
    assert_eq!(grant(user, DAY_MS - 1).await, Granted::NotBefore(first_is_free), "refusals do not count");
    assert_eq!(grant(other, 40).await, Granted::Now, "somebody else has their own");
    assert_eq!(grant(user, DAY_MS).await, Granted::Now);
    assert_eq!(grant(user, DAY_MS).await, Granted::NotBefore(at(DAY_MS + 10)));
    // An operator who allows fewer: the newest ones count.
    let two = Allowance { most: 2, ..FIVE_A_DAY };
    let refused = rows.grant_enrollment(user, two, at(DAY_MS + 1)).await.unwrap();
    assert_eq!(refused, Granted::NotBefore(at(DAY_MS + 30)));
    // A clock that was set back gives nothing away.
    let refused = rows.grant_enrollment(user, two, at(0)).await.unwrap();
    assert_eq!(refused, Granted::NotBefore(at(DAY_MS + 30)));

    let newest_first = [DAY_MS, 30, 30, 20, 10, 0].map(at);
    assert_eq!(rows.enrollments(Scope::User(user), 100).await.unwrap(), newest_first);
    assert_eq!(rows.enrollments(Scope::User(user), 2).await.unwrap(), newest_first[..2]);
}

pub(super) async fn of_many_calls_at_once_no_more_than_allowed_are_granted(rows: &Rows) {
    for round in 0..5 {
        let user = UserId::new();
        // One is given out already, so that those at once do not find an empty table.
        assert_eq!(rows.grant_enrollment(user, FIVE_A_DAY, at(round)).await.unwrap(), Granted::Now);
        let calls = (0..12).map(|_| {
            let rows = rows.clone();
            tokio::spawn(async move { rows.grant_enrollment(user, FIVE_A_DAY, at(100)).await.unwrap() })
        });
        let mut granted = 0;
        for call in calls.collect::<Vec<_>>() {
            granted += usize::from(call.await.unwrap() == Granted::Now);
        }
        assert_eq!(granted, 4);
        assert_eq!(rows.enrollments(Scope::User(user), 100).await.unwrap().len(), 5);
    }
}

pub(super) async fn what_no_longer_counts_is_forgotten(rows: &Rows) {
    // Long ago: rows of other cases are newer.
    let (one, other) = (UserId::new(), UserId::new());
    let long_ago = Timestamp::from_millis;
    for (user, ms) in [(one, 1_000), (one, 3_000), (other, 2_000)] {
        assert_eq!(rows.grant_enrollment(user, FIVE_A_DAY, long_ago(ms)).await.unwrap(), Granted::Now);
    }
    assert_eq!(rows.forget_enrollments(long_ago(999)).await.unwrap(), 0);
    assert_eq!(rows.forget_enrollments(long_ago(2_000)).await.unwrap(), 2);
    assert_eq!(rows.enrollments(Scope::User(one), 100).await.unwrap(), [long_ago(3_000)]);
    assert_eq!(rows.enrollments(Scope::User(other), 100).await.unwrap(), []);
    assert_eq!(rows.forget_enrollments(long_ago(3_000)).await.unwrap(), 1);
}
