//! Where control groups may be made.
//!
//! Owns finding the daemon's own place in each hierarchy and preparing it. Must not know limits. Groups
//! are made beneath the daemon's own, so that whatever limits the daemon limits its sandboxes too.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Resource, Version};

/// The group that a daemon of ours moves to, so that its old one may have limited children.
const DAEMON: &str = "daemon";

/// The controllers of version 2, as they are named there.
const CONTROLLERS: [(&str, Resource); 3] =
    [("memory", Resource::Memory), ("pids", Resource::Processes), ("cpu", Resource::Cpu)];

/// A directory in which groups may be made, perhaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which interface it has.
    pub(super) version: Version,
    /// The directory.
    pub(super) dir: PathBuf,
    /// What groups in it can limit.
    pub(super) resources: Vec<Resource>,
}

/// Finds the daemon's own places on this machine; none when the kernel does not say.
pub(super) fn find() -> Vec<Place> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut places = parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
    for place in &mut places {
        if place.version == Version::Two {
            if place.dir.ends_with(DAEMON) {
                place.dir.pop();
            }
            let controllers = read(&place.dir.join("cgroup.controllers").to_string_lossy());
            place.resources = named(controllers.split_whitespace());
        }
    }
    places.retain(|place| !place.resources.is_empty());
    places
}

impl Place {
    /// Finds out whether the daemon may have `ftl/<instance>` in it, and gives that place.
    pub(super) fn claim(&self, instance: &str) -> io::Result<Self> {
        if self.version == Version::Two {
            delegate(&self.dir)?;
        }
        let claimed = Self { dir: self.dir.join("ftl").join(instance), ..self.clone() };
        let prepared = claimed.prepare();
        claimed.prune();
        prepared.map(|()| claimed)
    }

    /// Makes the claimed place, as there is at least one session now.
    pub(super) fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        if self.version == Version::Two {
            for level in [self.dir.parent().unwrap_or(&self.dir), &self.dir] {
                enable(level)?;
            }
        }
        // Only a real group has this file; a directory on anything else limits nothing.
        fs::metadata(self.dir.join("cgroup.procs")).map(drop)
    }

    /// Removes the claimed place, `ftl/<instance>`, when nothing is left in it.
    pub(super) fn prune(&self) {
        for level in self.dir.ancestors().take(2) {
            // One in use refuses to go.
            if fs::remove_dir(level).is_err() {
                return;
            }
        }
    }
}

/// Lets the children of the daemon's own group be limited.
fn delegate(own: &Path) -> io::Result<()> {
    match enable(own) {
        Err(error) if error.kind() == ErrorKind::ResourceBusy => {}
        done => return done,
    }
    // It has processes: the daemon, and if it is only one of many nothing can be done.
    let me = std::process::id().to_string();
    let aside = own.join(DAEMON);
    fs::create_dir_all(&aside)?;
    fs::write(aside.join("cgroup.procs"), &me)?;
    enable(own).inspect_err(|_| {
        // Back to where it was; should that fail it stays in a group without limits, which is the same.
        let _ = fs::write(own.join("cgroup.procs"), &me);
        let _ = fs::remove_dir(&aside);
    })
}

fn enable(dir: &Path) -> io::Result<()> {
    let available = fs::read_to_string(dir.join("cgroup.controllers"))?;
    let wanted =
        CONTROLLERS.iter().filter(|(name, _)| available.split_whitespace().any(|other| other == *name));
    let wanted: Vec<String> = wanted.map(|(name, _)| format!("+{name}")).collect();
    fs::write(dir.join("cgroup.subtree_control"), wanted.join(" "))
}

/// Reads the two files of `/proc` that say which hierarchies there are and where this process is in them.
fn parse(mountinfo: &str, cgroup: &str) -> Vec<Place> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(parse_mount).collect();
    let mut places = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (version, resources) = if controllers.is_empty() {
            (Version::Two, Vec::new())
        } else {
            (Version::One, named(controllers.split(',')))
        };
        let mount = mounts.iter().find(|mount| match version {
            Version::Two => mount.kind == "cgroup2",
            Version::One => mount.kind == "cgroup" && controllers.split(',').all(|name| mount.has(name)),
        });
        let Some(mount) = mount else { continue };
        // Where a container sees only a part of the hierarchy, paths begin with that part's own.
        if let Ok(rest) = Path::new(path).strip_prefix(mount.root) {
            places.push(Place { version, dir: Path::new(mount.point).join(rest), resources });
        }
    }
    places
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl Mount<'_> {
    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|option| option == controller)
    }
}

fn parse_mount(line: &str) -> Option<Mount<'_>> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, point) = (mount.next()?, mount.next()?);
    let mut file_system = file_system.split(' ');
    let kind = file_system.next()?;
    let options = file_system.nth(1)?;
    Some(Mount { root, point, kind, options })
}

fn named<'a>(controllers: impl Iterator<Item = &'a str>) -> Vec<Resource> {
    let resource = |name| CONTROLLERS.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource);
    controllers.filter_map(resource).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_place_is_found_in_each_hierarchy() {
        let mountinfo = "30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                         31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                         32 30 0:28 /docker/x /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                         33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let cgroup =
            "4:memory:/jobs/7\n2:cpu,cpuacct:/docker/x/y\n9:name=systemd:/\n0::/user.slice/a.service\n";
        let places = parse(mountinfo, cgroup);
        let place = |version, dir: &str, resources: &[Resource]| Place {
            version,
            dir: dir.into(),
            resources: resources.to_vec(),
        };
        assert_eq!(
            places,
            [
                place(Version::One, "/sys/fs/cgroup/memory/jobs/7", &[Resource::Memory]),
                place(Version::One, "/sys/fs/cgroup/cpu,cpuacct/y", &[Resource::Cpu]),
                place(Version::Two, "/sys/fs/cgroup/unified/user.slice/a.service", &[]),
            ]
        );
    }

    #[test]
    fn a_place_outside_of_what_is_mounted_is_none() {
        let mountinfo = "32 30 0:28 /docker/x /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        assert_eq!(parse(mountinfo, "3:pids:/elsewhere\n"), []);
        assert_eq!(parse("nonsense", "nonsense"), []);
    }

    #[test]
    fn a_directory_that_is_no_group_is_not_claimed() {
        let dir = tempfile::tempdir().unwrap();
        let place =
            Place { version: Version::One, dir: dir.path().to_owned(), resources: vec![Resource::Memory] };
        assert!(place.claim("test").is_err());
    }
}
