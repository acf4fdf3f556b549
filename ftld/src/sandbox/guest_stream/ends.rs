//! A program's ends, as whoever started it has them.
//!
//! Owns that dropping one lets go of it. Must not know how bytes travel.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use ftl_guest::protocol::Size;
use ftl_guest::stream::Channel;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::{ProcessControl, SandboxError};
use super::state::Shared;
use super::{End, ended};

/// A program's standard input.
pub(super) struct Input {
    id: u64,
    /// A terminal has no end of input; whoever wants one writes its end-of-file character.
    is_terminal: bool,
    shared: Arc<Shared>,
}

/// One of its outputs.
pub(super) struct Output {
    id: u64,
    channel: Channel,
    shared: Arc<Shared>,
}

/// Acts on it.
pub(super) struct Handle {
    id: u64,
    shared: Arc<Shared>,
    end: End,
}

impl Input {
    /// The input of a program that was just asked for.
    pub(super) fn new(id: u64, is_terminal: bool, shared: Arc<Shared>) -> Self {
        Self { id, is_terminal, shared }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.shared.end_input(self.id);
    }
}

impl AsyncWrite for Input {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.poll_write(self.id, context, bytes)
    }

    /// As with a pipe, what was written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_terminal {
            self.shared.end_input(self.id);
        }
        Poll::Ready(Ok(()))
    }
}

impl Output {
    /// An output of a program that was just asked for.
    pub(super) fn new(id: u64, channel: Channel, shared: Arc<Shared>) -> Self {
        Self { id, channel, shared }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.shared.forget(self.id, self.channel);
    }
}

impl AsyncRead for Output {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.shared.poll_read((self.id, self.channel), context, buffer)
    }
}

impl Handle {
    /// For a program that has begun.
    pub(super) fn new(id: u64, shared: Arc<Shared>, end: End) -> Self {
        Self { id, shared, end }
    }
}

#[async_trait]
impl ProcessControl for Handle {
    async fn signal(&self, signal: i32) -> Result<(), SandboxError> {
        match self.shared.signal(self.id, signal) {
            Ok(()) => Ok(()),
            Err(_) => Err(ended(self.end.clone()).await),
        }
    }

    fn resize(&self, size: Size) -> Result<(), SandboxError> {
        let failed = |source| SandboxError::Helper { act: "resizing a terminal", source };
        self.shared.resize(self.id, size).map_err(failed)
    }
}
