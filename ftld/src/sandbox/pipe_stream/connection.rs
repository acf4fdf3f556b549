//! One connection on a stream, as bytes both ways.
//!
//! Owns its number; dropping it ends the connection. Must not know how bytes travel.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Link;
use super::state::Shared;

/// A connection.
pub(super) struct Connection {
    id: u32,
    shared: Arc<Shared>,
    _link: Arc<Link>,
}

impl Connection {
    /// The one that was just opened.
    pub(super) fn new(id: u32, shared: Arc<Shared>, link: Arc<Link>) -> Self {
        Self { id, shared, _link: link }
    }

    /// Says that somebody has taken it.
    pub(super) fn welcome(&self) {
        self.shared.welcome(self.id);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.forget(self.id);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.shared.poll_read(self.id, context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.poll_write(self.id, context, bytes)
    }

    /// As with a socket, what was written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.end(self.id);
        Poll::Ready(Ok(()))
    }
}
