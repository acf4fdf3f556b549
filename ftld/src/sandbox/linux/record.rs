//! What is written down of a sandbox's processes, so that a later daemon can end them.
//!
//! Owns the file `pid` of a session's directory. Must not know how they were started. A process is named
//! by its id and its start time: an id alone may by now be somebody else's.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::SandboxError;
use super::process;

/// How long an ended process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The processes of a sandbox that its end depends on.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Record {
    /// The launcher, then process 1.
    pub(in super::super) processes: Vec<Named>,
}

/// A process, beyond doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Named {
    /// Its id.
    pub(in super::super) pid: i32,
    /// When it started, in the kernel's ticks since boot.
    pub(in super::super) start: u64,
}

/// Writes down the processes, so that there is always a whole record or none.
pub(in super::super) fn write(dir: &Path, record: &Record) -> Result<(), SandboxError> {
    let path = file(dir);
    let failed = |source| SandboxError::File { act: "writing", path: path.clone(), source };
    let text = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
    let part = path.with_extension("new");
    fs::write(&part, text).and_then(|()| fs::rename(&part, &path)).map_err(failed)
}

/// Forgets the processes, which have ended.
pub(in super::super) fn forget(dir: &Path) {
    // A record that stays names processes that do not exist any more; sweeping it finds nothing.
    let _ = fs::remove_file(file(dir));
}

/// Whether processes are written down.
pub(in super::super) fn names_any(dir: &Path) -> bool {
    file(dir).exists()
}

/// Ends the recorded processes that still run and waits until they are gone.
pub(in super::super) async fn sweep(dir: &Path) -> Result<(), SandboxError> {
    let path = file(dir);
    let failed = |source| SandboxError::File { act: "reading", path: path.clone(), source };
    let record: Record = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.into()))?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for named in record.processes {
        end(named).await.map_err(|source| SandboxError::Sweep { pid: named.pid, source })?;
    }
    forget(dir);
    Ok(())
}

/// Names a process of this machine.
pub(in super::super) fn name(pid: i32) -> io::Result<Named> {
    Ok(Named { pid, start: start_time(pid)? })
}

async fn end(named: Named) -> io::Result<()> {
    let Some(process) = open(named)? else { return Ok(()) };
    match rustix::process::pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(errno) => return Err(errno.into()),
    }
    // SAFETY: an owned descriptor is the same open one as long as it lives.
    let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }?;
    match tokio::time::timeout(PATIENCE, process.readable()).await {
        Ok(ended) => ended.map(drop),
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

/// A hold on the process, when it is still the one that was named.
fn open(named: Named) -> io::Result<Option<OwnedFd>> {
    let Some(process) = process::open(named.pid)? else { return Ok(None) };
    // Compared with the process in hand: from here on its id cannot become another's unnoticed.
    match start_time(named.pid) {
        Ok(start) if start == named.start => Ok(Some(process)),
        Ok(_) => Ok(None),
        // It ended between the two looks.
        Err(error) if process::is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn start_time(pid: i32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_start_time(&text).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// The 22nd field; the second is a name in parentheses that may hold anything.
fn parse_start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn file(dir: &Path) -> PathBuf {
    dir.join("pid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let rest = " S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2 3";
        assert_eq!(parse_start_time(&format!("7 (a) b)){rest}")), Some(4242));
        assert_eq!(parse_start_time("7 (cut"), None);
    }

    #[tokio::test]
    async fn only_the_very_process_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = tokio::process::Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
        let pid = child.id().unwrap().cast_signed();
        let real = name(pid).unwrap();
        let other = Named { start: real.start + 1, ..real };

        write(dir.path(), &Record { processes: vec![other] }).unwrap();
        sweep(dir.path()).await.unwrap();
        assert!(child.try_wait().unwrap().is_none(), "a process with another start time was ended");

        write(dir.path(), &Record { processes: vec![real] }).unwrap();
        sweep(dir.path()).await.unwrap();
        assert!(!child.wait().await.unwrap().success());
        assert!(!dir.path().join("pid").exists());
        sweep(dir.path()).await.unwrap();
    }
}
