//! Lies about the round: what is signed, how many take part, what is trained, when it closes.

use scale_secagg::config::Mechanism;
use scale_secagg::keys::IdentityKey;
use scale_secagg::params::Profile;
use scale_tests::liar::setting::{self, Offer};
use scale_tests::liar::{Habits, Liar};

use super::table::{Lie, harmless, lie};

pub(crate) fn lies() -> Vec<Lie> {
    let host = |cohort_min| Habits { cohort_min, ..Habits::default() };
    let floor = ("C04", "cohort_floor");
    let policy = ("C05", "policy");
    vec![
        lie("a foreign key signs, for a cohort of two", &["C01"], ("C01", "config_signature"), |liar| {
            liar.task_key = IdentityKey::from_seed(&[1; 32]);
            cohort_of_two(liar);
        })
        .among(12, 0)
        .would_leak(),
        lie("nobody signs", &["C01"], ("C01", "config_signature"), |liar| {
            let offer = Offer { signature: [0; 64], ..liar.true_offer() };
            liar.all().for_each(|victim| liar.offer(victim, &offer));
        }),
        lie("the configuration is changed after it was signed", &["C01"], ("C01", "config_signature"), |liar| {
            let signature = liar.true_offer().signature;
            liar.config.u3_min += 1;
            let offer = Offer { signature, ..liar.true_offer() };
            liar.all().for_each(|victim| liar.offer(victim, &offer));
        }),
        lie("other model bytes than the signed ones", &["C02"], ("", "digest_mismatch"), |liar| {
            liar.model = setting::model_of(0.5);
            liar.play();
        })
        .would_leak(),
        lie("the round is run again", &["C03"], ("C03", "round_not_newer"), |liar| {
            liar.play();
            liar.play();
        })
        .would_leak(),
        lie("a lower number, a new nonce", &["C03"], ("C03", "round_not_newer"), |liar| {
            liar.play();
            liar.config.round -= 1;
            liar.config.server_nonce = [6; 32];
            liar.play();
        }),
        lie("a second session of the round for the same update", &["C24", "C03"], ("C03", "round_not_newer"), |liar| {
            liar.play();
            liar.config.server_nonce = [6; 32];
            liar.play();
        })
        .would_leak(),
        harmless("an abandoned round, then the next number", &["C23", "C24"], |liar| {
            liar.advertise();
            let shown = liar.roster();
            liar.all().for_each(|victim| liar.share(victim, &shown));
            liar.config.round += 1;
            liar.play();
        }),
        lie("a cohort of two, rightly signed", &["C04"], floor, cohort_of_two).among(12, 0).would_leak(),
        lie("nine survivors are enough, says the coordinator", &["C04"], floor, |liar| {
            liar.config.u3_min = 9;
            liar.play();
        }),
        lie("nine are enough, says a careless app too", &["C04"], floor, |liar| {
            (liar.config.n_lo, liar.config.u3_min) = (9, 9);
            liar.play();
        })
        .with(host(1)),
        lie("fewer than the app asks for", &["C04"], floor, Liar::play).with(host(11)),
        lie("a roster of three under a configuration for ten", &["C04"], floor, |liar| {
            liar.advertise();
            liar.puppets.clear();
            let shown = liar.roster_of(&liar.config, 0..3);
            liar.play_on(&shown, &[0, 1, 2]);
        })
        .would_leak(),
        lie("a roster below what the app asks for", &["C04"], floor, |liar| {
            (liar.config.n_lo, liar.config.u3_min) = (16, 16);
            liar.play();
        })
        .with(host(16)),
        lie("a roster beyond the most", &["C04"], floor, |liar| {
            liar.config.n_hi = 13;
            liar.play();
        }),
        lie("noise that counts on corrupt devices", &["C05"], policy, |liar| {
            noise(liar, 4, 9);
            liar.play();
        }),
        lie("noise too weak to mean anything", &["C05"], policy, |liar| {
            noise(liar, 3, 8);
            liar.play();
        }),
        lie("more survivors than participants", &["C05"], policy, |liar| {
            liar.config.u3_min = liar.config.n_lo + 1;
            liar.play();
        }),
        lie("a malicious-server session too large for its promise", &["C05"], policy, |liar| {
            liar.config.profile = Profile::Malicious;
            liar.config.n_hi = 257;
            liar.play();
        }),
        lie("words too narrow for the sum", &["C13"], ("C13", "width"), |liar| {
            liar.config.wire_bits -= 1;
            liar.play();
        }),
        lie("a grid too coarse for the model", &["C13"], ("C13", "width"), |liar| {
            liar.config.grid = 20;
            liar.play();
        }),
        lie("noise that the privacy ledger does not pay for", &["C14"], ("C14", "round_too_costly"), |liar| {
            noise(liar, 4, 8);
            liar.play();
        }),
        lie("a vector more than the plan has", &["C26"], ("C26", "plan"), |liar| {
            let mut third = liar.config.vectors[0].clone();
            third.name = "third".into();
            liar.config.vectors.push(third);
            liar.play();
        }),
        lie("a longer vector than the plan's", &["C26"], ("C26", "plan"), |liar| {
            liar.config.vectors[0].len += 1;
            liar.play();
        }),
        lie("a vector under another name", &["C26"], ("C26", "plan"), |liar| {
            liar.config.vectors[1].name = "metrics".into();
            liar.play();
        }),
        lie("an offer after its time", &["C25"], ("C25", "deadline"), |liar| late(liar, 0)),
        lie("a roster after its time", &["C25"], ("C25", "deadline"), |liar| late(liar, 1)),
        lie("shares after their time", &["C25"], ("C25", "deadline"), |liar| late(liar, 2)),
        lie("survivors after their time", &["C25"], ("C25", "deadline"), |liar| late(liar, 3)),
        lie("an unmask request after its time", &["C25"], ("C25", "deadline"), |liar| late(liar, 4)),
    ]
}

/// Two devices make a session, if anybody lets them.
fn cohort_of_two(liar: &mut Liar) {
    (liar.config.n_lo, liar.config.u3_min) = (2, 2);
    liar.advertise();
    if liar.entry(0).is_some() {
        let shown = liar.roster_of(&liar.config, 0..2);
        liar.play_on(&shown, &[0, 1]);
    }
}

/// Noise of this strength, whatever it may cost.
fn noise(liar: &mut Liar, local_variance: u64, n_honest: u32) {
    liar.config.mechanism = Mechanism::DistributedGaussian { local_variance, n_honest, rho: u64::MAX };
    liar.config.wire_bits = 32;
}

/// The truth, but stage `stage` begins when it should have been over.
fn late(liar: &mut Liar, stage: usize) {
    let when = liar.config.closing[stage];
    let at = |liar: &mut Liar, here: usize| liar.now_ms = if here == stage { when } else { liar.now_ms };
    at(liar, 0);
    liar.advertise();
    if liar.entry(0).is_none() {
        return;
    }
    let (shown, everybody) = (liar.roster(), liar.all());
    at(liar, 1);
    everybody.clone().for_each(|victim| liar.share(victim, &shown));
    let sharers = liar.sharers(&shown);
    at(liar, 2);
    everybody.clone().for_each(|victim| liar.collect(victim, &sharers));
    let survivors = liar.survivors(&shown);
    at(liar, 3);
    everybody.clone().for_each(|victim| liar.agree(victim, &survivors));
    at(liar, 4);
    everybody.for_each(|victim| liar.unmask(victim));
}
