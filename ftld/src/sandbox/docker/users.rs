//! Whose the users in an engine's containers are.
//!
//! Owns what an engine says of that, and who a sandbox runs as there. Must not know containers. Where a user
//! namespace stands between, no file of this machine can be shared; what changed then travels, and the user
//! inside is one that every such namespace has.

use bollard::models::SystemInfo;
use ftl_guest::protocol::AGENT_ID;

use super::super::linux::identity;
use super::super::{Owner, SandboxError};
use super::engine::About;

/// What helps where a workspace on this machine was asked for, and users are not this machine's.
const REMEDY: &str = "let it be on the engine's disk: remove `workspace` from `docker` in ~/.ftl/config, or use the \
     native sandbox, which needs no engine and no root: `--sandbox native`";

/// Whether the engine itself is an ordinary user's.
pub(super) fn is_rootless(about: &About, info: &SystemInfo) -> bool {
    about.rootless || has(info, "name=rootless")
}

fn has(info: &SystemInfo, name: &str) -> bool {
    let mut options = info.security_options.iter().flatten();
    options.any(|option| option.split(',').any(|part| part == name))
}

/// Why the users in an engine's containers are others than this machine's; nothing when they are not.
pub(super) fn others(about: &About, info: &SystemInfo) -> Option<&'static str> {
    if is_rootless(about, info) {
        return Some(
            "the engine runs without root: in its containers every user but root is one of the subordinate ones \
             of /etc/subuid",
        );
    }
    has(info, "name=userns").then_some("the engine gives its containers users of their own (`userns-remap`)")
}

/// Refuses files of this machine to users that are not.
///
/// # Errors
/// When the workspace does not travel and would have to.
pub(super) fn can_share(about: &About, info: &SystemInfo, travels: bool) -> Result<(), SandboxError> {
    match others(about, info) {
        Some(why) if !travels => Err(SandboxError::Container {
            why: format!("{why}, so that a sandbox could not write a workspace of this machine"),
            remedy: REMEDY.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Who everything in a sandbox runs as.
///
/// # Errors
/// When this machine has no id that is nobody's.
pub(super) fn user(about: &About, info: &SystemInfo) -> Result<Owner, SandboxError> {
    match others(about, info) {
        // There it is one that nobody has outside.
        Some(_) => Ok(Owner { uid: AGENT_ID, gid: AGENT_ID }),
        None => of_this_machine(),
    }
}

/// Who owns a sandbox's files where its users are this machine's.
///
/// # Errors
/// When this machine has no id that is nobody's.
pub(super) fn of_this_machine() -> Result<Owner, SandboxError> {
    Ok(identity::owner()?.unwrap_or_else(|| Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_this_machine_are_not_given_to_users_of_another_kind() {
        let with = |options: &[&str]| SystemInfo {
            security_options: Some(options.iter().map(|option| (*option).to_owned()).collect()),
            ..SystemInfo::default()
        };
        let usual = with(&["name=apparmor", "name=seccomp,profile=builtin"]);
        let docker = About::test("Docker", "20.10.24");
        assert!(can_share(&docker, &usual, false).is_ok());
        assert_eq!(user(&docker, &usual).unwrap(), of_this_machine().unwrap());
        let podman = About { rootless: true, ..About::test("Podman", "4.3.1") };
        for (about, info, what) in [
            (&docker, with(&["name=seccomp", "name=rootless"]), "/etc/subuid"),
            (&docker, with(&["name=userns"]), "`userns-remap`"),
            (&podman, usual, "/etc/subuid"),
        ] {
            assert!(can_share(about, &info, true).is_ok());
            assert_eq!(user(about, &info).unwrap().uid, AGENT_ID);
            let text = can_share(about, &info, false).unwrap_err().to_string();
            assert!(text.contains(what) && text.contains("the native sandbox"), "{text}");
        }
    }
}
