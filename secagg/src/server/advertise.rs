//! Stage 0: collects the devices' keys and fixes the roster (docs/protocol/session.md).

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::{Core, Receipt, Shares, require};
use crate::bytes::Reader;
use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::graph::Graph;
use crate::keys;
use crate::params::{self, GraphKind, Profile};
use crate::roster::{CERTIFICATE_LEN, Certificate, Entry, Tree, advertise_statement, session_id};

/// Bytes of one AdvertiseKeys, without a certificate.
const MESSAGE_LEN: usize = 192;

/// Stage 0 is open.
pub struct Keys {
    config: RoundConfig,
    cfg: [u8; 32],
    /// Channel and mask keys of this and of earlier sessions.
    known: HashSet<[u8; 32]>,
    entries: Vec<Entry>,
    /// Position in `entries` by identity.
    by_identity: HashMap<[u8; 32], usize>,
    /// By identity; `None` when this session asks for none.
    certificates: Option<HashMap<[u8; 32], Certificate>>,
}

/// An AdvertiseKeys that was checked.
#[derive(Debug)]
pub(super) struct Advertised {
    entry: Entry,
    certificate: Option<Certificate>,
}

impl Keys {
    /// Opens stage 0.
    ///
    /// `known_keys`: channel and mask keys that were seen in earlier sessions and may not come again.
    pub fn new(config: RoundConfig, known_keys: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let cfg = config.cfg();
        let known = known_keys.into_iter().collect();
        Self { config, cfg, known, entries: Vec::new(), by_identity: HashMap::new(), certificates: None }
    }

    /// The same stage, asking every device for a certificate of the configuration's root, as the devices of profile M
    /// do. Changes nothing in profile S.
    #[must_use]
    pub fn certified(mut self) -> Self {
        self.certificates = (self.config.profile == Profile::Malicious).then(HashMap::new);
        self
    }

    /// Takes one AdvertiseKeys of 192 bytes: identity, channel key, mask key, cfg, signature; 72 more of a certificate
    /// if the session asks for one.
    ///
    /// # Errors
    /// `wrong_length`, `certificate_missing`, `wrong_config`, `bad_signature`, `certificate`, `certificate_expired`,
    /// `duplicate_key`, `non_canonical_key`, `low_order_key`, `duplicate_identity`, `full`.
    pub fn receive(&mut self, message: &[u8]) -> Result<Receipt, Refusal> {
        match self.check(message)? {
            Some(advertised) => self.keep(advertised),
            None => Ok(Receipt::Same),
        }
    }

    /// What [`Self::receive`] would say; `None`: the same bytes were taken before. Changes nothing.
    pub(super) fn check(&self, message: &[u8]) -> Result<Option<Advertised>, Refusal> {
        let (message, certificate) = self.split(message)?;
        let mut reader = Reader::new(message);
        let (id_pk, c_pk, s_pk, cfg) = (reader.array()?, reader.array()?, reader.array()?, reader.array::<32>()?);
        let entry = Entry { id_pk, c_pk, s_pk, sig: reader.array()? };

        require(cfg == self.cfg, Reason::WrongConfig)?;
        let before = self.by_identity.get(&id_pk);
        let known = self.certificates.as_ref().and_then(|known| known.get(&id_pk)).copied();
        if before.is_some_and(|&position| self.entries[position] == entry) && known == certificate {
            return Ok(None);
        }
        let signed = keys::verify(&id_pk, &advertise_statement(&cfg, &id_pk, &c_pk, &s_pk), &entry.sig);
        require(signed, Reason::BadSignature)?;
        certificate.map_or(Ok(()), |certificate| self.config.check_certificate(&id_pk, &certificate))?;
        require(c_pk != s_pk, Reason::DuplicateKey)?;
        // The check ids are the device's: a server's refusal carries the word only.
        keys::check_dh_key(&c_pk).map_err(|refusal| Refusal::from(refusal.reason))?;
        keys::check_dh_key(&s_pk).map_err(|refusal| Refusal::from(refusal.reason))?;
        self.room_for(&entry)?;
        Ok(Some(Advertised { entry, certificate }))
    }

    /// Takes what [`Self::check`] has checked. Others may have been taken since.
    pub(super) fn keep(&mut self, advertised: Advertised) -> Result<Receipt, Refusal> {
        let Advertised { entry, certificate } = advertised;
        let before = self.by_identity.get(&entry.id_pk);
        let known = self.certificates.as_ref().and_then(|known| known.get(&entry.id_pk)).copied();
        if before.is_some_and(|&position| self.entries[position] == entry) && known == certificate {
            return Ok(Receipt::Same);
        }
        self.room_for(&entry)?;
        self.known.extend([entry.c_pk, entry.s_pk]);
        self.by_identity.insert(entry.id_pk, self.entries.len());
        if let (Some(certificates), Some(certificate)) = (&mut self.certificates, certificate) {
            certificates.insert(entry.id_pk, certificate);
        }
        self.entries.push(entry);
        Ok(Receipt::New)
    }

    fn room_for(&self, entry: &Entry) -> Result<(), Refusal> {
        require(!self.by_identity.contains_key(&entry.id_pk), Reason::DuplicateIdentity)?;
        require(!self.known.contains(&entry.c_pk) && !self.known.contains(&entry.s_pk), Reason::DuplicateKey)?;
        require(!self.is_full(), Reason::Full)
    }

    /// The message and the certificate behind it, which is there exactly when this session asks for one.
    fn split<'m>(&self, message: &'m [u8]) -> Result<(&'m [u8], Option<Certificate>), Refusal> {
        let (message, rest) = message.split_at_checked(MESSAGE_LEN).ok_or(Reason::WrongLength)?;
        match (&self.certificates, rest.len()) {
            (None, 0) => Ok((message, None)),
            (Some(_), 0) => Err(Reason::CertificateMissing.into()),
            (Some(_), CERTIFICATE_LEN) => Ok((message, Some(Certificate::decode(rest)?))),
            _ => Err(Reason::WrongLength.into()),
        }
    }

    /// Devices that advertised keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody advertised keys yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether nobody else is taken: the stage may close early.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.config.n_hi as usize
    }

    /// Whether this identity has advertised keys.
    pub fn contains(&self, identity: &[u8; 32]) -> bool {
        self.by_identity.contains_key(identity)
    }

    /// The round configuration.
    pub fn config(&self) -> &RoundConfig {
        &self.config
    }

    /// Orders the roster and derives the session: its id, neighbours and threshold.
    ///
    /// # Errors
    /// `too_few_clients` below n_lo or the floor; `parameters` when the compiled table has none for this cohort.
    pub fn close(self) -> Result<Shares, Refusal> {
        let n = self.entries.len() as u32;
        let parameters = params::parameters(n, self.config.profile, self.config.class);
        self.close_as(parameters.map_err(|refusal| refusal.reason.into()))
    }

    /// [`Self::close`] with parameters of the caller's choice, to measure other systems' settings. Devices refuse them
    /// unless they are told to choose alike.
    ///
    /// # Errors
    /// `too_few_clients`.
    #[cfg(feature = "chosen-parameters")]
    #[doc(hidden)]
    pub fn close_with(self, parameters: params::Parameters) -> Result<Shares, Refusal> {
        self.close_as(Ok(parameters))
    }

    fn close_as(self, parameters: Result<params::Parameters, Refusal>) -> Result<Shares, Refusal> {
        let n = self.entries.len();
        require(n >= self.config.n_lo.max(params::FLOOR) as usize, Reason::TooFewClients)?;
        let Self { config, cfg, mut entries, certificates, .. } = self;
        entries.sort_by_cached_key(Entry::leaf);
        let leaves: Vec<[u8; 32]> = entries.iter().map(Entry::leaf).collect();
        let tree = Tree::new(&leaves);
        // At most n_hi entries were taken, a u32.
        let n = n as u32;
        let sid = session_id(&cfg, n, &tree.root());
        let parameters = parameters?;
        let graph = match parameters.graph {
            GraphKind::Complete => Graph::complete(n),
            GraphKind::Sparse => Graph::harary(n, parameters.k, &sid),
        };
        let places = (0..).zip(&entries).map(|(place, entry)| (entry.id_pk, place)).collect();
        Ok(Shares::new(Core { config, cfg, entries, certificates, places, tree, sid, parameters, graph }))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("round", &self.config.round).field("len", &self.len()).finish_non_exhaustive()
    }
}
