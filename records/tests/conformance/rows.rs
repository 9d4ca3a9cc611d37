//! One row at a time.

use super::*;
use scale_records::domain::{CategoryChange, TransactionId};

pub(super) async fn a_transaction_is_kept_as_it_came(rows: &Rows) {
    let user = UserId::new();
    for new in [expense(1), full(2)] {
        let stored = create(rows, user, &new).await;
        assert_eq!((stored.user_id, stored.created_at, stored.updated_at), (user, at(1), at(1)));
        assert_eq!(stored.content, new);
        assert_eq!(rows.transaction(Scope::User(user), stored.id).await.unwrap(), Some(stored));
    }
    let edges = NewTransaction {
        transaction_date: Date::from_calendar_date(1900, Month::January, 1).unwrap(),
        money: Money::new(Money::MAX_MINOR, Currency::new("JPY").unwrap()).unwrap(),
        description: Text::new("description", &"\u{1f600}".repeat(500)).unwrap(),
        ..expense(3)
    };
    assert_eq!(create(rows, user, &edges).await.content, edges);
    assert_eq!(rows.transaction(Scope::User(user), TransactionId::new()).await.unwrap(), None);
}

pub(super) async fn the_same_transaction_is_stored_once(rows: &Rows) {
    let user = UserId::new();
    let first = create(rows, user, &full(1)).await;
    let again = NewTransaction { description: Text::new("description", "other").unwrap(), ..full(1) };
    let found = rows.create_transaction(user, &again, at(5)).await.unwrap();
    assert_eq!(found, Created::Exists(first.clone()));
    let new = full(2);
    let both = tokio::join!(rows.create_transaction(user, &new, at(6)), rows.create_transaction(user, &new, at(6)));
    let made = [both.0.unwrap(), both.1.unwrap()];
    assert_eq!(made.iter().filter(|created| matches!(created, Created::New(_))).count(), 1);
    assert_eq!(list(rows, user, &Filter::default()).await.len(), 2);
}

pub(super) async fn a_person_beats_a_prediction_and_the_last_write_wins(rows: &Rows) {
    use CategorySource::{Import, Person, Prediction};
    let user = UserId::new();
    let scope = Scope::User(user);
    let id = create(rows, user, &expense(1)).await.id;
    let mut expected = None;
    for (step, (source, category, holds)) in [
        (Import, Some("fuel"), true),
        (Import, Some("auto"), true),
        (Prediction, Some("home"), true),
        (Import, Some("fuel"), false),
        (Prediction, Some("travel"), true),
        (Person, Some("dining"), true),
        (Prediction, Some("travel"), false),
        (Prediction, None, false),
        (Import, Some("fuel"), false),
        (Person, Some("groceries"), true),
        // That there is none is a choice as well.
        (Person, None, true),
        (Prediction, Some("travel"), false),
        (Import, Some("travel"), false),
        (Person, Some("health"), true),
    ]
    .into_iter()
    .enumerate()
    {
        let change = CategoryChange { category: category.map(slug), source };
        // The coordinator's own predictions, and those that the person's device made.
        let scope = if step % 2 == 0 { scope } else { Scope::Service };
        let now = at(100 + step as u64);
        let after = rows.set_category(scope, id, &change, now).await.unwrap().unwrap();
        if holds {
            expected = change.category.map(|slug| (slug, source));
            assert_eq!(after.updated_at, now, "step {step}");
        } else {
            assert_ne!(after.updated_at, now, "step {step}");
        }
        assert_eq!(after.content.category, expected, "step {step}");
        assert_eq!(rows.transaction(scope, id).await.unwrap(), Some(after));
    }
    let change = CategoryChange { category: None, source: Person };
    assert_eq!(rows.set_category(scope, TransactionId::new(), &change, at(1)).await.unwrap(), None);
}

pub(super) async fn a_deleted_transaction_is_gone(rows: &Rows) {
    let user = UserId::new();
    let stored = create(rows, user, &full(1)).await;
    let other = create(rows, user, &full(2)).await;
    assert!(rows.delete_transaction(Scope::User(user), stored.id).await.unwrap());
    assert!(!rows.delete_transaction(Scope::User(user), stored.id).await.unwrap());
    assert_eq!(list(rows, user, &Filter::default()).await, vec![other]);
    assert_ne!(create(rows, user, &full(1)).await.id, stored.id);
}

pub(super) async fn categories_are_everybodys_and_ones_own(rows: &Rows) {
    let user = UserId::new();
    let everybodys = rows.categories(user).await.unwrap();
    assert!(everybodys.len() >= 18 && everybodys.iter().all(|category| !category.own));
    assert!(everybodys.iter().any(|category| category.slug == slug("groceries")));
    assert!(!rows.create_category(user, &slug("groceries"), "Mine").await.unwrap(), "everybody has it");
    assert!(rows.create_category(user, &slug("aquarium"), "Fish, \"plants\" & pumps'; --").await.unwrap());
    assert!(!rows.create_category(user, &slug("aquarium"), "Again").await.unwrap());
    let all = rows.categories(user).await.unwrap();
    assert!(all.is_sorted_by(|a, b| a.slug < b.slug), "{all:?}");
    let own: Vec<_> = all.iter().filter(|category| category.own).collect();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].name, "Fish, \"plants\" & pumps'; --");
    assert_eq!(all.len(), everybodys.len() + 1);
}

pub(super) async fn a_deleted_person_leaves_nothing(rows: &Rows) {
    let (user, other) = (somebody(rows).await, somebody(rows).await);
    let before = everything(rows, other).await;
    assert_eq!(rows.delete_person(user).await.unwrap(), 6);
    let after = everything(rows, user).await;
    assert_eq!((after.transactions, after.uploads, after.jobs), (vec![], vec![], vec![]));
    assert_eq!(after.enrollments, []);
    assert!(after.categories.iter().all(|category| !category.own));
    assert_eq!(rows.delete_person(user).await.unwrap(), 0);
    assert_eq!(everything(rows, other).await, before);
    import(rows, user, &file(1), &[expense(2)]).await;
}
