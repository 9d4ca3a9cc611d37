//! 01: round configurations, and the least wire width.

use scale_secagg::config::{self, Mechanism, RoundConfig};
use scale_secagg::keys::IdentityKey;
use scale_secagg::params::{Class, Profile};
use serde_json::Value;

use crate::support::{Refused, load, parse};
use crate::transcript::{array, bytes, is_bad, list, number, policy, small, specs, text};

fn from_fields(v: &Value) -> RoundConfig {
    let mechanism = match number(&v["mechanism"]) {
        0 => Mechanism::None,
        _ => Mechanism::DistributedGaussian {
            local_variance: number(&v["local_variance"]),
            n_honest: small(&v["n_honest"]),
            rho: number(&v["rho"]),
        },
    };
    let closing: Vec<u64> = list(&v["closing"]).iter().map(number).collect();
    RoundConfig {
        task_id: text(&v["task_id"]).to_owned(),
        round: number(&v["round"]),
        server_nonce: array(&v["server_nonce"]),
        model_digest: array(&v["model_digest"]),
        plan_digest: array(&v["plan_digest"]),
        vectors: specs(&v["vectors"]),
        wire_bits: small(&v["wire_bits"]) as u8,
        clip: f64::from_le_bytes(array(&v["clip_f64"])),
        grid: small(&v["grid"]),
        rotation_seed: (number(&v["flatten"]) == 1).then(|| array(&v["rotation_seed"])),
        mechanism,
        policy_id: text(&v["policy_id"]).to_owned(),
        profile: Profile::try_from(small(&v["profile"]) as u8).unwrap(),
        class: Class::try_from(small(&v["param_class"]) as u8).unwrap(),
        n_lo: small(&v["n_lo"]),
        n_hi: small(&v["n_hi"]),
        u3_min: small(&v["u3_min"]),
        closing: closing.try_into().unwrap(),
        identity_root: array(&v["identity_root"]),
    }
}

known_answers! {
    fn configurations_have_the_known_bytes_and_pass_their_checks() {
        let file = load("01_round_config");
        let mut good = 0;
        for case in list(&file["cases"]).iter().filter(|case| !is_bad(case)) {
            let name = text(&case["name"]);
            let config = from_fields(&case["fields"]);
            let encoded = bytes(&case["bytes"]);
            assert_eq!(config.encode(), encoded, "{name}");
            assert_eq!(RoundConfig::decode(&encoded), Ok(config.clone()), "{name}");
            assert_eq!(config.cfg(), array(&case["cfg"]), "{name}");
            let task_key = IdentityKey::from_seed(&array(&case["task_seed"]));
            let signature: [u8; 64] = array(&case["signature"]);
            assert_eq!(config::sign(&config, &task_key), signature, "{name}");
            assert_eq!(task_key.sign(&bytes(&case["signed_bytes"])), signature, "{name}");
            let policy = policy(&case["policy"]);
            assert_eq!(config::check(&encoded, &signature, &policy, 0), Ok(config.clone()), "{name}");
            good += 1;
        }
        assert!(good >= 4, "{good} good cases");
    }

    fn bad_configurations_are_refused() {
        let file = load("01_round_config");
        let mut bad = 0;
        for case in list(&file["cases"]).iter().filter(|case| is_bad(case)) {
            let (name, policy) = (text(&case["name"]), policy(&case["policy"]));
            let refusal = config::check(&bytes(&case["bytes"]), &bytes(&case["signature"]), &policy, number(&case["now"]));
            parse::<Refused>(&case["refused"], name).assert_is(refusal, name);
            bad += 1;
        }
        assert!(bad >= 45, "{bad} bad cases");
    }

    fn least_width_follows_the_formula() {
        for case in list(&load("01_round_config")["width"]) {
            let (n_hi, grid) = (small(&case["n_hi"]), small(&case["grid"]));
            let bits = config::width_needed(n_hi, grid, number(&case["local_variance"]));
            assert_eq!(bits.map(u64::from), Some(number(&case["least_wire_bits"])), "{case}");
        }
        assert_eq!(config::width_needed(100_000, 100_000, 0), None, "32 bits do not do");
    }

    fn a_field_that_cannot_be_written_makes_bytes_that_are_refused() {
        let file = load("01_round_config");
        let good = from_fields(&file["cases"][0]["fields"]);
        for text in [String::new(), "x".repeat(256), "x".repeat(70_000)] {
            let config = RoundConfig { task_id: text, ..good.clone() };
            assert!(RoundConfig::decode(&config.encode()).is_err(), "{} bytes", config.task_id.len());
        }
    }
}
