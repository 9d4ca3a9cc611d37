//! Stops and restarts of the server: it loses everything but its records, at every point at which one of them was just
//! written. The round goes on to the same sum, with the same records. (The device's restarts: `client-core`.)
#![cfg(not(target_arch = "wasm32"))]

#[allow(dead_code, reason = "each test program uses its part")]
mod common;

use common::{Cohort, opens, plain_sum, round_config};
use scale_secagg::config::RoundConfig;
use scale_secagg::keys;
use scale_secagg::server::{Accumulator, Closed, Receipt, Session, Stage, SummedUpdate};

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
    /// After everything.
    Always,
}

struct World {
    cohort: Cohort,
    keep: Keep,
    stop: Stop,
    records: Vec<Record>,
    server: Session,
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
        let server = Session::new(cohort.config.clone(), []);
        let places = vec![None; N];
        Self { cohort, keep, stop, records: Vec::new(), server, staged: Vec::new(), places, stops: 0 }
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
        let message = match index {
            None => self.cohort.advertise(device),
            Some(index) => {
                let down = self.server.message(index).expect("the device takes part");
                self.cohort.handle(device, opens(stage, &down)).unwrap()
            }
        };
        if stage == 2 && self.keep == Keep::Sums {
            return self.stage_upload(index.unwrap(), message);
        }
        assert_eq!(self.server.receive(stage, index, &message), Ok(Receipt::New));
        self.write(Record::Message(stage, index, message.clone()));
        // If the answer got lost with the server, the device sends the same again.
        assert_eq!(self.server.receive(stage, index, &message), Ok(Receipt::Same));
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

#[test]
fn a_server_may_stop_after_everything() {
    for keep in [Keep::Whole, Keep::Sums] {
        let (_, records, stops) = World::new(keep, Stop::Always).run();
        assert!(stops >= records.len() - 1, "{stops} stops, {} records", records.len());
    }
}
