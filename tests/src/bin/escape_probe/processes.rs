//! Attempts on other processes: the sandbox's process 1, the host's, and what was inherited.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use super::calls::{call, describe, in_child, must_fail};
use super::{Outcome, Report};

/// What of process 1 must not be looked at.
const SECRETS_OF_1: &[&str] = &["environ", "maps", "mem", "auxv", "stack", "syscall", "personality", "io"];

/// Links of process 1 that must not be followed.
const LINKS_OF_1: &[&str] = &["root", "cwd", "exe", "ns/mnt", "ns/user"];

/// Whatever is open beyond the three standard descriptors was left behind by somebody.
pub(super) fn leftover_descriptors(report: &mut Report) {
    let mut open = Vec::new();
    for fd in 0..4096 {
        if call(libc::SYS_fcntl, [fd, libc::F_GETFD as u64]).is_ok() {
            open.push(fd);
        }
    }
    let outcome = if open.iter().all(|fd| *fd <= 2) {
        Outcome::Refused(format!("{open:?}"))
    } else {
        Outcome::Through(format!("{open:?}"))
    };
    report.add("have leftover descriptors", outcome);
    for fd in 0..3 {
        let outcome = match fs::metadata(format!("/proc/self/fd/{fd}")).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_dir() || kind.is_socket() || kind.is_block_device() => {
                Outcome::Through(format!("it is {kind:?}"))
            }
            Ok(_) => Outcome::Refused("it is a pipe, a terminal or a file".to_owned()),
            Err(error) => Outcome::Refused(error.to_string()),
        };
        report.add(&format!("have more than a stream at descriptor {fd}"), outcome);
    }
}

pub(super) fn attempt(report: &mut Report) {
    report.add("see the host's processes", processes());
    for name in SECRETS_OF_1 {
        report.add(&format!("read {name} of process 1"), must_fail(fs::read(format!("/proc/1/{name}"))));
    }
    for name in LINKS_OF_1 {
        report
            .add(&format!("follow {name} of process 1"), must_fail(fs::read_link(format!("/proc/1/{name}"))));
    }
    report.add("list descriptors of process 1", must_fail(fs::read_dir("/proc/1/fd")));
    report.add(
        "protect itself from running out of memory",
        must_fail(fs::write("/proc/self/oom_score_adj", "-1000")),
    );
    report.add("stop process 1", signal_1(libc::SIGSTOP));
    report.add("kill process 1", signal_1(libc::SIGKILL));
}

/// Process 1 must be the sandbox's own, and be followed by few others.
fn processes() -> Outcome {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids: Vec<u32> = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let me = std::process::id();
    // Ids are given in order: in a namespace of its own this program has one of the first.
    if pids.len() < 50 && me < 1000 {
        Outcome::Refused(format!("{} are seen", pids.len()))
    } else {
        Outcome::Through(format!("{} are seen, and this one is {me}", pids.len()))
    }
}

/// Process 1 takes no signal from here, whatever the answer to sending one: the sandbox must live on.
fn signal_1(signal: libc::c_int) -> Outcome {
    let sent = call(libc::SYS_kill, [1, signal as u64]);
    // A new process needs a living namespace: with process 1 gone there is none.
    match (sent, in_child(|| 0)) {
        (Err(errno), _) => Outcome::Refused(describe(errno)),
        (Ok(_), Ok(_)) => match fs::read_to_string("/proc/1/stat") {
            Ok(text) if text.contains(") T ") => Outcome::Through("it has stopped".to_owned()),
            _ => Outcome::Refused("it takes no notice".to_owned()),
        },
        (Ok(_), Err(errno)) => Outcome::Through(format!("the sandbox has gone: {}", describe(errno))),
    }
}
