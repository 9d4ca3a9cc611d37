//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use scale_proto::ids::TaskId;

use super::plan::PlanArgs;
use super::task::TaskArgs;

/// The coordinator of SCALE FL: schedules rounds, adds up masked updates, serves models.
#[derive(Debug, Parser)]
#[command(name = "scale-coordinator", version, about)]
#[command(
    after_help = "Start with `scale-coordinator serve`: it needs no configuration and tells you what comes next."
)]
pub struct Cli {
    /// Print one JSON document instead of text; a failure is one too, on stderr
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// Whether the command writes into the data folder, and nowhere else.
    pub(super) const fn writes_data_folder(&self) -> bool {
        match self.command {
            Command::Serve(_) | Command::Migrate(_) | Command::Restore(_) => true,
            // Its file is private by itself.
            Command::Backup(_) => false,
            Command::Client(ClientCommand::Token(Reaching { command: TokenCommand::Mint { .. }, .. })) => true,
            Command::Client(_) => false,
        }
    }
}

/// Heading of the options that every command takes.
const EVERYWHERE: &str = "Every command";
/// Heading of the options that say which coordinator is meant.
const CONNECTION: &str = "Connection";

/// Where a coordinator keeps everything.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct DataFolder {
    /// Data folder: database, models, secrets, and how to reach a running coordinator [default: data]
    #[arg(long, env = "SCALE_DATA", value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
}

/// How to reach a running coordinator.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// URL of the coordinator [default: the one of the data folder, else http://127.0.0.1:7400]
    #[arg(long, global = true, env = "SCALE_SERVER", value_name = "URL", help_heading = CONNECTION)]
    pub(super) server: Option<String>,
    /// Operator token [default: the one in the data folder]
    #[arg(long, global = true, env = "SCALE_TOKEN", value_name = "TOKEN", hide_env_values = true, help_heading = CONNECTION)]
    pub(super) token: Option<String>,
    /// PEM file of the authority that signed the coordinator's certificate [default: the public ones]
    #[arg(long, global = true, env = "SCALE_CA_CERT", value_name = "FILE", help_heading = CONNECTION)]
    pub(super) ca_cert: Option<PathBuf>,
    /// Data folder of the coordinator: says where it is, and holds the operator token [default: data]
    #[arg(long, global = true, env = "SCALE_DATA", value_name = "FOLDER", help_heading = CONNECTION)]
    pub(super) data: Option<PathBuf>,
}

impl Remote {
    /// The data folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| PathBuf::from("data"))
    }
}

/// A command that asks a running coordinator.
#[derive(Debug, Args)]
pub(super) struct Reaching<C: Subcommand> {
    #[command(flatten)]
    pub(super) remote: Remote,
    #[command(subcommand)]
    pub(super) command: C,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a coordinator
    Serve(ServeArgs),
    /// Bring the schemas of the databases up to date: of rounds on Postgres, and of people's rows
    Migrate(MigrateArgs),
    /// Write everything that a coordinator keeps into one file, also while it runs
    ///
    /// Rows of one moment, and every blob that they name, on SQLite or Postgres, in any stage of rounds; either engine takes
    /// them back. People's rows of the REST API are not in it: for them use `sqlite3 data/people.sqlite3 ".backup
    /// people.backup"`, or pg_dump. Keep the file as private as the data folder.
    Backup(BackupArgs),
    /// Put a backup into an empty place: a new data folder, or an empty database and store
    ///
    /// All of it or nothing. It says then what has to be known: what devices will refuse, and what the account of privacy
    /// lacks. People's rows of the REST API are not in a backup; put theirs back with their own tools.
    Restore(RestoreArgs),
    #[command(flatten)]
    Client(ClientCommand),
}

/// Laid over the configuration file.
#[derive(Debug, Default, Args)]
pub(super) struct ServeArgs {
    /// Configuration file (see docs/coordinator.example.toml)
    #[arg(long, env = "SCALE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Address and port; port 0 takes a free one [default: 127.0.0.1:7400]
    #[arg(long, env = "SCALE_LISTEN", value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,
    /// How devices reach this coordinator, such as https://fl.example.org [default: derived from the address]
    #[arg(long, env = "SCALE_PUBLIC_URL", value_name = "URL")]
    pub(super) public_url: Option<String>,
    /// Serve gRPC reflection to anybody, for tools such as grpcurl
    #[arg(long, env = "SCALE_REFLECTION")]
    pub(super) reflection: bool,
    /// PEM certificate chain; turns TLS on
    #[arg(long, env = "SCALE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// PEM key of the certificate
    #[arg(long, env = "SCALE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Go on without the secrets that the database belongs to: devices enroll again, apps need the new task key
    #[arg(long)]
    pub(super) new_identity: bool,
    /// Log filter, as in RUST_LOG [default: info]
    #[arg(long, env = "SCALE_LOG", value_name = "FILTER")]
    pub(super) log: Option<String>,
    /// Log one JSON object a line
    #[arg(long, env = "SCALE_LOG_JSON")]
    pub(super) log_json: bool,
    #[command(flatten)]
    pub(super) data: DataFolder,
    /// Stop when standard input ends: a program that starts a coordinator and keeps the other end of a pipe takes it along,
    /// however that program ends
    #[arg(long)]
    pub(super) until_stdin_ends: bool,
}

/// What to do about schemas.
#[derive(Debug, Default, Args)]
pub(super) struct MigrateArgs {
    /// Configuration file (see docs/coordinator.example.toml): names the databases
    #[arg(long, env = "SCALE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Change nothing, and fail if something is missing
    #[arg(long)]
    pub(super) check: bool,
    #[command(flatten)]
    pub(super) data: DataFolder,
}

/// What is backed up, and where to.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to write; it must not be there
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Put secrets.json into it too: whoever has the file can then sign rounds and mint tokens
    #[arg(long)]
    pub(super) with_secrets: bool,
    /// Configuration file (see docs/coordinator.example.toml): names database and object store
    #[arg(long, env = "SCALE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) data: DataFolder,
}

/// What is restored, and where to.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A file that `scale-coordinator backup` has written
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Add so many rounds to a task's account of privacy, because they ran after the backup; can be given for each task
    #[arg(long, value_name = "TASK=ROUNDS", value_parser = lost_rounds)]
    pub(super) lost_rounds: Vec<(TaskId, u32)>,
    /// Configuration file (see docs/coordinator.example.toml): names database and object store
    #[arg(long, env = "SCALE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) data: DataFolder,
}

/// Reads a task and a number of rounds, such as `merchants=3`.
fn lost_rounds(text: &str) -> Result<(TaskId, u32), String> {
    let wrong = || format!("{text:?} is not a task and a number of rounds, from 1 to 100000, such as merchants=3");
    let (task, rounds) = text.split_once('=').ok_or_else(wrong)?;
    let rounds = rounds.parse().ok().filter(|rounds| (1..=100_000).contains(rounds)).ok_or_else(wrong)?;
    Ok((task.parse().map_err(|error: scale_proto::error::Invalid| error.to_string())?, rounds))
}

/// What a person's token says of them.
#[cfg(feature = "facade")]
#[derive(Debug, Args)]
pub(super) struct PersonToken {
    /// With --kind person: who; a UUID, or any name, which always stands for the same person
    #[arg(long, default_value = "demo", value_name = "WHO", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) user: String,
    /// With --kind person: what they may do
    #[arg(long, value_enum, default_value = "user")]
    pub(super) role: PersonRole,
    /// With --kind person: they have shown a second factor
    #[arg(long)]
    pub(super) mfa: bool,
}

#[cfg(feature = "facade")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PersonRole {
    /// See and change their own rows
    User,
    /// Also look after rounds and models
    Operator,
    /// Everything
    Service,
}

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Tasks: what is trained, and how
    Task(Reaching<TaskCommand>),
    /// Rounds: one aggregation of a task each
    Rounds(Reaching<RoundsCommand>),
    /// Models: every version that was published
    Models(Reaching<ModelsCommand>),
    /// Plan noise: what it costs, and whether anything is learned under it
    Plan(PlanArgs),
    /// Tokens for devices, operators and people
    Token(Reaching<TokenCommand>),
    /// Ask a running coordinator whether it is healthy
    Health(Remote),
}

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// Create a task, from a file or from flags
    Create(Box<TaskArgs>),
    /// List all tasks
    List,
    /// Open no more rounds; an open round continues
    Pause {
        /// The task
        task: String,
    },
    /// Open rounds again
    Resume {
        /// The task
        task: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RoundsCommand {
    /// Open a round now
    Open {
        /// The task
        task: String,
    },
    /// List the newest rounds of a task
    List {
        /// The task
        task: String,
        /// How many
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one round and its sessions
    Show {
        /// The round's id, or its first 8 digits or more
        round: String,
    },
    /// End a round without a model; nothing is revealed
    Abandon {
        /// The round's id, or its first 8 digits or more
        round: String,
        /// Why: for the record, and for the devices of the round
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ModelsCommand {
    /// List every version of a task's model
    List {
        /// The task
        task: String,
    },
    /// Show one version
    Show {
        /// The task
        task: String,
        /// The version [default: the one that is served]
        version: Option<u64>,
    },
    /// Publish an older version again, as a new one; nothing is erased
    Rollback {
        /// The task
        task: String,
        /// The version to go back to
        version: u64,
    },
    /// Download a version as a safetensors file, and check its digest
    Download {
        /// The task
        task: String,
        /// The version [default: the one that is served]
        version: Option<u64>,
        /// Where to write it [default: TASK-VERSION.safetensors]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token
    Mint {
        /// What it opens
        #[arg(long, value_enum)]
        kind: TokenKind,
        /// How long, such as 90m, 12h or 30d [default: 7d for enrollment, 1d for operators and persons]
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        ttl: Option<u64>,
        #[cfg(feature = "facade")]
        #[command(flatten)]
        person: PersonToken,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TokenKind {
    /// Lets an app enroll as a device
    Enroll,
    /// Lets a person or a script administer this coordinator
    Operator,
    #[cfg(feature = "facade")]
    /// Lets a person use the REST API, for development: signed by the key in the data folder
    Person,
}

impl TokenKind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Operator => "operator",
            #[cfg(feature = "facade")]
            Self::Person => "person",
        }
    }
}

/// Reads a time such as `90s`, `15m`, `12h` or `30d`.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a time such as 90s, 15m, 12h or 30d");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    // The last character is one of four ASCII letters.
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_are_understood() {
        for line in [
            "scale-coordinator serve",
            "scale-coordinator serve --listen 127.0.0.1:0 --data /tmp/x --log-json",
            "scale-coordinator serve --new-identity",
            "scale-coordinator serve --until-stdin-ends",
            "scale-coordinator --json task list",
            "scale-coordinator task list --json --server http://x:1 --token t",
            "scale-coordinator task --data /tmp/x list",
            "scale-coordinator plan --entries 262144 --devices 1000",
            "scale-coordinator plan docs/task.example.toml",
            #[cfg(feature = "facade")]
            "scale-coordinator token mint --kind person --user anna",
            "scale-coordinator task create merchants --config task.toml --initial first.safetensors",
            "scale-coordinator task create merchants --model text-bag --labels food,rent --goal 20 --privacy none",
            "scale-coordinator rounds list merchants --limit 5",
            "scale-coordinator rounds abandon 00000000-0000-0000-0000-000000000000 --reason test",
            "scale-coordinator models download merchants 3 -o x.safetensors",
            "scale-coordinator token mint --kind enroll --ttl 30d",
            #[cfg(feature = "facade")]
            "scale-coordinator token mint --kind person --role operator --mfa",
            "scale-coordinator migrate --check",
            "scale-coordinator backup today.backup --with-secrets",
            "scale-coordinator restore today.backup --data /tmp/x --lost-rounds merchants=3 --lost-rounds other=1",
            "scale-coordinator health",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    /// A command's own options first, those of all commands under headings of their own, and none that mean nothing.
    #[test]
    fn help_shows_what_a_command_takes_and_nothing_else() {
        let help = |words: &str| {
            let error = parse(&format!("scale-coordinator {words} --help")).expect_err("help");
            error.render().to_string()
        };
        for words in ["serve", "migrate", "backup", "restore"] {
            let text = help(words);
            for option in ["--server <", "--token <", "--ca-cert <"] {
                assert!(!text.contains(option), "{words}: {text}");
            }
            assert!(text.contains("--data <"), "{text}");
        }
        for words in ["task create", "rounds show", "models list", "token mint", "health"] {
            let text = help(words);
            let (own, shared) = text.split_once("Connection:").unwrap_or_else(|| panic!("{text}"));
            for option in ["--server <", "--token <", "--ca-cert <", "--data <", "--json"] {
                assert!(!own.contains(option), "{words}: {option}: {own}");
                assert!(shared.contains(option), "{words}: {option}: {shared}");
            }
        }
        for words in ["backup", "restore"] {
            assert!(help(words).contains("People's rows of the REST API are not in"), "{}", help(words));
        }
        for words in ["", "plan", "serve"] {
            let text = help(words);
            assert!(text.contains("Every command:\n      --json"), "{text}");
        }
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for line in [
            "scale-coordinator",
            "scale-coordinator serve --listen nowhere",
            "scale-coordinator serve --tls-cert x.pem",
            "scale-coordinator task create",
            "scale-coordinator task create merchants --model text-bag --config task.toml",
            "scale-coordinator task create merchants",
            "scale-coordinator rounds abandon x",
            "scale-coordinator rounds list merchants --limit 0",
            "scale-coordinator token mint --kind device",
            "scale-coordinator token mint --kind person --user=",
            "scale-coordinator serve --server http://x:1",
            "scale-coordinator migrate --token t",
            "scale-coordinator backup",
            "scale-coordinator restore today.backup --lost-rounds merchants",
            "scale-coordinator restore today.backup --lost-rounds merchants=0",
            "scale-coordinator plan docs/task.example.toml --entries 5",
            "scale-coordinator token mint --kind enroll --ttl 5",
            "scale-coordinator token mint --kind enroll --ttl 0d",
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.use_stderr() && error.exit_code() == 2, "{line}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, expected) in [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for wrong in ["", "s", "5", "5w", "-5s", "5 s", "99999999999999999d", "5ä"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
