//! The privacy ledger as it lies on the device: its account, the log that it is read from, and the lock on that.

use scale_privacy::guardrails::{self, Limits};
use scale_privacy::ledger::{Append, Count, Ledger, LedgerKey, Reopened};

use super::{Participation, PrivacyReport};
use crate::error::Error;
use crate::host::{Clock as _, HeldLog as _, Host, KeyStore as _, LedgerCount, LedgerLog};
use crate::storage;

/// Key of the store: what the ledger's receipts are about, sealed under this name.
const PARTICIPATIONS: &str = "participations";

/// An open ledger. Nobody else opens it while this lives.
pub(super) struct OpenLedger<H: Host> {
    pub(super) account: Ledger,
    log: <H::Ledger as LedgerLog>::Held,
}

impl<H: Host> OpenLedger<H> {
    /// Takes the lock and reads the ledger, or begins it on a device that never had one. Damage at its end is counted,
    /// and limits of `limits` that are stricter than the ledger's hold from here on.
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
            // Killed between the record and the count.
            host.keys().put_ledger_count(opened.account.count()).await?;
        }
        opened.tighten(host, limits, now_ms).await?;
        Ok(opened)
    }

    /// Begins a new ledger in place of one that is locked: the user's wish, see [`super::Client::reset_privacy_ledger`].
    /// False, and nothing changes, if the ledger is whole.
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

    /// Makes a record durable: first the log, then the count.
    pub(super) async fn append(&mut self, host: &H, append: &Append) -> Result<(), Error> {
        self.log.append(append.at, &append.bytes).await?;
        Ok(host.keys().put_ledger_count(append.count).await?)
    }

    /// Writes down the host's limits where they are stricter than what the ledger holds to.
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

/// What a person is told about an account.
///
/// # Errors
/// [`HostError`](crate::error::HostError) of the store.
pub(super) async fn report<H: Host>(host: &H, account: &Ledger) -> Result<PrivacyReport, Error> {
    Ok(PrivacyReport::new(account, &participations(host).await?, host.clock().now()))
}

/// Keeps what the privacy ledger's receipts say nothing about: they hold costs, these hold names.
///
/// # Errors
/// [`HostError`](crate::error::HostError) of the store.
pub(super) async fn note<H: Host>(host: &H, participation: Participation) -> Result<(), Error> {
    let mut all = participations(host).await?;
    all.push(participation);
    Ok(storage::put_json(host, PARTICIPATIONS, &all).await?)
}

async fn participations<H: Host>(host: &H) -> Result<Vec<Participation>, Error> {
    let stored = storage::get_json(host, PARTICIPATIONS, "the list of joined rounds").await?;
    Ok(stored.unwrap_or_default())
}

/// The compiled limits, or stricter ones of the host.
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
