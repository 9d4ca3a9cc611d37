//! Devices and a coordinator on one clock, driven by a list of operations.

use std::time::Duration;

use bytes::Bytes;
use scale_privacy::ledger::{Event as Paid, Receipt};
use scale_proto::answer::{StageAnswer, StageDown};
use scale_proto::error::{Problem, Remedy};
use scale_proto::ids::Digest;
use scale_proto::manifest::Manifest;
use scale_proto::time::{RetryWindow, Timestamp};
use scale_secagg::server::Receipt as Taken;

use super::{Coordinator, Device, Silence};
use crate::device::Event;

/// One event of a simulation. Devices are identified by number, modulo the number of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A device sends its pending message, or repeats its last one, and receives the answer.
    Deliver(usize),
    /// The same, but the answer is lost.
    DropAnswer(usize),
    /// The same, but the message itself is lost.
    DropMessage(usize),
    /// A device is killed and restarts from its storage.
    Restart(usize),
    /// The same, after it has stored or sent this many more times.
    RestartAfter(usize, u32),
    /// The last message of a device in this stage arrives once more.
    Replay(usize, u8),
    /// A device receives once more the message that opened this stage.
    Duplicate(usize, u8),
    /// A device's app cancels the round.
    Cancel(usize),
    /// Time passes, in seconds.
    Advance(u32),
    /// The coordinator restarts from its log.
    RestartCoordinator,
}

/// How a device's participation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its update is in the sum and its shares were accepted.
    Contributed,
    /// It left, with this code.
    Left(String),
    /// It was told to come back later, with this code.
    Waits(String),
}

/// The messages between a device and the coordinator.
#[derive(Default)]
struct Line {
    joined: bool,
    /// A message that was never sent.
    outbox: Option<(u8, Bytes)>,
    /// Every message that it has received.
    heard: Vec<StageDown>,
    outcome: Option<Outcome>,
}

/// A round of devices and a coordinator. The same operations always lead to the same bytes.
pub struct Simulation {
    /// The one clock.
    pub now: Timestamp,
    /// The coordinator of the round.
    pub coordinator: Coordinator,
    /// The devices of the round, by number.
    pub devices: Vec<Device>,
    lines: Vec<Line>,
    faults: Vec<String>,
}

impl Simulation {
    /// The round of `manifest` with these devices, all of which must answer before stage 0 closes early. The clock
    /// starts at that of the first device.
    ///
    /// # Panics
    /// There are no devices.
    pub fn new(manifest: Manifest, file: Vec<u8>, devices: Vec<Device>) -> Self {
        Self {
            now: devices[0].now,
            coordinator: Coordinator::new(manifest, file, devices.len()),
            lines: devices.iter().map(|_| Line::default()).collect(),
            devices,
            faults: vec![],
        }
    }

    /// Applies operations in order.
    pub fn run(&mut self, operations: &[Operation]) {
        operations.iter().for_each(|operation| self.apply(*operation));
    }

    /// Applies one operation.
    pub fn apply(&mut self, operation: Operation) {
        let count = self.devices.len();
        let number = |device: usize| device % count;
        match operation {
            Operation::Deliver(device) => self.send(number(device), true, true),
            Operation::DropAnswer(device) => self.send(number(device), true, false),
            Operation::DropMessage(device) => self.send(number(device), false, false),
            Operation::Restart(device) => self.restart(number(device)),
            Operation::RestartAfter(device, points) => {
                let device = number(device);
                self.devices[device].power = Some(points);
            }
            Operation::Replay(device, stage) => self.replay(number(device), stage),
            Operation::Duplicate(device, stage) => self.duplicate(number(device), stage),
            Operation::Cancel(device) => {
                let device = number(device);
                let left = self.devices[device].happen(Event::Cancel).map(|_| Bytes::new());
                self.said(device, left);
            }
            Operation::Advance(seconds) => {
                self.now = self.now.plus(Duration::from_secs(seconds.into()));
                self.coordinator.close_if_due(self.now);
            }
            Operation::RestartCoordinator => self.coordinator.restart(),
        }
    }

    /// Runs the round to its end: delivers the messages of all devices, and when nothing changes any more, lets the
    /// time of the open stage pass.
    pub fn finish(&mut self) {
        loop {
            let before = self.coordinator.stage();
            for device in (0..self.devices.len()).chain(0..self.devices.len()) {
                self.apply(Operation::Deliver(device));
            }
            match self.coordinator.stage() {
                Some(stage) if before == Some(stage) => {
                    let closing = Timestamp::from_millis(self.coordinator.config.closing[usize::from(stage)]);
                    self.now = self.now.max(closing);
                    self.coordinator.close_if_due(self.now);
                }
                Some(_) => {}
                None if before.is_none() => return,
                None => {}
            }
        }
    }

    /// How a device's participation ended; `None` if it has not.
    pub fn outcome(&self, device: usize) -> Option<&Outcome> {
        self.lines[device].outcome.as_ref()
    }

    /// The violations of rules that must always hold:
    ///
    /// - a device sent two different messages in one stage;
    /// - a masked input is not in the privacy ledger of its sender, or a round is in it twice;
    /// - the released sum is not the sum of the survivors' summands;
    /// - a device reports that it contributed but is not in the sum;
    /// - a repeated message was accepted as a new one.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        for (number, device) in self.devices.iter().enumerate() {
            let identity = device.identity.public();
            let receipts = device.ledger.receipts();
            if receipts.len() > 1 {
                faults.push(format!("device {number} has paid {} times", receipts.len()));
            }
            for stage in 0..=4 {
                let mut sent = self.coordinator.sent.iter().filter(|one| (one.stage, one.from) == (stage, identity));
                let Some(first) = sent.next() else { continue };
                if sent.any(|again| again.payload != first.payload) {
                    faults.push(format!("device {number} has sent two different messages in stage {stage}"));
                }
                let digest = Some(Digest::of(&first.payload).0);
                let is_in =
                    |receipt: &Receipt| matches!(receipt.event, Paid::Round { released, .. } if released == digest);
                if stage == 2 && !receipts.iter().any(is_in) {
                    faults.push(format!("the masked input of device {number} is not in its ledger"));
                }
            }
            let is_in = self.survivors().any(|survivor| survivor == number);
            if self.outcome(number) == Some(&Outcome::Contributed) && !is_in && self.coordinator.released.is_some() {
                faults.push(format!("device {number} has contributed but is not in the sum"));
            }
        }
        if let Some(sum) = &self.coordinator.released
            && sum.vectors != self.plain_sum(self.survivors())
        {
            faults.push("the released sum is not the sum of its summands".into());
        }
        faults
    }

    /// The devices whose inputs are in the released sum.
    pub fn survivors(&self) -> impl Iterator<Item = usize> {
        let sum = self.coordinator.released.as_ref();
        let is_in = move |device: &Device| {
            let place = self.coordinator.place(&device.identity.public());
            sum.is_some_and(|sum| place.is_some_and(|place| sum.survivors.contains(place)))
        };
        self.devices.iter().enumerate().filter(move |(_, device)| is_in(device)).map(|(number, _)| number)
    }

    /// The sum of these devices' summands, computed without any masks.
    pub fn plain_sum(&self, devices: impl IntoIterator<Item = usize>) -> Vec<Vec<i64>> {
        let lens = self.coordinator.config.vectors.iter().map(|vector| vector.len as usize);
        let mut sums: Vec<Vec<i64>> = lens.map(|len| vec![0; len]).collect();
        for device in devices {
            for (sum, vector) in sums.iter_mut().zip(self.devices[device].summand()) {
                sum.iter_mut().zip(vector).for_each(|(sum, entry)| *sum += entry);
            }
        }
        sums
    }

    fn send(&mut self, number: usize, arrives: bool, answered: bool) {
        if self.lines[number].outcome.is_some() {
            return;
        }
        let device = &mut self.devices[number];
        device.now = self.now;
        if !self.lines[number].joined {
            self.lines[number].joined = true;
            let keys = device.take(self.coordinator.manifest.clone(), &self.coordinator.file);
            self.said(number, keys);
        } else if self.lines[number].outbox.is_none() {
            let again = device.wake();
            self.said(number, again);
        }
        // The pending message or a repetition; nothing to do if the device has just left.
        let Some((stage, payload)) = self.lines[number].outbox.take() else { return };
        let identity = self.devices[number].identity.public();
        if !arrives {
            return self.hears(number, Event::Broken(1));
        }
        let received = self.coordinator.receive(stage, identity, &payload);
        self.coordinator.close_if_complete();
        if !answered {
            return self.hears(number, Event::Broken(1));
        }
        match received.map(|_| self.coordinator.reply(&identity, stage)) {
            Ok(StageAnswer::Down(down)) => {
                self.lines[number].heard.push(down.clone());
                let answer = self.devices[number].answer(down);
                self.said(number, answer);
            }
            Ok(StageAnswer::Accepted) => self.hears(number, Event::Accepted),
            Ok(StageAnswer::Wait(_)) if stage == 2 => self.hears(number, Event::Committed),
            Ok(StageAnswer::Wait(wait)) => self.hears(number, Event::Wait(wait.retry)),
            Err(refusal) => {
                let (code, sentence) = (refusal.code().into(), refusal.to_string());
                let over = self.coordinator.abandoned.is_some();
                let remedy = if over { Remedy::CheckIn(RetryWindow::from_millis(5_000)) } else { Remedy::Leave };
                self.hears(number, Event::Refused(Problem { code, sentence, remedy }));
            }
        }
    }

    /// Passes an event to a device that requires no answer to the coordinator.
    fn hears(&mut self, number: usize, event: Event) {
        if let Err(silence) = self.devices[number].happen(event) {
            self.said(number, Err(silence));
        }
    }

    /// Handles the result of an event that was passed to a device.
    fn said(&mut self, number: usize, said: Result<Bytes, Silence>) {
        let line = &mut self.lines[number];
        let device = &self.devices[number];
        match said {
            Ok(_) => line.outbox = device.sent().last().map(|sent| (sent.stage, sent.payload.clone())),
            Err(Silence::Left(cause)) => {
                self.coordinator.leave(device.identity.public(), cause.code().to_owned());
                line.outcome = Some(Outcome::Left(cause.code().to_owned()));
                self.coordinator.close_if_complete();
            }
            Err(Silence::Waits(wait)) => line.outcome = Some(Outcome::Waits(wait.code)),
            Err(Silence::Done(_)) => line.outcome = Some(Outcome::Contributed),
            Err(Silence::Killed) => self.restart(number),
            // The device has no stored round any more: its app checks in again.
            Err(Silence::Quiet) => *line = Line { heard: std::mem::take(&mut line.heard), ..Line::default() },
            Err(Silence::Over) => {}
        }
    }

    fn restart(&mut self, number: usize) {
        if self.lines[number].outcome.is_some() {
            return;
        }
        self.devices[number].now = self.now;
        let again = self.devices[number].restart();
        self.said(number, again);
    }

    fn replay(&mut self, number: usize, stage: u8) {
        let identity = self.devices[number].identity.public();
        let mut sent = self.coordinator.sent.iter().rev();
        let Some(message) = sent.find(|one| (one.stage, one.from) == (stage, identity)) else { return };
        let payload = message.payload.clone();
        if self.coordinator.receive(stage, identity, &payload) == Ok(Taken::New) {
            self.faults.push(format!("a replayed message of device {number} in stage {stage} counts as new"));
        }
    }

    fn duplicate(&mut self, number: usize, stage: u8) {
        if self.lines[number].outcome.is_some() {
            return;
        }
        let Some(down) = self.lines[number].heard.iter().rfind(|down| down.stage == stage).cloned() else { return };
        self.devices[number].now = self.now;
        let answer = self.devices[number].answer(down);
        self.said(number, answer);
    }
}
