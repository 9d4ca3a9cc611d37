//! Who may do what: tokens, the secrets behind them, and enrollment.
//!
//! | token | opens | minted by |
//! |---|---|---|
//! | `scale_enroll_…` | `Enrollment` | an operator, for any number of keys; the REST facade, for a person and one key |
//! | `scale_device_…` | `Rounds`, `Models` | enrollment |
//! | `scale_operator_…` | `Admin` | the coordinator at its first start, or an operator |
//!
//! Tokens are self-contained (see [`token`]); nothing is looked up to check one, but whether an enrollment token for one key
//! was used.

mod enroll;
pub mod files;
pub mod identity;
pub mod secrets;
pub mod token;

pub use enroll::{EnrollError, Enrollment};
pub use secrets::Secrets;
pub use token::{Authority, Enrolls, Kind, Minted, TokenError};
