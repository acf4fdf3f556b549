//! Control groups: memory, processes and processor time of a sandbox as a whole.
//!
//! Owns where they are and what is written into them, for both versions of the interface. Must not know
//! what else is limited. An ordinary user often may not have them; then it says so and why, and nothing
//! fails.

mod places;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ftl_core::id::SessionId;
use rustix::process::{Pid, Signal};

use super::super::{Enforcement, Limits};
use places::Place;

/// One scheduling period, microseconds: the kernel's own default.
const PERIOD_US: u64 = 100_000;

/// Processes of a sandbox that are the helper's.
pub(super) const OWN_PROCESSES: u64 = 2;

/// How often removing a group is tried: the kernel takes a moment to forget the last process.
const ATTEMPTS: u32 = 50;

/// How long it is waited between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// What a control group can limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// Bytes of memory.
    Memory,
    /// Processes and threads.
    Processes,
    /// Processor time.
    Cpu,
}

/// Which interface a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// One hierarchy per controller.
    One,
    /// One hierarchy for all.
    Two,
}

/// The control groups that this daemon may make.
#[derive(Clone, Debug)]
pub(super) struct Cgroups {
    /// Where, for each resource that can be limited.
    available: Vec<(Resource, Place)>,
    /// Why not, for the others.
    missing: Vec<(Resource, String)>,
}

/// The control groups of one sandbox, made or not.
#[derive(Debug)]
pub(super) struct Group {
    groups: Vec<(Resource, Place, PathBuf)>,
    missing: Vec<(Resource, String)>,
    /// The ways into those that were made and limit something.
    made: Vec<PathBuf>,
}

impl Cgroups {
    /// Finds out what can be had, by trying. With version 2 this may move the daemon itself into a group
    /// of its own beneath the one it was started in: a group with processes cannot have limited children.
    pub(super) fn detect(instance: &str) -> Self {
        let (mut available, mut missing) = (Vec::new(), Vec::new());
        let places = places::find();
        for resource in [Resource::Memory, Resource::Processes, Resource::Cpu] {
            match places.iter().find(|place| place.resources.contains(&resource)) {
                None => missing.push((resource, "this machine has no control group for it".to_owned())),
                Some(place) => match place.claim(instance) {
                    Ok(claimed) => available.push((resource, claimed)),
                    Err(error) => {
                        let why =
                            format!("no control group may be made in {} ({error})", place.dir.display());
                        missing.push((resource, why));
                    }
                },
            }
        }
        Self { available, missing }
    }

    /// What cannot be limited, and why not.
    pub(super) fn missing(&self) -> &[(Resource, String)] {
        &self.missing
    }

    /// The groups of a session.
    pub(super) fn of(&self, session: &SessionId) -> Group {
        let groups = self.available.iter();
        let groups =
            groups.map(|(resource, place)| (*resource, place.clone(), place.dir.join(session.as_str())));
        Group { groups: groups.collect(), missing: self.missing.clone(), made: Vec::new() }
    }
}

impl Group {
    /// Makes the groups and sets their limits; says what holds and what does not.
    pub(super) fn make(&mut self, limits: &Limits, enforcement: &mut Enforcement) {
        for (resource, place, dir) in &self.groups {
            let wanted = resource.describe(limits);
            // Another session's end may remove a parent just now, so one more attempt is worth it.
            let attempt = || make(place, dir, *resource, limits);
            match attempt().or_else(|_| attempt()) {
                Ok(()) => {
                    enforcement.enforced.push(format!("{wanted} (control group)"));
                    let door = dir.join(place.version.door());
                    if !self.made.contains(&door) {
                        self.made.push(door);
                    }
                }
                Err(error) => {
                    enforcement.unenforced.push(format!("{wanted}: {} ({error})", dir.display()));
                }
            }
        }
        for (resource, why) in &self.missing {
            let wanted = resource.describe(limits);
            if *resource == Resource::Processes {
                // The helper limits them as well, for the sandbox's own user namespace.
                enforcement.enforced.push(format!("{wanted} (resource limit)"));
            } else {
                enforcement.unenforced.push(format!("{wanted}: {why}"));
            }
        }
    }

    /// Opens the way into every group that was made. Whoever writes `0` to one of these is in the group,
    /// with all its future children. A process that enters by itself does so at once; being put there
    /// by another makes the kernel wait for every processor.
    pub(super) fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        self.made.iter().map(|door| Ok(fs::OpenOptions::new().write(true).open(door)?.into())).collect()
    }

    /// Ends what is left in the groups, whoever made them, and removes them.
    pub(super) async fn remove(&self) {
        for (_, place, dir) in &self.groups {
            remove(dir).await;
            place.prune();
        }
    }
}

impl Version {
    /// The file by which a process enters a group.
    fn door(self) -> &'static str {
        match self {
            Self::One => "tasks",
            Self::Two => "cgroup.procs",
        }
    }
}

impl Resource {
    /// The limit as people would say it.
    fn describe(self, limits: &Limits) -> String {
        match self {
            Self::Memory => format!("memory: {} MiB", limits.memory_bytes >> 20),
            Self::Processes => format!("processes: {}", limits.processes),
            Self::Cpu => format!("processor: {} % of one", limits.cpu_percent),
        }
    }

    /// The resource's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory limit",
            Self::Processes => "process limit",
            Self::Cpu => "processor limit",
        }
    }
}

/// What is written where. A file that may be missing is marked so.
fn settings(resource: Resource, version: Version, limits: &Limits) -> Vec<(&'static str, String, bool)> {
    let quota = (u64::from(limits.cpu_percent.max(1)) * PERIOD_US / 100).to_string();
    let memory = limits.memory_bytes.to_string();
    let processes = (limits.processes + OWN_PROCESSES).to_string();
    match (resource, version) {
        (Resource::Memory, Version::One) => vec![
            ("memory.limit_in_bytes", memory.clone(), true),
            // Memory and swap together; missing when the kernel does not count swap.
            ("memory.memsw.limit_in_bytes", memory, false),
        ],
        (Resource::Memory, Version::Two) => {
            vec![("memory.max", memory, true), ("memory.swap.max", "0".to_owned(), false)]
        }
        (Resource::Processes, _) => vec![("pids.max", processes, true)],
        (Resource::Cpu, Version::One) => {
            vec![("cpu.cfs_period_us", PERIOD_US.to_string(), true), ("cpu.cfs_quota_us", quota, true)]
        }
        (Resource::Cpu, Version::Two) => vec![("cpu.max", format!("{quota} {PERIOD_US}"), true)],
    }
}

fn make(place: &Place, dir: &Path, resource: Resource, limits: &Limits) -> io::Result<()> {
    place.prepare()?;
    fs::create_dir_all(dir)?;
    for (file, value, required) in settings(resource, place.version, limits) {
        let path = dir.join(file);
        if !required && !path.exists() {
            continue;
        }
        // Opened without making it: on anything but a real group a missing file must stay an error.
        fs::OpenOptions::new().write(true).open(&path)?.write_all(value.as_bytes())?;
    }
    Ok(())
}

async fn remove(dir: &Path) {
    for attempt in 1..=ATTEMPTS {
        match fs::remove_dir(dir) {
            Ok(()) => return,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) if attempt == ATTEMPTS => {
                tracing::warn!(dir = %dir.display(), %error, "a control group stays behind");
            }
            Err(_) => {
                kill_all(dir);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn kill_all(dir: &Path) {
    if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let Ok(processes) = fs::read_to_string(dir.join("cgroup.procs")) else { return };
    for pid in processes.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        // One that has ended meanwhile is what is wanted.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        memory_bytes: 1 << 30,
        processes: 100,
        cpu_percent: 150,
        file_size_bytes: 0,
        disk_bytes: 0,
        open_files: 0,
    };

    #[test]
    fn both_versions_are_told_the_same() {
        let values = |resource, version| {
            settings(resource, version, &LIMITS)
                .into_iter()
                .map(|(file, value, _)| format!("{file}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            values(Resource::Memory, Version::One),
            ["memory.limit_in_bytes=1073741824", "memory.memsw.limit_in_bytes=1073741824"]
        );
        assert_eq!(values(Resource::Memory, Version::Two), ["memory.max=1073741824", "memory.swap.max=0"]);
        assert_eq!(values(Resource::Cpu, Version::Two), ["cpu.max=150000 100000"]);
        assert_eq!(
            values(Resource::Cpu, Version::One),
            ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000"]
        );
        assert_eq!(values(Resource::Processes, Version::One), ["pids.max=102"]);
    }

    #[test]
    fn what_cannot_be_limited_is_said() {
        let missing = [Resource::Memory, Resource::Processes, Resource::Cpu]
            .map(|resource| (resource, "none".to_owned()));
        let mut group = Group { groups: Vec::new(), missing: missing.to_vec(), made: Vec::new() };
        let mut enforcement = Enforcement::default();
        group.make(&LIMITS, &mut enforcement);
        assert_eq!(enforcement.unenforced, ["memory: 1024 MiB: none", "processor: 150 % of one: none"]);
        assert_eq!(enforcement.enforced, ["processes: 100 (resource limit)"]);
    }

    #[test]
    fn a_group_that_cannot_be_made_is_no_limit() {
        let dir = PathBuf::from("/proc/none/ftl/x");
        let place = Place { version: Version::One, dir, resources: vec![Resource::Memory] };
        let mut group = Group {
            groups: vec![(Resource::Memory, place, PathBuf::from("/proc/none/ftl/x/s"))],
            missing: Vec::new(),
            made: Vec::new(),
        };
        let mut enforcement = Enforcement::default();
        group.make(&LIMITS, &mut enforcement);
        assert_eq!((enforcement.enforced.len(), enforcement.unenforced.len()), (0, 1));
        assert!(group.made.is_empty());
    }
}
