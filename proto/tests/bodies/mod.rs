//! What one fuzz run does, per decoder. The fuzz targets in fuzz/ and the tests that always run call the same functions:
//! no input may panic, what is accepted survives the way back to the wire, what is refused names a field of the schema.
#![allow(dead_code)] // each test binary uses its part

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::LazyLock;

use prost::Message;
use scale_proto::answer::{
    CheckIn, CheckInAnswer, Enroll, Enrolled, Leave, ModelManifest, ModelRequest, Progress, StageAnswer, UploadAnswer,
};
use scale_proto::error::{Invalid, Problem};
use scale_proto::ids::{RoundId, SessionId};
use scale_proto::manifest::Manifest;
use scale_proto::model::ModelSpec;
use scale_proto::plan::Plan;
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::task::TaskConfig;
use scale_proto::wire;
use scale_secagg::{config::RoundConfig, graph::Members, pack, roster};

/// A decoder under its name.
pub type Body = (&'static str, fn(&[u8]));

/// Every decoder. Each has a fuzz target of the same name.
pub const ALL: &[Body] = &[
    ("plan", plan),
    ("manifest", manifest),
    ("stage_request", stage_request),
    ("upload_request", upload_request),
    ("task_config", task_config),
    ("model_spec", model_spec),
    ("check_in", check_in),
    ("error_detail", error_detail),
    ("answers", answers),
    ("small_calls", small_calls),
    ("round_config", round_config),
    ("roster", roster),
    ("bitmap", bitmap),
    ("packed_vector", packed_vector),
];

pub fn plan(data: &[u8]) {
    match Plan::decode(data) {
        Ok(plan) => {
            assert_eq!(Plan::decode(&plan.encode()).as_ref(), Ok(&plan));
            assert_eq!(plan.model.flat_len(), plan.model.tensors().iter().map(|tensor| tensor.len()).sum::<u64>());
        }
        Err(refused) => names_a_field(&refused),
    }
}

pub fn manifest(data: &[u8]) {
    through::<wire::Manifest, Manifest>(data);
}

pub fn stage_request(data: &[u8]) {
    through::<wire::StageRequest, StageUp<RoundId>>(data);
    through::<wire::StageRequest, StageUp<SessionId>>(data);
}

pub fn upload_request(data: &[u8]) {
    if let Some(piece) = through::<wire::UploadRequest, UploadPiece>(data) {
        assert!(piece.offset + piece.data.len() as u64 <= piece.total);
    }
}

pub fn task_config(data: &[u8]) {
    if let Some(config) = through::<wire::TaskConfig, TaskConfig>(data) {
        assert!(config.cohort.floor >= 10 && config.cohort.selected() >= config.cohort.goal);
        assert_eq!(config.check(), Ok(()));
    }
}

pub fn model_spec(data: &[u8]) {
    if let Some(spec) = through::<wire::ModelSpec, ModelSpec>(data) {
        assert!((1..=scale_proto::limits::MODEL_ENTRIES).contains(&spec.flat_len()));
    }
}

pub fn check_in(data: &[u8]) {
    through::<wire::CheckInRequest, CheckIn>(data);
}

pub fn error_detail(data: &[u8]) {
    through::<wire::ErrorDetail, Problem>(data);
    if let Some(problem) = scale_proto::status::read(data) {
        let written = scale_proto::status::write(2, &problem);
        assert_eq!(scale_proto::status::read(&written.details), Some(problem));
    }
}

/// What the coordinator says, as a device reads it.
pub fn answers(data: &[u8]) {
    through::<wire::CheckInResponse, CheckInAnswer>(data);
    through::<wire::StageResponse, StageAnswer>(data);
    through::<wire::UploadResponse, UploadAnswer>(data);
    through::<wire::ModelManifest, ModelManifest>(data);
}

pub fn small_calls(data: &[u8]) {
    through::<wire::EnrollRequest, Enroll>(data);
    through::<wire::EnrollResponse, Enrolled>(data);
    through::<wire::ProgressRequest, Progress>(data);
    through::<wire::LeaveRequest, Leave>(data);
    through::<wire::GetModelRequest, ModelRequest>(data);
}

/// Canonical: what is accepted is encoded in exactly one way.
pub fn round_config(data: &[u8]) {
    if let Ok(config) = RoundConfig::decode(data) {
        assert_eq!(config.encode(), data);
        let _ = (config.cfg(), config.dim(), config.masked_input_len());
    }
}

pub fn roster(data: &[u8]) {
    if let Ok(entries) = roster::decode_complete(data) {
        assert_eq!(roster::encode_complete(&entries), data);
    }
    if let Ok(pairs) = roster::decode_certified(data) {
        assert_eq!(roster::encode_certified(pairs.iter().map(|(entry, certificate)| (entry, certificate))), data);
    }
    if let Ok(sparse) = roster::SparseRoster::decode(data) {
        assert_eq!(sparse.encode(), data);
        let _ = sparse.proven_root();
    }
}

/// The first two bytes are the number of participants.
pub fn bitmap(data: &[u8]) {
    let Some((n, bits)) = data.split_first_chunk() else { return };
    let n = u32::from(u16::from_le_bytes(*n));
    if let Ok(members) = Members::decode(n, bits) {
        assert_eq!(members.as_bytes(), bits);
        assert_eq!(members.iter().count(), members.len() as usize);
        assert!(members.iter().all(|index| index < n));
    }
}

/// The first byte is the width, the next two the number of entries, and one more where the stream is cut.
pub fn packed_vector(data: &[u8]) {
    let Some(([width, low, high, cut], packed)) = data.split_first_chunk() else { return };
    let bits = width % 32 + 1;
    let count = usize::from(u16::from_le_bytes([*low, *high]));
    let whole = pack::unpack(packed, count, bits);
    if let Ok(values) = &whole {
        let mut again = Vec::new();
        pack::pack(values, bits, &mut again);
        assert_eq!(again, packed);
    }
    // In two pieces, as uploads arrive: the same values, or refused as well.
    let (first, second) = packed.split_at(usize::from(*cut).min(packed.len()));
    let mut sum = vec![0; count];
    let mut unpacker = pack::Unpacker::new(count, bits);
    let pieces = unpacker.feed(first, &mut sum).and_then(|()| unpacker.feed(second, &mut sum));
    let pieces = pieces.and_then(|()| unpacker.finish()).map(|()| sum);
    assert_eq!(pieces.ok(), whole.ok());
}

/// From bytes to the domain and back.
fn through<W, D>(data: &[u8]) -> Option<D>
where
    W: Message + Default,
    D: TryFrom<W, Error = Invalid> + PartialEq + Debug,
    W: for<'a> From<&'a D>,
{
    let message = W::decode(data).ok()?;
    match D::try_from(message) {
        Ok(domain) => {
            let again = W::decode(W::from(&domain).encode_to_vec().as_slice()).expect("encoded a moment ago");
            assert_eq!(D::try_from(again).as_ref(), Ok(&domain));
            Some(domain)
        }
        Err(refused) => {
            names_a_field(&refused);
            None
        }
    }
}

/// Every part of the refusal's path is a field or a oneof of the schema, and there is a sentence of sensible length.
pub fn names_a_field(refused: &Invalid) {
    static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let set = prost_types::FileDescriptorSet::decode(scale_proto::DESCRIPTORS).expect("made by the build");
        let messages = set.file.into_iter().flat_map(|file| file.message_type);
        let names = |message: prost_types::DescriptorProto| {
            let fields = message.field.into_iter().filter_map(|field| field.name);
            fields.chain(message.oneof_decl.into_iter().filter_map(|oneof| oneof.name))
        };
        messages.flat_map(names).collect()
    });
    for part in refused.field.split('.') {
        assert!(NAMES.contains(part), "{refused}: the schema has no field {part}");
    }
    assert!((1..=1024).contains(&refused.problem.len()), "{refused}");
}
