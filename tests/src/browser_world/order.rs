//! What a test may ask for, as JSON: `{"do": "task", "name": "bag", …}`.

use super::task::Task;

/// One order.
#[derive(Debug)]
pub enum Order {
    /// Starts the coordinator. `public_url`: how devices reach it, if not directly.
    Start {
        /// Address of what the test has put in between.
        public_url: Option<String>,
    },
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
    /// What a finished round has published beyond the inputs of the native devices.
    Sum {
        /// Of this task.
        task: String,
        /// Its number.
        number: u64,
        /// How many examples each of the browsers says.
        browsers: Vec<u32>,
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
}

impl Order {
    /// Reads an order.
    ///
    /// # Errors
    /// There is no such order, or a field is missing or of another type.
    pub fn read(order: &serde_json::Value) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let text = |field: &str| {
            let value = order[field].as_str().with_context(|| format!("`{field}` is missing in {order}"))?;
            anyhow::Ok(value.to_owned())
        };
        let number = |field: &str| order[field].as_u64().with_context(|| format!("`{field}` is missing in {order}"));
        Ok(match order["do"].as_str().unwrap_or_default() {
            "start" => Self::Start { public_url: order["public_url"].as_str().map(str::to_owned) },
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
                let browsers = order["browsers"].as_array().context("`browsers` is missing")?;
                let weight =
                    |value: &serde_json::Value| Ok(value.as_u64().context("a number of examples")?.try_into()?);
                let browsers = browsers.iter().map(weight).collect::<anyhow::Result<_>>()?;
                Self::Sum { task: text("task")?, number: number("number")?, browsers }
            }
            "suspend" => Self::Suspend,
            "resume" => Self::Resume,
            "kill" => Self::Kill,
            "restart" => Self::Restart,
            "tamper" => Self::Tamper,
            other => anyhow::bail!("no such order: {other:?}"),
        })
    }
}
