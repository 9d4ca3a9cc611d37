//! New and whole uploads on their way into rows, many in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use scale_proto::ids::{DeviceId, RoundId, SessionId};

use super::keeper::hold_sessions;
use crate::context::Context;
use crate::error::Error;
use crate::group::Group;
use crate::round::SessionStage;
use crate::rows::{Gate, ParticipantStatus, SessionRow, UploadRow, UploadState};
use crate::staging::Upload;
use crate::store::{StoreError, Tx};

/// An upload that begins.
pub(super) struct Announced {
    pub(super) round: RoundId,
    pub(super) upload: Upload,
    /// Its sender's place in the roster.
    pub(super) index: u32,
}

/// How far an announced upload has come, which another process may have taken; `None`: its stage is not open. Or why it
/// does not begin: [`Error::UnknownSession`], [`Error::NotParticipant`], [`Error::HasLeft`], [`Error::DifferentUpload`].
pub(super) type Begun = Result<Option<UploadState>, Error>;

/// Gives new uploads their rows.
pub(super) fn announcer(context: &Arc<Context>) -> Arc<Group<Announced, Begun>> {
    Group::new(context, |context, announced| Box::pin(begin(context, announced.into())))
}

async fn begin(context: Arc<Context>, announced: Arc<[Announced]>) -> Result<Vec<Begun>, Error> {
    let begin = context.store.run_tx("announce_upload", |tx| {
        let (context, announced) = (Arc::clone(&context), Arc::clone(&announced));
        Box::pin(async move { Ok::<_, Error>(announce_all(tx, &context, &announced).await?) })
    });
    begin.await
}

async fn announce_all(tx: &mut Tx, context: &Context, announced: &[Announced]) -> Result<Vec<Begun>, StoreError> {
    let sessions = hold_sessions(tx, announced.iter().map(|one| one.upload.session)).await?;
    let mut begun: Vec<Begun> = announced.iter().map(|_| Ok(None)).collect();
    // In one order for everybody, so that no two transactions wait for each other.
    let mut order: Vec<usize> = (0..announced.len()).collect();
    order.sort_unstable_by_key(|&at| (announced[at].upload.session, announced[at].upload.device));
    for at in order {
        let one = &announced[at];
        begun[at] = match sessions.get(&one.upload.session) {
            Some(session) => announce(tx, context, session, one).await?,
            None => Err(Error::UnknownSession),
        };
    }
    Ok(begun)
}

async fn announce(
    tx: &mut Tx,
    context: &Context,
    row: &SessionRow,
    announced: &Announced,
) -> Result<Begun, StoreError> {
    let Announced { round, upload, index } = *announced;
    let Upload { session, device, digest, total } = upload;
    let same = |row: &UploadRow| (row.digest, row.total) == (digest, total);
    if let Some(row) = tx.upload(session, device).await? {
        return Ok(if same(&row) { Ok(Some(row.state)) } else { Err(Error::DifferentUpload) });
    }
    if (row.stage, row.gate) != (SessionStage::MaskedInput, Gate::Open) {
        return Ok(Ok(None));
    }
    match tx.participant(round, device).await? {
        None => return Ok(Err(Error::NotParticipant)),
        Some(row) if row.status == ParticipantStatus::Left => return Ok(Err(Error::HasLeft)),
        Some(_) => {}
    }
    let new = UploadRow {
        session,
        device,
        participant_index: index,
        digest,
        total,
        state: UploadState::Staging,
        segment: None,
        created_at: context.now(),
    };
    if tx.insert_upload(&new).await? {
        return Ok(Ok(Some(UploadState::Staging)));
    }
    // Another process has announced it at the same moment.
    let kept = tx.upload(session, device).await?.filter(same);
    Ok(kept.map(|row| Some(row.state)).ok_or(Error::DifferentUpload))
}

/// Notes which uploads are whole and verified.
pub(super) fn completer(context: &Arc<Context>) -> Arc<Group<(SessionId, DeviceId), ()>> {
    Group::new(context, |context, whole| Box::pin(complete(context, whole)))
}

async fn complete(context: Arc<Context>, whole: Vec<(SessionId, DeviceId)>) -> Result<Vec<()>, Error> {
    let mut devices: BTreeMap<SessionId, Vec<DeviceId>> = BTreeMap::new();
    for &(session, device) in &whole {
        devices.entry(session).or_default().push(device);
    }
    let devices = Arc::new(devices);
    let complete = context.store.run_tx("verify_upload", move |tx| {
        let devices = Arc::clone(&devices);
        Box::pin(async move {
            for (session, devices) in devices.iter() {
                tx.set_uploads_complete(*session, devices).await?;
            }
            Ok::<_, Error>(())
        })
    });
    complete.await?;
    Ok(vec![(); whole.len()])
}
