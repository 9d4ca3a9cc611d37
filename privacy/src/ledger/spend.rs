//! The tokens that a paid round passes through. Only the ledger makes the first, and each gives the next:
//! [`Spend`] → [`Noised`] → [`Unreleased`] → [`Released`].

use rand_core::CryptoRng;
use zeroize::Zeroize;

use crate::distributed::Mechanism;
use crate::gaussian::DiscreteGaussian;

/// Leave to draw the noise of one round, once. It was paid for: whatever happens to it, the cost stands.
///
/// Nobody but the ledger makes one:
/// ```compile_fail,E0451
/// let free = scale_privacy::ledger::Spend { reservation: 1, mechanism: None };
/// ```
/// It cannot be copied:
/// ```compile_fail,E0599
/// fn twice(spend: scale_privacy::ledger::Spend) -> [scale_privacy::ledger::Spend; 2] { [spend.clone(), spend] }
/// ```
/// And it is gone once used:
/// ```compile_fail,E0382
/// use scale_privacy::ledger::{Noised, Spend};
/// fn twice(spend: Spend, update: Vec<Vec<u32>>, rng: &mut rand_chacha::ChaCha20Rng) {
///     let _first = Noised::new(spend, update.clone(), rng);
///     let _second = Noised::new(spend, update, rng);
/// }
/// ```
#[derive(Debug)]
#[must_use = "it was paid for"]
pub struct Spend {
    reservation: u64,
    mechanism: Option<Mechanism>,
}

impl Spend {
    pub(super) const fn new(reservation: u64, mechanism: Option<Mechanism>) -> Self {
        Self { reservation, mechanism }
    }
}

/// Why no noise was added. The cost stands all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoiseError {
    /// Other entries than were paid for.
    #[error("noise for {expected} entries was paid for, the update has {got}")]
    Shape {
        /// Entries of the reservation.
        expected: u64,
        /// Entries of the update.
        got: u64,
    },
    /// The entries' squares sum to more than the sensitivity that was paid for.
    #[error("the update exceeds the norm bound that was paid for")]
    Norm,
}

impl NoiseError {
    /// The stable word for the cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Shape { .. } => "shape",
            Self::Norm => "norm",
        }
    }
}

/// Vectors with their noise: the only thing that a mask may cover. Wiped on drop, not printed.
pub struct Noised {
    vectors: Vec<Vec<u32>>,
    reservation: u64,
}

impl Noised {
    /// Checks the integer norm of all `vectors` together, exactly, and adds the noise that `spend` paid for. A spend for
    /// noisy gradients alone leaves the vectors as they are.
    ///
    /// `vectors`: grid entries as residues modulo 2^32. `rng`: a stream of its own, seeded by the system.
    ///
    /// # Errors
    /// [`NoiseError`]; the vectors are wiped, and the reservation stays spent.
    pub fn new(spend: Spend, vectors: Vec<Vec<u32>>, rng: &mut impl CryptoRng) -> Result<Self, NoiseError> {
        // From here on a drop wipes the vectors, on errors too.
        let mut noised = Self { vectors, reservation: spend.reservation };
        let Some(mechanism) = spend.mechanism else { return Ok(noised) };
        let got = noised.vectors.iter().map(|vector| vector.len() as u64).sum();
        if got != mechanism.dim() {
            return Err(NoiseError::Shape { expected: mechanism.dim(), got });
        }
        let entries = noised.vectors.iter().flatten();
        let norm = entries.fold(0u128, |sum, &entry| sum + u128::from(u64::from((entry as i32).unsigned_abs()).pow(2)));
        if norm > mechanism.norm_bound_squared() {
            return Err(NoiseError::Norm);
        }
        // A `Mechanism` holds variances that the sampler does.
        let noise = DiscreteGaussian::new(mechanism.local_variance()).expect("checked by Mechanism");
        for vector in &mut noised.vectors {
            noise.add_to(vector, rng);
        }
        Ok(noised)
    }

    /// The vectors, to be masked, and what must be released before the masked bytes leave the device.
    pub fn into_parts(mut self) -> (Vec<Vec<u32>>, Unreleased) {
        (std::mem::take(&mut self.vectors), Unreleased { reservation: self.reservation })
    }
}

impl Drop for Noised {
    fn drop(&mut self) {
        self.vectors.zeroize();
    }
}

impl std::fmt::Debug for Noised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Noised(redacted)")
    }
}

/// A reservation whose payload is not in the ledger yet. Store the exact bytes, then release their digest.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "nothing may be sent before its digest is in the ledger"]
pub struct Unreleased {
    reservation: u64,
}

impl Unreleased {
    pub(super) const fn new(reservation: u64) -> Self {
        Self { reservation }
    }

    pub(super) const fn reservation(&self) -> u64 {
        self.reservation
    }
}

/// Leave to send the bytes of this digest, as often as it takes.
///
/// ```compile_fail,E0451
/// let free = scale_privacy::ledger::Released { digest: [0; 32] };
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Released {
    digest: [u8; 32],
}

impl Released {
    pub(super) const fn new(digest: [u8; 32]) -> Self {
        Self { digest }
    }

    /// SHA-256 of the bytes that may be sent.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}
