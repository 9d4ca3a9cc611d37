//! Hard limits of version 1. Devices and coordinator compile in the same ones.

/// Fewest participants in a round, a session, and a sum. No configuration lowers it (check C04).
pub const COHORT_FLOOR: u32 = 10;
/// Most participants in one session on the complete graph (docs/protocol/graph.md).
pub const SESSION_MAX_COMPLETE: u32 = 128;
/// Most bytes of one gRPC message.
pub const MESSAGE_BYTES: usize = 4 << 20;
/// Most bytes of data in one piece of an upload.
pub const UPLOAD_PIECE_BYTES: usize = 1 << 20;
/// Most entries of a model's flat parameter vector.
pub const MODEL_ENTRIES: u64 = 16 << 20;
/// Most bytes of a model file.
pub const MODEL_BYTES: u64 = 4 * MODEL_ENTRIES + (1 << 20);
/// Most characters of a free text on the wire (reasons, labels).
pub const TEXT_BYTES: usize = 256;
/// Most classes of a model.
pub const CLASSES: usize = 10_000;
/// Longest plan a device accepts.
pub const TRAINING_MS: u64 = 30 * 60 * 1000;
/// Most bytes of a sentence for a person; longer ones are cut when they are sent.
pub const SENTENCE_BYTES: usize = 1024;
/// Most bytes of a code: one word.
pub const CODE_BYTES: usize = 64;
/// Most bytes of a URL; signed ones of object stores are long.
pub const URL_BYTES: usize = 8192;
/// Most bytes of a masked input: eight for each entry, and headers.
pub const UPLOAD_BYTES: u64 = 8 * MODEL_ENTRIES + (1 << 20);
/// Most tasks, and most model families, that one check-in names.
pub const CHECK_IN_NAMES: usize = 64;
/// Most bytes of a bearer token.
pub const TOKEN_BYTES: usize = 4096;
/// Most hidden layers of an MLP.
pub const HIDDEN_LAYERS: usize = 32;
/// Fewest places of a session: ten devices are still in the sum when three have dropped out.
pub const SESSION_MIN: u32 = 13;
/// Longest that a step of a round stays open: 7 days.
pub const STEP_MS: u64 = 7 * 24 * 60 * 60 * 1000;
