//! 09: what a device does to its update before it masks it. The code is scale-privacy's.

use std::collections::VecDeque;
use std::convert::Infallible;

use rand_chacha::ChaCha20Rng;
use rand_core::{SeedableRng as _, TryRng};
use scale_privacy::grid::{norm_bound_squared, quantize, stochastic_round, to_grid};
use serde::Deserialize;

use crate::support::{Hex, Hex32, HexBytes, Refused, list, load, words};

#[derive(Deserialize)]
struct Bound {
    grid: u32,
    dim: u64,
    bound: String,
}

#[derive(Deserialize)]
struct Rounding {
    name: String,
    grid: u32,
    z: HexBytes,
    bound: String,
    uniforms: Option<Vec<Hex<[u8; 8]>>>,
    uniform_seed: Option<Hex32>,
    out: Vec<i32>,
    norm_squared: String,
    attempts: u32,
    truncated: bool,
}

#[derive(Deserialize)]
struct Scaling {
    name: String,
    x_f32: HexBytes,
    clip: f64,
    grid: u32,
    z_f64: Option<HexBytes>,
    refused: Option<Refused>,
}

/// Gives the listed draws and panics after the last: an implementation that draws more than it should is caught.
struct Listed(VecDeque<u64>);

impl TryRng for Listed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("every draw has 64 bits")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.pop_front().expect("no more draws than listed"))
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
        unreachable!("every draw has 64 bits")
    }
}

fn doubles(bytes: &[u8]) -> Vec<f64> {
    let (doubles, rest) = bytes.as_chunks();
    assert!(rest.is_empty(), "whole doubles");
    doubles.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

known_answers! {
    fn norm_bounds() {
        for case in list::<Bound>(&load("09_quantiser"), "bounds") {
            let bound = norm_bound_squared(case.grid, case.dim).to_string();
            assert_eq!(bound, case.bound, "S = {}, d = {}", case.grid, case.dim);
        }
    }

    fn rounding() {
        for case in list::<Rounding>(&load("09_quantiser"), "rounding") {
            let (name, z) = (&case.name, doubles(&case.z.0));
            assert_eq!(norm_bound_squared(case.grid, z.len() as u64).to_string(), case.bound, "{name}");
            let rounded = match (case.uniforms, case.uniform_seed) {
                (Some(uniforms), None) => {
                    let mut listed = Listed(uniforms.iter().map(|bytes| u64::from_le_bytes(bytes.0)).collect());
                    let rounded = stochastic_round(&z, case.grid, &mut listed);
                    assert!(listed.0.is_empty(), "{name}: {} draws too few", listed.0.len());
                    rounded
                }
                (None, Some(seed)) => stochastic_round(&z, case.grid, &mut ChaCha20Rng::from_seed(seed.0)),
                _ => panic!("{name}: uniforms or a seed"),
            };
            let rounded = rounded.expect(name);
            assert_eq!(rounded.values, case.out, "{name}");
            assert_eq!((rounded.attempts, rounded.truncated), (case.attempts, case.truncated), "{name}");
            let norm: i64 = rounded.values.iter().map(|value| i64::from(*value).pow(2)).sum();
            assert_eq!(norm.to_string(), case.norm_squared, "{name}");
        }
    }

    fn scaling() {
        for case in list::<Scaling>(&load("09_quantiser"), "scaling") {
            let x: Vec<f32> = words(&case.x_f32.0).into_iter().map(f32::from_bits).collect();
            let scaled = to_grid(&x, case.clip, case.grid);
            match (case.z_f64, case.refused) {
                (Some(z), None) => {
                    assert_eq!(bits(&scaled.expect(&case.name)), bits(&doubles(&z.0)), "{}", case.name);
                }
                (None, Some(refused)) => {
                    assert_eq!(scaled.expect_err(&case.name).code(), refused.reason, "{}", case.name);
                    let mut nothing = Listed(VecDeque::new());
                    assert_eq!(
                        quantize(&x, case.clip, case.grid, &mut nothing).expect_err(&case.name).code(),
                        refused.reason,
                        "{}: before any draw",
                        case.name
                    );
                }
                _ => panic!("{}: neither good nor bad", case.name),
            }
        }
    }
}
