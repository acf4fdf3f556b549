//! One program, and this process's ends of its pipes or of its terminal.
//!
//! Owns credit, what waits to be read by the program, and when its end may be told. Must not know other
//! programs. What a program had written when it ended is told before its end, as with pipes of one's own;
//! what its children still write comes later.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ftl_guest::protocol::{Exit, Size, Spawn};
use ftl_guest::stream::{Channel, MAX_PAYLOAD, Reply, WINDOW};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::malformed;
use crate::outgoing::Outgoing;
use crate::spawn::{self, SpawnError, Started, Step};

/// One of the ends that are waited for.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// Its standard input.
    Input,
    /// One of its outputs.
    Output(Channel),
}

/// A program.
pub(super) struct Program {
    state: State,
    input: Option<Inlet>,
    output: Option<Outlet>,
    errors: Option<Outlet>,
    /// The other end of its terminal, as long as it is read or written.
    terminal: Option<OwnedFd>,
}

enum State {
    /// It runs.
    Running(Pid),
    /// It has ended, and the daemon was not told yet.
    Ended(Exit),
    /// The daemon knows.
    Told,
}

/// Where a program's input is written.
struct Inlet {
    fd: OwnedFd,
    waiting: VecDeque<u8>,
    ended: bool,
}

/// Where one of its outputs is read.
struct Outlet {
    fd: OwnedFd,
    /// What may still be sent, bytes.
    credit: usize,
    /// What the program had written when it ended, and was not read since, bytes.
    left: usize,
}

impl Program {
    /// Starts one.
    pub(super) fn start(wanted: &Spawn, open_files: u64) -> Result<(i32, Self), SpawnError> {
        let failed = |step| move |errno: Errno| SpawnError { stage: step, errno: errno.raw_os_error() };
        let (standard, ends) = match wanted.terminal {
            Some(_) => (Vec::new(), None),
            None => {
                let pair = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed(Step::Request));
                let ((stdin, to), (from, stdout), (errors, stderr)) = (pair()?, pair()?, pair()?);
                (vec![stdin, stdout, stderr], Some((to, from, errors)))
            }
        };
        let Started { pid, terminal } = spawn::spawn(wanted, standard, Some(open_files))?;
        let nobody = || SpawnError { stage: Step::Exec, errno: libc::ESRCH };
        let state = State::Running(Pid::from_raw(pid).ok_or_else(nobody)?);
        let (input, output, errors) = match (ends, &terminal) {
            (Some((to, from, errors)), _) => (to, from, Some(errors)),
            (None, Some(terminal)) => {
                let copy = || rustix::io::fcntl_dupfd_cloexec(terminal, 3).map_err(failed(Step::Terminal));
                (copy()?, copy()?, None)
            }
            (None, None) => return Err(SpawnError { stage: Step::Terminal, errno: libc::EBADF }),
        };
        for fd in [&input, &output].into_iter().chain(&errors) {
            let flags = rustix::fs::fcntl_getfl(fd).map_err(failed(Step::Request))?;
            rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(failed(Step::Request))?;
        }
        let outlet = |fd| Outlet { fd, credit: WINDOW, left: 0 };
        let input = Inlet { fd: input, waiting: VecDeque::new(), ended: false };
        let (output, errors) = (Some(outlet(output)), errors.map(outlet));
        Ok((pid, Self { state, input: Some(input), output, errors, terminal }))
    }

    /// Its process, until it has been waited for.
    pub(super) fn process(&self) -> Option<Pid> {
        match self.state {
            State::Running(pid) => Some(pid),
            State::Ended(_) | State::Told => None,
        }
    }

    /// What can be done at its ends.
    pub(super) fn interest(&self, busy: bool) -> impl Iterator<Item = (End, BorrowedFd<'_>, PollFlags)> {
        let input = self.input.as_ref().filter(|inlet| !inlet.waiting.is_empty());
        let outlets = [(Channel::Output, &self.output), (Channel::Errors, &self.errors)];
        let readable = outlets.into_iter().filter_map(move |(channel, outlet)| {
            let outlet = outlet.as_ref().filter(|outlet| !busy && outlet.credit > 0)?;
            Some((End::Output(channel), outlet.fd.as_fd(), PollFlags::IN))
        });
        input.map(|inlet| (End::Input, inlet.fd.as_fd(), PollFlags::OUT)).into_iter().chain(readable)
    }

    /// Takes bytes for its standard input.
    ///
    /// # Errors
    /// When they are more than was allowed.
    pub(super) fn input(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What nobody reads any more may still be on its way.
        let Some(inlet) = &mut self.input else { return Ok(()) };
        if inlet.ended || inlet.waiting.len() + bytes.len() > WINDOW {
            return Err(malformed());
        }
        inlet.waiting.extend(bytes);
        Ok(())
    }

    /// No more of them will follow.
    pub(super) fn end_input(&mut self) {
        self.input.iter_mut().for_each(|inlet| inlet.ended = true);
    }

    /// Gives an output more credit.
    ///
    /// # Errors
    /// When that is more than there can be.
    pub(super) fn allow(&mut self, channel: Channel, bytes: u32) -> io::Result<()> {
        let Some(outlet) = self.outlet(channel) else { return Ok(()) };
        outlet.credit = outlet.credit.saturating_add(bytes as usize);
        if outlet.credit > WINDOW { Err(malformed()) } else { Ok(()) }
    }

    /// Closes an output that nobody listens to: as with a pipe, whoever writes to it is told.
    pub(super) fn forget(&mut self, channel: Channel) {
        *self.slot(channel) = None;
    }

    /// Gives its terminal another size; its programs are told.
    pub(super) fn resize(&self, size: Size) {
        let size =
            rustix::termios::Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        // It may have gone in this moment.
        let _ = self.terminal.as_ref().map(|terminal| rustix::termios::tcsetwinsize(terminal, size));
    }

    /// Gives the program what it reads.
    pub(super) fn feed(&mut self, id: u64, outgoing: &mut Outgoing) {
        let Some(inlet) = &mut self.input else { return };
        let mut taken = 0;
        let over = loop {
            let (front, _) = inlet.waiting.as_slices();
            if front.is_empty() {
                break inlet.ended;
            }
            match rustix::io::write(&inlet.fd, front) {
                Ok(count) => {
                    inlet.waiting.drain(..count);
                    taken += count;
                }
                Err(Errno::AGAIN) => break false,
                Err(Errno::INTR) => {}
                Err(_) => {
                    outgoing.add(&Reply::InputGone { id });
                    break true;
                }
            }
        };
        if over {
            self.input = None;
        } else if taken > 0 {
            outgoing.add(&Reply::Taken { id, bytes: taken as u32 });
        }
    }

    /// Reads once from an output.
    pub(super) fn read(&mut self, id: u64, channel: Channel, outgoing: &mut Outgoing) {
        let Some(outlet) = self.outlet(channel) else { return };
        let mut buffer = [0; MAX_PAYLOAD];
        let room = outlet.credit.min(buffer.len());
        if room == 0 {
            return;
        }
        match rustix::io::read(&outlet.fd, &mut buffer[..room]) {
            Ok(count @ 1..) => {
                outlet.credit -= count;
                outlet.left = outlet.left.saturating_sub(count);
                outgoing.add(&Reply::Output { id, channel, bytes: buffer[..count].to_vec() });
            }
            Err(Errno::AGAIN) => outlet.left = 0,
            Err(Errno::INTR) => {}
            // A terminal that no program has open any more has ended with an error.
            Ok(0) | Err(_) => {
                *self.slot(channel) = None;
                outgoing.add(&Reply::OutputEnd { id, channel });
            }
        }
    }

    /// It has ended.
    pub(super) fn end(&mut self, exit: Exit) {
        for outlet in self.output.iter_mut().chain(&mut self.errors) {
            // One more, so that an end or an empty pipe is seen.
            let left = rustix::io::ioctl_fionread(&outlet.fd).unwrap_or_default();
            outlet.left = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1);
        }
        self.state = State::Ended(exit);
    }

    /// Whether it has ended and the daemon does not know.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// When it has ended: sends what it had written, as far as there is credit, and then its end.
    pub(super) fn settle(&mut self, id: u64, outgoing: &mut Outgoing) {
        let State::Ended(status) = self.state else { return };
        for channel in [Channel::Output, Channel::Errors] {
            while !outgoing.is_busy()
                && self.outlet(channel).is_some_and(|outlet| outlet.left > 0 && outlet.credit > 0)
            {
                self.read(id, channel, outgoing);
            }
        }
        if self.output.iter().chain(&self.errors).all(|outlet| outlet.left == 0) {
            outgoing.add(&Reply::Exited { id, status });
            self.state = State::Told;
        }
    }

    /// Whether nothing more will be said of it.
    pub(super) fn is_over(&mut self) -> bool {
        let closed = self.input.is_none() && self.output.is_none();
        if closed {
            // Whoever still uses the terminal is told that it hung up.
            self.terminal = None;
        }
        closed && self.errors.is_none() && matches!(self.state, State::Told)
    }

    fn slot(&mut self, channel: Channel) -> &mut Option<Outlet> {
        match channel {
            Channel::Output => &mut self.output,
            Channel::Errors => &mut self.errors,
        }
    }

    fn outlet(&mut self, channel: Channel) -> Option<&mut Outlet> {
        self.slot(channel).as_mut()
    }
}
