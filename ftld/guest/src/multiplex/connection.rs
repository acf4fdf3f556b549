//! One connection of a program, on its way over the stream.
//!
//! Owns its credit both ways and its two ends. Must not know other connections.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use ftl_guest::relay::{FIRST_CREDIT, Frame, MAX_PAYLOAD, WINDOW};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use crate::outgoing::Outgoing;

/// A connection.
pub(super) struct Connection {
    /// The program's.
    pub(super) socket: OwnedFd,
    /// What may be sent to the daemon, bytes.
    credit: usize,
    /// What the program has not taken yet.
    waiting: Vec<u8>,
    /// What it has taken and the daemon was not told of, bytes.
    taken: usize,
    /// The program sends no more.
    program_ended: bool,
    daemon: Daemon,
    /// The program has sent something.
    asked: bool,
    /// The daemon has sent something, and be it an end.
    answered: bool,
    /// The program was told that no more comes.
    shut: bool,
}

/// What the daemon still does with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Daemon {
    /// Reads and writes.
    Open,
    /// Reads.
    Ended,
    /// Nothing.
    Gone,
}

/// The daemon does not keep to its credit.
#[derive(Debug)]
pub(super) struct Overrun;

impl Connection {
    /// One that was just accepted, and that never blocks.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            credit: FIRST_CREDIT,
            waiting: Vec::new(),
            taken: 0,
            program_ended: false,
            daemon: Daemon::Open,
            asked: false,
            answered: false,
            shut: false,
        }
    }

    /// What to wait for; `None` when there is nothing.
    pub(super) fn interest(&self, busy: bool) -> Option<PollFlags> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.can_read() && !busy);
        flags.set(PollFlags::OUT, !self.waiting.is_empty());
        (!flags.is_empty()).then_some(flags)
    }

    fn can_read(&self) -> bool {
        !self.program_ended && self.credit > 0 && self.daemon != Daemon::Gone
    }

    /// Takes bytes for the program.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Overrun> {
        if self.daemon != Daemon::Open || self.waiting.len() + bytes.len() > WINDOW {
            return Err(Overrun);
        }
        self.waiting.extend(bytes);
        self.answered = true;
        Ok(())
    }

    /// Allows more bytes to the daemon.
    pub(super) fn allow(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes as usize).min(WINDOW);
    }

    /// The daemon sends no more.
    pub(super) fn end(&mut self) {
        if self.daemon == Daemon::Open {
            self.daemon = Daemon::Ended;
            self.answered = true;
        }
    }

    /// The daemon neither sends nor reads any more.
    pub(super) fn reset(&mut self) {
        self.daemon = Daemon::Gone;
    }

    /// Reads and writes what can be without waiting; whether it is over.
    pub(super) fn serve(&mut self, id: u32, outgoing: &mut Outgoing) -> io::Result<bool> {
        self.write(id, outgoing)?;
        if self.can_read() && !outgoing.is_busy() {
            self.read(id, outgoing)?;
        }
        let delivered = self.waiting.is_empty();
        if delivered && self.daemon == Daemon::Ended && !self.shut {
            rustix::net::shutdown(&self.socket, Shutdown::Write)?;
            self.shut = true;
        }
        let gone = delivered && self.daemon == Daemon::Gone;
        if gone && self.asked && !self.answered {
            self.refuse();
        }
        Ok(gone || self.program_ended && self.shut)
    }

    /// Has the program see an error, not an empty answer to what it sent: that is what closing a socket of
    /// which everything was read looks like. No answer can be lost by it, because there was none.
    fn refuse(&self) {
        // Only a hint.
        let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    fn write(&mut self, id: u32, outgoing: &mut Outgoing) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        match rustix::net::send(&self.socket, &self.waiting, SendFlags::NOSIGNAL) {
            Ok(count) => {
                self.waiting.drain(..count);
                self.taken += count;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if self.taken >= WINDOW / 2 && self.daemon == Daemon::Open {
            outgoing.add(&Frame::Window { id, bytes: self.taken as u32 });
            self.taken = 0;
        }
        Ok(())
    }

    fn read(&mut self, id: u32, outgoing: &mut Outgoing) -> io::Result<()> {
        let mut bytes = vec![0; self.credit.min(MAX_PAYLOAD)];
        match rustix::net::recv(&self.socket, &mut bytes[..], RecvFlags::empty()) {
            Ok((0, _)) => {
                self.program_ended = true;
                outgoing.add(&Frame::End { id });
            }
            Ok((count, _)) => {
                bytes.truncate(count);
                self.credit -= count;
                self.asked = true;
                outgoing.add(&Frame::Data { id, bytes });
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}
