//! Selection: who takes part, who comes back when, and what an accepted device gets.
//!
//! | file | holds |
//! |---|---|
//! | `check_in.rs` | the calls: check in, leave, report progress |
//! | `admission.rs` | devices on their way into a round, many in one step |
//! | `presence.rs` | devices that wait at this moment |
//! | `pace.rs` | how many were turned away lately, and when they come again |

mod admission;
mod check_in;
mod pace;
mod presence;

use std::sync::Arc;

use crate::context::Context;
use crate::rounds::Rounds;

use self::admission::Admissions;
use self::pace::Pace;
use self::presence::Presence;

/// The room where devices ask for work.
pub(crate) struct Selection {
    context: Arc<Context>,
    rounds: Arc<Rounds>,
    admissions: Admissions,
    presence: Arc<Presence>,
    pace: Pace,
}

impl Selection {
    pub(crate) fn new(rounds: Arc<Rounds>) -> Self {
        let context = Arc::clone(&rounds.context);
        Self {
            admissions: Admissions::new(Arc::clone(&rounds)),
            presence: Arc::default(),
            pace: Pace::default(),
            rounds,
            context,
        }
    }
}
