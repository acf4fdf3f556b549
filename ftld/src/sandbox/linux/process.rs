//! A hold on a process of this machine that somebody else started.
//!
//! Owns that it is the very process: an id alone may by now be somebody else's. Must not know what it does.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process.
pub(in super::super) struct Held(AsyncFd<OwnedFd>);

impl Held {
    /// Process 1 of the namespace with this number, which runs as `uid`; `None` when the process of that id is
    /// none of this machine's that is so. An engine that has process ids of its own names somebody else's here.
    ///
    /// # Errors
    /// When it is there and cannot be held.
    pub(in super::super) fn process_1(pid: i32, uid: u32, namespace: u64) -> io::Result<Option<Self>> {
        let Some(process) = open(pid)? else { return Ok(None) };
        // Looked at with the process in hand: from here on its id cannot become another's unnoticed.
        let status = match std::fs::read_to_string(format!("/proc/{pid}/status")) {
            Ok(status) => status,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Not everybody may look; then its number and its user must do.
        let seen = std::fs::metadata(format!("/proc/{pid}/ns/pid")).map(|found| found.ino());
        let is_other = seen.is_ok_and(|seen| namespace != 0 && seen != namespace);
        if is_other || !is_process_1(&status, uid) {
            return Ok(None);
        }
        // SAFETY: an owned descriptor is the same open one as long as it lives.
        let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }?;
        Ok(Some(Self(process)))
    }

    /// Ends it, if this process may.
    pub(in super::super) fn kill(&self) {
        // Whether it worked is seen by its being gone.
        let _ = rustix::process::pidfd_send_signal(self.0.as_fd(), Signal::KILL);
    }

    /// Resolves when it has ended, and with it everything in its namespace.
    ///
    /// # Errors
    /// When that cannot be known.
    pub(in super::super) async fn gone(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}

/// A hold on whatever process has this id; `None` when none has.
///
/// # Errors
/// When it is there and cannot be held.
pub(super) fn open(pid: i32) -> io::Result<Option<OwnedFd>> {
    let Some(id) = Pid::from_raw(pid.max(0)) else { return Ok(None) };
    match rustix::process::pidfd_open(id, PidfdFlags::empty()) {
        Ok(process) => Ok(Some(process)),
        // No process, or the number of a thread: older kernels call that invalid, newer ones say that it is not there.
        Err(Errno::SRCH | Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether it ended before or while the kernel was asked about it.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || Errno::from_io_error(error) == Some(Errno::SRCH)
}

fn is_process_1(status: &str, uid: u32) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let inside = field("NSpid").and_then(|ids| ids.split_whitespace().nth_back(0));
    let nested = field("NSpid").is_some_and(|ids| ids.split_whitespace().count() > 1);
    let user = field("Uid").and_then(|ids| ids.split_whitespace().next()?.parse().ok());
    nested && inside == Some("1") && user == Some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_of_another_namespace_is_one() {
        let status = |uid: u32, ids: &str| format!("Name:\tx\nUid:\t{uid}\t0\t0\t0\nNSpid:\t{ids}\n");
        assert!(is_process_1(&status(7, "4711\t1"), 7));
        assert!(!is_process_1(&status(7, "4711\t1"), 8));
        assert!(!is_process_1(&status(7, "4711\t2"), 7));
        assert!(!is_process_1(&status(7, "1"), 7));
        assert!(!is_process_1("", 7));
    }

    #[tokio::test]
    async fn nothing_else_is_held() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(Held::process_1(me, rustix::process::geteuid().as_raw(), 0).unwrap().is_none());
        assert!(Held::process_1(-1, 0, 0).unwrap().is_none());
        assert!(Held::process_1(i32::MAX, 0, 0).unwrap().is_none());
        // An engine with ids of its own may name a thread of ours, which is no process.
        let thread = std::thread::spawn(|| {
            let number = rustix::thread::gettid().as_raw_nonzero().get();
            Held::process_1(number, 0, 0).unwrap().is_none()
        });
        assert!(thread.join().unwrap());
    }

    #[tokio::test]
    async fn process_1_of_another_namespace_is_not_taken_for_it() {
        let mut child = std::process::Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                "echo; exec cat",
            ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let pid: i32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let own = std::fs::metadata(format!("/proc/{pid}/ns/pid")).unwrap().ino();
        assert!(Held::process_1(pid, uid, own).unwrap().is_some());
        assert!(Held::process_1(pid, uid, own + 1).unwrap().is_none());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
