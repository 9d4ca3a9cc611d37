//! Files.

use super::*;

pub(super) async fn duplicates_are_skipped_wherever_they_are(rows: &Rows) {
    let user = UserId::new();
    create(rows, user, &expense(1)).await;
    let mut import = open_import(rows, user, &file(1)).await;
    assert_eq!(import.insert(&[]).await.unwrap(), 0);
    assert_eq!(import.insert(&[expense(1)]).await.unwrap(), 0, "there before");
    assert_eq!(import.insert(&[expense(2), expense(3), expense(2)]).await.unwrap(), 2, "inside a batch");
    assert_eq!(import.insert(&[expense(3), expense(4)]).await.unwrap(), 1, "in an earlier batch");
    let counts = UploadCounts { inserted: 3, skipped_duplicates: 3, rejected: 2 };
    let upload = import.commit(counts).await.unwrap();
    assert_eq!((upload.user_id, upload.counts, upload.created_at), (user, counts, at(2)));
    assert_eq!((upload.filename.as_str(), upload.upload_type.as_str()), ("umsätze.csv", "csv"));
    assert_eq!(rows.uploads(Scope::User(user), 10).await.unwrap(), vec![upload]);
    assert_eq!(list(rows, user, &Filter::default()).await.len(), 4);
}

pub(super) async fn a_large_batch_is_one_call(rows: &Rows) {
    let user = UserId::new();
    let many: Vec<_> = (0..4500).map(full).collect();
    let mut import = open_import(rows, user, &file(1)).await;
    assert_eq!(import.insert(&many).await.unwrap(), 4500);
    assert_eq!(import.insert(&many[..3000]).await.unwrap(), 0);
    import.commit(UploadCounts { inserted: 4500, ..UploadCounts::default() }).await.unwrap();
    assert_eq!(rows.delete_person(user).await.unwrap(), 4501);
}

pub(super) async fn a_file_is_recognized(rows: &Rows) {
    let user = UserId::new();
    let first = import(rows, user, &file(1), &[expense(1)]).await;
    let again = NewUpload { filename: Text::new("filename", "renamed.csv").unwrap(), ..file(1) };
    assert!(matches!(rows.begin_import(user, &again, at(9)).await.unwrap(), Begun::Seen(upload) if upload == first));
    let mut later = open_import(rows, user, &file(2)).await;
    later.insert(&[expense(1), expense(2)]).await.unwrap();
    let second = later.commit(UploadCounts { inserted: 1, skipped_duplicates: 1, rejected: 0 }).await.unwrap();
    assert_eq!(rows.uploads(Scope::User(user), 10).await.unwrap(), vec![second.clone(), first]);
    assert_eq!(rows.uploads(Scope::User(user), 1).await.unwrap(), vec![second]);
}

pub(super) async fn of_two_imports_at_once_one_inserts(rows: &Rows) {
    for (left, right) in [(1, 1), (1, 2)] {
        let user = UserId::new();
        let go = |name: u8, backwards: bool| {
            let rows = rows.clone();
            tokio::spawn(async move {
                let mut import = match rows.begin_import(user, &file(name), at(2)).await.unwrap() {
                    Begun::Open(import) => import,
                    Begun::Seen(upload) => return (false, upload.counts.inserted),
                };
                let mut inserted = 0;
                for n in 0..20 {
                    let n = if backwards { 19 - n } else { n };
                    inserted += import.insert(&[expense(n)]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                import.commit(UploadCounts { inserted, ..UploadCounts::default() }).await.unwrap();
                (true, inserted)
            })
        };
        let (one, two) = (go(left, false), go(right, true));
        let mut results = [one.await.unwrap(), two.await.unwrap()];
        results.sort_unstable();
        if left == right {
            assert_eq!(results, [(false, 20), (true, 20)], "the same file");
        } else {
            assert_eq!(results, [(true, 0), (true, 20)], "two files with the same rows, the other way round");
        }
        assert_eq!(list(rows, user, &Filter::default()).await.len(), 20);
        assert_eq!(rows.uploads(Scope::User(user), 10).await.unwrap().len(), if left == right { 1 } else { 2 });
    }
}

pub(super) async fn an_import_that_ends_early_leaves_nothing(rows: &Rows) {
    let user = somebody(rows).await;
    let before = everything(rows, user).await;
    let begun = async || {
        let mut import = open_import(rows, user, &file(9)).await;
        assert_eq!(import.insert(&[expense(50), expense(51)]).await.unwrap(), 2);
        import
    };
    drop(begun().await);
    assert_eq!(everything(rows, user).await, before, "dropped");
    begun().await.abandon().await;
    assert_eq!(everything(rows, user).await, before, "abandoned");

    // In the middle of a statement.
    let many: Vec<_> = (100..4000).map(expense).collect();
    let mut import = begun().await;
    let cut = tokio::time::timeout(Duration::from_millis(1), import.insert(&many)).await;
    if cut.is_err() {
        assert!(import.insert(&[expense(60)]).await.is_err(), "nobody knows what the statement before did");
        assert!(import.commit(UploadCounts::default()).await.is_err());
    } else {
        drop(import);
    }
    assert_eq!(everything(rows, user).await, before, "cut");
    let mut import = begun().await;
    import.insert(&[expense(52)]).await.unwrap();
    import.commit(UploadCounts { inserted: 3, ..UploadCounts::default() }).await.unwrap();
    assert_eq!(list(rows, user, &Filter::default()).await.len(), 5);
}

pub(super) async fn a_deletion_waits_for_the_import(rows: &Rows) {
    let user = somebody(rows).await;
    let mut import = open_import(rows, user, &file(9)).await;
    import.insert(&[expense(70)]).await.unwrap();
    let deletion = tokio::spawn({
        let rows = rows.clone();
        async move { rows.delete_person(user).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!deletion.is_finished());
    import.commit(UploadCounts { inserted: 1, ..UploadCounts::default() }).await.unwrap();
    assert_eq!(deletion.await.unwrap().unwrap(), 8);
    let after = everything(rows, user).await;
    assert_eq!((after.transactions, after.uploads, after.jobs), (vec![], vec![], vec![]));
}
