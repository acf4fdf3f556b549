//! The standard streams of a container, over an attached connection.
//!
//! Owns the taking apart of what the engine sends: standard output is read as it is, the last of standard
//! error is kept to explain an end. Must not know what the streams carry. Nothing is read ahead: a reader
//! that does not read makes the container wait.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bollard::container::{AttachContainerResults, LogOutput};
use bytes::{Buf as _, Bytes};
use futures_util::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::super::{Reader, Writer};

/// The most of standard error that is kept, in bytes.
const KEPT: usize = 4096;

/// A container's standard streams. Dropping both ends closes the connection.
pub struct Attached {
    /// Its standard input; shutting it down ends it.
    pub stdin: Writer,
    /// Its standard output.
    pub stdout: Reader,
    /// The last of its standard error, as far as standard output was read.
    pub complaint: Complaint,
}

/// The last of a container's standard error.
#[derive(Clone, Default)]
pub struct Complaint(Arc<Mutex<VecDeque<u8>>>);

type Outputs = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

struct Stdout {
    outputs: Outputs,
    rest: Bytes,
    complaint: Complaint,
}

impl Attached {
    /// Takes an attached connection.
    pub(super) fn new(attached: AttachContainerResults) -> Self {
        let complaint = Complaint::default();
        let stdout = Stdout { outputs: attached.output, rest: Bytes::new(), complaint: complaint.clone() };
        Self { stdin: Box::new(attached.input), stdout: Box::new(stdout), complaint }
    }
}

impl Complaint {
    /// What there is, as text without control characters but line ends.
    #[must_use]
    pub fn text(&self) -> String {
        let kept: Vec<u8> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let text = String::from_utf8_lossy(&kept);
        text.trim().chars().filter(|c| *c == '\n' || !c.is_control()).collect()
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&bytes[bytes.len().saturating_sub(KEPT)..]);
        let over = kept.len().saturating_sub(KEPT);
        kept.drain(..over);
    }
}

impl AsyncRead for Stdout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.outputs.as_mut().poll_next(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(LogOutput::StdOut { message })) => self.rest = message,
                Some(Ok(LogOutput::StdErr { message })) => self.complaint.keep(&message),
                // Without a terminal there is no such frame.
                Some(Ok(LogOutput::StdIn { .. } | LogOutput::Console { .. })) => {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn attached(frames: Vec<LogOutput>) -> Attached {
        let output = Box::pin(stream::iter(frames.into_iter().map(Ok)));
        Attached::new(AttachContainerResults { output, input: Box::pin(tokio::io::sink()) })
    }

    #[tokio::test]
    async fn output_and_errors_are_taken_apart() {
        let out = |text: &'static str| LogOutput::StdOut { message: text.into() };
        let err = |text: String| LogOutput::StdErr { message: text.into() };
        let mut attached = attached(vec![
            out("one "),
            err("x".repeat(9000)),
            err("\u{1b}[31mwhy\n".into()),
            out(""),
            out("two"),
        ]);
        let mut text = String::new();
        attached.stdout.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one two");
        let complaint = attached.complaint.text();
        assert!(complaint.ends_with("x[31mwhy") && complaint.len() < KEPT, "{complaint}");
    }

    #[tokio::test]
    async fn what_is_not_framed_is_an_error() {
        let mut attached = attached(vec![LogOutput::Console { message: "x".into() }]);
        let error = attached.stdout.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
