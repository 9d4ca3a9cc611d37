//! Lists of operations: what may happen to a server in an hour, in an order that proptest makes up and shrinks.

use proptest::prelude::*;

/// Most devices that a list has; the floor is ten.
pub(super) const DEVICES: u8 = 13;
/// Most replicas that run at a time.
pub(super) const REPLICAS: u8 = 3;

/// What happens, and to what kind of site.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// Several coordinators share the rows; otherwise one at a time has them to itself.
    pub(super) shared: bool,
    pub(super) operations: Vec<Operation>,
}

/// One thing that happens. Numbers of devices and replicas are taken modulo how many there are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operation {
    /// Every device that is there does what is next: checks in, or answers the open stage. A moment passes.
    Everybody,
    /// These devices do (one bit each).
    These(u16),
    /// A device sends one piece of its upload and no more.
    Piece(u8),
    /// A device sends its last message again, beside whatever it does.
    Repeat(u8),
    /// A device is not heard of any more: its call is cut.
    Silent(u8),
    /// It is back, and goes on where it was.
    Back(u8),
    /// A device says that it leaves.
    Leave(u8),
    /// A coordinator stops as told and another one starts in its place.
    Restart(u8),
    /// A coordinator starts, if it does not run.
    Start(u8),
    /// A coordinator stops as told.
    Stop(u8),
    /// A coordinator dies between two steps of whatever it does.
    Kill(u8),
    /// The next so many fitting steps of transactions fail.
    Database(DatabaseFault, u8),
    /// The next so many fitting calls of the object store fail.
    Objects(ObjectFault, u8),
    /// Time passes, in seconds.
    Pass(u16),
    /// The server's wall clock is set, by so many seconds.
    SetClock(i16),
    /// The operator ends the round.
    Abandon,
    /// The operator pauses the task.
    Pause,
    /// The operator opens a round, and wakes the task for it.
    Open,
}

/// How transactions fail. A name narrows it to transactions of that name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DatabaseFault {
    pub(super) how: Fails,
    pub(super) name: Option<&'static str>,
}

/// Where a transaction fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fails {
    Begin,
    Statement,
    Commit,
    /// The change is kept, and the answer is that the database went away.
    Kept,
    /// At a statement, because the disk is full.
    Full,
}

/// How the object store fails. A folder narrows it to blobs of that folder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ObjectFault {
    pub(super) how: Answers,
    pub(super) folder: Option<&'static str>,
}

/// How a call of the object store goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answers {
    PutFails,
    /// The blob is there, and the answer is that it failed.
    PutKept,
    GetFails,
    DeleteFails,
    ListFails,
    /// What is staged has been removed when it is read, as if by another process.
    Removed,
    /// Any call is done only after a while.
    Slowly,
}

/// Every transaction that writes rows of rounds.
const NAMES: [&str; 20] = [
    "abandon",
    "abandon_round",
    "admit",
    "announce_upload",
    "close_stage",
    "commit_segment",
    "finish_work",
    "forget_upload",
    "freeze",
    "keep_messages",
    "lease_work",
    "look",
    "look_for_uploads",
    "note_waiting",
    "open_round",
    "publish",
    "release_sum",
    "return_work",
    "unmask",
    "verify_upload",
];

fn database_faults() -> impl Strategy<Value = DatabaseFault> {
    let how = prop_oneof![
        1 => Just(Fails::Begin),
        1 => Just(Fails::Statement),
        1 => Just(Fails::Commit),
        3 => Just(Fails::Kept),
        1 => Just(Fails::Full),
    ];
    (how, prop_oneof![1 => Just(None), 4 => prop::sample::select(&NAMES[..]).prop_map(Some)])
        .prop_map(|(how, name)| DatabaseFault { how, name })
}

fn object_faults() -> impl Strategy<Value = ObjectFault> {
    let how = prop_oneof![
        1 => Just(Answers::PutFails),
        3 => Just(Answers::PutKept),
        1 => Just(Answers::GetFails),
        1 => Just(Answers::DeleteFails),
        1 => Just(Answers::ListFails),
        1 => Just(Answers::Removed),
        2 => Just(Answers::Slowly),
    ];
    let folders = prop::sample::select(&["segments", "staging", "sums", "models"][..]).prop_map(Some);
    (how, prop_oneof![1 => Just(None), 3 => folders]).prop_map(|(how, folder)| ObjectFault { how, folder })
}

fn operations() -> impl Strategy<Value = Operation> {
    use Operation::*;
    prop_oneof![
        24 => Just(Everybody),
        4 => any::<u16>().prop_map(These),
        3 => (0..DEVICES).prop_map(Piece),
        3 => (0..DEVICES).prop_map(Repeat),
        3 => (0..DEVICES).prop_map(Silent),
        4 => (0..DEVICES).prop_map(Back),
        1 => (0..DEVICES).prop_map(Leave),
        2 => (0..REPLICAS).prop_map(Restart),
        3 => (0..REPLICAS).prop_map(Start),
        1 => (0..REPLICAS).prop_map(Stop),
        3 => (0..REPLICAS).prop_map(Kill),
        6 => (database_faults(), 1..5_u8).prop_map(|(fault, count)| Database(fault, count)),
        5 => (object_faults(), 1..5_u8).prop_map(|(fault, count)| Objects(fault, count)),
        4 => prop_oneof![3 => 1..62_u16, 1 => 62..4_000_u16].prop_map(Pass),
        2 => prop_oneof![-5..5_i16, -3_600..3_600_i16].prop_map(SetClock),
        1 => Just(Abandon),
        1 => Just(Pause),
        2 => Just(Open),
    ]
}

/// Any list.
pub(super) fn lists() -> impl Strategy<Value = List> {
    (prop::bool::weighted(0.6), prop::collection::vec(operations(), 6..30))
        .prop_map(|(shared, operations)| List { shared, operations })
}
