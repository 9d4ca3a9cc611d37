//! Names of rows and people, and who may see which.

use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new one. Version 7: ids made later sort later, so that indexes grow at their end.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }
    };
}

id! {
    /// A person, by the subject of their token.
    UserId
}
id! {
    /// One transaction.
    TransactionId
}
id! {
    /// One training job.
    JobId
}
id! {
    /// One imported file.
    UploadId
}

/// For whom a row is looked up. A row out of scope does not exist: it is `None`, never an error of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A person, who sees their own rows.
    User(UserId),
    /// The coordinator itself, which sees everybody's.
    Service,
}
