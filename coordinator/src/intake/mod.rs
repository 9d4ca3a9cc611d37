//! What devices send in a session: messages of stages 0, 1, 3 and 4, and uploads of stage 2.
//!
//! A call checks its message by what does not change any more, keeps it in a row of its own, and waits. It locks no round:
//! what follows from all messages together is [`crate::rounds`]' to decide. So any process takes any call.
//!
//! | file | holds |
//! |---|---|
//! | `stages.rs` | the calls of stages 0, 1, 3 and 4 |
//! | `keeper.rs` | messages on their way into rows, many in one transaction |
//! | `announce.rs` | new and whole uploads on their way into rows |
//! | `answers.rs` | what a call gets, by the stage that is open |
//! | `upload.rs` | the call of stage 2 |
//! | `uploads.rs` | uploads that are under way here |
//! | `segment.rs` | whole uploads on their way into a durable partial sum |
//! | `commit.rs` | the transaction that names a partial sum and marks its uploads |

mod announce;
mod answers;
mod commit;
mod keeper;
mod segment;
mod stages;
#[cfg(test)]
mod tests;
mod upload;
mod uploads;

use std::sync::Arc;

use scale_proto::ids::{DeviceId, SessionId};

use crate::context::Context;
use crate::error::Error;
use crate::group::Group;
use crate::parts::Caller;
use crate::round::SessionStage;
use crate::rounds::{ActiveRound, Fixed, Member, Rounds, SecureSession};
use crate::staging::Staging;

use self::announce::{Announced, Begun, announcer, completer};
use self::keeper::{Kept, Up, keeper};
use self::uploads::Uploads;

pub(crate) use segment::sum_segments;

/// The room of everything that devices send in a session.
pub(crate) struct Intake {
    context: Arc<Context>,
    rounds: Arc<Rounds>,
    pub(crate) staging: Staging,
    keeper: Arc<Group<Up, Kept>>,
    announcer: Arc<Group<Announced, Begun>>,
    completer: Arc<Group<(SessionId, DeviceId), ()>>,
    uploads: Arc<Uploads>,
}

impl Intake {
    pub(crate) fn new(rounds: Arc<Rounds>, staging: Staging) -> Self {
        let context = Arc::clone(&rounds.context);
        let (keeper, announcer, completer) = (keeper(&context), announcer(&context), completer(&context));
        Self { keeper, announcer, completer, uploads: Arc::default(), staging, rounds, context }
    }

    /// A device whose message is for a later stage than this process knows of has heard of it from another process: the
    /// round is read again.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn catch_up(
        &self,
        active: &ActiveRound,
        session: Option<SessionId>,
        stage: SessionStage,
    ) -> Result<(), Error> {
        let view = active.view();
        let progress = session.and_then(|session| view.round.session(session));
        let behind = view.row.config.is_empty() || progress.is_some_and(|progress| progress.stage < stage);
        if behind && !view.round.phase.is_over() {
            self.rounds.read(active.id).await?;
        }
        Ok(())
    }
}

/// A device in a session of a round that trains, as far as it does not change any more.
struct Seat {
    active: Arc<ActiveRound>,
    fixed: Arc<Fixed>,
    secure: Arc<SecureSession>,
    session: SessionId,
    caller: Caller,
}

impl Seat {
    /// Finds the caller's place.
    ///
    /// # Errors
    /// [`Error::NotParticipant`], [`Error::WrongIdentity`], [`Error::NotTraining`].
    async fn find(rounds: &Rounds, active: Arc<ActiveRound>, caller: &Caller) -> Result<Self, Error> {
        if active.view().row.config.is_empty() {
            let (round, device) = (active.id, caller.device);
            let found = rounds.context.store.read("participant", move |tx| {
                Box::pin(async move { Ok::<_, Error>(tx.participant(round, device).await?) })
            });
            let row = found.await?.ok_or(Error::NotParticipant)?;
            let same = row.identity_key == caller.identity_key;
            return Err(if same { Error::NotTraining } else { Error::WrongIdentity });
        }
        let fixed = rounds.fixed(&active).await?;
        let session = participant(&fixed, caller)?.session.ok_or(Error::HasLeft)?;
        let secure = Arc::clone(fixed.sessions.get(&session).ok_or(Error::UnknownSession)?);
        Ok(Self { active, fixed, secure, session, caller: *caller })
    }

    /// The same, for a call that names its session.
    async fn find_in(
        rounds: &Rounds,
        active: Arc<ActiveRound>,
        caller: &Caller,
        session: SessionId,
    ) -> Result<Self, Error> {
        let seat = Self::find(rounds, active, caller).await?;
        if seat.session == session { Ok(seat) } else { Err(Error::NotParticipant) }
    }
}

/// The caller among a round's members.
///
/// # Errors
/// [`Error::NotParticipant`], [`Error::WrongIdentity`].
pub(crate) fn participant<'f>(fixed: &'f Fixed, caller: &Caller) -> Result<&'f Member, Error> {
    let member = fixed.members.get(&caller.device).ok_or(Error::NotParticipant)?;
    if member.identity_key == caller.identity_key { Ok(member) } else { Err(Error::WrongIdentity) }
}
