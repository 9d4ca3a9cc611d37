//! The rules: what each event does to a round.

use std::time::Duration;

use ring::digest;
use scale_proto::ids::{ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::time::Timestamp;

use super::{
    Effect, Event, Failure, Phase, RESTART_GRACE, Refused, Round, Rules, SessionProgress, SessionStage, Step, Window,
};

impl Round {
    /// A round that has just opened.
    pub fn open(
        id: RoundId,
        task: TaskId,
        number: u64,
        base_version: ModelVersion,
        rules: Rules,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            task,
            number,
            base_version,
            rules,
            opened_at: now,
            phase: Phase::Selecting { deadline: None },
            cohort: 0,
            closings: [Timestamp::default(); 5],
            sessions: Vec::new(),
            summary: None,
        }
    }

    /// Takes one event. Events that do not fit the state change nothing: they are late echoes of effects that a crash
    /// repeated. A round that is over stays as it is.
    #[must_use]
    pub fn handle(mut self, event: Event, now: Timestamp) -> Step {
        let mut effects = Vec::new();
        if let Event::DeviceCheckedIn { device } = event {
            match self.refusal() {
                Some(why) => effects.push(Effect::Refuse { device, why }),
                None => {
                    self.admit(now);
                    effects.push(Effect::Admit { device });
                }
            }
        }
        if self.phase.is_over() {
            return Step { round: self, effects };
        }
        match event {
            Event::DeviceCheckedIn { .. } | Event::Tick => {}
            Event::DeviceLeft { session, awaited } => self.on_left(session, awaited),
            Event::StageAnswered { session, stage, answered, ready } => {
                self.on_answered(session, stage, answered, ready, now);
            }
            Event::StillSending { session } => self.on_still_sending(session, now),
            Event::StageClosed { session, stage, outcome } => {
                self.on_closed(session, stage, outcome, now, &mut effects);
            }
            Event::SumReleased { session, outcome } => self.on_released(session, outcome, &mut effects),
            Event::ModelCommitted { outcome } => self.on_committed(outcome, now, &mut effects),
            Event::AbandonRequested { reason } => self.abandon(Failure::new("operator", reason), now, &mut effects),
            Event::Resumed => self.on_resumed(now),
        }
        self.advance(now, &mut effects);
        Step { round: self, effects }
    }

    /// When the next [`Event::Tick`] is due; `None`: only other events can change anything.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Selecting { deadline } => *deadline,
            Phase::Training | Phase::Securing => {
                let open = self.sessions.iter().filter(|session| !session.closing && !session.stage.is_over());
                open.map(|session| session.deadline).min()
            }
            Phase::Committing | Phase::Finished { .. } | Phase::Abandoned { .. } => None,
        }
    }

    /// Effects whose outcome is still awaited: after a restart they are carried out again.
    pub fn pending(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for session in &self.sessions {
            if session.stage.is_over() {
                effects.push(Effect::EndSession { session: session.id });
            } else if session.closing {
                effects.push(session.close_effect());
            }
        }
        match self.phase {
            Phase::Committing => effects.push(Effect::CommitModel),
            Phase::Finished { .. } | Phase::Abandoned { .. } => effects.push(Effect::EndRound),
            Phase::Selecting { .. } | Phase::Training | Phase::Securing => {}
        }
        effects
    }

    /// One of this round's sessions.
    pub fn session(&self, id: SessionId) -> Option<&SessionProgress> {
        self.sessions.iter().find(|session| session.id == id)
    }

    /// Why a device that is not in yet would be turned away; `None`: it would be admitted.
    pub fn refusal(&self) -> Option<Refused> {
        match self.phase {
            Phase::Selecting { .. } if self.cohort < self.rules.selected => None,
            Phase::Selecting { .. } => Some(Refused::Full),
            Phase::Training | Phase::Securing | Phase::Committing => Some(Refused::Running),
            Phase::Finished { .. } | Phase::Abandoned { .. } => Some(Refused::Over),
        }
    }

    /// Devices in all sums that were released.
    pub fn survivors(&self) -> u32 {
        let released = self.sessions.iter().filter(|session| session.stage == SessionStage::Released);
        released.map(|session| session.survivors).sum()
    }

    /// Name of a round's session: routing only, so it may be known in advance, and a restart finds the same.
    pub fn session_id(round: RoundId, ordinal: u32) -> SessionId {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"FLSA1/session");
        context.update(round.as_bytes());
        context.update(&ordinal.to_le_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&context.finish().as_ref()[..16]);
        SessionId::from_random(id)
    }

    fn admit(&mut self, now: Timestamp) {
        self.cohort += 1;
        if let Phase::Selecting { deadline } = &mut self.phase {
            deadline.get_or_insert(now.plus(Duration::from_millis(self.rules.timing.selecting_ms)));
        }
    }

    fn on_left(&mut self, session: Option<SessionId>, awaited: bool) {
        if let Phase::Selecting { deadline } = &mut self.phase {
            self.cohort = self.cohort.saturating_sub(1);
            if self.cohort == 0 {
                *deadline = None;
            }
        } else if let Some(session) = self.sessions.iter_mut().find(|progress| Some(progress.id) == session)
            && awaited
            && !session.stage.is_over()
        {
            session.expected = session.expected.saturating_sub(1);
        }
    }

    fn on_answered(&mut self, id: SessionId, stage: SessionStage, answered: u32, ready: bool, now: Timestamp) {
        let (floor, grace) = (self.rules.floor, Duration::from_millis(self.rules.timing.grace_ms));
        // A stage that is being closed still counts: uploads that were whole in time may be committed until the end.
        let found = self.sessions.iter_mut().find(|session| session.id == id && session.stage == stage);
        let (Some(session), Some(number)) = (found, stage.number()) else { return };
        let count = &mut session.answered[usize::from(number)];
        if answered > *count {
            *count = answered;
            session.answer_came(floor, grace, ready, now);
        }
    }

    fn on_still_sending(&mut self, id: SessionId, now: Timestamp) {
        let grace = Duration::from_millis(self.rules.timing.grace_ms);
        let uploading = |session: &&mut SessionProgress| session.id == id && session.stage == SessionStage::MaskedInput;
        if let Some(session) = self.sessions.iter_mut().find(uploading) {
            session.wait_on(grace, now);
        }
    }

    fn on_closed(
        &mut self,
        id: SessionId,
        stage: SessionStage,
        outcome: Result<u32, Failure>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let (floor, closings) = (self.rules.floor, self.closings);
        let windows = self.rules.timing.stages();
        let Some(session) = self.closing_session(id, stage) else { return };
        let size = match outcome {
            Ok(size) => size,
            Err(failure) => return session.abandon(failure, effects),
        };
        // Stage 3 fixes who may unmask, not who is in the sum: its size is the protocol's threshold to judge.
        if stage != SessionStage::Agreement && size < floor {
            return session.abandon(too_few(stage, size, floor), effects);
        }
        if stage == SessionStage::MaskedInput {
            session.survivors = size;
        }
        session.stage = stage.next();
        session.closing = false;
        session.expected = size;
        // The stage before was 0 to 3, so this one has a number from 1 to 4 and a window.
        let number = usize::from(session.stage.number().unwrap_or(4));
        session.open_window(now, windows[number.max(1) - 1], closings[number]);
        if self.phase == Phase::Training {
            self.phase = Phase::Securing;
        }
    }

    fn on_released(&mut self, id: SessionId, outcome: Result<(), Failure>, effects: &mut Vec<Effect>) {
        let floor = self.rules.floor;
        let Some(session) = self.closing_session(id, SessionStage::Unmask) else { return };
        match outcome {
            Ok(()) if session.survivors >= floor => {
                session.stage = SessionStage::Released;
                session.closing = false;
                effects.push(Effect::EndSession { session: id });
            }
            Ok(()) => session.abandon(too_few(SessionStage::MaskedInput, session.survivors, floor), effects),
            Err(failure) => session.abandon(failure, effects),
        }
    }

    fn on_committed(
        &mut self,
        outcome: Result<(ModelVersion, super::Summary), Failure>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.phase != Phase::Committing {
            return;
        }
        match outcome {
            Ok((version, summary)) => {
                self.phase = Phase::Finished { version, at: now };
                self.summary = Some(summary);
                effects.push(Effect::EndRound);
            }
            Err(failure) => self.abandon(failure, now, effects),
        }
    }

    /// Time that ran while nobody could answer is not held against the devices, as far as the signed times allow.
    fn on_resumed(&mut self, now: Timestamp) {
        let timing = &self.rules.timing;
        let windows = timing.stages();
        if let Phase::Selecting { deadline: Some(deadline) } = &mut self.phase {
            let window = Duration::from_millis(timing.selecting_ms);
            *deadline = (*deadline).clamp(now.plus(RESTART_GRACE.min(window)), now.plus(window));
        }
        for session in &mut self.sessions {
            let Some(number) = session.stage.number().map(usize::from) else { continue };
            let window = match number {
                0 => Duration::from_millis(timing.training_ms),
                later => windows[later - 1],
            };
            session.hear_again(now, window, self.closings[number]);
        }
    }

    /// Everything that follows from counts and times alone.
    fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Selecting { deadline } => self.advance_selection(deadline, now, effects),
            Phase::Training | Phase::Securing => {
                for session in &mut self.sessions {
                    session.advance(self.rules.floor, now, effects);
                }
                self.settle(now, effects);
            }
            Phase::Committing | Phase::Finished { .. } | Phase::Abandoned { .. } => {}
        }
    }

    fn advance_selection(&mut self, deadline: Option<Timestamp>, now: Timestamp, effects: &mut Vec<Effect>) {
        let passed = deadline.is_some_and(|deadline| now >= deadline);
        if self.cohort >= self.rules.selected || (passed && self.cohort >= self.rules.floor) {
            self.start_training(now, effects);
        } else if passed && self.rules.patient {
            let window = Duration::from_millis(self.rules.timing.selecting_ms);
            let began = now.as_millis().saturating_sub(self.rules.timing.selecting_ms);
            self.phase = Phase::Selecting { deadline: Some(now.plus(window)) };
            effects.push(Effect::DropAbsent { unseen_since: Timestamp::from_millis(began) });
        } else if passed {
            let sentence = format!("{} devices checked in, {} are needed at least", self.cohort, self.rules.floor);
            self.abandon(Failure::new("too_few_devices", sentence), now, effects);
        }
    }

    fn start_training(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let timing = &self.rules.timing;
        let training = Duration::from_millis(timing.training_ms);
        let mut latest = now.plus(training).plus(Duration::from_millis(self.rules.clock_slack_ms));
        self.closings[0] = latest;
        for (closing, window) in self.closings[1..].iter_mut().zip(timing.stages()) {
            // Strictly rising, even where a window is zero.
            latest = latest.plus(window.max(Duration::from_millis(1)));
            *closing = latest;
        }
        self.sessions = (0..)
            .zip(self.rules.session_sizes(self.cohort))
            .map(|(ordinal, members)| {
                let part = u64::from(self.rules.goal) * u64::from(members);
                let goal = u32::try_from(part.div_ceil(u64::from(self.cohort))).unwrap_or(members);
                let mut session = SessionProgress {
                    id: Self::session_id(self.id, ordinal),
                    stage: SessionStage::Keys,
                    members,
                    goal: goal.clamp(self.rules.floor.min(members), members),
                    expected: members,
                    answered: [0; 5],
                    deadline: now,
                    window: Window::default(),
                    closing: false,
                    survivors: 0,
                    failure: None,
                };
                session.open_window(now, training, self.closings[0]);
                session
            })
            .collect();
        self.phase = Phase::Training;
        effects.push(Effect::StartTraining);
    }

    /// Ends the secure part once every session is over.
    fn settle(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.sessions.iter().all(|session| session.stage.is_over()) {
            return;
        }
        let survivors = self.survivors();
        if survivors >= self.rules.floor {
            self.phase = Phase::Committing;
            effects.push(Effect::CommitModel);
            return;
        }
        let failure = self.sessions.iter().find_map(|session| session.failure.clone());
        let failure = failure.unwrap_or_else(|| too_few(SessionStage::MaskedInput, survivors, self.rules.floor));
        self.abandon(failure, now, effects);
    }

    fn abandon(&mut self, failure: Failure, now: Timestamp, effects: &mut Vec<Effect>) {
        for session in self.sessions.iter_mut().filter(|session| !session.stage.is_over()) {
            session.abandon(Failure::new("round_abandoned", "the round was abandoned"), effects);
        }
        self.phase = Phase::Abandoned { code: failure.code, sentence: failure.sentence, at: now };
        effects.push(Effect::EndRound);
    }

    /// The session, if the outcome of closing this stage is awaited.
    fn closing_session(&mut self, id: SessionId, stage: SessionStage) -> Option<&mut SessionProgress> {
        self.sessions.iter_mut().find(|session| session.id == id && session.stage == stage && session.closing)
    }
}

impl SessionProgress {
    fn advance(&mut self, floor: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.closing || self.stage.is_over() {
            return;
        }
        let decides_sum = matches!(self.stage, SessionStage::Keys | SessionStage::Shares | SessionStage::MaskedInput);
        if decides_sum && self.expected < floor {
            // Whoever is left cannot make a sum: nobody needs to wait for the rest.
            self.abandon(too_few(self.stage, self.expected, floor), effects);
        } else if self.answered_now() >= self.expected || now >= self.deadline {
            self.close(effects);
        }
    }

    fn close(&mut self, effects: &mut Vec<Effect>) {
        if !self.closing {
            self.closing = true;
            effects.push(self.close_effect());
        }
    }

    fn close_effect(&self) -> Effect {
        match self.stage {
            SessionStage::Unmask => Effect::ReleaseSum { session: self.id },
            stage => Effect::CloseStage { session: self.id, stage },
        }
    }

    fn abandon(&mut self, failure: Failure, effects: &mut Vec<Effect>) {
        self.stage = SessionStage::Abandoned;
        self.closing = false;
        self.failure = Some(failure);
        effects.push(Effect::EndSession { session: self.id });
    }
}

/// The protocol's words for a set under the floor.
fn too_few(stage: SessionStage, left: u32, floor: u32) -> Failure {
    let (code, did) = match stage {
        SessionStage::Keys => ("too_few_clients", "advertised keys"),
        SessionStage::Shares => ("too_few_sharers", "shared their keys"),
        _ => ("too_few_inputs", "uploaded their masked input"),
    };
    Failure::new(code, format!("{left} devices {did} or could still, {floor} are needed at least"))
}
