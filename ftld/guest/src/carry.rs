//! How a sandbox's way out reaches the daemon.
//!
//! Owns the choice between handing over the sockets and carrying bytes, and who carries: the launcher,
//! which no program in the sandbox can see or end, or a process that is started for nothing else. Must
//! not know what is carried. Whoever carries has no rights left, and runs under the sandbox's own filter
//! of system calls.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ftl_guest::protocol::{At, Carrier, Failure, Network, Stage};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::net::{self, Doors};
use crate::{multiplex, privileges, seccomp};

/// A sandbox's way out.
pub(crate) struct Way {
    doors: Doors,
    stream: Option<Stream>,
}

/// Both ends of the stream that carries it.
struct Stream {
    near: OwnedFd,
    far: OwnedFd,
}

impl Way {
    /// A way by the sockets that were opened.
    pub(crate) fn new(doors: Doors, carrier: Carrier) -> Result<Self, Failure> {
        let stream = match carrier {
            Carrier::Descriptors => None,
            Carrier::Stream => {
                let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
                let (near, far) = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None)
                    .at(Stage::Network, "making a stream")?;
                Some(Stream { near, far })
            }
        };
        Ok(Self { doors, stream })
    }

    /// Its sockets in the sandbox.
    pub(crate) fn doors(&self) -> &Doors {
        &self.doors
    }

    /// What the daemon gets.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.stream {
            None => self.doors.descriptors(),
            Some(stream) => vec![stream.far.as_fd()],
        }
    }

    /// Carries bytes, if that is how it goes, for a process without rights; until the stream ends or
    /// `over` can be read. A new process of this one would be in the sandbox, and threads it may not
    /// have, so it does nothing else meanwhile.
    pub(crate) fn carry(self, over: BorrowedFd<'_>) -> io::Result<()> {
        let Some(Stream { near, far }) = self.stream else { return Ok(()) };
        drop(far);
        seccomp::install().map_err(io::Error::other)?;
        multiplex::serve(self.doors, near.try_clone()?, near, Some(over))
    }
}

/// Is the relay of a sandbox whose network nothing outside can join: one of its programs, without any right, that
/// carries what the others send to the proxy's address. Whoever ends it ends the way out of the same sandbox.
pub(crate) fn relay_inside() -> Result<(), Failure> {
    stream(net::open_inside()?)
}

/// Is the relay of a sandbox on another kernel: in its network namespace, with the rights to configure
/// that, and the stream as standard input and output. Runs until the stream ends.
pub(crate) fn relay() -> Result<(), Failure> {
    let Some(doors) = net::open(Network::Egress)? else { return Ok(()) };
    privileges::drop_held()?;
    seccomp::install()?;
    stream(doors)
}

/// Serves over standard input and output.
fn stream(doors: Doors) -> Result<(), Failure> {
    let stage = Stage::Network;
    let copy = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3).at(stage, "taking the stream");
    let (input, output) = (copy(rustix::stdio::stdin())?, copy(rustix::stdio::stdout())?);
    multiplex::serve(doors, input, output, None).at(stage, "carrying")
}
