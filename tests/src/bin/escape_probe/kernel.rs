//! Attempts on the kernel: mounts, namespaces, its less guarded calls, and ways around a filter.

use super::calls::{call, describe, in_child, judge};
use super::{Outcome, Report};

const ALL_ONES: u64 = u64::MAX;

pub(super) fn attempt(report: &mut Report) {
    mounts(report);
    namespaces(report);
    rights(report);
    for (name, number) in CALLS {
        // Arguments that no call would take: whoever looks at them was let through.
        report.add(name, judge(call(*number, [ALL_ONES, ALL_ONES, ALL_ONES, ALL_ONES, ALL_ONES, ALL_ONES])));
    }
    report.add("personality", judge(call(libc::SYS_personality, [libc::ADDR_NO_RANDOMIZE as u64])));
    terminals(report);
    devices(report);
    other_call_tables(report);
}

/// Calls that are refused whatever they are given.
const CALLS: &[(&str, libc::c_long)] = &[
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("kcmp", libc::SYS_kcmp),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("keyctl", libc::SYS_keyctl),
    ("kexec_load", libc::SYS_kexec_load),
    ("kexec_file_load", libc::SYS_kexec_file_load),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("reboot", libc::SYS_reboot),
    ("sethostname", libc::SYS_sethostname),
    ("setdomainname", libc::SYS_setdomainname),
    ("quotactl", libc::SYS_quotactl),
    ("quotactl_fd", libc::SYS_quotactl_fd),
    ("acct", libc::SYS_acct),
    ("syslog", libc::SYS_syslog),
    ("vhangup", libc::SYS_vhangup),
    ("settimeofday", libc::SYS_settimeofday),
    ("clock_settime", libc::SYS_clock_settime),
    ("clock_adjtime", libc::SYS_clock_adjtime),
    ("adjtimex", libc::SYS_adjtimex),
    ("lookup_dcookie", libc::SYS_lookup_dcookie),
    #[cfg(target_arch = "x86_64")]
    ("iopl", libc::SYS_iopl),
    #[cfg(target_arch = "x86_64")]
    ("ioperm", libc::SYS_ioperm),
];

fn mounts(report: &mut Report) {
    let (none, root, tmp) = (c"none".as_ptr() as u64, c"/".as_ptr() as u64, c"/tmp".as_ptr() as u64);
    let tmpfs = c"tmpfs".as_ptr() as u64;
    report.add("mount a tmpfs", judge(call(libc::SYS_mount, [none, tmp, tmpfs, 0, 0])));
    report.add("mount a proc", judge(call(libc::SYS_mount, [none, tmp, c"proc".as_ptr() as u64, 0, 0])));
    report
        .add("bind the root", judge(call(libc::SYS_mount, [root, tmp, 0, libc::MS_BIND | libc::MS_REC, 0])));
    report.add(
        "make the root writable",
        judge(call(libc::SYS_mount, [0, root, 0, libc::MS_REMOUNT | libc::MS_BIND, 0])),
    );
    let covered = c"/proc/sys".as_ptr() as u64;
    report.add("uncover /proc/sys", judge(call(libc::SYS_umount2, [covered, libc::MNT_DETACH as u64])));
    report.add("change the root", judge(call(libc::SYS_pivot_root, [tmp, tmp])));
    report.add("chroot", judge(call(libc::SYS_chroot, [tmp])));
    let here = libc::AT_FDCWD as u64;
    report.add("open_tree", judge(call(libc::SYS_open_tree, [here, root, 1])));
    report.add("fsopen", judge(call(libc::SYS_fsopen, [tmpfs, 0])));
    report.add("fsconfig", judge(call(libc::SYS_fsconfig, [ALL_ONES, ALL_ONES])));
    report.add("fsmount", judge(call(libc::SYS_fsmount, [ALL_ONES])));
    report.add("fspick", judge(call(libc::SYS_fspick, [here, root, 0])));
    report.add("move_mount", judge(call(libc::SYS_move_mount, [here, root, here, tmp, 0])));
    report.add("mount_setattr", judge(call(libc::SYS_mount_setattr, [here, root, 0, root, 32])));
    report.add("open_tree_attr", judge(call(467, [here, root, 1, root, 32])));
}

fn namespaces(report: &mut Report) {
    for (name, flag) in [
        ("user", libc::CLONE_NEWUSER),
        ("mount", libc::CLONE_NEWNS),
        ("process", libc::CLONE_NEWPID),
        ("network", libc::CLONE_NEWNET),
        ("ipc", libc::CLONE_NEWIPC),
        ("host name", libc::CLONE_NEWUTS),
        ("cgroup", libc::CLONE_NEWCGROUP),
    ] {
        report.add(&format!("unshare a {name} namespace"), judge(call(libc::SYS_unshare, [flag as u64])));
        report.add(&format!("clone into a {name} namespace"), clone_with(flag as u64));
    }
    // struct clone_args begins with the flags; its first version has 64 bytes.
    let arguments: [u64; 8] = [libc::CLONE_NEWUSER as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    report
        .add("clone3 into a user namespace", judge(call(libc::SYS_clone3, [arguments.as_ptr() as u64, 64])));
    for name in ["/proc/self/ns/user", "/proc/1/ns/mnt", "/proc/1/ns/net"] {
        let path = super::files::c_path(name.as_ref());
        let outcome = match call(libc::SYS_openat, [libc::AT_FDCWD as u64, path.as_ptr() as u64, 0]) {
            Ok(fd) => judge(call(libc::SYS_setns, [fd.unsigned_abs(), 0])),
            Err(errno) => Outcome::Refused(describe(errno)),
        };
        report.add(&format!("enter {name}"), outcome);
    }
}

fn clone_with(flag: u64) -> Outcome {
    // With the plain signal it is a fork: the child, if there is one, ends here.
    match call(libc::SYS_clone, [flag | libc::SIGCHLD as u64]) {
        // SAFETY: the child ends at once.
        Ok(0) => unsafe { libc::_exit(0) },
        other => judge(other),
    }
}

/// Rights that a process could try to give itself.
fn rights(report: &mut Report) {
    report.add("become root", judge(call(libc::SYS_setuid, [0]).map_err(unmapped)));
    report.add("become root's group", judge(call(libc::SYS_setgid, [0]).map_err(unmapped)));
    let group = 0u32;
    report.add("join a group", judge(call(libc::SYS_setgroups, [1, (&raw const group) as u64])));
    // Version 3 of the interface; every capability, in all three sets.
    let (header, data) = ([0x2008_0522u32, 0], [u32::MAX; 6]);
    report.add(
        "take all capabilities",
        judge(call(libc::SYS_capset, [header.as_ptr() as u64, data.as_ptr() as u64])),
    );
    report.add("loosen the secure bits", judge(call(libc::SYS_prctl, [libc::PR_SET_SECUREBITS as u64, 0])));
    let lifted = match call(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 0]) {
        Err(errno) => Outcome::Refused(describe(errno)),
        Ok(_) => Outcome::Through("new privileges are allowed again".to_owned()),
    };
    report.add("allow new privileges", lifted);
    for (name, resource) in [("descriptors", libc::RLIMIT_NOFILE), ("processes", libc::RLIMIT_NPROC)] {
        let unlimited = [u64::MAX, u64::MAX];
        let arguments = [0, u64::from(resource), unlimited.as_ptr() as u64, 0];
        report.add(&format!("have more {name}"), judge(call(libc::SYS_prlimit64, arguments)));
    }
    report.add("go first", judge(call(libc::SYS_setpriority, [0, 0, (-20i64).cast_unsigned()])));
    let highest = 50i32;
    let arguments = [0, libc::SCHED_FIFO as u64, (&raw const highest) as u64];
    report.add("go in real time", judge(call(libc::SYS_sched_setscheduler, arguments)));
}

/// An id that does not exist in the namespace is as good as a refusal.
fn unmapped(errno: i32) -> i32 {
    if errno == libc::EINVAL { libc::EPERM } else { errno }
}

/// Words put into a terminal, also with bits that only a careless filter looks at.
fn terminals(report: &mut Report) {
    for (name, request) in [
        ("push input into a terminal", libc::TIOCSTI),
        ("push input into a terminal, high bits set", libc::TIOCSTI | 1 << 32),
        ("paste into a console", libc::TIOCLINUX),
        ("load a line discipline", libc::TIOCSETD),
        ("redirect the console", libc::TIOCCONS),
    ] {
        let letter = b"x";
        report.add(name, judge(call(libc::SYS_ioctl, [0, request, letter.as_ptr() as u64])));
    }
}

fn devices(report: &mut Report) {
    for (name, mode, device) in [
        ("make a disk device", libc::S_IFBLK, libc::makedev(8, 0)),
        ("make a memory device", libc::S_IFCHR, libc::makedev(1, 1)),
        ("make an overlay's whiteout", libc::S_IFCHR, 0),
    ] {
        let path = c"/workspace/escape-probe-device".as_ptr() as u64;
        let arguments = [libc::AT_FDCWD as u64, path, u64::from(mode | 0o666), device];
        report.add(name, judge(call(libc::SYS_mknodat, arguments)));
        #[cfg(target_arch = "x86_64")]
        report.add(
            &format!("{name} the old way"),
            judge(call(libc::SYS_mknod, [path, u64::from(mode | 0o666), device])),
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn other_call_tables(_report: &mut Report) {}

/// The same kernel through its other tables of calls, where other numbers hold.
#[cfg(target_arch = "x86_64")]
fn other_call_tables(report: &mut Report) {
    const X32: libc::c_long = 0x4000_0000;
    report.add("use the x32 calls", judge(call(X32 | libc::SYS_getpid, [])));
    report
        .add("unshare by the x32 calls", judge(call(X32 | libc::SYS_unshare, [libc::CLONE_NEWUSER as u64])));
    let outcome = match in_child(getpid_of_32_bits) {
        Ok(status) if libc::WIFSIGNALED(status) => {
            Outcome::Refused(format!("ended by signal {}", libc::WTERMSIG(status)))
        }
        Ok(status) if libc::WEXITSTATUS(status) == 0 => Outcome::Through("the call was answered".to_owned()),
        Ok(_) => Outcome::Refused("the call failed".to_owned()),
        Err(errno) => Outcome::Refused(describe(errno)),
    };
    report.add("use the 32-bit calls", outcome);
}

/// Zero when the 32-bit table answers.
#[cfg(target_arch = "x86_64")]
fn getpid_of_32_bits() -> i32 {
    const GETPID: i64 = 20;
    let mut result = GETPID;
    // SAFETY: the call takes no arguments and changes only the result's register.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") result, out("r8") _, out("r9") _, out("r10") _, out("r11") _)
    };
    i32::from(result <= 0)
}
