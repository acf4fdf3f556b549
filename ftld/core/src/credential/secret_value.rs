//! A real value, for as short a time as possible.
//!
//! Owns that a real value is not printed, not written out and not left in memory. Must not know where
//! values come from or go to.

use zeroize::Zeroizing;

/// A real value. It has no `Debug`, `Display` or `Serialize`, so that no log, event or error can hold it
/// by accident, and its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value into care.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Whoever asks must be about to send or compare it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value.to_owned())
    }
}
