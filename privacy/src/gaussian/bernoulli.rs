//! Coins with probability n/d and exp(-n/d), in integer arithmetic (arXiv 2004.00010, Algorithm 1).

use rand_core::CryptoRng;

/// What one word says about a uniform number U against n/d.
#[derive(Debug, PartialEq, Eq)]
enum Verdict<N> {
    /// U is on this side, whatever the digits after this word.
    Sure(bool),
    /// The next digits decide: U' against this numerator over the same denominator.
    Next(N),
}

/// Compares U = (word + U') / 2^bits with n/d: U < n/d exactly when U' < (n 2^bits - word d) / d. No division.
///
/// Needs `n <= d` and `d << bits` within 64 bits.
#[inline(always)]
fn compare(word: u32, bits: u32, n: u64, d: u64) -> Verdict<u64> {
    let (have, need) = (n << bits, u64::from(word) * d);
    if have <= need {
        return Verdict::Sure(false);
    }
    let left = have - need;
    if left >= d { Verdict::Sure(true) } else { Verdict::Next(left) }
}

/// [`compare`] for a denominator with `d << bits` within 128 bits.
#[inline(always)]
fn compare_wide(word: u32, bits: u32, n: u128, d: u128) -> Verdict<u128> {
    let (have, need) = (n << bits, u128::from(word) * d);
    if have <= need {
        return Verdict::Sure(false);
    }
    let left = have - need;
    if left >= d { Verdict::Sure(true) } else { Verdict::Next(left) }
}

/// True with probability n/d. One word, except once in 2^32.
#[inline(always)]
fn coin(mut n: u64, d: u64, rng: &mut impl CryptoRng) -> bool {
    loop {
        match compare(rng.next_u32(), 32, n, d) {
            Verdict::Sure(answer) => return answer,
            Verdict::Next(left) => n = left,
        }
    }
}

/// True with probability n/d, wide.
#[inline(always)]
fn wide_coin(mut n: u128, d: u128, rng: &mut impl CryptoRng) -> bool {
    loop {
        match compare_wide(rng.next_u32(), 32, n, d) {
            Verdict::Sure(answer) => return answer,
            Verdict::Next(left) => n = left,
        }
    }
}

/// Longest run of successes that a working stream gives: the chance of this one is below 1 in 1024!, and every
/// denominator times it still fits.
const RUN_MAX: u32 = 1 << 10;

/// True with probability exp(-1).
pub(super) fn exp_minus_one(rng: &mut impl CryptoRng) -> bool {
    // The coin of k = 1 is certain.
    odd_run(2, |k| coin(1, k.into(), rng))
}

/// True with probability exp(-n/d); `n <= d`, `d` up to 2^21.
pub(super) fn exp_minus_ratio(n: u32, d: u32, rng: &mut impl CryptoRng) -> bool {
    odd_run(1, |k| coin(n.into(), u64::from(k) * u64::from(d), rng))
}

/// True with probability exp(-n/d); `n <= d`, `d` up to 2^84.
pub(super) fn exp_minus_wide_ratio(n: u128, d: u128, rng: &mut impl CryptoRng) -> bool {
    odd_run(1, |k| wide_coin(n, u128::from(k) * d, rng))
}

/// Throws coins `first`, `first` + 1, … until one fails; true if that one is odd.
#[inline(always)]
fn odd_run(first: u32, mut coin: impl FnMut(u32) -> bool) -> bool {
    let mut k = first;
    while coin(k) {
        k += 1;
        assert!(k < RUN_MAX, "{}", super::BROKEN_STREAM);
    }
    k % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over all words: certain answers plus undecided remainders make up n/d to the last bit, and no remainder is
    /// larger than a probability. So the coin is exact, whatever the number of words it needs.
    #[test]
    fn a_comparison_loses_nothing() {
        for bits in [1, 3, 8] {
            for d in 1..=300u64 {
                for n in 0..=d {
                    let mut weight = 0;
                    for word in 0..1u32 << bits {
                        let narrow = compare(word, bits, n, d);
                        match narrow {
                            Verdict::Sure(answer) => weight += u64::from(answer) * d,
                            Verdict::Next(left) => {
                                assert!(left < d);
                                weight += left;
                            }
                        }
                        let wide = compare_wide(word, bits, n.into(), d.into());
                        match (narrow, wide) {
                            (Verdict::Sure(a), Verdict::Sure(b)) => assert_eq!(a, b),
                            (Verdict::Next(a), Verdict::Next(b)) => assert_eq!(u128::from(a), b),
                            other => panic!("{other:?}"),
                        }
                    }
                    assert_eq!(weight, n << bits, "n = {n}, d = {d}, {bits} bits");
                }
            }
        }
    }

    #[test]
    fn the_largest_denominators_do_not_overflow() {
        let d = (1u64 << 32) - 1;
        assert_eq!(compare(u32::MAX, 32, d, d), Verdict::Sure(true));
        assert_eq!(compare(u32::MAX, 32, d - 1, d), Verdict::Sure(false));
        assert_eq!(compare(u32::MAX - 1, 32, d - 1, d), Verdict::Next(d - 1));
        let d = (1u128 << 96) - 1;
        assert_eq!(compare_wide(u32::MAX, 32, d, d), Verdict::Sure(true));
        assert_eq!(compare_wide(u32::MAX, 32, d - 1, d), Verdict::Next(d - (1 << 32)));
    }
}
