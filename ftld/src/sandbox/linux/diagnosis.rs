//! Why a machine does not let a sandbox be built, and what would mend it.
//!
//! Owns the causes that are known. Must not know how a sandbox is built beyond the names of its steps.

use std::fs;

use ftl_guest::protocol::{Failure, Stage};

use super::super::SandboxError;

/// Settings of the host's kernel that decide about sandboxes; `None` where the kernel has no such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Host {
    /// Whether the daemon is root.
    pub(super) root: bool,
    /// `kernel.unprivileged_userns_clone`, of Debian's kernels.
    pub(super) userns_clone: Option<u64>,
    /// `user.max_user_namespaces`.
    pub(super) max_user_namespaces: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu's kernels.
    pub(super) apparmor_restricts: Option<u64>,
    /// Major and minor version.
    pub(super) kernel: (u32, u32),
}

/// The oldest kernel that has everything: per-namespace process limits came last.
pub(super) const OLDEST_KERNEL: (u32, u32) = (5, 14);

/// A cause and its remedy, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) cause: String,
    pub(super) remedy: String,
}

/// Turns what the helper reported into what a person can act on.
pub(super) fn explain(failure: Failure) -> SandboxError {
    let Cause { cause, remedy } = diagnose(&failure, &Host::read());
    SandboxError::Unavailable { stage: failure.stage, cause, remedy, source: failure }
}

impl Host {
    /// Reads them from this machine.
    pub(super) fn read() -> Self {
        let setting = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok();
        Self {
            root: rustix::process::geteuid().is_root(),
            userns_clone: setting("kernel/unprivileged_userns_clone"),
            max_user_namespaces: setting("user/max_user_namespaces"),
            apparmor_restricts: setting("kernel/apparmor_restrict_unprivileged_userns"),
            kernel: parse_kernel(&rustix::system::uname().release().to_string_lossy()),
        }
    }
}

fn parse_kernel(release: &str) -> (u32, u32) {
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What most likely stands behind a failure on such a host.
fn diagnose(failure: &Failure, host: &Host) -> Cause {
    let said = |cause: &str, remedy: &str| Cause { cause: cause.to_owned(), remedy: remedy.to_owned() };
    let forbidden = matches!(failure.errno, libc::EPERM | libc::EACCES);
    if host.kernel < OLDEST_KERNEL {
        let (major, minor) = host.kernel;
        let (needed_major, needed_minor) = OLDEST_KERNEL;
        return Cause {
            cause: format!("its kernel is {major}.{minor}; {needed_major}.{needed_minor} or later is needed"),
            remedy: "update the kernel, or choose another sandbox".to_owned(),
        };
    }
    if host.max_user_namespaces == Some(0) {
        return said("user namespaces are turned off", "sudo sysctl user.max_user_namespaces=15000");
    }
    if !host.root && host.userns_clone == Some(0) {
        return said(
            "only root may use user namespaces here",
            "sudo sysctl kernel.unprivileged_userns_clone=1",
        );
    }
    if !host.root && forbidden && host.apparmor_restricts.is_some_and(|value| value != 0) {
        return said(
            "AppArmor takes the rights from user namespaces of programs without a profile",
            "give ftld an AppArmor profile with `userns,`, or: \
             sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        );
    }
    match failure.stage {
        Stage::UserNamespace if failure.errno == libc::ENOSPC => {
            said("there are too many user namespaces", "sudo sysctl user.max_user_namespaces=15000")
        }
        Stage::UserNamespace | Stage::Namespaces if forbidden => said(
            "something around FTL forbids user namespaces: a container's system call filter, most often",
            "run the daemon outside of the container, or let the container use user namespaces",
        ),
        Stage::Proc if forbidden => said(
            "parts of /proc are hidden here, as in most containers, and the kernel then gives no fresh one",
            "run the daemon outside of the container, or start the container with an unmasked /proc",
        ),
        Stage::Overlay => said(
            "the file system that holds FTL's directory cannot be part of an overlay",
            "keep FTL_HOME on ext4, xfs, btrfs or tmpfs",
        ),
        _ => Cause { cause: failure.to_string(), remedy: String::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stage: Stage, errno: i32, host: Host) -> (String, String) {
        let failure = Failure { stage, errno, what: "doing it".to_owned() };
        let Cause { cause, remedy } = diagnose(&failure, &Host { kernel: (6, 1), ..host });
        (cause, remedy)
    }

    #[test]
    fn known_causes_are_named_with_their_remedy() {
        let host = Host { apparmor_restricts: Some(1), ..Host::default() };
        let (cause, remedy) = check(Stage::Root, libc::EACCES, host.clone());
        assert!(cause.contains("AppArmor") && remedy.contains("userns,"), "{cause} {remedy}");
        let (cause, _) = check(Stage::Root, libc::EACCES, Host { root: true, ..host });
        assert!(!cause.contains("AppArmor"), "it does not restrict root: {cause}");

        let (_, remedy) = check(Stage::UserNamespace, libc::ENOSPC, Host::default());
        assert_eq!(remedy, "sudo sysctl user.max_user_namespaces=15000");
        let (_, remedy) =
            check(Stage::UserNamespace, libc::EPERM, Host { userns_clone: Some(0), ..Host::default() });
        assert_eq!(remedy, "sudo sysctl kernel.unprivileged_userns_clone=1");
        let (cause, _) = check(Stage::Proc, libc::EPERM, Host::default());
        assert!(cause.contains("/proc"), "{cause}");
    }

    #[test]
    fn an_unknown_cause_is_what_the_kernel_said() {
        let (cause, remedy) = check(Stage::Devices, libc::EIO, Host::default());
        assert_eq!((cause.as_str(), remedy.as_str()), ("doing it: Input/output error (os error 5)", ""));
    }

    #[test]
    fn kernel_versions_are_read_whatever_follows_them() {
        assert_eq!(parse_kernel("6.18.44-fc-v669"), (6, 18));
        assert_eq!(parse_kernel("5.10-rc1"), (5, 10));
        assert_eq!(parse_kernel("nonsense"), (0, 0));
    }
}
