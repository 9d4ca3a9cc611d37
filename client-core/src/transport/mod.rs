//! Ways to a coordinator. [`crate::host::Transport`] says what one has to do; browsers and tests bring their own.

#[cfg(all(feature = "native", not(target_arch = "wasm32")))]
pub mod native;
