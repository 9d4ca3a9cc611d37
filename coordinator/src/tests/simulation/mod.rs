//! The whole server under faults: lists of operations that proptest makes, on a clock that the lists move, with rows and
//! blobs in memory that fail when told to. After each list the world goes on without faults to its end, and what was
//! promised is checked.
//!
//! | file | holds |
//! |---|---|
//! | `operations.rs` | lists of operations |
//! | `faults.rs` | a database and an object store that fail |
//! | `actor.rs` | devices |
//! | `world.rs` | coordinators that start, stop and die, and how a list is lived through |
//! | `promises.rs` | what holds at the end |
//! | `planted.rs` | servers that break one promise each: the check must see it |
//!
//! `SCALE_LISTS=10000` runs so many lists, `SCALE_SEED=7` begins with that one. A list that fails is made shorter, and both
//! are printed. The same seed is the same list; which of two calls that race comes first is the machine's to say.

mod actor;
mod faults;
mod operations;
mod planted;
mod promises;
mod world;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use operations::{List, lists};
use promises::Ends;
use world::World;

/// Lists of a run that says nothing else.
const LISTS: u64 = 30;
/// Lists that are lived through side by side.
const AT_ONCE: usize = 12;
/// A list ends within so many windows of time.
const WINDOWS: u32 = 150;
/// A failing list is made shorter for so long.
const SHRINKS: Duration = Duration::from_secs(30);

/// What became of a list.
type Outcome = Result<(Ends, u64), Vec<String>>;

async fn run(list: List) -> Outcome {
    let world = World::new(list.shared).await;
    let living = tokio::spawn({
        let world = std::sync::Arc::clone(&world);
        async move { world.live(&list, WINDOWS).await }
    });
    if let Err(panic) = living.await {
        return Err(vec![format!("a panic: {panic}")]);
    }
    Ok((world.check().await?, world.faults.struck()))
}

/// Without faults a round ends well: where lists do not, the faults are why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_list_ends_in_a_model() {
    for shared in [false, true] {
        let list = List { shared, operations: vec![operations::Operation::Everybody; 7] };
        let (ends, faults) = run(list).await.expect("nothing is wrong");
        assert_eq!((ends.finished, ends.abandoned.len(), faults), (1, 0, 0), "{ends:?}");
    }
}

/// The list of this number, and its way to shorter ones.
fn tree(seed: u64) -> Box<dyn ValueTree<Value = List>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    Box::new(lists().new_tree(&mut runner).expect("nothing is rejected"))
}

/// The shortest list found that still fails, and how.
async fn shrink(seed: u64, mut why: Vec<String>) -> (List, Vec<String>) {
    let (began, mut tree) = (Instant::now(), tree(seed));
    let mut worst = tree.current();
    let mut more = tree.simplify();
    while more && began.elapsed() < SHRINKS {
        let list = tree.current();
        // Races may hide it once.
        let mut outcome = run(list.clone()).await;
        if outcome.is_ok() {
            outcome = run(list.clone()).await;
        }
        more = match outcome {
            Err(again) => {
                (worst, why) = (list, again);
                tree.simplify()
            }
            Ok(_) => tree.complicate(),
        };
    }
    (worst, why)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text}")))
}

/// Three replicas answer in turn, and each hears of the others' steps late: no device is refused for being ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_go_from_replica_to_replica() {
    use operations::Operation::{Everybody, Start};
    let operations = [Start(1), Start(2)].into_iter().chain(std::iter::repeat_n(Everybody, 9)).collect();
    let (ends, _) = run(List { shared: true, operations }).await.expect("nothing is wrong");
    assert_eq!((ends.finished, ends.gave_up.len()), (1, 0), "{ends:?}");
}

/// Another replica has added an upload and removed what was staged, between a piece and the look at the whole: the device
/// hears where to go on, and of no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_removed_while_it_is_looked_at_begins_again() {
    use operations::{Answers, ObjectFault, Operation};
    let removed = ObjectFault { how: Answers::Removed, folder: Some("staging") };
    let mut operations = vec![Operation::Objects(removed, 3)];
    operations.extend(vec![Operation::Everybody; 9]);
    let (ends, faults) = run(List { shared: true, operations }).await.expect("nothing is wrong");
    assert_eq!((ends.finished, ends.gave_up.len(), faults), (1, 0, 3), "{ends:?}");
}

/// Long runs have found these: an operator ended rounds whose last stage had closed without an answer, and they were paid for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_have_failed_before() {
    for seed in [504_261, 504_547] {
        for _ in 0..3 {
            run(tree(seed).current()).await.unwrap_or_else(|why| panic!("list {seed}: {why:#?}"));
        }
    }
}

/// Whatever happens: exact sums or nothing, and nothing left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "a long run says how far it is")]
async fn whatever_happens_sums_are_exact_or_nothing_is_revealed() {
    let (count, first) = (number("SCALE_LISTS"), number("SCALE_SEED"));
    let first =
        first.unwrap_or_else(|| if count.is_some() { u64::from(getrandom::u32().expect("random")) << 16 } else { 1 });
    let count = count.unwrap_or(LISTS);
    let at_once = number("SCALE_AT_ONCE").map_or(AT_ONCE, |count| usize::try_from(count).expect("a small number"));
    eprintln!("lists {first} to {}", first + count - 1);
    let began = Instant::now();
    let mut running = futures::stream::iter(first..first + count)
        .map(|seed| async move { (seed, tokio::spawn(run(tree(seed).current())).await.expect("no panic")) })
        .buffer_unordered(at_once);
    let (mut done, mut all, mut struck) = (0, Ends::default(), 0);
    let mut failed = Vec::new();
    while let Some((seed, outcome)) = running.next().await {
        done += 1;
        match outcome {
            Ok((ends, faults)) => {
                all.finished += ends.finished;
                for (code, count) in ends.abandoned {
                    *all.abandoned.entry(code).or_default() += count;
                }
                for (word, count) in ends.gave_up {
                    *all.gave_up.entry(word).or_default() += count;
                }
                struck += faults;
            }
            Err(why) => {
                eprintln!("list {seed} fails: {why:#?}");
                failed.push((seed, why));
                if failed.len() >= 10 {
                    break;
                }
            }
        }
        if done % 100 == 0 || done == count {
            let Ends { finished, abandoned, gave_up } = &all;
            eprintln!(
                "{done} lists in {:.0?}: {finished} rounds finished, {abandoned:?} abandoned, {struck} faults, devices gave up with \
                 {gave_up:?}, {} lists failed",
                began.elapsed(),
                failed.len()
            );
        }
    }
    drop(running);
    if let Some((seed, why)) = failed.first().cloned() {
        let seeds: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
        let (list, why) = shrink(seed, why).await;
        panic!(
            "lists {seeds:?} fail. Of list {seed} this is left: {list:#?}\n{why:#?}\nAgain: SCALE_SEED={seed} SCALE_LISTS=1 cargo \
             test -p scale-coordinator --lib whatever_happens"
        );
    }
    // A run in which nothing is ever summed, or nothing ever fails, would show nothing.
    if count >= LISTS {
        assert!(u64::from(all.finished) * 4 >= count, "only {all:?} in {count} lists");
        assert!(!all.abandoned.is_empty() && struck > 0, "{all:?} with {struck} faults");
    }
}
