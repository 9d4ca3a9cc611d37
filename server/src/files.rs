//! Names of the files in a data folder, in one place: what is private there is private whatever this build can do with it.

/// Database of rounds.
pub const DATABASE: &str = "coordinator.sqlite3";
/// In which a running coordinator says where it is.
pub const STATUS: &str = "coordinator.json";
/// A token for administration.
pub const OPERATOR: &str = "operator.token";
/// People's rows, unless they live in Postgres.
pub const PEOPLE_DATABASE: &str = "people.sqlite3";
/// The key with which the development issuer signs people's tokens.
pub const PEOPLE_ISSUER: &str = "people-issuer.key";
