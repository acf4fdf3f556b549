//! What process 1 sets up with its privileges, and how it gives them up.
//!
//! Owns limits, capabilities and the few kernel settings of the new namespaces. Must not know mounts.

use std::io;

use ftl_guest::protocol::{At, Failure, Limits, Stage};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

/// Locked memory, bytes: what a stock kernel allows.
const LOCKED_MEMORY: u64 = 8 << 20;

/// Gives the host its name.
pub(crate) fn name_host() -> Result<(), Failure> {
    rustix::system::sethostname(b"ftl").at(Stage::Network, "naming the host")
}

/// Sets the limits that every program inherits. A stricter limit of the host's stays.
pub(crate) fn limit(limits: Limits) -> Result<(), Failure> {
    limit_each(&[(Resource::Nproc, limits.processes), (Resource::Nofile, limits.open_files)])?;
    limit_inherited(limits)
}

/// The same but for how many processes there are, which would count those of other sandboxes of the same
/// user, and for descriptors, of which this process may need more than a program.
pub(crate) fn limit_inherited(limits: Limits) -> Result<(), Failure> {
    limit_each(&[
        (Resource::Fsize, limits.file_size),
        (Resource::Core, 0),
        (Resource::Memlock, LOCKED_MEMORY),
    ])
}

fn limit_each(limits: &[(Resource, u64)]) -> Result<(), Failure> {
    for &(resource, wanted) in limits {
        let allowed = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let most = wanted.min(allowed);
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(resource, limit)
            .at(Stage::Limits, format_args!("limiting {resource:?}"))?;
    }
    Ok(())
}

/// Gives up every capability for good, and lets no neighbour look into this process.
pub(crate) fn drop_all() -> Result<(), Failure> {
    let stage = Stage::Privileges;
    drop_bounding_set().at(stage, "emptying the bounding set")?;
    rustix::thread::clear_ambient_capability_set().at(stage, "emptying the ambient set")?;
    let locked = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    rustix::thread::set_capabilities_secure_bits(locked).at(stage, "locking the secure bits")?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, none).at(stage, "dropping capabilities")?;
    rustix::thread::set_no_new_privs(true).at(stage, "refusing new privileges")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(stage, "hiding memory")
}

/// Gives up every capability that it has, as a process of a sandbox that others made: one without the
/// right to empty its bounding set. Without new privileges nothing in that set can be had any more.
pub(crate) fn drop_held() -> Result<(), Failure> {
    let stage = Stage::Privileges;
    rustix::thread::set_no_new_privs(true).at(stage, "refusing new privileges")?;
    match drop_bounding_set() {
        Err(error) if error.raw_os_error() != Some(libc::EPERM) => {
            return Err(error).at(stage, "emptying the bounding set");
        }
        // Whoever made the sandbox emptied it, or left it to one process that executes nothing.
        _ => {}
    }
    match rustix::thread::clear_ambient_capability_set() {
        // gVisor's kernel has no such set.
        Err(rustix::io::Errno::INVAL) => {}
        cleared => cleared.at(stage, "emptying the ambient set")?,
    }
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, none).at(stage, "dropping capabilities")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(stage, "hiding memory")
}

/// Lets no neighbour look into this process.
pub(crate) fn hide() -> rustix::io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

fn drop_bounding_set() -> io::Result<()> {
    for capability in 0.. {
        // SAFETY: this call only takes numbers.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            // The first number that is no capability ends the list.
            return if capability > 0 && error.raw_os_error() == Some(libc::EINVAL) {
                Ok(())
            } else {
                Err(error)
            };
        }
    }
    Ok(())
}
