//! Who may do what: tokens, the secrets behind them, and enrollment.
//!
//! | token | opens | minted by |
//! |---|---|---|
//! | `scale_enroll_…` | `Enrollment` | an operator; an app ships with one, or fetches one |
//! | `scale_device_…` | `Rounds`, `Models` | enrollment |
//! | `scale_operator_…` | `Admin` | the coordinator at its first start, or an operator |
//!
//! Tokens are self-contained (see [`token`]); nothing is looked up to check one.

mod enroll;
pub mod files;
pub mod identity;
pub mod secrets;
pub mod token;

pub use enroll::{EnrollError, Enrollment};
pub use secrets::Secrets;
pub use token::{Authority, Kind, Minted, TokenError};
