//! Lies about who takes part: keys, signatures, order, neighbours.

use std::rc::Rc;

use scale_secagg::roster::{self, Entry, RosterForm, SparseRoster};
use scale_tests::liar::puppet::Puppet;
use scale_tests::liar::setting;
use scale_tests::liar::{Liar, Shown};

use super::table::{Lie, harmless, lie};

pub(crate) fn lies() -> Vec<Lie> {
    let own = ("C06", "own_entry");
    let signature = ("C07", "roster_signature");
    let twice = ("C08", "duplicate_key");
    let root = ("C09", "roster_root");
    let graph = ("C10", "parameters");
    vec![
        lie("the own entry is missing", &["C06"], own, |liar| {
            liar.advertise();
            for victim in liar.all() {
                let shown = liar.roster_of(&liar.config, liar.all().filter(|other| *other != victim));
                liar.share(victim, &shown);
            }
        }),
        lie("the own entry stands there twice", &["C06"], own, |liar| {
            to_each(liar, |liar, victim, shown| {
                let own = liar.entry(victim).expect("advertised").clone();
                shown.sorted_with(|entries| entries.push(own))
            });
        }),
        lie("the own entry has another mask key", &["C06"], own, |liar| {
            to_each(liar, |liar, victim, shown| {
                let id_pk = liar.victims[victim].identity();
                let s_pk = Puppet::new(77, &liar.config.cfg()).entry.s_pk;
                shown.sorted_with(|entries| {
                    entries.iter_mut().filter(|entry| entry.id_pk == id_pk).for_each(|entry| entry.s_pk = s_pk);
                })
            });
        }),
        lie("somebody else holds the own channel key", &["C06"], own, |liar| {
            to_each(liar, |liar, victim, shown| {
                let c_pk = liar.entry(victim).expect("advertised").c_pk;
                let puppet = &liar.puppets[0];
                let entry = puppet.claiming(&liar.config.cfg(), c_pk, puppet.entry.s_pk);
                shown.sorted_with(|entries| replace(entries, &entry))
            });
        }),
        lie("all peers' keys are the coordinator's", &["C07"], signature, |liar| {
            let base = begin(liar);
            let cfg = liar.config.cfg();
            let forged: Vec<Entry> = (100..)
                .zip(&base.entries)
                .map(|(number, entry)| Puppet::in_the_name_of(entry.id_pk, number, &cfg))
                .collect::<Vec<_>>()
                .into_iter()
                .map(|puppet| liar.adopt(puppet))
                .collect();
            for victim in liar.all() {
                let own = liar.entry(victim).expect("advertised").clone();
                let shown = base.sorted_with(|entries| {
                    entries.clone_from(&forged);
                    replace(entries, &own);
                });
                alone(liar, victim, &Rc::new(shown));
            }
        })
        .would_leak(),
        lie("one peer's mask key is the coordinator's", &["C07"], signature, |liar| {
            let s_pk = liar.puppets[0].entry.s_pk;
            to_each(liar, |liar, victim, shown| {
                let own = shown.place(&liar.victims[victim].identity());
                let other = (0..shown.n()).find(|index| Some(*index) != own).expect("others");
                shown.sorted_with(|entries| entries[other as usize].s_pk = s_pk)
            });
        }),
        lie("a peer signed for another configuration", &["C07"], signature, |liar| {
            to_each(liar, |liar, _, shown| {
                let puppet = &liar.puppets[0].entry;
                let entry = liar.puppets[0].claiming(&[9; 32], puppet.c_pk, puppet.s_pk);
                shown.sorted_with(|entries| replace(entries, &entry))
            });
        }),
        lie("two models, one roster", &["C02", "C07"], signature, |liar| {
            two_models(liar);
        })
        .would_leak(),
        lie("two peers have one channel key", &["C08"], twice, |liar| {
            claim(liar, |puppets| (puppets[1].entry.c_pk, puppets[0].entry.s_pk));
        }),
        lie("two peers have one mask key", &["C08"], twice, |liar| {
            claim(liar, |puppets| (puppets[0].entry.c_pk, puppets[1].entry.s_pk));
        }),
        lie("a peer's mask key is its channel key", &["C08"], twice, |liar| {
            claim(liar, |puppets| (puppets[0].entry.c_pk, puppets[0].entry.c_pk));
        }),
        lie("one peer stands there under two sets of keys", &["C08"], twice, |liar| {
            to_each(liar, |liar, _, shown| {
                let (first, second) = (&liar.puppets[0], &liar.puppets[1].entry);
                let again = first.claiming(&liar.config.cfg(), second.c_pk, second.s_pk);
                shown.sorted_with(|entries| {
                    entries.retain(|entry| entry.id_pk != second.id_pk);
                    entries.push(again);
                })
            });
        }),
        lie("a peer's mask key hides nothing", &["C08"], ("C08", "low_order_key"), |liar| {
            let keys = low_order();
            odd_keys(liar, &keys);
        }),
        lie("a peer's key has a second spelling", &["C08"], ("C08", "non_canonical_key"), |liar| {
            let mut keys = vec![];
            for low in [0xed, 0xee, 0xff] {
                let mut key = [0xff; 32];
                (key[0], key[31]) = (low, 0x7f);
                keys.push(key);
            }
            let mut high = liar.puppets[1].entry.c_pk;
            high[31] |= 0x80;
            keys.push(high);
            odd_keys(liar, &keys);
        }),
        lie("two entries change places", &["C09"], root, |liar| {
            to_each(liar, |_, _, shown| shown.with(|entries| entries.swap(3, 9)));
        }),
        lie("a root that the entries do not give", &["C09"], root, |liar| {
            ring_roster(liar, |message, _| message.root[7] ^= 1);
        })
        .among(3, 137)
        .in_profile_s(),
        lie("a proof that does not lead to the root", &["C09"], root, |liar| {
            ring_roster(liar, |message, _| message.proof[0][0] ^= 1);
        })
        .among(3, 137)
        .in_profile_s(),
        lie("another number of participants", &["C09"], ("", "malformed"), |liar| {
            ring_roster(liar, |message, _| message.n += 1);
        })
        .among(3, 137)
        .in_profile_s(),
        lie("another own index", &["C06"], own, |liar| {
            ring_roster(liar, |message, neighbours| message.own = neighbours[0]);
        })
        .among(3, 137)
        .in_profile_s(),
        lie("two rosters, one for each half", &["C09", "C12"], ("C12", "bad_share"), |liar| {
            liar.advertise();
            let whole = liar.roster();
            let halves = [0, 1].map(|gone| {
                let id_pk = liar.puppets[gone].entry.id_pk;
                Rc::new(whole.sorted_with(|entries| entries.retain(|entry| entry.id_pk != id_pk)))
            });
            liar.all().for_each(|victim| liar.share(victim, &halves[victim % 2]));
            for victim in liar.all() {
                // Everybody is a sharer, says the liar, whichever roster they answered.
                let shown = Rc::clone(&halves[victim % 2]);
                let all = shown.members(shown.entries.iter().map(|entry| entry.id_pk));
                liar.collect(victim, &all);
            }
        }),
        lie("everybody's entry for a session that has a ring", &["C10"], graph, |liar| {
            let shown = begin(liar);
            let bytes = roster::encode_complete(&shown.entries);
            for victim in liar.all() {
                let own = shown.place(&liar.victims[victim].identity()).expect("in the roster");
                let others = (0..shown.n()).filter(|index| *index != own).collect();
                liar.share_as(victim, &shown, own, others, RosterForm::Complete, &bytes);
            }
        })
        .among(3, 137)
        .in_profile_s(),
        lie("a ring's roster for a session without", &["C10"], graph, |liar| {
            let shown = begin(liar);
            for victim in liar.all() {
                let own = shown.place(&liar.victims[victim].identity()).expect("in the roster");
                let few: Vec<u32> = (0..shown.n()).filter(|index| *index != own).take(6).collect();
                let bytes = shown.sparse(own, &few).encode();
                liar.share_as(victim, &shown, own, few, RosterForm::Sparse, &bytes);
            }
        }),
        harmless("a threshold of one: no message can say so", &["C10"], Liar::play).among(12, 1).would_leak_at(1),
        lie("made-up neighbours instead of the ring's", &["C11"], ("C11", "neighbours"), |liar| {
            let shown = begin(liar);
            let made_up: Vec<u32> = liar.puppets.iter().filter_map(|puppet| shown.place(&puppet.entry.id_pk)).collect();
            for victim in liar.all() {
                let own = shown.place(&liar.victims[victim].identity()).expect("in the roster");
                let right = shown.graph.neighbours(own);
                let mut chosen: Vec<u32> = made_up.iter().copied().rev().take(right.len()).collect();
                chosen.sort_unstable();
                let bytes = shown.sparse(own, &chosen).encode();
                liar.share_as(victim, &shown, own, chosen, RosterForm::Sparse, &bytes);
                let all = shown.members(shown.entries.iter().map(|entry| entry.id_pk));
                liar.collect(victim, &all);
            }
        })
        .among(3, 137)
        .in_profile_s()
        .would_leak(),
        lie("a neighbour too few", &["C11"], ("C11", "neighbours"), |liar| one_neighbour(liar, false))
            .among(3, 137)
            .in_profile_s(),
        lie("a neighbour too many", &["C11"], ("C11", "neighbours"), |liar| one_neighbour(liar, true))
            .among(3, 137)
            .in_profile_s(),
        lie("a roster cut short", &["C09"], ("", "malformed"), |liar| {
            let shown = begin(liar);
            for victim in liar.all() {
                let own = shown.place(&liar.victims[victim].identity()).expect("in the roster");
                let (form, bytes) = shown.message(own);
                let cut = &bytes[..bytes.len() - 1 - victim];
                liar.share_as(victim, &shown, own, shown.graph.neighbours(own), form, cut);
            }
        }),
    ]
}

/// Stage 0 with everybody, and the true roster.
pub(crate) fn begin(liar: &mut Liar) -> Rc<Shown> {
    liar.advertise();
    liar.roster()
}

/// Stages 1 to 4 with one victim, each in a world of its own that says that everybody has answered everything.
fn alone(liar: &mut Liar, victim: usize, shown: &Rc<Shown>) {
    let all = shown.members(shown.entries.iter().map(|entry| entry.id_pk));
    liar.share(victim, shown);
    liar.collect(victim, &all);
    liar.agree(victim, &all);
    liar.unmask(victim);
}

/// Shows each victim a roster of its own, made from the true one.
fn to_each(liar: &mut Liar, change: impl Fn(&Liar, usize, &Shown) -> Shown) {
    let base = begin(liar);
    for victim in liar.all() {
        let shown = Rc::new(change(liar, victim, &base));
        liar.share(victim, &shown);
    }
}

/// Puts an entry in the place of the one with the same identity.
fn replace(entries: &mut [Entry], new: &Entry) {
    entries.iter_mut().filter(|entry| entry.id_pk == new.id_pk).for_each(|entry| entry.clone_from(new));
}

/// Channel key and mask key.
type Keys = ([u8; 32], [u8; 32]);

/// Puppet 0 claims channel and mask key as given.
fn claim(liar: &mut Liar, keys: fn(&[Puppet]) -> Keys) {
    to_each(liar, |liar, _, shown| {
        let (c_pk, s_pk) = keys(&liar.puppets);
        let entry = liar.puppets[0].claiming(&liar.config.cfg(), c_pk, s_pk);
        shown.sorted_with(|entries| replace(entries, &entry))
    });
}

/// Puppet 0 claims one of these as its mask key or its channel key, each victim sees another case.
fn odd_keys(liar: &mut Liar, keys: &[[u8; 32]]) {
    to_each(liar, |liar, victim, shown| {
        let (key, own) = (keys[victim / 2 % keys.len()], &liar.puppets[0].entry);
        let (c_pk, s_pk) = if victim % 2 == 0 { (own.c_pk, key) } else { (key, own.s_pk) };
        let entry = liar.puppets[0].claiming(&liar.config.cfg(), c_pk, s_pk);
        shown.sorted_with(|entries| replace(entries, &entry))
    });
}

/// The canonical points of low order on the curve and its twist (Bernstein, Lange: safecurves).
fn low_order() -> Vec<[u8; 32]> {
    let hex = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    hex.map(|hex| hex::decode(hex).expect("hexadecimal").try_into().expect("32 bytes")).to_vec()
}

/// Each victim sees the ring's roster with a change.
fn ring_roster(liar: &mut Liar, change: fn(&mut SparseRoster, &[u32])) {
    // Room for one more than there are.
    liar.config.n_hi += 1;
    let shown = begin(liar);
    for victim in liar.all() {
        let own = shown.place(&liar.victims[victim].identity()).expect("in the roster");
        let neighbours = shown.graph.neighbours(own);
        let mut message = shown.sparse(own, &neighbours);
        change(&mut message, &neighbours);
        liar.share_as(victim, &shown, own, neighbours, RosterForm::Sparse, &message.encode());
    }
}

/// The ring's roster with a neighbour taken out or put in.
fn one_neighbour(liar: &mut Liar, more: bool) {
    let shown = begin(liar);
    for victim in liar.all() {
        let own = shown.place(&liar.victims[victim].identity()).expect("in the roster");
        let mut neighbours = shown.graph.neighbours(own);
        if more {
            neighbours.extend((0..shown.n()).find(|index| *index != own && !neighbours.contains(index)));
            neighbours.sort_unstable();
        } else {
            neighbours.remove(3);
        }
        let bytes = shown.sparse(own, &neighbours).encode();
        liar.share_as(victim, &shown, own, neighbours, RosterForm::Sparse, &bytes);
    }
}

/// One half trains on one model, the other half on another; they are shown the same roster.
fn two_models(liar: &mut Liar) {
    let first = liar.config.clone();
    let mut second = liar.config.clone();
    let other = setting::model_of(0.75);
    second.model_digest = scale_proto::ids::Digest::of(&other).0;
    liar.make_up(2);
    let offers = [liar.true_offer(), setting::Offer::signed(&second, &liar.task_key, &liar.plan, &other)];
    liar.all().for_each(|victim| liar.offer(victim, &offers[victim % 2]));
    let rosters = [&first, &second].map(|config| liar.roster_of(config, liar.all()));
    liar.all().for_each(|victim| liar.share(victim, &rosters[victim % 2]));
    let all = rosters[0].members(rosters[0].entries.iter().map(|entry| entry.id_pk));
    liar.all().for_each(|victim| liar.collect(victim, &all));
    liar.all().for_each(|victim| liar.agree(victim, &all));
    liar.all().for_each(|victim| liar.unmask(victim));
}
