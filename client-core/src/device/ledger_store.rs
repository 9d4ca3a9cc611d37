//! The privacy ledger on the device: the ledger in memory, the log that it is read from, and the lock on the log.

use scale_privacy::guardrails::{self, Limits};
use scale_privacy::ledger::{Append, Count, Ledger, LedgerKey, Reopened};

use super::{Participation, PrivacyReport};
use crate::error::Error;
use crate::host::{Clock as _, HeldLog as _, Host, KeyStore as _, LedgerCount, LedgerLog};
use crate::storage;

/// Key in the store of the facts about the rounds in the ledger; the value is sealed under this name.
const PARTICIPATIONS: &str = "participations";

/// An open ledger. It cannot be opened again until this value is dropped.
pub(super) struct OpenLedger<H: Host> {
    pub(super) account: Ledger,
    log: <H::Ledger as LedgerLog>::Held,
}

impl<H: Host> OpenLedger<H> {
    /// Takes the lock and reads the ledger, or creates it on a device that never had one. Damaged records at its end
    /// are counted, and limits in `limits` that are stricter than the ledger's are in force from now on.
    ///
    /// # Errors
    /// [`Error::LedgerInUse`], [`Error::LedgerLocked`], [`Error::Ledger`], [`Error::Host`].
    pub(super) async fn open(host: &H, limits: &Limits) -> Result<Self, Error> {
        let mut log = host.ledger().hold().await?;
        let bytes = log.read().await?;
        let counted = host.keys().ledger_count().await?;
        let key = key(host).await?;
        let now_ms = host.clock().now().as_millis();
        if bytes.is_empty() && !matches!(counted, LedgerCount::At(_)) {
            let (mut account, pending) = Ledger::create(key, limits, now_ms)?;
            put_first(host, &mut log, pending.append()).await?;
            account.durable(pending)?;
            return Ok(Self { account, log });
        }
        let Reopened { ledger, repair } = Ledger::open(&bytes, key, counted.known())?;
        let mut opened = Self { account: ledger, log };
        if let Some(pending) = repair {
            opened.append(host, pending.append()).await?;
            opened.account.durable(pending)?;
        } else if counted != LedgerCount::At(opened.account.count()) {
            // An earlier process was killed after it wrote the record and before it stored the count.
            host.keys().put_ledger_count(opened.account.count()).await?;
        }
        opened.tighten(host, limits, now_ms).await?;
        Ok(opened)
    }

    /// The account while another process holds the log; `None` if it writes just now.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub(super) async fn peek(host: &H) -> Result<Option<Ledger>, Error> {
        let bytes = host.ledger().read().await?;
        let counted = host.keys().ledger_count().await?;
        let opened = Ledger::open(&bytes, key(host).await?, counted.known());
        // A record that is being written looks damaged, and one whose count is not stored yet looks too new.
        Ok(opened.ok().filter(|opened| opened.repair.is_none()).map(|opened| opened.ledger))
    }

    /// Replaces a locked ledger by a new one at the user's request, see [`super::Client::reset_privacy_ledger`].
    /// Returns false, and changes nothing, if the ledger is intact.
    pub(super) async fn reset(host: &H, limits: &Limits) -> Result<bool, Error> {
        match Self::open(host, limits).await {
            Ok(_) => return Ok(false),
            Err(Error::LedgerLocked(_)) => {}
            Err(error) => return Err(error),
        }
        let mut log = host.ledger().hold().await?;
        let last: Option<Count> = host.keys().ledger_count().await?.known();
        let now_ms = host.clock().now().as_millis();
        let (_, pending) = Ledger::reset(key(host).await?, last, limits, now_ms)?;
        put_first(host, &mut log, pending.append()).await?;
        Ok(true)
    }

    /// Makes a record durable: first in the log, then in the count.
    pub(super) async fn append(&mut self, host: &H, append: &Append) -> Result<(), Error> {
        self.log.append(append.at, &append.bytes).await?;
        Ok(host.keys().put_ledger_count(append.count).await?)
    }

    /// Records the host's limits if they are stricter than the ledger's.
    async fn tighten(&mut self, host: &H, limits: &Limits, now_ms: u64) -> Result<(), Error> {
        let wanted = tightened(limits)?.tightened(self.account.limits()).map_err(refused)?;
        if wanted.limits() == self.account.limits() {
            return Ok(());
        }
        let pending = self.account.tighten(limits, now_ms)?;
        self.append(host, pending.append()).await?;
        Ok(self.account.durable(pending)?)
    }
}

/// The privacy report of a ledger.
///
/// # Errors
/// [`HostError`](crate::error::HostError) of the store.
pub(super) async fn report<H: Host>(host: &H, account: &Ledger) -> Result<PrivacyReport, Error> {
    Ok(PrivacyReport::new(account, &participations(host).await?, host.clock().now()))
}

/// Stores the facts that the privacy ledger's receipts do not contain: the receipts contain costs, these the round,
/// model and cohort.
///
/// # Errors
/// [`HostError`](crate::error::HostError) of the store.
pub(super) async fn note<H: Host>(host: &H, participation: Participation) -> Result<(), Error> {
    let mut all = participations(host).await?;
    all.push(participation);
    Ok(storage::put_json(host, PARTICIPATIONS, &all).await?)
}

async fn participations<H: Host>(host: &H) -> Result<Vec<Participation>, Error> {
    // Receipts stay complete without it: they hold the costs, this list only the names.
    let stored = storage::get_json_or_none(host, PARTICIPATIONS).await?;
    Ok(stored.unwrap_or_default())
}

/// The compiled limits, with the host's where those are stricter.
fn tightened(limits: &Limits) -> Result<guardrails::Guardrails, Error> {
    guardrails::Guardrails::default().tightened(limits).map_err(refused)
}

fn refused(error: scale_privacy::accounting::AccountingError) -> Error {
    Error::Ledger(error.into())
}

async fn key<H: Host>(host: &H) -> Result<LedgerKey, Error> {
    Ok(LedgerKey::new(&*host.keys().ledger_key().await?))
}

async fn put_first<H: Host>(host: &H, log: &mut <H::Ledger as LedgerLog>::Held, first: &Append) -> Result<(), Error> {
    log.replace(&first.bytes).await?;
    Ok(host.keys().put_ledger_count(first.count).await?)
}
