//! What a container is: a closed type, and the one place that turns it into what an engine is asked for.
//!
//! Owns every setting of both kinds of container. Must not know engines, and no text of a user's or an
//! agent's can become a setting: there are paths, numbers and names of our own. Whatever is not named here
//! is the engine's default, and the tests compare all of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, MountVolumeOptions, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum, VolumeCreateRequest,
};

use ftl_guest::tables::{HIDDEN, READ_ONLY};
use ftl_guest::tree::{LAYERS, SESSION};

use super::super::{HOME, Limits, Owner, WORKSPACE};
use super::setup::guest_layer::GUEST;

/// The instance of FTL that a thing of an engine belongs to.
pub(super) const LABEL_INSTANCE: &str = "dev.ftl.instance";

/// The session that it belongs to.
pub(super) const LABEL_SESSION: &str = "dev.ftl.session";

/// The directory of this machine whose work may be in a volume.
pub(super) const LABEL_DIR: &str = "dev.ftl.dir";

/// What it is for: `sandbox`, `door`, `workspace`; `keeper`, `work`, `layers`.
pub(super) const LABEL_ROLE: &str = "dev.ftl.role";

/// What the door may use: one process without threads, and what a runtime needs to start it.
const DOOR_PROCESSES: i64 = 32;

/// As many connections as there can be, each with all that may wait for it.
const DOOR_MEMORY: i64 = 512 << 20;

/// What the keeper of a session's files may use: lists of their names.
const KEEPER_MEMORY: i64 = 1 << 30;

/// Options of an overlay beside its directories, the same as the native sandbox's but for `redirect_dir`, which
/// is refused to an engine: what is captured reads the same marks.
pub(super) const OVERLAY_OPTIONS: &str = "userxattr,index=off,metacopy=off,redirect_dir=nofollow,xino=off";

/// Who is killed first when the machine's memory runs out: this much before others.
const OOM_SCORE: i64 = 500;

/// The period in which processor time is counted, microseconds.
const CPU_PERIOD: i64 = 100_000;

/// What Podman's containers may have open, beside what it would ask of a system that may not give it: files of a
/// process, and processes of a user. Control groups and process 1 set what programs get.
const PODMAN_LIMITS: [(&str, i64, i64); 2] = [("nofile", 1024, 16384), ("nproc", 16384, 16384)];

/// Whose a container is.
#[derive(Clone, Debug)]
pub(super) struct Belongs {
    /// Which daemon's.
    pub(super) instance: String,
    /// Which session's.
    pub(super) session: String,
}

/// How containers are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// gVisor: a kernel of its own in a process.
    Runsc,
    /// Kata: a virtual machine each.
    Kata,
}

/// A container.
#[derive(Clone, Debug)]
pub(super) struct ContainerSpec {
    /// Whose it is.
    pub(super) belongs: Belongs,
    /// The image's id, which cannot come to mean another one.
    pub(super) image: String,
    /// How it is run; the engine's own way when absent.
    pub(super) runtime: Option<Runtime>,
    /// Whether the engine is Podman, which takes some settings in words of its own.
    pub(super) podman: bool,
    /// What it is for.
    pub(super) role: Role,
}

/// What a container is for.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Programs of an agent run in it.
    Sandbox(Box<Inner>),
    /// It stands in the network of a sandbox and carries what would leave.
    Door {
        /// The sandbox's container id.
        of: String,
    },
    /// It has the session's files, on an engine that cannot see them here.
    Keeper,
}

/// What is special about a sandbox's container.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    /// Who everything in it runs as.
    pub(super) user: Owner,
    /// What it may use up.
    pub(super) limits: Limits,
    /// The workspace.
    pub(super) workspace: Overlay,
    /// The session's directory with `home` and `tmp`.
    pub(super) dir: PathBuf,
    /// Whether these directories are the engine's own, and not this machine's.
    pub(super) on_engine: bool,
    /// Whether there is a loopback address of version 6, as there is where the kernel knows that version.
    pub(super) ipv6: bool,
    /// Files and directories of the daemon's own, shown read-only: on the host, and inside.
    pub(super) shown: Vec<(PathBuf, PathBuf)>,
}

/// A workspace that the engine mounts: the session's upper layer over what it must not change.
#[derive(Clone, Debug)]
pub(super) struct Overlay {
    /// The lower layers, the one on top first.
    pub(super) layers: Vec<PathBuf>,
    /// The session's directory with `upper` and `work`.
    pub(super) dir: PathBuf,
    /// Whether nothing is forced to the disk: a crash of the host loses the session anyway. It leaves a
    /// mark that only root can remove.
    pub(super) volatile: bool,
}

/// A path that cannot be part of a mount's options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be a layer of a container's workspace: {why}", path.display())]
pub(super) struct BadLayer {
    path: PathBuf,
    why: &'static str,
}

/// The longest options that the kernel takes from a mount, bytes.
const LONGEST_OPTIONS: usize = 4000;

impl Runtime {
    /// The runtime of that name in the configuration.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "runsc" => Some(Self::Runsc),
            "kata" => Some(Self::Kata),
            _ => None,
        }
    }

    /// Its name, which is the engine's too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Runsc => "runsc",
            Self::Kata => "kata",
        }
    }
}

impl Belongs {
    /// The labels of a thing that all sessions share.
    pub(super) fn of_all(&self, role: &str) -> HashMap<String, String> {
        let mut labels = self.labels(role);
        labels.remove(LABEL_SESSION);
        labels
    }

    /// The volume of the trees that all sessions share.
    pub(super) fn layers(&self) -> String {
        format!("ftl-{}-layers", self.instance)
    }

    /// What to look for to find everything of the session.
    pub(super) fn filter(&self) -> [String; 2] {
        [format!("{LABEL_INSTANCE}={}", self.instance), format!("{LABEL_SESSION}={}", self.session)]
    }

    /// The labels of a thing that is for `role`.
    pub(super) fn labels(&self, role: &str) -> HashMap<String, String> {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        HashMap::from([
            label(LABEL_INSTANCE, &self.instance),
            label(LABEL_SESSION, &self.session),
            label(LABEL_ROLE, role),
        ])
    }

    /// The name of a thing that is for `role`; a session has one of each at a time.
    pub(super) fn name(&self, role: &str) -> String {
        format!("ftl-{}-{}-{role}", self.instance, self.session)
    }
}

impl ContainerSpec {
    /// Its name.
    pub(super) fn name(&self) -> String {
        self.belongs.name(self.role.name())
    }

    /// The volume that must be made before it.
    ///
    /// # Errors
    /// When a layer's path cannot be an option of a mount.
    pub(super) fn volume(&self) -> Result<Option<VolumeCreateRequest>, BadLayer> {
        let Role::Sandbox(inner) = &self.role else { return Ok(None) };
        let options = [
            ("type", "overlay".to_owned()),
            ("device", "overlay".to_owned()),
            ("o", inner.workspace.options()?),
        ];
        Ok(Some(VolumeCreateRequest {
            name: Some(self.belongs.name("workspace")),
            driver: Some("local".to_owned()),
            driver_opts: Some(options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            labels: Some(self.belongs.labels("workspace")),
            ..VolumeCreateRequest::default()
        }))
    }

    /// What the engine is asked for.
    ///
    /// # Errors
    /// When a layer's path cannot be an option of a mount.
    pub(super) fn body(&self) -> Result<ContainerCreateBody, BadLayer> {
        let closed = HostConfig {
            auto_remove: Some(false),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            init: Some(false),
            ipc_mode: Some("private".to_owned()),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            oom_score_adj: Some(OOM_SCORE),
            privileged: Some(false),
            publish_all_ports: Some(false),
            readonly_rootfs: Some(true),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            runtime: self.runtime.map(|runtime| runtime.name().to_owned()),
            security_opt: Some(self.security()),
            masked_paths: Some(HIDDEN.iter().map(|path| (*path).to_owned()).collect()),
            ulimits: Some(self.ulimits()),
            readonly_paths: Some(READ_ONLY.iter().map(|path| (*path).to_owned()).collect()),
            ..HostConfig::default()
        };
        let (mode, user, host) = match &self.role {
            Role::Sandbox(inner) => {
                let user = format!("{}:{}", inner.user.uid, inner.user.gid);
                ("serve", user, inner.closed(&self.belongs, closed)?)
            }
            Role::Door { of } => ("relay", "0:0".to_owned(), door(of, closed)),
            Role::Keeper => ("keep", "0:0".to_owned(), keeper(&self.belongs, closed)),
        };
        Ok(ContainerCreateBody {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(vec![mode.to_owned()]),
            entrypoint: Some(vec![GUEST.to_owned()]),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            host_config: Some(host),
            // The network that it joins has its own.
            hostname: (!matches!(self.role, Role::Door { .. })).then(|| "ftl".to_owned()),
            image: Some(self.image.clone()),
            labels: Some(self.belongs.labels(self.role.name())),
            open_stdin: Some(true),
            // Its end is the end of process 1.
            stdin_once: Some(true),
            tty: Some(false),
            user: Some(user),
            working_dir: Some("/".to_owned()),
            ..ContainerCreateBody::default()
        })
    }
}

impl ContainerSpec {
    fn security(&self) -> Vec<String> {
        let mut options = vec!["no-new-privileges:true".to_owned()];
        if self.podman {
            options.push(format!("mask={}", HIDDEN.join(":")));
        }
        options
    }

    /// More descriptors than the engine has itself it may not give; process 1 sets what programs get.
    fn ulimits(&self) -> Vec<ResourcesUlimits> {
        let own = if self.podman { &PODMAN_LIMITS[..] } else { &[] };
        let all = [("core", 0, 0)].into_iter().chain(own.iter().copied());
        let limit = |(name, soft, hard): (&str, i64, i64)| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(soft),
            hard: Some(hard),
        };
        all.map(limit).collect()
    }
}

impl Role {
    fn name(&self) -> &'static str {
        match self {
            Self::Sandbox(_) => "sandbox",
            Self::Door { .. } => "door",
            Self::Keeper => "keeper",
        }
    }
}

impl Inner {
    fn closed(&self, belongs: &Belongs, host: HostConfig) -> Result<HostConfig, BadLayer> {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let limits = &self.limits;
        let memory = number(limits.memory_bytes);
        let mut mounts = vec![
            Overlay::mount(belongs),
            bind(&self.dir.join("home"), Path::new(HOME), false)?,
            bind(&self.dir.join("tmp"), Path::new("/tmp"), false)?,
            bind(&self.dir.join("tmp"), Path::new("/var/tmp"), false)?,
        ];
        for (source, target) in &self.shown {
            mounts.push(bind(source, target, true)?);
        }
        if self.on_engine {
            // Of its own directories an engine wants to take mounts back; there are none in these.
            for options in mounts.iter_mut().filter_map(|mount| mount.bind_options.as_mut()) {
                options.propagation = Some(MountBindOptionsPropagationEnum::RSLAVE);
            }
        }
        Ok(HostConfig {
            cpu_period: Some(CPU_PERIOD),
            cpu_quota: Some(i64::from(limits.cpu_percent) * (CPU_PERIOD / 100)),
            memory: Some(memory),
            // The same: no swap beside it.
            memory_swap: Some(memory),
            mounts: Some(mounts),
            network_mode: Some("none".to_owned()),
            // Process 1 is one more.
            pids_limit: Some(number(limits.processes.saturating_add(1))),
            shm_size: Some(memory / 4),
            sysctls: Some(self.sysctls()),
            ..host
        })
    }
}

impl Inner {
    /// Settings of its own network; engines open what a sandbox does not need.
    fn sysctls(&self) -> HashMap<String, String> {
        let mut settings = vec![
            // The system's ports are the door's.
            ("net.ipv4.ip_unprivileged_port_start", "1024"),
            // No group may ask by ICMP.
            ("net.ipv4.ping_group_range", "1 0"),
        ];
        if self.ipv6 {
            // Programs' own servers may want it, and it leads nowhere.
            settings.push(("net.ipv6.conf.lo.disable_ipv6", "0"));
        }
        settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl Overlay {
    /// The mount, a volume of this one container's that an engine's own driver mounts. It is made before: not
    /// every engine passes on what a mount says of its volume.
    fn mount(belongs: &Belongs) -> Mount {
        Mount {
            target: Some(WORKSPACE.to_owned()),
            source: Some(belongs.name("workspace")),
            typ: Some(MountType::VOLUME),
            read_only: Some(false),
            volume_options: Some(MountVolumeOptions {
                // What the image has there is not copied into the session's layer.
                no_copy: Some(true),
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        }
    }

    fn options(&self) -> Result<String, BadLayer> {
        let lower = self.layers.iter().map(|layer| option(layer)).collect::<Result<Vec<_>, _>>()?.join(":");
        let (upper, work) = (option(&self.dir.join("upper"))?, option(&self.dir.join("work"))?);
        let volatile = if self.volatile { ",volatile" } else { "" };
        let options = format!(
            "nosuid,nodev,lowerdir={lower},upperdir={upper},workdir={work},\
             {OVERLAY_OPTIONS}{volatile}"
        );
        match options.len() {
            ..=LONGEST_OPTIONS => Ok(options),
            _ => Err(BadLayer { path: self.dir.clone(), why: "all their paths together are too long" }),
        }
    }
}

/// A path as a part of overlay's options.
pub(super) fn option(path: &Path) -> Result<String, BadLayer> {
    let bad = |why| BadLayer { path: path.to_owned(), why };
    let text = path.to_str().ok_or_else(|| bad("its name is no text"))?;
    if !path.is_absolute() || text.contains([',', '\n', '"']) {
        return Err(bad("its name has a comma, a quotation mark or a line end"));
    }
    Ok(text.replace('\\', "\\\\").replace(':', "\\:"))
}

/// A directory or file of the daemon's own, seen inside.
fn bind(source: &Path, target: &Path, read_only: bool) -> Result<Mount, BadLayer> {
    let text = |path: &Path| {
        let bad = || BadLayer { path: path.to_owned(), why: "its name is no text" };
        path.to_str().map(str::to_owned).ok_or_else(bad)
    };
    Ok(Mount {
        target: Some(text(target)?),
        source: Some(text(source)?),
        typ: Some(MountType::BIND),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            non_recursive: Some(true),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    })
}

/// The container that sets the redirections and then gives up the right to.
fn door(of: &str, host: HostConfig) -> HostConfig {
    HostConfig {
        // For packet rules, and for the port at which names are asked.
        cap_add: Some(vec!["NET_ADMIN".to_owned(), "NET_BIND_SERVICE".to_owned()]),
        memory: Some(DOOR_MEMORY),
        memory_swap: Some(DOOR_MEMORY),
        network_mode: Some(format!("container:{of}")),
        pids_limit: Some(DOOR_PROCESSES),
        ..host
    }
}

/// The container that has a session's files: it may write what belongs to others, and no program runs in it.
fn keeper(belongs: &Belongs, host: HostConfig) -> HostConfig {
    let volume = |name: String, target: &str| Mount {
        target: Some(target.to_owned()),
        source: Some(name),
        typ: Some(MountType::VOLUME),
        read_only: Some(false),
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    };
    HostConfig {
        cap_add: Some(["CHOWN", "DAC_OVERRIDE", "FOWNER"].map(str::to_owned).into()),
        memory: Some(KEEPER_MEMORY),
        memory_swap: Some(KEEPER_MEMORY),
        mounts: Some(vec![volume(belongs.layers(), LAYERS), volume(belongs.name("work"), SESSION)]),
        network_mode: Some("none".to_owned()),
        pids_limit: Some(DOOR_PROCESSES),
        ..host
    }
}

#[cfg(test)]
mod tests;
