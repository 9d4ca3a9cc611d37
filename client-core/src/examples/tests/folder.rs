//! In the folder of a native program: how long it takes, and what is left in the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::*;
use crate::host::native::NativeHost;
use crate::transport::native::Connection;

fn native(folder: &Path) -> NativeHost {
    // Nobody is called.
    NativeHost::open(folder, Connection::new("http://127.0.0.1:1")).expect("opens")
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("there").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// How many files have the text: as they are, and opened with the installation's key.
async fn searched(folder: &Path, host: &NativeHost, text: &str) -> (usize, usize) {
    let (mut raw, mut opened) = (0, 0);
    let data = folder.join("state/data");
    for path in files(folder) {
        let bytes = fs::read(&path).expect("readable");
        raw += usize::from(contains(&bytes, text));
        let Ok(key) = path.strip_prefix(&data) else { continue };
        let key = key.to_str().expect("UTF-8").split('.').next().expect("a name");
        let plain =
            host.keys().open(key, &bytes).await.expect("there is a key").expect("it was sealed under this name");
        opened += usize::from(contains(&plain, text));
    }
    (raw, opened)
}

#[tokio::test]
async fn a_removed_example_is_in_no_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let host = native(folder.path());
    let mut examples = open(&host).await;
    let all = (0..300).map(|index| example(&format!("tx-{index}."), &format!("LINE {index}."), "label")).collect();
    examples.put(&host, all).await.expect("good examples");
    let secret = || example("id-of-it", "TEXT OF IT", "label-of-it");
    examples.put(&host, vec![secret()]).await.expect("a good example");
    for text in ["id-of-it", "TEXT OF IT", "label-of-it", "LINE 7."] {
        assert_eq!(searched(folder.path(), &host, text).await, (0, 1), "{text} is there, sealed");
    }
    // Replaced: the old text and label are gone.
    examples.put(&host, vec![example("id-of-it", "OTHER", "label")]).await.expect("a good example");
    for (text, there) in [("id-of-it", 1), ("OTHER", 1), ("TEXT OF IT", 0), ("label-of-it", 0)] {
        assert_eq!(searched(folder.path(), &host, text).await, (0, there), "{text}");
    }
    examples.put(&host, vec![secret()]).await.expect("a good example");
    assert_eq!(examples.remove(&host, &ids(&["id-of-it"])).await, Ok(1));
    for text in ["id-of-it", "TEXT OF IT", "label-of-it", "OTHER"] {
        assert_eq!(searched(folder.path(), &host, text).await, (0, 0), "{text}");
    }
    assert_eq!(searched(folder.path(), &host, "LINE 7.").await, (0, 1));

    // What dropping by age and clearing leave.
    drop(examples);
    let short = ExampleLimits { examples: 150, ..ExampleLimits::default() };
    let mut examples = Examples::open(&host, short).await.expect("opens");
    let left: Vec<u32> = contents(&examples).keys().filter_map(|id| id[3..id.len() - 1].parse().ok()).collect();
    assert_eq!(left.len(), 150);
    for index in 0..300 {
        let (raw, opened) = searched(folder.path(), &host, &format!("LINE {index}.")).await;
        assert_eq!((raw, opened), (0, usize::from(left.contains(&index))), "{index}");
    }
    examples.clear(&host).await.expect("clears");
    assert_eq!(files(&folder.path().join("state/data")), Vec::<PathBuf>::new());
}

/// The bound is for slow disks that others use as well; the figures are printed.
#[tokio::test]
async fn ten_thousand_examples_are_put_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let host = native(folder.path());
    let mut examples = open(&host).await;
    let line = |index: u32| format!("SQ *SHOP {} OF {} BUENOS AIRES 0123", index % 613, index % 17);
    let all: Vec<TextExample> = (0..10_000)
        .map(|index| example(&format!("{index:08}-aaaa-bbbb-cccc-dddddddddddd"), &line(index), "groceries"))
        .collect();
    let start = Instant::now();
    examples.put(&host, all.clone()).await.expect("good examples");
    let put = start.elapsed();
    let start = Instant::now();
    examples
        .put(&host, all[..1].iter().map(|one| example(&one.id, "CORRECTED", "dining")).collect())
        .await
        .expect("one");
    let one = start.elapsed();
    let start = Instant::now();
    let again = open(&host).await;
    let opened = start.elapsed();
    assert_eq!(contents(&again), contents(&examples));
    assert_eq!(again.counts(None).total, 10_000);
    let start = Instant::now();
    examples.clear(&host).await.expect("clears");
    println!("10,000 put in {put:?}, one replaced in {one:?}, opened in {opened:?}, cleared in {:?}", start.elapsed());
    assert!(put < Duration::from_secs(20), "{put:?}");
}
