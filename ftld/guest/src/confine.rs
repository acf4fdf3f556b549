//! Landlock: a second lock on the file system, and on signals.
//!
//! Owns where may be written, said once more to another part of the kernel than the mounts. Must not
//! know the mounts. Old kernels have less of it or none; what is in force is reported, not assumed.

use ftl_guest::protocol::{Failure, HOME, Stage, WORKSPACE};
use landlock::{
    ABI, Access, AccessFs, BitFlags, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// The newest version whose rights were considered here.
const KNOWN: ABI = ABI::V7;

/// Directories in which everything may be written.
const WRITABLE: &[&str] = &[WORKSPACE, HOME, "/tmp", "/var/tmp", "/dev/shm"];

/// Restricts this process and its children; gives the version in force.
pub(crate) fn landlock() -> Result<u32, Failure> {
    in_force(restrict())
}

fn in_force(restricted: Result<landlock::RestrictionStatus, RulesetError>) -> Result<u32, Failure> {
    let status = restricted.map_err(|error| Failure {
        stage: Stage::Landlock,
        errno: libc::EPERM,
        what: format!("restricting with Landlock ({error})"),
    })?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => 0,
        (_, LandlockStatus::Available { effective_abi, .. }) => effective_abi as u32,
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => 0,
    })
}

/// Takes the right to write anything from this process for good; gives the version in force.
pub(crate) fn write_nothing() -> Result<u32, Failure> {
    let none = || -> Result<landlock::RestrictionStatus, RulesetError> {
        let rules = Ruleset::default().set_compatibility(landlock::CompatLevel::BestEffort);
        rules.handle_access(AccessFs::from_write(KNOWN))?.create()?.restrict_self()
    };
    in_force(none())
}

fn restrict() -> Result<landlock::RestrictionStatus, RulesetError> {
    let write = AccessFs::from_write(KNOWN);
    let mut rules = Ruleset::default()
        .set_compatibility(landlock::CompatLevel::BestEffort)
        .handle_access(write)?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    for path in WRITABLE {
        rules = allow(rules, path, write)?;
    }
    // Device nodes and terminals; none can be made or removed there.
    rules = allow(rules, "/dev", AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev)?;
    // A process may write to its own entries, such as its name; the rest is guarded by its modes.
    rules = allow(rules, "/proc", AccessFs::WriteFile | AccessFs::Truncate)?;
    rules.restrict_self()
}

fn allow(
    rules: RulesetCreated,
    path: &str,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(fd) => rules.add_rule(PathBeneath::new(fd, access)),
        // What cannot be opened cannot be allowed: less is writable then, not more.
        Err(_) => Ok(rules),
    }
}
