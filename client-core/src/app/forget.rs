//! Signing a person out.

use super::{App, opened};
use crate::error::Error;
use crate::host::Host;

/// What is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forget {
    /// The examples, for good. Identity, model and privacy ledger stay.
    Examples,
    /// Everything of this installation: examples, models, a round in between, identity and privacy ledger. The next
    /// person's device is a new one. The account of what was spent goes too: offer the report first.
    Everything,
}

impl<H: Host> App<H> {
    /// Deletes what a person leaves behind. Durable when it returns; a call that failed half way may be repeated.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`] while a participation runs, and [`Error::LedgerInUse`] while one runs in another process:
    /// nothing is deleted then; [`Error::Host`].
    pub async fn forget(&self, what: Forget) -> Result<(), Error> {
        match what {
            Forget::Examples => Ok(opened(&mut *self.examples().await?).clear(self.host()).await?),
            Forget::Everything => {
                // Nobody reads or writes examples and models meanwhile.
                let mut examples = self.0.examples.lock().await;
                let mut predictor = self.0.predictor.lock().await;
                self.0.client.forget_everything().await?;
                (*examples, *predictor) = (None, None);
                Ok(())
            }
        }
    }
}
