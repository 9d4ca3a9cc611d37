//! Shamir's secret sharing over the scalar field of Curve25519 (spec section 7).
//!
//! Evaluation and reconstruction run in constant time in the secrets; positions are public. Holder number `x` runs from
//! 1 to `k`: one more than the holder's rank among the owner's neighbours.

use std::fmt;

use curve25519_dalek::Scalar;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Reason, Refusal};
use crate::keys::Secret;

/// Subsets of the shares that are tried when all of them together give the wrong secret.
const MAX_SUBSETS: usize = 64;

/// A secret and the random coefficients that hide it. Wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Polynomial {
    coefficients: Vec<Scalar>,
}

impl Polynomial {
    /// Hides `secret` so that any `t` shares give it back and fewer say nothing about it.
    ///
    /// Draws `t - 1` coefficients of 64 bytes each, degree 1 first.
    pub fn new(secret: &Secret, t: u32, rng: &mut impl CryptoRng) -> Self {
        // Reserved in full: growing would leave copies of coefficients behind.
        let mut coefficients = Vec::with_capacity(t.max(1) as usize);
        coefficients.push(secret.0);
        coefficients.extend((1..t).map(|_| Secret::draw(rng).0));
        Self { coefficients }
    }

    /// The polynomial with these coefficients, the secret first.
    pub fn from_coefficients(coefficients: &[Secret]) -> Self {
        Self { coefficients: coefficients.iter().map(|coefficient| coefficient.0).collect() }
    }

    /// The coefficients, the secret first, for a sealed snapshot.
    pub fn coefficients(&self) -> impl ExactSizeIterator<Item = Secret> + '_ {
        self.coefficients.iter().map(|coefficient| Secret(*coefficient))
    }

    /// The share of holder number `x`. Holder 0 would get the secret itself: callers count from 1.
    pub fn share(&self, x: u32) -> Secret {
        debug_assert!(x > 0, "holders are numbered from 1");
        let x = Scalar::from(x);
        Secret(self.coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * x + coefficient))
    }

    /// The shares of holders `1 ..= k`, in that order.
    ///
    /// # Errors
    /// C10 [`Reason::Parameters`] unless the threshold is at least 2 and at most `k`.
    pub fn shares(&self, k: u32) -> Result<Vec<Secret>, Refusal> {
        if !(2..=k as usize).contains(&self.coefficients.len()) {
            return Err(Refusal::by("C10", Reason::Parameters));
        }
        Ok((1..=k).map(|x| self.share(x)).collect())
    }
}

impl fmt::Debug for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Polynomial(redacted)")
    }
}

/// Rebuilds secrets that were shared among `k` holders. Made once per session: holds what depends on `k` alone.
#[derive(Clone, Debug)]
pub struct Rebuilder {
    /// `(-1)^(x-1) C(k, x)` for x = 1 ..= k.
    signed_binomials: Vec<Scalar>,
    /// `1 / x` for x = 1 ..= k.
    inverses: Vec<Scalar>,
}

impl Rebuilder {
    /// For secrets with `k` holders each.
    pub fn new(k: u32) -> Self {
        let mut inverses: Vec<_> = (1..=k).map(Scalar::from).collect();
        if !inverses.is_empty() {
            Scalar::invert_batch_alloc(&mut inverses);
        }
        let mut signed = -Scalar::ONE;
        let signed_binomials = (1..=k)
            .zip(&inverses)
            .map(|(x, inverse)| {
                // C(k, x) = C(k, x - 1) (k - x + 1) / x, and the sign turns at every step.
                signed = -signed * Scalar::from(k - x + 1) * inverse;
                signed
            })
            .collect();
        Self { signed_binomials, inverses }
    }

    /// The secret from all the given points `(holder number, share)`, at least `t` of them, in any order.
    ///
    /// # Errors
    /// [`Reason::TooFewShares`]; [`Reason::Malformed`] if a holder number is outside `1 ..= k` or stands there twice.
    pub fn rebuild(&self, points: &[(u32, Secret)], t: u32) -> Result<Secret, Refusal> {
        let points = self.sorted(points, t)?;
        Ok(self.combine(&points))
    }

    /// The secret that passes `good`: from all points, or else from `t` points that follow each other cyclically by
    /// rising holder number, from at most 64 starting points spread evenly (annex section 6).
    ///
    /// # Errors
    /// Those of [`Self::rebuild`], and [`Reason::SecretMismatch`] when none passes.
    pub fn rebuild_checked(
        &self,
        points: &[(u32, Secret)],
        t: u32,
        mut good: impl FnMut(&Secret) -> bool,
    ) -> Result<Secret, Refusal> {
        let points = self.sorted(points, t)?;
        let secret = self.combine(&points);
        if good(&secret) {
            return Ok(secret);
        }
        for start in subset_starts(points.len()) {
            let mut subset: Vec<_> = points.iter().cycle().skip(start).take(t as usize).copied().collect();
            subset.sort_unstable_by_key(|(x, _)| *x);
            let secret = self.combine(&subset);
            if good(&secret) {
                return Ok(secret);
            }
        }
        Err(Reason::SecretMismatch.into())
    }

    fn sorted<'a>(&self, points: &'a [(u32, Secret)], t: u32) -> Result<Vec<(u32, &'a Secret)>, Refusal> {
        if points.len() < t as usize || points.is_empty() {
            return Err(Reason::TooFewShares.into());
        }
        let mut points: Vec<_> = points.iter().map(|(x, share)| (*x, share)).collect();
        points.sort_unstable_by_key(|(x, _)| *x);
        let in_range = points[0].0 >= 1 && points[points.len() - 1].0 as usize <= self.inverses.len();
        if !in_range || points.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Reason::Malformed.into());
        }
        Ok(points)
    }

    /// Lagrange at 0, from the binomials over all holders and a correction for each missing one:
    /// `lambda_j = (-1)^(j-1) C(k, j) prod_{m missing} (m - j) / m`. `points` rise.
    fn combine(&self, points: &[(u32, &Secret)]) -> Secret {
        let mut present = points.iter().map(|(x, _)| *x).peekable();
        let missing: Vec<u32> =
            (1..=self.inverses.len() as u32).filter(|x| present.next_if_eq(x).is_none()).collect();
        let mut sum = Secret(Scalar::ZERO);
        for (x, share) in points {
            let mut term = Secret(self.signed_binomials[*x as usize - 1] * share.0);
            multiply_differences(&mut term.0, *x, &missing);
            sum.0 += term.0;
        }
        sum.0 *= missing.iter().map(|m| self.inverses[*m as usize - 1]).product::<Scalar>();
        sum
    }
}

/// `term *= prod (m - x)`. The differences are small and public: several fit into one multiplication.
fn multiply_differences(term: &mut Scalar, x: u32, missing: &[u32]) {
    let mut product = 1_u64;
    let mut negative = false;
    for m in missing {
        let difference = u64::from(m.abs_diff(x));
        negative ^= *m < x;
        product = product.checked_mul(difference).unwrap_or_else(|| {
            *term *= Scalar::from(product);
            difference
        });
    }
    *term *= Scalar::from(product);
    if negative {
        *term = -*term;
    }
}

/// At most 64 starting points, spread evenly over `responders`.
fn subset_starts(responders: usize) -> impl Iterator<Item = usize> {
    let tries = responders.min(MAX_SUBSETS);
    (0..tries).map(move |s| s * responders / tries)
}
