//! What this process finds around itself, and what it takes away from itself.
//!
//! Owns the look around, which is honest because nothing else runs yet. Must not know what whoever made the
//! sandbox promised: the daemon compares.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use ftl_guest::protocol::{At, Failure, Stage, WORKSPACE};
use ftl_guest::stream::{Inside, Setup};
use ftl_guest::tables;
use rustix::fs::{Access, Mode, OFlags, StatVfsMountFlags};

use crate::{confine, privileges, seccomp};

/// Moves the stream away from standard input and output, so that no program is ever given it.
pub(super) fn take_stream() -> io::Result<(OwnedFd, OwnedFd)> {
    let copy = |fd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    let stream = (copy(rustix::stdio::stdin())?, copy(rustix::stdio::stdout())?);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    rustix::thread::set_name(c"ftl-guest")?;
    Ok(stream)
}

/// Takes away what can be taken away, for good, and says what is left.
pub(super) fn confine(setup: Setup) -> Result<Inside, Failure> {
    let status = || std::fs::read_to_string("/proc/self/status").at(Stage::Privileges, "reading /proc");
    let before = Status::of(&status()?)?;
    let pid_namespace = rustix::fs::stat("/proc/self/ns/pid").map_or(0, |found| found.st_ino);
    rustix::process::umask(Mode::from_raw_mode(setup.umask));
    privileges::limit_inherited(setup.limits)?;
    privileges::drop_held()?;
    let landlock = confine::landlock()?;
    seccomp::install()?;
    let after = Status::of(&status()?)?;
    let root = rustix::fs::statvfs("/").at(Stage::Root, "looking at the root directory")?;
    Ok(Inside {
        pid: rustix::process::getpid().as_raw_nonzero().get().unsigned_abs(),
        pid_namespace,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: after.groups,
        capabilities: after.capabilities,
        no_new_privileges: rustix::thread::no_new_privs().at(Stage::Privileges, "looking at privileges")?,
        filtered_before: before.filtered,
        landlock,
        root_is_read_only: root.f_flag.contains(StatVfsMountFlags::RDONLY) || listed_read_only()?,
        interfaces: interfaces()?,
        seen: those(tables::HIDDEN, shows),
        open: those(tables::READ_ONLY, is_open),
        can_work: rustix::fs::access(WORKSPACE, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        has_bash: rustix::fs::access("/bin/bash", Access::EXEC_OK).is_ok(),
    })
}

/// What the kernel says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    groups: Vec<u32>,
    capabilities: u64,
    filtered: bool,
}

impl Status {
    fn of(text: &str) -> Result<Self, Failure> {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).ok_or_else(|| Failure {
                stage: Stage::Privileges,
                errno: libc::ENODATA,
                what: format!("looking for {name}"),
            })
        };
        let mut capabilities = 0;
        // The ambient set, which not every kernel has, is part of the permitted one.
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd"] {
            // What cannot be read counts as everything.
            capabilities |= u64::from_str_radix(value(set)?, 16).unwrap_or(u64::MAX);
        }
        Ok(Self {
            groups: value("Groups")?.split_whitespace().filter_map(|group| group.parse().ok()).collect(),
            capabilities,
            filtered: value("Seccomp")? != "0",
        })
    }
}

/// Whether the list of mounts says that the root directory is read-only; gVisor's kernel says it there alone.
fn listed_read_only() -> Result<bool, Failure> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").at(Stage::Root, "listing mounts")?;
    Ok(is_listed_read_only(&text))
}

fn is_listed_read_only(mounts: &str) -> bool {
    let mut fields = mounts.lines().rev().map(|line| line.split(' ').skip(4));
    // Of several the last one counts.
    let options = fields.find_map(|mut rest| (rest.next()? == "/").then(|| rest.next()).flatten());
    options.is_some_and(|options| options.split(',').any(|option| option == "ro"))
}

fn those(paths: &[&str], is: impl Fn(&Path) -> bool) -> Vec<String> {
    paths.iter().filter(|path| is(Path::new(path))).map(|path| (*path).to_owned()).collect()
}

/// Whether anything can be read there.
fn shows(path: &Path) -> bool {
    let Ok(found) = std::fs::metadata(path) else { return false };
    if found.is_dir() {
        return std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return false };
    rustix::io::read(file, &mut [0; 1][..]).is_ok_and(|count| count > 0)
}

/// Whether only its mode keeps it from being written.
fn is_open(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn interfaces() -> Result<Vec<String>, Failure> {
    let table = Path::new("/proc/net/dev");
    let text = std::fs::read_to_string(table).at(Stage::Network, "listing interfaces")?;
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    Ok(names.map(|(name, _)| name.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_root_that_is_listed_counts() {
        let (open, shut) = ("8 8 0:8 / / rw - 9p none ro", "9 8 0:8 / / nosuid,ro  - 9p none rw");
        assert!(is_listed_read_only(&format!("{open}\n{shut}\n10 9 0:9 / /dev rw - tmpfs none rw\n")));
        assert!(!is_listed_read_only(&format!("{shut}\n{open}\n")) && !is_listed_read_only(""));
    }

    #[test]
    fn a_table_is_seen_when_anything_of_it_can_be_read() {
        for hidden in ["/absent", "/dev/null", "/proc/self/map_files/absent"] {
            assert!(!shows(Path::new(hidden)), "{hidden}");
        }
        for seen in ["/proc/self/status", "/proc"] {
            assert!(shows(Path::new(seen)), "{seen}");
        }
        assert!(is_open(Path::new("/proc/self")) && !is_open(Path::new("/absent")));
    }

    #[test]
    fn what_the_kernel_says_is_read_and_what_is_unclear_counts_as_everything() {
        let text = "Name:\tx\nGroups:\t4 5 \nCapInh:\t0000000000000001\nCapPrm:\t0\nCapEff:\t2\n\
                    CapBnd:\t0\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        let expected = Status { groups: vec![4, 5], capabilities: 3, filtered: true };
        assert_eq!(Status::of(text), Ok(expected));
        assert_eq!(Status::of(&text.replace("CapEff:\t2", "CapEff:\tx")).unwrap().capabilities, u64::MAX);
        assert!(Status::of("Groups:\n").is_err());
    }
}
