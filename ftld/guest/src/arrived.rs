//! Bytes of a stream that have arrived and were not understood yet.
//!
//! Owns them until a decoder has taken a whole frame. Must not know what frames are.

/// Bytes as they arrive.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    bytes: Vec<u8>,
    /// How many of them were taken already.
    taken: usize,
}

impl Arrived {
    /// Adds bytes as they arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend(bytes);
    }

    /// What was not taken yet.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// So many bytes at the beginning of the rest were a frame.
    pub(crate) fn take(&mut self, count: usize) {
        self.taken += count;
    }
}
