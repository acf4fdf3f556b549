//! A connection that can be closed from here.
//!
//! Owns the switch between a connection's bytes and whoever reads and writes them, so that closing works
//! the same for an idle connection, one in use and one that was upgraded to another protocol. Must not
//! know what the bytes are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::pipe::Stream;

/// A connection's bytes, until its token is cancelled. `G` is let go together with the connection.
pub(super) struct Line<G> {
    stream: Box<dyn Stream>,
    // One for each direction: two tasks may wait at once, and a wait wakes only one.
    no_read: Pin<Box<WaitForCancellationFutureOwned>>,
    no_write: Pin<Box<WaitForCancellationFutureOwned>>,
    _guard: G,
}

impl<G> Line<G> {
    /// This stream until `closed` is cancelled.
    pub(super) fn new(stream: Box<dyn Stream>, closed: &CancellationToken, guard: G) -> Self {
        let wait = || Box::pin(closed.clone().cancelled_owned());
        Self { stream, no_read: wait(), no_write: wait(), _guard: guard }
    }
}

fn open(
    closed: &mut Pin<Box<WaitForCancellationFutureOwned>>,
    cx: &mut Context<'_>,
) -> Result<(), io::Error> {
    match closed.as_mut().poll(cx) {
        Poll::Pending => Ok(()),
        Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

impl<G: Unpin> AsyncRead for Line<G> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        open(&mut self.no_read, cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<G: Unpin> AsyncWrite for Line<G> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        open(&mut self.no_write, cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        open(&mut self.no_write, cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        open(&mut self.no_write, cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        open(&mut self.no_write, cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
