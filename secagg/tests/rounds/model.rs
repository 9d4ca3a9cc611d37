//! How a round must end, from the numbers of docs/protocol.md alone: no code of the crate but the ring's permutation,
//! which has known answers of its own.

use scale_secagg::config::RoundConfig;
use scale_secagg::error::Reason;
use scale_secagg::graph::{graph_seed, permutation};
use scale_secagg::params::{Class, Profile};
use scale_secagg::roster::Sid;
use serde_json::Value;

/// A stage after which nobody falls silent.
pub(crate) const NEVER: u8 = 5;

/// What one device does wrong. Devices are named by their place in the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Its message of this stage is refused by the server: a wrong length, a bad signature, set padding bits, a share
    /// that is no scalar. Then the right one follows, or nothing any more.
    Broken {
        stage: u8,
        recovers: bool,
    },
    /// What it sealed for these neighbours does not open.
    BadSeal(Vec<usize>),
    /// These neighbours get wrong shares of both its secrets.
    FalseDeal(Vec<usize>),
    /// Its commitment belongs to another secret.
    BadCommitment,
    /// It reveals wrong shares of everybody's secrets.
    FalseShares,
}

/// Who falls silent when, and who does what wrong.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// First stage that each device no longer answers; [`NEVER`] for none.
    pub(crate) silent_from: Vec<u8>,
    pub(crate) faults: Vec<Fault>,
}

impl Plan {
    /// Whether the server gets a good message of this stage from device `i`, as far as that is up to the device.
    pub(crate) fn answers(&self, i: usize, stage: u8) -> bool {
        let broken = matches!(self.faults[i], Fault::Broken { stage: at, recovers: false } if at <= stage);
        self.silent_from[i] > stage && !broken
    }

    fn seals_badly(&self, from: usize, to: usize) -> bool {
        matches!(&self.faults[from], Fault::BadSeal(victims) if victims.contains(&to))
    }

    fn reveals_wrongly(&self, owner: usize, holder: usize) -> bool {
        let dealt = matches!(&self.faults[owner], Fault::FalseDeal(victims) if victims.contains(&holder));
        dealt || self.faults[holder] == Fault::FalseShares
    }
}

/// Size, threshold and neighbours of a session.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) n: usize,
    pub(crate) t: usize,
    /// Fewest sharers and survivors.
    floor: usize,
    /// Neighbours of each device, ascending.
    pub(crate) neighbours: Vec<Vec<usize>>,
    /// Sparse graphs: the device at each ring position, and how many in a row may be missing (docs/protocol/graph.md).
    pub(crate) ring: Option<(Vec<usize>, usize)>,
    pub(crate) k: usize,
}

impl Shape {
    pub(crate) fn new(config: &RoundConfig, n: usize, sid: &Sid) -> Self {
        let floor = 10.max(config.u3_min as usize);
        if n <= 128 || config.profile == Profile::Malicious {
            let corrupt = match config.class {
                Class::Default => n.div_ceil(10),
                Class::Paranoid => (33 * n).div_ceil(100),
            };
            let neighbours = (0..n).map(|i| (0..n).filter(|&j| j != i).collect()).collect();
            return Self { n, k: n - 1, t: (n - 1 + corrupt) / 2 + 1, floor, neighbours, ring: None };
        }
        let table: Value = serde_json::from_str(include_str!("../vectors/13_params.json")).unwrap();
        let class = &table["classes"][usize::from(config.class == Class::Paranoid)];
        let at = |list: &str, column: usize| {
            let runs = class[list].as_array().unwrap();
            let run = runs.iter().rfind(|run| run[0].as_u64().unwrap() as usize <= n).unwrap();
            run[column].as_u64().unwrap() as usize
        };
        let (k, t, window) = (at("k_t", 1), at("k_t", 2), at("window_limit", 1));
        let ring: Vec<usize> = permutation(n as u32, &graph_seed(sid)).into_iter().map(|i| i as usize).collect();
        let mut neighbours = vec![Vec::new(); n];
        for (position, &i) in ring.iter().enumerate() {
            neighbours[i] =
                (1..=k / 2).flat_map(|d| [ring[(position + d) % n], ring[(position + n - d) % n]]).collect();
            neighbours[i].sort_unstable();
        }
        Self { n, k, t, floor, neighbours, ring: Some((ring, window)) }
    }

    fn among(&self, i: usize, set: &[bool]) -> usize {
        self.neighbours[i].iter().filter(|&&j| set[j]).count()
    }

    fn connected(&self, set: &[bool]) -> bool {
        let mut seen = vec![false; self.n];
        let mut todo: Vec<usize> = set.iter().position(|is_in| *is_in).into_iter().collect();
        while let Some(i) = todo.pop() {
            if !std::mem::replace(&mut seen[i], true) {
                todo.extend(self.neighbours[i].iter().filter(|&&j| set[j]));
            }
        }
        seen == set
    }

    /// Whether more devices are missing in a row than a device accepts.
    fn has_hole(&self, survivors: &[bool]) -> bool {
        let Some((ring, limit)) = &self.ring else { return false };
        (0..self.n).any(|start| {
            let missing = (0..self.k / 2).filter(|d| !survivors[ring[(start + d) % self.n]]);
            missing.count() > *limit
        })
    }
}

/// What the plan leads to.
#[derive(Debug)]
pub(crate) struct Expected {
    /// Sharers, survivors and signers, as far as the session comes.
    pub(crate) sharers: Vec<bool>,
    pub(crate) survivors: Vec<bool>,
    pub(crate) signers: Vec<bool>,
    /// Devices whose neighbours' shares do not open, with the first neighbour to blame.
    pub(crate) blaming: Vec<Option<usize>>,
    /// Devices refuse the survivors for a hole in the ring.
    pub(crate) hole: bool,
    /// Signers that have too few signatures of neighbours to go on.
    pub(crate) unconvinced: Vec<bool>,
    /// Some wrong share was among those that came back.
    pub(crate) wrong_shares: bool,
    /// Why no sum comes out: any one of these. Empty when the sum is released.
    pub(crate) reasons: Vec<Reason>,
}

fn count(set: &[bool]) -> usize {
    set.iter().filter(|is_in| **is_in).count()
}

/// Walks through the stages as docs/protocol/session.md says.
pub(crate) fn expected(shape: &Shape, plan: &Plan) -> Expected {
    let all = || 0..shape.n;
    let mut sharers: Vec<bool> = all().map(|i| plan.answers(i, 1)).collect();
    while let Some(weak) = all().find(|&i| sharers[i] && shape.among(i, &sharers) < shape.t) {
        sharers[weak] = false;
    }
    let blames = |i: usize| shape.neighbours[i].iter().copied().find(|&j| sharers[j] && plan.seals_badly(j, i));
    let blaming: Vec<Option<usize>> = all().map(blames).collect();
    let survivors: Vec<bool> = all().map(|i| sharers[i] && plan.answers(i, 2) && blaming[i].is_none()).collect();
    let hole = shape.has_hole(&survivors);
    let signers: Vec<bool> = all().map(|i| survivors[i] && plan.answers(i, 3) && !hole).collect();
    let unconvinced: Vec<bool> = all().map(|i| signers[i] && shape.among(i, &signers) < shape.t).collect();
    let revealing: Vec<bool> = all().map(|i| signers[i] && plan.answers(i, 4) && !unconvinced[i]).collect();

    let mut wrong_shares = false;
    let mut reasons = Vec::new();
    if count(&sharers) < shape.floor {
        reasons.push(Reason::TooFewSharers);
    } else if count(&survivors) < shape.floor {
        reasons.push(Reason::TooFewInputs);
    } else if all().any(|i| sharers[i] && shape.among(i, &survivors) < shape.t) {
        reasons.push(Reason::WeakNeighbourhood);
    } else if !shape.connected(&survivors) {
        reasons.push(Reason::Disconnected);
    } else {
        for owner in all().filter(|&owner| sharers[owner]) {
            let right: Vec<bool> = shape.neighbours[owner]
                .iter()
                .filter(|&&holder| revealing[holder])
                .map(|&holder| !plan.reveals_wrongly(owner, holder))
                .collect();
            wrong_shares |= right.contains(&false);
            let lied = survivors[owner] && plan.faults[owner] == Fault::BadCommitment;
            if right.len() < shape.t {
                reasons.push(Reason::TooFewShares);
            } else if lied || !rebuilds(&right, shape.t) {
                reasons.push(Reason::SecretMismatch);
            }
        }
    }
    Expected { sharers, survivors, signers, blaming, hole, unconvinced, wrong_shares, reasons }
}

/// Whether the tries of docs/protocol/session.md meet right shares only: all of them, or t in a row from one of at most
/// 64 starting points. `right`: the responders by holder number.
fn rebuilds(right: &[bool], t: usize) -> bool {
    let responders = right.len();
    let tries = responders.min(64);
    let in_a_row = |start: usize| (0..t).all(|d| right[(start + d) % responders]);
    !right.contains(&false) || (0..tries).any(|s| in_a_row(s * responders / tries))
}
