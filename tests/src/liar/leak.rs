//! What counts as a leak: anything beyond what a session promises.
//!
//! A session of n devices promises that the server learns at most one plain sum, over at least
//! `max(u3_min, 10, t + 1) - c` inputs of honest devices, where t is the threshold and c the number of corrupt devices that
//! the compiled class allows for at this n; that all of them were trained on the model that the signed configuration names; and that a
//! device masks one input per round and vouches for one set of survivors per session.

use std::collections::{BTreeMap, BTreeSet};

use scale_secagg::config::RoundConfig;
use scale_secagg::params;

/// Something that the liar must not be able to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leak {
    /// A sum over fewer honest inputs than the session promises.
    SmallSum {
        /// Honest inputs in it.
        inputs: usize,
        /// As many were promised.
        promised: usize,
    },
    /// More than one independent sum of one session.
    SecondSum {
        /// Independent sums.
        sums: usize,
    },
    /// A combination of inputs that is no sum: a difference, say.
    Combination,
    /// A sum over inputs that were trained on different models.
    MixedModels,
    /// Enough shares of both secrets of one victim.
    BothSecrets {
        /// Whose.
        victim: usize,
    },
    /// Two masked inputs of one victim in one round.
    TwoInputs {
        /// Whose.
        victim: usize,
    },
    /// Two statements about survivors by one victim in one session.
    TwoStatements {
        /// Whose.
        victim: usize,
    },
    /// A victim masked an update of another model than the configuration names.
    OtherModel {
        /// Who.
        victim: usize,
    },
    /// A victim advertised a key a second time.
    KeyAgain {
        /// Who.
        victim: usize,
    },
}

/// Honest inputs that a sum of this session has at least.
pub fn promised(config: &RoundConfig, n: u32) -> usize {
    let t = params::parameters(n, config.profile, config.class).map_or(0, |parameters| parameters.t);
    // A survivor has t neighbours among the survivors, and counts itself.
    config.survivors_min().max(t + 1).saturating_sub(params::corrupt(n, config.class)) as usize
}

/// A combination of masked inputs that the liar has unmasked.
#[derive(Clone, Debug)]
pub struct Learned {
    /// Victims, each with its coefficient.
    pub terms: Vec<(usize, i64)>,
    /// Sessions that the inputs were masked for.
    pub sids: BTreeSet<[u8; 32]>,
    /// Digests of the models that the inputs were trained on.
    pub models: BTreeSet<[u8; 32]>,
    /// Honest inputs that the session promises.
    pub promised: usize,
}

/// Everything that is wrong with these.
pub fn judge(learned: &[Learned]) -> Vec<Leak> {
    let mut leaks = vec![];
    let mut per_session: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    for one in learned {
        one.sids.iter().for_each(|sid| *per_session.entry(*sid).or_default() += 1);
        let first = one.terms.first().map_or(0, |(_, coefficient)| *coefficient);
        if one.terms.iter().any(|(_, coefficient)| *coefficient != first) {
            leaks.push(Leak::Combination);
        }
        if one.terms.len() < one.promised {
            leaks.push(Leak::SmallSum { inputs: one.terms.len(), promised: one.promised });
        }
        if one.models.len() > 1 {
            leaks.push(Leak::MixedModels);
        }
    }
    leaks.extend(per_session.into_values().filter(|sums| *sums > 1).map(|sums| Leak::SecondSum { sums }));
    leaks
}
