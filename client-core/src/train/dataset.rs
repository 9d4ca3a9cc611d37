//! Examples for training, as an app supplies them.

use std::ops::Deref;
use std::sync::Arc;

use scale_proto::ids::Digest;
use zeroize::Zeroizing;

/// The input of a model.
#[derive(Clone, PartialEq)]
pub enum Input {
    /// A line of text, for example of a bank statement.
    Text(SharedText),
    /// Numbers, one per input of the model; images channel by channel, each row by row.
    Dense(Vec<f32>),
}

/// A text that is shared by its clones, so that data sets of the same examples need little memory. Wiped when the last
/// clone is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedText(Arc<Zeroizing<String>>);

impl From<String> for SharedText {
    fn from(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }
}

impl From<&str> for SharedText {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for SharedText {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// One labeled example.
#[derive(Clone, PartialEq)]
pub struct Example {
    /// Key derived from the example's id, see [`example_key`]. It decides whether the example is held out for
    /// measuring.
    pub key: u64,
    /// Input of the model.
    pub input: Input,
    /// Index into the model's labels.
    pub label: u32,
}

impl Example {
    /// `id`: the app's own identifier of the example, the same in every round.
    pub fn new(id: &str, input: Input, label: u32) -> Self {
        Self { key: example_key(id), input, label }
    }
}

/// The key of the example with this id: the first 8 bytes of the SHA-256 of `id`, as a little-endian number.
pub fn example_key(id: &str) -> u64 {
    key_of(&Digest::of(id.as_bytes()))
}

/// The key of an example whose id has this SHA-256.
pub(crate) fn key_of(digest: &Digest) -> u64 {
    // A digest has 32 bytes.
    digest.0.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// Whether an example is held out: used for measuring and never for training. This depends only on the key, so it does
/// not change when other examples are added or removed. A larger share holds out the same examples and more.
///
/// `holdout_permille`: share of the keys that are held out, in thousandths; values above 500 count as 500.
pub fn is_held_out(key: u64, holdout_permille: u32) -> bool {
    // The key as a fraction of 2^64, in thousandths.
    (u128::from(key) * 1000) >> 64 < u128::from(holdout_permille.min(500))
}

/// The split of a data set, by index.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// Examples to train on.
    pub(crate) own: Vec<usize>,
    /// Examples that are held out, to measure on.
    pub(crate) held_out: Vec<usize>,
}

/// Splits examples with these keys by [`is_held_out`]. If that holds out all of them, the one with the largest key is
/// used for training: otherwise a device with a single example could never use it.
pub(crate) fn split(keys: impl Iterator<Item = u64> + Clone, holdout_permille: u32) -> Split {
    let all = || keys.clone().enumerate();
    let mut split = Split { own: Vec::new(), held_out: Vec::new() };
    for (index, key) in all() {
        if is_held_out(key, holdout_permille) { split.held_out.push(index) } else { split.own.push(index) }
    }
    if let (true, Some((kept, _))) = (split.own.is_empty(), all().max_by_key(|(_, key)| *key)) {
        split.held_out.retain(|index| *index != kept);
        split.own.push(kept);
    }
    split
}

/// Examples are personal data, so they are not printed.
impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::Dense(values) => write!(f, "Dense([..; {}])", values.len()),
        }
    }
}

impl std::fmt::Debug for SharedText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedText(..)")
    }
}

impl std::fmt::Debug for Example {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Example").finish_non_exhaustive()
    }
}

/// The local examples of one task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// The examples, in any order, because training shuffles them.
    pub examples: Vec<Example>,
}

impl Dataset {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// Adds a labeled text, whose id is its position in this data set. For examples with an id of the app's own, use
    /// [`Example::new`].
    pub fn push_text(&mut self, text: impl Into<SharedText>, label: u32) {
        self.push(Input::Text(text.into()), label);
    }

    /// Adds an example of labeled numbers, whose id is its position, as for [`Self::push_text`].
    pub fn push_dense(&mut self, values: Vec<f32>, label: u32) {
        self.push(Input::Dense(values), label);
    }

    fn push(&mut self, input: Input, label: u32) {
        let id = self.examples.len().to_string();
        self.examples.push(Example::new(&id, input, label));
    }
}

impl FromIterator<Example> for Dataset {
    fn from_iter<I: IntoIterator<Item = Example>>(examples: I) -> Self {
        Self { examples: examples.into_iter().collect() }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Computed with Python's hashlib.
    #[test]
    fn keys_are_the_start_of_the_ids_digest() {
        for (id, key) in
            [("0", 0x386f_c8ff_66eb_ec5f), ("tx-2024-0001", 0x6b01_cef6_2161_1db5), ("", 0x141c_fc98_42c4_b0e3)]
        {
            assert_eq!(example_key(id), key, "{id:?}");
        }
        let mut dataset = Dataset::default();
        dataset.push_text("a", 0);
        dataset.push_dense(vec![1.0], 0);
        let keys: Vec<u64> = dataset.examples.iter().map(|example| example.key).collect();
        assert_eq!(keys, [example_key("0"), example_key("1")]);
    }

    #[test]
    fn the_share_is_the_one_that_was_asked_for() {
        const COUNT: u32 = 20_000;
        for permille in [0, 1, 100, 333, 500, 900] {
            let held_out = (0..COUNT).filter(|id| is_held_out(example_key(&id.to_string()), permille)).count();
            let share = f64::from(permille.min(500)) / 1000.0;
            let (expected, deviation) = (share * f64::from(COUNT), (share * (1.0 - share) * f64::from(COUNT)).sqrt());
            assert!((held_out as f64 - expected).abs() <= 4.5 * deviation, "{permille}: {held_out}");
        }
        assert!(is_held_out(0, 1) && !is_held_out(0, 0) && !is_held_out(u64::MAX, 500));
        assert!(is_held_out(u64::MAX / 2, 500) && !is_held_out(u64::MAX / 2 + 1, 500));
    }

    #[test]
    fn one_example_stays_for_training() {
        assert_eq!(split([3].into_iter(), 500), Split { own: vec![0], held_out: vec![] });
        assert_eq!(split([3, 7, 5].into_iter(), 500), Split { own: vec![1], held_out: vec![0, 2] });
        assert_eq!(split([7, 7].into_iter(), 500), Split { own: vec![1], held_out: vec![0] });
        assert_eq!(split([3, u64::MAX].into_iter(), 500), Split { own: vec![1], held_out: vec![0] });
        assert_eq!(split([3, 7].into_iter(), 0), Split { own: vec![0, 1], held_out: vec![] });
        assert_eq!(split([].into_iter(), 500), Split { own: vec![], held_out: vec![] });
    }

    proptest! {
        /// However a set of examples grows, shrinks and is ordered, an example is on the side where it was first seen: no
        /// model is measured on an example that it was trained on. The exception is the one that trains alone.
        #[test]
        fn no_example_ever_changes_sides(
            changes in prop::collection::vec((0u32..60, any::<bool>(), any::<bool>()), 1..80),
            permille in 0u32..=500,
        ) {
            let mut there: Vec<u32> = Vec::new();
            let mut sides: BTreeMap<u32, bool> = BTreeMap::new();
            for (id, comes, in_front) in changes {
                there.retain(|other| *other != id);
                match (comes, in_front) {
                    (true, true) => there.insert(0, id),
                    (true, false) => there.push(id),
                    (false, _) => {}
                }
                let keys: Vec<u64> = there.iter().map(|id| example_key(&format!("tx-{id}"))).collect();
                let Split { own, held_out } = split(keys.iter().copied(), permille);
                prop_assert_eq!(own.len() + held_out.len(), there.len());
                prop_assert_eq!(own.is_empty(), there.is_empty());
                let all_held_out = keys.iter().all(|key| is_held_out(*key, permille));
                prop_assert!(!all_held_out || own.len() <= 1);
                let own = own.iter().filter(|_| !all_held_out).map(|index| (there[*index], false));
                for (id, side) in held_out.iter().map(|index| (there[*index], true)).chain(own) {
                    prop_assert_eq!(*sides.entry(id).or_insert(side), side, "example {}", id);
                }
            }
        }
    }
}
