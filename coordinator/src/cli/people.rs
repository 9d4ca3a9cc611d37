//! Commands about people's rows and their tokens. They work on the data folder and the configuration; no coordinator
//! needs to run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use scale_records::domain::UserId;
use scale_records::store::{self, Location};
use scale_rest::auth::{Assurance, DevIssuer, Role};
use serde_json::json;

use super::args::{MigrateArgs, PersonRole, PersonToken};
use super::output::Output;
use super::{Failure, date, folder, serve};
use crate::clock::{Clock as _, SystemClock};
use crate::facade::{self, ISSUER_FILE};
use crate::store::FolderLock;

/// Life of a person's token, when nothing else is asked for.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// `migrate`: brings the schema of people's rows up to date, or says what is missing.
pub(super) async fn migrate(args: &MigrateArgs, data: Option<PathBuf>) -> Result<Output, Failure> {
    let config = serve::read_configuration(args.config.as_deref(), data)?;
    let data = &config.data.folder;
    let location = facade::location(&config.rest, data);
    let _lock = match &location {
        Location::Sqlite(_) => {
            if let Some(mended) = folder::open_private(data)? {
                eprintln!("warning: {mended}");
            }
            Some(FolderLock::take(data)?)
        }
        Location::Postgres(..) | Location::Memory => None,
    };
    let steps = if args.check { store::missing_steps(&location).await? } else { store::migrate(&location).await? };
    let names: Vec<String> = steps.iter().map(ToString::to_string).collect();
    let text = match (names.is_empty(), args.check) {
        (true, _) => "the schema of people's rows is up to date".to_owned(),
        (false, true) => return Err(Failure::new(format!("steps are missing: {}", names.join(", ")))),
        (false, false) => format!("taken: {}", names.join(", ")),
    };
    Ok(Output::new(text, json!({ "taken": names })))
}

/// `token mint --kind person`: a token of the development issuer in this data folder.
pub(super) fn mint(token: &PersonToken, ttl: Option<u64>, data: &Path) -> Result<Output, Failure> {
    if !data.is_dir() {
        return Err(Failure::new(format!(
            "there is no data folder {}; start `scale-coordinator serve` first, or name the folder with --data",
            data.display()
        )));
    }
    let issuer = DevIssuer::load_or_create(&data.join(ISSUER_FILE))?;
    let user = token.user.map_or_else(UserId::new, UserId);
    let role = match token.role {
        PersonRole::User => Role::User,
        PersonRole::Operator => Role::Operator,
        PersonRole::Service => Role::Service,
    };
    let assurance = if token.mfa { Assurance::Aal2 } else { Assurance::Aal1 };
    let (ttl, now) = (ttl.map_or(TTL, Duration::from_secs), SystemClock.now());
    let minted = issuer.mint(user, role, assurance, ttl, now);
    let expires = date(now.plus(ttl).as_millis());
    let json = json!({ "token": minted, "user_id": user.to_string(), "expires_at": expires });
    Ok(Output::new(minted, json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn people_s_rows_are_migrated_once() {
        let folder = tempfile::tempdir().unwrap();
        let data = || Some(folder.path().to_owned());
        let check = MigrateArgs { check: true, ..MigrateArgs::default() };
        assert!(migrate(&check, data()).await.is_err());
        let first = migrate(&MigrateArgs::default(), data()).await.unwrap();
        assert!(first.text().starts_with("taken: "), "{}", first.text());
        for args in [&MigrateArgs::default(), &check] {
            let again = migrate(args, data()).await.unwrap();
            assert!(again.text().contains("up to date"), "{}", again.text());
        }
    }

    #[tokio::test]
    async fn a_minted_token_is_believed_by_the_same_folder() {
        let folder = tempfile::tempdir().unwrap();
        let token = PersonToken { user: None, role: PersonRole::Operator, mfa: true };
        let output = mint(&token, Some(60), folder.path()).unwrap();
        let issuer = DevIssuer::load_or_create(&folder.path().join(ISSUER_FILE)).unwrap();
        let verifier = scale_rest::auth::Verifier::development(&issuer);
        let caller = verifier.verify(output.text(), SystemClock.now()).await.unwrap();
        assert_eq!((caller.role, caller.assurance), (Role::Operator, Assurance::Aal2));
        assert!(mint(&token, None, &folder.path().join("missing")).is_err());
    }
}
