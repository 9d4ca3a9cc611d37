//! What is stored of people: transactions, the files they came from, categories and training jobs.
//!
//! These rows never meet the rounds' rows: they live in a database of their own, and nothing in them is read by a round.
//!
//! | step | where | type afterwards |
//! | --- | --- | --- |
//! | read a bank's file, row by row | [`import`] | [`NewTransaction`](domain::NewTransaction) or a [`RowError`](import::RowError) with its line |
//! | keep it, once per person and fingerprint | [`store`] | [`Transaction`](domain::Transaction) |
//!
//! [`domain`] has the values and their rules and knows neither SQL nor JSON of an API; [`store`] has one trait per family
//! of tables, SQLite and Postgres behind them, and one conformance suite that both pass.

#![forbid(unsafe_code)]

pub mod domain;
pub mod import;
pub mod store;
