//! The account of a task, read from its rows.

use scale_proto::ids::ModelVersion;
use scale_secagg::config::RoundConfig;

use crate::error::Error;
use crate::rows::TaskRow;
use crate::spent::Spent;
use crate::store::Tx;

/// What all rounds so far have cost in privacy: the newest version's account, whatever is served next, and every sum
/// since.
///
/// # Errors
/// [`Error::UnknownModel`], [`Error::Store`].
pub(crate) async fn account(tx: &mut Tx, task: &TaskRow) -> Result<Spent, Error> {
    let ModelVersion(version) = task.current_version;
    let missing = || Error::UnknownModel { task: task.id.to_string(), version };
    let newest = tx.model(&task.id, task.current_version).await?.ok_or_else(missing)?;
    let mut spent = newest.spent.unwrap_or_else(|| Spent::nothing(&task.config.privacy));
    let through = task.next_round.saturating_sub(1);
    for config in tx.released_configs(&task.id, spent.through, through).await? {
        spent.charge(&RoundConfig::decode(&config)?);
    }
    Ok(Spent { through, ..spent })
}
