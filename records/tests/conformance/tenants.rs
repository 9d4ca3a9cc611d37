//! Every method, with another person's ids.

use super::*;
use scale_records::domain::CategoryChange;
use scale_records::store::Cursor;

pub(super) async fn nobody_sees_anybody_elses_rows(rows: &Rows) {
    let (owner, other) = (somebody(rows).await, UserId::new());
    let of_owner = everything(rows, owner).await;
    let of_other = everything(rows, other).await;
    assert_eq!(of_owner.transactions.len(), 2);
    assert_eq!((of_other.transactions, of_other.uploads, of_other.jobs), (vec![], vec![], vec![]));
    assert_eq!((of_owner.enrollments.len(), of_other.enrollments), (1, vec![]));
    assert!(of_other.categories.iter().all(|category| !category.own));

    let scope = Scope::User(other);
    for transaction in &of_owner.transactions {
        assert_eq!(rows.transaction(scope, transaction.id).await.unwrap(), None);
        let like_it = Filter {
            from: Some(transaction.content.transaction_date),
            to: Some(transaction.content.transaction_date),
            min_minor: Some(transaction.content.money.minor),
            ..Filter::default()
        };
        assert_eq!(list(rows, other, &like_it).await, vec![]);
        assert_eq!(rows.transaction(Scope::User(owner), transaction.id).await.unwrap().as_ref(), Some(transaction));
        assert_eq!(rows.transaction(Scope::Service, transaction.id).await.unwrap().as_ref(), Some(transaction));
    }
    for merchant in ["Café", "%", "' OR '1'='1"] {
        let filter = Filter { merchant: Some(merchant.to_owned()), ..Filter::default() };
        assert_eq!(list(rows, other, &filter).await, vec![]);
    }
    let filter = Filter { category: Some(slug("dining")), ..Filter::default() };
    assert_eq!(list(rows, other, &filter).await, vec![]);
    for job in &of_owner.jobs {
        assert_eq!(rows.job(scope, job.id).await.unwrap(), None);
        assert_eq!(rows.job(Scope::Service, job.id).await.unwrap().as_ref(), Some(job));
    }
}

pub(super) async fn nobody_changes_anybody_elses_rows(rows: &Rows) {
    let (owner, other) = (somebody(rows).await, somebody(rows).await);
    let before = everything(rows, owner).await;
    let scope = Scope::User(other);
    for transaction in &before.transactions {
        for source in [CategorySource::Person, CategorySource::Prediction, CategorySource::Import] {
            let change = CategoryChange { category: Some(slug("travel")), source };
            assert_eq!(rows.set_category(scope, transaction.id, &change, at(9)).await.unwrap(), None);
        }
        assert!(!rows.delete_transaction(scope, transaction.id).await.unwrap());
    }
    // A job of the other's own under the owner's id: refused, whatever it is called.
    let taken = NewJob { id: before.jobs[0].id, ..new_job() };
    rows.delete_person(other).await.unwrap();
    assert!(rows.create_job(other, &taken, at(9)).await.is_err());
    assert_eq!(rows.jobs(scope, 10).await.unwrap(), vec![]);
    assert_eq!(rows.delete_person(other).await.unwrap(), 0);
    assert_eq!(everything(rows, owner).await, before);
}

pub(super) async fn one_persons_rows_do_not_stand_in_anothers_way(rows: &Rows) {
    let (owner, other) = (somebody(rows).await, somebody(rows).await);
    let (of_owner, of_other) = (everything(rows, owner).await, everything(rows, other).await);
    let contents = |all: &Everything| all.transactions.iter().map(|row| row.content.clone()).collect::<Vec<_>>();
    assert_eq!(contents(&of_owner), contents(&of_other), "the same bank statement, twice");
    assert_eq!(of_owner.categories, of_other.categories);
    assert_eq!(of_owner.uploads[0].file_hash, of_other.uploads[0].file_hash);
    assert!(of_owner.jobs[0].status.is_active() && of_other.jobs[0].status.is_active());
    for (user, all) in [(owner, of_owner), (other, of_other)] {
        assert!(all.transactions.iter().all(|row| row.user_id == user));
        assert!(all.uploads.iter().all(|row| row.user_id == user));
        assert!(all.jobs.iter().all(|row| row.user_id == user));
    }
}

pub(super) async fn a_cursor_is_no_key(rows: &Rows) {
    let (owner, other) = (somebody(rows).await, somebody(rows).await);
    let theirs = list(rows, owner, &Filter::default()).await;
    let own = list(rows, other, &Filter::default()).await;
    let after = Some(Cursor { date: theirs[0].content.transaction_date, id: theirs[0].id });
    let page = Page { limit: 10, after };
    let found = rows.transactions(Scope::User(other), &Filter::default(), &page).await.unwrap();
    assert!(found.transactions.iter().all(|row| own.contains(row)));
}
