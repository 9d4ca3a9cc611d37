//! The one way bytes are read and written: little-endian, exact, nothing left over (docs/protocol/round-config.md).

use crate::error::{Reason, Refusal};

/// Takes fields from the front of a message. Every shortfall is [`Reason::Malformed`].
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Reason::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Reason::Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Refusal> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Refusal> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Refusal> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Refusal> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// An IEEE 754 bit pattern; NaN and infinity come through, the caller judges them.
    pub(crate) fn f64(&mut self) -> Result<f64, Refusal> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// UTF-8 of 1 to 255 bytes behind its u16 length.
    pub(crate) fn text(&mut self) -> Result<&'a str, Refusal> {
        let length = usize::from(self.u16()?);
        if !(1..=255).contains(&length) {
            return Err(Reason::Malformed.into());
        }
        std::str::from_utf8(self.take(length)?).map_err(|_| Reason::Malformed.into())
    }

    /// Bytes not taken yet.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Refuses leftovers.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        if self.rest.is_empty() { Ok(()) } else { Err(Reason::Malformed.into()) }
    }
}

/// Appends fields to a message.
#[derive(Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn f64(&mut self, value: f64) -> &mut Self {
        self.u64(value.to_bits())
    }

    /// UTF-8 behind its u16 length.
    ///
    /// # Errors
    /// [`Reason::Malformed`] unless the text has 1 to 255 bytes: the decoder would refuse it.
    pub(crate) fn text(&mut self, text: &str) -> Result<&mut Self, Refusal> {
        match u16::try_from(text.len()) {
            Ok(length @ 1..=255) => Ok(self.u16(length).put(text.as_bytes())),
            _ => Err(Reason::Malformed.into()),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::with_capacity(64);
        writer.u8(1).u16(2).u32(3).u64(4).f64(-0.5).put(&[7; 3]).text("grüße").unwrap();
        let bytes = writer.finish();
        assert_eq!(&bytes[..7], [1, 2, 0, 3, 0, 0, 0], "little-endian");
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u64(), Ok(4));
        assert_eq!(reader.f64(), Ok(-0.5));
        assert_eq!(reader.array(), Ok([7; 3]));
        assert_eq!(reader.text(), Ok("grüße"));
        assert_eq!(reader.remaining(), 0);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn short_long_and_odd_fields_are_malformed() {
        let malformed = Refusal::from(Reason::Malformed);
        assert_eq!(Reader::new(&[1, 2, 3]).u32(), Err(malformed), "one byte short");
        assert_eq!(Reader::new(&[1]).finish(), Err(malformed), "one byte too many");
        assert_eq!(Reader::new(&[0, 0]).text(), Err(malformed), "empty text");
        assert_eq!(Reader::new(&[0, 1]).text(), Err(malformed), "text of 256 bytes");
        assert_eq!(Reader::new(&[1, 0, 0xff]).text(), Err(malformed), "not UTF-8");
        assert_eq!(Reader::new(&[2, 0, b'a']).text(), Err(malformed), "text cut short");
        assert_eq!(Writer::new().text("").err(), Some(malformed));
        assert_eq!(Writer::new().text(&"x".repeat(256)).err(), Some(malformed));
    }
}
