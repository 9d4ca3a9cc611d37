//! What `serve` tells the person who started it.

use super::super::Status;
use crate::config::Config;
use crate::files;

/// How this program was called: what a person can paste in the same folder.
pub(super) fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "scale-coordinator".to_owned())
}

/// What a person needs to go on. Every command in it can be pasted.
pub(super) fn banner(config: &Config, status: &Status, url: &str, enroll: Option<&str>, program: &str) -> String {
    let data = config.data.folder.display();
    let enrollment = match enroll {
        Some(token) => format!("Enroll devices for a week with\n  {token}\nMore:"),
        None => "Enroll devices with a token of".to_owned(),
    };
    let mut lines = format!(
        "SCALE FL coordinator {version}\n\
         \n  address         {url}\
         \n  data folder     {data}\
         \n  task key        {key}\
         \n                  pin it in the app: rounds that are not signed by it are refused\
         \n  operator token  {data}/{operator}\
         \n\
         \n{enrollment}\
         \n       {program} token mint --kind enroll --data {data}\
         \nNext:  {program} task create NAME --model text-bag --labels a,b,c --privacy none --data {data}\n",
        version = env!("CARGO_PKG_VERSION"),
        key = status.task_key,
        operator = files::OPERATOR,
    );
    #[cfg(feature = "facade")]
    if config.rest.enabled {
        lines += &format!("Apps:  {url}/docs\n");
        if !config.rest.auth.is_configured() {
            lines += &format!("       {program} token mint --kind person --data {data}   # development only\n");
        }
    }
    if !config.server.listen.ip().is_loopback() {
        if config.server.public_url.is_none() {
            lines += "\nNote: devices on other machines cannot download models until --public-url says how to reach\n\
                      this coordinator.\n";
        }
        if config.server.tls_cert.is_none() && !url.starts_with("https://") {
            lines += "\nNote: this port is open to the network without TLS. Give --tls-cert and --tls-key, or put a\n\
                      proxy with TLS in front of it.\n";
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{self, ClientCommand, Reaching, TaskCommand};

    /// Whoever pastes a line of the banner gets what it promises.
    #[test]
    fn every_command_of_the_banner_is_understood() {
        let config = Config::default();
        let status = Status { url: "http://x:1".into(), pid: 1, task_key: "ab".into() };
        for enroll in [Some("a.token"), None] {
            let banner = banner(&config, &status, &status.url, enroll, "scale-coordinator");
            assert_eq!(banner.contains("a.token"), enroll.is_some(), "{banner}");
            let commands: Vec<_> =
                banner.lines().filter_map(|line| line.find("scale-coordinator ").map(|at| &line[at..])).collect();
            assert_eq!(commands.len(), 3, "{banner}");
            for line in commands {
                let words = line.split(" #").next().unwrap_or_default().split_whitespace();
                let words = words.map(|word| if word == "NAME" { "categorizer" } else { word });
                let cli = crate::cli::Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
                if let args::Command::Client(ClientCommand::Task(Reaching {
                    command: TaskCommand::Create(task), ..
                })) = cli.command
                {
                    task.config().unwrap_or_else(|error| panic!("{line}: {error}"));
                }
            }
        }
    }
}
