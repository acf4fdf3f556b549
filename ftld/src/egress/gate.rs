//! HTTP/1 requests that can be read in one way only.
//!
//! Owns the check of every byte that frames a request before the HTTP library sees it. The library is
//! lenient where the standard allows it (it drops a `Content-Length` beside a `Transfer-Encoding`, and
//! takes a bare line feed for the end of a line), and what it has dropped can no longer be refused. Must
//! not know what requests mean.
//!
//! The library's own reading is what counts for everything else: a mistake here can refuse too much, and
//! lets through nothing that the library would not.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ftl_core::egress::framing::Framing;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The method of the request that stands in for one that is refused here.
pub(super) const STAND_IN: &str = "FTL-REFUSED";

/// What is read at once, bytes.
const PIECE: usize = 16 << 10;

/// A connection whose requests are checked.
pub(super) struct Gate<S> {
    inner: S,
    framing: Framing,
    switch: Arc<Switch>,
    /// What is checked and not yet read, from `read` on.
    ready: Vec<u8>,
    read: usize,
    patience: Duration,
    /// Runs while a head is incomplete.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// What a connection and the service on it tell each other.
#[derive(Default, Debug)]
pub(super) struct Switch {
    raw: AtomicBool,
    fault: OnceLock<&'static str>,
}

impl Switch {
    /// From now on the bytes are no longer requests.
    pub(super) fn upgrade(&self) {
        self.raw.store(true, Ordering::Release);
    }

    /// What was wrong, once a [`STAND_IN`] arrived.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.fault.get().copied()
    }
}

impl<S> Gate<S> {
    /// Checks what arrives on a connection. A head may be `longest` bytes long and take as long as
    /// `patience` from its first byte on.
    pub(super) fn new(inner: S, switch: Arc<Switch>, longest: usize, patience: Duration) -> Self {
        Self {
            inner,
            framing: Framing::new(longest),
            switch,
            ready: Vec::new(),
            read: 0,
            patience,
            deadline: None,
        }
    }

    /// Gives what is ready.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = &self.ready[self.read..];
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.read += count;
        if self.read == self.ready.len() {
            self.read = 0;
            // An idle connection keeps no memory.
            self.ready = Vec::new();
        }
    }

    /// Whether the time for an incomplete head is over.
    fn late(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.framing.in_head() {
            self.deadline = None;
            return false;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        deadline.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.read < this.ready.len() {
                this.give(buf);
                return Poll::Ready(Ok(()));
            }
            if this.switch.raw.load(Ordering::Acquire) || this.framing.is_raw() {
                // What was held back is part of what follows.
                this.ready = this.framing.release();
                if this.ready.is_empty() {
                    return Pin::new(&mut this.inner).poll_read(cx, buf);
                }
                continue;
            }
            if this.framing.is_refused() {
                // The service answers the stand-in and closes; nothing more is read.
                return Poll::Pending;
            }
            let mut space = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut space);
            match Pin::new(&mut this.inner).poll_read(cx, &mut piece) {
                Poll::Pending if this.late(cx) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(done) => done?,
            }
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            if let Err(fault) = this.framing.push(piece.filled(), &mut this.ready) {
                if !this.framing.begin_refusal() {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
                }
                let _ = this.switch.fault.set(fault);
                let head = format!("{STAND_IN} / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n");
                this.ready.extend_from_slice(head.as_bytes());
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
