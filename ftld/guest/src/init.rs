//! Process 1 of a closed sandbox: starts programs, reaps everything, reports.
//!
//! Owns the loop. Must not know how a program is started, nor hold any right that a program could want
//! from it. It ends when the daemon's socket ends, and everything in the sandbox with it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use ftl_guest::frame::{self, Frame, MAX_REQUEST};
use ftl_guest::protocol::{At, Exit, Failure, Reply, Request, Stage};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::spawn::{self, Started};

/// The programs that the daemon knows of, by process.
type Programs = HashMap<i32, u64>;

/// Serves the daemon until it goes.
pub(crate) fn serve(control: OwnedFd) -> Result<(), Failure> {
    let stage = Stage::Protocol;
    let children = children_signal().at(stage, "listening for children")?;
    let mut programs = Programs::new();
    loop {
        let mut ready = [
            PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(children.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).at(stage, "waiting"),
        }
        let [asked, ended] = ready.map(|fd| !fd.revents().is_empty());
        if ended {
            reap(&control, &children, &mut programs).at(stage, "reporting")?;
        }
        if asked {
            match frame::receive(&control, MAX_REQUEST).at(stage, "hearing the daemon")? {
                Some(request) => answer(&control, request, &mut programs).at(stage, "answering")?,
                None => return Ok(()),
            }
        }
    }
}

fn answer(control: &OwnedFd, request: Frame<Request>, programs: &mut Programs) -> io::Result<()> {
    match request.message {
        Request::Spawn(wanted) => {
            let id = wanted.id;
            match spawn::spawn(&wanted, request.fds, None) {
                Ok(Started { pid, terminal }) => {
                    programs.insert(pid, id);
                    let terminal: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
                    frame::send(control, &Reply::Spawned { id, pid }, &terminal)
                }
                Err(error) => {
                    let (stage, errno) = (error.stage.to_string(), error.errno);
                    frame::send(control, &Reply::NotSpawned { id, stage, errno }, &[])
                }
            }
        }
        Request::Signal { id, signal } => {
            let program =
                programs.iter().find(|(_, known)| **known == id).and_then(|(pid, _)| Pid::from_raw(*pid));
            if let (Some(pid), Some(signal)) = (program, Signal::from_named_raw(signal)) {
                // It may have ended in this moment, which its report will say.
                let _ = rustix::process::kill_process_group(pid, signal);
            }
            Ok(())
        }
        Request::Setup(_) | Request::IdsMapped => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the sandbox is built already"))
        }
    }
}

/// Reaps every process that has ended and reports those that the daemon knows of.
fn reap(control: &OwnedFd, children: &OwnedFd, programs: &mut Programs) -> io::Result<()> {
    // One signal may stand for many children: it is only taken off the queue here.
    let mut signals = [0; 8 * size_of::<libc::signalfd_siginfo>()];
    let _ = rustix::io::read(children, &mut signals[..]);
    loop {
        let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(ended)) => ended,
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let exit = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => continue,
        };
        if let Some(id) = programs.remove(&pid.as_raw_nonzero().get()) {
            frame::send(control, &Reply::Exited { id, status: exit }, &[])?;
        }
    }
}

/// A descriptor that becomes readable when a child ends.
pub(crate) fn children_signal() -> io::Result<OwnedFd> {
    // SAFETY: the set is made before it is used and outlives both calls; the new descriptor is nobody's.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
