//! Exports for the tests in a browser.

mod calls;
mod moves;
mod parity;
mod speed;
mod training;
