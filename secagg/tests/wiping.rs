//! Searches a device's whole memory for its secrets after its session has ended.
//!
//! The device runs alone in a child process; the test plays the server and everybody else, knows all of the device's
//! secrets because it handed out the randomness, and reads the child's memory from outside (`/proc/<pid>/mem`, every
//! writable region: heap, stack, statics). While a state holds a secret the search must find it, and after the end, however
//! the session ended, nothing may be left of any of them.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "each test program uses its part")]
mod common;
#[path = "wiping/device.rs"]
mod device;
#[path = "wiping/secrets.rs"]
mod secrets;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, Stdio};

use common::{Cohort, opens, round_config};
use scale_secagg::config::{RoundConfig, VectorSpec};
use scale_secagg::graph::Members;
use scale_secagg::server::{Closed, Down, Receipt, Session, Stage};
use secrets::{Needle, Secrets};

/// Tells the child that it is one, and where its randomness lies.
const CHILD: &str = "SCALE_WIPING_CHILD";
/// Devices of the session.
const N: usize = 12;

/// How the session ends for the device.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// By its last answer.
    Done,
    /// By a message that it refuses, after the given number of stages.
    Refusal(u8),
    /// Its owner drops it, after the given number of stages.
    Drop(u8),
    /// Its owner brings an input of the wrong shape.
    WrongInput,
    /// Its owner drops it where it wants an input.
    NoInput,
}

struct Process {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Process {
    /// Starts this test program again, as the device.
    fn start(secrets: &Secrets) -> Self {
        let folder = tempfile::tempdir().unwrap();
        secrets.write_to(folder.path());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "device::run", "--nocapture", "--test-threads=1"])
            .env(CHILD, folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, answers };
        assert_eq!(process.line(), "ready");
        process
    }

    /// One command with its payload; the child reads it into the place where it is used.
    fn send(&mut self, command: u8, payload: &[u8]) {
        let pipe = self.child.stdin.as_mut().unwrap();
        pipe.write_all(&[&[command][..], &(payload.len() as u32).to_le_bytes(), payload].concat()).unwrap();
    }

    /// The next line of the child that is meant for the test.
    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the device's process has ended");
            // The test runner's own words may stand before it.
            if let Some((_, answer)) = line.trim_end().rsplit_once("> ") {
                return answer.to_owned();
            }
        }
    }

    fn ask(&mut self, command: u8, payload: &[u8]) -> String {
        self.send(command, payload);
        self.line()
    }

    /// Bytes of the writable memory that were searched, and how often each needle stands in it that does. With
    /// `SCALE_WIPING_SHOW` set it prints where.
    fn search(&self, needles: &[Needle]) -> (usize, Vec<(&'static str, usize)>) {
        let process = self.child.id();
        let mut maps = String::new();
        File::open(format!("/proc/{process}/maps")).unwrap().read_to_string(&mut maps).unwrap();
        let memory = File::open(format!("/proc/{process}/mem")).unwrap();
        let mut searched = 0;
        let mut found: Vec<_> = needles.iter().map(|(name, _)| (*name, 0)).collect();
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (Some(range), Some(access)) = (fields.next(), fields.next()) else { continue };
            if !access.starts_with("rw") || line.ends_with("[vvar]") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            let mut bytes = vec![0; (to - from) as usize];
            // Regions that the kernel keeps to itself cannot be read.
            if memory.read_exact_at(&mut bytes, from).is_err() {
                continue;
            }
            searched += bytes.len();
            for (at, which) in positions(&bytes, needles) {
                found[which].1 += 1;
                if std::env::var_os("SCALE_WIPING_SHOW").is_some() {
                    let (name, place) = (needles[which].0, line.split_whitespace().nth(5).unwrap_or("anonymous"));
                    let shown = format!("{name} at {:x} in {place} {range}\n", from + at as u64);
                    std::io::stderr().write_all(shown.as_bytes()).unwrap();
                }
            }
        }
        found.retain(|(_, count)| *count > 0);
        (searched, found)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Where any of the needles begins in `hay`, and which one.
fn positions(hay: &[u8], needles: &[Needle]) -> Vec<(usize, usize)> {
    let mut begins = vec![false; 1 << 16];
    needles.iter().for_each(|(_, needle)| begins[usize::from(u16::from_le_bytes([needle[0], needle[1]]))] = true);
    let mut all = Vec::new();
    for at in 0..hay.len().saturating_sub(1) {
        if begins[usize::from(u16::from_le_bytes([hay[at], hay[at + 1]]))] {
            let here = needles.iter().enumerate().filter(|(_, (_, needle))| hay[at..].starts_with(needle));
            all.extend(here.map(|(which, _)| (at, which)));
        }
    }
    all
}

/// The session around the device: everybody else and the server.
struct World {
    process: Process,
    secrets: Secrets,
    others: Cohort,
    server: Session,
    /// The device's place in the roster.
    own: u32,
}

fn config() -> RoundConfig {
    let vectors = vec![VectorSpec { name: "w".into(), len: 700 }, VectorSpec { name: "b".into(), len: 3 }];
    RoundConfig { vectors, grid: 107, ..round_config(10, N as u32, 32) }
}

impl World {
    fn new(seed: u64) -> Self {
        let config = config();
        let secrets = Secrets::new(&config, seed);
        let mut process = Process::start(&secrets);
        let others = Cohort::new(config.clone(), N - 1, seed);
        let mut signed = secrets::signature(&others);
        signed.extend(config.encode());
        let answer = process.ask(b'0', &signed);
        let server = Session::new(config, []);
        let mut world = Self { process, secrets, others, server, own: 0 };
        let message = hex::decode(&answer).unwrap_or_else(|_| panic!("{answer}"));
        assert_eq!(world.server.receive(0, None, &message), Ok(Receipt::New));
        for device in 0..N - 1 {
            let message = world.others.advertise(device);
            assert_eq!(world.server.receive(0, None, &message), Ok(Receipt::New));
        }
        let Ok(Closed::Roster { sid, .. }) = world.server.close(1) else { panic!("enough devices") };
        let Stage::Shares(shares) = world.server.stage() else { panic!("stage 1 is open") };
        world.own = shares.index_of(&world.secrets.identity()).unwrap();
        world.others.devices.sort_by_key(|device| shares.index_of(&device.identity.public()));
        world.secrets.joined(sid, world.own, &world.others);
        world
    }

    /// The others' places in the roster, in the order of [`Self::others`].
    fn places(&self) -> impl Iterator<Item = (usize, u32)> + use<> {
        let own = self.own;
        (0..N as u32).filter(move |place| *place != own).enumerate()
    }

    /// Stages 1 to `last` with everybody; one device of the others falls silent in stage 2.
    fn play(&mut self, first: u8, last: u8) {
        for stage in first..=last {
            if stage == 4 {
                self.unmask();
                continue;
            }
            let down = self.server.message(self.own).unwrap();
            let answer = self.process.ask(b'0' + stage, payload(&down));
            let message = hex::decode(&answer).unwrap_or_else(|_| panic!("stage {stage}: {answer}"));
            assert_eq!(self.server.receive(stage, Some(self.own), &message), Ok(Receipt::New));
            for (device, place) in self.places() {
                if stage >= 2 && device == 0 {
                    continue;
                }
                let down = self.server.message(place).unwrap();
                let message = self.others.handle(device, opens(stage, &down)).unwrap();
                assert_eq!(self.server.receive(stage, Some(place), &message), Ok(Receipt::New));
            }
            if stage == 1 {
                let Ok(Closed::Sharers(_)) = self.server.close(1) else { panic!("enough sharers") };
                let Some(Down::Bytes(shares)) = self.server.message(self.own) else { panic!("the device shared") };
                self.secrets.opened(&shares);
                continue;
            }
            self.server.close(1).unwrap();
        }
    }

    fn unmask(&mut self) {
        let down = self.server.message(self.own).unwrap();
        let answer = self.process.ask(b'4', payload(&down));
        let message = hex::decode(&answer).unwrap();
        let survivors = Members::of(N as u32, (0..N as u32).filter(|place| *place != self.silent()));
        self.secrets.revealed(&survivors);
        assert_eq!(self.server.receive(4, Some(self.own), &message), Ok(Receipt::New));
    }

    fn silent(&self) -> u32 {
        u32::from(self.own == 0)
    }

    /// What a device refuses after that many stages.
    fn end(&mut self, end: End) {
        let answer = match end {
            End::Done => {
                self.play(1, 4);
                return;
            }
            End::Refusal(stages) => {
                self.play(1, stages.saturating_sub(1));
                let down = self.server.message(self.own).unwrap();
                let mut broken = payload(&down).to_vec();
                match stages {
                    // The last neighbour's share does not open: all others' have been opened by then.
                    2 => *broken.last_mut().unwrap() ^= 1,
                    _ => broken.truncate(broken.len() - 1),
                }
                self.process.ask(b'0' + stages, &broken)
            }
            End::Drop(stages) => {
                self.play(1, stages);
                self.process.ask(b'd', &[])
            }
            End::WrongInput | End::NoInput => {
                self.play(1, 1);
                let down = self.server.message(self.own).unwrap();
                self.process.ask(if end == End::NoInput { b'n' } else { b'w' }, payload(&down))
            }
        };
        let expected = match end {
            End::Refusal(1) => "malformed",
            End::Refusal(2) => "bad_share",
            End::Refusal(_) => "malformed",
            End::WrongInput => "plan",
            _ => "gone",
        };
        assert_eq!(answer, expected, "{end:?}");
    }
}

fn payload(down: &Down) -> &[u8] {
    let (Down::Roster(_, bytes) | Down::Bytes(bytes)) = down;
    bytes
}

/// While the session runs the search finds what the state holds, and no more than that.
#[test]
fn the_search_finds_what_a_state_keeps() {
    let mut world = World::new(1);
    for (stage, kept) in [
        (0, &["a", "channel key"][..]),
        (1, &["mask key", "self mask", "channel agreement"]),
        (2, &["share of b", "share of a"]),
        (3, &["share of b", "share of a"]),
    ] {
        if stage > 0 {
            world.play(stage, stage);
        }
        let (searched, found) = world.process.search(&world.secrets.needles());
        let names: std::collections::BTreeSet<_> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, kept.iter().copied().collect(), "after stage {stage}, in {searched} bytes: {found:?}");
    }
}

/// However the session ends, nothing is left.
#[test]
fn nothing_is_left_after_the_end() {
    use End::{Done, Drop, NoInput, Refusal, WrongInput};
    let ends =
        [Done, Refusal(1), Refusal(2), Refusal(3), Refusal(4), Drop(0), Drop(1), Drop(2), Drop(3), WrongInput, NoInput];
    for (seed, end) in (2..).zip(ends) {
        let mut world = World::new(seed);
        world.end(end);
        let needles = world.secrets.needles();
        let (searched, found) = world.process.search(&needles);
        assert!(searched > 100_000, "{searched} bytes");
        assert_eq!(found, [], "{end:?}");
        // The same search finds what is deliberately kept.
        let (name, secret) = &needles[needles.len() / 2];
        assert_eq!(world.process.ask(b'k', secret), "kept");
        let (_, found) = world.process.search(&needles);
        assert!(found.contains(&(*name, 1)) && found.len() == 1, "{end:?}: {found:?}");
    }
}

/// A device that is stored and restored between all stages leaves nothing either, and neither do its snapshots.
#[test]
fn restored_devices_leave_nothing() {
    let mut world = World::new(40);
    for stage in 1..=4 {
        assert_eq!(world.process.ask(b's', &[]), "restored");
        world.play(stage, stage);
    }
    let (_, found) = world.process.search(&world.secrets.needles());
    assert_eq!(found, []);
}
