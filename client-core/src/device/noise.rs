//! What the noise of a signed configuration is worth, worked out on the device: the server's word for a cost is not taken.

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::accounting::zcdp::Rho;
use scale_privacy::distributed::Mechanism;
use scale_privacy::ledger::Facts;
use scale_privacy::plan::Trust;
use scale_secagg::config::{self, RoundConfig};

use super::Cause;

/// Grid, variance and honest devices of `config`, checked; `None` without noise. The protocol has checked before that the
/// noise counts on no corrupt device and on no survivor that may be missing (C05).
///
/// # Errors
/// [`Cause::Mechanism`]; [`Cause::UnderstatedCost`] if the noise costs more than the configuration says.
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

/// The round as the ledger takes it; `None` for one without any noise, which has no cost that could be counted.
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
        // Noise that counts on nobody else protects from the server too.
        trust: if is_alone { Trust::Local } else { Trust::Distributed },
        mechanism,
        examples,
    };
    (mechanism.is_some() || examples.is_some()).then_some(facts)
}
