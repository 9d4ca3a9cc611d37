//! Each primitive of a round by itself: `cargo bench -p scale-benches`.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use scale_secagg::graph::Graph;
use scale_secagg::keys::{self, DhSecret, IdentityKey, Secret, ShareCipher};
use scale_secagg::pack::{self, Unpacker};
use scale_secagg::prg::{self, Backend, MaskKey, Sign};
use scale_secagg::roster::{Entry, Sid, Tree, multiproof_root};
use scale_secagg::shamir::{Polynomial, Rebuilder};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn mask_generator(c: &mut Criterion) {
    const ENTRIES: usize = 16 * 1024;
    let keys: Vec<_> = (0..16).map(|i| MaskKey::new(&[i; 32])).collect();
    let masks: Vec<_> = keys.iter().map(|key| (Sign::Plus, key)).collect();
    let mut acc = vec![0; ENTRIES];
    let mut group = c.benchmark_group("mask_generator");
    group.throughput(Throughput::Bytes((4 * ENTRIES * keys.len()) as u64));
    for backend in Backend::ALL.into_iter().filter(|backend| backend.is_available()) {
        group.bench_function(backend.name(), |b| {
            b.iter(|| prg::accumulate_with(backend, black_box(&mut acc), 0, 0, &masks));
        });
    }
}

fn packing(c: &mut Criterion) {
    const ENTRIES: usize = 1 << 20;
    let mut rng = rng();
    let values: Vec<u32> = (0..ENTRIES).map(|_| rng.next_u32()).collect();
    let mut group = c.benchmark_group("packing");
    for bits in [16, 21, 24, 32] {
        let mut packed = Vec::new();
        pack::pack(&values, bits, &mut packed);
        group.throughput(Throughput::Bytes(packed.len() as u64));
        group.bench_with_input(BenchmarkId::new("pack", bits), &bits, |b, &bits| {
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                pack::pack(black_box(&values), bits, &mut out);
            });
        });
        group.bench_with_input(BenchmarkId::new("unpack_and_add", bits), &bits, |b, &bits| {
            let mut acc = vec![0; ENTRIES];
            b.iter(|| Unpacker::new(ENTRIES, bits).feed(black_box(&packed), &mut acc));
        });
    }
    let bytes = vec![7; 1 << 20];
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("sha256", |b| b.iter(|| keys::hash(&[black_box(&bytes)])));
}

fn sharing(c: &mut Criterion) {
    let mut group = c.benchmark_group("sharing");
    for (k, t) in [(12, 8), (58, 30), (127, 71), (264, 133)] {
        let mut rng = rng();
        let secret = Secret::draw(&mut rng);
        group.bench_with_input(BenchmarkId::new("share", k), &k, |b, &k| {
            b.iter(|| Polynomial::new(&secret, t, &mut rng).shares(k));
        });
        let shares = Polynomial::new(&secret, t, &mut self::rng()).shares(k).expect("t is at most k");
        let rebuilder = Rebuilder::new(k);
        let mut points: Vec<_> = (1..).zip(shares).collect();
        group.bench_with_input(BenchmarkId::new("rebuild", k), &k, |b, _| b.iter(|| rebuilder.rebuild(&points, t)));
        // Every tenth holder is lost.
        points.retain(|(x, _)| x % 10 != 0);
        group.bench_with_input(BenchmarkId::new("rebuild_90", k), &k, |b, _| b.iter(|| rebuilder.rebuild(&points, t)));
    }
}

fn keys_and_signatures(c: &mut Criterion) {
    let mut rng = rng();
    let sid = Sid::from([5; 32]);
    let (mine, theirs) = (DhSecret::draw(&mut rng), DhSecret::draw(&mut rng));
    let (my_pk, their_pk) = (mine.public(), theirs.public());
    let mut group = c.benchmark_group("keys");
    group.bench_function("x25519_public", |b| b.iter(|| black_box(&mine).public()));
    group.bench_function("x25519_agree", |b| b.iter(|| mine.agree(black_box(&their_pk))));
    group.bench_function("check_dh_key", |b| b.iter(|| keys::check_dh_key(black_box(&their_pk))));
    group.bench_function("pair_mask_key", |b| b.iter(|| keys::pair_mask_key(&sid, &mine, &my_pk, &their_pk)));
    let cipher = ShareCipher::new(&sid, &[1; 32], &[2; 32], &[3; 32]);
    let sealed = cipher.seal(4, 5, &[6; 64]);
    group.bench_function("seal", |b| b.iter(|| cipher.seal(4, 5, &[6; 64])));
    group.bench_function("open", |b| b.iter(|| cipher.open(4, 5, black_box(&sealed))));
    let identity = IdentityKey::from_seed(&[7; 32]);
    let (public, signature) = (identity.public(), identity.sign(b"statement"));
    group.bench_function("sign", |b| b.iter(|| identity.sign(black_box(b"statement"))));
    group.bench_function("verify", |b| b.iter(|| keys::verify(&public, b"statement", black_box(&signature))));
}

fn roster_and_graph(c: &mut Criterion) {
    const N: u32 = 10_000;
    let entry = |i: u32| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&i.to_le_bytes());
        Entry { id_pk: key, c_pk: key, s_pk: key, sig: [0; 64] }
    };
    let leaves: Vec<_> = (0..N).map(|i| entry(i).leaf()).collect();
    let tree = Tree::new(&leaves);
    let mut group = c.benchmark_group("roster");
    group.bench_function("tree_of_10000", |b| b.iter(|| Tree::new(black_box(&leaves))));
    let shown: Vec<u32> = (0..69).map(|i| i * 144).collect();
    let proof = tree.multiproof(&shown);
    let known: BTreeMap<_, _> = shown.iter().map(|&i| (i, leaves[i as usize])).collect();
    group.bench_function("multiproof_of_69", |b| b.iter(|| multiproof_root(N, black_box(&known), &proof)));
    let sid = Sid::from([5; 32]);
    group.bench_function("ring_of_10000", |b| {
        b.iter_batched(|| sid, |sid| Graph::harary(N, 68, &sid), BatchSize::SmallInput);
    });
}

criterion_group!(benches, mask_generator, packing, sharing, keys_and_signatures, roster_and_graph);
criterion_main!(benches);
