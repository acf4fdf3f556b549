//! Attempts on files: the host's, other people's, the sandbox's own read-only parts.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::calls::{call, judge, must_fail};
use super::{Outcome, Report, Targets};

/// What every host has and no sandbox needs.
const HIDDEN: &[&str] = &[
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/ssh",
    "/etc/sudoers",
    "/etc/ssl/private",
    "/etc/machine-id",
    "/etc/fstab",
    "/root",
    "/boot",
    "/mnt",
    "/media",
    "/srv",
    "/lost+found",
    "/sys",
    "/sys/fs/cgroup",
    "/sys/kernel",
    "/var/lib",
    "/var/log",
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
    "/run/user",
    "/run/containerd/containerd.sock",
    "/tmp/.X11-unix",
    "/tmp/ssh-agent",
    "/dev/mem",
    "/dev/kmem",
    "/dev/kmsg",
    "/dev/port",
    "/dev/kvm",
    "/dev/fuse",
    "/dev/net/tun",
    "/dev/vda",
    "/dev/sda",
    "/dev/loop-control",
    "/dev/loop0",
    "/dev/vhost-vsock",
    "/dev/vsock",
    "/dev/console",
    "/dev/tty1",
    "/dev/mapper/control",
    "/proc/1/root/etc/shadow",
    "/proc/self/root/etc/shadow",
    "/workspace/../etc/shadow",
    "/../../../../etc/shadow",
];

/// Interfaces of the kernel that must not be written, and are not needed to be.
const KERNEL_FILES: &[&str] = &[
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/irq/default_smp_affinity",
    "/proc/1/oom_score_adj",
    "/proc/1/comm",
    "/proc/1/mem",
    "/sys/kernel/uevent_helper",
    "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/cgroup.procs",
    "/proc/fs/nfsd/threads",
    "/proc/mtrr",
];

/// Files of the kernel that tell about the host; they must be empty if they are there at all.
const TELL_TALES: &[&str] = &[
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/kallsyms",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sysrq-trigger",
    "/proc/modules",
    "/proc/vmallocinfo",
    "/proc/slabinfo",
    "/proc/kpagecount",
    "/proc/sched_debug",
];

/// Parts of the sandbox that stay as they are.
const READ_ONLY: &[&str] = &[
    "/",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local/bin",
    "/bin",
    "/etc",
    "/dev",
    "/proc",
    "/run",
    "/var",
    "/home",
    "/etc/ssl/certs",
    "/etc/alternatives",
    "/dev/pts",
];

/// Files of the sandbox that stay as they are.
const READ_ONLY_FILES: &[&str] = &[
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/ld.so.cache",
    "/usr/bin/env",
    "/bin/sh",
];

pub(super) fn attempt(report: &mut Report, targets: &Targets) {
    for path in HIDDEN.iter().map(Path::new).chain(targets.hidden.iter().map(AsRef::as_ref)) {
        report.add(&format!("see {}", path.display()), see(path));
    }
    report.add("see other homes", other_homes());
    for path in KERNEL_FILES {
        report.add(&format!("write {path}"), write(Path::new(path)));
    }
    for path in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        // Their owner may open them; it is the second write that must not be taken.
        report.add(&format!("map ids by {path}"), must_fail(fs::write(path, "0 0 1\n")));
    }
    for path in TELL_TALES {
        report.add(&format!("read {path}"), read_something(Path::new(path)));
    }
    for path in READ_ONLY.iter().map(Path::new) {
        report.add(&format!("make a file in {}", path.display()), make_in(path));
    }
    for path in READ_ONLY_FILES.iter().map(Path::new).chain(targets.read_only.iter().map(AsRef::as_ref)) {
        let outcome = if path.is_dir() { make_in(path) } else { write(path) };
        report.add(&format!("write {}", path.display()), outcome);
        report.add(&format!("remove {}", path.display()), must_fail(fs::rename(path, "/tmp/taken")));
        report.add(&format!("change the mode of {}", path.display()), change_mode(path));
    }
    privileged_attributes(report);
    nothing_is_setuid(report);
}

fn see(path: &Path) -> Outcome {
    match fs::symlink_metadata(path) {
        Err(error) => Outcome::Refused(error.to_string()),
        // An empty directory or one that cannot be entered shows nothing.
        Ok(metadata) if metadata.is_dir() => match fs::read_dir(path).map(Iterator::count) {
            Ok(0) => Outcome::Refused("it is empty".to_owned()),
            Err(error) => Outcome::Refused(error.to_string()),
            Ok(count) => Outcome::Through(format!("it has {count} entries")),
        },
        Ok(_) => Outcome::Through("it is there".to_owned()),
    }
}

fn other_homes() -> Outcome {
    let names = fs::read_dir("/home").map(|entries| {
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path != Path::new("/home/agent"))
            .collect::<Vec<_>>()
    });
    match names {
        Err(error) => Outcome::Refused(error.to_string()),
        Ok(names) if names.is_empty() => Outcome::Refused("there is only the agent's".to_owned()),
        Ok(names) => Outcome::Through(format!("{names:?}")),
    }
}

/// Only opens: should it succeed, the host is spared.
fn write(path: &Path) -> Outcome {
    let opened = OpenOptions::new().write(true).open(path);
    match opened.as_ref().map(fs::File::metadata) {
        Ok(Ok(metadata)) if metadata.rdev() == libc::makedev(1, 3) => {
            Outcome::Refused("it is covered by /dev/null".to_owned())
        }
        _ => must_fail(opened),
    }
}

fn read_something(path: &Path) -> Outcome {
    let mut byte = [0];
    let open = OpenOptions::new().read(true).open(path);
    match open.and_then(|mut file| file.read(&mut byte)) {
        Ok(0) => Outcome::Refused("it is empty".to_owned()),
        Ok(_) => Outcome::Through("it says something".to_owned()),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

fn make_in(directory: &Path) -> Outcome {
    must_fail(OpenOptions::new().write(true).create_new(true).open(directory.join("escape-probe")))
}

fn change_mode(path: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    must_fail(fs::set_permissions(path, fs::Permissions::from_mode(0o777)))
}

/// Extended attributes that only root may set, by which an overlay is steered.
fn privileged_attributes(report: &mut Report) {
    for name in [c"trusted.overlay.redirect", c"security.capability"] {
        let value = b"/etc";
        let arguments =
            [c"/workspace".as_ptr() as u64, name.as_ptr() as u64, value.as_ptr() as u64, value.len() as u64];
        let result = call(libc::SYS_setxattr, arguments);
        let outcome = match result {
            // A malformed capability is looked at before the right to set one.
            Err(libc::EINVAL | libc::EOPNOTSUPP) => Outcome::Refused("the file system knows none".to_owned()),
            other => judge(other),
        };
        report.add(&format!("set {}", name.to_string_lossy()), outcome);
    }
}

/// On every mount a set-user-id bit must mean nothing, and only `/dev` may have devices.
fn nothing_is_setuid(report: &mut Report) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(_), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let has = |wanted: &str| options.split(',').any(|option| option == wanted);
        let device_place = point.starts_with("/dev/") || point.starts_with("/proc/");
        let outcome = if has("nosuid") && (has("nodev") || device_place) {
            Outcome::Refused(options.to_owned())
        } else {
            Outcome::Through(options.to_owned())
        };
        report.add(&format!("gain rights from files in {point}"), outcome);
    }
    if mounts.is_empty() {
        report.add("gain rights from files", Outcome::Through("the mounts cannot be read".to_owned()));
    }
}

/// A path for a system call.
pub(super) fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}
