//! One session of a Swift app, a Kotlin app, a browser and native devices: `tests/mixed`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{TestRun, kotlin, swift};
use crate::api::Program;
use crate::tally::Tally;
use crate::{node, web};

/// From the repository's root.
const TEST: &str = "tests/mixed/mixed.test.mjs";
const LIMIT: Duration = Duration::from_secs(600);

/// Builds every side, and runs the test.
///
/// # Errors
/// If a side does not build, or the test fails.
pub(super) fn test(run: &TestRun<'_>, program: Program, tally: &mut Tally) -> Result<()> {
    let mut variables = web::test_variables(program)?;
    variables.push(("SCALE_SWIFT_DEVICE", words(&swift::device(run)?)?));
    variables.push(("SCALE_KOTLIN_DEVICE", words(&kotlin::device(run)?)?));
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    node::test_within(LIMIT, &[TEST], &variables, tally)
}

/// A command as another program starts it: a list of words in JSON, the environment by way of `env`.
fn words(command: &Command) -> Result<String> {
    let text = |text: &std::ffi::OsStr| text.to_str().map(str::to_owned).context("a command is not Unicode");
    let (mut removed, mut set) = (vec!["env".to_owned()], vec![]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => set.push(format!("{}={}", text(name)?, text(value)?)),
            None => removed.extend(["-u".to_owned(), text(name)?]),
        }
    }
    let program = std::iter::once(command.get_program()).chain(command.get_args());
    let program = program.map(text).collect::<Result<Vec<_>>>()?;
    let words = [removed, set, program].concat();
    Ok(serde_json::to_string(&words)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_with_its_environment() {
        let mut command = Command::new("java");
        command.args(["-cp", "a b"]).env("SET", "1").env_remove("GONE");
        assert_eq!(words(&command).unwrap(), r#"["env","-u","GONE","SET=1","java","-cp","a b"]"#);
    }
}
