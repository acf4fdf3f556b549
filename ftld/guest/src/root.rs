//! The root directory that a sandbox sees.
//!
//! Owns its layout: an explicit list, never "everything but". Must not know whose session it is. It is
//! built as the sandbox's own user on an empty file system in memory, every step relative to its
//! descriptor and without following a symbolic link, and entered at the end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use ftl_guest::made_up::made_up;
use ftl_guest::protocol::{AGENT_ID, At, Failure, HOME, Network, Setup, Stage, WORKSPACE};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::files;
use crate::mounts::{self, Mount};
use crate::sources::{Kind, Sources};

/// Where the new root is put before it is entered; nobody but this process sees it there.
const STAGING: &str = "/tmp";

/// Files of `/proc` that tell about the host's kernel or hardware: hidden.
const HIDDEN_FILES: &[&str] = &[
    "config.gz",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "modules",
    "mtrr",
    "sched_debug",
    "slabinfo",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
];

/// Directories of `/proc` that do the same: hidden.
const HIDDEN_DIRECTORIES: &[&str] = &["acpi", "asound", "scsi"];

/// Parts of `/proc` that configure the host's kernel: read-only.
const READ_ONLY: &[&str] = &["bus", "driver", "fs", "irq", "sys", "tty"];

/// Builds the root and makes it the caller's. `content` is that of the files to show.
pub(crate) fn build(sources: Sources, setup: &Setup, content: Option<OwnedFd>) -> Result<(), Failure> {
    let stage = Stage::Root;
    // Room for the directories and the few files that are made up; nothing else is kept in it.
    let root = Mount::new(c"tmpfs", &[("size", Some("4m")), ("mode", Some("0755"))], stage)?;
    let staging = open(CWD, STAGING, OFlags::DIRECTORY).at(stage, STAGING)?;
    root.attach(staging.as_fd()).at(stage, "putting the root in place")?;
    let root = root.as_fd();

    fill(root, &sources, setup.network)?;
    mount_workspace(root, &sources)?;
    place(root, &sources.home, HOME)?;
    place(root, &sources.tmp, "tmp")?;
    let again = Mount::of_fd(sources.tmp.as_fd()).at(stage, "copying the temporary directory")?;
    place(root, &again, "var/tmp")?;
    mount_devices(root, setup.limits.shared_memory)?;
    for shown in sources.shown {
        let target = make_place(root, &shown.path, shown.kind).at(stage, shown.path.display())?;
        shown.mount.attach(target.as_fd()).at(stage, format_args!("showing {}", shown.path.display()))?;
    }
    files::show(root, &setup.files, content)?;
    mount_proc(root)?;
    mounts::restrict(root, mounts::READ_ONLY, false).at(stage, "making the root read-only")?;
    enter(root).at(stage, "entering the root")
}

/// Makes what is neither a mount nor a device.
fn fill(root: BorrowedFd<'_>, sources: &Sources, network: Network) -> Result<(), Failure> {
    for directory in ["etc", "proc", "run", "var"] {
        make_place(root, Path::new(directory), Kind::Directory).at(Stage::Root, directory)?;
    }
    link(root, "/run", "var/run")?;
    for (path, target) in &sources.links {
        if let Some(parent) = path.parent() {
            make_place(root, parent, Kind::Directory).at(Stage::Root, parent.display())?;
        }
        link(root, target, path)?;
    }
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let etc = open(root, "etc", OFlags::DIRECTORY).at(Stage::Root, "etc")?;
    for (name, content) in made_up(shell, network, (AGENT_ID, AGENT_ID)) {
        write_file(etc.as_fd(), name, content.as_bytes()).at(Stage::Root, format_args!("etc/{name}"))?;
    }
    Ok(())
}

fn write_file(dir: BorrowedFd<'_>, name: &str, content: &[u8]) -> rustix::io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))?;
    // A file in memory takes all of it or fails.
    rustix::io::write(&file, content).map(drop)
}

/// Mounts the overlay with the sandbox's own user as its owner: it can do on the host what that can.
fn mount_workspace(root: BorrowedFd<'_>, sources: &Sources) -> Result<(), Failure> {
    let stage = Stage::Overlay;
    let staging = make_place(root, Path::new(".staging"), Kind::Directory).at(stage, "making a directory")?;
    // Relative paths: no name of the host's can be mistaken for an option or a separator.
    let names: Vec<String> = (0..sources.layers.len()).map(|number| number.to_string()).collect();
    for (name, layer) in names.iter().zip(&sources.layers) {
        place(root, layer, &format!(".staging/{name}"))?;
    }
    place(root, &sources.session, ".staging/session")?;
    rustix::process::fchdir(&staging).at(stage, "entering a directory")?;
    let overlay = Mount::new(
        c"overlay",
        &[
            ("lowerdir", Some(&names.join(":"))),
            ("upperdir", Some("session/upper")),
            ("workdir", Some("session/work")),
            ("userxattr", None),
            // A crash of the host loses the session anyway; without it every fsync costs a disk's.
            ("volatile", None),
            // What is in the upper layer is then whole files at their own paths, and nothing else.
            ("index", Some("off")),
            ("metacopy", Some("off")),
            ("redirect_dir", Some("nofollow")),
            ("xino", Some("off")),
        ],
        stage,
    )?;
    overlay.restrict(mounts::SAFE).at(stage, "restricting the workspace")?;
    place(root, &overlay, WORKSPACE)?;
    // The overlay keeps its own hold on all of them; no name for them stays behind.
    for name in names.iter().map(String::as_str).chain(["session"]) {
        rustix::mount::unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).at(stage, name)?;
        rustix::fs::unlinkat(&staging, name, AtFlags::REMOVEDIR).at(stage, name)?;
    }
    rustix::fs::unlinkat(root, ".staging", AtFlags::REMOVEDIR).at(stage, "removing a directory")
}

fn mount_devices(root: BorrowedFd<'_>, shared_memory: u64) -> Result<(), Failure> {
    let stage = Stage::Devices;
    let pts = Mount::new(c"devpts", &[("ptmxmode", Some("0666")), ("mode", Some("0620"))], stage)?;
    pts.restrict(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC).at(stage, "restricting devpts")?;
    place(root, &pts, "dev/pts")?;
    let size = shared_memory.to_string();
    let shm = Mount::new(c"tmpfs", &[("size", Some(&size)), ("mode", Some("1777"))], stage)?;
    shm.restrict(mounts::SAFE | libc::MOUNT_ATTR_NOEXEC).at(stage, "restricting /dev/shm")?;
    place(root, &shm, "dev/shm")?;
    link(root, "pts/ptmx", "dev/ptmx")?;
    link(root, "/proc/self/fd", "dev/fd")?;
    link(root, "/proc/self/fd/0", "dev/stdin")?;
    link(root, "/proc/self/fd/1", "dev/stdout")?;
    link(root, "/proc/self/fd/2", "dev/stderr")
}

fn mount_proc(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let stage = Stage::Proc;
    let proc = Mount::new(c"proc", &[], stage)?;
    proc.restrict(mounts::SAFE | libc::MOUNT_ATTR_NOEXEC).at(stage, "restricting /proc")?;
    place(root, &proc, "proc")?;
    forbid_user_namespaces(proc.as_fd()).at(stage, "forbidding more user namespaces")?;
    let null = open(root, "dev/null", OFlags::empty()).at(stage, "dev/null")?;
    let empty = open(root, "run", OFlags::DIRECTORY).at(stage, "run")?;
    for (names, cover) in [(HIDDEN_FILES, null.as_fd()), (HIDDEN_DIRECTORIES, empty.as_fd())] {
        for name in names {
            cover_with(proc.as_fd(), name, cover, mounts::READ_ONLY & !libc::MOUNT_ATTR_NODEV)
                .at(stage, name)?;
        }
    }
    for name in READ_ONLY {
        if let Some(target) = open_if_there(proc.as_fd(), name).at(stage, name)? {
            let copy = Mount::of_fd(target.as_fd()).at(stage, name)?;
            copy.restrict(mounts::READ_ONLY | libc::MOUNT_ATTR_NOEXEC).at(stage, name)?;
            copy.attach(target.as_fd()).at(stage, name)?;
        }
    }
    Ok(())
}

/// The last namespace of its kind in this sandbox, whatever the system call filter may miss.
fn forbid_user_namespaces(proc: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(proc, "sys/user/max_user_namespaces", flags, Mode::empty())?;
    rustix::io::write(&file, b"0").map(drop)
}

fn cover_with(
    dir: BorrowedFd<'_>,
    name: &str,
    cover: BorrowedFd<'_>,
    attributes: u64,
) -> std::io::Result<()> {
    let Some(target) = open_if_there(dir, name)? else { return Ok(()) };
    let copy = Mount::of_fd(cover)?;
    copy.restrict(attributes)?;
    Ok(copy.attach(target.as_fd())?)
}

/// Makes the new root the only one there is.
fn enter(root: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::process::fchdir(root)?;
    // Both at the same place: the old root then lies over the new one and comes off at once.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// Puts a mount over a directory, which is made.
fn place(root: BorrowedFd<'_>, mount: &Mount, path: &str) -> Result<(), Failure> {
    let path = Path::new(path);
    let path = path.strip_prefix("/").unwrap_or(path);
    let target = make_place(root, path, Kind::Directory).at(Stage::Root, path.display())?;
    mount.attach(target.as_fd()).at(Stage::Root, format_args!("mounting at {}", path.display()))
}

fn link(root: BorrowedFd<'_>, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<(), Failure> {
    let path = path.as_ref();
    rustix::fs::symlinkat(target.as_ref(), root, path)
        .at(Stage::Root, format_args!("linking {}", path.display()))
}

/// Opens the place at a path beneath `root`, making what is missing of it.
pub(crate) fn make_place(root: BorrowedFd<'_>, path: &Path, kind: Kind) -> rustix::io::Result<OwnedFd> {
    let mut place = open(root, ".", OFlags::DIRECTORY)?;
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { return Err(Errno::INVAL) };
        place = if components.peek().is_none() && kind == Kind::File {
            let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&place, name, flags, Mode::from_raw_mode(0o644)) {
                Ok(file) => file,
                // It exists in a read-only directory; then it needs not be made.
                Err(Errno::ROFS) => open(place.as_fd(), name, OFlags::empty())?,
                Err(errno) => return Err(errno),
            }
        } else {
            match rustix::fs::mkdirat(&place, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST | Errno::ROFS) => open(place.as_fd(), name, OFlags::DIRECTORY)?,
                Err(errno) => return Err(errno),
            }
        };
    }
    Ok(place)
}

fn open_if_there(dir: BorrowedFd<'_>, name: &str) -> rustix::io::Result<Option<OwnedFd>> {
    match open(dir, name, OFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A handle on what stands at a name, never on what a link there leads to.
pub(crate) fn open<P: rustix::path::Arg>(
    dir: BorrowedFd<'_>,
    name: P,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}
