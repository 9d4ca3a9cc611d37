//! Commands about people's rows and their tokens. They work on the data folder and the configuration; no coordinator
//! needs to run.

use std::path::Path;
use std::time::Duration;

use scale_proto::ids::Digest;
use scale_records::domain::UserId;
use scale_records::store::{self, Location};
use scale_rest::auth::{Assurance, DevIssuer, Role};
use serde_json::json;

use super::args::{PersonRole, PersonToken};
use super::output::Output;
use super::{Failure, date, folder};
use crate::config::Config;
use crate::{facade, files};
use scale_clock::{Clock as _, SystemClock};
use scale_coordinator::store::FolderLock;

/// Life of a person's token, when nothing else is asked for.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// Brings the schema of people's rows up to date, or says what is missing: the steps.
pub(super) async fn migrate(config: &Config, check: bool) -> Result<Vec<String>, Failure> {
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
    let steps = if check { store::missing_steps(&location).await? } else { store::migrate(&location).await? };
    Ok(steps.iter().map(ToString::to_string).collect())
}

/// `token mint --kind person`: a token of the development issuer in this data folder.
pub(super) fn mint(token: &PersonToken, ttl: Option<u64>, data: &Path) -> Result<Output, Failure> {
    if !data.is_dir() {
        let start = "start `scale-coordinator serve` first, or name the folder with --data";
        return Err(Failure::new("no_data_folder", format!("there is no data folder {}; {start}", data.display())));
    }
    let issuer = DevIssuer::load_or_create(&data.join(files::PEOPLE_ISSUER))?;
    let user = person(&token.user);
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

/// Who is meant: an id, or a name that always stands for the same id, so that somebody who mints again is the same
/// person and sees the same rows.
fn person(name: &str) -> UserId {
    let named = || {
        let digest = Digest::of(format!("SCALE FL development person {name}").as_bytes()).0;
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    };
    UserId(name.parse().unwrap_or_else(|_| named()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_minted_token_is_believed_by_the_same_folder() {
        let folder = tempfile::tempdir().unwrap();
        let token = PersonToken { user: "demo".into(), role: PersonRole::Operator, mfa: true };
        let output = mint(&token, Some(60), folder.path()).unwrap();
        let issuer = DevIssuer::load_or_create(&folder.path().join(files::PEOPLE_ISSUER)).unwrap();
        let verifier = scale_rest::auth::Verifier::development(&issuer);
        let caller = verifier.verify(output.text(), SystemClock.now()).await.unwrap();
        assert_eq!((caller.role, caller.assurance), (Role::Operator, Assurance::Aal2));
        assert!(mint(&token, None, &folder.path().join("missing")).is_err());
    }

    #[test]
    fn the_same_name_is_the_same_person() {
        assert_eq!(person("demo"), person("demo"));
        assert_ne!(person("demo"), person("anna"));
        let id = uuid::Uuid::new_v4();
        assert_eq!(person(&id.to_string()), UserId(id));
    }
}
