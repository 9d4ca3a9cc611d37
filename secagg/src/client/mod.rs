//! One device's half of a session: one type per state, and every step takes its state by value.
//!
//! | stage | in                        | state after | out            | file          |
//! |-------|---------------------------|-------------|----------------|---------------|
//! | 0     | signed [`RoundConfig`]    | [`Keyed`]   | AdvertiseKeys  | `advertise.rs`|
//! | 1     | roster                    | [`Shared`]  | ShareKeys      | `share.rs`    |
//! | 2     | sharers and their shares  | [`Cleared`] | nothing yet    | `mask.rs`     |
//! | 2     | the noised integer update | [`Masked`]  | MaskedInput    | `mask.rs`     |
//! | 3     | survivors                 | [`Agreed`]  | signature      | `agree.rs`    |
//! | 4     | neighbours' signatures    | none        | shares         | `unmask.rs`   |
//!
//! A refusal consumes the state, and with it every secret. A step cannot run twice, and none can be skipped:
//!
//! ```compile_fail,E0382
//! // Two masked inputs (C15).
//! fn twice(cleared: scale_secagg::client::Cleared, input: Vec<Vec<u32>>) {
//!     let _first = cleared.mask(input.clone());
//!     let _second = cleared.mask(input);
//! }
//! ```
//! ```compile_fail,E0382
//! // Two statements (C19).
//! fn twice(masked: scale_secagg::client::Masked, sets: [&[u8]; 2], identity: &scale_secagg::keys::IdentityKey) {
//!     let _first = masked.on_survivors(sets[0], 0, identity);
//!     let _second = masked.on_survivors(sets[1], 0, identity);
//! }
//! ```
//! ```compile_fail,E0599
//! // Shares before the roster (C22).
//! fn early(keyed: scale_secagg::client::Keyed, shares: &[u8]) {
//!     let _cleared = keyed.on_shares(shares, 0);
//! }
//! ```
//!
//! What to do about a message out of turn, retries, deadlines and restarts are up to the device's machine
//! (`scale_client_core::device::State`), which holds one of these states at a time. Nothing here reads a clock, draws
//! randomness of its own, or keeps the identity key.

mod advertise;
mod agree;
mod mask;
mod share;
mod snapshot;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
mod unmask;

pub use advertise::{Keyed, advertise};
pub use agree::Agreed;
pub use mask::{Cleared, Masked};
pub use share::Shared;

use crate::check::Check;
use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::graph::Members;
use crate::params::Parameters;
use crate::roster::Sid;

/// What a device knows about its session from stage 1 on. Nothing in it is secret.
struct Session {
    config: RoundConfig,
    cfg: [u8; 32],
    sid: Sid,
    /// Participants in the roster.
    n: u32,
    /// The own place in the roster.
    index: u32,
    /// The neighbours, by ascending index.
    peers: Vec<Peer>,
    /// Neighbours, threshold and graph, from the compiled table.
    parameters: Parameters,
}

/// A neighbour's roster entry, as far as later stages need it.
struct Peer {
    index: u32,
    id_pk: [u8; 32],
    c_pk: [u8; 32],
    s_pk: [u8; 32],
}

impl Session {
    /// The message of `stage` came too late (C25).
    fn in_time(&self, stage: usize, now_ms: u64) -> Result<(), Refusal> {
        in_time(&self.config, stage, now_ms)
    }

    /// Positions in `peers` of the neighbours among `members`.
    fn live(&self, members: &Members) -> Vec<usize> {
        (0..self.peers.len()).filter(|&p| members.contains(self.peers[p].index)).collect()
    }

    fn neighbour_count(&self, members: &Members) -> usize {
        self.peers.iter().filter(|peer| members.contains(peer.index)).count()
    }
}

fn in_time(config: &RoundConfig, stage: usize, now_ms: u64) -> Result<(), Refusal> {
    require(now_ms < config.closing[stage], Check::C25, Reason::Deadline)
}

fn require(holds: bool, check: Check, reason: Reason) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::by(check, reason)) }
}

/// Public facts of a session, and a `Debug` that shows nothing else.
macro_rules! session_facts {
    ($state:ident) => {
        impl $state {
            /// The session's id: hash of the configuration and the whole roster.
            pub fn sid(&self) -> &crate::roster::Sid {
                &self.session.sid
            }

            /// Hash of the round configuration.
            pub fn cfg(&self) -> &[u8; 32] {
                &self.session.cfg
            }

            /// The round configuration.
            pub fn config(&self) -> &crate::config::RoundConfig {
                &self.session.config
            }

            /// The own place in the roster.
            pub fn index(&self) -> u32 {
                self.session.index
            }

            /// Participants in the roster.
            pub fn n(&self) -> u32 {
                self.session.n
            }
        }

        impl std::fmt::Debug for $state {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($state))
                    .field("round", &self.session.config.round)
                    .field("n", &self.session.n)
                    .field("index", &self.session.index)
                    .finish_non_exhaustive()
            }
        }
    };
}
use session_facts;
