//! Deletion of a user's data, for signing out.

use super::App;
use crate::error::Error;
use crate::examples::Examples;
use crate::host::{Host, Store as _};

/// What [`App::forget`] deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forget {
    /// The examples, permanently. Identity, model and privacy ledger stay.
    Examples,
    /// All data of this installation: examples, models, an unfinished round, identity and privacy ledger. The next
    /// enrollment creates a new device. The record of the privacy budget spent is deleted too, so offer the user the
    /// privacy report first.
    Everything,
}

impl<H: Host> App<H> {
    /// Deletes a user's data. Durable when it returns. A call that failed half way may be repeated.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`] while a participation runs, and [`Error::LedgerInUse`] while one runs in another
    /// process; in both cases nothing is deleted. [`Error::Host`].
    pub async fn forget(&self, what: Forget) -> Result<(), Error> {
        match what {
            Forget::Examples => {
                let _turn = self.host().store().turn(super::EXAMPLES).await?;
                // Without opening them: what a newer version has written can be deleted too.
                Ok(Examples::delete_all(self.host()).await?)
            }
            Forget::Everything => {
                // Everything else that writes is over by then: it would leave something of the old installation behind.
                let _alone = match self.0.installation.try_write() {
                    Ok(alone) => alone,
                    Err(_) if self.0.client.phase().is_some() => return Err(Error::AlreadyRunning),
                    Err(_) => self.0.installation.write().await,
                };
                let _turn = self.host().store().turn(super::EXAMPLES).await?;
                let mut predictor = self.0.predictor.lock().await;
                self.0.client.forget_everything().await?;
                *predictor = None;
                Ok(())
            }
        }
    }
}
