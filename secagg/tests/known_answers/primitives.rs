//! 02 to 06 and 08: rosters, keys, sealing, masks, sharing, packing.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::keys::{self, DhSecret, IdentityKey, Secret, ShareCipher, Sign};
use scale_secagg::pack::{Unpacker, pack, packed_len, unpack};
use scale_secagg::prg::{self, MaskKey};
use scale_secagg::roster::{self, Entry, Sid};
use scale_secagg::shamir::{Polynomial, Rebuilder, subset_starts};
use serde::Deserialize;
use serde_json::Value;

use crate::support::{Hex, Hex32, HexBytes, Refused, bytes_of, list, load, parse, words};

fn plain(list: &[Hex32]) -> Vec<[u8; 32]> {
    list.iter().map(|hex| hex.0).collect()
}

fn secret(bytes: &Hex32) -> Secret {
    Secret::from_canonical(&bytes.0).expect("a canonical scalar")
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum RosterCase {
    Roster {
        name: String,
        cfg: Hex32,
        n: u32,
        arrived: Vec<HexBytes>,
        order: Vec<usize>,
        signed_bytes_first: HexBytes,
        leaves: Vec<Hex32>,
        root: Hex32,
        sid: Hex32,
    },
    Tree {
        name: String,
        n: u32,
        leaves: Vec<Hex32>,
        root: Hex32,
        multiproofs: Vec<Multiproof>,
    },
    Multiproof {
        name: String,
        n: u32,
        indices: Vec<u32>,
        leaves: Vec<Hex32>,
        proof: Vec<Hex32>,
        root: Hex32,
        refused: Refused,
    },
}

#[derive(Deserialize)]
struct Multiproof {
    indices: Vec<u32>,
    proof: Vec<Hex32>,
}

#[derive(Deserialize)]
struct Client {
    a_wide: Hex<[u8; 64]>,
    a: Hex32,
    s_sk: Hex32,
    s_pk: Hex32,
    c_sk: Hex32,
    c_pk: Hex32,
    id_seed: Hex32,
    id_pk: Hex32,
    b_wide: Hex<[u8; 64]>,
    b: Hex32,
    k_self: Hex32,
    com: Hex32,
}

#[derive(Deserialize)]
struct Pair {
    i: usize,
    j: usize,
    mask_secret: Hex32,
    sign: i8,
    k_mask: Hex32,
    share_secret: Hex32,
    k_share_i_to_j: Hex32,
}

#[derive(Deserialize)]
struct SealCase {
    name: String,
    key: Hex32,
    aad: HexBytes,
    sealed: HexBytes,
    #[serde(flatten)]
    made: Option<Made>,
    refused: Option<Refused>,
}

#[derive(Deserialize)]
struct Made {
    sid: Hex32,
    share_secret: Hex32,
    i: u32,
    j: u32,
    c_pk_i: Hex32,
    c_pk_j: Hex32,
    share_of_b: Hex32,
    share_of_a: Hex32,
}

#[derive(Deserialize)]
struct StreamCase {
    name: String,
    key: Hex32,
    vector: u32,
    first: u64,
    count: usize,
    stream: Option<HexBytes>,
    sha256: Option<Hex32>,
    refused: Option<Refused>,
}

#[derive(Deserialize)]
struct ShamirCase {
    name: String,
    k: u32,
    t: u32,
    coefficients: Option<Vec<Hex32>>,
    shares: Option<Vec<Hex32>>,
    rebuilds: Option<Vec<Rebuild>>,
    points: Option<Vec<Point>>,
    refused: Option<Refused>,
}

#[derive(Deserialize)]
struct Rebuild {
    missing: Vec<u32>,
    secret: Hex32,
}

#[derive(Deserialize)]
struct Point {
    x: u32,
    share: Hex32,
}

#[derive(Deserialize)]
struct BadSecret {
    name: String,
    scalar: Option<Hex32>,
    k: Option<u32>,
    t: Option<u32>,
    refused: Refused,
}

#[derive(Deserialize)]
struct PackCase {
    name: String,
    bits: u8,
    count: usize,
    values: Option<HexBytes>,
    values_seed: Option<Hex32>,
    packed: Option<HexBytes>,
    packed_sha256: Option<Hex32>,
    refused: Option<Refused>,
}

/// Feeds `data` in pieces of `size` bytes onto a sum of zeros.
fn unpack_in_pieces(data: &[u8], count: usize, bits: u8, size: usize) -> Result<Vec<u32>, Refusal> {
    let mut sum = vec![0; count];
    let mut unpacker = Unpacker::new(count, bits);
    for piece in data.chunks(size) {
        unpacker.feed(piece, &mut sum)?;
    }
    unpacker.finish()?;
    Ok(sum)
}

known_answers! {
    fn rosters_trees_and_multiproofs() {
        for case in list::<RosterCase>(&load("02_roster"), "cases") {
            match case {
                RosterCase::Roster { name, cfg, n, arrived, order, signed_bytes_first, leaves, root, sid } => {
                    let arrived: Vec<_> = arrived.iter().map(|bytes| Entry::decode(&bytes.0).expect(&name)).collect();
                    let mut ranks: Vec<_> = (0..arrived.len()).collect();
                    ranks.sort_by_key(|at| arrived[*at].leaf());
                    assert_eq!(ranks, order, "{name}: order");
                    let entries: Vec<_> = ranks.iter().map(|at| arrived[*at].clone()).collect();
                    let own: Vec<_> = entries.iter().map(Entry::leaf).collect();
                    assert_eq!(own, plain(&leaves), "{name}: leaves");
                    assert_eq!(roster::merkle_root(&own), root.0, "{name}: root");
                    assert_eq!(entries.len(), n as usize, "{name}: n");
                    assert_eq!(roster::session_id(&cfg.0, n, &root.0), Sid::from(sid.0), "{name}: sid");
                    for (position, entry) in arrived.iter().enumerate() {
                        let signed = roster::advertise_statement(&cfg.0, &entry.id_pk, &entry.c_pk, &entry.s_pk);
                        assert!(keys::verify(&entry.id_pk, &signed, &entry.sig), "{name}: signature {position}");
                        if position == 0 {
                            assert_eq!(signed, signed_bytes_first.0, "{name}: signed bytes");
                        }
                    }
                    let sent = roster::encode_complete(&entries);
                    assert_eq!(roster::decode_complete(&sent), Ok(entries), "{name}: round trip");
                }
                RosterCase::Tree { name, n, leaves, root, multiproofs } => {
                    let leaves = plain(&leaves);
                    assert_eq!(roster::merkle_root(&leaves), root.0, "{name}");
                    for Multiproof { indices, proof } in multiproofs {
                        let proof = plain(&proof);
                        assert_eq!(roster::multiproof(&leaves, &indices), proof, "{name} {indices:?}");
                        let known = indices.iter().map(|i| (*i, leaves[*i as usize])).collect();
                        assert_eq!(roster::multiproof_root(n, &known, &proof), Ok(root.0), "{name} {indices:?}");
                    }
                }
                RosterCase::Multiproof { name, n, indices, leaves, proof, root, refused } => {
                    let known: BTreeMap<_, _> = indices.into_iter().zip(plain(&leaves)).collect();
                    let result = roster::multiproof_root(n, &known, &plain(&proof)).and_then(|found| {
                        if found == root.0 { Ok(()) } else { Err(Refusal::by(scale_secagg::check::Check::C09, Reason::RosterRoot)) }
                    });
                    refused.assert_is(result, &name);
                }
            }
        }
    }

    fn keys_and_everything_derived_from_them() {
        let file = load("03_keys");
        for case in list::<BTreeMap<String, Hex32>>(&file, "rfc7748") {
            let shared = DhSecret::from_bytes(&case["sk"].0).agree(&case["pk"].0).expect("RFC 7748");
            assert_eq!(*shared, case["out"].0);
        }
        for case in list::<Value>(&file, "wide_scalars") {
            let wide: Hex<[u8; 64]> = parse(&case["wide"], "wide");
            let scalar: Hex32 = parse(&case["scalar"], "scalar");
            assert_eq!(*Secret::from_wide(&wide.0).to_bytes(), scalar.0, "{}", case["name"]);
        }
        let (cfg, sid): (Hex32, Hex32) = (parse(&file["cfg"], "cfg"), parse(&file["sid"], "sid"));
        let (cfg, sid) = (cfg.0, Sid::from(sid.0));
        let clients = list::<Client>(&file, "clients");
        for client in &clients {
            let (a, b) = (Secret::from_wide(&client.a_wide.0), Secret::from_wide(&client.b_wide.0));
            assert_eq!((*a.to_bytes(), *b.to_bytes()), (client.a.0, client.b.0));
            assert_eq!(*keys::mask_secret(&cfg, &a).to_bytes(), client.s_sk.0);
            assert_eq!(keys::mask_secret(&cfg, &a).public(), client.s_pk.0);
            assert_eq!(DhSecret::from_bytes(&client.c_sk.0).public(), client.c_pk.0);
            assert_eq!(IdentityKey::from_seed(&client.id_seed.0).public(), client.id_pk.0);
            assert_eq!(keys::self_mask_key(&sid, &client.id_pk.0, &b).as_bytes(), &client.k_self.0);
            assert_eq!(keys::commitment(&sid, &client.id_pk.0, &b), client.com.0);
            keys::check_dh_key(&client.c_pk.0).expect("an honest key");
        }
        for pair in list::<Pair>(&file, "pairs") {
            let (i, j) = (&clients[pair.i], &clients[pair.j]);
            let (s_sk, c_sk) = (DhSecret::from_bytes(&i.s_sk.0), DhSecret::from_bytes(&i.c_sk.0));
            assert_eq!(*s_sk.agree(&j.s_pk.0).expect("an honest key"), pair.mask_secret.0);
            let mask = keys::pair_mask_key(&sid, &s_sk, &i.s_pk.0, &j.s_pk.0).expect("an honest key");
            assert_eq!(mask.as_bytes(), &pair.k_mask.0);
            let sign = if pair.sign > 0 { Sign::Plus } else { Sign::Minus };
            assert_eq!(keys::sign_of(&i.s_pk.0, &j.s_pk.0), sign);
            let shared = c_sk.agree(&j.c_pk.0).expect("an honest key");
            assert_eq!(*shared, pair.share_secret.0);
            let derived = ShareCipher::new(&sid, &shared, &i.c_pk.0, &j.c_pk.0).seal(1, 2, &[3; 64]);
            let given = ShareCipher::from_key(&sid, &pair.k_share_i_to_j.0).seal(1, 2, &[3; 64]);
            assert_eq!(derived, given);
        }
        for case in list::<Value>(&file, "bad_keys") {
            let key: Hex32 = parse(&case["pk"], "pk");
            let refused: Refused = parse(&case["refused"], "refused");
            refused.assert_is(keys::check_dh_key(&key.0), &case["name"].to_string());
        }
    }

    fn derivation_and_sealed_shares() {
        let file = load("04_hkdf_aead");
        for case in list::<Value>(&file, "rfc5869") {
            let part = |key: &str| parse::<HexBytes>(&case[key], key).0;
            // Shorter output is a prefix of longer output, and the RFC asks for at least 32 bytes.
            assert_eq!(*keys::hkdf(&part("salt"), &part("ikm"), &[&part("info")]), part("okm")[..32]);
        }
        for case in list::<SealCase>(&file, "cases") {
            let name = &case.name;
            let aad: &[u8; 51] = case.aad.0.as_slice().try_into().expect("domain, sid, i, j");
            let number = |at: usize| u32::from_le_bytes([aad[at], aad[at + 1], aad[at + 2], aad[at + 3]]);
            let (i, j) = (number(43), number(47));
            let sid: [u8; 32] = aad[11..43].try_into().expect("32 bytes");
            let opened = ShareCipher::from_key(&Sid::from(sid), &case.key.0).open(i, j, &case.sealed.0);
            let shares = opened.ok_or(Refusal::from(Reason::BadShare)).and_then(|plain| {
                let share = |half: &[u8]| Secret::from_canonical(half).map_err(|_| Refusal::from(Reason::BadShare));
                Ok((share(&plain[..32])?, share(&plain[32..])?))
            });
            match (case.made, case.refused) {
                (None, Some(refused)) => refused.assert_is(shares, name),
                (Some(made), None) => {
                    let (b, a) = shares.expect(name);
                    assert_eq!((*b.to_bytes(), *a.to_bytes()), (made.share_of_b.0, made.share_of_a.0), "{name}");
                    let cipher =
                        ShareCipher::new(&Sid::from(made.sid.0), &made.share_secret.0, &made.c_pk_i.0, &made.c_pk_j.0);
                    let plain: [u8; 64] = [made.share_of_b.0, made.share_of_a.0].concat().try_into().expect("64 bytes");
                    assert_eq!(cipher.seal(made.i, made.j, &plain).as_slice(), case.sealed.0, "{name}");
                }
                _ => panic!("{name}: neither good nor bad"),
            }
        }
    }

    fn mask_streams() {
        let file = load("05_prg");
        let mut blocks = 0;
        for case in list::<Value>(&file, "rfc8439_blocks") {
            // The layout's nonce ends with 8 zero bytes; the RFC's other block stands in the unit tests.
            let (key, nonce) = (parse::<Hex32>(&case["key"], "key"), parse::<Hex<[u8; 12]>>(&case["nonce"], "nonce"));
            if nonce.0[4..] == [0; 8] {
                let vector = u32::from_le_bytes([nonce.0[0], nonce.0[1], nonce.0[2], nonce.0[3]]);
                let counter = case["counter"].as_u64().expect("counter");
                let group = prg::entries(&key.0, vector, 256 * (counter / 16), 256).expect("in range");
                let lane = (counter % 16) as usize;
                let block: Vec<_> = (0..16).map(|word| group[16 * word + lane]).collect();
                assert_eq!(bytes_of(&block), parse::<HexBytes>(&case["block"], "block").0);
                blocks += 1;
            }
        }
        assert!(blocks >= 2, "RFC 8439 appendix A.1");
        for case in list::<StreamCase>(&file, "cases") {
            let result = prg::entries(&case.key.0, case.vector, case.first, case.count);
            if let Some(refused) = case.refused {
                refused.assert_is(result, &case.name);
                continue;
            }
            let bytes = bytes_of(&result.expect(&case.name));
            if let Some(stream) = case.stream {
                assert_eq!(bytes, stream.0, "{}", case.name);
            }
            assert_eq!(keys::hash(&[&bytes]), case.sha256.expect("good cases have a hash").0, "{}", case.name);
        }
        let sum = &file["signed_sum"];
        let masks: Vec<_> = list::<Hex32>(sum, "keys").iter().map(|key| MaskKey::new(&key.0)).collect();
        let signs = list::<i8>(sum, "signs");
        let masks: Vec<_> =
            signs.iter().map(|sign| if *sign > 0 { Sign::Plus } else { Sign::Minus }).zip(&masks).collect();
        let mut acc = vec![0; sum["count"].as_u64().expect("count") as usize];
        prg::accumulate(&mut acc, sum["vector"].as_u64().expect("vector") as u32, 0, &masks);
        assert_eq!(bytes_of(&acc), parse::<HexBytes>(&sum["sum"], "sum").0);
    }

    fn shared_secrets() {
        let file = load("06_shamir");
        for case in list::<ShamirCase>(&file, "cases") {
            let (name, rebuilder) = (&case.name, Rebuilder::new(case.k));
            if let Some(refused) = case.refused {
                let points: Vec<_> =
                    case.points.expect(name).iter().map(|point| (point.x, secret(&point.share))).collect();
                refused.assert_is(rebuilder.rebuild(&points, case.t), name);
                refused.assert_is(rebuilder.rebuild_checked(&points, case.t, |_| true), name);
                continue;
            }
            let coefficients: Vec<_> = case.coefficients.expect(name).iter().map(secret).collect();
            assert_eq!(coefficients.len(), case.t as usize, "{name}");
            let shares = Polynomial::from_coefficients(&coefficients).shares(case.k).expect(name);
            let bytes: Vec<_> = shares.iter().map(|share| *share.to_bytes()).collect();
            assert_eq!(bytes, plain(&case.shares.expect(name)), "{name}");
            for Rebuild { missing, secret: expected } in case.rebuilds.expect(name) {
                let points: Vec<_> = (1..)
                    .zip(&bytes)
                    .filter(|(x, _)| !missing.contains(x))
                    .map(|(x, share)| (x, Secret::from_canonical(share).expect(name)))
                    .collect();
                let rebuilt = rebuilder.rebuild(&points, case.t).expect(name);
                assert_eq!(*rebuilt.to_bytes(), expected.0, "{name}, missing {missing:?}");
            }
        }
        let search = &file["search"];
        let (k, t) = (search["k"].as_u64().expect("k") as u32, search["t"].as_u64().expect("t") as u32);
        let points: Vec<_> = (1..).zip(list::<Hex32>(search, "shares").iter().map(secret)).collect();
        let expected: Hex32 = parse(&search["secret"], "secret");
        let from_all: Hex32 = parse(&search["value_from_all"], "value_from_all");
        let rebuilder = Rebuilder::new(k);
        assert_eq!(*rebuilder.rebuild(&points, t).expect("enough").to_bytes(), from_all.0, "one share is wrong");
        let mut tries = 0;
        let found = rebuilder.rebuild_checked(&points, t, |value| {
            tries += 1;
            *value.to_bytes() == expected.0
        });
        assert_eq!(*found.expect("a subset is right").to_bytes(), expected.0);
        assert!(tries > 1);
        let none = rebuilder.rebuild_checked(&points, t, |_| false);
        assert_eq!(none.expect_err("nothing passes").code(), "secret_mismatch");
        assert_eq!(subset_starts(k as usize).collect::<Vec<_>>(), list::<usize>(search, "subset_starts"));
        for case in list::<Value>(search, "starts") {
            let responders = case["responders"].as_u64().expect("responders") as usize;
            assert_eq!(subset_starts(responders).collect::<Vec<_>>(), list::<usize>(&case, "starts"));
        }
        for case in list::<BadSecret>(&file, "bad_values") {
            match (case.scalar, case.k, case.t) {
                (Some(scalar), ..) => case.refused.assert_is(Secret::from_canonical(&scalar.0), &case.name),
                (None, Some(k), Some(t)) => {
                    let coefficients: Vec<_> = (0..t).map(|_| Secret::from_wide(&[7; 64])).collect();
                    case.refused.assert_is(Polynomial::from_coefficients(&coefficients).shares(k), &case.name);
                }
                _ => panic!("{}: neither a scalar nor a threshold", case.name),
            }
        }
    }

    fn packing() {
        for case in list::<PackCase>(&load("08_packing"), "cases") {
            let (name, bits, count) = (&case.name, case.bits, case.count);
            if let Some(refused) = case.refused {
                let packed = case.packed.expect(name).0;
                refused.assert_is(unpack(&packed, count, bits), name);
                for size in [1, 7, 64] {
                    refused.assert_is(unpack_in_pieces(&packed, count, bits, size), name);
                }
                continue;
            }
            let values = match (case.values, case.values_seed) {
                (Some(values), None) => words(&values.0),
                (None, Some(seed)) => {
                    let mut bytes = vec![0; 4 * count];
                    ChaCha20Rng::from_seed(seed.0).fill_bytes(&mut bytes);
                    words(&bytes)
                }
                _ => panic!("{name}: values or a seed"),
            };
            let mut packed = vec![0xaa];
            pack(&values, bits, &mut packed);
            let packed = &packed[1..];
            assert_eq!(packed.len(), packed_len(count, bits), "{name}");
            assert_eq!(keys::hash(&[packed]), case.packed_sha256.expect(name).0, "{name}");
            assert!(case.packed.is_none_or(|expected| expected.0 == packed), "{name}");
            let low: Vec<u32> =
                values.iter().map(|value| (u64::from(*value) & ((1 << bits) - 1)) as u32).collect();
            assert_eq!(unpack(packed, count, bits).as_ref(), Ok(&low), "{name}");
            for size in [1, 3, 8, 33, 1000] {
                assert_eq!(unpack_in_pieces(packed, count, bits, size).as_ref(), Ok(&low), "{name}, {size} at a time");
            }
        }
    }
}
