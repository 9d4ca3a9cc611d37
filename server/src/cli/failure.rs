//! A command that failed: a sentence for a person, and a document for a program.

use std::borrow::Cow;
use std::path::Path;

use scale_proto::error::Problem;
use scale_proto::time::RetryWindow;
use serde_json::json;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[error("{sentence} [{code}]")]
pub(super) struct Failure {
    code: Cow<'static, str>,
    sentence: String,
    retry: Option<RetryWindow>,
}

impl Failure {
    /// `code`: one stable word for the cause. `sentence`: what was wrong, where, and what to do.
    pub(super) fn new(code: impl Into<Cow<'static, str>>, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), sentence: sentence.into(), retry: None }
    }

    /// A file that cannot be read.
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::new("file", format!("cannot read {}: {error}", path.display()))
    }

    /// A file that cannot be written.
    pub(super) fn unwritable(path: &Path, error: &std::io::Error) -> Self {
        Self::new("file", format!("cannot write {}: {error}", path.display()))
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        let mut document = json!({ "code": self.code, "sentence": self.sentence });
        if let Some(retry) = self.retry {
            document["retry_after_ms"] = json!(u64::try_from(retry.after.as_millis()).unwrap_or(u64::MAX));
        }
        document.to_string()
    }
}

/// What the coordinator answered, with what an operator can do about it: devices get the same sentences, and have no
/// command line.
impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let hint = match problem.code.as_str() {
            "unknown_task" => "; `scale-coordinator task list` names those that exist",
            "unknown_round" => "; `scale-coordinator rounds list TASK` names those that exist",
            _ => "",
        };
        Self { sentence: problem.sentence + hint, code: problem.code.into(), retry: problem.remedy.window() }
    }
}

/// Errors with a sentence of their own; the code is theirs, or the part of the program that they come from.
macro_rules! failure_from {
    ($($error:ty => $code:expr),+ $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let code: fn(&$error) -> Cow<'static, str> = $code;
                Self::new(code(&error), error.to_string())
            }
        }
    )+};
}

failure_from!(
    scale_coordinator::auth::identity::IdentityError => |_| "secrets".into(),
    scale_coordinator::auth::secrets::SecretsError => |_| "secrets".into(),
    scale_coordinator::backup::Error => |error| error.code().to_owned().into(),
    scale_coordinator::blobs::BlobError => |error| error.code().into(),
    crate::config::ConfigError => |_| "configuration".into(),
    scale_coordinator::Error => |error| error.code().to_owned().into(),
    scale_coordinator::noise::NoiseError => |error| error.code().into(),
    scale_coordinator::store::StoreError => |error| error.code().into(),
    crate::transport::TlsError => |_| "tls".into(),
    scale_privacy::accounting::AccountingError => |error| error.code().into(),
    scale_privacy::plan::PlanError => |error| error.code().into(),
    scale_proto::error::Invalid => |_| "invalid".into(),
);

#[cfg(feature = "facade")]
failure_from!(
    crate::facade::FacadeError => |_| "facade".into(),
    scale_rest::auth::DevIssuerError => |_| "issuer".into(),
);

#[cfg(test)]
mod tests {
    use scale_proto::error::Remedy;

    use super::*;

    #[test]
    fn programs_get_code_sentence_and_when_to_come_back() {
        let remedy = Remedy::Resend(RetryWindow::from_millis(5_000));
        let failure = Failure::from(Problem { code: "storage_unavailable".into(), sentence: "no disk".into(), remedy });
        let document: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        assert_eq!((&document["code"], &document["sentence"]), (&"storage_unavailable".into(), &"no disk".into()));
        assert!(document["retry_after_ms"].as_u64().unwrap() > 0, "{document}");
        assert_eq!(failure.to_string(), "no disk [storage_unavailable]");
    }

    #[test]
    fn operators_are_told_which_command_helps() {
        let problem =
            Problem { code: "unknown_task".into(), sentence: "there is no task x".into(), remedy: Remedy::Leave };
        assert!(Failure::from(problem).to_string().contains("task list"));
    }
}
