//! Fewer shares than the threshold say nothing about the secret.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeSet;

use scale_secagg::keys::Secret;
use scale_secagg::shamir::{Polynomial, Rebuilder};

/// A toy field, small enough for every polynomial there is.
const P: u64 = 11;

fn secret(number: u64) -> Secret {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Secret::from_canonical(&bytes).unwrap()
}

fn number(share: &Secret) -> u64 {
    let bytes = share.to_bytes();
    let (low, high) = bytes.split_first_chunk::<8>().unwrap();
    assert!(high.iter().all(|byte| *byte == 0), "no reduction modulo the group order has come in");
    u64::from_le_bytes(*low)
}

/// The shares of holders `1 ..= k` in the toy field, by the crate's own code: on numbers this far below the group order
/// it computes in the integers, and integers modulo P are the toy field.
fn toy_shares(coefficients: &[u64], k: u32) -> Vec<u64> {
    let coefficients: Vec<Secret> = coefficients.iter().map(|c| secret(*c)).collect();
    let shares = Polynomial::from_coefficients(&coefficients).shares(k).unwrap();
    shares.iter().map(|share| number(share) % P).collect()
}

/// The subsets of `0 .. k` with `size` members.
fn subsets(k: usize, size: usize) -> impl Iterator<Item = Vec<usize>> {
    let all = (0_u32..1 << k).filter(move |bits| bits.count_ones() as usize == size);
    all.map(move |bits| (0..k).filter(|i| bits >> i & 1 == 1).collect())
}

/// Every secret, every polynomial, every set of holders: what t - 1 of them see is each possible view exactly once,
/// whatever the secret; what t of them see belongs to one polynomial only.
#[test]
fn all_but_one_share_are_independent_of_the_secret() {
    for (k, t) in [(3, 2), (5, 3), (6, 4)] {
        let views_per_secret = P.pow(t - 1) as usize;
        let dealt: Vec<(u64, Vec<u64>)> = (0..P.pow(t))
            .map(|code| {
                let coefficients: Vec<u64> = (0..t).map(|degree| code / P.pow(degree) % P).collect();
                (coefficients[0], toy_shares(&coefficients, k))
            })
            .collect();
        let seen = |shares: &[u64], holders: &[usize]| holders.iter().map(|x| shares[*x]).collect::<Vec<u64>>();
        for holders in subsets(k as usize, t as usize - 1) {
            for secret in 0..P {
                let of_secret = dealt.iter().filter(|(s, _)| *s == secret);
                let views: BTreeSet<_> = of_secret.map(|(_, shares)| seen(shares, &holders)).collect();
                assert_eq!(views.len(), views_per_secret, "k = {k}, t = {t}, holders {holders:?}, secret {secret}");
            }
        }
        for holders in subsets(k as usize, t as usize) {
            let views: BTreeSet<_> = dealt.iter().map(|(_, shares)| seen(shares, &holders)).collect();
            assert_eq!(views.len(), dealt.len(), "k = {k}, t = {t}, holders {holders:?}");
        }
    }
}

/// In the field itself: with t - 1 shares fixed, the last share decides alone, and every secret has its one last share.
#[test]
fn any_secret_fits_to_all_but_one_share() {
    let (k, t) = (7_u32, 4_u32);
    let shares = Polynomial::from_coefficients(&[1_000, 31, 41, 59].map(secret)).shares(k).unwrap();
    let rebuilder = Rebuilder::new(k);
    for holders in subsets(k as usize, t as usize) {
        let (last, known) = holders.split_last().unwrap();
        let rebuilt = |last_share: u64| {
            let mut points: Vec<(u32, Secret)> =
                known.iter().map(|x| (*x as u32 + 1, secret(number(&shares[*x])))).collect();
            points.push((*last as u32 + 1, secret(last_share)));
            *rebuilder.rebuild(&points, t).unwrap().to_bytes()
        };
        let right = number(&shares[*last]);
        assert_eq!(rebuilt(right), *secret(1_000).to_bytes());
        let all: BTreeSet<_> = (right.saturating_sub(50)..right + 50).map(rebuilt).collect();
        assert_eq!(all.len() as u64, right + 50 - right.saturating_sub(50), "{holders:?}: no two lead to one secret");
    }
}
