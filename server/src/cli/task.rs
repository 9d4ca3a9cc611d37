//! A task's configuration from flags, with defaults that suit a first try, or from a TOML file.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use scale_proto::model::{Family, ModelSpec};
use scale_proto::privacy::{ClipRange, Privacy, Target};
use scale_proto::secure_aggregation;
use scale_proto::task::{
    Aggregation, Cohort, IdentityRoot, MinuteOfDay, Quantization, Schedule, SecureAggregation, Sessions, TaskConfig,
    Timing, Training,
};
use scale_secagg::params::{Class, Profile};

use super::Failure;
use scale_coordinator::noise;

/// Most examples that a device counts for, where nobody says otherwise and the model has the room.
const MAX_WEIGHT: u32 = 1000;

/// A new task.
#[derive(Debug, Args)]
pub(super) struct TaskArgs {
    /// Its name: a-z, 0-9, '-', '_', a letter first
    pub(super) name: String,
    /// Configuration file (see docs/task.example.toml), instead of flags
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "labels"], required_unless_present = "model")]
    config: Option<PathBuf>,
    /// A safetensors file to start from [default: seeded initial weights]
    #[arg(long, value_name = "FILE")]
    pub(super) initial: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Model {
    /// Hashed character n-grams, an embedding bag and a linear layer: for short texts
    TextBag,
    /// Fully connected layers
    Mlp,
    /// Two convolutions and two linear layers, for images
    Cnn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Optimizer {
    /// Weighted mean
    FedAvg,
    /// Weighted mean with server momentum
    FedAvgM,
    /// Adam on the server
    FedAdam,
    /// Yogi on the server
    FedYogi,
}

#[derive(Debug, Args)]
struct Flags {
    /// Architecture
    #[arg(long, value_enum, requires = "labels", help_heading = "Model")]
    model: Option<Model>,
    /// Names of the classes, in order
    #[arg(long, value_delimiter = ',', value_name = "A,B,…", requires = "model", help_heading = "Model")]
    labels: Vec<String>,
    /// text-bag: rows of the embedding
    #[arg(long, default_value_t = 16_384, value_name = "N", help_heading = "Model")]
    buckets: u32,
    /// text-bag: columns of the embedding
    #[arg(long, default_value_t = 16, value_name = "N", help_heading = "Model")]
    dim: u32,
    /// text-bag: shortest and longest n-gram, in characters
    #[arg(long, default_value = "2,4", value_delimiter = ',', value_name = "MIN,MAX", help_heading = "Model")]
    ngrams: Vec<u32>,
    /// mlp: entries of one example
    #[arg(long, default_value_t = 784, value_name = "N", help_heading = "Model")]
    inputs: u32,
    /// mlp: widths of the hidden layers; cnn: width of the one hidden layer
    #[arg(long, default_value = "128", value_delimiter = ',', value_name = "N,…", help_heading = "Model")]
    hidden: Vec<u32>,
    /// cnn: rows, columns and channels of one image
    #[arg(long, default_value = "28,28,1", value_delimiter = ',', value_name = "H,W,C", help_heading = "Model")]
    image: Vec<u32>,
    /// cnn: channels after the first and the second convolution
    #[arg(long, default_value = "16,32", value_delimiter = ',', value_name = "A,B", help_heading = "Model")]
    conv: Vec<u32>,

    /// Devices wanted in the sum
    #[arg(long, default_value_t = 20, value_name = "N", help_heading = "Cohort and schedule")]
    goal: u32,
    /// Fewest devices in a round, a session and a sum; never below 10
    #[arg(long, default_value_t = 10, value_name = "N", help_heading = "Cohort and schedule")]
    floor: u32,
    /// Selected devices per wanted one, in thousandths
    #[arg(long, default_value_t = 1300, value_name = "N", help_heading = "Cohort and schedule")]
    over_selection_permille: u32,
    /// Largest secure aggregation session
    #[arg(long, default_value_t = 128, value_name = "N", help_heading = "Cohort and schedule")]
    session_max: u32,
    /// When rounds open: when-ready, manual, every:SECONDS or at:HH:MM,HH:MM (UTC)
    #[arg(long, default_value = "when-ready", value_parser = schedule, value_name = "WHEN", help_heading = "Cohort and schedule")]
    schedule: Schedule,
    /// Rounds to run before the task is finished [default: no end]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Cohort and schedule")]
    rounds: Option<u64>,
    /// Longest selection, in seconds
    #[arg(long, default_value_t = 600, value_name = "S", help_heading = "Cohort and schedule")]
    selecting_s: u64,
    /// Longest time from selection to the keys of the last device, in seconds
    #[arg(long, default_value_t = 300, value_name = "S", help_heading = "Cohort and schedule")]
    training_s: u64,
    /// Once enough have answered: how long a stage waits at least after each answer for the next one, in seconds
    #[arg(long, default_value_t = 20, value_name = "S", help_heading = "Cohort and schedule")]
    grace_s: u64,
    /// Longest time of each later stage, in seconds
    #[arg(long, default_value_t = 60, value_name = "S", help_heading = "Cohort and schedule")]
    stage_s: u64,

    /// What this coordinator is trusted with: standard, or malicious (devices are certified by --identity-root)
    #[arg(long, default_value = "standard", value_parser = secure_aggregation::profile::parse, value_name = "PROFILE", help_heading = "Secure aggregation")]
    profile: Profile,
    /// Corrupt and lost devices that a session stands: default (10 % and 10 %) or paranoid (33 % and 10 %)
    #[arg(long, default_value = "default", value_parser = secure_aggregation::class::parse, value_name = "CLASS", help_heading = "Secure aggregation")]
    class: Class,
    /// Ed25519 key of the authority that certifies devices, 64 hexadecimal digits; it is not this coordinator's
    #[arg(long, value_name = "HEX", help_heading = "Secure aggregation")]
    identity_root: Option<IdentityRoot>,
    /// Sessions of a cohort over 128: auto (one when devices add noise, else several) or one
    #[arg(long, default_value = "auto", value_parser = secure_aggregation::sessions::parse, value_name = "HOW", help_heading = "Secure aggregation")]
    sessions: Sessions,

    /// What devices do before anything is uploaded: none; example (noise on training steps, protects one example);
    /// distributed (noise of all devices together, protects a person from whoever sees sums); local (from everybody)
    #[arg(long, value_parser = PossibleValuesParser::new(Privacy::MODES), required_unless_present = "config", value_name = "MODE", help_heading = "Privacy")]
    privacy: Option<String>,
    /// What all rounds may cost a person (mode example: one training example) together
    #[arg(long, default_value_t = 8.0, value_name = "X", help_heading = "Privacy")]
    epsilon: f64,
    /// Chance that the cost is higher; below 1 over the number of people
    #[arg(long, default_value_t = 1e-5, value_name = "X", help_heading = "Privacy")]
    delta: f64,
    /// Rounds that the epsilon is for [default: --rounds]
    #[arg(long, value_name = "N", help_heading = "Privacy")]
    privacy_rounds: Option<u32>,
    /// Mode example: L2 norm to which each example's gradient is clipped
    #[arg(long, default_value_t = 1.0, value_name = "X", help_heading = "Privacy")]
    example_clip: f32,
    /// Mode distributed: smallest clip norm, if it is to follow the devices' norms from --clip on
    #[arg(long, requires = "clip_max", value_name = "X", help_heading = "Privacy")]
    clip_min: Option<f64>,
    /// Mode distributed: largest clip norm
    #[arg(long, requires = "clip_min", value_name = "X", help_heading = "Privacy")]
    clip_max: Option<f64>,

    /// Passes over the local examples
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "Training on the device")]
    epochs: u32,
    /// Examples of one step
    #[arg(long, default_value_t = 32, value_name = "N", help_heading = "Training on the device")]
    batch_size: u32,
    /// Step size on the device
    #[arg(long, default_value_t = 0.1, value_name = "X", help_heading = "Training on the device")]
    learning_rate: f32,
    /// FedProx proximal term; 0 is plain FedAvg
    #[arg(long, default_value_t = 0.0, value_name = "X", help_heading = "Training on the device")]
    proximal_mu: f32,
    /// Longest training time on a device, in seconds
    #[arg(long, default_value_t = 30, value_name = "S", help_heading = "Training on the device")]
    time_limit_s: u64,
    /// Most examples that a device counts for [default: 1000, less for a model of few parameters]
    #[arg(long, value_name = "N", help_heading = "Training on the device")]
    max_weight: Option<u32>,
    /// Share of local examples kept for measuring, in thousandths
    #[arg(long, default_value_t = 100, value_name = "N", help_heading = "Training on the device")]
    holdout_permille: u32,

    /// How the mean update becomes new weights
    #[arg(long, value_enum, default_value = "fed-avg", help_heading = "Aggregation")]
    optimizer: Optimizer,
    /// Step size of the server's optimizer
    #[arg(long, default_value_t = 1.0, value_name = "X", help_heading = "Aggregation")]
    server_learning_rate: f32,
    /// fed-avg-m: momentum; fed-adam, fed-yogi: beta1
    #[arg(long, default_value_t = 0.9, value_name = "X", help_heading = "Aggregation")]
    momentum: f32,
    /// fed-adam, fed-yogi: beta2
    #[arg(long, default_value_t = 0.99, value_name = "X", help_heading = "Aggregation")]
    beta2: f32,
    /// fed-adam, fed-yogi: tau
    #[arg(long, default_value_t = 0.001, value_name = "X", help_heading = "Aggregation")]
    tau: f32,
    /// L2 norm to which a device clips its update
    #[arg(long, default_value_t = 10.0, value_name = "X", help_heading = "Aggregation")]
    clip: f64,
    /// Clip norm in grid units, divided by the square root of the number of parameters
    #[arg(long, default_value_t = 64, value_name = "N", help_heading = "Aggregation")]
    grid_factor: u32,
}

impl TaskArgs {
    /// The configuration, checked by the rules that the coordinator applies too.
    pub(super) fn config(&self) -> Result<TaskConfig, Failure> {
        let config = match &self.config {
            Some(path) => return read(path),
            None => self.flags.fitting()?,
        };
        config.check()?;
        Ok(config)
    }
}

/// A task's configuration from its file, checked by the rules that the coordinator applies too.
pub(super) fn read(path: &Path) -> Result<TaskConfig, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::unreadable(path, &error))?;
    let config: TaskConfig = toml::from_str(&text)
        .map_err(|error| Failure::new("invalid", format!("{}: {}", path.display(), error.to_string().trim())))?;
    config.check()?;
    Ok(config)
}

impl Flags {
    fn privacy(&self) -> Result<Privacy, Failure> {
        // No noise has to be asked for by name.
        let mode =
            self.privacy.as_deref().ok_or_else(|| Failure::new("invalid", "say what devices do with --privacy"))?;
        if mode == "none" {
            return Ok(Privacy::None);
        }
        let all = self.rounds.and_then(|rounds| u32::try_from(rounds).ok());
        let rounds = self.privacy_rounds.or(all).ok_or_else(|| {
            Failure::new(
                "invalid",
                "an epsilon is for a number of rounds: give --rounds, or --privacy-rounds for a task without end",
            )
        })?;
        let example_clip = if mode == "example" { self.example_clip } else { 0.0 };
        let range = self.clip_min.zip(self.clip_max).map(|(min, max)| ClipRange { min, max });
        let target = Target { epsilon: self.epsilon, delta: self.delta, rounds };
        Ok(Privacy::parse(mode, target, example_clip)?.with_clip_range(range)?)
    }

    /// [`Self::config`], with a weight that fits the model where none was named.
    fn fitting(&self) -> Result<TaskConfig, Failure> {
        let mut config = self.config()?;
        config.check()?;
        // Without a grid the task is refused for a better reason.
        if self.max_weight.is_none()
            && let Ok(noise) = noise::of(&config)
        {
            config.training.max_weight = MAX_WEIGHT.min(noise.grid);
        }
        Ok(config)
    }

    fn config(&self) -> Result<TaskConfig, Failure> {
        let family = match self.model {
            None => return Err(Failure::new("invalid", "name an architecture with --model, or a file with --config")),
            Some(Model::TextBag) => {
                let [ngram_min, ngram_max] = numbers("--ngrams", &self.ngrams)?;
                Family::TextBag { buckets: self.buckets, dim: self.dim, ngram_min, ngram_max }
            }
            Some(Model::Mlp) => Family::Mlp { inputs: self.inputs, hidden: self.hidden.clone() },
            Some(Model::Cnn) => {
                let [height, width, channels] = numbers("--image", &self.image)?;
                let [conv1, conv2] = numbers("--conv", &self.conv)?;
                let [hidden] = numbers("--hidden", &self.hidden)?;
                Family::Cnn { height, width, channels, conv1, conv2, hidden }
            }
        };
        let learning_rate = self.server_learning_rate;
        let (beta1, beta2, tau) = (self.momentum, self.beta2, self.tau);
        Ok(TaskConfig {
            model: ModelSpec { labels: self.labels.clone(), family },
            training: Training {
                epochs: self.epochs,
                batch_size: self.batch_size,
                learning_rate: self.learning_rate,
                proximal_mu: self.proximal_mu,
                time_limit_ms: self.time_limit_s.saturating_mul(1000),
                max_weight: self.max_weight.unwrap_or(MAX_WEIGHT),
                holdout_permille: self.holdout_permille,
            },
            cohort: Cohort {
                goal: self.goal,
                floor: self.floor,
                over_selection_permille: self.over_selection_permille,
                session_max: self.session_max,
            },
            timing: Timing {
                selecting_ms: self.selecting_s.saturating_mul(1000),
                training_ms: self.training_s.saturating_mul(1000),
                grace_ms: self.grace_s.saturating_mul(1000),
                shares_ms: self.stage_s.saturating_mul(1000),
                masked_input_ms: self.stage_s.saturating_mul(1000),
                agreement_ms: self.stage_s.saturating_mul(1000),
                unmask_ms: self.stage_s.saturating_mul(1000),
            },
            schedule: self.schedule.clone(),
            aggregation: match self.optimizer {
                Optimizer::FedAvg => Aggregation::FedAvg { learning_rate },
                Optimizer::FedAvgM => Aggregation::FedAvgM { learning_rate, momentum: self.momentum },
                Optimizer::FedAdam => Aggregation::FedAdam { learning_rate, beta1, beta2, tau },
                Optimizer::FedYogi => Aggregation::FedYogi { learning_rate, beta1, beta2, tau },
            },
            quantization: Quantization { clip: self.clip, grid_factor: self.grid_factor },
            privacy: self.privacy()?,
            secure_aggregation: SecureAggregation {
                profile: self.profile,
                class: self.class,
                identity_root: self.identity_root,
                sessions: self.sessions,
            },
            max_rounds: self.rounds,
        })
    }
}

fn numbers<const N: usize>(flag: &str, given: &[u32]) -> Result<[u32; N], Failure> {
    given
        .try_into()
        .map_err(|_| Failure::new("invalid", format!("{flag} takes {N} numbers, {} were given", given.len())))
}

fn schedule(text: &str) -> Result<Schedule, String> {
    match text.split_once(':') {
        None if text == "when-ready" => Ok(Schedule::WhenReady),
        None if text == "manual" => Ok(Schedule::Manual),
        Some(("every", seconds)) => {
            seconds.parse().map(Schedule::EveryS).map_err(|_| format!("{seconds:?} is not a number of seconds"))
        }
        Some(("at", times)) => {
            let times: Result<Vec<MinuteOfDay>, _> = times.split(',').map(str::parse).collect();
            times.map(Schedule::Times).map_err(|error| error.to_string())
        }
        _ => Err("when-ready, manual, every:SECONDS or at:HH:MM,HH:MM".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        task: TaskArgs,
    }

    fn config(line: &str) -> Result<TaskConfig, Failure> {
        let words = ["x", "merchants"].into_iter().chain(line.split_whitespace());
        let named = (!line.contains("--privacy") && !line.contains("--config")).then_some(["--privacy", "none"]);
        let words = words.chain(named.into_iter().flatten());
        Only::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).task.config()
    }

    #[test]
    fn flags_alone_make_a_valid_task_of_every_family() {
        let labels = "--labels food,rent,travel";
        for (line, name) in [("--model text-bag", "text_bag"), ("--model mlp", "mlp"), ("--model cnn", "cnn")] {
            let config = config(&format!("{line} {labels}")).unwrap();
            assert_eq!(config.model.family.name(), name);
            assert_eq!(config.model.labels, ["food", "rent", "travel"]);
            assert_eq!(config.schedule, Schedule::WhenReady);
        }
        let every = config(&format!("--model mlp {labels} --schedule every:3600 --optimizer fed-adam")).unwrap();
        assert_eq!(every.schedule, Schedule::EveryS(3600));
        assert!(matches!(every.aggregation, Aggregation::FedAdam { .. }));
        let at = config(&format!("--model mlp {labels} --schedule at:03:00,21:30")).unwrap();
        assert_eq!(at.schedule, Schedule::Times(vec![MinuteOfDay(180), MinuteOfDay(1290)]));
    }

    #[test]
    fn what_the_coordinator_would_refuse_is_refused_here() {
        for line in [
            "--goal 3",
            "--floor 2",
            "--epochs 0",
            "--hidden 1,2 --model cnn",
            "--profile malicious",
            "--goal 90000 --sessions one",
        ] {
            let line = if line.contains("cnn") { line.to_owned() } else { format!("--model mlp {line}") };
            assert!(config(&format!("{line} --labels a,b")).is_err(), "{line}");
        }
    }

    #[test]
    fn the_default_weight_fits_the_model() {
        let weight = |line: &str| config(&format!("--model mlp --labels a,b,c {line}")).unwrap().training.max_weight;
        // 20 x 8 + 8 + 8 x 3 + 3 parameters and 4 statistics: ceil(64 sqrt 199).
        assert_eq!(weight("--inputs 20 --hidden 8"), 903);
        assert_eq!(weight("--inputs 200 --hidden 64"), 1000);
        assert_eq!(weight("--inputs 20 --hidden 8 --max-weight 1000"), 1000, "what is named is not changed");
    }

    #[test]
    fn a_profile_and_its_authority() {
        let root = "ab".repeat(32);
        let line = format!("--model mlp --labels a,b --profile malicious --class paranoid --identity-root {root}");
        let chosen = config(&line).unwrap().secure_aggregation;
        assert_eq!((chosen.profile, chosen.class), (Profile::Malicious, Class::Paranoid));
        assert_eq!(chosen.identity_root, Some(IdentityRoot([0xab; 32])));
        let one = config("--model mlp --labels a,b --goal 500 --sessions one").unwrap();
        assert_eq!(one.secure_aggregation.sessions, Sessions::One);
    }

    #[test]
    fn noise_and_its_price() {
        let line = "--model mlp --labels a,b --rounds 30";
        let local = config(&format!("{line} --privacy local --epsilon 4")).unwrap().privacy;
        assert_eq!(local, Privacy::Local { epsilon: 4.0, delta: 1e-5, rounds: 30 });
        let example =
            config(&format!("{line} --privacy example --privacy-rounds 7 --example-clip 0.5")).unwrap().privacy;
        assert_eq!(example, Privacy::Example { epsilon: 8.0, delta: 1e-5, rounds: 7, clip: 0.5 });
        let follows = config(&format!("{line} --privacy distributed --clip 2 --clip-min 0.5 --clip-max 4")).unwrap();
        assert_eq!(follows.privacy.clip_range(), Some(ClipRange { min: 0.5, max: 4.0 }));
        for wrong in ["--clip-min 3 --clip-max 4", "--clip-min 4 --clip-max 1"] {
            assert!(config(&format!("{line} --privacy distributed --clip 2 {wrong}")).is_err(), "{wrong}");
        }
        let endless = config("--model mlp --labels a,b --privacy distributed").unwrap_err();
        assert!(endless.to_string().contains("--privacy-rounds"), "{endless}");
        assert!(config(&format!("{line} --privacy local --epsilon 0")).is_err());
        let unnamed = Only::try_parse_from("x merchants --model mlp --labels a,b".split(' ')).map(drop);
        assert!(unnamed.is_err(), "no noise has to be asked for by name");
    }

    #[test]
    fn the_example_file_is_a_valid_task() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/task.example.toml");
        let from_file = config(&format!("--config {}", path.display())).unwrap();
        assert_eq!(from_file.model.family.name(), "text_bag");
        let missing = config("--config /nowhere/task.toml").unwrap_err();
        assert!(missing.to_string().contains("/nowhere/task.toml"), "{missing}");
    }
}
