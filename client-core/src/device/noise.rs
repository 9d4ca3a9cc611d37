//! The privacy cost of the noise in a signed configuration, computed on the device: it does not rely on the cost that
//! the server states.

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::accounting::zcdp::Rho;
use scale_privacy::distributed::Mechanism;
use scale_privacy::ledger::Facts;
use scale_privacy::plan::Trust;
use scale_secagg::config::{self, RoundConfig};

use super::Cause;

/// The noise mechanism of `config`, with checked grid, variance and number of honest devices; `None` without noise. The
/// protocol has checked before that the number of honest devices includes no corrupt device and no survivor that may be
/// missing (check C05).
///
/// # Errors
/// [`Cause::Mechanism`]; [`Cause::UnderstatedCost`] if the cost is higher than the configuration states.
pub(super) fn mechanism(config: &RoundConfig) -> Result<Option<Mechanism>, Cause> {
    let config::Mechanism::DistributedGaussian { local_variance, n_honest, rho } = config.mechanism else {
        return Ok(None);
    };
    let mechanism = Mechanism::new(config.grid, config.dim(), local_variance, n_honest)?;
    if mechanism.aggregate()? > Rho::from_units(rho) {
        return Err(Cause::UnderstatedCost);
    }
    Ok(Some(mechanism))
}

/// The cost of the round in the form that the ledger takes; `None` for a round without any noise, for which no cost can
/// be computed.
pub(super) fn facts<'a>(
    config: &'a RoundConfig,
    mechanism: Option<Mechanism>,
    examples: Option<DpSgd>,
) -> Option<Facts<'a>> {
    let is_alone = mechanism.is_some_and(|mechanism| mechanism.n_honest() == 1);
    let facts = Facts {
        task: &config.task_id,
        round: config.round,
        policy: &config.policy_id,
        // Noise that does not depend on other devices protects from the server too.
        trust: if is_alone { Trust::Local } else { Trust::Distributed },
        mechanism,
        examples,
    };
    (mechanism.is_some() || examples.is_some()).then_some(facts)
}
