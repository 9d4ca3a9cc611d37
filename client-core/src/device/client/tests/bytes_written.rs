//! What a whole round costs a device's flash memory.

use std::collections::BTreeMap;

use scale_proto::manifest::Manifest;
use scale_proto::model::{Family, ModelSpec};

use super::*;
#[cfg(target_arch = "wasm32")]
use crate::single_thread as tokio;
use crate::trainer::TrainError;

/// Adds up the bytes of every change, by key.
#[derive(Clone, Debug, Default)]
struct CountingStore(MemoryStore, Arc<Mutex<BTreeMap<String, usize>>>);

impl Store for CountingStore {
    type Turn = <MemoryStore as Store>::Turn;

    async fn turn(&self, name: &str) -> Result<Self::Turn, HostError> {
        self.0.turn(name).await
    }
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.0.get(key).await
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), HostError> {
        *self.1.lock().expect("no panic").entry(key.to_owned()).or_default() += bytes.len();
        self.0.put(key, bytes).await
    }
    async fn delete(&self, key: &str) -> Result<(), HostError> {
        self.0.delete(key).await
    }
    async fn clear(&self) -> Result<(), HostError> {
        self.0.clear().await
    }
}

/// Moves every weight by another small step, as training does.
struct Drifter(u64);

impl Trainer for Drifter {
    fn begin<'a>(
        &'a mut self,
        _: &'a Plan,
        weights: &[f32],
        _: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.0);
        // The sum of four uniform numbers: near enough to a normal one.
        let mut step = || (0..4).map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5).sum::<f32>() / 100.0;
        let result = ConstantTrainer { step: 0.0, examples: 20 }.result(weights);
        let trained = Trained { weights: weights.iter().map(|weight| weight + step()).collect(), ..result };
        Ok(in_one_step(move || Ok(trained)))
    }
}

/// The demo's shape: a grid of 2^16 units, and so many weights that they are what counts.
fn large() -> (Plan, RoundConfig, Manifest, Vec<u8>) {
    let model = ModelSpec {
        labels: ["a", "b"].map(String::from).to_vec(),
        family: Family::Mlp { inputs: 200, hidden: vec![400] },
    };
    let file = fixtures::model_file(&model, &vec![0.25; model.flat_len() as usize]);
    let plan = Plan { fingerprint: model.fingerprint(), model, ..fixtures::plan() };
    let grid = 1 << 16;
    let config = RoundConfig {
        model_digest: Digest::of(&file).0,
        grid,
        wire_bits: scale_secagg::config::width_needed(20, grid, 0).expect("narrow"),
        ..fixtures::config(&plan)
    };
    let manifest = Manifest { model_bytes: file.len() as u64, ..fixtures::manifest(&config, &plan) };
    (plan, config, manifest, file)
}

/// Everything together: the model, the trained update, the masked input, and the states in between.
#[tokio::test]
async fn a_device_writes_at_most_three_times_its_upload_in_a_round() {
    let (_, config, manifest, file) = large();
    let upload = config.masked_input_len() as usize;
    let shared = Coordinator::new(config, manifest, file, COHORT);
    let clock = clock();
    let hosts: Vec<_> = (0..COHORT)
        .map(|number| {
            let MemoryHost { transport, keys, conditions, clock, randomness, ledger, .. } =
                MemoryHost::new(Line(shared.clone()), clock.clone(), [number as u8; 32]);
            Parts { transport, store: CountingStore::default(), keys, conditions, clock, randomness, ledger }
        })
        .collect();
    let devices: Vec<_> = hosts
        .iter()
        .cloned()
        .enumerate()
        .map(|(number, host)| {
            let config = ClientConfig {
                families: vec!["mlp".into()],
                ..ClientConfig::new(vec![fixtures::task()], fixtures::task_key().public())
            };
            let client = Client::new(host, config);
            tokio::spawn(async move {
                client.enroll("token", &Cancel::new()).await?;
                client.participate(RunOptions::default(), &mut Drifter(number as u64), &Cancel::new(), &mut ()).await
            })
        })
        .collect();
    for device in devices {
        let outcome = device.await.expect("no panic").expect("no error");
        assert!(contributed(&outcome), "{outcome:?}");
    }
    for host in hosts {
        let written = host.store.1.lock().expect("no panic").clone();
        let sum: usize = written.values().sum();
        assert!(sum <= 3 * upload, "{sum} bytes for an upload of {upload}: {written:?}");
        let left = host.store.0.keys();
        assert!(!left.iter().any(|key| key.starts_with("round")), "nothing of the round is kept: {left:?}");
    }
}
