//! What a device does when the coordinator refuses a call: each remedy, in every state that calls.

use scale_proto::error::Remedy;

use super::*;

fn refused(code: &str, remedy: Remedy) -> Event {
    Event::Refused(Problem { code: code.into(), sentence: "said the coordinator".into(), remedy })
}

/// On copies of `state`, a stored one: it sends again, or is free to check in, or leaves, as it is told.
pub(super) fn each_is_obeyed(device: &mut Device, state: &State) {
    let window = RetryWindow::from_millis(5_000);
    let name = state.name();

    let copy = copy_of(device, state);
    let (same, effects) = device.step(copy, refused("storage", Remedy::Resend(window)));
    assert_eq!((same.name(), &names(&effects)[..]), (name, &["wake_at"][..]));

    let copy = copy_of(device, state);
    let (free, effects) = device.step(copy, refused("operator", Remedy::CheckIn(window)));
    assert_eq!(names(&effects), ["delete"], "{name}: nothing of the round is kept, and nobody waits for this device");
    let State::Waited(wait) = free else { panic!("{name}: {free:?}") };
    assert_eq!((wait.retry, &*wait.code), (window, "operator"), "{name}");

    let copy = copy_of(device, state);
    let step = device.step(copy, refused("duplicate", Remedy::Leave));
    assert_eq!(reason(&step).code, "duplicate", "{name}");
    assert_eq!(names(&step.1), ["delete", "leave"], "{name}");
}

#[test]
fn before_the_session_too() {
    let mut device = Device::new(1);
    let (state, _) = device.keyed();
    each_is_obeyed(&mut device, &state);
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
    assert!(matches!(state, State::Left(None, reason) if reason.code == "bad_token"));
}
