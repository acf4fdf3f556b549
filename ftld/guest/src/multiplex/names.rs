//! Questions for names, on their way over the stream.
//!
//! Owns who waits for which answer. Must not know what a question means.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ftl_guest::relay::{Frame, LONGEST_QUESTION, MOST_QUESTIONS};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use crate::outgoing::Outgoing;

/// Connections with questions that are open at the same time; the oldest makes room for the next.
const MOST_STREAMS: usize = 16;

/// Everybody who asks.
#[derive(Default)]
pub(super) struct Names {
    /// The number of the last question.
    last: u32,
    waiting: HashMap<u32, Asker>,
    streams: BTreeMap<u32, Stream>,
    /// The number of the last connection.
    last_stream: u32,
}

enum Asker {
    Datagram(SocketAddrV4),
    Stream(u32),
}

/// A connection on which each message has its length in front.
struct Stream {
    socket: OwnedFd,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Whether it waits for an answer; it asks one thing after the other.
    waits: bool,
}

impl Names {
    /// Whether another question may be asked.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MOST_QUESTIONS
    }

    /// The connections for which something is waited for.
    pub(super) fn streams(&self, busy: bool) -> impl Iterator<Item = (u32, BorrowedFd<'_>, PollFlags)> {
        let may_ask = !busy && self.has_room();
        self.streams.iter().filter_map(move |(id, stream)| {
            let flags = match (stream.output.is_empty(), stream.waits) {
                (false, _) => PollFlags::OUT,
                (true, false) if may_ask => PollFlags::IN,
                (true, _) => return None,
            };
            Some((*id, stream.socket.as_fd(), flags))
        })
    }

    /// Takes a question from a datagram.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, outgoing: &mut Outgoing) -> io::Result<()> {
        let mut buffer = [0; LONGEST_QUESTION];
        match rustix::net::recvfrom(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((length, _, Some(asker))) => {
                if let Ok(asker) = SocketAddrV4::try_from(asker) {
                    self.ask(Asker::Datagram(asker), &buffer[..length], outgoing);
                }
                Ok(())
            }
            // Nobody to answer; or it tells of an answer that did not arrive.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::CONNREFUSED) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes a connection.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Room first: what is open may be all that this process can have.
        if self.streams.len() >= MOST_STREAMS {
            self.streams.pop_first();
        }
        if let Ok(socket) = rustix::net::accept_with(listener, flags) {
            self.last_stream = self.last_stream.wrapping_add(1);
            let stream = Stream { socket, input: Vec::new(), output: Vec::new(), waits: false };
            self.streams.insert(self.last_stream, stream);
        }
    }

    /// Reads or writes what can be of a connection.
    pub(super) fn serve(&mut self, id: u32, outgoing: &mut Outgoing) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let question = if stream.output.is_empty() { stream.read() } else { stream.write().map(|()| None) };
        match question {
            Ok(None) => {}
            Ok(Some(message)) => self.ask(Asker::Stream(id), &message, outgoing),
            Err(_) => drop(self.streams.remove(&id)),
        }
    }

    fn ask(&mut self, asker: Asker, message: &[u8], outgoing: &mut Outgoing) {
        // Numbers may come again after a long time, but not while somebody waits for one.
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.waiting.contains_key(&self.last) {
                break;
            }
        }
        self.waiting.insert(self.last, asker);
        outgoing.add(&Frame::Query { id: self.last, message: message.into() });
    }

    /// Gives an answer to who waits for it; an empty one is none.
    pub(super) fn answer(&mut self, id: u32, message: &[u8], datagrams: BorrowedFd<'_>) {
        match self.waiting.remove(&id) {
            None => {}
            Some(Asker::Datagram(asker)) if !message.is_empty() => {
                // An answer for which there is no room is lost, as datagrams are.
                let _ = rustix::net::sendto(datagrams, message, SendFlags::NOSIGNAL, &asker);
            }
            Some(Asker::Datagram(_)) => {}
            Some(Asker::Stream(id)) => {
                let length = u16::try_from(message.len()).ok().filter(|length| *length > 0);
                match (self.streams.get_mut(&id), length) {
                    (Some(stream), Some(length)) => {
                        stream.waits = false;
                        stream.output.extend(length.to_be_bytes());
                        stream.output.extend(message);
                    }
                    _ => drop(self.streams.remove(&id)),
                }
            }
        }
    }
}

impl Stream {
    /// Reads, and gives a question that is whole. The end of a connection is an error.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = self.input.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
        // Never more than one question, so that nothing is left behind it.
        let wanted = length.map_or(2, |length| length + 2) - self.input.len();
        let mut buffer = [0; LONGEST_QUESTION + 2];
        let Some(room) = buffer.get_mut(..wanted) else { return Err(io::ErrorKind::InvalidData.into()) };
        match rustix::net::recv(&self.socket, &mut *room, RecvFlags::empty()) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((count, _)) => self.input.extend(&room[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        match self.input.split_first_chunk() {
            Some((length, message)) if message.len() == usize::from(u16::from_be_bytes(*length)) => {
                let message = message.to_vec();
                self.input.clear();
                self.waits = true;
                Ok(Some(message))
            }
            _ => Ok(None),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match rustix::net::send(&self.socket, &self.output, SendFlags::NOSIGNAL) {
            Ok(count) => drop(self.output.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}
