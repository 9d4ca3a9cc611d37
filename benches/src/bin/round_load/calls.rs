//! Calls as a device makes them: again when it is told to wait, or when something between the two has broken; and how
//! long each one took.

use std::time::{Duration, Instant};

use scale_proto::codes::Advice;
use scale_proto::wire;
use tokio::task::JoinSet;
use tonic::{Code, Status};

/// Times that a call is sent again after something has broken.
const BROKEN_MOST: u32 = 20;

/// One call and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
    pub(crate) what: What,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// What the stage's end gives.
    Stage,
    /// What the call alone gives.
    Own,
    /// Not yet.
    Wait,
    /// A refusal, with its code.
    Refused(String),
}

/// What a call gives, if it is not a failure.
pub(crate) enum Reply<T> {
    Stage(T),
    Own(T),
    Wait(wire::Wait),
}

/// One device's calls of one stage.
#[derive(Debug)]
pub(crate) struct Told<T> {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) result: Result<T, String>,
}

/// Calls until there is an answer.
pub(crate) async fn until_answered<T, F>(
    number: usize,
    attempts: &mut Vec<Attempt>,
    call: impl Fn() -> F,
) -> Result<T, String>
where
    F: Future<Output = Result<Reply<T>, Status>>,
{
    let mut broken = 0;
    loop {
        let sent = Instant::now();
        let reply = call().await;
        let answered = Instant::now();
        let mut note = |what| attempts.push(Attempt { sent, answered, what });
        let (after, before) = match reply {
            Ok(Reply::Stage(answer)) => {
                note(What::Stage);
                return Ok(answer);
            }
            Ok(Reply::Own(answer)) => {
                note(What::Own);
                return Ok(answer);
            }
            Ok(Reply::Wait(wait)) => {
                note(What::Wait);
                (wait.after_ms, wait.before_ms)
            }
            Err(status) => {
                let problem = scale_proto::status::read(status.details());
                let code = problem.as_ref().map_or_else(|| format!("{:?}", status.code()), |it| it.code.clone());
                note(What::Refused(code));
                broken += 1;
                let again = match &problem {
                    Some(problem) => problem.remedy.advice() == Advice::Resend,
                    None => matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled),
                };
                if !again || broken > BROKEN_MOST {
                    return Err(format!("{status}"));
                }
                let window = problem.and_then(|problem| problem.remedy.window());
                window.map_or((200, 400), |window| (window.after.as_millis() as u64, window.before.as_millis() as u64))
            }
        };
        // Spread over the window by number: it is drawn at random elsewhere.
        let share = (number as u64).wrapping_mul(0x9E37_79B9).wrapping_add(attempts.len() as u64 * 7919) % 1000;
        let pause = after + before.saturating_sub(after) * share / 1000;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Runs everybody's calls, begun at this rate a second (0: all at once); results in the order of `jobs`.
pub(crate) async fn paced<T, F>(rate: u32, jobs: impl Iterator<Item = F>) -> Vec<Told<T>>
where
    T: Send + 'static,
    F: Future<Output = Told<T>> + Send + 'static,
{
    let begin = tokio::time::Instant::now();
    let mut running = JoinSet::new();
    let mut count = 0;
    for (place, job) in jobs.enumerate() {
        let due = begin + Duration::from_secs_f64(place as f64 / f64::from(rate.max(1)));
        running.spawn(async move {
            if rate > 0 {
                tokio::time::sleep_until(due).await;
            }
            (place, job.await)
        });
        count = place + 1;
    }
    let mut told: Vec<Option<Told<T>>> = (0..count).map(|_| None).collect();
    while let Some(ended) = running.join_next().await {
        // A device's calls do not panic, and nobody aborts them.
        if let Ok((place, one)) = ended {
            told[place] = Some(one);
        }
    }
    let gone = || Told { attempts: vec![], result: Err("its calls ended without a result".to_owned()) };
    told.into_iter().map(|one| one.unwrap_or_else(gone)).collect()
}
