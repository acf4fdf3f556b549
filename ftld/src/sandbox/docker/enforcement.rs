//! What holds in a container, compared with what was asked for.
//!
//! Owns the comparison with what process 1 found, and the sentences about it. Must not know how a container is
//! started. An engine's word is not enough: what process 1 sees is what an agent will see.

use bollard::models::SystemInfo;
use ftl_guest::stream::Inside;

use super::super::{Enforcement, Network, SandboxError, SandboxSpec};
use super::DockerConfig;
use super::engine::About;
use super::launch::Up;
use super::spec::{ContainerSpec, Role, Runtime};

/// Refuses a container that is not closed.
///
/// # Errors
/// With everything that does not hold.
pub(super) fn verify(inside: &Inside, container: &ContainerSpec) -> Result<(), SandboxError> {
    let Role::Sandbox(inner) = &container.role else { return Ok(()) };
    // gVisor's kernel knows no filters of the host's; it is a filter itself.
    let filtered = inside.filtered_before || container.runtime.is_some();
    let other_groups = inside.groups.iter().any(|group| *group != inner.user.gid);
    let faults = [
        (inside.pid != 1, "its program is not process 1"),
        (inside.uid != inner.user.uid || inside.gid != inner.user.gid, "it runs as another user"),
        (other_groups, "it has groups of the image's"),
        (inside.capabilities != 0, "it has capabilities"),
        (!inside.no_new_privileges, "privileges can be gained in it"),
        (!filtered, "the engine filters no system calls"),
        (!inside.root_is_read_only, "its root directory can be written"),
        (inside.interfaces.iter().any(|name| !is_loopback(name)), "it has a network of its own"),
    ];
    let faults: Vec<&str> = faults.into_iter().filter_map(|(is, what)| is.then_some(what)).collect();
    match faults.as_slice() {
        [] => Ok(()),
        _ => Err(SandboxError::Container {
            why: format!("it is not closed: {}", faults.join("; ")),
            remedy: "see how the engine is configured; the native sandbox does not depend on it".to_owned(),
        }),
    }
}

/// What helps where users are not this machine's.
pub(super) const OTHER_USERS_REMEDY: &str = "name a Docker engine that runs as root and without `userns-remap` in `docker.host` of ~/.ftl/config, or use the \
     native sandbox, which needs no engine and no root: `--sandbox native`";

/// Why the users in an engine's containers are others than this machine's; nothing when they are not.
pub(super) fn other_users(info: &SystemInfo) -> Option<&'static str> {
    let has = |name: &str| {
        let mut options = info.security_options.iter().flatten();
        options.any(|option| option.split(',').any(|part| part == name))
    };
    if has("name=rootless") {
        return Some(
            "the engine runs without root: in its containers every user but root is one of the subordinate \
             ones of /etc/subuid, so that a sandbox, which never runs as root, could not write its workspace",
        );
    }
    has("name=userns").then_some(
        "the engine gives its containers users of their own (`userns-remap`), so that a sandbox could not write \
         its workspace",
    )
}

/// Why containers of an engine of this kind are no sandboxes; nothing when they are.
pub(super) fn other_kind(kind: &str) -> Option<&'static str> {
    (kind == "Podman").then_some(
        "Podman takes Docker's requests and leaves out some of what they ask for; that its containers are as \
         closed as was asked has not been verified, and no sandbox came up in one that was tried",
    )
}

/// Refuses an engine whose containers would be no sandboxes of this session.
///
/// # Errors
/// When they would have other users than this machine, or no way out where there should be one.
pub(super) fn usable(
    about: &About,
    info: &SystemInfo,
    network: Network,
    runtime: Option<Runtime>,
) -> Result<(), SandboxError> {
    if let Some(why) = other_kind(about.kind).or_else(|| other_users(info)) {
        return Err(SandboxError::Container { why: why.to_owned(), remedy: OTHER_USERS_REMEDY.to_owned() });
    }
    match runtime {
        // The door joins a network of the host's kernel, and these have one of their own.
        Some(runtime) if network == Network::Egress => Err(SandboxError::Container {
            why: format!("with the runtime {} there is no way out to the proxy yet", runtime.name()),
            remedy: "remove `docker.runtime` from ~/.ftl/config, or use the native sandbox".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Interfaces that lead nowhere; the kernel makes some of them in every namespace when its modules are loaded.
fn is_loopback(name: &str) -> bool {
    const EVERYWHERE: [&str; 10] =
        ["lo", "tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"];
    EVERYWHERE.contains(&name)
}

/// Says what holds. `info` is what the engine says of its machine.
pub(super) fn describe(
    about: &About,
    info: &SystemInfo,
    spec: &SandboxSpec,
    up: &Up,
    config: &DockerConfig,
) -> Enforcement {
    let mut enforced = vec![
        format!("container of {} {} at {}", about.kind, about.version, about.at),
        "namespaces: mount, process, network, ipc, host name, control group".to_owned(),
        "privileges: none, and none to be gained".to_owned(),
        "system calls: filtered by the engine and again by FTL".to_owned(),
        "root directory: the image's, read-only".to_owned(),
    ];
    let mut unenforced = Vec::new();
    enforced.push(match spec.network {
        Network::None => "network: only the sandbox's own loopback interface".to_owned(),
        Network::Egress => {
            "network: the sandbox's own loopback interface, and a pipe to the proxy".to_owned()
        }
    });
    if up.pipe.as_ref().is_some_and(|pipe| pipe.transparent.is_none()) {
        // Nothing gets out by that: what is not redirected fails.
        unenforced.push(
            "network of programs that ignore the proxy settings: none; packet rules cannot be set".to_owned(),
        );
    }
    if let Some(runtime) = config.runtime {
        enforced.push(format!("runtime: {}", runtime.name()));
    }
    let limits = &spec.limits;
    for (can, what) in [
        (info.memory_limit, format!("memory: {} MiB", limits.memory_bytes >> 20)),
        (info.pids_limit, format!("processes: {}", limits.processes)),
        (info.cpu_cfs_quota, format!("processor: {} %", limits.cpu_percent)),
    ] {
        match can {
            Some(true) => enforced.push(what),
            _ => unenforced.push(format!("{what}: the engine has no control group for it")),
        }
    }
    enforced.push(format!("one file: {} MiB", limits.file_size_bytes >> 20));
    enforced.push(format!("open files: {}", limits.open_files));
    enforced.push(format!(
        "disk: {} MiB (checked every {} ms)",
        limits.disk_bytes >> 20,
        config.disk_interval.as_millis()
    ));
    match up.inside.landlock {
        0 => unenforced.push("Landlock: there is none inside; the mounts hold alone".to_owned()),
        version => enforced.push(format!("Landlock: version {version}")),
    }
    Enforcement { enforced, unenforced }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_whose_containers_would_be_no_sandboxes_is_refused_with_what_helps() {
        let with = |options: &[&str]| SystemInfo {
            security_options: Some(options.iter().map(|option| (*option).to_owned()).collect()),
            ..SystemInfo::default()
        };
        let usual = with(&["name=apparmor", "name=seccomp,profile=builtin"]);
        let docker = About {
            at: "unix:///x".to_owned(),
            found: "a test".to_owned(),
            local: true,
            kind: "Docker",
            version: "20.10.24".to_owned(),
            api: "1.41".to_owned(),
            arch: "amd64".to_owned(),
            parts: Vec::new(),
        };
        assert!(usable(&docker, &usual, Network::Egress, None).is_ok());
        assert!(usable(&docker, &usual, Network::None, Some(Runtime::Runsc)).is_ok());
        let podman = About { kind: "Podman", ..docker.clone() };
        let text = usable(&podman, &usual, Network::None, None).unwrap_err().to_string();
        assert!(text.contains("Podman takes") && text.contains("docker.host"), "{text}");
        for (info, runtime, what) in [
            (with(&["name=seccomp", "name=rootless"]), None, "/etc/subuid"),
            (with(&["name=userns"]), None, "`userns-remap`"),
            (usual.clone(), Some(Runtime::Runsc), "runtime runsc"),
            (usual, Some(Runtime::Kata), "runtime kata"),
        ] {
            let error = usable(&docker, &info, Network::Egress, runtime).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(what) && text.contains("the native sandbox"), "{text}");
        }
    }
}
