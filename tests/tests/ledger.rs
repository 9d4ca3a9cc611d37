//! The privacy ledger of a real device process: killed with SIGKILL at every point of what it writes, opened twice, cut,
//! edited, set back, deleted. The account never falls short, and nothing is ever sent that is not in it.

use std::fs;

use scale_proto::ids::Digest;
use scale_tests::solo::process::Installation;
use scale_tests::solo::world::Sent;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_device-under-test");
const ROUND: u64 = 7;

/// Epsilon of everything so far, against who sees only sums.
fn spent(result: &Value) -> f64 {
    result["report"]["lifetime"]["aggregate"].as_f64().unwrap()
}

fn receipts(result: &Value) -> &Vec<Value> {
    result["report"]["receipts"].as_array().unwrap()
}

/// The receipt of round `number`; there is at most one.
fn receipt(result: &Value, number: u64) -> Option<&Value> {
    let mut found = receipts(result).iter().filter(|receipt| receipt["number"] == number);
    let first = found.next();
    assert!(found.next().is_none(), "a round is paid for once: {result}");
    first
}

/// At most one message in every stage, however often; gives the masked input's digest.
fn one_message_each(sent: &[Sent], place: &str) -> Option<String> {
    for stage in 0..=4 {
        let mut all = sent.iter().filter(|sent| sent.stage == stage);
        if let Some(first) = all.next() {
            assert!(all.all(|again| again == first), "{place}: two different messages in stage {stage}");
        }
    }
    sent.iter().find(|sent| sent.stage == 2).map(|sent| Digest::of(&sent.payload).hex())
}

/// An undisturbed round, for comparison.
fn undisturbed(noise: bool) -> (f64, u32) {
    let device = Installation::new(BINARY, noise).unwrap();
    let result = device.run(ROUND).unwrap();
    assert_eq!(result["outcome"], "contributed", "{result}");
    let paid = receipt(&result, ROUND).unwrap();
    assert_eq!(paid["sent"].as_str().map(str::to_owned), one_message_each(&device.sent(ROUND), "undisturbed"));
    (spent(&result), result["points"].as_u64().unwrap().try_into().unwrap())
}

#[test]
fn killed_at_every_point_the_account_is_whole_and_the_bytes_are_the_same() {
    let (cost, points) = undisturbed(true);
    assert!(cost > 1.0 && cost < 4.0, "{cost}");
    assert!(points > 30, "{points} points");
    let mut places = vec![];
    let (mut in_vain, mut damaged) = (0, 0);
    for stop_at in 1..=points {
        let device = Installation::new(BINARY, true).unwrap();
        let Ok(stopped) = device.stop(ROUND, stop_at).unwrap() else { break };
        let place = format!("point {stop_at}, {}", stopped.point);
        places.push(stopped.point.clone());
        stopped.kill().unwrap();
        let before = one_message_each(&device.sent(ROUND), &place);

        let result = device.run(ROUND).unwrap();
        let after = one_message_each(&device.sent(ROUND), &place);
        let code = result["code"].as_str().unwrap();
        match result["outcome"].as_str().unwrap() {
            "contributed" => assert!(after.is_some(), "{place}"),
            // Paid, and perhaps drawn, but not stored: lost for ever.
            "left" if code == "already_reserved" => {
                assert_eq!(after, None, "{place}");
                in_vain += 1;
            }
            // Everything was sent before.
            "left" if code == "round_not_newer" => assert!(before.is_some() && before == after, "{place}"),
            _ => panic!("{place}: {result}"),
        }
        // A round that was paid for is paid for once, and everything that has left the device is in its receipt.
        let paid = receipt(&result, ROUND).unwrap();
        assert_eq!(paid["sent"].as_str().map(str::to_owned), after, "{place}");
        assert!(spent(&result) >= cost, "{place}: the account falls short");
        let torn = receipts(&result).len() - 1;
        damaged += torn;
        // Nothing is charged twice, except for a record that was cut in half.
        assert!(torn > 0 || spent(&result) == cost, "{place}: {} instead of {cost}", spent(&result));
        assert!(torn == 0 || place.ends_with("in the middle of the record"), "{place}");
        // And the account stays what it is.
        assert_eq!(spent(&device.report().unwrap()), spent(&result), "{place}");
    }
    assert_eq!(places.len() as u32, points, "every point was tried");
    for place in ["before the record", "in the middle of the record", "after the record", "after the count"] {
        assert!(places.iter().filter(|found| *found == place).count() >= 2, "{place}: {places:?}");
    }
    assert!(in_vain >= 3 && damaged == 2, "{in_vain} payments in vain, {damaged} torn records");
}

#[test]
fn a_round_without_noise_is_in_the_account_by_name() {
    let device = Installation::new(BINARY, false).unwrap();
    let result = device.run(ROUND).unwrap();
    assert_eq!(result["outcome"], "contributed", "{result}");
    let paid = receipt(&result, ROUND).unwrap();
    assert_eq!((&paid["protection"], &paid["epsilon"]["aggregate"]), (&"without_noise".into(), &"no_bound".into()));
    assert_eq!(paid["participation"]["cohort"], 12);
    assert_eq!(result["report"]["rounds_without_noise"], 1);
    assert_eq!(result["report"]["lifetime"]["aggregate"], "no_bound");
    assert!(result["report"]["summary"].as_str().unwrap().contains("no bound"), "{result}");
}

#[test]
fn the_budget_ends_and_says_when_it_refills() {
    let device = Installation::new(BINARY, true).unwrap();
    let mut last = 0.0;
    for number in ROUND.. {
        let result = device.run(number).unwrap();
        let now = spent(&result);
        if result["outcome"] == "left" {
            assert_eq!(result["code"], "budget_exhausted");
            assert!(number > ROUND + 1, "at least two rounds fit");
            assert_eq!(now, last, "a refusal costs nothing");
            assert_eq!(device.sent(number), [], "and nothing is sent");
            assert_eq!(receipt(&result, number), None);
            return;
        }
        assert!(now > last && now <= 8.0, "{now} after {last}");
        last = now;
    }
}

#[test]
fn of_two_processes_on_one_ledger_one_participates_and_the_other_reads() {
    let device = Installation::new(BINARY, true).unwrap();
    let (_, points) = undisturbed(true);
    // In the middle of a round, with the ledger open.
    let Ok(stopped) = device.stop(ROUND, points / 2).unwrap() else { panic!("stops") };
    let second = device.run(ROUND).unwrap();
    assert_eq!((&second["outcome"], &second["code"]), (&"error".into(), &"ledger_in_use".into()), "{second}");
    let read = device.report().unwrap();
    assert_eq!(read["code"], "", "what is durable can be read: {read}");
    assert!(read["report"]["receipts"].is_array(), "{read}");
    stopped.kill().unwrap();
    let free = device.report().unwrap();
    assert_eq!(free["code"], "", "the system takes the lock from the dead: {free}");
}

#[test]
fn a_ledger_that_was_touched_locks_until_the_user_resets_it() {
    type Touch = fn(&[u8], &Installation);
    let put = |device: &Installation, bytes: &[u8]| fs::write(device.log(), bytes).unwrap();
    let touches: [(&str, Touch); 6] = [
        ("deleted", |_, device| fs::remove_file(device.log()).unwrap()),
        ("emptied", |_, device| fs::write(device.log(), b"").unwrap()),
        ("cut at a record", |log, device| {
            // The release was the last record: kind and length stand in front of it.
            let release = log.len() - (6 + 8 + 32 + 8 + 32);
            fs::write(device.log(), &log[..release]).unwrap();
        }),
        ("cut in a record", |log, device| fs::write(device.log(), &log[..log.len() - 1]).unwrap()),
        ("edited", |log, device| {
            let mut log = log.to_vec();
            let middle = log.len() / 2;
            log[middle] ^= 1;
            fs::write(device.log(), log).unwrap();
        }),
        ("another device's", |_, device| {
            let other = Installation::new(BINARY, true).unwrap();
            other.run(ROUND).unwrap();
            fs::copy(other.log(), device.log()).unwrap();
        }),
    ];
    for (name, touch) in touches {
        let device = Installation::new(BINARY, true).unwrap();
        let first = device.run(ROUND).unwrap();
        assert_eq!(first["outcome"], "contributed", "{name}: {first}");
        let log = fs::read(device.log()).unwrap();
        touch(&log, &device);
        let locked = device.run(ROUND + 1).unwrap();
        let code = locked["code"].as_str().unwrap().to_owned();
        assert_eq!(locked["outcome"], "error", "{name}: {locked}");
        assert!(["ledger_missing", "ledger_damaged", "ledger_rolled_back"].contains(&&*code), "{name}: {code}");
        assert_eq!(device.sent(ROUND + 1), [], "{name}: nothing leaves the device");
        assert_eq!(device.report().unwrap()["code"], code, "{name}");

        // The true log back: nothing was lost.
        put(&device, &log);
        assert_eq!(spent(&device.report().unwrap()), spent(&first), "{name}");
        assert!(!device.reset().unwrap(), "{name}: a whole ledger is not reset");

        touch(&log, &device);
        assert!(device.reset().unwrap(), "{name}");
        let after = device.run(ROUND + 1).unwrap();
        assert_eq!(after["outcome"], "contributed", "{name}: {after}");
        assert_eq!(after["report"]["past_known"], false, "{name}");
        assert!(after["report"]["summary"].as_str().unwrap().contains("reset"), "{name}");
        // The old log is no way back.
        put(&device, &log);
        assert_eq!(device.run(ROUND + 2).unwrap()["outcome"], "error", "{name}");
    }
}

/// Keys and count are kept together; without one of them the device cannot say what it has spent, or that it is itself.
#[test]
fn a_lost_key_or_count_is_told_from_a_new_device() {
    for (lost, code) in [("keys/keys.secret", "keys_lost"), ("keys/ledger-count.secret", "ledger_count_lost")] {
        let device = Installation::new(BINARY, true).unwrap();
        let first = device.run(ROUND).unwrap();
        assert_eq!(first["outcome"], "contributed", "{lost}: {first}");
        let path = device.folder().join(lost);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(device.report().unwrap()["code"], code, "{lost}");
        assert!(!path.exists(), "{lost}: it is not made anew");
        fs::write(&path, bytes).unwrap();
        assert_eq!(spent(&device.report().unwrap()), spent(&first), "{lost}: nothing else was lost");
    }
}
