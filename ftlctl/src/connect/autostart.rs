//! Starts the daemon that stands beside our own executable, once, however many clients ask.
//!
//! Owns the start lock and the wait for the line `ready`. Must not look for the program anywhere else:
//! neither `PATH` nor the working directory decides what runs as the human's daemon.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::{ConnectError, Shown, dial, runtime_dir};
use crate::environment::Places;

/// Lines of the log that an error shows.
const LOG_LINES: usize = 5;

/// The most that is read of a log for them.
const LOG_BYTES: u64 = 16 * 1024;

/// How long the exit status of a daemon that closed its pipe is waited for, only to name it in the error.
const STATUS_WAIT: Duration = Duration::from_secs(1);

/// A connection to the daemon, which is started unless another client was quicker.
pub(super) async fn start(places: &Places) -> Result<UnixStream, ConnectError> {
    runtime_dir::create(places.runtime_dir())?;
    runtime_dir::check(places.runtime_dir(), rustix::process::geteuid().as_raw())?;
    let _lock = lock(places.runtime_dir().join("start.lock")).await?;
    match dial(places).await {
        Err(ConnectError::NotRunning { .. }) => {}
        dialled => return dialled,
    }
    runtime_dir::create(&places.home)?;
    let program = program()?;
    let log_path = places.home.join("ftld.log");
    let log = open_log(&log_path)?;
    let before = log.metadata().map(|found| found.len()).unwrap_or(0);
    if let Err(status) = spawn(&program, log).await? {
        let log = tail(&log_path, before);
        return Err(ConnectError::NotReady { status, log, path: Shown(log_path) });
    }
    dial(places).await
}

/// Waits until no other client is starting the daemon. Unlocked when the file is dropped.
async fn lock(path: PathBuf) -> Result<File, ConnectError> {
    let act = format!("lock {}", Shown(path.clone()));
    let locked = tokio::task::spawn_blocking(move || {
        let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(no_follow)
            .open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(file)
    });
    let result = locked.await.map_err(io::Error::other).and_then(|locked| locked);
    result.map_err(|source| ConnectError::Io { act, source })
}

fn program() -> Result<PathBuf, ConnectError> {
    let ours = std::env::current_exe()
        .map_err(|source| ConnectError::Io { act: "find our own executable".to_owned(), source })?;
    let program = ours.with_file_name("ftld");
    match program.metadata() {
        Ok(_) => Ok(program),
        Err(source) => Err(ConnectError::NoProgram { program: Shown(program), source }),
    }
}

fn open_log(path: &Path) -> Result<File, ConnectError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| ConnectError::Io { act: format!("open the log {}", Shown::from(path)), source })
}

/// Starts the program and waits for its `ready`; the inner error says how it ended instead. The
/// environment is passed on, so that both mean the same places; a process group of its own keeps the
/// terminal's Ctrl-C away from it.
async fn spawn(program: &Path, log: File) -> Result<Result<(), String>, ConnectError> {
    let mut child = Command::new(program)
        .args(["serve", "--ready-fd", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(log))
        .process_group(0)
        .spawn()
        .map_err(|source| ConnectError::NoProgram { program: program.into(), source })?;
    let Some(pipe) = child.stdout.take() else {
        return Ok(Err("its output cannot be read".to_owned()));
    };
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.trim() == "ready" {
            return Ok(Ok(()));
        }
    }
    Ok(Err(match tokio::time::timeout(STATUS_WAIT, child.wait()).await {
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(_)) | Err(_) => "it closed its output without being ready".to_owned(),
    }))
}

/// The last lines that were written to the log since it had `from` bytes.
fn tail(path: &Path, from: u64) -> Vec<String> {
    let read = || {
        let mut file = File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(LOG_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|&line| line.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(dir: &Path, body: &str) -> PathBuf {
        let path = dir.join("ftld");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_daemon_is_ready_when_it_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let program = script(dir.path(), "test \"$*\" = 'serve --ready-fd 1' && echo starting && echo ready");
        let log = open_log(&dir.path().join("log")).unwrap();
        assert_eq!(spawn(&program, log).await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_daemon_that_ends_leaves_its_status_and_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "an older run\n").unwrap();
        let program = script(dir.path(), "for n in 1 2 3 4 5 6; do echo line $n >&2; done; exit 7");
        let ended = spawn(&program, open_log(&path).unwrap()).await.unwrap();
        assert_eq!(ended, Err("exit status: 7".to_owned()));
        assert_eq!(tail(&path, 13), ["line 2", "line 3", "line 4", "line 5", "line 6"]);
        assert_eq!(tail(&path, 13 + 6 * 7), [""; 0]);
    }

    #[tokio::test]
    async fn two_clients_start_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("start.lock");
        let held = lock(path.clone()).await.unwrap();
        let try_lock = || {
            let file = File::open(&path).unwrap();
            rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
        };
        assert!(!try_lock());
        drop(held);
        assert!(try_lock());
    }
}
