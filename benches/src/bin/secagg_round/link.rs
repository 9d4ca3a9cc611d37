//! The pipe between the clients' process and the server's: frames of a kind, a number and bytes.

use std::io::{BufReader, BufWriter, Read, Write};

use anyhow::{Context, ensure};

/// What a frame asks for or brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A message of the open stage from the participant with this number.
    Message = b'm',
    /// What goes down to the participant with this number?
    Down = b'd',
    /// Close the open stage.
    Close = b'c',
    /// The answer.
    Answer = b'a',
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        [Self::Message, Self::Down, Self::Close, Self::Answer].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One end of the pipe.
pub(crate) struct Link<R: Read, W: Write> {
    input: BufReader<R>,
    output: BufWriter<W>,
}

impl<R: Read, W: Write> Link<R, W> {
    pub(crate) fn new(input: R, output: W) -> Self {
        Self { input: BufReader::with_capacity(1 << 16, input), output: BufWriter::with_capacity(1 << 16, output) }
    }

    pub(crate) fn send(&mut self, kind: Kind, number: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let mut head = [0; 13];
        head[0] = kind as u8;
        head[1..5].copy_from_slice(&number.to_le_bytes());
        head[5..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.output.write_all(&head)?;
        self.output.write_all(bytes)?;
        Ok(())
    }

    /// Reads one frame into `buffer`, which keeps its memory.
    pub(crate) fn receive(&mut self, buffer: &mut Vec<u8>) -> anyhow::Result<(Kind, u32)> {
        self.output.flush()?;
        let mut head = [0; 13];
        self.input.read_exact(&mut head).context("the other side is gone")?;
        let kind = Kind::parse(head[0]).with_context(|| format!("no such frame: {}", head[0]))?;
        let number = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let mut len = [0; 8];
        len.copy_from_slice(&head[5..]);
        buffer.resize(usize::try_from(u64::from_le_bytes(len))?, 0);
        self.input.read_exact(buffer)?;
        Ok((kind, number))
    }

    /// Sends, and waits for the answer.
    pub(crate) fn ask(&mut self, kind: Kind, number: u32) -> anyhow::Result<Vec<u8>> {
        self.send(kind, number, &[])?;
        let mut answer = Vec::new();
        let (kind, _) = self.receive(&mut answer)?;
        ensure!(kind == Kind::Answer, "an answer was expected, not {kind:?}");
        Ok(answer)
    }

    /// Answers, at once.
    pub(crate) fn answer(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.send(Kind::Answer, 0, bytes)?;
        Ok(self.output.flush()?)
    }
}
