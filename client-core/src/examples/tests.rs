//! What an app may rely on: examples by id, limits, losses; random calls against a model of them.
#![allow(clippy::print_stdout, reason = "measured times are printed")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use scale_proto::time::Timestamp;

use super::shard::{Entry, digest, shard_of};
use super::*;
use crate::device::fixtures::{self, coordinator::Coordinator, coordinator::Line};
use crate::host::memory::{
    FixedConditions, MemoryClock, MemoryHost, MemoryKeys, MemoryLedger, MemoryStore, SeededRandomness,
};
use crate::host::{KeyStore as _, Parts};
use crate::train::is_held_out;

mod crashes;
#[cfg(all(feature = "native", not(target_arch = "wasm32")))]
mod folder;
mod training;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const START: Timestamp = Timestamp::from_millis(fixtures::START_MS);

type TestHost<S> = Parts<Line, S, MemoryKeys, FixedConditions, MemoryClock, SeededRandomness, MemoryLedger>;

/// The same device for every store.
fn host<S>(store: S) -> TestHost<S> {
    let plan = fixtures::plan();
    let config = fixtures::config(&plan);
    let line = Line(Coordinator::new(config.clone(), fixtures::manifest(&config, &plan), Vec::new(), 1));
    let MemoryHost { transport, keys, conditions, clock, randomness, ledger, .. } =
        MemoryHost::new(line, MemoryClock::at(START), [1; 32]);
    Parts { transport, store, keys, conditions, clock, randomness, ledger }
}

fn example(id: &str, text: &str, label: &str) -> TextExample {
    TextExample { id: id.into(), text: text.into(), label: label.into(), time: None }
}

fn dated(id: &str, days_ago: u32) -> TextExample {
    let time = Timestamp::from_millis(START.as_millis() - (DAY * days_ago).as_millis() as u64);
    at(dateless(id), Some(time))
}

fn at(mut example: TextExample, time: Option<Timestamp>) -> TextExample {
    example.time = time;
    example
}

fn dateless(id: &str) -> TextExample {
    example(id, "text", "label")
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Text, label and time of an example.
type Content = (String, String, u64);

/// Every example, by id.
type Contents = BTreeMap<String, Content>;

fn contents(examples: &Examples) -> Contents {
    let content = |entry: &Entry| (entry.text.to_string(), entry.label.to_string(), entry.time.as_millis());
    examples.shards.iter().flatten().map(|(_, entry)| (entry.id.to_string(), content(entry))).collect()
}

async fn open<H: Host>(host: &H) -> Examples {
    Examples::open(host, ExampleLimits::default()).await.expect("opens")
}

/// What another process would find.
async fn stored<H: Host>(host: &H) -> Contents {
    contents(&open(host).await)
}

#[tokio::test]
async fn examples_are_put_replaced_and_removed_by_id() {
    let host = host(MemoryStore::default());
    let mut examples = open(&host).await;
    assert_eq!(examples.counts(None), ExampleCounts::default());
    let first = vec![example("a", "CAFE", "dining"), example("b", "PETROL", "fuel"), example("c", "ZOO", "pets")];
    let put = examples.put(&host, first.clone()).await.expect("good examples");
    assert_eq!(put, PutSummary { added: 3, ..PutSummary::default() });

    // The person has corrected one; the rest comes again as it was.
    host.clock.advance(DAY);
    let mut second = first;
    second[1] = example("b", "PETROL", "travel");
    second.push(example("d", "first of two under one id", "fuel"));
    second.push(example("d", "BAR", "dining"));
    let put = examples.put(&host, second).await.expect("good examples");
    assert_eq!(put, PutSummary { added: 1, replaced: 1, unchanged: 2, dropped: 0 });
    let expected = Contents::from([
        ("a".into(), ("CAFE".into(), "dining".into(), START.as_millis())),
        ("b".into(), ("PETROL".into(), "travel".into(), START.plus(DAY).as_millis())),
        ("c".into(), ("ZOO".into(), "pets".into(), START.as_millis())),
        ("d".into(), ("BAR".into(), "dining".into(), START.plus(DAY).as_millis())),
    ]);
    assert_eq!(contents(&examples), expected);
    assert_eq!(stored(&host).await, expected, "as another process finds it");

    let labels = ids(&["fuel", "dining"]);
    let counts = examples.counts(Some(&labels));
    let by_label = [("dining", 2), ("pets", 1), ("travel", 1)].map(|(label, count)| (label.to_owned(), count));
    let expected = ExampleCounts { total: 4, by_label: by_label.into(), unknown_label: 2, damaged: 0 };
    assert_eq!(counts, expected);
    let (dataset, skipped) = examples.dataset(&labels);
    assert_eq!((dataset.len(), skipped), (2, 2));
    assert!(dataset.examples.iter().all(|example| example.label == 1));
    assert!(examples.dataset(&ids(&["dining"])).0.examples.iter().all(|example| example.label == 0), "by name");

    assert_eq!(examples.remove(&host, &ids(&["b", "x", "b", "c"])).await, Ok(2));
    assert_eq!(contents(&examples).into_keys().collect::<Vec<_>>(), ["a", "d"]);
    assert_eq!(stored(&host).await, contents(&examples));
    examples.clear(&host).await.expect("clears");
    assert_eq!((contents(&examples).len(), host.store.keys().len()), (0, 0));
    let put = examples.put(&host, vec![dateless("a")]).await.expect("a good example");
    assert_eq!((put.added, stored(&host).await.len()), (1, 1), "a cleared store goes on");
}

#[tokio::test]
async fn bad_examples_are_refused_with_all_others() {
    let host = host(MemoryStore::default());
    let limits = ExampleLimits { text_bytes: 20, ..ExampleLimits::default() };
    let mut examples = Examples::open(&host, limits).await.expect("opens");
    let (long_id, long_label) = ("i".repeat(129), "l".repeat(65));
    for (code, names, bad) in [
        ("example_id_empty", "example 1 of the call", example("", "text", "label")),
        ("example_id_too_long", "iiii", example(&long_id, "text", "label")),
        ("example_label_empty", "tx-9", example("tx-9", "text", "")),
        ("example_label_too_long", "tx-9", example("tx-9", "text", &long_label)),
        ("example_text_too_long", "tx-9", example("tx-9", &"é".repeat(11), "label")),
    ] {
        let error = examples.put(&host, vec![dateless("good"), bad]).await.expect_err("refused");
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(names), "{error}");
        assert!(error.to_string().len() < 250, "{error}");
        assert_eq!((contents(&examples).len(), host.store.keys().len()), (0, 0), "{code}: nothing is stored");
    }
    let longest = example(&"i".repeat(128), &"é".repeat(10), &"l".repeat(64));
    examples.put(&host, vec![longest, example("empty text", "", "label")]).await.expect("good examples");
    assert_eq!(stored(&host).await, contents(&examples));
}

#[tokio::test]
async fn old_examples_and_the_oldest_of_too_many_are_dropped() {
    let host = host(MemoryStore::default());
    let limits = ExampleLimits { examples: 3, age: DAY * 10, ..ExampleLimits::default() };
    let mut examples = Examples::open(&host, limits).await.expect("opens");
    let keys = |examples: &Examples| contents(examples).into_keys().collect::<Vec<_>>();

    let given = vec![dated("4", 4), dated("11", 11), dated("10", 10), dated("1", 1)];
    let put = examples.put(&host, given).await.expect("good examples");
    assert_eq!(put, PutSummary { added: 3, dropped: 1, ..PutSummary::default() }, "one is too old already");
    assert_eq!(keys(&examples), ["1", "10", "4"]);

    // One more than there is room for, and it is younger than the oldest.
    let put = examples.put(&host, vec![dated("2", 2)]).await.expect("a good example");
    assert_eq!(put, PutSummary { added: 1, dropped: 1, ..PutSummary::default() });
    assert_eq!(keys(&examples), ["1", "2", "4"]);
    // One that is the oldest itself is not kept, and one that is there becomes the oldest.
    let put = examples.put(&host, vec![dated("9", 9), dated("1", 8)]).await.expect("good examples");
    assert_eq!(put, PutSummary { replaced: 1, dropped: 1, ..PutSummary::default() });
    assert_eq!(keys(&examples), ["1", "2", "4"]);
    // An example that was good is put again as one that is too old.
    let put = examples.put(&host, vec![dated("1", 12)]).await.expect("a good example");
    assert_eq!(put, PutSummary { dropped: 1, ..PutSummary::default() });
    assert_eq!(keys(&examples), ["2", "4"]);
    assert_eq!(stored(&host).await, contents(&examples));

    // Time goes by: opening drops, from the store as well.
    host.clock.advance(DAY * 7);
    let examples = Examples::open(&host, limits).await.expect("opens");
    assert_eq!(keys(&examples), ["2"]);
    assert_eq!(stored(&host).await, contents(&examples));
    let none = ExampleLimits { examples: 0, ..limits };
    assert_eq!(keys(&Examples::open(&host, none).await.expect("opens")), Vec::<String>::new(), "a lower limit");
    assert_eq!(stored(&host).await, Contents::new());
}

/// Every example keeps its side of the split while others come and go, through restarts too.
#[tokio::test]
async fn a_growing_and_shrinking_store_keeps_the_split() {
    let host = host(MemoryStore::default());
    let labels = ids(&["label"]);
    let mut sides: BTreeMap<String, bool> = BTreeMap::new();
    for step in 0..12u32 {
        let mut examples = open(&host).await;
        let put = (0..40).map(|index| dateless(&format!("tx-{}", step * 17 + index))).collect();
        examples.put(&host, put).await.expect("good examples");
        let gone: Vec<String> = (0..step * 3).map(|index| format!("tx-{}", index * 5)).collect();
        examples.remove(&host, &gone).await.expect("removes");
        let (dataset, _) = examples.dataset(&labels);
        let by_id = examples.shards.iter().flatten().map(|(_, entry)| entry.id.to_string());
        for (id, example) in by_id.zip(&dataset.examples) {
            let side = is_held_out(example.key, 200);
            assert_eq!(example.key, crate::train::example_key(&id));
            assert_eq!(*sides.entry(id.clone()).or_insert(side), side, "{id}");
        }
    }
    let held_out = sides.values().filter(|side| **side).count();
    assert!(sides.len() > 200 && (20..80).contains(&held_out), "{held_out} of {}", sides.len());
}

#[tokio::test]
async fn a_lost_shard_costs_its_own_examples_only() {
    let host = host(MemoryStore::default());
    let mut examples = open(&host).await;
    let all: Vec<TextExample> = (0..500).map(|index| dateless(&format!("tx-{index}"))).collect();
    examples.put(&host, all.clone()).await.expect("good examples");
    let names = host.store.keys();
    assert_eq!(names.len(), SHARDS, "500 examples are in all of them");
    let in_shard =
        |name: &str| all.iter().filter(|example| shard::name(shard_of(&digest(&example.id))) == name).count() as u32;
    let sealed = host.store.get("examples/07").await.expect("memory").expect("there");
    let other = host.store.get("examples/08").await.expect("memory").expect("there");
    // A shard of its own key, but with an example of another one.
    let stranger = (0..).map(|index| format!("x-{index}")).find(|id| shard_of(&digest(id)) != 7).expect("some");
    let entry = Entry { id: stranger.clone().into(), text: "".into(), label: "label".into(), time: START };
    let strange = shard::encode(&Entries::from([(digest(&stranger), entry.into())]), 0);
    let strange = host.keys.seal("examples/07", &strange, [9; 12]).await.expect("seals");
    let nonsense = host.keys.seal("examples/07", &[1, 2, 3], [9; 12]).await.expect("seals");
    let empty = host.keys.seal("examples/07", &[], [9; 12]).await.expect("seals");
    let foreign = MemoryKeys::new([2; 32]).seal("examples/07", &[1; 13], [9; 12]).await.expect("seals");
    for (case, bytes) in [
        ("cut", Some(sealed[..sealed.len() - 1].to_vec())),
        ("of no bytes", Some(vec![])),
        ("another shard's", Some(other)),
        ("with a stranger's example", Some(strange)),
        ("nonsense that opens", Some(nonsense)),
        ("nothing that opens", Some(empty)),
        ("another key's", Some(foreign)),
        ("gone", None),
    ] {
        let store = host.store.fork();
        match bytes {
            Some(bytes) => store.put("examples/07", &bytes).await.expect("memory"),
            None => store.delete("examples/07").await.expect("memory"),
        }
        let host = self::host(store);
        let mut examples = open(&host).await;
        let counts = examples.counts(None);
        assert_eq!((counts.damaged, counts.total), (1, 500 - in_shard("examples/07")), "{case}");
        assert_eq!(open(&host).await.counts(None), counts, "{case}: it stays so");
        // A change elsewhere does not hide it; the app's next full put mends it.
        examples.put(&host, vec![example("tx-1", "new", "label")]).await.expect("a good example");
        assert_eq!(open(&host).await.counts(None).damaged, u32::from(shard_of(&digest("tx-1")) != 7), "{case}");
        examples.put(&host, all.clone()).await.expect("good examples");
        for examples in [examples, open(&host).await] {
            let counts = examples.counts(None);
            assert_eq!((counts.damaged, counts.total), (0, 500), "{case}");
        }
    }
}

#[tokio::test]
async fn examples_of_a_newer_version_are_refused_and_stay() {
    let host = host(MemoryStore::default());
    let mut examples = open(&host).await;
    examples.put(&host, vec![dateless("a")]).await.expect("a good example");
    let newer = host.keys.seal("examples/05", &[2, 0, 0], [9; 12]).await.expect("seals");
    host.store.put("examples/05", &newer).await.expect("memory");
    let error = Examples::open(&host, ExampleLimits::default()).await.expect_err("a newer version");
    assert_eq!(error.what, "store");
    assert!(error.sentence.contains("version 2") && error.sentence.contains("update the app"), "{error}");
    assert_eq!(host.store.get("examples/05").await, Ok(Some(newer)));
    Examples::delete_all(&host).await.expect("deletes");
    assert_eq!(host.store.keys(), Vec::<String>::new());
    assert_eq!(open(&host).await.counts(None), ExampleCounts::default());
}

/// Written down by another implementation (Python): what is stored today is read tomorrow.
#[test]
fn the_format_stays() {
    let entry = |id: &str, text: &str, label: &str, time| {
        let entry = Entry {
            id: id.to_owned().into(),
            text: text.into(),
            label: label.into(),
            time: Timestamp::from_millis(time),
        };
        (digest(id), entry.into())
    };
    let entries =
        Entries::from([entry("tx-ü", "", "fuel", 5), entry("tx-1", "CAFE ROMA", "dining", 1_700_000_000_000)]);
    let bytes = shard::encode(&entries, 1 << 63 | 3);
    assert_eq!(bytes.capacity(), bytes.len(), "made at once, nothing is left where it grew");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "010300000000000080020000000474782d310664696e696e670068e5cf8b010000090000004341464520524f4d41\
         0574782dc3bc046675656c050000000000000000000000"
    );
    assert_eq!([shard_of(&digest("tx-1")), shard_of(&digest("tx-ü"))], [52, 4]);
}

#[tokio::test]
async fn nothing_personal_is_printed() {
    let host = host(MemoryStore::default());
    let mut examples = open(&host).await;
    let secret = example("id-of-it", "text-of-it", "label-of-it");
    let printed = format!("{secret:?}");
    examples.put(&host, vec![secret]).await.expect("a good example");
    let (dataset, _) = examples.dataset(&ids(&["label-of-it"]));
    let printed = format!("{printed} {examples:?} {dataset:?} {:?}", dataset.examples);
    assert!(printed.contains("TextExample") && !printed.contains("of-it"), "{printed}");
}

/// A call of an app, or what happens to it.
#[derive(Clone, Debug)]
enum Operation {
    /// Id, text, label, age in days.
    Put(Vec<(u8, u8, u8, Option<u32>)>),
    Remove(Vec<u8>),
    Clear,
    Restart,
    Days(u32),
}

fn operation() -> impl Strategy<Value = Operation> {
    let one = (0u8..14, 0u8..3, 0u8..3, prop::option::of(0u32..14));
    prop_oneof![
        6 => prop::collection::vec(one, 0..6).prop_map(Operation::Put),
        3 => prop::collection::vec(0u8..14, 0..4).prop_map(Operation::Remove),
        1 => Just(Operation::Clear),
        2 => Just(Operation::Restart),
        2 => (0u32..6).prop_map(Operation::Days),
    ]
}

/// The rules, said once more and shortly: at most 8 examples, of 10 days.
#[derive(Default)]
struct Model(Contents);

impl Model {
    fn put(&mut self, given: &[TextExample], now: Timestamp) -> PutSummary {
        let last: BTreeMap<&str, &TextExample> = given.iter().map(|example| (&*example.id, example)).collect();
        let before = self.0.clone();
        for (id, example) in &last {
            let old = before.get(*id);
            let same = |old: &Content| {
                old.0 == example.text
                    && old.1 == example.label
                    && example.time.is_none_or(|time| time.as_millis() == old.2)
            };
            if !old.is_some_and(same) {
                let time = example.time.unwrap_or(now).as_millis();
                self.0.insert((*id).to_owned(), (example.text.clone(), example.label.clone(), time));
            }
        }
        let all = self.0.len();
        self.trim(now);
        let kept = |id: &&&str| self.0.contains_key(**id);
        let count = |wanted: fn(Option<&Content>, &Content) -> bool| {
            last.keys().filter(kept).filter(|id| wanted(before.get(**id), &self.0[**id])).count() as u32
        };
        PutSummary {
            added: count(|before, _| before.is_none()),
            replaced: count(|before, after| before.is_some_and(|before| before != after)),
            unchanged: count(|before, after| before == Some(after)),
            dropped: (all - self.0.len()) as u32,
        }
    }

    fn trim(&mut self, now: Timestamp) {
        self.0.retain(|_, (_, _, time)| Timestamp::from_millis(*time).plus(DAY * 10) >= now);
        while self.0.len() > 8 {
            let oldest = self.0.iter().min_by_key(|(id, (_, _, time))| (*time, digest(id))).expect("some").0.clone();
            self.0.remove(&oldest);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_calls_do_what_the_rules_say(operations in prop::collection::vec(operation(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let host = host(MemoryStore::default());
        let limits = ExampleLimits { examples: 8, age: DAY * 10, ..ExampleLimits::default() };
        runtime.block_on(async {
            let mut model = Model::default();
            let mut examples = Examples::open(&host, limits).await.expect("opens");
            for operation in operations {
                let now = host.clock.now();
                match operation {
                    Operation::Put(given) => {
                        let given: Vec<TextExample> = given.into_iter().map(|(id, text, label, age)| {
                            let time = age.map(|days| {
                                Timestamp::from_millis(now.as_millis() - (DAY * days).as_millis() as u64)
                            });
                            let [id, text, label] = [("id", id), ("text", text), ("label", label)].map(|(what, n)| format!("{what} {n}"));
                            at(example(&id, &text, &label), time)
                        }).collect();
                        let summary = model.put(&given, now);
                        prop_assert_eq!(examples.put(&host, given).await, Ok(summary));
                    }
                    Operation::Remove(gone) => {
                        let gone: Vec<String> = gone.iter().map(|id| format!("id {id}")).collect();
                        let before = model.0.len();
                        model.0.retain(|id, _| !gone.contains(id));
                        prop_assert_eq!(examples.remove(&host, &gone).await, Ok((before - model.0.len()) as u32));
                    }
                    Operation::Clear => {
                        examples.clear(&host).await.expect("clears");
                        model.0.clear();
                    }
                    Operation::Restart => {
                        examples = Examples::open(&host, limits).await.expect("opens");
                        model.trim(now);
                    }
                    Operation::Days(days) => host.clock.advance(DAY * days),
                }
                prop_assert_eq!(&contents(&examples), &model.0);
                prop_assert_eq!(&stored(&host).await, &model.0);
                prop_assert_eq!(examples.counts(None).damaged, 0);
            }
            Ok(())
        })?;
    }
}
