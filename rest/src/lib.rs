//! The REST facade: a person's transactions, and what training is doing.

#![forbid(unsafe_code)]
