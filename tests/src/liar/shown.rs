//! A roster as the liar shows it: the true one, or any other.

use std::collections::BTreeMap;

use scale_secagg::config::RoundConfig;
use scale_secagg::graph::{Graph, Members};
use scale_secagg::keys;
use scale_secagg::params::{self, GraphKind, Parameters};
use scale_secagg::roster::{self, Certificate, Entry, RosterForm, Sid, SparseRoster, Tree};

/// How a crew of victims derives the session from what it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// As the protocol says: the session id is computed from the roster, the threshold from the compiled table.
    Protocol,
    /// As the server says: its nonce names the session, and it may tell a threshold.
    Told(Option<u32>),
}

impl Rule {
    /// The id of a session over a roster with this tree.
    pub fn sid(self, config: &RoundConfig, n: u32, root: &[u8; 32]) -> Sid {
        match self {
            Self::Protocol => roster::session_id(&config.cfg(), n, root),
            Self::Told(_) => Sid::from(keys::hash(&[b"told", &config.server_nonce])),
        }
    }

    /// The threshold of a session of `n` in which everybody has `k` neighbours.
    pub fn threshold(self, config: &RoundConfig, n: u32, k: u32) -> u32 {
        let table = || params::parameters(n, config.profile, config.class).map(|parameters| parameters.t);
        match self {
            Self::Told(Some(t)) => t,
            // A cohort that the table does not have: a majority, so that the protocol runs at all.
            Self::Protocol | Self::Told(None) => table().unwrap_or(k / 2 + 1),
        }
    }
}

/// A roster with all that follows from it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The configuration that its devices advertised for.
    pub config: RoundConfig,
    /// The entries in index order.
    pub entries: Vec<Entry>,
    /// Certificates, by identity, where the session shows them.
    pub certificates: BTreeMap<[u8; 32], Certificate>,
    /// The session's id.
    pub sid: Sid,
    /// Shares that rebuild a secret.
    pub t: u32,
    /// Who is whose neighbour.
    pub graph: Graph,
    /// The tree over the entries.
    pub tree: Tree,
    rule: Rule,
}

impl Shown {
    /// The roster of these entries, in their right order.
    pub fn new(config: &RoundConfig, mut entries: Vec<Entry>, rule: Rule) -> Self {
        entries.sort_by_cached_key(Entry::leaf);
        Self::unsorted(config, entries, rule)
    }

    /// The roster of these entries, in the order given.
    pub fn unsorted(config: &RoundConfig, entries: Vec<Entry>, rule: Rule) -> Self {
        let tree = Tree::new(&entries.iter().map(Entry::leaf).collect::<Vec<_>>());
        let n = entries.len() as u32;
        let sid = rule.sid(config, n, &tree.root());
        let graph = match params::parameters(n, config.profile, config.class) {
            Ok(Parameters { graph: GraphKind::Sparse, k, .. }) => Graph::harary(n, k, &sid),
            _ => Graph::complete(n),
        };
        let t = rule.threshold(config, n, graph.k());
        Self { config: config.clone(), entries, certificates: BTreeMap::new(), sid, t, graph, tree, rule }
    }

    /// The same roster with these entries changed: an index keeps its place, right or not.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Vec<Entry>)) -> Self {
        let mut entries = self.entries.clone();
        change(&mut entries);
        Self { certificates: self.certificates.clone(), ..Self::unsorted(&self.config, entries, self.rule) }
    }

    /// The same entries with others in some places, put in order anew.
    #[must_use]
    pub fn sorted_with(&self, change: impl FnOnce(&mut Vec<Entry>)) -> Self {
        let mut entries = self.entries.clone();
        change(&mut entries);
        Self { certificates: self.certificates.clone(), ..Self::new(&self.config, entries, self.rule) }
    }

    /// Number of entries.
    pub fn n(&self) -> u32 {
        self.entries.len() as u32
    }

    /// The place of an identity; the first one, if it stands there twice.
    pub fn place(&self, identity: &[u8; 32]) -> Option<u32> {
        self.entries.iter().position(|entry| entry.id_pk == *identity).map(|place| place as u32)
    }

    /// The entry at `index`.
    pub fn entry(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }

    /// Whether there is no ring.
    pub fn is_complete(&self) -> bool {
        self.graph.ring().is_none()
    }

    /// The set of these identities' places; who is not in the roster is left out.
    pub fn members(&self, identities: impl IntoIterator<Item = [u8; 32]>) -> Members {
        Members::of(self.n(), identities.into_iter().filter_map(|identity| self.place(&identity)))
    }

    /// The roster message for the device at `own`.
    pub fn message(&self, own: u32) -> (RosterForm, Vec<u8>) {
        if !self.is_complete() {
            return (RosterForm::Sparse, self.sparse(own, &self.graph.neighbours(own)).encode());
        }
        if self.certificates.is_empty() {
            return (RosterForm::Complete, roster::encode_complete(&self.entries));
        }
        let nothing = Certificate { not_after_ms: u64::MAX, signature: [0; 64] };
        let pairs = self.entries.iter().map(|entry| (entry, self.certificates.get(&entry.id_pk).unwrap_or(&nothing)));
        (RosterForm::Certified, roster::encode_certified(pairs))
    }

    /// The sparse message for the device at `own` with any neighbours.
    pub fn sparse(&self, own: u32, neighbours: &[u32]) -> SparseRoster {
        SparseRoster::new(&self.entries, &self.tree, own, neighbours)
    }
}
