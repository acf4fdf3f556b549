//! Versions of engines and runtimes that are known to let a container out.
//!
//! Owns the list, as data, and the comparison of versions. Must not ask an engine. Only what matters to
//! containers as they are made here is listed: a hole in a part that is never used would be noise.

/// A hole and the versions that close it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hole {
    /// Its public name.
    pub id: &'static str,
    /// The part that has it, as engines name it.
    pub part: &'static str,
    /// The first good version of each branch that was mended, lowest first. A branch above the last has it
    /// from the beginning; one between or below never got it.
    pub mended: &'static [&'static str],
    /// The first version that has it; empty when all have.
    pub since: &'static str,
    /// What it allows.
    pub allows: &'static str,
}

/// What is known.
pub const HOLES: [Hole; 7] = [
    Hole {
        id: "CVE-2019-5736",
        part: "runc",
        mended: &["1.0.0-rc7"],
        since: "",
        allows: "a program in a container can overwrite runc on the host",
    },
    Hole {
        id: "CVE-2021-30465",
        part: "runc",
        mended: &["1.0.0-rc95"],
        since: "",
        allows: "a race while mounts are made shows a container the host's files",
    },
    Hole {
        id: "CVE-2024-21626",
        part: "runc",
        mended: &["1.1.12"],
        since: "1.0.0-rc93",
        allows: "a leaked descriptor leads a container into the host's files",
    },
    Hole {
        id: "CVE-2025-31133",
        part: "runc",
        mended: &["1.2.8", "1.3.3", "1.4.0-rc3"],
        since: "",
        allows: "an exchanged /dev/null unmasks files of the kernel to a container",
    },
    Hole {
        id: "CVE-2025-52565",
        part: "runc",
        mended: &["1.2.8", "1.3.3", "1.4.0-rc3"],
        since: "1.0.0-rc3",
        allows: "an exchanged /dev/console unmasks files of the kernel to a container",
    },
    Hole {
        id: "CVE-2025-52881",
        part: "runc",
        mended: &["1.2.8", "1.3.3", "1.4.0-rc3"],
        since: "",
        allows: "writes to /proc can be led astray, to the host's settings",
    },
    Hole {
        id: "CVE-2026-41567",
        part: "Engine",
        mended: &["29.5.1"],
        since: "",
        allows: "an archive put into a container is unpacked with a program of the container, as root of the host; FTL puts none",
    },
];

/// A hole that an engine has by its versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suspect {
    /// Which.
    pub hole: Hole,
    /// The version that the engine named.
    pub version: String,
    /// Whether a distribution made that version, which may have the fix without the number.
    pub distribution: bool,
}

/// The holes of an engine with these parts, by name and version.
#[must_use]
pub fn suspects(parts: &[(String, String)]) -> Vec<Suspect> {
    let of = |hole: &Hole| {
        let (_, text) = parts.iter().find(|(name, _)| name == hole.part)?;
        let version = Version::parse(text)?;
        let suspect = Suspect { hole: *hole, version: text.clone(), distribution: is_distributions(text) };
        has(hole, version).then_some(suspect)
    };
    HOLES.iter().filter_map(of).collect()
}

/// A version: three numbers, and the number of a release candidate, which comes before the release.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Version {
    branch: (u32, u32),
    patch: u32,
    candidate: u32,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start_matches('v');
        let numbers = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut fields = text[..numbers].split('.').filter(|field| !field.is_empty()).map(str::parse);
        let branch = (fields.next()?.ok()?, fields.next()?.ok()?);
        let patch = fields.next().transpose().ok()?.unwrap_or(0);
        let candidate = text[numbers..].trim_start_matches(['-', '~']).strip_prefix("rc").map(|rest| {
            let rest = rest.trim_start_matches('.');
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse().unwrap_or(0)
        });
        Some(Self { branch, patch, candidate: candidate.unwrap_or(u32::MAX) })
    }
}

fn has(hole: &Hole, version: Version) -> bool {
    if Version::parse(hole.since).is_some_and(|since| version < since) {
        return false;
    }
    let mended: Vec<Version> = hole.mended.iter().filter_map(|text| Version::parse(text)).collect();
    let above = mended.last().is_some_and(|last| version.branch > last.branch);
    let in_branch = mended.iter().find(|fix| fix.branch == version.branch);
    !above && in_branch.is_none_or(|fix| version < *fix)
}

/// Whether a version was written by a distribution, which mends without counting up.
fn is_distributions(version: &str) -> bool {
    ["+ds", "+dfsg", "deb", "ubuntu", "~", ".el", ".fc", "-r"].iter().any(|mark| version.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(part: &str, version: &str) -> Vec<&'static str> {
        suspects(&[(part.to_owned(), version.to_owned())]).iter().map(|suspect| suspect.hole.id).collect()
    }

    #[test]
    fn branches_are_mended_each_on_its_own() {
        let late = ["CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"];
        for good in ["1.2.8", "1.2.9", "1.3.3", "1.4.0", "1.4.0-rc.3", "1.5.0", "2.0.1"] {
            assert!(ids("runc", good).is_empty(), "{good}");
        }
        for bad in ["1.1.12", "1.1.99", "1.2.7", "1.3.0", "1.4.0-rc.2"] {
            assert_eq!(ids("runc", bad), late, "{bad}");
        }
        assert_eq!(ids("runc", "1.1.11").len(), 4);
        let early = ids("runc", "1.0.0-rc6");
        assert!(early.contains(&"CVE-2019-5736") && !early.contains(&"CVE-2024-21626"), "{early:?}");
        assert_eq!(ids("Engine", "29.5.0"), ["CVE-2026-41567"]);
        assert!(ids("Engine", "29.5.1").is_empty() && ids("crun", "0.1").is_empty());
        assert!(ids("runc", "unknown").is_empty());
    }

    #[test]
    fn a_distributions_version_is_told_from_the_makers() {
        let debian = suspects(&[("runc".into(), "1.1.5+ds1-1+deb12u1".into())]);
        assert!(!debian.is_empty() && debian.iter().all(|suspect| suspect.distribution));
        assert!(suspects(&[("runc".into(), "1.1.5".into())]).iter().all(|suspect| !suspect.distribution));
    }
}
