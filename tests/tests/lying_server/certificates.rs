//! Lies about who is a device at all: profile M, in which an authority that the coordinator does not run says so.

use scale_secagg::keys::IdentityKey;
use scale_secagg::params::Profile;
use scale_secagg::roster::{self, Certificate, RosterForm};
use scale_tests::liar::{Habits, Liar};

use super::rosters::begin;
use super::table::{AUTHORITY, Lie, lie};

pub(crate) fn lies() -> Vec<Lie> {
    let certificate = ("C07", "certificate");
    let policy = ("C05", "policy");
    vec![
        pinned("nine made-up peers of ten", &["C07"], certificate, |liar| {
            outsiders(liar);
            liar.play();
        })
        .among(1, 9)
        .would_leak(),
        pinned("one made-up peer", &["C07"], certificate, |liar| {
            outsiders(liar);
            liar.play();
        })
        .among(13, 1),
        pinned("an authority of the coordinator's own", &["C07"], certificate, |liar| {
            liar.malicious(&AUTHORITY);
            liar.lets_puppets_in = Some(IdentityKey::from_seed(&[3; 32]));
            liar.play();
        }),
        pinned("an authority of the coordinator's own, signed into the round", &["C05"], policy, |liar| {
            liar.malicious(&[3; 32]);
            liar.play();
        }),
        pinned("a round without certificates, for an app that asks for them", &["C05"], policy, |liar| {
            assert_eq!(liar.config.profile, Profile::Standard);
            liar.play();
        })
        .among(1, 9)
        .would_leak(),
        pinned("somebody else's certificate", &["C07"], certificate, |liar| {
            outsiders(liar);
            liar.advertise();
            let borrowed = liar.certificates[&liar.victims[0].identity()];
            let puppets: Vec<[u8; 32]> = liar.puppets.iter().map(|puppet| puppet.entry.id_pk).collect();
            liar.certificates.extend(puppets.into_iter().map(|id_pk| (id_pk, borrowed)));
            let shown = liar.roster();
            liar.play_on(&shown, &liar.all().collect::<Vec<_>>());
        }),
        pinned("a certificate that ends before the session", &["C07"], ("C07", "certificate_expired"), |liar| {
            outsiders(liar);
            let (authority, end) = (IdentityKey::from_seed(&AUTHORITY), liar.config.closing[4]);
            liar.make_up(liar.puppets.len());
            for puppet in &liar.puppets {
                let id_pk = puppet.entry.id_pk;
                liar.certificates.insert(id_pk, Certificate::issue(&authority, &id_pk, end - 1));
            }
            liar.play();
        }),
        pinned("a roster that leaves the certificates out", &["C07"], ("C07", "certificate_missing"), |liar| {
            liar.malicious(&AUTHORITY);
            let shown = begin(liar);
            let bytes = roster::encode_complete(&shown.entries);
            for victim in liar.all() {
                let own = shown.place(&liar.victims[victim].identity()).expect("in the roster");
                let others = shown.graph.neighbours(own);
                liar.share_as(victim, &shown, own, others, RosterForm::Complete, &bytes);
            }
        }),
        lie("certificates for a round that has none", &["C10"], ("C10", "parameters"), |liar| {
            let shown = begin(liar);
            let none = Certificate { not_after_ms: 0, signature: [0; 64] };
            let bytes = roster::encode_certified(shown.entries.iter().map(|entry| (entry, &none)));
            for victim in liar.all() {
                let own = shown.place(&liar.victims[victim].identity()).expect("in the roster");
                liar.share_as(victim, &shown, own, shown.graph.neighbours(own), RosterForm::Certified, &bytes);
            }
        })
        .in_profile_s(),
    ]
}

/// A lie to devices that pin the authority and have its certificate.
fn pinned(
    name: &'static str,
    checks: &'static [&'static str],
    refused: (&'static str, &'static str),
    tell: fn(&mut Liar),
) -> Lie {
    let habits = Habits { authority: Some(AUTHORITY), ..Habits::default() };
    lie(name, checks, refused, tell).with(habits).in_profile_s()
}

/// Profile M under the pinned authority, which has not certified the liar's own devices.
fn outsiders(liar: &mut Liar) {
    liar.malicious(&AUTHORITY);
    liar.lets_puppets_in = None;
}
