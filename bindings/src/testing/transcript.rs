//! All bytes that a device sends in a whole round, from one seed: the same in every build, or the build computes something
//! else than the client that the protocol's tests know.

use scale_client_core::testing::{Device, Simulation, setting};
use scale_proto::ids::Digest;

/// Devices of the round.
const DEVICES: u32 = 12;

/// SHA-256 of the messages of a device in two rounds of twelve, without and with noise, as hex. Keys, masks, rounding and
/// noise follow from `seed`.
///
/// # Panics
/// The round has failed.
pub fn transcript(seed: u32) -> String {
    let plan = setting::plan();
    let configs = [setting::config(&plan), setting::noisy(&plan, 1.5)];
    let mut bytes = vec![];
    for config in &configs {
        let devices = (0..DEVICES).map(|number| Device::new(seed.wrapping_add(number))).collect();
        let mut round = Simulation::new(setting::manifest(config, &plan), setting::file(), devices);
        round.finish();
        assert_eq!(round.faults(), Vec::<String>::new(), "a round without faults");
        for sent in round.devices[0].sent() {
            bytes.push(sent.stage);
            bytes.extend_from_slice(&(sent.payload.len() as u64).to_le_bytes());
            bytes.extend_from_slice(&sent.payload);
        }
    }
    Digest::of(&bytes).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read by the tests of every language, too: a line for each seed.
    const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts.txt");
    const HEAD: &str =
        "# SHA-256 of all bytes that a device sends in two rounds, by seed: bindings/src/testing/transcript.rs\n";

    /// After a deliberate change of the protocol: `SCALE_BLESS=1 cargo test -p scale-bindings --features testing`.
    #[test]
    fn transcripts_are_those_that_every_language_is_held_to() {
        let lines: Vec<String> = (1..=3).map(|seed| format!("{seed} {}\n", transcript(seed))).collect();
        let found = HEAD.to_owned() + &lines.concat();
        if std::env::var_os("SCALE_BLESS").is_some() {
            std::fs::write(TRANSCRIPTS, &found).expect("writable");
        }
        assert_eq!(std::fs::read_to_string(TRANSCRIPTS).expect("readable"), found);
    }
}
