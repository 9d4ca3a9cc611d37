//! When the stages of a round close, as the operator's API shows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use scale_proto::wire;
use scale_proto::wire::admin_client::AdminClient;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::wire::with_token;

const EVERY: Duration = Duration::from_millis(50);
/// Stages of a session, in order.
pub(crate) const STAGES: [&str; 5] = ["keys", "shares", "masked_input", "agreement", "unmask"];

/// Looks at one round until it is dropped. It has a connection of its own, whose bytes nobody counts.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    looking: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// The last question that was answered with "this session is in this stage".
    open: HashMap<(Bytes, usize), Instant>,
    round: wire::RoundInfo,
}

impl Watch {
    pub(crate) fn start(channel: Channel, token: String, round_id: Bytes) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        let looking = tokio::spawn(async move {
            let mut client = AdminClient::new(channel);
            loop {
                let asked = Instant::now();
                let request = with_token(wire::GetRoundRequest { round_id: round_id.clone() }, &token);
                if let Ok(answer) = client.get_round(request).await {
                    let round = answer.into_inner();
                    let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    for session in &round.sessions {
                        if let Some(stage) = STAGES.iter().position(|stage| *stage == session.stage) {
                            seen.open.insert((session.session_handle.clone(), stage), asked);
                        }
                    }
                    seen.round = round;
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { seen, looking }
    }

    /// A moment at which this session's stage was still open; `None`: nobody has seen it open.
    pub(crate) fn open_at(&self, session: &Bytes, stage: usize) -> Option<Instant> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.open.get(&(session.clone(), stage)).copied()
    }

    /// The round as it was seen last.
    pub(crate) fn round(&self) -> wire::RoundInfo {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).round.clone()
    }

    /// Waits until the round has ended.
    pub(crate) async fn closed(&self) -> wire::RoundInfo {
        loop {
            let round = self.round();
            if matches!(round.phase.as_str(), "finished" | "abandoned") {
                return round;
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.looking.abort();
    }
}
