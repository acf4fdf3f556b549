//! Process 1 of a sandbox that somebody else made: starts programs and carries their bytes over a stream.
//!
//! Owns the loop. Must not know how the sandbox was made, or what carries the stream, which is standard
//! input and output. It says what it finds around itself, takes away what can still be taken away, and
//! ends when the stream does, and everything in the sandbox with it. One thread: what is slow is not waited
//! for, and what the stream does not take is not read.

mod inside;
mod program;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use ftl_guest::protocol::{At, Exit, Failure, Spawn, Stage};
use ftl_guest::stream::{Decoder, Reply, Request};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Resource, Signal, WaitOptions};

use crate::outgoing::Outgoing;
use crate::{init, multiplex};
use program::{End, Program};

/// Everything that is waited for.
#[derive(Clone, Copy)]
enum Source {
    Input,
    Output,
    Children,
    Program(u64, End),
}

struct Server {
    input: OwnedFd,
    output: OwnedFd,
    children: OwnedFd,
    decoder: Decoder,
    outgoing: Outgoing,
    /// Programs that have not ended, or whose ends of pipes are still open.
    programs: BTreeMap<u64, Program>,
    /// Of one process; absent until the daemon has said it.
    open_files: Option<u64>,
}

/// Serves until the stream ends.
pub(crate) fn serve() -> Result<(), Failure> {
    let stage = Stage::Protocol;
    let children = init::children_signal().at(stage, "listening for children")?;
    let (input, output) = inside::take_stream().at(stage, "taking the stream")?;
    let mut server = Server {
        input,
        output,
        children,
        decoder: Decoder::default(),
        outgoing: Outgoing::default(),
        programs: BTreeMap::new(),
        open_files: None,
    };
    server.run().at(stage, "serving")
}

impl Server {
    fn run(&mut self) -> io::Result<()> {
        multiplex::allow_descriptors()?;
        for fd in [&self.input, &self.output] {
            let flags = rustix::fs::fcntl_getfl(fd)?;
            rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?;
        }
        loop {
            for source in self.wait()? {
                match source {
                    Source::Input => {
                        if !self.hear()? {
                            return Ok(());
                        }
                    }
                    Source::Output => {
                        self.outgoing.flush(self.output.as_fd())?;
                        self.settle_all();
                    }
                    Source::Children => self.reap()?,
                    Source::Program(id, end) => self.carry(id, end),
                }
            }
        }
    }

    /// Waits for whatever can be done next.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut wanted = vec![
            (Source::Input, self.input.as_fd(), PollFlags::IN),
            (Source::Children, self.children.as_fd(), PollFlags::IN),
        ];
        if self.outgoing.waiting() > 0 {
            wanted.push((Source::Output, self.output.as_fd(), PollFlags::OUT));
        }
        let busy = self.outgoing.is_busy();
        for (id, program) in &self.programs {
            let ends = program.interest(busy);
            wanted.extend(ends.map(|(end, fd, flags)| (Source::Program(*id, end), fd, flags)));
        }
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
        while let Some(request) = self.decoder.next_frame().map_err(|_| malformed())? {
            self.obey(request)?;
        }
        Ok(true)
    }

    fn obey(&mut self, request: Request) -> io::Result<()> {
        match (request, self.open_files) {
            (Request::Setup(setup), None) => {
                // Nobody may have more than this process.
                let most = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
                self.open_files = Some(setup.limits.open_files.min(most));
                let reply = match inside::confine(setup) {
                    Ok(inside) => Reply::Ready(Box::new(inside)),
                    Err(failure) => Reply::Failed(failure),
                };
                self.outgoing.add(&reply);
                Ok(())
            }
            (Request::Setup(_), Some(_)) | (_, None) => Err(malformed()),
            (Request::Spawn(wanted), Some(open_files)) => {
                self.spawn(&wanted, open_files);
                Ok(())
            }
            (Request::Input { id, bytes }, _) => self.with(id, |program, _| program.input(&bytes)),
            (Request::InputEnd { id }, _) => self.with(id, |program, _| {
                program.end_input();
                Ok(())
            }),
            (Request::Read { id, channel, bytes }, _) => {
                self.with(id, |program, _| program.allow(channel, bytes))
            }
            (Request::Forget { id, channel }, _) => self.with(id, |program, _| {
                program.forget(channel);
                Ok(())
            }),
            (Request::Signal { id, signal }, _) => self.with(id, |program, _| {
                // Only while it has not been waited for: later its number may be another's.
                if let (Some(pid), Some(signal)) = (program.process(), Signal::from_named_raw(signal)) {
                    let _ = rustix::process::kill_process_group(pid, signal);
                }
                Ok(())
            }),
            (Request::Resize { id, size }, _) => self.with(id, |program, _| {
                program.resize(size);
                Ok(())
            }),
        }
    }

    /// Does something with a program, and what follows from it. One that is over here may still be spoken
    /// of there.
    fn with(
        &mut self,
        id: u64,
        act: impl FnOnce(&mut Program, &mut Outgoing) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(program) = self.programs.get_mut(&id) {
            act(program, &mut self.outgoing)?;
            self.carry(id, End::Input);
        }
        Ok(())
    }

    fn spawn(&mut self, wanted: &Spawn, open_files: u64) {
        let id = wanted.id;
        let reply = match Program::start(wanted, open_files) {
            Ok((pid, program)) => {
                self.programs.insert(id, program);
                Reply::Spawned { id, pid }
            }
            Err(error) => Reply::NotSpawned { id, stage: error.stage.to_string(), errno: error.errno },
        };
        self.outgoing.add(&reply);
    }

    /// Carries what can be carried at one end of a program, and forgets the program when it is over.
    fn carry(&mut self, id: u64, end: End) {
        let Some(program) = self.programs.get_mut(&id) else { return };
        match end {
            End::Input => program.feed(id, &mut self.outgoing),
            End::Output(channel) => program.read(id, channel, &mut self.outgoing),
        }
        self.settle(id);
    }

    /// Reports a program that has ended, once what it had written is on its way.
    fn settle(&mut self, id: u64) {
        let Some(program) = self.programs.get_mut(&id) else { return };
        program.settle(id, &mut self.outgoing);
        if program.is_over() {
            self.programs.remove(&id);
        }
    }

    fn settle_all(&mut self) {
        let ended: Vec<u64> =
            self.programs.iter().filter(|(_, program)| program.has_ended()).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|id| self.settle(id));
    }

    /// Reaps every process that has ended, and notes the end of those that the daemon knows of.
    fn reap(&mut self) -> io::Result<()> {
        // One signal may stand for many children: it is only taken off the queue here.
        let mut signals = [0; 8 * size_of::<libc::signalfd_siginfo>()];
        let _ = rustix::io::read(&self.children, &mut signals[..]);
        loop {
            let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(ended)) => ended,
                Ok(None) | Err(Errno::CHILD) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let exit = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => continue,
            };
            let known = self.programs.iter_mut().find(|(_, program)| program.process() == Some(pid));
            if let Some((id, program)) = known {
                let id = *id;
                program.end(exit);
                self.settle(id);
            }
        }
    }
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
