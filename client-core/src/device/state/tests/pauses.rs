//! What a device does when a call is refused or breaks: each remedy, in every state that calls, and how long it pauses.

use scale_proto::error::{Problem, Remedy};

use super::*;
#[cfg(target_arch = "wasm32")]
use crate::single_thread::test;

fn refused(code: &str, remedy: Remedy) -> Event {
    Event::Refused(Problem { code: code.into(), sentence: "said the coordinator".into(), remedy })
}

/// On copies of `state`, a stored one: it sends again, or is free to check in, or leaves, as it is told.
pub(super) fn each_remedy_is_obeyed(device: &mut Device, state: &State) {
    let window = RetryWindow::from_millis(5_000);
    let name = state.name();

    let copy = copy_of(device, state);
    let (same, effects) = device.step(copy, refused("storage_unavailable", Remedy::Resend(window)));
    assert_eq!((same.name(), &names(&effects)[..]), (name, &["wake_at"][..]));

    let copy = copy_of(device, state);
    let (free, effects) = device.step(copy, refused("operator", Remedy::CheckIn(window)));
    assert_eq!(names(&effects), ["delete"], "{name}: nothing of the round is kept, and nobody waits for this device");
    let State::Waited(wait) = free else { panic!("{name}: {free:?}") };
    assert_eq!((wait.retry, &*wait.code), (window, "operator"), "{name}");

    let copy = copy_of(device, state);
    let step = device.step(copy, refused("duplicate", Remedy::Leave));
    assert_eq!(cause(&step).code(), "duplicate", "{name}");
    assert_eq!(names(&step.1), ["delete", "leave"], "{name}");
}

#[test]
fn before_the_session_too() {
    let mut device = Device::new(1);
    let (state, _) = device.keyed();
    each_remedy_is_obeyed(&mut device, &state);
}

/// Without a round there is nothing to send again and nothing to forget.
#[test]
fn an_idle_device_waits() {
    let window = RetryWindow::from_millis(2_000);
    for remedy in [Remedy::Resend(window), Remedy::CheckIn(window)] {
        let (state, effects) = Device::new(1).step(State::Idle, refused("stopping", remedy));
        assert!(effects.is_empty(), "{effects:?}");
        let State::Waited(wait) = state else { panic!("{state:?}") };
        assert_eq!(wait.retry, window);
    }
    let (state, effects) = Device::new(1).step(State::Idle, refused("bad_token", Remedy::Leave));
    assert_eq!(names(&effects), ["delete"]);
    assert!(matches!(state, State::Left(None, cause) if cause.code() == "bad_token"));
}

#[test]
fn pauses_lie_in_their_window_and_spread() {
    let mut device = Device::new(1);
    let (mut state, _) = device.keyed();
    let mut pauses = vec![];
    for _ in 0..100 {
        let (next, effects) = device.step(state, Event::Wait(RetryWindow::from_millis(1000)));
        state = next;
        let [Effect::WakeAt(at)] = effects[..] else { panic!("{effects:?}") };
        pauses.push(device.now.until(at).as_millis());
    }
    assert!(pauses.iter().all(|pause| (1000..=2000).contains(pause)), "{pauses:?}");
    assert!(pauses.iter().min() < Some(&1200) && pauses.iter().max() > Some(&1800), "{pauses:?}");

    let mut last = 0;
    for attempt in 1..=12 {
        let (next, effects) = device.step(state, Event::Broken(attempt));
        state = next;
        let [Effect::WakeAt(at)] = effects[..] else { panic!("{effects:?}") };
        let pause = device.now.until(at).as_millis();
        assert!((250..=30_000).contains(&pause), "{pause}");
        last = pause;
    }
    assert!(last >= 15_000, "pauses grow: {last}");
    let (_, effects) = device.step(state, Event::Woke);
    assert_eq!(names(&effects), ["remember", "advertise_keys"], "the same message again");
}
