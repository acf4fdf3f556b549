//! A program's standard descriptors, seen from the daemon.
//!
//! Owns pipes and terminals as async streams. Must not know programs.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ftl_guest::protocol::Size;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use super::super::{Reader, Writer};

/// Three pipes: the program's ends, then the daemon's.
pub(super) struct Pipes {
    /// Standard input, output and error of the program.
    pub(super) program: [OwnedFd; 3],
    /// Its standard input, to write.
    pub(super) stdin: Writer,
    /// Its standard output, to read.
    pub(super) stdout: Reader,
    /// Its standard error, to read.
    pub(super) stderr: Reader,
}

/// The daemon's end of a program's terminal. Both directions share it.
#[derive(Clone)]
pub(super) struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Pipes {
    /// Makes them.
    pub(super) fn new() -> io::Result<Self> {
        let pair = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let ((stdin, to_program), (from_program, stdout), (errors, stderr)) = (pair()?, pair()?, pair()?);
        Ok(Self {
            program: [stdin, stdout, stderr],
            stdin: Box::new(pipe::Sender::from_owned_fd(to_program)?),
            stdout: Box::new(pipe::Receiver::from_owned_fd(from_program)?),
            stderr: Box::new(pipe::Receiver::from_owned_fd(errors)?),
        })
    }
}

impl Terminal {
    /// Takes the daemon's end.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        // SAFETY: an owned descriptor is the same open one as long as it lives.
        Ok(Self(Arc::new(unsafe { AsyncFd::register(fd) }?)))
    }

    /// Gives the terminal another size; its programs are told.
    pub(super) fn resize(&self, size: Size) -> io::Result<()> {
        let size =
            rustix::termios::Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(self.0.as_fd(), size)?)
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            match guard.try_io(|fd| match rustix::io::read(fd, &mut *room) {
                // A terminal that no program has open any more has ended.
                Err(Errno::IO) => Ok(0),
                result => Ok(result?),
            }) {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(result) = guard.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A terminal has no end of input; whoever wants one writes its end-of-file character.
    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
