//! Limits on the size, number and age of examples.

use std::time::Duration;

use super::{ExampleError, TextExample};

/// Longest id, in bytes.
pub const ID_BYTES: usize = 128;
/// Longest label, in bytes.
pub const LABEL_BYTES: usize = 64;

/// Limits on the examples that are stored on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExampleLimits {
    /// Largest number of examples. Beyond it the oldest are deleted.
    pub examples: u32,
    /// Longest text, in bytes. Longer texts are refused.
    pub text_bytes: u32,
    /// Largest age by the device's clock. Older examples are deleted.
    pub age: Duration,
}

impl Default for ExampleLimits {
    /// 20,000 examples, 512 bytes of text, 400 days.
    fn default() -> Self {
        Self { examples: 20_000, text_bytes: 512, age: Duration::from_secs(400 * 24 * 60 * 60) }
    }
}

impl ExampleLimits {
    /// Checks that all of the examples are within the limits on sizes.
    ///
    /// # Errors
    /// [`ExampleError`] for the first example that is not.
    pub(super) fn check(&self, examples: &[TextExample]) -> Result<(), ExampleError> {
        for (position, TextExample { id, text, label, .. }) in examples.iter().enumerate() {
            if id.is_empty() {
                return Err(ExampleError::EmptyId { position });
            }
            if id.len() > ID_BYTES {
                return Err(ExampleError::LongId { start: id.chars().take(32).collect(), bytes: id.len() });
            }
            if label.is_empty() {
                return Err(ExampleError::EmptyLabel { id: id.clone() });
            }
            if label.len() > LABEL_BYTES {
                return Err(ExampleError::LongLabel { id: id.clone(), bytes: label.len() });
            }
            if text.len() > self.text_bytes as usize {
                return Err(ExampleError::LongText { id: id.clone(), bytes: text.len(), limit: self.text_bytes });
            }
        }
        Ok(())
    }
}
