//! Server optimizers over the mean update Δ, as pseudo-gradient (Reddi et al. 2021, algorithm 2; no bias correction, as
//! there). `x` are the weights, `η` the server's learning rate:
//!
//! | | momentum | scale | step |
//! |---|---|---|---|
//! | FedAvg | | | `x += η Δ` |
//! | FedAvgM | `m = β m + Δ` | | `x += η m` |
//! | FedAdam | `m = β1 m + (1 - β1) Δ` | `v = β2 v + (1 - β2) Δ²` | `x += η m / (√v + τ)` |
//! | FedYogi | as FedAdam | `v -= (1 - β2) Δ² sign(v - Δ²)` | as FedAdam |
//!
//! `m` starts at 0 and `v` at `τ²`.

use scale_proto::task::Aggregation;

use super::Error;

/// An optimizer with its state. The state belongs to one model version: it is stored beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    rule: Aggregation,
    momentum: Vec<f32>,
    scale: Vec<f32>,
}

impl Optimizer {
    /// A fresh one for `len` weights.
    pub fn new(rule: Aggregation, len: usize) -> Self {
        let (momentum, scale) = match rule {
            Aggregation::FedAvg { .. } => (0, None),
            Aggregation::FedAvgM { .. } => (len, None),
            Aggregation::FedAdam { tau, .. } | Aggregation::FedYogi { tau, .. } => (len, Some(tau * tau)),
        };
        Self { rule, momentum: vec![0.0; momentum], scale: scale.map_or_else(Vec::new, |start| vec![start; len]) }
    }

    /// Applies the mean update to the weights.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when a weight or the state overflows: both are then to be thrown away.
    /// [`Error::State`] when `weights` and `mean` do not have the optimizer's length.
    pub fn step(&mut self, weights: &mut [f32], mean: &[f32]) -> Result<(), Error> {
        let fits = |state: &[f32]| state.is_empty() || state.len() == weights.len();
        if mean.len() != weights.len() || !fits(&self.momentum) || !fits(&self.scale) {
            return Err(Error::State("the lengths differ"));
        }
        match self.rule {
            Aggregation::FedAvg { learning_rate } => {
                weights.iter_mut().zip(mean).for_each(|(weight, delta)| *weight += learning_rate * delta);
            }
            Aggregation::FedAvgM { learning_rate, momentum } => {
                for ((weight, delta), m) in weights.iter_mut().zip(mean).zip(&mut self.momentum) {
                    *m = momentum * *m + delta;
                    *weight += learning_rate * *m;
                }
            }
            Aggregation::FedAdam { learning_rate, beta1, beta2, tau } => {
                let adam = |v: f32, square: f32| beta2 * v + (1.0 - beta2) * square;
                self.adaptive(weights, mean, learning_rate, beta1, tau, adam);
            }
            Aggregation::FedYogi { learning_rate, beta1, beta2, tau } => {
                // f32::signum is 1 at +0, the paper's sign is 0 there; the branch makes no step then, as the paper.
                let sign = |x: f32| if x == 0.0 { 0.0 } else { x.signum() };
                let yogi = |v: f32, square: f32| v - (1.0 - beta2) * square * sign(v - square);
                self.adaptive(weights, mean, learning_rate, beta1, tau, yogi);
            }
        }
        let broken = |values: &[f32]| values.iter().position(|value| !value.is_finite());
        match broken(weights).or_else(|| broken(&self.momentum)).or_else(|| broken(&self.scale)) {
            Some(entry) => Err(Error::NotFinite { entry }),
            None => Ok(()),
        }
    }

    fn adaptive(
        &mut self,
        weights: &mut [f32],
        mean: &[f32],
        learning_rate: f32,
        beta1: f32,
        tau: f32,
        rescale: impl Fn(f32, f32) -> f32,
    ) {
        let state = self.momentum.iter_mut().zip(&mut self.scale);
        for ((weight, &delta), (m, v)) in weights.iter_mut().zip(mean).zip(state) {
            *m = beta1 * *m + (1.0 - beta1) * delta;
            *v = rescale(*v, delta * delta);
            *weight += learning_rate * *m / (v.sqrt() + tau);
        }
    }

    /// The state as bytes: magic, kind, both lengths, then both vectors as little-endian f32. Empty for FedAvg, which
    /// has none.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.momentum.is_empty() {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(HEADER + 4 * (self.momentum.len() + self.scale.len()));
        out.extend_from_slice(MAGIC);
        out.push(kind(&self.rule));
        out.extend_from_slice(&(self.momentum.len() as u64).to_le_bytes());
        out.extend_from_slice(&(self.scale.len() as u64).to_le_bytes());
        self.momentum.iter().chain(&self.scale).for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        out
    }

    /// Reads [`Optimizer::to_bytes`]. Empty bytes, and those of another kind of optimizer (the operator changed it), give
    /// a fresh one.
    ///
    /// # Errors
    /// [`Error::State`] when the bytes are damaged or for another number of weights.
    pub fn from_bytes(rule: Aggregation, len: usize, bytes: &[u8]) -> Result<Self, Error> {
        let fresh = Self::new(rule, len);
        if bytes.is_empty() {
            return Ok(fresh);
        }
        let body = bytes.strip_prefix(MAGIC).ok_or(Error::State("it does not begin as it should"))?;
        let (&[stored], body) = body.split_first_chunk::<1>().ok_or(Error::State("it is cut short"))?;
        if stored != kind(&rule) {
            return Ok(fresh);
        }
        let (momentum, body) = body.split_first_chunk().ok_or(Error::State("it is cut short"))?;
        let (scale, body) = body.split_first_chunk().ok_or(Error::State("it is cut short"))?;
        let lengths = [*momentum, *scale].map(u64::from_le_bytes);
        if lengths != [fresh.momentum.len() as u64, fresh.scale.len() as u64] {
            return Err(Error::State("it is for another number of weights"));
        }
        let (values, rest) = body.as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
        if !rest.is_empty() || values.len() != fresh.momentum.len() + fresh.scale.len() {
            return Err(Error::State("it is cut short or too long"));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::State("a value is not finite"));
        }
        let (momentum, scale) = values.split_at(fresh.momentum.len());
        Ok(Self { rule, momentum: momentum.to_vec(), scale: scale.to_vec() })
    }
}

const MAGIC: &[u8] = b"FLSA1/opt";
const HEADER: usize = MAGIC.len() + 1 + 8 + 8;

const fn kind(rule: &Aggregation) -> u8 {
    match rule {
        Aggregation::FedAvg { .. } => 0,
        Aggregation::FedAvgM { .. } => 1,
        Aggregation::FedAdam { .. } => 2,
        Aggregation::FedYogi { .. } => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADAM: Aggregation = Aggregation::FedAdam { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, tau: 0.001 };
    const YOGI: Aggregation = Aggregation::FedYogi { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, tau: 0.001 };

    /// Two steps with Δ = 0.5 and then Δ = -0.25 from x = 1, computed by hand (in 64 bits).
    #[test]
    fn two_steps_by_hand() {
        for (name, rule, first, second) in [
            ("FedAvg", Aggregation::FedAvg { learning_rate: 2.0 }, 2.0, 1.5),
            // m: 0.5, then 0.9 × 0.5 - 0.25 = 0.2.
            ("FedAvgM", Aggregation::FedAvgM { learning_rate: 1.0, momentum: 0.9 }, 1.5, 1.7),
            // m: 0.05, 0.02. v: 0.99e-6 + 0.01 × 0.25 = 0.00250099, then 0.00247598 + 0.000625 = 0.0031009801.
            // x: 1 + 0.1 × 0.05 / (0.0500099 + 0.001), then + 0.1 × 0.02 / (0.0556864 + 0.001).
            ("FedAdam", ADAM, 1.098_020_2, 1.133_302),
            // v: 1e-6 + 0.01 × 0.25 = 0.002501, then 0.002501 < 0.0625, so + 0.01 × 0.0625 = 0.003126.
            // x: 1 + 0.1 × 0.05 / (0.05001 + 0.001), then + 0.1 × 0.02 / (0.0559106 + 0.001).
            ("FedYogi", YOGI, 1.098_02, 1.133_162_8),
        ] {
            let mut optimizer = Optimizer::new(rule, 1);
            let mut weights = [1.0];
            optimizer.step(&mut weights, &[0.5]).expect("finite");
            assert!((weights[0] - first).abs() < 2e-6, "{name}, first step: {} is not {first}", weights[0]);
            // The state survives its stored form.
            let bytes = optimizer.to_bytes();
            let mut optimizer = Optimizer::from_bytes(rule, 1, &bytes).expect("own bytes");
            optimizer.step(&mut weights, &[-0.25]).expect("finite");
            assert!((weights[0] - second).abs() < 2e-6, "{name}, second step: {} is not {second}", weights[0]);
        }
    }

    #[test]
    fn yogi_shrinks_slowly() {
        // v = 1e-6 > Δ² = 1e-8: v falls by 0.01 × 1e-8 and not by a share of itself.
        let mut optimizer = Optimizer::new(YOGI, 1);
        optimizer.step(&mut [0.0], &[1e-4]).expect("finite");
        assert!((optimizer.scale[0] - (1e-6 - 1e-10)).abs() < 1e-12);
    }

    #[test]
    fn overflow_is_an_error() {
        let mut optimizer = Optimizer::new(Aggregation::FedAvg { learning_rate: f32::MAX }, 2);
        let result = optimizer.step(&mut [1.0, f32::MAX], &[0.0, 1.0]);
        assert_eq!(result, Err(Error::NotFinite { entry: 1 }));
    }

    #[test]
    fn stored_state_is_checked() {
        let bytes = Optimizer::new(ADAM, 2).to_bytes();
        let read = |rule, len, bytes: &[u8]| Optimizer::from_bytes(rule, len, bytes).map_err(|error| error.code());
        assert_eq!(read(ADAM, 2, &bytes), Ok(Optimizer::new(ADAM, 2)));
        assert_eq!(read(ADAM, 2, &[]), Ok(Optimizer::new(ADAM, 2)), "no state is a fresh state");
        assert_eq!(read(YOGI, 2, &bytes), Ok(Optimizer::new(YOGI, 2)), "another optimizer starts afresh");
        assert_eq!(read(ADAM, 3, &bytes), Err("optimizer_state"), "another model");
        assert_eq!(read(ADAM, 2, &bytes[..bytes.len() - 1]), Err("optimizer_state"), "cut short");
        assert_eq!(read(ADAM, 2, &[&bytes[..], &[0]].concat()), Err("optimizer_state"), "too long");
        let mut broken = bytes.clone();
        broken[HEADER..HEADER + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(read(ADAM, 2, &broken), Err("optimizer_state"), "not finite");
        for cut in 1..HEADER {
            assert!(read(ADAM, 2, &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
