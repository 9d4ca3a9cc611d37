//! Open rounds: their rows, what memory keeps of them, and the one way to change them.
//!
//! A round changes in one place only: [`Rounds::step`] loads its row for update, lets [`crate::round::Round::handle`]
//! decide, and writes the row, what changes with it and the work that it leaves, all in one transaction. What memory holds
//! of a round is a copy with a revision, and of a session a replay of its messages; both may be thrown away at any time.
//!
//! | file | holds |
//! |---|---|
//! | `active.rs` | the copy of a round's row, and who waits for it to change |
//! | `known.rs` | which rounds are known here, and how they are brought up to date |
//! | `tasks.rs` | the tasks as they are known here, and who watches for their models |
//! | `session.rs` | a session's cryptography, replayed from its rows |
//! | `step.rs` | one step, in one transaction |
//! | `training.rs` | what the start of training fixes: configuration, signature, who is with whom |
//! | `open.rs` | opening a round, by schedule or by hand |
//! | `look.rs` | the regular look: answers that came, deadlines, openings |
//! | `time.rs` | what time it is in a round |

mod active;
mod known;
mod look;
mod open;
mod session;
mod step;
mod tasks;
mod time;
mod training;

pub(crate) use active::{ActiveRound, Fixed, Member, View, is_selecting};
pub(crate) use known::Rounds;
pub(crate) use session::{SecureSession, failure};
pub(crate) use step::{CHANNEL, Lease, Step, decision, work_of};
pub(crate) use training::check_sessions;
