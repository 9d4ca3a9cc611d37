//! Messages on their way into rows, many in one transaction.

use std::collections::BTreeMap;
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
    let here = Arc::clone(context);
    Group::new(Arc::clone(context), move |messages| {
        let context = Arc::clone(&here);
        Box::pin(async move { keep(&context, messages.into()).await })
    })
}

async fn keep(context: &Context, messages: Arc<[Up]>) -> Result<Vec<Kept>, Error> {
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
    order.sort_unstable_by_key(|&at| {
        let message = &messages[at].message;
        (*message.session.as_bytes(), *message.device.as_bytes())
    });
    let mut kept = vec![Kept::Closed; messages.len()];
    for at in order {
        let Up { round, stage, message } = &messages[at];
        let session = sessions.get(message.session.as_bytes());
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

/// Sessions by the bytes of their id, which no step moves on until the transaction ends. All processes hold several in the
/// same order.
pub(super) async fn hold_sessions(
    tx: &mut Tx,
    ids: impl Iterator<Item = SessionId>,
) -> Result<BTreeMap<[u8; 16], SessionRow>, StoreError> {
    let ids: BTreeMap<[u8; 16], SessionId> = ids.map(|id| (*id.as_bytes(), id)).collect();
    let mut held = BTreeMap::new();
    for (bytes, id) in ids {
        if let Some(row) = tx.hold_session(id).await? {
            held.insert(bytes, row);
        }
    }
    Ok(held)
}
