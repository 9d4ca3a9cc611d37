//! Shamir's secret sharing over the scalar field of Curve25519 (docs/protocol/session.md).
//!
//! Evaluation and reconstruction run in constant time in the secrets; positions are public. Holder number `x` runs from
//! 1 to `k`: one more than the holder's rank among the owner's neighbours.

use std::fmt;

use curve25519_dalek::Scalar;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::check::Check;
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
        let mut sum = Wide::default();
        for coefficient in self.coefficients.iter().rev() {
            sum.step(x, coefficient);
        }
        Secret(sum.reduced())
    }

    /// The shares of holders `1 ..= k`, in that order.
    ///
    /// # Errors
    /// C10 [`Reason::Parameters`] unless the threshold is at least 2 and at most `k`.
    pub fn shares(&self, k: u32) -> Result<Vec<Secret>, Refusal> {
        if !(2..=k as usize).contains(&self.coefficients.len()) {
            return Err(Refusal::by(Check::C10, Reason::Parameters));
        }
        Ok((1..=k).map(|x| self.share(x)).collect())
    }
}

/// A number below 2^512 in words of 32 bits, reduced modulo the group order only when it has to be: a step of Horner's
/// rule by a small holder number is then sixteen small multiplications, an eighth of a whole one. Wiped on drop.
#[derive(Default, Zeroize, ZeroizeOnDrop)]
struct Wide {
    words: [u32; 16],
    /// The number is below 2^bits.
    bits: u32,
}

impl Wide {
    /// `self * x + coefficient`, in constant time in both numbers; `x` is public.
    fn step(&mut self, x: u32, coefficient: &Scalar) {
        // Of a sum of two numbers the larger has at most one bit less.
        let bits = (self.bits + 32 - x.leading_zeros()).max(253) + 1;
        if bits > 512 {
            let reduced = Secret(self.reduced());
            *self = Self::default();
            self.load(&reduced.0);
            return self.step(x, coefficient);
        }
        self.bits = bits;
        let added = Secret(*coefficient).to_bytes();
        let added = added.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).chain(std::iter::repeat(0));
        let mut carry = 0;
        for (word, added) in self.words.iter_mut().zip(added) {
            // At most (2^32 - 1)^2 + 2 (2^32 - 1), which is below 2^64.
            let sum = u64::from(*word) * u64::from(x) + u64::from(added) + carry;
            *word = sum as u32;
            carry = sum >> 32;
        }
    }

    fn load(&mut self, scalar: &Scalar) {
        let bytes = Secret(*scalar).to_bytes();
        for (word, bytes) in self.words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        self.bits = 253;
    }

    fn reduced(&self) -> Scalar {
        let mut bytes = Zeroizing::new([0; 64]);
        for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.words) {
            *bytes = word.to_le_bytes();
        }
        Scalar::from_bytes_mod_order_wide(&bytes)
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
    /// rising holder number, from at most 64 starting points spread evenly (docs/protocol/session.md).
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
        let missing: Vec<u32> = (1..=self.inverses.len() as u32).filter(|x| present.next_if_eq(x).is_none()).collect();
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
    let mut product = 1_u128;
    let mut negative = false;
    for m in missing {
        if product >> 96 != 0 {
            *term *= Scalar::from(product);
            product = 1;
        }
        // Below 2^96 before, and a difference is below 2^32.
        product *= u128::from(m.abs_diff(x));
        negative ^= *m < x;
    }
    *term *= Scalar::from(product);
    if negative {
        *term = -*term;
    }
}

/// Ranks among `responders` points at which the tries of [`Rebuilder::rebuild_checked`] begin: at most 64, spread evenly.
pub fn subset_starts(responders: usize) -> impl Iterator<Item = usize> {
    let tries = responders.min(MAX_SUBSETS);
    (0..tries).map(move |s| s * responders / tries)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use subtle::ConstantTimeEq as _;

    use super::*;

    fn small(value: u64) -> Secret {
        Secret(Scalar::from(value))
    }

    fn equal(a: &Secret, b: &Secret) -> bool {
        a.ct_eq(b).into()
    }

    /// The points of the shares with these holder numbers.
    fn points(shares: &[Secret], holders: impl IntoIterator<Item = u32>) -> Vec<(u32, Secret)> {
        holders.into_iter().map(|x| (x, Secret(shares[x as usize - 1].0))).collect()
    }

    /// Every number of steps between two reductions, and holder numbers of every length.
    #[test]
    fn shares_are_values_of_the_polynomial() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let secret = Secret::draw(&mut rng);
        for t in (2..40).chain([300]) {
            let polynomial = Polynomial::new(&secret, t, &mut rng);
            for x in [1, 2, 3, 127, 255, 256, 65_535, 99_999, u32::MAX] {
                let field = Scalar::from(x);
                let horner = polynomial.coefficients.iter().rev().fold(Scalar::ZERO, |sum, c| sum * field + c);
                assert!(equal(&polynomial.share(x), &Secret(horner)), "t = {t}, x = {x}");
            }
        }
    }

    #[test]
    fn a_parabola_by_hand() {
        // 7 + 3 x + 2 x^2
        let shares = Polynomial::from_coefficients(&[small(7), small(3), small(2)]).shares(4).unwrap();
        for (share, expected) in shares.iter().zip([12, 21, 34, 51]) {
            assert!(equal(share, &small(expected)), "{expected}");
        }
        assert!(equal(&Rebuilder::new(4).rebuild(&points(&shares, [4, 1, 3]), 3).unwrap(), &small(7)));
    }

    #[test]
    fn any_t_shares_rebuild_and_fewer_do_not() {
        let (k, t) = (7, 4);
        let secret = small(123_456_789);
        let shares = Polynomial::new(&secret, t, &mut ChaCha20Rng::from_seed([1; 32])).shares(k).unwrap();
        let rebuilder = Rebuilder::new(k);
        for subset in 1_u32..1 << k {
            let chosen = points(&shares, (1..=k).filter(|x| subset >> (x - 1) & 1 == 1));
            let rebuilt = rebuilder.rebuild(&chosen, t);
            if chosen.len() < t as usize {
                assert_eq!(rebuilt.unwrap_err().reason, Reason::TooFewShares, "{subset:b}");
                let guess = rebuilder.rebuild(&chosen, 1).unwrap();
                assert!(!equal(&guess, &secret), "{subset:b}: fewer shares than the threshold gave the secret away");
            } else {
                assert!(equal(&rebuilt.unwrap(), &secret), "{subset:b}");
            }
        }
    }

    #[test]
    fn wrong_shares_are_caught_and_left_out() {
        let (k, t) = (20, 8);
        let secret = small(99);
        let shares = Polynomial::new(&secret, t, &mut ChaCha20Rng::from_seed([2; 32])).shares(k).unwrap();
        let rebuilder = Rebuilder::new(k);
        let damaged = |wrong: &[u32]| {
            let mut points = points(&shares, 1..=k);
            // Unequal errors: equal ones can cancel when all shares are combined.
            wrong.iter().for_each(|x| points[*x as usize - 1].1.0 += Scalar::from(u64::from(*x) * 1000 + 1));
            points
        };
        for wrong in [vec![1], vec![20], vec![3, 12], vec![5, 6, 7]] {
            let points = damaged(&wrong);
            assert!(!equal(&rebuilder.rebuild(&points, t).unwrap(), &secret), "{wrong:?} went unnoticed");
            assert!(
                equal(&rebuilder.rebuild_checked(&points, t, |s| equal(s, &secret)).unwrap(), &secret),
                "{wrong:?}"
            );
        }
        let hopeless = damaged(&[1, 4, 8, 12, 16, 20]);
        let error = rebuilder.rebuild_checked(&hopeless, t, |s| equal(s, &secret)).unwrap_err();
        assert_eq!(error.reason, Reason::SecretMismatch, "no 8 in a row are right");
    }

    #[test]
    fn holders_that_cannot_be_are_refused() {
        let rebuilder = Rebuilder::new(3);
        for (name, holders) in [("zero", [0, 1]), ("beyond k", [1, 4]), ("twice", [2, 2])] {
            let points: Vec<_> = holders.into_iter().map(|x| (x, small(1))).collect();
            assert_eq!(rebuilder.rebuild(&points, 2).unwrap_err().reason, Reason::Malformed, "{name}");
        }
        assert_eq!(rebuilder.rebuild(&[], 0).unwrap_err().reason, Reason::TooFewShares);
    }

    #[test]
    fn coefficients_are_drawn_by_rising_degree() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let polynomial = Polynomial::new(&small(5), 3, &mut rng);
        let mut again = ChaCha20Rng::from_seed([3; 32]);
        let expected = [small(5), Secret::draw(&mut again), Secret::draw(&mut again)];
        assert!(polynomial.coefficients().zip(&expected).all(|(a, b)| equal(&a, b)));
        assert_eq!(format!("{polynomial:?}"), "Polynomial(redacted)");
    }

    #[cfg(not(target_arch = "wasm32"))]
    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            /// Any responders, as long as there are t of them, give the secret back.
            #[test]
            fn what_is_shared_is_rebuilt(k in 2_u32..90, seed: [u8; 32], keep in proptest::collection::vec(any::<bool>(), 90)) {
                let t = k / 2 + 1;
                let mut rng = ChaCha20Rng::from_seed(seed);
                let secret = Secret::draw(&mut rng);
                let shares = Polynomial::new(&secret, t, &mut rng).shares(k).unwrap();
                let chosen = points(&shares, (1..=k).filter(|x| keep[*x as usize - 1]));
                match Rebuilder::new(k).rebuild(&chosen, t) {
                    Ok(rebuilt) => prop_assert!(equal(&rebuilt, &secret)),
                    Err(_) => prop_assert!(chosen.len() < t as usize),
                }
            }
        }
    }
}
