//! Pages and filters.

use std::collections::BTreeSet;

use super::*;

pub(super) async fn pages_are_complete_while_rows_are_added(rows: &Rows) {
    let user = UserId::new();
    // Three a day: the order within a day must hold as well.
    let on = |n: u32, day_of: u16| NewTransaction { transaction_date: day(day_of), ..expense(n) };
    let first: Vec<_> = (0..50).map(|n| on(n, (n / 3) as u16)).collect();
    import(rows, user, &file(1), &first).await;
    let before: BTreeSet<_> =
        list(rows, user, &Filter::default()).await.iter().map(|row| (row.content.transaction_date, row.id)).collect();
    assert_eq!(before.len(), 50);

    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = Page { limit: 7, after };
        let found = rows.transactions(Scope::User(user), &Filter::default(), &page).await.unwrap();
        assert!(found.transactions.len() <= 7 && !found.transactions.is_empty());
        seen.extend(found.transactions.iter().map(|row| (row.content.transaction_date, row.id)));
        pages += 1;
        // New ones at both ends and in the middle.
        for day_of in [0, 8, 299] {
            create(rows, user, &on(1000 + pages * 10 + u32::from(day_of), day_of)).await;
        }
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
    let seen: BTreeSet<_> = seen.into_iter().collect();
    assert!(seen.is_superset(&before), "none left out");

    // The last page says so, also when it is full.
    let other = UserId::new();
    import(rows, other, &file(1), &first[..10]).await;
    for (limit, pages) in [(10, 1), (5, 2), (9, 2), (0, 10), (u16::MAX, 1)] {
        let (mut after, mut count) = (None, 0);
        loop {
            let page = Page { limit, after };
            after = rows.transactions(Scope::User(other), &Filter::default(), &page).await.unwrap().next;
            count += 1;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(count, pages, "limit {limit}");
    }
    // The coordinator itself sees everybody's.
    let page = Page { limit: Page::MAX, after: None };
    let all = rows.transactions(Scope::Service, &Filter::default(), &page).await.unwrap();
    assert!(all.transactions.iter().any(|row| row.user_id == user));
}

pub(super) async fn every_filter_finds_what_it_says(rows: &Rows) {
    let user = UserId::new();
    let merchants = [None, Some("Café Müller"), Some("CAFE MULLER"), Some("Shell"), Some("ÄRZTE")];
    let categories = [None, Some("dining"), Some("fuel")];
    let yen = |minor| Money::new(minor, Currency::new("JPY").unwrap()).unwrap();
    let all: Vec<_> = (0..60_u32)
        .map(|n| NewTransaction {
            transaction_date: day((n % 20) as u16),
            money: if n % 7 == 0 { yen((n * 10).into()) } else { euros((n * 10).into()) },
            merchant_name: merchants[n as usize % 5].map(|name| Text::new("merchant_name", name).unwrap()),
            category: categories[n as usize % 3].map(|name| (slug(name), CategorySource::Import)),
            ..expense(n)
        })
        .collect();
    import(rows, user, &file(1), &all).await;

    let none = Filter::default;
    let merchant = |text: &str| Filter { merchant: Some(text.to_owned()), ..none() };
    let filters = [
        none(),
        Filter { from: Some(day(5)), ..none() },
        Filter { to: Some(day(5)), ..none() },
        Filter { from: Some(day(5)), to: Some(day(5)), ..none() },
        Filter { from: Some(day(6)), to: Some(day(5)), ..none() },
        Filter { category: Some(slug("dining")), ..none() },
        Filter { category: Some(slug("nothing")), ..none() },
        Filter { currency: Some(Currency::new("JPY").unwrap()), ..none() },
        Filter { min_minor: Some(300), ..none() },
        Filter { max_minor: Some(300), ..none() },
        Filter { min_minor: Some(100), max_minor: Some(200), ..none() },
        Filter { min_minor: Some(i64::MIN), max_minor: Some(i64::MAX), ..none() },
        merchant("shell"),
        merchant("SHELL"),
        merchant("ell"),
        merchant("caf"),
        merchant("Müller"),
        merchant("mÜller"),
        merchant("Ärzte"),
        merchant("ÄrZtE"),
        merchant("nobody"),
        Filter {
            from: Some(day(2)),
            to: Some(day(17)),
            category: Some(slug("fuel")),
            merchant: Some("e".to_owned()),
            currency: Some(Currency::new("EUR").unwrap()),
            min_minor: Some(20),
            max_minor: Some(550),
        },
    ];
    for filter in filters {
        let expected = all.iter().filter(|new| matches(&filter, new)).map(|new| new.fingerprint);
        let expected: BTreeSet<_> = expected.collect();
        let found: Vec<_> = list(rows, user, &filter).await;
        let found: BTreeSet<_> = found.iter().map(|row| row.content.fingerprint).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

/// What [`Filter`] says, in plain words.
fn matches(filter: &Filter, new: &NewTransaction) -> bool {
    let lower = |text: &str| text.to_ascii_lowercase();
    let name = new.merchant_name.as_ref().map(|name| lower(name.as_str()));
    filter.from.is_none_or(|from| new.transaction_date >= from)
        && filter.to.is_none_or(|to| new.transaction_date <= to)
        && filter.category.as_ref().is_none_or(|slug| new.category.as_ref().is_some_and(|(has, _)| has == slug))
        && filter.merchant.as_ref().is_none_or(|part| name.is_some_and(|name| name.contains(&lower(part))))
        && filter.currency.is_none_or(|currency| new.money.currency == currency)
        && filter.min_minor.is_none_or(|least| new.money.minor >= least)
        && filter.max_minor.is_none_or(|most| new.money.minor <= most)
}

pub(super) async fn texts_mean_nothing_but_themselves(rows: &Rows) {
    let user = UserId::new();
    let names = [
        "100% organic",
        "under_score",
        "O'Hara",
        "say \"hi\"",
        "back\\slash",
        "a;b -- c",
        "$1",
        "?",
        "(*)",
        "plain",
        "'; DROP TABLE transactions; --",
        "[a-z]",
        "tab\u{a0}gap",
    ];
    let all: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| NewTransaction {
            merchant_name: Some(Text::new("merchant_name", name).unwrap()),
            description: Text::new("description", name).unwrap(),
            payment_method: Some(Text::new("payment_method", name).unwrap()),
            raw_data: Some(serde_json::json!({ *name: name })),
            ..expense(n)
        })
        .collect();
    import(rows, user, &file(1), &all).await;
    let merchant = |text: &str| Filter { merchant: Some(text.to_owned()), ..Filter::default() };
    for name in names {
        let found = list(rows, user, &merchant(name)).await;
        let expected = names.iter().filter(|other| other.contains(name)).count();
        assert_eq!(found.len(), expected, "{name}");
        let stored = found.iter().find(|row| row.content.merchant_name.as_ref().unwrap().as_str() == name).unwrap();
        assert!(all.contains(&stored.content), "{name}");
    }
    for text in ["%", "_", "'", "\"", "\\", "%%", "__", "\\%", ";", "--", "$1", "?", "*", "' OR 1=1 --", "\0", "a\0b"] {
        let expected = names.iter().filter(|name| name.contains(text)).count();
        assert_eq!(list(rows, user, &merchant(text)).await.len(), expected, "{text:?}");
    }
    assert!(rows.create_category(user, &slug("odd"), "a\0b").await.unwrap());
}
