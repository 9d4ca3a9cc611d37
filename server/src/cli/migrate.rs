//! `migrate`: brings the schemas of databases up to date that several processes may use, before those start. What is in the
//! data folder alone, `serve` brings up to date by itself.

use scale_coordinator::store;
use serde_json::json;

use super::args::MigrateArgs;
use super::output::Output;
use super::{Failure, serve};

/// Takes the steps that are missing, or fails with `--check` if there are any.
pub(super) async fn run(args: &MigrateArgs) -> Result<Output, Failure> {
    let config = serve::read_configuration(args.config.as_deref(), args.data.data.clone())?;
    let url = &config.database.url;
    let rounds: Vec<String> = match (url.is_empty(), args.check) {
        (true, _) => Vec::new(),
        (false, true) => store::missing_steps(url.expose()).await?.iter().map(ToString::to_string).collect(),
        (false, false) => store::migrate(url.expose()).await?.iter().map(ToString::to_string).collect(),
    };
    #[cfg(feature = "facade")]
    let people = super::people::migrate(&config, args.check).await?;
    #[cfg(not(feature = "facade"))]
    let people: Vec<String> = Vec::new();

    let of = |whose: &str, steps: &[String]| (!steps.is_empty()).then(|| format!("{whose}: {}", steps.join(", ")));
    let all: Vec<String> = [of("rounds", &rounds), of("people's rows", &people)].into_iter().flatten().collect();
    let text = match (all.is_empty(), args.check) {
        (true, _) if url.is_empty() => {
            "the schema of people's rows is up to date; that of rounds is brought up to date \
                                        by `serve`, because they are in the data folder"
                .to_owned()
        }
        (true, _) => "the schemas of rounds and of people's rows are up to date".to_owned(),
        (false, true) => {
            let problem = format!("steps are missing: {}; run `scale-coordinator migrate`", all.join("; "));
            return Err(Failure::new("steps_missing", problem));
        }
        (false, false) => format!("applied to {}", all.join("; ")),
    };
    Ok(Output::new(text, json!({ "rounds": rounds, "people": people })))
}

#[cfg(all(test, feature = "facade"))]
mod tests {
    use super::*;
    use crate::cli::args::DataFolder;

    #[tokio::test]
    async fn people_s_rows_are_migrated_once() {
        let folder = tempfile::tempdir().unwrap();
        let data = || DataFolder { data: Some(folder.path().to_owned()) };
        let (take, check) = (
            MigrateArgs { config: None, check: false, data: data() },
            MigrateArgs { config: None, check: true, data: data() },
        );
        assert!(run(&check).await.is_err());
        let first = run(&take).await.unwrap();
        assert!(first.text().starts_with("applied to people's rows: "), "{}", first.text());
        for args in [&take, &check] {
            let again = run(args).await.unwrap();
            assert!(again.text().contains("up to date"), "{}", again.text());
        }
    }
}
