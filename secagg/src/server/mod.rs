//! The server's half of a session: one type per stage, each a function of the configuration and the messages accepted.
//!
//! | stage | collects       | state           | closes into       | file           |
//! |-------|----------------|-----------------|-------------------|----------------|
//! | 0     | AdvertiseKeys  | [`Keys`]        | [`Shares`]        | `advertise.rs` |
//! | 1     | ShareKeys      | [`Shares`]      | [`MaskedInput`]   | `share.rs`     |
//! | 2     | masked inputs  | [`MaskedInput`] | [`Agreement`]     | `mask.rs`      |
//! | 3     | signatures     | [`Agreement`]   | [`Unmask`]        | `agree.rs`     |
//! | 4     | shares         | [`Unmask`]      | [`SummedUpdate`]  | `unmask.rs`    |
//!
//! A refusal by `receive` concerns that message alone and changes nothing; one by `close` abandons the session. Nothing
//! is stored here: who keeps the accepted messages in order can replay them, through [`Session`], to the same state.
//! Masked inputs are added up by an [`Accumulator`], away from the states, because they are bulky.

mod accumulate;
mod advertise;
mod agree;
mod mask;
mod session;
mod share;
mod unmask;

pub use accumulate::{Accumulator, Ingest, check_packed};
pub use advertise::Keys;
pub use agree::Agreement;
pub use mask::MaskedInput;
pub use session::{Checked, Closed, Down, Session, Stage};
pub use share::Shares;
pub use unmask::{SummedUpdate, Unmask};

use std::collections::{BTreeMap, HashMap};

use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::graph::{Graph, Members};
use crate::params::Parameters;
use crate::roster::{Certificate, Entry, Sid, Tree};

/// What became of a message that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Taken.
    New,
    /// The same bytes were taken before; nothing changed.
    Same,
}

/// What stage 0 fixed, for all later stages.
struct Core {
    config: RoundConfig,
    cfg: [u8; 32],
    /// In roster order.
    entries: Vec<Entry>,
    /// By identity; `None` when the session asks for none.
    certificates: Option<HashMap<[u8; 32], Certificate>>,
    /// Place in the roster by identity key.
    places: HashMap<[u8; 32], u32>,
    tree: Tree,
    sid: Sid,
    parameters: Parameters,
    graph: Graph,
}

impl Core {
    fn n(&self) -> u32 {
        self.graph.n()
    }

    /// Neighbours of `i` among `members`, ascending.
    fn live(&self, i: u32, members: &Members) -> Vec<u32> {
        self.graph.neighbours(i).into_iter().filter(|&j| members.contains(j)).collect()
    }
}

/// One message per sender; the same bytes again are no error.
fn once<V: AsRef<[u8]>>(got: &BTreeMap<u32, V>, sender: u32, message: &[u8]) -> Result<Receipt, Refusal> {
    match got.get(&sender) {
        None => Ok(Receipt::New),
        Some(before) if before.as_ref() == message => Ok(Receipt::Same),
        Some(_) => Err(Reason::Duplicate.into()),
    }
}

fn require(holds: bool, reason: Reason) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(reason.into()) }
}
