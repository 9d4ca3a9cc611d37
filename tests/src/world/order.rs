//! What a test may ask for, as JSON: `{"do": "task", "name": "bag", …}`.

use anyhow::Context as _;
use serde_json::Value;

use super::task::Task;
use crate::gate::{Call, Moment};

/// One order.
#[derive(Debug)]
pub enum Order {
    /// Starts the coordinator.
    Start(Between),
    /// Creates a task.
    Task(Task),
    /// A good enrollment token.
    Token,
    /// An enrollment token that has run out.
    ExpiredToken,
    /// A token and the task key of another coordinator.
    Stranger,
    /// Enrolls native devices for a task, instead of those that there were.
    Natives {
        /// Of this task.
        task: String,
        /// So many.
        count: u8,
    },
    /// Lets the native devices of a task take part in so many rounds, one after the other.
    Play {
        /// Of this task.
        task: String,
        /// So many.
        rounds: u32,
    },
    /// Real clients with examples of their own, which take part in round after round until they are dispersed.
    Crowd {
        /// Of this task.
        task: String,
        /// So many.
        count: u8,
    },
    /// Ends all crowds.
    Disperse,
    /// What became of the rounds of a task, newest first, and of the native devices.
    Rounds {
        /// Of this task.
        task: String,
    },
    /// What a round has published beyond the inputs of the native devices; waits until it is over.
    Sum {
        /// Of this task.
        task: String,
        /// Its number.
        number: u64,
        /// How many examples each of the apps says.
        apps: Vec<u32>,
    },
    /// Stops the coordinator's process, as `kill -STOP` does.
    Suspend,
    /// Lets it go on.
    Resume,
    /// Kills the coordinator.
    Kill,
    /// Starts it again on the same data and the same port.
    Restart,
    /// Changes a byte in the file of every model.
    Tamper,
    /// Takes every device token back: the coordinator goes on with another key for them. Devices have to enroll again, and
    /// so have the native ones.
    Revoke,
    /// Withholds all calls of a kind at the gate.
    Hold {
        /// Of this kind.
        call: Call,
        /// And so late.
        moment: Moment,
    },
    /// Waits until a call is withheld: of this kind, or of any that is held.
    Reached(Option<Call>),
    /// Lets the calls of this kind go on, or those of all kinds.
    Release(Option<Call>),
}

/// What is between the devices and the coordinator.
#[derive(Debug)]
pub enum Between {
    /// Nothing.
    Nothing,
    /// A proxy of the test's own at this address, from which devices download models.
    Own(String),
    /// A [`Gate`](crate::gate::Gate).
    Gate,
}

impl Order {
    /// Reads an order.
    ///
    /// # Errors
    /// There is no such order, or a field is missing or of another type.
    pub fn read(order: &Value) -> anyhow::Result<Self> {
        let text = |field: &str| {
            let value = order[field].as_str().with_context(|| format!("`{field}` is missing in {order}"))?;
            anyhow::Ok(value.to_owned())
        };
        let number = |field: &str| order[field].as_u64().with_context(|| format!("`{field}` is missing in {order}"));
        Ok(match order["do"].as_str().unwrap_or_default() {
            "start" => Self::Start(Between::read(order)?),
            "task" => Self::Task(Task::read(order)?),
            "token" => Self::Token,
            "expired_token" => Self::ExpiredToken,
            "stranger" => Self::Stranger,
            "natives" => Self::Natives { task: text("task")?, count: number("count")?.try_into()? },
            "play" => Self::Play { task: text("task")?, rounds: number("rounds")?.try_into()? },
            "crowd" => Self::Crowd { task: text("task")?, count: number("count")?.try_into()? },
            "disperse" => Self::Disperse,
            "rounds" => Self::Rounds { task: text("task")? },
            "sum" => {
                let apps = order["apps"].as_array().context("`apps` is missing")?;
                let weight = |value: &Value| Ok(value.as_u64().context("a number of examples")?.try_into()?);
                let apps = apps.iter().map(weight).collect::<anyhow::Result<_>>()?;
                Self::Sum { task: text("task")?, number: number("number")?, apps }
            }
            "suspend" => Self::Suspend,
            "resume" => Self::Resume,
            "kill" => Self::Kill,
            "restart" => Self::Restart,
            "tamper" => Self::Tamper,
            "revoke" => Self::Revoke,
            "hold" => {
                let answered = order["answered"].as_bool().unwrap_or(false);
                let moment = if answered { Moment::Answered } else { Moment::Asked };
                Self::Hold { call: Call::named(&text("call")?)?, moment }
            }
            "reached" => Self::Reached(order["call"].as_str().map(Call::named).transpose()?),
            "release" => Self::Release(order["call"].as_str().map(Call::named).transpose()?),
            other => anyhow::bail!("no such order: {other:?}"),
        })
    }
}

impl Between {
    fn read(order: &Value) -> anyhow::Result<Self> {
        let gate = order["gate"].as_bool().unwrap_or(false);
        match order["public_url"].as_str() {
            Some(_) if gate => anyhow::bail!("a gate has an address of its own: leave `public_url` out"),
            Some(url) => Ok(Self::Own(url.to_owned())),
            None if gate => Ok(Self::Gate),
            None => Ok(Self::Nothing),
        }
    }
}
