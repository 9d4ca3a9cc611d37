//! Lies about who shared keys, whose input is in the sum, and who vouches for it.

use std::rc::Rc;

use scale_secagg::graph::Members;
use scale_secagg::params::{self, Class, Profile};
use scale_tests::liar::{Liar, Message, Shown};

use super::rosters::begin;
use super::table::{Lie, OUT_OF_TURN, SECOND_INPUT, SECOND_STATEMENT, harmless, lie};

pub(crate) fn sharers() -> Vec<Lie> {
    let share = ("C12", "bad_share");
    let malformed = ("", "malformed");
    vec![
        lie("the victim itself shared no keys, it is told", &["C12"], ("C12", "not_listed"), |liar| {
            let (_, all) = shared(liar);
            for victim in liar.all() {
                let mut others = all.clone();
                others.remove(liar.place(victim));
                liar.collect(victim, &others);
            }
        }),
        lie("one victim alone with two made-up devices", &["C04", "C12"], ("C04", "cohort_floor"), |liar| {
            let (shown, all) = shared(liar);
            let mut few = shown.members(liar.puppets.iter().map(|puppet| puppet.entry.id_pk));
            few.insert(liar.place(0));
            liar.collect(0, &few);
            // The others are told the truth, and help to take its self mask off.
            let everybody: Vec<usize> = liar.all().collect();
            everybody[1..].iter().for_each(|victim| liar.collect(*victim, &all));
            liar.play_from_inputs(&shown, &everybody);
        })
        .would_leak(),
        lie("ten of twenty-two shared keys", &["C12"], ("C12", "too_few_neighbours"), |liar| {
            let (shown, _) = shared(liar);
            let ten = Members::of(shown.n(), 0..10);
            for victim in liar.all().filter(|victim| ten.contains(liar.place(*victim))).collect::<Vec<_>>() {
                liar.collect(victim, &ten);
            }
        })
        .among(20, 2),
        lie("a share that nobody sealed", &["C12"], share, |liar| {
            altered(liar, |bytes| bytes[2 + 3 * 80 + 17] ^= 4);
        }),
        lie("a peer's share for somebody else", &["C12"], share, |liar| {
            altered(liar, |bytes| {
                let second = bytes[2 + 80..2 + 160].to_vec();
                bytes[2..2 + 80].copy_from_slice(&second);
            });
        }),
        lie("a share that is no number of the field", &["C12"], share, |liar| {
            let (shown, all) = shared(liar);
            let puppet = shown.place(&liar.puppets[0].entry.id_pk).expect("in the roster");
            for victim in liar.all() {
                let own = liar.place(victim);
                // All ones is beyond the group's order, and a second spelling of something else.
                let sealed = liar.puppets[0].seal(&shown, puppet, own, &[0xff; 64]).expect("a channel");
                let at = 2 + 80 * shown.graph.rank(own, puppet).expect("a neighbour") as usize;
                let mut bytes = liar.sealed_for(victim, &all).expect("shared");
                bytes[at..at + 80].copy_from_slice(&sealed);
                liar.collect_as(victim, &all, &bytes);
            }
        }),
        lie("a share less than the sharers say", &["C12"], malformed, |liar| {
            altered(liar, |bytes| bytes.truncate(bytes.len() - 80));
        }),
        lie("a set of sharers cut short", &["C12"], malformed, |liar| altered(liar, |bytes| bytes.truncate(1))),
        lie("a sharer beyond the roster", &["C12"], malformed, |liar| altered(liar, |bytes| bytes[1] |= 0x40)),
        lie("two sets of sharers, one for each half", &["C20", "C12"], ("C20", "agreement"), |liar| {
            let (shown, all) = shared(liar);
            let puppets: Vec<u32> = liar.puppets.iter().filter_map(|puppet| shown.place(&puppet.entry.id_pk)).collect();
            let halves = [0, 1].map(|gone: usize| {
                let mut set = all.clone();
                set.remove(puppets[gone]);
                set
            });
            liar.all().for_each(|victim| liar.collect(victim, &halves[victim % 2]));
            liar.all().for_each(|victim| liar.agree(victim, &halves[victim % 2]));
            liar.all().for_each(|victim| liar.unmask(victim));
        }),
        lie("a second request for the input, for other sharers", &["C15"], SECOND_INPUT, |liar| {
            let (shown, all) = shared(liar);
            liar.all().for_each(|victim| liar.collect(victim, &all));
            let mut fewer = all.clone();
            let puppet = liar.puppets[0].entry.id_pk;
            fewer.remove(shown.place(&puppet).expect("in the roster"));
            liar.all().for_each(|victim| liar.collect(victim, &fewer));
            liar.play_from_inputs(&shown, &liar.all().collect::<Vec<_>>());
        })
        .would_leak(),
        lie("a second request for the input, after a crash", &["C15"], SECOND_INPUT, |liar| {
            let (shown, mut all) = shared(liar);
            liar.all().for_each(|victim| liar.collect(victim, &all));
            liar.restart_all();
            all.remove(shown.place(&liar.puppets[0].entry.id_pk).expect("in the roster"));
            liar.all().for_each(|victim| liar.collect(victim, &all));
            liar.play_from_inputs(&shown, &liar.all().collect::<Vec<_>>());
        })
        .would_leak(),
    ]
}

pub(crate) fn survivors() -> Vec<Lie> {
    let survivors = ("C16", "survivors");
    let malformed = ("", "malformed");
    vec![
        lie("the victim's input is not in the sum", &["C16"], survivors, |liar| {
            let (_, all) = uploaded(liar);
            for victim in liar.all() {
                let mut others = all.clone();
                others.remove(liar.place(victim));
                liar.agree(victim, &others);
            }
        }),
        lie("a survivor who shared no keys", &["C16"], survivors, |liar| {
            let (shown, mut sharers) = shared(liar);
            let puppet = shown.place(&liar.puppets[0].entry.id_pk).expect("in the roster");
            sharers.remove(puppet);
            liar.all().for_each(|victim| liar.collect(victim, &sharers));
            sharers.insert(puppet);
            liar.all().for_each(|victim| liar.agree(victim, &sharers));
        }),
        lie("three survived", &["C04", "C16"], ("C04", "cohort_floor"), |liar| {
            let (shown, _) = uploaded(liar);
            let three = Members::of(shown.n(), [0, 1, 2].map(|victim| liar.place(victim)));
            liar.all().for_each(|victim| liar.agree(victim, &three));
            liar.all().for_each(|victim| liar.unmask(victim));
        })
        .would_leak(),
        lie("ten of twenty-two survived", &["C17"], ("C17", "too_few_neighbours"), |liar| {
            let (shown, _) = uploaded(liar);
            let ten = Members::of(shown.n(), 0..10);
            for victim in liar.all().filter(|victim| ten.contains(liar.place(*victim))).collect::<Vec<_>>() {
                liar.agree(victim, &ten);
            }
        })
        .among(20, 2),
        lie("a set of survivors cut short", &["C16"], malformed, |liar| {
            uploaded(liar);
            for victim in liar.all() {
                liar.tell(victim, Message::Survivors(&[0xff]));
            }
        }),
        lie("a survivor beyond the roster", &["C16"], malformed, |liar| {
            uploaded(liar);
            for victim in liar.all() {
                liar.tell(victim, Message::Survivors(&[0xff, 0x7f]));
            }
        }),
        lie("a second set of survivors to sign", &["C19"], SECOND_STATEMENT, |liar| {
            let (shown, all) = uploaded(liar);
            liar.all().for_each(|victim| liar.agree(victim, &all));
            let mut fewer = all.clone();
            fewer.remove(shown.place(&liar.puppets[0].entry.id_pk).expect("in the roster"));
            liar.all().for_each(|victim| liar.agree(victim, &fewer));
        })
        .would_leak(),
        lie("a second set of survivors to sign, after a crash", &["C19"], SECOND_STATEMENT, |liar| {
            let (shown, mut all) = uploaded(liar);
            liar.all().for_each(|victim| liar.agree(victim, &all));
            liar.restart_all();
            all.remove(shown.place(&liar.puppets[0].entry.id_pk).expect("in the roster"));
            liar.all().for_each(|victim| liar.agree(victim, &all));
        })
        .would_leak(),
        lie("two sets of survivors, one for each half", &["C20", "C21"], ("C20", "agreement"), two_statements)
            .would_leak_at(7),
        lie("everybody is shown other survivors, ten each", &["C20"], ("C20", "agreement"), isolate).would_leak(),
        lie("reported lost, asked for all the same", &["C16", "C22"], survivors, |liar| {
            let (shown, all) = uploaded(liar);
            let victim = 0;
            let mut others = all.clone();
            others.remove(liar.place(victim));
            // The others give out what removes its pair masks; its input is kept for later.
            liar.all().skip(1).for_each(|other| liar.agree(other, &others));
            liar.all().skip(1).for_each(|other| liar.unmask(other));
            // The survivors' own statement first, then one that puts it back.
            liar.agree(victim, &others);
            liar.agree(victim, &all);
            liar.unmask(victim);
            liar.play_from_inputs(&shown, &liar.all().skip(1).collect::<Vec<_>>());
        })
        .would_leak(),
        harmless("reported lost, its late upload kept", &["C16", "C21"], |liar| {
            let (_, all) = uploaded(liar);
            let mut others = all.clone();
            others.remove(liar.place(0));
            liar.all().skip(1).for_each(|other| liar.agree(other, &others));
            liar.all().skip(1).for_each(|other| liar.unmask(other));
        }),
        lie("a hole in the ring wider than loss makes", &["C18"], ("C18", "window"), |liar| {
            let (shown, all) = uploaded(liar);
            let hole = params::window_limit(shown.n(), shown.config.class) as usize + 1;
            let ring = shown.graph.ring().expect("a ring").to_vec();
            // Every victim is told of a hole on the other side of the ring: its own neighbours are all there.
            for victim in liar.all() {
                let own = ring.iter().position(|index| *index == liar.place(victim)).expect("on the ring");
                let mut few = all.clone();
                (0..hole).for_each(|step| few.remove(ring[(own + ring.len() / 2 + step) % ring.len()]));
                liar.agree(victim, &few);
            }
        })
        .among(RING, 0)
        .in_profile_s(),
        lie("the ring cut in two places", &["C18", "C17"], ("C18", "window"), cut_ring)
            .among(RING, 0)
            .in_profile_s()
            // Half of the neighbours: what the table never gives.
            .would_leak_at(half_of_the_neighbours()),
    ]
}

pub(crate) fn signatures() -> Vec<Lie> {
    let agreement = ("C20", "agreement");
    vec![
        lie("a signature less than the threshold", &["C20"], agreement, |liar| {
            signed(liar, |shown, _, signatures| signatures.truncate(shown.t as usize - 1));
        }),
        lie("nobody's signature", &["C20"], agreement, |liar| signed(liar, |_, _, signatures| signatures.clear())),
        lie("forged signatures", &["C20"], agreement, |liar| {
            signed(liar, |_, _, signatures| signatures.iter_mut().for_each(|(_, signature)| signature[40] ^= 1));
        }),
        lie("one signature, many signers", &["C20"], agreement, |liar| {
            signed(liar, |_, _, signatures| {
                let first = signatures[0].1;
                signatures.iter_mut().for_each(|(_, signature)| *signature = first);
            });
        }),
        lie("one signer, many times", &["C20"], agreement, |liar| {
            signed(liar, |_, _, signatures| {
                let first = signatures[0];
                signatures.iter_mut().for_each(|signature| *signature = first);
            });
        }),
        lie("the victim's own signature among them", &["C20"], agreement, |liar| {
            signed(liar, |_, own, signatures| {
                signatures.retain(|(index, _)| *index != own);
                signatures.push((own, [1; 64]));
                signatures.sort_unstable_by_key(|(index, _)| *index);
            });
        }),
        lie("a signer beyond the roster", &["C20"], agreement, |liar| {
            signed(liar, |shown, _, signatures| signatures.push((shown.n(), [1; 64])));
        }),
        lie("a signer who is no neighbour", &["C20"], agreement, |liar| {
            signed(liar, |shown, own, signatures| {
                let near = shown.graph.neighbours(own);
                let far = (0..shown.n()).find(|index| *index != own && !near.contains(index)).expect("a ring");
                signatures.push((far, [1; 64]));
                signatures.sort_unstable_by_key(|(index, _)| *index);
            });
        })
        .among(RING, 0)
        .in_profile_s(),
        lie("a signer who is no survivor", &["C20"], agreement, |liar| {
            let (shown, mut all) = uploaded(liar);
            let lost = shown.place(&liar.puppets[0].entry.id_pk).expect("in the roster");
            all.remove(lost);
            liar.all().for_each(|victim| liar.agree(victim, &all));
            for victim in liar.all() {
                let mut signatures = liar.signatures_for(victim);
                signatures.push((lost, [1; 64]));
                signatures.sort_unstable_by_key(|(index, _)| *index);
                liar.unmask_as(victim, &signatures);
            }
        }),
        lie("signatures cut short", &["C20"], ("", "malformed"), |liar| {
            let (_, all) = uploaded(liar);
            liar.all().for_each(|victim| liar.agree(victim, &all));
            for victim in liar.all() {
                liar.tell(victim, Message::Signatures(&[0; 67]));
            }
        }),
        lie("a second unmask request, for the other kind of share", &["C21", "C22"], OUT_OF_TURN, |liar| {
            let (shown, all) = uploaded(liar);
            liar.play_from_inputs(&shown, &liar.all().collect::<Vec<_>>());
            let mut others = all.clone();
            others.remove(liar.place(0));
            liar.all().skip(1).for_each(|victim| liar.agree(victim, &others));
            liar.all().skip(1).for_each(|victim| liar.unmask(victim));
        })
        .would_leak(),
        lie("a second roster, after a crash", &["C22"], OUT_OF_TURN, |liar| {
            let (shown, _) = shared(liar);
            liar.restart_all();
            let gone = liar.puppets[0].entry.id_pk;
            let other = Rc::new(shown.sorted_with(|entries| entries.retain(|entry| entry.id_pk != gone)));
            liar.all().for_each(|victim| liar.share(victim, &other));
        }),
        lie("the whole session over again", &["C22"], OUT_OF_TURN, |liar| {
            let (shown, _) = uploaded(liar);
            let everybody: Vec<usize> = liar.all().collect();
            liar.play_from_inputs(&shown, &everybody);
            liar.play_on(&shown, &everybody);
        })
        .would_leak(),
    ]
}

/// The smallest session that has a ring.
const RING: usize = params::COMPLETE_UP_TO as usize + 1;

fn half_of_the_neighbours() -> u32 {
    let parameters = params::parameters(RING as u32, Profile::Standard, Class::Default);
    parameters.expect("a session of this size").k / 2
}

/// Stages 0 and 1 with everybody; who shared.
pub(crate) fn shared(liar: &mut Liar) -> (Rc<Shown>, Members) {
    let shown = begin(liar);
    liar.all().for_each(|victim| liar.share(victim, &shown));
    let sharers = liar.sharers(&shown);
    (shown, sharers)
}

/// Stages 0 to 2 with everybody; whose input is there.
pub(crate) fn uploaded(liar: &mut Liar) -> (Rc<Shown>, Members) {
    let (shown, sharers) = shared(liar);
    liar.all().for_each(|victim| liar.collect(victim, &sharers));
    let survivors = liar.survivors(&shown);
    (shown, survivors)
}

/// The message of stage 2, changed for each victim.
fn altered(liar: &mut Liar, change: fn(&mut Vec<u8>)) {
    let (_, all) = shared(liar);
    for victim in liar.all() {
        let mut bytes = liar.sealed_for(victim, &all).expect("shared");
        change(&mut bytes);
        liar.collect_as(victim, &all, &bytes);
    }
}

/// Index and signature of each signer that a victim is shown.
type Signed = Vec<(u32, [u8; 64])>;

/// Stage 4 with the signatures changed for each victim: told the roster and its own place.
fn signed(liar: &mut Liar, change: fn(&Shown, u32, &mut Signed)) {
    let (shown, all) = uploaded(liar);
    liar.all().for_each(|victim| liar.agree(victim, &all));
    for victim in liar.all() {
        let mut signatures = liar.signatures_for(victim);
        change(&shown, liar.place(victim), &mut signatures);
        liar.unmask_as(victim, &signatures);
    }
}

/// One half hears that the first victim is lost, the other half that the second is: together they would give out both
/// kinds of share of either.
pub(crate) fn two_statements(liar: &mut Liar) {
    let (_, all) = uploaded(liar);
    let halves = [0, 1].map(|lost| {
        let mut set = all.clone();
        set.remove(liar.place(lost));
        set
    });
    // The lost one itself sits in the half that counts it in.
    let half = |victim: usize| &halves[(victim + 1) % 2];
    liar.all().for_each(|victim| liar.agree(victim, half(victim)));
    liar.all().for_each(|victim| liar.unmask(victim));
}

/// Four victims are meant to stand alone: the other eight are called lost to six victims each, which is enough, with the
/// two made-up devices, to rebuild their pair masks. Every set has ten members, and everybody is in its own.
fn isolate(liar: &mut Liar) {
    let (_, all) = uploaded(liar);
    let lost = |victim: usize| -> [usize; 4] {
        // Victims 0 to 3 stand alone; 4 to 11 are called lost.
        let start = if victim < 4 { 4 * (victim % 2) } else { victim - 4 + 1 };
        [0, 1, 2, 3].map(|step| 4 + (start + step) % 8)
    };
    for victim in liar.all() {
        let mut set = all.clone();
        lost(victim).iter().for_each(|other| set.remove(liar.place(*other)));
        liar.agree(victim, &set);
    }
    liar.all().for_each(|victim| liar.unmask(victim));
}

/// Two holes, each as wide as a neighbourhood reaches: the survivors fall into two pieces.
fn cut_ring(liar: &mut Liar) {
    let (shown, all) = uploaded(liar);
    let ring = shown.graph.ring().expect("a ring").to_vec();
    let width = shown.graph.k() as usize / 2;
    let mut left = all.clone();
    for start in [0, ring.len() / 2] {
        (start..start + width).for_each(|position| left.remove(ring[position]));
    }
    // Those far from the holes first: the others see that too few of their neighbours are left.
    let mut order: Vec<usize> = liar.all().filter(|victim| left.contains(liar.place(*victim))).collect();
    let full = |victim: &usize| shown.graph.count_in(liar.place(*victim), &left) == shown.graph.k();
    order.sort_by_key(|victim| !full(victim));
    order.iter().for_each(|victim| liar.agree(*victim, &left));
    order.iter().for_each(|victim| liar.unmask(*victim));
}
