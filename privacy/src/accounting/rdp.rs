//! Rényi differential privacy (Mironov 2017, arXiv 1702.07476) at fixed integer orders, where every formula is a finite
//! sum of positive terms.

use std::fmt;
use std::marker::PhantomData;

use super::zcdp::Rho;
use super::{AccountingError, ExampleLevel, Unit, check_delta, outward};

/// Number of orders that are kept.
pub const ORDER_COUNT: usize = 260;

/// The orders: 2 to 256, 320, 384, 512, 768 and 1024.
pub const ORDERS: [u32; ORDER_COUNT] = {
    let mut orders = [0; ORDER_COUNT];
    let mut index = 0;
    while index < 255 {
        orders[index] = index as u32 + 2;
        index += 1;
    }
    let far = [320, 384, 512, 768, 1024];
    while index < ORDER_COUNT {
        orders[index] = far[index - 255];
        index += 1;
    }
    orders
};

/// The Rényi divergence bound at each of [`ORDERS`]; infinity where there is none.
#[derive(Clone, PartialEq)]
pub struct Curve<U: Unit> {
    values: Vec<f64>,
    unit: PhantomData<U>,
}

/// An epsilon and the order that gave it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Converted {
    /// The least epsilon over all orders.
    pub epsilon: f64,
    /// The order of that least one.
    pub order: u32,
}

impl<U: Unit> Curve<U> {
    /// No cost.
    pub fn zero() -> Self {
        Self::from_fn(|_| 0.0)
    }

    /// One release with Gaussian noise of `noise_multiplier` times the sensitivity: α / 2z².
    ///
    /// # Errors
    /// [`AccountingError::NoiseMultiplier`].
    pub fn gaussian(noise_multiplier: f64) -> Result<Self, AccountingError> {
        let z = check_noise_multiplier(noise_multiplier)?;
        Ok(Self::from_fn(|order| f64::from(order) / (2.0 * z * z)))
    }

    /// Both costs together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (value, more) in self.values.iter_mut().zip(&other.values) {
            *value += more;
        }
        self
    }

    /// This cost `times` over.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        for value in &mut self.values {
            // Nothing done costs nothing, also where once has no bound.
            *value = if times == 0 { 0.0 } else { *value * f64::from(times) };
        }
        self
    }

    /// The bound at `order`; `None` if that is not one of [`ORDERS`].
    pub fn at(&self, order: u32) -> Option<f64> {
        ORDERS.binary_search(&order).ok().map(|index| self.values[index])
    }

    /// The least epsilon at `delta`: min over orders of `RDP + ln(1 - 1/α) - ln(delta α) / (α - 1)`, floor 0
    /// (arXiv 2004.00010, Proposition 12).
    ///
    /// # Errors
    /// [`AccountingError::Delta`], and [`AccountingError::Cost`] if no order has a bound.
    pub fn epsilon(&self, delta: f64) -> Result<Converted, AccountingError> {
        check_delta(delta)?;
        let all = ORDERS.iter().zip(&self.values).map(|(&order, &value)| (order, value - gain(order, delta)));
        let (order, epsilon) = all.fold((0, f64::INFINITY), |best, next| if next.1 < best.1 { next } else { best });
        if epsilon.is_finite() {
            Ok(Converted { epsilon: outward(epsilon.max(0.0)), order })
        } else {
            Err(AccountingError::Cost(epsilon))
        }
    }

    fn from_fn(value: impl Fn(u32) -> f64) -> Self {
        Self { values: ORDERS.iter().map(|&order| value(order)).collect(), unit: PhantomData }
    }
}

impl<U: Unit> From<Rho<U>> for Curve<U> {
    /// `rho`-zCDP is rho α at every order, by definition.
    fn from(rho: Rho<U>) -> Self {
        Self::from_fn(|order| rho.to_f64() * f64::from(order))
    }
}

impl<U: Unit> fmt::Debug for Curve<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Curve<{}>(order 2: {}, order 1024: {})", U::NAME, self.values[0], self.values[ORDER_COUNT - 1])
    }
}

impl Curve<ExampleLevel> {
    /// One step of the Poisson-sampled Gaussian: every example joins with probability `rate` by itself, and the noise
    /// is `noise_multiplier` times the clip norm (Mironov, Talwar and Zhang 2019, arXiv 1908.10530, section 3.3).
    ///
    /// Only for examples: who takes part in a round is neither secret nor a Poisson draw, so people get no such gain.
    ///
    /// # Errors
    /// [`AccountingError::Rate`], [`AccountingError::NoiseMultiplier`].
    pub fn sampled_gaussian(rate: f64, noise_multiplier: f64) -> Result<Self, AccountingError> {
        let z = check_noise_multiplier(noise_multiplier)?;
        if !(0.0..=1.0).contains(&rate) {
            return Err(AccountingError::Rate(rate));
        }
        if rate == 0.0 {
            return Ok(Self::zero());
        }
        if rate == 1.0 || z == 0.0 {
            return Self::gaussian(z);
        }
        let binomials = LogFactorials::up_to(ORDERS[ORDER_COUNT - 1]);
        Ok(Self::from_fn(|order| sampled_at(order, rate, z, &binomials)))
    }
}

/// ln(A) / (α - 1) for A = sum over k of C(α, k) q^k (1-q)^(α-k) e^((k²-k)/2z²), where 0 < q < 1 and z > 0.
///
/// The weights sum to 1, so A - 1 is the sum with e^x - 1 for e^x: all terms stay positive, those of k = 0 and 1 vanish,
/// and a tiny cost keeps all its digits.
fn sampled_at(order: u32, rate: f64, z: f64, factorials: &LogFactorials) -> f64 {
    let (log_rate, log_rest) = (rate.ln(), (-rate).ln_1p());
    let terms = (2..=order).map(|k| {
        let (of, k_float) = (f64::from(order), f64::from(k));
        let exponent = k_float * (k_float - 1.0) / (2.0 * z * z);
        factorials.binomial(order, k) + k_float * log_rate + (of - k_float) * log_rest + log_expm1(exponent)
    });
    // Streaming log-sum-exp: the largest term so far, and the sum relative to it.
    let (largest, sum) = terms.fold((f64::NEG_INFINITY, 0.0f64), |(largest, sum), term| {
        if term <= largest {
            (largest, sum + (term - largest).exp())
        } else {
            (term, sum * (largest - term).exp() + 1.0)
        }
    });
    let log_excess = largest + sum.ln();
    // ln(1 + e^y), without overflow.
    let log_a = if log_excess > 0.0 { log_excess + (-log_excess).exp().ln_1p() } else { log_excess.exp().ln_1p() };
    log_a / f64::from(order - 1)
}

/// ln(e^x - 1) for x > 0.
fn log_expm1(x: f64) -> f64 {
    if x > 1.0 { x + (-(-x).exp()).ln_1p() } else { x.exp_m1().ln() }
}

/// What the conversion takes off the bound at `order`: ln(delta α) / (α - 1) - ln(1 - 1/α).
pub(crate) fn gain(order: u32, delta: f64) -> f64 {
    let order = f64::from(order);
    (delta.ln() + order.ln()) / (order - 1.0) - (-1.0 / order).ln_1p()
}

pub(super) fn check_noise_multiplier(z: f64) -> Result<f64, AccountingError> {
    if z >= 0.0 && z.is_finite() { Ok(z) } else { Err(AccountingError::NoiseMultiplier(z)) }
}

/// ln(n!) for n up to a bound, each sum compensated (Kahan) so that a thousand terms lose nothing.
struct LogFactorials(Vec<f64>);

impl LogFactorials {
    fn up_to(largest: u32) -> Self {
        let (mut sum, mut lost) = (0.0f64, 0.0f64);
        let mut table = vec![0.0];
        for n in 1..=largest {
            let term = f64::from(n).ln() - lost;
            let next = sum + term;
            lost = (next - sum) - term;
            sum = next;
            table.push(sum);
        }
        Self(table)
    }

    /// ln C(n, k).
    fn binomial(&self, n: u32, k: u32) -> f64 {
        self.0[n as usize] - self.0[k as usize] - self.0[(n - k) as usize]
    }
}
