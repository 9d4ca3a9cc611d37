//! What an operator configures.

use super::owned;
use crate::check::{fixed, present};
use crate::error::Invalid;
use crate::model::ModelSpec;
use crate::secure_aggregation as words;
use crate::task::{
    Aggregation, Cohort, IdentityRoot, MinuteOfDay, Quantization, Schedule, SecureAggregation, TaskConfig, Timing,
    Training,
};
use crate::wire;

impl TryFrom<wire::TaskConfig> for TaskConfig {
    type Error = Invalid;
    /// See [`TaskConfig::check`].
    fn try_from(config: wire::TaskConfig) -> Result<Self, Invalid> {
        let checked = Self {
            model: ModelSpec::try_from(present("model", config.model)?)?,
            training: present("training", config.training)?.into(),
            cohort: present("cohort", config.cohort)?.into(),
            timing: present("timing", config.timing)?.into(),
            schedule: present("schedule", config.schedule)?.try_into()?,
            aggregation: present("aggregation", config.aggregation)?.try_into()?,
            quantization: present("quantization", config.quantization)?.into(),
            secure_aggregation: config.secure_aggregation.map_or_else(|| Ok(Default::default()), TryInto::try_into)?,
            privacy: present("privacy", config.privacy)?.try_into()?,
            max_rounds: (config.max_rounds > 0).then_some(config.max_rounds),
        };
        checked.check()?;
        Ok(checked)
    }
}

impl From<&TaskConfig> for wire::TaskConfig {
    fn from(config: &TaskConfig) -> Self {
        Self {
            model: Some((&config.model).into()),
            training: Some((&config.training).into()),
            cohort: Some((&config.cohort).into()),
            timing: Some((&config.timing).into()),
            schedule: Some((&config.schedule).into()),
            aggregation: Some((&config.aggregation).into()),
            quantization: Some((&config.quantization).into()),
            secure_aggregation: Some((&config.secure_aggregation).into()),
            privacy: Some((&config.privacy).into()),
            max_rounds: config.max_rounds.unwrap_or(0),
        }
    }
}

/// Both ways between two structs with the same plain fields. The fields are checked with the whole configuration.
macro_rules! same_fields {
    ($domain:ident { $($field:ident),+ }) => {
        impl From<wire::$domain> for $domain {
            fn from(wire::$domain { $($field),+ }: wire::$domain) -> Self {
                Self { $($field),+ }
            }
        }

        impl From<&$domain> for wire::$domain {
            fn from(domain: &$domain) -> Self {
                let $domain { $($field),+ } = domain.clone();
                Self { $($field),+ }
            }
        }
    };
}
same_fields!(Training { epochs, batch_size, learning_rate, proximal_mu, time_limit_ms, max_weight, holdout_permille });
same_fields!(Cohort { goal, floor, over_selection_permille, session_max });
same_fields!(Timing { selecting_ms, training_ms, grace_ms, shares_ms, masked_input_ms, agreement_ms, unmask_ms });
same_fields!(Quantization { clip, grid_factor });

impl TryFrom<wire::Schedule> for Schedule {
    type Error = Invalid;
    fn try_from(schedule: wire::Schedule) -> Result<Self, Invalid> {
        use wire::schedule::Kind;
        match schedule.kind {
            None => Err(Invalid::new("schedule.kind", "missing; one of when_ready, every_s, times, manual")),
            Some(Kind::WhenReady(wire::WhenReady {})) => Ok(Self::WhenReady),
            Some(Kind::EveryS(seconds)) => Ok(Self::EveryS(seconds)),
            Some(Kind::Times(times)) => {
                times.at.into_iter().map(MinuteOfDay::try_from).collect::<Result<_, _>>().map(Self::Times)
            }
            Some(Kind::Manual(wire::Manual {})) => Ok(Self::Manual),
        }
    }
}

impl From<&Schedule> for wire::Schedule {
    fn from(schedule: &Schedule) -> Self {
        use wire::schedule::Kind;
        Self {
            kind: Some(match schedule {
                Schedule::WhenReady => Kind::WhenReady(wire::WhenReady {}),
                Schedule::EveryS(seconds) => Kind::EveryS(*seconds),
                Schedule::Times(times) => {
                    Kind::Times(wire::TimesOfDay { at: times.iter().map(ToString::to_string).collect() })
                }
                Schedule::Manual => Kind::Manual(wire::Manual {}),
            }),
        }
    }
}

impl TryFrom<wire::Aggregation> for Aggregation {
    type Error = Invalid;
    fn try_from(aggregation: wire::Aggregation) -> Result<Self, Invalid> {
        use wire::aggregation::Optimizer;
        match aggregation.optimizer {
            None => {
                let problem = "missing; one of fed_avg, fed_avg_m, fed_adam, fed_yogi";
                Err(Invalid::new("aggregation.optimizer", problem))
            }
            Some(Optimizer::FedAvg(wire::FedAvg { learning_rate })) => Ok(Self::FedAvg { learning_rate }),
            Some(Optimizer::FedAvgM(wire::FedAvgM { learning_rate, momentum })) => {
                Ok(Self::FedAvgM { learning_rate, momentum })
            }
            Some(Optimizer::FedAdam(wire::FedAdaptive { learning_rate, beta1, beta2, tau })) => {
                Ok(Self::FedAdam { learning_rate, beta1, beta2, tau })
            }
            Some(Optimizer::FedYogi(wire::FedAdaptive { learning_rate, beta1, beta2, tau })) => {
                Ok(Self::FedYogi { learning_rate, beta1, beta2, tau })
            }
        }
    }
}

impl From<&Aggregation> for wire::Aggregation {
    fn from(aggregation: &Aggregation) -> Self {
        use wire::aggregation::Optimizer;
        Self {
            optimizer: Some(match *aggregation {
                Aggregation::FedAvg { learning_rate } => Optimizer::FedAvg(wire::FedAvg { learning_rate }),
                Aggregation::FedAvgM { learning_rate, momentum } => {
                    Optimizer::FedAvgM(wire::FedAvgM { learning_rate, momentum })
                }
                Aggregation::FedAdam { learning_rate, beta1, beta2, tau } => {
                    Optimizer::FedAdam(wire::FedAdaptive { learning_rate, beta1, beta2, tau })
                }
                Aggregation::FedYogi { learning_rate, beta1, beta2, tau } => {
                    Optimizer::FedYogi(wire::FedAdaptive { learning_rate, beta1, beta2, tau })
                }
            }),
        }
    }
}

impl TryFrom<wire::SecureAggregation> for SecureAggregation {
    type Error = Invalid;
    /// An empty word is the default: a message without it is as old as the field is new.
    fn try_from(wire: wire::SecureAggregation) -> Result<Self, Invalid> {
        let wire::SecureAggregation { profile, class, identity_root, sessions } = wire;
        let default = Self::default();
        let root = || fixed("secure_aggregation.identity_root", &identity_root).map(IdentityRoot);
        Ok(Self {
            profile: if profile.is_empty() { default.profile } else { words::profile::parse(&profile)? },
            class: if class.is_empty() { default.class } else { words::class::parse(&class)? },
            identity_root: if identity_root.is_empty() { None } else { Some(root()?) },
            sessions: if sessions.is_empty() { default.sessions } else { words::sessions::parse(&sessions)? },
        })
    }
}

impl From<&SecureAggregation> for wire::SecureAggregation {
    fn from(chosen: &SecureAggregation) -> Self {
        Self {
            profile: words::profile::word(chosen.profile).to_owned(),
            class: words::class::word(chosen.class).to_owned(),
            identity_root: chosen.identity_root.map(|root| root.0.to_vec().into()).unwrap_or_default(),
            sessions: words::sessions::word(chosen.sessions).to_owned(),
        }
    }
}

owned! { TaskConfig => wire::TaskConfig }
