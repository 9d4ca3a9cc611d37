//! Stops and restarts: the server loses everything but its records, a device everything but its snapshot, at every point
//! at which one of them was just written. The round goes on to the same sum, with the same bytes.
#![cfg(not(target_arch = "wasm32"))]

#[allow(dead_code, reason = "each test program uses its part")]
mod common;

use common::{Cohort, Device, event, plain_sum, round_config};
use scale_secagg::client::{Answer, Event, Participant, State};
use scale_secagg::config::RoundConfig;
use scale_secagg::keys;
use scale_secagg::server::{Accumulator, Closed, Down, Receipt, Session, Stage, SummedUpdate};
use zeroize::Zeroizing;

/// Devices; in order of arrival the first one shares no keys, the second uploads nothing, the third does not sign and
/// the fourth reveals nothing. All others answer everything.
const N: usize = 15;
/// Makes the devices.
const SEED: u64 = 11;

/// First stage that the device does not answer.
fn silent_from(arrival: usize) -> u8 {
    if arrival < 4 { arrival as u8 + 1 } else { 5 }
}

/// What the server writes before it tells anybody.
#[derive(Clone, Debug, PartialEq)]
enum Record {
    Message(u8, Option<u32>, Vec<u8>),
    /// Uploads that were added up elsewhere: who, each one's digest, and their sum.
    Uploads(Vec<(u32, [u8; 32])>, Vec<u8>),
    Closed,
}

/// How uploads are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Keep {
    /// Each one by itself.
    Whole,
    /// As sums of up to three (what the coordinator does).
    Sums,
}

/// Where something stops in the course of a round.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    Nowhere,
    /// The server, when it has this many records.
    Server(usize),
    /// The server, when it has written the record that closes this stage; the record is lost. Then the device that was
    /// silent from this stage on speaks after all.
    Unclosed(u8),
    /// A device, after it took this stage's message and before its snapshot was written.
    DeviceBefore(usize, u8),
    /// A device, after its snapshot of this stage was written and before its answer was sent.
    DeviceAfter(usize, u8),
    /// A device that wants input, before it is masked.
    DeviceUnmasked(usize),
    /// Everybody, after everything.
    Always,
}

struct World {
    cohort: Cohort,
    keep: Keep,
    stop: Stop,
    records: Vec<Record>,
    server: Session,
    /// What each device has on disk.
    disk: Vec<Zeroizing<Vec<u8>>>,
    /// Uploads that lie staged and in no record.
    staged: Vec<(u32, Vec<u8>)>,
    /// Each device's place in the roster, from stage 1 on.
    places: Vec<Option<u32>>,
    /// How often something stopped.
    stops: usize,
}

impl World {
    fn new(keep: Keep, stop: Stop) -> Self {
        let cohort = Cohort::new(round_config(10, N as u32, 14), N, SEED);
        let disk = cohort.devices.iter().map(|device| device.participant.snapshot()).collect();
        let server = Session::new(cohort.config.clone(), []);
        let places = vec![None; N];
        Self { cohort, keep, stop, records: Vec::new(), server, disk, staged: Vec::new(), places, stops: 0 }
    }

    /// The record is on disk; perhaps nothing else is any more.
    fn write(&mut self, record: Record) {
        self.records.push(record);
        if self.stop == Stop::Server(self.records.len()) || self.stop == Stop::Always {
            self.restart_server();
        }
    }

    fn restart_server(&mut self) {
        self.stops += 1;
        self.staged.clear();
        self.server = rebuild(&self.cohort.config, &self.records);
    }

    /// One device in the open stage, until the server has told it that its answer is taken.
    fn serve(&mut self, device: usize) {
        let stage = self.server.stage_number().expect("a stage is open");
        let index = self.places[device];
        let down = index.map(|index| self.server.message(index).expect("the device takes part"));
        let Some(message) = self.ask(device, stage, down.as_ref()) else { return };
        if stage == 2 && self.keep == Keep::Sums {
            return self.stage_upload(index.unwrap(), message);
        }
        assert_eq!(self.server.receive(stage, index, &message), Ok(Receipt::New));
        self.write(Record::Message(stage, index, message.clone()));
        // If the answer got lost with the server, the device sends the same again.
        assert_eq!(self.server.receive(stage, index, &message), Ok(Receipt::Same));
    }

    /// What the device says to `down`, with stops around its snapshot. `None`: the last answer is in no snapshot, so a
    /// device that stops before it is sent is lost.
    fn ask(&mut self, device: usize, stage: u8, down: Option<&Down>) -> Option<Vec<u8>> {
        let mut message = self.step(device, down);
        if [Stop::DeviceBefore(device, stage), Stop::Always].contains(&self.stop) {
            self.restart_device(device);
            message = self.step(device, down);
        }
        self.disk[device] = self.cohort.devices[device].participant.snapshot();
        let stops = self.stop == Stop::DeviceAfter(device, stage);
        if stage == 4 && stops {
            self.restart_device(device);
            assert!(self.cohort.devices[device].participant.is_done());
            return None;
        }
        if stops || (stage < 4 && self.stop == Stop::Always) {
            self.restart_device(device);
            assert_eq!(self.step(device, down), message, "a restored device says the same");
        }
        Some(message)
    }

    fn step(&mut self, device: usize, down: Option<&Down>) -> Vec<u8> {
        let stage = self.server.stage_number().unwrap();
        let Cohort { policy, devices, encoded, signature, .. } = &mut self.cohort;
        let signed = Event::Config { bytes: encoded, signature };
        let event = down.map_or(signed, |down| event(stage, down));
        // Keys and shares that never left are drawn anew after a stop; the sum does not depend on them.
        let answer = devices[device].answer(policy, event).unwrap();
        let Device { participant, input, .. } = &mut devices[device];
        match answer {
            Answer::Send(out) => out,
            Answer::InputWanted => {
                if [Stop::DeviceUnmasked(device), Stop::Always].contains(&self.stop) {
                    self.stops += 1;
                    *participant = Participant::restore(&participant.snapshot()).unwrap();
                    assert!(matches!(participant.state(), State::Cleared(_)));
                }
                participant.mask(Some(input.clone())).unwrap()
            }
        }
    }

    fn restart_device(&mut self, device: usize) {
        self.stops += 1;
        self.cohort.devices[device].participant = Participant::restore(&self.disk[device]).unwrap();
    }

    fn stage_upload(&mut self, index: u32, upload: Vec<u8>) {
        self.staged.push((index, upload));
        if self.stop == Stop::Always {
            // Whoever was not told yet sends the same bytes again.
            let again = self.staged.clone();
            self.restart_server();
            self.staged = again;
        }
        if self.staged.len() == 3 {
            self.commit_staged();
        }
    }

    /// Sums what is staged, records it, and only then tells the devices. Whoever was not told sends again.
    fn commit_staged(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        if staged.is_empty() {
            return;
        }
        let mut sum = Accumulator::new(&self.cohort.config);
        staged.iter().for_each(|(_, upload)| sum.add(&self.cohort.config, upload).unwrap());
        let digests: Vec<_> = staged.iter().map(|(index, upload)| (*index, keys::hash(&[upload]))).collect();
        for (index, digest) in &digests {
            assert_eq!(self.server.commit(*index, *digest), Ok(Receipt::New));
        }
        let bytes = sum.to_bytes();
        self.server.add_sum(sum).unwrap();
        self.write(Record::Uploads(digests.clone(), bytes));
        for (index, digest) in digests {
            assert_eq!(self.server.commit(index, digest), Ok(Receipt::Same), "the upload is in the sum once");
        }
    }

    fn close(&mut self) -> Closed {
        let stage = self.server.stage_number().unwrap();
        self.commit_staged();
        let closed = self.server.close(2).unwrap();
        self.records.push(Record::Closed);
        if self.stop == Stop::Unclosed(stage) {
            self.records.pop();
            self.restart_server();
            // A message of the next stage, from a world that never was, finds the stage still open.
            assert!(self.server.receive(stage + 1, Some(0), &[]).is_err());
            assert_eq!(self.server.stage_number(), Some(stage));
            if let Some(late) = (0..4).find(|arrival| silent_from(*arrival) == stage) {
                self.serve(late);
                self.commit_staged();
            }
            let again = self.server.close(1).unwrap();
            self.records.push(Record::Closed);
            return again;
        }
        if stage < 4 && [Stop::Server(self.records.len()), Stop::Always].contains(&self.stop) {
            self.restart_server();
        }
        closed
    }

    fn run(mut self) -> (SummedUpdate, Vec<Record>, usize) {
        loop {
            let stage = self.server.stage_number().unwrap();
            for device in 0..N {
                if silent_from(device) > stage {
                    self.serve(device);
                }
            }
            match self.close() {
                Closed::Released(update) => {
                    self.judge(&update);
                    return (update, self.records, self.stops);
                }
                Closed::Roster { .. } => {
                    let Stage::Shares(shares) = self.server.stage() else { panic!("stage 1 is open") };
                    let devices = self.cohort.devices.iter();
                    self.places = devices.map(|device| shares.index_of(&device.identity.public())).collect();
                }
                _ => {}
            }
        }
    }

    /// The sum of exactly those inputs that were taken.
    fn judge(&self, update: &SummedUpdate) {
        let devices = self.cohort.devices.iter().zip(&self.places);
        let in_sum =
            devices.filter(|(_, place)| update.survivors.contains(place.unwrap())).map(|(device, _)| &device.input);
        assert_eq!(update.vectors, plain_sum(&self.cohort.config, in_sum), "{:?}", self.stop);
        let extra = u32::from(self.stop == Stop::Unclosed(2));
        assert_eq!(update.n_survivors, N as u32 - 2 + extra, "{:?}", self.stop);
    }
}

/// The server from its records alone.
fn rebuild(config: &RoundConfig, records: &[Record]) -> Session {
    let mut server = Session::new(config.clone(), []);
    for record in records {
        match record {
            Record::Message(stage, sender, message) => {
                assert_eq!(server.receive(*stage, *sender, message), Ok(Receipt::New));
            }
            Record::Uploads(digests, sum) => {
                for (sender, digest) in digests {
                    assert_eq!(server.commit(*sender, *digest), Ok(Receipt::New));
                }
                server.add_sum(Accumulator::from_bytes(config, sum).unwrap()).unwrap();
            }
            Record::Closed => drop(server.close(1).unwrap()),
        }
    }
    server
}

#[test]
fn a_server_that_stops_at_any_record_goes_on_to_the_same_sum() {
    for keep in [Keep::Whole, Keep::Sums] {
        let (sum, records, stops) = World::new(keep, Stop::Nowhere).run();
        assert_eq!(stops, 0);
        // Stage 4's closing record comes with the sum: there is nothing to go on to.
        for at in 1..records.len() {
            let (again, same, stops) = World::new(keep, Stop::Server(at)).run();
            assert_eq!((&again, &same, stops), (&sum, &records, 1), "{keep:?}, after record {at}");
        }
    }
}

#[test]
fn a_closing_record_may_be_lost() {
    for keep in [Keep::Whole, Keep::Sums] {
        for stage in 0..5 {
            let (_, _, stops) = World::new(keep, Stop::Unclosed(stage)).run();
            assert_eq!(stops, 1, "stage {stage}");
        }
    }
}

/// Each device at each step; those that draw nothing anew leave the very same records.
#[test]
fn a_device_that_stops_at_any_step_says_the_same() {
    let (sum, records, _) = World::new(Keep::Whole, Stop::Nowhere).run();
    for (device, place) in places_in(&records).iter().enumerate() {
        for stage in (0..5).filter(|stage| silent_from(device) > *stage) {
            let (again, same, stops) = World::new(Keep::Whole, Stop::DeviceAfter(device, stage)).run();
            let mut left = records.clone();
            if stage == 4 {
                left.retain(|record| !matches!(record, Record::Message(4, sender, _) if sender == place));
            }
            assert_eq!((&again, &same, stops), (&sum, &left, 1), "device {device}, after stage {stage}");
            let (again, same, stops) = World::new(Keep::Whole, Stop::DeviceBefore(device, stage)).run();
            assert_eq!(stops, 1);
            if stage >= 2 {
                assert_eq!((&again, &same), (&sum, &records), "device {device}, before stage {stage} was saved");
            }
        }
        if silent_from(device) > 2 {
            let (again, same, stops) = World::new(Keep::Whole, Stop::DeviceUnmasked(device)).run();
            assert_eq!((&again, &same, stops), (&sum, &records, 1), "device {device}, before it masked");
        }
    }
}

/// Where each device, by order of arrival, stands in the roster.
fn places_in(records: &[Record]) -> Vec<Option<u32>> {
    let closed = records.iter().position(|record| *record == Record::Closed).unwrap();
    let config = round_config(10, N as u32, 14);
    let server = rebuild(&config, &records[..=closed]);
    let Stage::Shares(shares) = server.stage() else { panic!("stage 1 is open") };
    let identities = Cohort::new(config, N, SEED).devices.into_iter().map(|device| device.identity.public());
    identities.map(|identity| shares.index_of(&identity)).collect()
}

#[test]
fn everybody_may_stop_after_everything() {
    for keep in [Keep::Whole, Keep::Sums] {
        let (_, records, stops) = World::new(keep, Stop::Always).run();
        assert!(stops > records.len() + 2 * N, "{stops} stops, {} records", records.len());
    }
}
