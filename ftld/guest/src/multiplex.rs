//! A sandbox's way out over one stream of bytes.
//!
//! Owns the loop between the sandbox's sockets and the stream. Must not know what connections are for.
//! It is for sandboxes whose sockets cannot be handed to the daemon, because they are on another kernel.
//! One thread: what is slow is not waited for, and what the stream does not take is not read.

mod connection;
mod names;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ftl_guest::relay::{Decoder, Frame, MOST_CONNECTIONS};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{Resource, Rlimit};

use crate::net::Doors;
use crate::outgoing::Outgoing;
use connection::Connection;
use names::Names;

/// Everything that is waited for.
#[derive(Clone, Copy)]
enum Source {
    Over,
    Input,
    Output,
    Proxy,
    Transparent,
    Datagrams,
    NameListener,
    Connection(u32),
    NameStream(u32),
}

struct Multiplexer<'a> {
    doors: Doors,
    /// Becomes readable when there is nothing left to serve for.
    over: Option<BorrowedFd<'a>>,
    input: OwnedFd,
    output: OwnedFd,
    decoder: Decoder,
    outgoing: Outgoing,
    connections: BTreeMap<u32, Connection>,
    /// The number of the last connection.
    last: u32,
    /// Whether this process could take no more connections; until one is closed.
    crowded: bool,
    names: Names,
}

/// Serves until the stream ends or `over` can be read. `input` and `output` may be the same socket.
pub(crate) fn serve(
    doors: Doors,
    input: OwnedFd,
    output: OwnedFd,
    over: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    allow_descriptors()?;
    let mut multiplexer = Multiplexer {
        doors,
        over,
        input,
        output,
        decoder: Decoder::default(),
        outgoing: Outgoing::default(),
        connections: BTreeMap::new(),
        last: 0,
        crowded: false,
        names: Names::default(),
    };
    multiplexer.run()
}

/// Allows itself as many descriptors as it may.
pub(crate) fn allow_descriptors() -> rustix::io::Result<()> {
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
}

impl Multiplexer<'_> {
    fn run(&mut self) -> io::Result<()> {
        for fd in [self.input.as_fd(), self.output.as_fd()].into_iter().chain(self.doors.descriptors()) {
            let flags = rustix::fs::fcntl_getfl(fd)?;
            rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?;
        }
        self.outgoing.add(&Frame::Hello { redirected: self.doors.transparent.is_ok() });
        loop {
            for source in self.wait()? {
                match source {
                    Source::Over => return Ok(()),
                    Source::Input => {
                        if !self.hear()? {
                            return Ok(());
                        }
                    }
                    Source::Output => self.outgoing.flush(self.output.as_fd())?,
                    Source::Proxy => self.accept(false)?,
                    Source::Transparent => self.accept(true)?,
                    Source::Datagrams => {
                        self.names.receive(self.doors.names.as_fd(), &mut self.outgoing)?;
                    }
                    Source::NameListener => self.names.accept(self.doors.names_stream.as_fd()),
                    Source::Connection(id) => self.serve_connection(id),
                    Source::NameStream(id) => self.names.serve(id, &mut self.outgoing),
                }
            }
        }
    }

    /// Waits for whatever can be done next.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let busy = self.outgoing.is_busy();
        let mut wanted = vec![(Source::Input, self.input.as_fd(), PollFlags::IN)];
        wanted.extend(self.over.map(|over| (Source::Over, over, PollFlags::IN)));
        if self.outgoing.waiting() > 0 {
            wanted.push((Source::Output, self.output.as_fd(), PollFlags::OUT));
        }
        if !busy && !self.crowded && self.connections.len() < MOST_CONNECTIONS {
            wanted.push((Source::Proxy, self.doors.proxy.as_fd(), PollFlags::IN));
            let transparent = self.doors.transparent.as_ref();
            wanted.extend(transparent.map(|door| (Source::Transparent, door.as_fd(), PollFlags::IN)));
        }
        if !busy && self.names.has_room() {
            wanted.push((Source::Datagrams, self.doors.names.as_fd(), PollFlags::IN));
            wanted.push((Source::NameListener, self.doors.names_stream.as_fd(), PollFlags::IN));
        }
        let connections = self.connections.iter();
        wanted.extend(connections.filter_map(|(id, connection)| {
            let flags = connection.interest(busy)?;
            Some((Source::Connection(*id), connection.socket.as_fd(), flags))
        }));
        wanted.extend(
            self.names.streams(busy).map(|(id, socket, flags)| (Source::NameStream(id), socket, flags)),
        );
        let mut polled: Vec<PollFd<'_>> =
            wanted.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = wanted.iter().zip(&polled).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((source, ..), _)| *source).collect())
    }

    /// Reads from the stream and does what it says; `false` when it has ended.
    fn hear(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 64 << 10];
        match rustix::io::read(&self.input, &mut buffer[..]) {
            Ok(0) => return Ok(false),
            Ok(count) => self.decoder.push(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
        while let Some(frame) = self.decoder.next_frame().map_err(|_| malformed())? {
            self.obey(frame)?;
        }
        Ok(true)
    }

    fn obey(&mut self, frame: Frame) -> io::Result<()> {
        let id = match &frame {
            Frame::Data { id, .. } | Frame::Window { id, .. } | Frame::End { id } | Frame::Reset { id } => {
                *id
            }
            Frame::Answer { id, message } => {
                self.names.answer(*id, message, self.doors.names.as_fd());
                return Ok(());
            }
            Frame::Hello { .. } | Frame::Open { .. } | Frame::Query { .. } => return Err(malformed()),
        };
        // One that is over here may still be spoken of there.
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        match frame {
            Frame::Data { bytes, .. } => connection.take(&bytes).map_err(|_| malformed())?,
            Frame::Window { bytes, .. } => connection.allow(bytes),
            Frame::End { .. } => connection.end(),
            _ => connection.reset(),
        }
        self.serve_connection(id);
        Ok(())
    }

    fn accept(&mut self, redirected: bool) -> io::Result<()> {
        if self.connections.len() >= MOST_CONNECTIONS {
            return Ok(());
        }
        let door = match (&self.doors.transparent, redirected) {
            (Ok(transparent), true) => transparent,
            _ => &self.doors.proxy,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match rustix::net::accept_with(door, flags) {
            Ok(socket) => socket,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                self.crowded = !self.connections.is_empty();
                return Ok(());
            }
            // It has gone before it was accepted.
            Err(_) => return Ok(()),
        };
        let origin = match redirected {
            false => None,
            true => match rustix::net::sockopt::ip_original_dst(&socket) {
                Ok(origin) if !origin.ip().is_loopback() => Some(origin),
                // Who came straight to the door wanted to go nowhere.
                _ => return Ok(()),
            },
        };
        // Only a hint.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        let id = self.last.checked_add(1).ok_or_else(malformed)?;
        self.last = id;
        self.outgoing.add(&Frame::Open { id, origin });
        self.connections.insert(id, Connection::new(socket));
        Ok(())
    }

    /// Reads and writes what can be read and written of a connection, and forgets it when it is over.
    fn serve_connection(&mut self, id: u32) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let over = match connection.serve(id, &mut self.outgoing) {
            Ok(over) => over,
            Err(_) => {
                self.outgoing.add(&Frame::Reset { id });
                true
            }
        };
        if over {
            self.connections.remove(&id);
            self.crowded = false;
        }
    }
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
