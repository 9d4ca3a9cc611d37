//! Short, always-on runs of the fuzz targets: noise, and real messages with bytes changed, cut out and put in.
#![allow(unreachable_pub, missing_docs)]

mod bodies;
mod samples;

use proptest::prelude::*;
use proptest::sample::Index;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn noise_never_panics(data in proptest::collection::vec(any::<u8>(), 0..512)) {
        bodies::ALL.iter().for_each(|(_, body)| body(&data));
    }

    #[test]
    fn mangled_messages_never_panic(data in mangled()) {
        bodies::ALL.iter().for_each(|(_, body)| body(&data));
    }
}

/// A decoder that is added here is fuzzed as well.
#[test]
fn every_body_has_a_fuzz_target() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("the fuzz workspace");
    for (name, _) in bodies::ALL {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml has no target {name}");
        let target = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).expect(name);
        assert!(target.contains(&format!("bodies::{name}(data)")), "{name} fuzzes something else");
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let samples: Vec<Vec<u8>> = samples::all().into_iter().map(|(_, bytes)| bytes).chain(protocol_samples()).collect();
    let edit = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<Index>(), proptest::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<Index>(), 1..16_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        (any::<Index>(), 1..64_usize).prop_map(|(at, count)| Edit::Repeat(at, count)),
    ];
    (proptest::sample::select(samples), proptest::collection::vec(edit, 0..4)).prop_map(|(mut data, edits)| {
        edits.iter().for_each(|edit| apply(&mut data, edit));
        data
    })
}

fn apply(data: &mut Vec<u8>, edit: &Edit) {
    let (Edit::Set(at, _) | Edit::Insert(at, _) | Edit::Remove(at, _) | Edit::Repeat(at, _)) = edit;
    let at = at.index(data.len() + 1);
    let until = |count: usize| (at + count).min(data.len());
    match edit {
        Edit::Set(_, byte) => {
            if let Some(place) = data.get_mut(at) {
                *place = *byte;
            }
        }
        Edit::Insert(_, bytes) => drop(data.splice(at..at, bytes.iter().copied())),
        Edit::Remove(_, count) => drop(data.drain(at..until(*count))),
        Edit::Repeat(_, count) => {
            let again = data[at..until(*count)].to_vec();
            drop(data.splice(at..at, again));
        }
    }
}

/// Canonical forms of the aggregation protocol, as the decoders of scale-secagg read them.
fn protocol_samples() -> Vec<Vec<u8>> {
    use scale_secagg::config::{Mechanism, RoundConfig, VectorSpec};
    use scale_secagg::{pack, params, roster};

    let config = RoundConfig {
        task_id: "categories".into(),
        round: 7,
        server_nonce: [1; 32],
        model_digest: [2; 32],
        plan_digest: [3; 32],
        vectors: vec![
            VectorSpec { name: "update".into(), len: 1000 },
            VectorSpec { name: "statistics".into(), len: 4 },
        ],
        wire_bits: 24,
        clip: 1.0,
        grid: 2000,
        rotation_seed: Some([4; 32]),
        mechanism: Mechanism::DistributedGaussian { local_variance: 100, n_honest: 9, rho: 1 },
        policy_id: "default".into(),
        profile: params::Profile::try_from(1).expect("a profile"),
        class: params::Class::try_from(1).expect("a class"),
        n_lo: 13,
        n_hi: 128,
        u3_min: 10,
        closing: [1, 2, 3, 4, 5],
        identity_root: [5; 32],
    };
    RoundConfig::decode(&config.encode()).expect("a good configuration");
    let entries: Vec<_> =
        (0..3).map(|i| roster::Entry { id_pk: [i; 32], c_pk: [i; 32], s_pk: [i; 32], sig: [i; 64] }).collect();
    let leaves: Vec<_> = entries.iter().map(roster::Entry::leaf).collect();
    let sparse = roster::SparseRoster::new(&entries, &roster::Tree::new(&leaves), 0, &[1]);
    let certificate = roster::Certificate { not_after_ms: 7, signature: [8; 64] };
    let mut packed = vec![17, 20, 0, 9];
    pack::pack(&[0x1_ffff; 20], 18, &mut packed);
    vec![
        config.encode(),
        roster::encode_complete(&entries),
        roster::encode_certified(entries.iter().map(|entry| (entry, &certificate))),
        sparse.encode(),
        vec![20, 0, 0b1010_1010, 0xff, 0b0000_1111],
        packed,
    ]
}
