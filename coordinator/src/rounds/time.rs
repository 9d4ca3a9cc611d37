//! What time it is in a round.
//!
//! Where one process has the rows to itself, a round keeps the wall time of its opening and counts on by the steady clock:
//! whoever sets the wall clock neither shortens nor lengthens an open stage (docs/adr/0011). Only while devices are
//! selected does a round follow the wall clock, because the closing times that it will sign are judged by the devices' own
//! clocks. Where processes share the rows, the one clock that all of them see is the database's.
//!
//! Each step notes in the row when it looked. A long gap, forward or back, says that nobody heard the devices in between,
//! or that the clock was set: the machine stood still, every process was down, the database was away.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use scale_clock::{Anchor, Clock, Timestamp};
use scale_proto::ids::RoundId;

use super::active::is_selecting;
use crate::context::{Context, guard};
use crate::error::Error;
use crate::round::Round;
use crate::rows::RoundRow;
use crate::store::Tx;

/// An open stage is looked at, and that is noted, at least this often.
pub(crate) const LOOKED: Duration = Duration::from_secs(1);

/// Tells the time of rounds.
#[derive(Debug)]
pub(crate) enum Times {
    /// The rows are this process's alone: by its own clocks, anchored for each round.
    Own(Mutex<HashMap<RoundId, Anchor>>),
    /// The database's clock, and how far it was ahead of this machine's when it was last read, in milliseconds.
    Shared(AtomicI64),
}

/// A step's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepTime {
    pub(super) now: Timestamp,
    /// The round has to hear [`crate::round::Event::Resumed`] first.
    pub(super) resumed: bool,
    /// How far the round's time was moved with the wall clock, in milliseconds.
    pub(super) moved_ms: i64,
    /// What the round's time goes by from this step on.
    pub(super) anchor: Option<Anchor>,
}

impl Times {
    pub(super) fn new(shared: bool) -> Self {
        if shared { Self::Shared(AtomicI64::new(0)) } else { Self::Own(Mutex::default()) }
    }

    /// The present moment as the round counts it.
    pub(crate) fn now(&self, clock: &dyn Clock, id: RoundId) -> Timestamp {
        match self {
            Self::Own(anchors) => guard(anchors).entry(id).or_insert_with(|| Anchor::at(clock)).now(clock),
            Self::Shared(ahead) => {
                Timestamp::from_millis(clock.now().as_millis().saturating_add_signed(ahead.load(Ordering::Relaxed)))
            }
        }
    }

    /// The present moment for all rounds alike: of the database where it is shared, of the wall clock elsewhere.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn common(&self, context: &Context, tx: &mut Tx) -> Result<Timestamp, Error> {
        let Self::Shared(ahead) = self else { return Ok(context.now()) };
        let Some(millis) = tx.server_millis().await? else { return Ok(context.now()) };
        let local = i64::try_from(context.now().as_millis()).unwrap_or(i64::MAX);
        ahead.store(i64::try_from(millis).unwrap_or(i64::MAX).saturating_sub(local), Ordering::Relaxed);
        Ok(Timestamp::from_millis(millis))
    }

    /// The time of a step of this round.
    pub(super) async fn step(
        &self,
        context: &Context,
        tx: &mut Tx,
        row: &RoundRow,
        round: &Round,
    ) -> Result<StepTime, Error> {
        let (now, moved_ms, anchor) = match self {
            Self::Shared(_) => (self.common(context, tx).await?, 0, None),
            Self::Own(anchors) => {
                let clock = &*context.clock;
                let anchor = *guard(anchors).entry(row.id).or_insert_with(|| Anchor::at(clock));
                if is_selecting(round) && anchor.set_since(clock).is_some() {
                    let new = Anchor::at(clock);
                    let millis = |anchor: &Anchor| i64::try_from(anchor.now(clock).as_millis()).unwrap_or(i64::MAX);
                    (new.now(clock), millis(&new).saturating_sub(millis(&anchor)), Some(new))
                } else {
                    (anchor.now(clock), 0, None)
                }
            }
        };
        let away = now.until(row.looked_at).max(row.looked_at.until(now));
        let unheard = away > context.settings.standstill.saturating_add(LOOKED);
        let resumed = round.next_deadline().is_some() && (anchor.is_some() || unheard);
        if unheard && resumed {
            tracing::warn!(
                round = %row.id,
                "nobody looked at this round for {:.1} s; its open stages wait longer, because devices were not heard",
                away.as_secs_f64()
            );
        }
        Ok(StepTime { now, resumed, moved_ms, anchor })
    }

    /// Whether a step of this round would find its clock set, or that nobody has looked for long.
    pub(super) fn is_off(&self, context: &Context, row: &RoundRow, round: &Round) -> bool {
        let clock = &*context.clock;
        let set = match self {
            Self::Own(anchors) => {
                let anchor = *guard(anchors).entry(row.id).or_insert_with(|| Anchor::at(clock));
                is_selecting(round) && anchor.set_since(clock).is_some()
            }
            Self::Shared(_) => false,
        };
        let now = self.now(clock, row.id);
        round.next_deadline().is_some() && (set || now.until(row.looked_at).max(row.looked_at.until(now)) >= LOOKED)
    }

    /// The round goes on with this time, now that the step that began with it is kept.
    pub(super) fn keep(&self, id: RoundId, anchor: Anchor) {
        if let Self::Own(anchors) = self {
            guard(anchors).insert(id, anchor);
        }
    }

    /// The round is over and out of memory.
    pub(super) fn forget(&self, id: RoundId) {
        if let Self::Own(anchors) = self {
            guard(anchors).remove(&id);
        }
    }
}
