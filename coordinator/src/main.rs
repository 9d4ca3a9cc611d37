//! `scale-coordinator`.
fn main() {}
