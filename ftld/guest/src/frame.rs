//! How messages travel: four bytes of length (little endian), then JSON, on a stream socket.
//!
//! Owns the framing and the passing of descriptors, which ride on a frame's first byte. Must not know
//! what a message means. [`send_some`] and [`receive_some`] are single system calls, so that an async
//! caller can wrap them; [`send`] and [`receive`] are the blocking form.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes that a message to the helper may have: more than a program's arguments can.
pub const MAX_REQUEST: usize = 32 << 20;

/// The most bytes that a message from the helper may have. Its neighbours are hostile, so it is small.
pub const MAX_REPLY: usize = 64 << 10;

/// The most descriptors that a frame carries.
pub const MAX_FDS: usize = 4;

/// Bytes before the message.
pub const HEADER: usize = 4;

/// A frame as it arrived.
#[derive(Debug)]
pub struct Frame<T> {
    /// The message.
    pub message: T,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

/// The bytes of a message's frame.
///
/// # Errors
/// When the message cannot be JSON or is longer than a length can say.
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - HEADER).map_err(|_| malformed("a message is too long"))?;
    bytes[..HEADER].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// The length that a header announces.
///
/// # Errors
/// When it is more than `limit`.
pub fn announced(header: [u8; HEADER], limit: usize) -> io::Result<usize> {
    let length = u32::from_le_bytes(header) as usize;
    if length > limit { Err(malformed("a message is longer than allowed")) } else { Ok(length) }
}

/// A message from its JSON.
///
/// # Errors
/// When the bytes are not one.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(bytes)?)
}

/// One `sendmsg`: sends what the socket takes, and the descriptors with the first byte.
///
/// # Errors
/// Those of the system; `WouldBlock` on a socket that does not block.
pub fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(malformed("too many descriptors for a frame"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// One `recvmsg`: fills the start of `buffer`, adds the descriptors that came to `fds`. Zero is the end.
///
/// # Errors
/// Those of the system; `WouldBlock` on a socket that does not block.
pub fn receive_some(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(received)
}

/// Sends a message and its descriptors, blocking.
///
/// # Errors
/// Those of [`encode`] and of the system.
pub fn send(socket: impl AsFd, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = encode(message)?;
    let mut sent = 0;
    while sent < bytes.len() {
        let fds = if sent == 0 { fds } else { &[] };
        match send_some(socket.as_fd(), &bytes[sent..], fds) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Receives a message of at most `limit` bytes, blocking. `None` is the end between two messages.
///
/// # Errors
/// When the stream ends within a message, the message is none, or the system says so.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd, limit: usize) -> io::Result<Option<Frame<T>>> {
    let mut fds = Vec::new();
    let mut header = [0; HEADER];
    if !fill(socket.as_fd(), &mut header, &mut fds)? {
        return Ok(None);
    }
    let mut body = vec![0; announced(header, limit)?];
    if !fill(socket.as_fd(), &mut body, &mut fds)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Frame { message: decode(&body)?, fds }))
}

fn fill(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match receive_some(socket, &mut buffer[filled..], fds) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::protocol::{Exit, Reply, Request};

    #[test]
    fn messages_arrive_in_order_with_their_own_descriptors() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut pipe_read, pipe_write) = std::io::pipe().unwrap();
        send(&here, &Request::IdsMapped, &[]).unwrap();
        send(&here, &Request::Signal { id: 7, signal: 15 }, &[pipe_write.as_fd()]).unwrap();
        drop((here, pipe_write));

        let first: Frame<Request> = receive(&there, MAX_REQUEST).unwrap().unwrap();
        assert_eq!(first.message, Request::IdsMapped);
        assert!(first.fds.is_empty());
        let mut second: Frame<Request> = receive(&there, MAX_REQUEST).unwrap().unwrap();
        assert_eq!(second.message, Request::Signal { id: 7, signal: 15 });
        std::fs::File::from(second.fds.remove(0)).write_all(b"through").unwrap();
        let mut text = String::new();
        pipe_read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        assert!(receive::<Request>(&there, MAX_REQUEST).unwrap().is_none());
    }

    #[test]
    fn a_stream_that_ends_or_lies_within_a_message_is_an_error() {
        let bytes = encode(&Reply::Exited { id: 1, status: Exit::Code(0) }).unwrap();
        for cut in 1..bytes.len() {
            let (mut here, there) = UnixStream::pair().unwrap();
            here.write_all(&bytes[..cut]).unwrap();
            drop(here);
            assert!(receive::<Reply>(&there, MAX_REPLY).is_err(), "cut at {cut}");
        }
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(receive::<Reply>(&there, MAX_REPLY).is_err());
    }
}
