//! The daemon's end of the socket to a helper.
//!
//! Owns waiting and the order of frames. Must not know what a message means. What comes from a helper
//! is read as if a hostile program had written it: short, and an error when it is not what it should be.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use ftl_guest::frame::{self, Frame, HEADER, MAX_REPLY, MAX_REQUEST};
use ftl_guest::protocol::{Reply, Request};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// Where requests are put. They leave whole and in order, whatever becomes of who asked.
#[derive(Clone)]
pub(super) struct Requests(mpsc::UnboundedSender<(Vec<u8>, Vec<OwnedFd>)>);

/// Where replies come from.
pub(super) struct Replies(Arc<UnixStream>);

/// Takes the daemon's end of a helper's socket. It is closed when both halves are dropped.
pub(super) fn open(socket: std::os::unix::net::UnixStream) -> io::Result<(Requests, Replies)> {
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UnixStream::from_std(socket)?);
    let (queue, waiting) = mpsc::unbounded_channel();
    tokio::spawn(send_all(Arc::clone(&socket), waiting));
    Ok((Requests(queue), Replies(socket)))
}

async fn send_all(socket: Arc<UnixStream>, mut waiting: mpsc::UnboundedReceiver<(Vec<u8>, Vec<OwnedFd>)>) {
    while let Some((bytes, fds)) = waiting.recv().await {
        if let Err(error) = send(&socket, &bytes, &fds).await {
            // The helper has gone; whoever waits for its replies is told so.
            tracing::debug!(%error, "a sandbox's helper takes no requests");
            return;
        }
    }
}

async fn send(socket: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut sent = 0;
    while sent < bytes.len() {
        let fds = if sent == 0 { &fds[..] } else { &[] };
        let attempt = || frame::send_some(socket.as_fd(), &bytes[sent..], fds);
        sent += socket.async_io(Interest::WRITABLE, attempt).await?;
    }
    Ok(())
}

impl Requests {
    /// Queues a request and the descriptors that go with it.
    pub(super) fn send(&self, request: &Request, fds: Vec<OwnedFd>) -> io::Result<()> {
        let bytes = frame::encode(request)?;
        if bytes.len() - HEADER > MAX_REQUEST {
            // The helper would take it for nonsense and end the sandbox.
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        self.0.send((bytes, fds)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Replies {
    /// Receives the next reply; `None` is the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame<Reply>>> {
        let mut fds = Vec::new();
        let mut header = [0; HEADER];
        if !self.fill(&mut header, &mut fds).await? {
            return Ok(None);
        }
        let mut body = vec![0; frame::announced(header, MAX_REPLY)?];
        if !self.fill(&mut body, &mut fds).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(Frame { message: frame::decode(&body)?, fds }))
    }

    async fn fill(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            let attempt = || frame::receive_some(self.0.as_fd(), &mut buffer[filled..], fds);
            match self.0.async_io(Interest::READABLE, attempt).await? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(true)
    }
}
