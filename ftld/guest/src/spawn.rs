//! Starting one program.
//!
//! Owns what a program begins with: its session, terminal, descriptors and signals. Must not know who
//! waits for it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use ftl_guest::protocol::{Size, Spawn};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use rustix::pty::OpenptFlags;

/// A program that runs.
pub(crate) struct Started {
    /// Its process, and its process group.
    pub(crate) pid: i32,
    /// The other end of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// What could not be done, and the system's error number.
#[derive(Debug)]
pub(crate) struct SpawnError {
    /// Which step.
    pub(crate) stage: Step,
    /// The system's error number.
    pub(crate) errno: i32,
}

/// A step of starting a program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Understanding the request.
    Request,
    /// Entering the working directory.
    Workdir,
    /// Making a terminal.
    Terminal,
    /// Finding and executing the program.
    Exec,
}

/// Starts a program with these standard descriptors, unless it wants a terminal. `open_files` is how many
/// descriptors it may have, when that is fewer than this process.
pub(crate) fn spawn(
    request: &Spawn,
    fds: Vec<OwnedFd>,
    open_files: Option<u64>,
) -> Result<Started, SpawnError> {
    let Some((program, arguments)) = request.argv.split_first() else {
        return Err(SpawnError { stage: Step::Request, errno: libc::EINVAL });
    };
    let workdir = request.workdir.as_path();
    // Looked at first, so that a missing directory is not taken for a missing program.
    can_enter(workdir).map_err(|error| SpawnError::new(Step::Workdir, &error))?;
    let (standard, terminal) = match request.terminal {
        Some(size) => open_terminal(size).map_err(|error| SpawnError::new(Step::Terminal, &error))?,
        None => (fds, None),
    };
    let Ok([stdin, stdout, stderr]) = <[OwnedFd; 3]>::try_from(standard) else {
        return Err(SpawnError { stage: Step::Request, errno: libc::EINVAL });
    };
    let mut command = Command::new(program.as_os_str());
    command
        .args(arguments.iter().map(|argument| argument.as_os_str()))
        .env_clear()
        .envs(request.env.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())))
        .current_dir(workdir)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr);
    let has_terminal = terminal.is_some();
    // SAFETY: what runs between fork and exec only makes system calls; this process has one thread.
    unsafe { command.pre_exec(move || begin(has_terminal, open_files)) };
    let child = command.spawn().map_err(|error| SpawnError::new(Step::Exec, &error))?;
    Ok(Started { pid: child.id().cast_signed(), terminal })
}

fn can_enter(directory: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory.join("."), flags, Mode::empty())?;
    Ok(())
}

/// Runs in the new process, just before it becomes the program.
fn begin(has_terminal: bool, open_files: Option<u64>) -> io::Result<()> {
    rustix::process::setsid()?;
    if open_files.is_some() {
        let limit = Rlimit { current: open_files, maximum: open_files };
        rustix::process::setrlimit(Resource::Nofile, limit)?;
    }
    if has_terminal {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
    }
    // SAFETY: the set is made before it is used, and outlives the call.
    unsafe {
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        if libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: descriptors are only marked; they stay open until the program is executed.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } != 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            // gVisor's kernel only closes them this way, and the one that names the program must stay until then.
            Some(libc::EINVAL) => mark_each(),
            _ => Err(error),
        };
    }
    Ok(())
}

/// Marks every descriptor but the standard ones to be closed. It may take memory: this process has one thread.
fn mark_each() -> io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd")?.collect::<io::Result<Vec<_>>>()?;
    let numbers = open.iter().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2) {
        // SAFETY: a descriptor is only marked. The one that listed them is closed by now, which is no fault.
        let marked = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        if marked != 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EBADF) {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

type Terminal = (Vec<OwnedFd>, Option<OwnedFd>);

/// A new terminal of this sandbox: three descriptors of the program's end, and the other end.
fn open_terminal(size: Size) -> io::Result<Terminal> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let control = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&control)?;
    let program = rustix::pty::ioctl_tiocgptpeer(&control, flags)?;
    let size =
        rustix::termios::Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&program, size)?;
    let copy = || rustix::io::fcntl_dupfd_cloexec(program.as_fd(), 3);
    Ok((vec![copy()?, copy()?, copy()?], Some(control)))
}

// === impl SpawnError, Step ===

impl SpawnError {
    fn new(stage: Step, error: &io::Error) -> Self {
        Self { stage, errno: error.raw_os_error().unwrap_or(libc::EINVAL) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Workdir => "workdir",
            Self::Terminal => "terminal",
            Self::Exec => "exec",
        })
    }
}
