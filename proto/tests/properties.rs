//! Conversions as laws: every good value survives the way to the wire and back, and limits hold for any number.
#![allow(unreachable_pub, missing_docs)]

mod bodies;
mod samples;
mod strategies;

use std::fmt::Debug;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use scale_proto::answer::{
    CheckInAnswer, Enroll, Enrolled, JobCredential, Leave, ModelManifest, ModelRequest, Progress, StageAnswer,
    UploadAnswer,
};
use scale_proto::error::Invalid;
use scale_proto::ids::{DeviceId, Digest, ModelVersion, RoundId, SessionId};
use scale_proto::manifest::Manifest;
use scale_proto::model::ModelSpec;
use scale_proto::plan::Plan;
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::task::{MinuteOfDay, TaskConfig};
use scale_proto::time::Timestamp;
use scale_proto::{limits, wire};
use strategies as good;

fn there_and_back<D, W>(domain: &D)
where
    W: Message + Default + for<'a> From<&'a D> + From<D>,
    D: TryFrom<W, Error = Invalid> + PartialEq + Debug + Clone,
{
    let bytes = W::from(domain).encode_to_vec();
    assert_eq!(W::from(domain.clone()).encode_to_vec(), bytes);
    let message = W::decode(bytes.as_slice()).expect("encoded a moment ago");
    assert_eq!(D::try_from(message).as_ref(), Ok(domain));
}

proptest! {
    #[test]
    fn model_spec(spec in good::spec()) {
        there_and_back::<_, wire::ModelSpec>(&spec);
    }

    #[test]
    fn plan(plan in good::plan()) {
        there_and_back::<_, wire::Plan>(&plan);
        prop_assert_eq!(Plan::decode(&plan.encode()), Ok(plan));
    }

    #[test]
    fn task_config(mut config in good::task_config()) {
        there_and_back::<_, wire::TaskConfig>(&config);
        // As operators write it. Without its feature `float_roundtrip`, serde_json may read a seventeenth digit wrongly.
        config.quantization.clip = f64::from(config.quantization.grid_factor) / 100.0;
        let json = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(serde_json::from_str::<TaskConfig>(&json).unwrap(), config);
    }

    #[test]
    fn time_of_day(minute in 0..MinuteOfDay::PER_DAY) {
        let text = MinuteOfDay(minute).to_string();
        prop_assert_eq!(text.len(), 5);
        prop_assert_eq!(text.parse(), Ok(MinuteOfDay(minute)));
    }

    #[test]
    fn manifest_and_check_in(answer in good::check_in_answer(), check_in in good::check_in()) {
        there_and_back::<_, wire::CheckInResponse>(&answer);
        there_and_back::<_, wire::CheckInRequest>(&check_in);
        match &answer {
            CheckInAnswer::Manifest(manifest) => there_and_back::<_, wire::Manifest>(manifest),
            CheckInAnswer::Wait(wait) => there_and_back::<_, wire::Wait>(wait),
        }
    }

    #[test]
    fn stages(handle in any::<[u8; 16]>(), payload in good::payload(), down in good::stage_down(), wait in good::wait()) {
        let (round, session) = (RoundId::from_random(handle), SessionId::from_random(handle));
        there_and_back::<_, wire::StageRequest>(&StageUp { handle: round, payload: payload.clone() });
        there_and_back::<_, wire::StageRequest>(&StageUp { handle: session, payload });
        there_and_back::<_, wire::StageDown>(&down);
        for answer in [StageAnswer::Down(down), StageAnswer::Wait(wait), StageAnswer::Accepted] {
            there_and_back::<_, wire::StageResponse>(&answer);
        }
    }

    #[test]
    fn uploads(piece in good::upload_piece(), down in good::stage_down(), wait in good::wait(), received in 0..limits::UPLOAD_BYTES) {
        there_and_back::<_, wire::UploadRequest>(&piece);
        let plain = [UploadAnswer::Received(received), UploadAnswer::Committed];
        for answer in plain.into_iter().chain([UploadAnswer::Down(down), UploadAnswer::Wait(wait)]) {
            there_and_back::<_, wire::UploadResponse>(&answer);
        }
    }

    #[test]
    fn problems(problem in good::problem()) {
        there_and_back::<_, wire::ErrorDetail>(&problem);
    }

    #[test]
    fn published_models(spec in good::spec(), task in good::task(), version in 1..u64::MAX, bytes in 1..limits::MODEL_BYTES) {
        let manifest = ModelManifest {
            task: task.clone(),
            version: ModelVersion(version),
            digest: Digest::of(&bytes.to_le_bytes()),
            bytes,
            url: "https://models.example/m".into(),
            fingerprint: spec.fingerprint(),
            model: spec,
        };
        there_and_back::<_, wire::ModelManifest>(&manifest);
        there_and_back::<_, wire::GetModelRequest>(&ModelRequest { task: task.clone(), version: None });
        there_and_back::<_, wire::GetModelRequest>(&ModelRequest { task, version: Some(ModelVersion(version)) });
    }

    #[test]
    fn small_calls(
        key in any::<[u8; 32]>(),
        id in any::<[u8; 16]>(),
        done_permille in 0..=1000_u32,
        end in prop::option::of(1_u64..),
    ) {
        let expires_at = end.map(Timestamp::from_millis);
        let round = RoundId::from_random(id);
        there_and_back::<_, wire::ProgressRequest>(&Progress { round, done_permille, job: None });
        let job = JobCredential::try_from(&[key, key].as_flattened()[..48]).ok();
        there_and_back::<_, wire::ProgressRequest>(&Progress { round, done_permille, job });
        there_and_back::<_, wire::LeaveRequest>(&Leave { round, reason: "battery_low".into() });
        let signature = [key[0]; 64];
        there_and_back::<_, wire::EnrollRequest>(&Enroll { enroll_token: "t".into(), identity_key: key, signature });
        let device = DeviceId::from_random(id);
        let device_token = String::from("t");
        there_and_back::<_, wire::EnrollResponse>(&Enrolled { device, device_token, expires_at, task_key: key });
    }

    /// One byte more or less than an id, a digest, a key or a signature has.
    #[test]
    fn byte_strings_have_their_size(bytes in vec(any::<u8>(), 0..70)) {
        let bytes = Bytes::from(bytes);
        let manifest = wire::Manifest { config_signature: bytes.clone(), ..samples::manifest().into() };
        prop_assert_eq!(Manifest::try_from(manifest).is_ok(), bytes.len() == 64);
        let manifest = wire::Manifest { round_id: bytes.clone(), ..samples::manifest().into() };
        prop_assert_eq!(Manifest::try_from(manifest).is_ok(), bytes.len() == 16);
        let piece = wire::UploadRequest { digest: bytes.clone(), ..samples::upload_piece().into() };
        prop_assert_eq!(UploadPiece::try_from(piece).is_ok(), bytes.len() == 32);
        let enroll = wire::EnrollRequest { identity_key: bytes.clone(), ..samples::enroll().into() };
        prop_assert_eq!(Enroll::try_from(enroll).is_ok(), bytes.len() == 32);
    }

    /// The end of a piece is compared without overflow, whatever the device claims.
    #[test]
    fn pieces_lie_within_the_whole(offset in any::<u64>(), total in any::<u64>(), len in 0..64_usize) {
        let data = Bytes::from(vec![0; len]);
        let piece = wire::UploadRequest { offset, total, data, ..samples::upload_piece().into() };
        let fits = u128::from(offset) + len as u128 <= u128::from(total);
        let fine = fits && (1..=limits::UPLOAD_BYTES).contains(&total);
        prop_assert_eq!(UploadPiece::try_from(piece).is_ok(), fine);
    }

    /// Any sizes at all: either refused, or the promised limit holds and nothing overflows.
    #[test]
    fn sizes_of_models(family in good::any_family()) {
        let spec = ModelSpec { labels: vec!["a".into(), "b".into()], family };
        match spec.check() {
            Ok(()) => prop_assert!(spec.flat_len() <= limits::MODEL_ENTRIES),
            Err(refused) => bodies::names_a_field(&refused),
        }
    }
}
