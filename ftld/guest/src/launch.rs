//! From the daemon's first message to a closed sandbox.
//!
//! Owns the order of the steps, which is what makes them safe. Must not know how a step is done. Two
//! processes come of it: the launcher stays in the host's process namespace, so that the daemon has one
//! child to wait for; process 1 builds the sandbox and then serves it. When one of them dies, so does
//! the other, and with process 1 everything in its process namespace.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ftl_guest::frame::{self, Frame, MAX_REQUEST};
use ftl_guest::protocol::{AGENT_ID, At, Failure, Ready, Reply, Request, Setup, Stage};
use rustix::process::{PidfdFlags, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use crate::carry::Way;
use crate::net;
use crate::sources::Sources;
use crate::{confine, init, mounts, privileges, root, seccomp};

/// A host process that is likely to be killed first when memory runs out: this much above the daemon.
const OOM_SCORE: &str = "500";

/// Runs the helper until the sandbox has ended.
pub(crate) fn run() -> Result<(), Failure> {
    let control = take_control()?;
    let told = |failure: Failure| {
        // The daemon may be gone; then there is nobody to tell.
        let _ = frame::send(&control, &Reply::Failed(failure.clone()), &[]);
        failure
    };
    let (setup, content) = enter_user_namespace(control.as_fd()).map_err(told)?;
    enter_namespaces().map_err(told)?;
    // Before anything runs in it that could use a network which is not closed yet.
    let doors = net::open(setup.network).map_err(told)?;
    let way = doors.map(|doors| Way::new(doors, setup.carrier)).transpose().map_err(told)?;
    let (alive, keep_alive) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .at(Stage::Namespaces, "making a pipe")
        .map_err(told)?;
    // SAFETY: this process has one thread, so that the child may go on using everything it has.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).at(Stage::Namespaces, "starting process 1").map_err(told),
        0 => {
            drop(keep_alive);
            become_process_1(&control, &setup, Brought { alive, way, content }).map_err(told)?;
            init::serve(control)
        }
        child => {
            drop((control, alive, content));
            watch_over(child, keep_alive, way)
        }
    }
}

/// Moves the control socket away from standard input and closes everything else that was inherited.
fn take_control() -> Result<OwnedFd, Failure> {
    let stage = Stage::Protocol;
    let control =
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).at(stage, "taking the socket")?;
    close_all_but(control.as_fd()).at(stage, "closing descriptors")?;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())
        .at(stage, "opening /dev/null")?;
    rustix::stdio::dup2_stdin(&null).at(stage, "redirecting")?;
    rustix::stdio::dup2_stdout(&null).at(stage, "redirecting")?;
    rustix::stdio::dup2_stderr(&null).at(stage, "redirecting")?;
    rustix::thread::set_name(c"ftl-guest").at(stage, "taking a name")?;
    Ok(control)
}

/// Closes every descriptor from 3 on except `kept`.
fn close_all_but(kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = kept.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, kept.wrapping_sub(1)), (kept + 1, u32::MAX)] {
        if first > last {
            continue;
        }
        // SAFETY: nothing in this process owns these descriptors: they were inherited.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn enter_user_namespace(control: BorrowedFd<'_>) -> Result<(Box<Setup>, Option<OwnedFd>), Failure> {
    let Frame { message: Request::Setup(setup), fds } = next(control)? else {
        return Err(unexpected("something else than a setup came first"));
    };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(setup.umask));
    let mut fds = fds.into_iter();
    let content = if setup.files.is_empty() { None } else { fds.next() };
    for group in fds {
        rustix::io::write(&group, b"0").at(Stage::Limits, "entering a control group")?;
    }
    if rustix::process::geteuid().is_root() {
        // Only now: in a user namespace without a group map groups cannot be dropped any more.
        rustix::thread::set_thread_groups(&[]).at(Stage::Identity, "dropping groups")?;
    }
    // Best effort: it only says whom the host's kernel should kill first.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    unshare(UnshareFlags::NEWUSER).at(Stage::UserNamespace, "entering a user namespace")?;
    frame::send(control, &Reply::NeedsIds, &[]).at(Stage::Protocol, "asking for ids")?;
    match next(control)?.message {
        Request::IdsMapped => Ok((setup, content)),
        Request::Setup(_) | Request::Spawn(_) | Request::Signal { .. } => {
            Err(unexpected("something else than the ids came second"))
        }
    }
}

fn enter_namespaces() -> Result<(), Failure> {
    let all = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    unshare(all).at(Stage::Namespaces, "entering namespaces")
}

fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: `FILES` is not among the flags, so that no thread loses sight of a descriptor.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// What process 1 brings with it.
struct Brought {
    /// Has an end when the launcher has died.
    alive: OwnedFd,
    /// The sandbox's way out.
    way: Option<Way>,
    /// What is in the files to show.
    content: Option<OwnedFd>,
}

/// Builds the sandbox around the process that calls it and closes it.
fn become_process_1(
    control: &OwnedFd,
    setup: &Setup,
    Brought { alive, way, content }: Brought,
) -> Result<(), Failure> {
    let me = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
        .at(Stage::Namespaces, "opening process 1")?;
    frame::send(control, &Reply::Started, &[me.as_fd()]).at(Stage::Protocol, "saying that it started")?;
    drop(me);

    // The host's paths are looked up with the rights of whoever runs the daemon; everything after that
    // is done as the sandbox's own user, who owns nothing else.
    mounts::make_private().at(Stage::Namespaces, "keeping mounts private")?;
    let sources = Sources::open(setup)?;
    become_agent().at(Stage::Identity, "becoming the sandbox's user")?;
    die_with_the_launcher(alive)?;

    root::build(sources, setup, content)?;
    privileges::name_host()?;
    privileges::limit(setup.limits)?;
    privileges::drop_all()?;
    let landlock = confine::landlock()?;
    seccomp::install()?;
    let not_redirected = way.as_ref().and_then(|way| way.doors().transparent.as_ref().err().cloned());
    let descriptors = way.as_ref().map(Way::descriptors).unwrap_or_default();
    frame::send(control, &Reply::Ready(Ready { landlock, not_redirected }), &descriptors)
        .at(Stage::Protocol, "saying that it is ready")
}

fn become_agent() -> rustix::io::Result<()> {
    let (uid, gid) = (rustix::process::Uid::from_raw(AGENT_ID), rustix::process::Gid::from_raw(AGENT_ID));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// After the change of identity, which would reset it.
fn die_with_the_launcher(alive: OwnedFd) -> Result<(), Failure> {
    let stage = Stage::Namespaces;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .at(stage, "tying it to the launcher")?;
    // The launcher may have died before; then the pipe has no writer any more and says so.
    let mut poll = [rustix::event::PollFd::from_borrowed_fd(alive.as_fd(), rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut poll, Some(&now)).at(stage, "looking after the launcher")? {
        0 => Ok(()),
        _ => Err(Failure { stage, errno: libc::ESRCH, what: "the launcher has died".to_owned() }),
    }
}

/// The launcher's rest of life: without rights, waiting for process 1, and perhaps carrying bytes.
fn watch_over(child: libc::pid_t, keep_alive: OwnedFd, way: Option<Way>) -> Result<(), Failure> {
    // If it cannot give up its rights it ends, and process 1 with it.
    become_agent().at(Stage::Identity, "becoming the sandbox's user")?;
    privileges::drop_all()?;
    let child = rustix::process::Pid::from_raw(child);
    if let (Some(way), Some(child)) = (way, child) {
        let over = rustix::process::pidfd_open(child, PidfdFlags::empty())
            .at(Stage::Namespaces, "opening process 1")?;
        // When it fails the way is closed, which the daemon sees, and the sandbox goes on without.
        let _ = way.carry(over.as_fd());
    }
    loop {
        match rustix::process::waitpid(child, WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).at(Stage::Namespaces, "waiting for process 1"),
            Ok(_) => {
                drop(keep_alive);
                return Ok(());
            }
        }
    }
}

fn next(control: BorrowedFd<'_>) -> Result<Frame<Request>, Failure> {
    match frame::receive(control, MAX_REQUEST).at(Stage::Protocol, "hearing the daemon")? {
        Some(frame) => Ok(frame),
        None => Err(unexpected("the daemon has gone")),
    }
}

fn unexpected(what: &str) -> Failure {
    Failure { stage: Stage::Protocol, errno: libc::EPROTO, what: what.to_owned() }
}
