//! Messages on their way into rows, many in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scale_proto::ids::{RoundId, SessionId};

use crate::context::Context;
use crate::error::Error;
use crate::group::Group;
use crate::round::SessionStage;
use crate::rows::{Gate, Inserted, MessageRow, ParticipantStatus, SessionRow};
use crate::store::{StoreError, Tx};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is kept, or was.
    Yes,
    /// Another message of this device is kept.
    Other,
    /// Its stage is not open, or is being closed.
    Closed,
    /// The device has left.
    Left,
}

/// A message, and the stage that has to be open for it.
pub(super) struct Up {
    pub(super) round: RoundId,
    pub(super) stage: SessionStage,
    pub(super) message: MessageRow,
}

/// Keeps messages whose stage is open.
pub(super) fn keeper(context: &Arc<Context>) -> Arc<Group<Up, Kept>> {
    Group::new(context, |context, messages| Box::pin(keep(context, messages.into())))
}

async fn keep(context: Arc<Context>, messages: Arc<[Up]>) -> Result<Vec<Kept>, Error> {
    let writing = Arc::clone(&messages);
    let kept = context.store.run_tx("keep_messages", move |tx| {
        let messages = Arc::clone(&writing);
        Box::pin(async move { keep_all(tx, &messages).await })
    });
    let kept = kept.await?;
    messages.iter().for_each(|up| context.look_at(up.round));
    Ok(kept)
}

async fn keep_all(tx: &mut Tx, messages: &[Up]) -> Result<Vec<Kept>, StoreError> {
    let sessions = hold_sessions(tx, messages.iter().map(|up| up.message.session)).await?;
    // In one order for everybody, so that no two transactions wait for each other.
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_unstable_by_key(|&at| (messages[at].message.session, messages[at].message.device));
    let mut kept = vec![Kept::Closed; messages.len()];
    for at in order {
        let Up { round, stage, message } = &messages[at];
        let session = sessions.get(&message.session);
        if !session.is_some_and(|row| (row.stage, row.gate) == (*stage, Gate::Open)) {
            continue;
        }
        let participant = tx.participant(*round, message.device).await?;
        kept[at] = match participant {
            Some(row) if row.status == ParticipantStatus::Admitted => match tx.insert_message(message).await? {
                Inserted::New | Inserted::Same => Kept::Yes,
                Inserted::Different => Kept::Other,
            },
            _ => Kept::Left,
        };
    }
    Ok(kept)
}

/// Sessions, which no step moves on until the transaction ends. Everybody holds several in the order of their ids.
pub(super) async fn hold_sessions(
    tx: &mut Tx,
    ids: impl Iterator<Item = SessionId>,
) -> Result<BTreeMap<SessionId, SessionRow>, StoreError> {
    let mut held = BTreeMap::new();
    for id in ids.collect::<BTreeSet<_>>() {
        if let Some(row) = tx.hold_session(id).await? {
            held.insert(id, row);
        }
    }
    Ok(held)
}
