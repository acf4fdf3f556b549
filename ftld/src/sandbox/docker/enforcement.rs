//! What holds in a container, compared with what was asked for.
//!
//! Owns the comparison with what process 1 found, and the sentences about it. Must not know how a container is
//! started. An engine's word is not enough: what process 1 sees is what an agent will see.

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};
use ftl_guest::stream::Inside;
use ftl_guest::tree::MOST_NODES;

use super::super::{Enforcement, Network, SandboxError, SandboxSpec};
use super::DockerConfig;
use super::engine::About;
use super::launch::Up;
use super::spec::{ContainerSpec, Role};
use super::users;

/// Tables of the kernel that show what others do, or where the kernel lies; every engine hides them.
const SECRET: &[&str] = &[
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];

/// What configures the whole machine.
const DANGEROUS: &[&str] = &["/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

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
        (!inside.can_work, "its user cannot write the workspace, which the engine gave to somebody else"),
    ];
    let mut faults: Vec<String> =
        faults.into_iter().filter(|(is, _)| *is).map(|(_, what)| what.to_owned()).collect();
    // The tables of another kernel are that container's own.
    if container.runtime.is_none() {
        let grave = |paths: &[String], grave: &[&str]| -> Vec<String> {
            paths.iter().filter(|path| grave.contains(&path.as_str())).cloned().collect()
        };
        for (paths, what) in [
            (grave(&inside.seen, SECRET), "are not hidden in it"),
            (grave(&inside.open, DANGEROUS), "can be written in it"),
        ] {
            if !paths.is_empty() {
                faults.push(format!("{} {what}", paths.join(", ")));
            }
        }
    }
    match faults.as_slice() {
        [] => Ok(()),
        _ => Err(SandboxError::Container {
            why: format!("it is not what was asked for: {}", faults.join("; ")),
            remedy: "see how the engine is configured; the native sandbox does not depend on it".to_owned(),
        }),
    }
}

/// Which limits of a container an engine can set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CanLimit {
    /// How much memory.
    pub(super) memory: bool,
    /// How many processes.
    pub(super) processes: bool,
    /// How much processor time.
    pub(super) processor: bool,
}

/// What the engine can limit, by what it says of its machine.
pub(super) fn limits(about: &About, info: &SystemInfo) -> CanLimit {
    // The first version of control groups is root's alone, whatever the machine has of it.
    let own =
        !users::is_rootless(about, info) || info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2);
    let can = |said: Option<bool>| own && said == Some(true);
    CanLimit {
        memory: can(info.memory_limit),
        processes: can(info.pids_limit),
        processor: can(info.cpu_cfs_quota),
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
    if config.runtime.is_none() {
        let tables = "tables of the kernel about the machine: hidden";
        match up.inside.seen.as_slice() {
            [] => enforced.push(tables.to_owned()),
            seen => unenforced.push(format!("{tables}, but not {}", seen.join(", "))),
        }
    }
    if let Some(runtime) = config.runtime {
        if up.pipe.is_some() {
            unenforced.push("names: nobody answers them inside; the proxy looks them up".to_owned());
        }
        enforced.push(format!("runtime: {}", runtime.name()));
    }
    let limits = &spec.limits;
    let can = self::limits(about, info);
    for (can, what) in [
        (can.memory, format!("memory: {} MiB", limits.memory_bytes >> 20)),
        (can.processes, format!("processes: {}", limits.processes)),
        (can.processor, format!("processor: {} %", limits.cpu_percent)),
    ] {
        match can {
            true => enforced.push(what),
            false => unenforced.push(format!("{what}: the engine has no control group for it")),
        }
    }
    enforced.push(format!("one file: {} MiB", limits.file_size_bytes >> 20));
    enforced.push(format!("open files: {}", limits.open_files));
    enforced.push(format!(
        "disk: {} MiB, {MOST_NODES} files (checked every {} ms)",
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
    use super::super::super::{Limits, Owner};
    use super::super::spec::{Belongs, Inner, Overlay, Runtime};
    use super::*;

    #[test]
    fn tables_that_every_engine_hides_and_settings_that_can_be_written_are_named() {
        let inside = |seen: &[&str], open: &[&str]| Inside {
            pid: 1,
            pid_namespace: 4_026_532_000,
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            capabilities: 0,
            no_new_privileges: true,
            filtered_before: true,
            landlock: 7,
            root_is_read_only: true,
            interfaces: vec!["lo".to_owned()],
            seen: seen.iter().map(|path| (*path).to_owned()).collect(),
            open: open.iter().map(|path| (*path).to_owned()).collect(),
            can_work: true,
            has_bash: true,
        };
        let user = Owner { uid: 1000, gid: 1000 };
        let workspace = Overlay { layers: Vec::new(), dir: "/x".into(), volatile: false };
        let limits = Limits {
            memory_bytes: 1,
            processes: 1,
            cpu_percent: 1,
            file_size_bytes: 1,
            disk_bytes: 1,
            open_files: 1,
        };
        let inner = Inner {
            user,
            limits,
            workspace,
            dir: "/x".into(),
            on_engine: true,
            ipv6: false,
            shown: Vec::new(),
        };
        let mut container = ContainerSpec {
            belongs: Belongs { instance: "i".to_owned(), session: "s".to_owned() },
            image: "sha256:abc".to_owned(),
            runtime: None,
            podman: true,
            role: Role::Sandbox(Box::new(inner)),
        };
        let harmless = inside(&["/proc/interrupts", "/sys"], &["/proc/tty"]);
        assert!(verify(&harmless, &container).is_ok());
        let open = inside(&["/proc/interrupts", "/proc/keys"], &["/proc/sys"]);
        let text = verify(&open, &container).unwrap_err().to_string();
        let told = "/proc/keys are not hidden in it; /proc/sys can be written in it";
        assert!(text.contains(told) && !text.contains("interrupts"), "{text}");
        container.runtime = Some(Runtime::Runsc);
        assert!(verify(&open, &container).is_ok(), "the tables of gVisor's own kernel");
        let other = Inside { can_work: false, ..harmless.clone() };
        assert!(verify(&other, &container).unwrap_err().to_string().contains("cannot write the workspace"));
        let dropped = Inside { no_new_privileges: false, ..harmless };
        assert!(verify(&dropped, &container).unwrap_err().to_string().contains("privileges can be gained"));
    }
}
