//! Stage 3: the device signs the one set of survivors it will help to unmask (docs/protocol/session.md).

use super::mask::Shares;
use super::{Masked, Session, require, session_facts};
use crate::check::Check;
use crate::error::{Reason, Refusal};
use crate::graph::{Graph, Members, survivor_statement};
use crate::keys::IdentityKey;
use crate::params::GraphKind;
use crate::wipe::Held;

/// Stage 3 answered: one statement is signed, and there is no way to sign another.
pub struct Agreed {
    pub(super) session: Session,
    pub(super) sharers: Members,
    pub(super) shares: Held<Shares>,
    pub(super) survivors: Members,
}

session_facts!(Agreed);

impl Masked {
    /// Checks the set of survivors and signs it together with the set of sharers.
    ///
    /// # Errors
    /// `malformed`, C16, C04, C17, and in sparse graphs C18; C25.
    pub fn on_survivors(
        self,
        bytes: &[u8],
        now_ms: u64,
        identity: &IdentityKey,
    ) -> Result<(Agreed, [u8; 64]), Refusal> {
        let Self { session, sharers, shares } = self;
        session.in_time(3, now_ms)?;
        let survivors = Members::decode(session.n, bytes)?;
        require(survivors.contains(session.index), Check::C16, Reason::Survivors)?;
        require(survivors.is_subset(&sharers), Check::C16, Reason::Survivors)?;
        require(survivors.len() >= session.config.survivors_min(), Check::C04, Reason::CohortFloor)?;
        require(
            session.neighbour_count(&survivors) >= session.parameters.t as usize,
            Check::C17,
            Reason::TooFewNeighbours,
        )?;
        if session.parameters.graph == GraphKind::Sparse {
            check_window(&session, &survivors)?;
        }
        let statement = survivor_statement(&session.sid, &sharers, &survivors);
        let signature = identity.sign(&statement);
        Ok((Agreed { session, sharers, shares, survivors }, signature))
    }
}

/// A server that drops members on purpose, to cut the ring, leaves a hole that random loss hardly ever makes.
fn check_window(session: &Session, survivors: &Members) -> Result<(), Refusal> {
    let ring = Graph::harary(session.n, session.parameters.k, &session.sid);
    require(ring.worst_window(survivors) <= session.parameters.window, Check::C18, Reason::Window)
}
