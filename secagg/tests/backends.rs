//! Whole rounds give the same bytes whatever computes them: every implementation of the mask generator that this machine
//! has, any number of threads, pieces of any size.
//!
//! The library chooses the fastest generator by itself. So the test masks and unmasks each round again from the devices'
//! secrets, with each implementation in turn, and compares with what devices and server said.
#![cfg(not(target_arch = "wasm32"))]

#[allow(dead_code, reason = "each test program uses its part")]
mod common;

use common::{Cohort, Device, opens, plain_sum, round_config};
use scale_secagg::config::{RoundConfig, VectorSpec};
use scale_secagg::keys::{self, MaskKey, Sign};
use scale_secagg::pack::pack;
use scale_secagg::prg::{self, Backend};
use scale_secagg::roster::Sid;
use scale_secagg::server::{Accumulator, Closed, Receipt, Session, SummedUpdate};

/// Lengths around the generator's groups of 256 and chunks of 16 Ki entries, and widths that leave a part of a byte.
const SHAPES: [(&[u64], u8); 4] =
    [(&[1, 7], 21), (&[256, 255, 257], 32), (&[16 * 1024 + 1, 3], 23), (&[40_000, 16 * 1024, 511], 19)];

fn backends() -> impl Iterator<Item = Backend> {
    Backend::ALL.into_iter().filter(|backend| backend.is_available())
}

fn config_of((lens, wire_bits): (&[u64], u8)) -> RoundConfig {
    let vectors = lens.iter().enumerate().map(|(i, len)| VectorSpec { name: format!("v{i}"), len: *len });
    let grid = (4.0 * (lens.iter().sum::<u64>() as f64).sqrt()).ceil() as u32;
    RoundConfig { vectors: vectors.collect(), grid, ..round_config(10, 12, wire_bits) }
}

/// The session's id is part of every mask.
struct Played {
    cohort: Cohort,
    sid: Sid,
    uploads: Vec<Option<Vec<u8>>>,
    statements: Vec<Vec<u8>>,
    reveals: Vec<Vec<u8>>,
    shares: Vec<Vec<u8>>,
    advertised: Vec<Vec<u8>>,
}

/// A round of 12 devices, of which number 3 uploads nothing.
fn play(config: RoundConfig) -> Played {
    let mut cohort = Cohort::new(config, 12, 5);
    let (mut server, advertised) = cohort.open_session();
    let scale_secagg::server::Stage::Shares(stage) = server.stage() else { panic!("stage 1 is open") };
    let sid = *stage.sid();
    let mut said: [Vec<Vec<u8>>; 5] = Default::default();
    let mut uploads = vec![None; 12];
    for stage in 1..5_u8 {
        for i in (0..12).filter(|i| stage == 1 || *i != 3) {
            let message = cohort.handle(i, opens(stage, &server.message(i as u32).unwrap())).unwrap();
            assert_eq!(server.receive(stage, Some(i as u32), &message), Ok(Receipt::New));
            match stage {
                2 => uploads[i] = Some(message),
                _ => said[stage as usize].push(message),
            }
        }
        server.close(1).unwrap();
    }
    let [_, shares, _, statements, reveals] = said;
    Played { cohort, sid, uploads, statements, reveals, shares, advertised }
}

/// The masks of one device: its own, then one with each of `peers`.
fn masks(sid: &Sid, cfg: &[u8; 32], devices: &[Device], i: usize) -> Vec<(Sign, MaskKey)> {
    let b = devices[i].drawn_for_self_mask();
    let mine = keys::mask_secret(cfg, &devices[i].drawn().0);
    let s_pk = mine.public();
    let mut all = vec![(Sign::Plus, keys::self_mask_key(sid, &devices[i].identity.public(), &b))];
    for (_, other) in devices.iter().enumerate().filter(|(j, _)| *j != i) {
        let theirs = keys::mask_secret(cfg, &other.drawn().0).public();
        all.push((keys::sign_of(&s_pk, &theirs), keys::pair_mask_key(sid, &mine, &s_pk, &theirs).unwrap()));
    }
    all
}

/// Adds the masks in stretches of `stretch` entries.
fn add(backend: Backend, values: &mut [u32], vector: u32, masks: &[(Sign, MaskKey)], stretch: usize) {
    let masks: Vec<(Sign, &MaskKey)> = masks.iter().map(|(sign, key)| (*sign, key)).collect();
    for (part, values) in values.chunks_mut(stretch).enumerate() {
        prg::accumulate_with(backend, values, vector, (part * stretch) as u64, &masks);
    }
}

#[test]
fn every_backend_masks_to_the_same_bytes() {
    for shape in SHAPES {
        let played = play(config_of(shape));
        let cfg = played.cohort.config.cfg();
        for (i, upload) in played.uploads.iter().enumerate().filter(|(i, _)| [0, 1, 11].contains(i)) {
            let masks = masks(&played.sid, &cfg, &played.cohort.devices, i);
            for backend in backends() {
                for stretch in [usize::MAX, 16 * 1024, 1000, 255] {
                    let mut packed = Vec::new();
                    for (number, values) in (0..).zip(played.cohort.devices[i].input.clone()) {
                        let mut values = values;
                        add(backend, &mut values, number, &masks, stretch);
                        pack(&values, shape.1, &mut packed);
                    }
                    assert!(Some(packed) == *upload, "{shape:?}, device {i}, {} by {stretch}", backend.name());
                }
            }
        }
    }
}

/// The server's end of the round again: uploads in pieces of this size, as many threads in stage 4.
fn unmask(played: &Played, piece: usize, threads: usize) -> SummedUpdate {
    let config = &played.cohort.config;
    let mut server = Session::new(config.clone(), []);
    for message in &played.advertised {
        server.receive(0, None, message).unwrap();
    }
    server.close(threads).unwrap();
    for (i, message) in (0..).zip(&played.shares) {
        server.receive(1, Some(i), message).unwrap();
    }
    server.close(threads).unwrap();
    let mut sum = Accumulator::new(config);
    for (i, upload) in (0..).zip(&played.uploads) {
        let Some(upload) = upload else { continue };
        let mut ingest = sum.ingest();
        upload.chunks(piece).for_each(|piece| ingest.push(piece).unwrap());
        ingest.finish().unwrap();
        server.commit(i, keys::hash(&[upload])).unwrap();
    }
    server.add_sum(sum).unwrap();
    server.close(threads).unwrap();
    let places = || (0..12).filter(|i| *i != 3);
    for (stage, messages) in [(3, &played.statements), (4, &played.reveals)] {
        for (i, message) in places().zip(messages) {
            server.receive(stage, Some(i), message).unwrap();
        }
        if let Closed::Released(update) = server.close(threads).unwrap() {
            return update;
        }
    }
    panic!("stage 4 releases");
}

#[test]
fn threads_and_pieces_change_no_sum() {
    for shape in SHAPES {
        let played = play(config_of(shape));
        let inputs = played.cohort.devices.iter().enumerate().filter(|(i, _)| *i != 3).map(|(_, device)| &device.input);
        let right = plain_sum(&played.cohort.config, inputs);
        for (piece, threads) in [(usize::MAX, 1), (1, 2), (3, 3), (64, 4), (997, 5), (65_536, 8), (usize::MAX, 100)] {
            assert!(
                unmask(&played, piece, threads).vectors == right,
                "{shape:?}, pieces of {piece}, {threads} threads"
            );
        }
    }
}

/// What the server takes off, with each implementation: the masked sum less the survivors' self masks and the pair masks
/// of the device that was lost.
#[test]
fn every_backend_unmasks_to_the_same_sum() {
    for shape in SHAPES {
        let played = play(config_of(shape));
        let config = &played.cohort.config;
        let (cfg, devices) = (config.cfg(), &played.cohort.devices);
        let mut sum = Accumulator::new(config);
        played.uploads.iter().flatten().for_each(|upload| sum.add(config, upload).unwrap());
        let mut left = Vec::new();
        for i in 0..12 {
            let mut own = masks(&played.sid, &cfg, devices, i);
            let pairs = own.split_off(1);
            // A survivor's self mask goes; the lost device would have cancelled what the others added for it.
            match i {
                3 => left.extend(pairs),
                _ => left.extend(own.into_iter().map(|(sign, key)| (sign.opposite(), key))),
            }
        }
        let right = unmask(&played, usize::MAX, 1);
        for backend in backends() {
            for (number, (sum, right)) in sum.sums().iter().zip(&right.vectors).enumerate() {
                let mut values = sum.clone();
                add(backend, &mut values, number as u32, &left, 16 * 1024);
                let spare = 32 - u32::from(shape.1);
                let signed = values.iter().map(|value| i64::from((value << spare).cast_signed() >> spare));
                assert!(signed.eq(right.iter().copied()), "{shape:?}, {}", backend.name());
            }
        }
    }
}
