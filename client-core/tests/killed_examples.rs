//! Examples on the device through `kill -9`: what was put is there, and nothing is half there.
//!
//! The device is this program, started once more for the test [`device`], which does nothing when tests are run.
#![cfg(feature = "native")]
#![allow(clippy::print_stdout, reason = "the device tells its parent how far it is")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use scale_client_core::examples::{ExampleLimits, Examples, TextExample};
use scale_client_core::host::native::NativeHost;
use scale_client_core::train::{Input, example_key};
use scale_client_core::transport::native::Connection;

/// Tells the started program where its folder is.
const FOLDER: &str = "SCALE_TEST_EXAMPLES_FOLDER";
const COUNT: u32 = 10_000;

fn host(folder: &Path) -> NativeHost {
    // Nobody is called.
    NativeHost::open(folder, Connection::new("http://127.0.0.1:1")).expect("opens")
}

async fn open(host: &NativeHost) -> Examples {
    Examples::open(host, ExampleLimits::default()).await.expect("opens")
}

/// All examples, with the number of the put that they are from.
fn put_number(number: u32) -> Vec<TextExample> {
    let example = |index: u32| TextExample {
        id: format!("tx-{index}"),
        text: number.to_string(),
        label: "label".into(),
        time: None,
    };
    (0..COUNT).map(example).collect()
}

/// Puts all examples again and again, each time in another version.
#[tokio::test]
async fn device() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let host = host(Path::new(&folder));
    let mut examples = open(&host).await;
    for number in 1.. {
        examples.put(&host, put_number(number)).await.expect("good examples");
        println!("\nput {number}");
    }
}

struct Device {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Device {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["device", "--exact", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// The number of the next put that is done; `None` at the end of the process.
    fn next(&mut self) -> Option<u32> {
        let lines = self.lines.by_ref().map(|line| line.expect("text"));
        lines.filter_map(|line| line.strip_prefix("put ")?.parse().ok()).next()
    }

    /// Kills it as the kernel would, and returns the number of the last put that it has told.
    fn kill(mut self, seen: u32) -> u32 {
        self.child.kill().expect("alive");
        self.child.wait().expect("killed");
        let mut last = seen;
        while let Some(number) = self.next() {
            last = number;
        }
        last
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn examples_are_found_again_after_a_kill() {
    let labels = ["label".to_owned()];
    let (mut torn, mut kills) = (0, 0);
    // Killed in the middle of a put that changes all examples, at other moments: until that has shown.
    while torn < 2 {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut device = Device::start(folder.path());
        let seen = device.next().expect("it lives");
        // Files change while it puts: the next one has begun, and is somewhere.
        let before = files(folder.path());
        let wanted = 1 + kills * 7 % 50;
        while files(folder.path()).iter().filter(|(path, time)| before.get(*path) != Some(*time)).count() < wanted {
            assert!(device.child.try_wait().expect("a child").is_none(), "the device has ended");
            std::thread::yield_now();
        }
        let told = device.kill(seen);

        let host = host(folder.path());
        let examples = open(&host).await;
        let counts = examples.counts(None);
        assert_eq!((counts.total, counts.damaged), (COUNT, 0), "killed after put {told}");
        let found: BTreeMap<u64, u32> = examples
            .dataset(&labels)
            .0
            .examples
            .iter()
            .map(|example| {
                let Input::Text(text) = &example.input else { panic!("a text") };
                (example.key, text.parse().expect("a number"))
            })
            .collect();
        let mut versions: Vec<u32> = Vec::new();
        for index in 0..COUNT {
            let version = found[&example_key(&format!("tx-{index}"))];
            assert!((told..=told + 1).contains(&version), "tx-{index} is from put {version}, {told} was done");
            versions.push(version);
        }
        versions.sort_unstable();
        versions.dedup();
        torn += u32::from(versions.len() == 2);
        kills += 1;
        assert!(kills < 40, "killed {kills} times, and in the middle of a put {torn} times only");

        // And it goes on.
        let mut examples = examples;
        let put = examples.put(&host, put_number(0)).await.expect("good examples");
        assert_eq!((put.replaced, put.added), (COUNT, 0));
    }
    println!("killed {kills} times, {torn} times in the middle of a put");
}

/// The examples' files, and when they were written.
fn files(folder: &Path) -> BTreeMap<std::path::PathBuf, std::time::SystemTime> {
    let Ok(entries) = std::fs::read_dir(folder.join("state/data/examples")) else { return BTreeMap::new() };
    let entries = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        Some((entry.path(), entry.metadata().ok()?.modified().ok()?))
    });
    entries.collect()
}
