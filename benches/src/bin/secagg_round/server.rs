//! The child: the server's half, one frame after the other.

use std::time::Duration;

use anyhow::{Context, bail};
use scale_benches::{clock, memory};
use scale_secagg::roster::RosterForm;
use scale_secagg::server::{Accumulator, Agreement, Keys, MaskedInput, Shares, SummedUpdate, Unmask};
use serde::{Deserialize, Serialize};

use crate::link::{Kind, Link};
use crate::settings::Settings;

/// What the server's process found out about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServerFigures {
    /// CPU time of all threads per stage, seconds: receiving, answering and closing.
    pub(crate) stages: [f64; 5],
    /// CPU time of the whole process, pipe and start included, seconds.
    pub(crate) process: f64,
    /// Bytes in memory before the first message.
    pub(crate) start_rss: u64,
    /// Most bytes in memory.
    pub(crate) peak_rss: u64,
}

enum Stage {
    Keys(Keys),
    Shares(Shares),
    MaskedInput(MaskedInput, Accumulator),
    Agreement(Agreement, Accumulator),
    Unmask(Unmask, Accumulator),
    Over(SummedUpdate),
}

impl Stage {
    fn number(&self) -> usize {
        match self {
            Self::Keys(_) => 0,
            Self::Shares(_) => 1,
            Self::MaskedInput(..) => 2,
            Self::Agreement(..) => 3,
            Self::Unmask(..) | Self::Over(_) => 4,
        }
    }

    fn receive(&mut self, sender: u32, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Keys(stage) => stage.receive(bytes)?,
            Self::Shares(stage) => stage.receive(sender, bytes)?,
            Self::MaskedInput(stage, sum) => {
                sum.add(stage.config(), bytes)?;
                // Who stores uploads tells retries apart by a digest of its own choice, made while the bytes arrive.
                stage.commit(sender, [0; 32])?
            }
            Self::Agreement(stage, _) => stage.receive(sender, bytes)?,
            Self::Unmask(stage, _) => stage.receive(sender, bytes)?,
            Self::Over(_) => bail!("the session is over"),
        };
        Ok(())
    }

    fn down(&self, i: u32) -> anyhow::Result<Vec<u8>> {
        let bytes = match self {
            Self::Shares(stage) => {
                let (form, roster) = stage.message(i);
                let mut out = vec![u8::from(form == RosterForm::Sparse)];
                out.extend(roster);
                return Ok(out);
            }
            Self::MaskedInput(stage, _) => stage.message(i),
            Self::Agreement(stage, _) => Some(stage.message()),
            Self::Unmask(stage, _) => stage.message(i),
            Self::Keys(_) | Self::Over(_) => None,
        };
        bytes.with_context(|| format!("nothing goes down to participant {i} in stage {}", self.number()))
    }

    fn close(self, settings: &Settings) -> anyhow::Result<Self> {
        Ok(match self {
            Self::Keys(stage) => Self::Shares(stage.close_with(settings.parameters)?),
            Self::Shares(stage) => Self::MaskedInput(stage.close()?, Accumulator::new(&settings.config)),
            Self::MaskedInput(stage, sum) => Self::Agreement(stage.close()?, sum),
            Self::Agreement(stage, sum) => Self::Unmask(stage.close()?, sum),
            Self::Unmask(stage, sum) => Self::Over(stage.close(sum, settings.threads)?),
            Self::Over(_) => bail!("the session is over"),
        })
    }
}

/// Serves the clients' process on standard input and output until the sum is sent.
pub(crate) fn serve(settings: &Settings) -> anyhow::Result<()> {
    let mut link = Link::new(std::io::stdin().lock(), std::io::stdout().lock());
    let start_rss = memory::resident().unwrap_or_default();
    let mut times = [Duration::ZERO; 5];
    let mut stage = Stage::Keys(Keys::new(settings.config.clone(), []));
    let mut buffer = Vec::new();
    loop {
        let (kind, number) = link.receive(&mut buffer)?;
        let time = &mut times[stage.number()];
        match kind {
            Kind::Message => clock::timed(time, || stage.receive(number, &buffer))?,
            Kind::Down => {
                let bytes = clock::timed(time, || stage.down(number))?;
                link.answer(&bytes)?;
            }
            Kind::Close => {
                stage = clock::timed(time, || stage.close(settings))?;
                link.answer(&[])?;
            }
            Kind::Answer => bail!("the clients do not answer"),
        }
        if let Stage::Over(update) = &stage {
            let figures = ServerFigures {
                stages: times.map(|time| time.as_secs_f64()),
                process: clock::process().as_secs_f64(),
                start_rss,
                peak_rss: memory::peak().unwrap_or_default(),
            };
            link.answer(&serde_json::to_vec(&figures)?)?;
            let sum: Vec<u8> = update.vectors.iter().flatten().flat_map(|entry| entry.to_le_bytes()).collect();
            return link.answer(&sum);
        }
    }
}
