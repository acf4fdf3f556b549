//! Frames that wait for a stream.
//!
//! Owns their bytes until the stream takes them. Must not know what they mean.

use std::os::fd::BorrowedFd;

use ftl_guest::{relay, stream};
use rustix::io::Errno;

/// What may wait for the stream before nothing more is read for it, bytes.
const BUSY: usize = 1 << 20;

/// Frames that wait for the stream.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

/// What can be sent.
pub(crate) trait Encode {
    /// Adds its bytes to `out`.
    fn encode(&self, out: &mut Vec<u8>);
}

impl Encode for relay::Frame {
    fn encode(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
}

impl Encode for stream::Reply {
    fn encode(&self, out: &mut Vec<u8>) {
        stream::Frame::encode(self, out);
    }
}

impl Outgoing {
    /// Sends a frame as soon as the stream takes it.
    pub(crate) fn add(&mut self, frame: &impl Encode) {
        frame.encode(&mut self.bytes);
    }

    /// Whether so much waits that nothing more should be read for it.
    pub(crate) fn is_busy(&self) -> bool {
        self.waiting() > BUSY
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Gives the stream what it takes.
    pub(crate) fn flush(&mut self, output: BorrowedFd<'_>) -> std::io::Result<()> {
        match rustix::io::write(output, &self.bytes[self.sent..]) {
            Ok(count) => self.sent += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if self.sent == self.bytes.len() || self.sent > BUSY {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }
}
