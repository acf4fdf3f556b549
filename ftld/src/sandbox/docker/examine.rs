//! What works with the engine that is here, for the human who asks.
//!
//! Owns the checks and their remedies. Must not decide what is used: on a machine without an engine the
//! native sandbox needs none, and that is no fault.

use std::path::Path;

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};

use super::enforcement;
use super::engine::{About, Engine, EngineError, Engines};
use super::known::{self, Suspect};
use super::probe::{self, Shares};
use super::setup::record::Record;
use super::spec::OVERLAY_OPTIONS;
use super::users;
use crate::sandbox::{Check, Outcome};

/// Examines the engine. `home` is the daemon's, `scratch` an existing directory for throw-away files.
pub async fn examine(engines: &Engines, home: &Path, scratch: &Path) -> Vec<Check> {
    let engine = match engines.get().await {
        Ok(engine) => engine,
        Err(error) => return vec![no_engine(&error)],
    };
    let info = match engine.info().await {
        Ok(info) => info,
        Err(error) => return vec![failed("container engine", &error)],
    };
    let mut checks =
        vec![about(&engine, &info), limits(engine.about(), &info), confinement(engine.about(), &info)];
    checks.extend(gvisor(&info));
    checks.push(storage(&engine, &info, scratch).await);
    checks.push(holes(&known::suspects(&engine.about().parts)));
    checks.push(image(&engine, home).await);
    checks
}

fn check(name: &str, outcome: Outcome, detail: String, remedy: &str) -> Check {
    Check { name: name.to_owned(), outcome, detail, remedy: remedy.to_owned() }
}

/// Without an engine nothing is wrong; one that is there and cannot be used is worth a word.
fn no_engine(error: &EngineError) -> Check {
    match error {
        EngineError::None { .. } => {
            let detail = "none here; only `--sandbox docker` needs one".to_owned();
            check("container engine", Outcome::Ok, detail, "")
        }
        error => failed("container engine", error),
    }
}

fn failed(name: &str, error: &EngineError) -> Check {
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    let remedy = match error.remedy() {
        remedy if remedy.is_empty() => "use the native sandbox: `--sandbox native`".to_owned(),
        remedy => remedy,
    };
    check(name, Outcome::Warning, detail, &remedy)
}

fn about(engine: &Engine, info: &SystemInfo) -> Check {
    let about = engine.about();
    let mut runtimes: Vec<&str> = info.runtimes.iter().flatten().map(|(name, _)| name.as_str()).collect();
    // Long names are other names of the usual one.
    runtimes.retain(|name| !name.contains('.'));
    runtimes.sort_unstable();
    let detail = format!(
        "{} {}, API {}, at {} ({}); runtimes: {}",
        about.kind,
        about.version,
        about.api,
        about.at,
        about.found,
        runtimes.join(", ")
    );
    check("container engine", Outcome::Ok, detail, "")
}

fn limits(about: &About, info: &SystemInfo) -> Check {
    let groups = match info.cgroup_version {
        Some(SystemInfoCgroupVersionEnum::_2) => "control groups v2",
        Some(SystemInfoCgroupVersionEnum::_1) => "control groups v1",
        _ => "no control groups",
    };
    let can = enforcement::limits(about, info);
    let kinds = [("memory", can.memory), ("processes", can.processes), ("processor time", can.processor)];
    let missing: Vec<&str> = kinds.iter().filter(|(_, can)| !can).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        let detail = format!("{groups}: memory, processes and processor time");
        return check("container limits", Outcome::Ok, detail, "");
    }
    let detail = format!("{groups}: the engine cannot limit {}", missing.join(", "));
    let remedy = if users::is_rootless(about, info) {
        "delegate them to your user: `sudo systemctl edit user@.service` with `[Service]` and `Delegate=cpu cpuset io memory pids`, then log in again"
    } else {
        "start the machine with control groups v2: `systemd.unified_cgroup_hierarchy=1`"
    };
    check("container limits", Outcome::Warning, detail, remedy)
}

/// The first kernel in which every network has what older versions of gVisor know the machine's own by.
const ALL_ALIKE: (u64, u64) = (6, 12);

/// Whether a runtime of the engine's may refuse every container on this kernel.
fn gvisor(info: &SystemInfo) -> Option<Check> {
    let runsc = info.runtimes.as_ref()?.get("runsc")?;
    let kernel = info.kernel_version.as_deref()?;
    let mut numbers = kernel.split(['.', '-', '+']).map_while(|part| part.parse::<u64>().ok());
    let is_alike = (numbers.next()?, numbers.next()?) >= ALL_ALIKE;
    let is_given = runsc.runtime_args.iter().flatten().any(|option| option == "--network=none");
    if is_given || !is_alike {
        return None;
    }
    let detail = format!(
        "runsc: an old one, such as Debian 12's, takes every network of kernel {kernel} for the machine's own and starts \
         nothing there"
    );
    Some(check("container runtime", Outcome::Ok, detail, super::launch::RUNSC_REMEDY))
}

fn options(info: &SystemInfo) -> Vec<&str> {
    let options = info.security_options.iter().flatten();
    options.filter_map(|option| option.split(',').next()?.strip_prefix("name=")).collect()
}

fn confinement(about: &About, info: &SystemInfo) -> Check {
    let options = options(info);
    let whose = match users::is_rootless(about, info) {
        true => "the engine runs without root",
        false => "the engine runs as root",
    };
    let filters: Vec<&str> = options
        .iter()
        .copied()
        .filter(|option| ["seccomp", "apparmor", "selinux"].contains(option))
        .collect();
    if filters.contains(&"seccomp") {
        let detail = format!("{whose}; {}", filters.join(", "));
        return check("container filters", Outcome::Ok, detail, "");
    }
    let detail = format!("{whose}, and filters no system calls");
    let remedy = "run an engine that was built with seccomp, on a kernel that has it";
    check("container filters", Outcome::Warning, detail, remedy)
}

async fn storage(engine: &Engine, info: &SystemInfo, scratch: &Path) -> Check {
    let driver = info.driver.clone().unwrap_or_default();
    if driver == "vfs" {
        let detail = "storage driver vfs, which copies every image whole for every container".to_owned();
        let remedy = "give the engine's data a file system that overlay2 can use";
        return check("container storage", Outcome::Warning, detail, remedy);
    }
    if let Some(why) = users::others(engine.about(), info) {
        let detail = format!("storage driver {driver}; {why}, so what changed is sent to its disk, and back");
        return check("container storage", Outcome::Ok, detail, "");
    }
    let (outcome, told, remedy) = match probe::shares(engine.clone(), scratch.to_owned(), OVERLAY_OPTIONS.to_owned()).await
    {
        Ok(Shares::Overlay) => {
            (Outcome::Ok, "it mounts overlays of this machine's directories".to_owned(), "")
        }
        Ok(Shares::Directories { .. }) => {
            (Outcome::Ok, "it cannot mount overlays of this machine's directories; what changed is sent to its disk, and back".to_owned(), "")
        }
        Ok(Shares::Nothing { .. }) => {
            (Outcome::Ok, "it does not see this machine's directories; what changed is sent to its disk, and back".to_owned(), "")
        }
        Err(error) => return failed("container storage", &error),
    };
    check("container storage", outcome, format!("storage driver {driver}; {told}"), remedy)
}

fn holes(suspects: &[Suspect]) -> Check {
    let name = "container safety";
    let Some(first) = suspects.first() else {
        return check(name, Outcome::Ok, "no known hole in these versions".to_owned(), "");
    };
    let mut parts: Vec<String> = Vec::new();
    for suspect in suspects {
        let of = format!("{} {}", suspect.hole.part, suspect.version);
        if !parts.contains(&of) {
            parts.push(of);
        }
    }
    let ids: Vec<&str> = suspects.iter().map(|suspect| suspect.hole.id).collect();
    let detail = format!("{} may have {} ({})", parts.join(" and "), ids.join(", "), first.hole.allows);
    if suspects.iter().all(|suspect| suspect.distribution) {
        let remedy = "your distribution may have mended them without counting up: see `apt changelog runc docker.io`, and keep both up to date";
        return check(name, Outcome::Warning, detail, remedy);
    }
    let newest = suspects.iter().filter_map(|suspect| {
        Some(format!("{} {}", suspect.hole.part.to_lowercase(), suspect.hole.mended.last()?))
    });
    let mut newest: Vec<String> = newest.collect();
    newest.dedup();
    check(name, Outcome::Warning, detail, &format!("update the engine: {} or later", newest.join(", ")))
}

async fn image(engine: &Engine, home: &Path) -> Check {
    let name = "container image";
    let record = match Record::read(home) {
        Ok(Some(record)) => record,
        Ok(None) => {
            let detail = "no image is set up; only `--sandbox docker` needs one".to_owned();
            return check(name, Outcome::Warning, detail, "make one: `ftlctl setup`");
        }
        Err(error) => return check(name, Outcome::Warning, error.to_string(), &error.remedy()),
    };
    match engine.image(&record.image).await {
        Ok(Some(_)) => {
            let agents: Vec<String> =
                record.agents.iter().map(|agent| format!("{} {}", agent.name, agent.version)).collect();
            let agents = if agents.is_empty() { "no agents".to_owned() } else { agents.join(", ") };
            check(name, Outcome::Ok, format!("{} with {agents}", record.tag), "")
        }
        Ok(None) => {
            let detail = format!("the engine no longer has {}", record.tag);
            check(name, Outcome::Warning, detail, "make it again: `ftlctl setup`")
        }
        Err(error) => failed(name, &error),
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::Runtime;

    use super::*;

    #[test]
    fn an_absent_engine_is_no_fault_and_a_broken_one_has_a_remedy() {
        let none = no_engine(&EngineError::None { looked: Vec::new() });
        assert_eq!((none.outcome, none.remedy.as_str()), (Outcome::Ok, ""));
        let source = std::io::ErrorKind::ConnectionRefused.into();
        let stopped = no_engine(&EngineError::NotRunning { at: "unix:///x".into(), source });
        assert_eq!(stopped.outcome, Outcome::Warning);
        assert!(stopped.detail.contains("connection refused") && stopped.remedy.contains("systemctl"));
    }

    #[test]
    fn what_an_engine_cannot_limit_or_filter_is_named() {
        let options = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let mut info = SystemInfo {
            memory_limit: Some(true),
            cpu_cfs_quota: Some(true),
            pids_limit: Some(true),
            cgroup_version: Some(SystemInfoCgroupVersionEnum::_2),
            security_options: options(&["name=seccomp,profile=default", "name=rootless"]),
            ..SystemInfo::default()
        };
        let docker = About::test("Docker", "20.10.24");
        assert_eq!(limits(&docker, &info).outcome, Outcome::Ok);
        let found = confinement(&docker, &info);
        assert_eq!(
            (found.outcome, found.detail.as_str()),
            (Outcome::Ok, "the engine runs without root; seccomp")
        );
        info.pids_limit = Some(false);
        assert!(limits(&docker, &info).detail.ends_with("cannot limit processes"));
        assert!(limits(&docker, &info).remedy.contains("Delegate"));
        // What it says that the machine could, nobody gives to an engine without root there.
        info.cgroup_version = Some(SystemInfoCgroupVersionEnum::_1);
        assert!(limits(&docker, &info).detail.ends_with("cannot limit memory, processes, processor time"));
        info.security_options = options(&["name=apparmor"]);
        assert_eq!(confinement(&docker, &info).outcome, Outcome::Warning);
    }

    #[test]
    fn a_runtime_that_may_refuse_this_kernel_is_told_with_what_it_needs() {
        let info = |kernel: &str, options: &[&str]| {
            let options = options.iter().map(|option| (*option).to_owned()).collect();
            let runsc = Runtime { runtime_args: Some(options), ..Runtime::default() };
            SystemInfo {
                runtimes: Some([("runsc".to_owned(), runsc)].into()),
                kernel_version: Some(kernel.to_owned()),
                ..SystemInfo::default()
            }
        };
        let told = gvisor(&info("6.18.44-cloud-amd64", &["--debug"])).unwrap();
        assert!(told.detail.contains("kernel 6.18.44-cloud-amd64") && told.remedy.contains("--network=none"));
        assert_eq!(told.outcome, Outcome::Ok, "a newer one works");
        assert!(gvisor(&info("6.12", &[])).is_some());
        for (kernel, options) in [("6.18.44", &["--network=none"][..]), ("6.1.0-18-amd64", &[]), ("odd", &[])]
        {
            assert!(gvisor(&info(kernel, options)).is_none(), "{kernel}");
        }
        assert!(gvisor(&SystemInfo::default()).is_none());
    }

    #[test]
    fn holes_are_told_with_the_version_that_closes_them() {
        let of = |version: &str| holes(&known::suspects(&[("runc".to_owned(), version.to_owned())]));
        assert_eq!(of("1.4.0").outcome, Outcome::Ok);
        let old = of("1.1.11");
        assert!(old.detail.contains("CVE-2024-21626") && old.remedy.contains("runc 1.4.0-rc3"), "{old:?}");
        assert!(of("1.1.5+ds1-1+deb12u1").remedy.contains("your distribution"));
    }
}
