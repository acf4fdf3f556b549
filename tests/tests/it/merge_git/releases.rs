//! The histories of real projects: what their releases changed, and what a distribution's people changed in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ftl_core::hunk::{self, Limits};
use ftl_core::select::{self, Choice, HunkName};
use ftl_core::three;
use ftl_tests::{project, repo};
use serde_json::Value;

use super::{Case, Chance, assert_explained};

/// Of one project's file merges at most so many of a kind are made.
const MOST: usize = 150;

/// A project's releases, oldest first.
struct History {
    name: String,
    language: String,
    releases: Vec<Release>,
}

/// Where a release's files are.
struct Release {
    version: String,
    whole: PathBuf,
    /// The same with what a distribution's people changed in it.
    patched: Option<PathBuf>,
}

/// Projects whose releases are the histories: each release that is the last of its minor version. They
/// change much from one to the next, in files that stay.
const HISTORIES: [(&str, &[&str]); 3] = [
    ("itertools", &["0.8.2", "0.9.0", "0.10.5", "0.11.0", "0.12.1", "0.13.0", "0.14.0"]),
    (
        "nix",
        &["0.20.2", "0.21.2", "0.22.3", "0.23.2", "0.24.3", "0.25.1", "0.26.4", "0.27.1", "0.28.0", "0.29.0"],
    ),
    (
        "quick-xml",
        &[
            "0.25.0", "0.26.0", "0.27.1", "0.28.2", "0.29.0", "0.30.0", "0.31.0", "0.32.0", "0.33.0",
            "0.34.0", "0.35.0", "0.36.2", "0.37.5",
        ],
    ),
];

/// The crates' sources, fetched once and kept for the next run.
fn crates() -> PathBuf {
    let kept = repo::tools().join("projects/releases");
    if kept.exists() {
        return kept;
    }
    let projects = repo::tools().join("projects");
    fs::create_dir_all(&projects).unwrap();
    let work = tempfile::tempdir_in(&projects).unwrap();
    // A package may be wanted in several versions when they do not count as compatible, and each of these has
    // a minor version of its own.
    let mut manifest =
        "[package]\nname = \"wanted\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
                        [dependencies]\n"
            .to_owned();
    for (name, versions) in HISTORIES {
        for version in versions {
            let key = format!("{name}-{}", version.replace('.', "-"));
            manifest += &format!(
                "{key} = {{ package = \"{name}\", version = \"={version}\", default-features = false }}\n"
            );
        }
    }
    let wanted = work.path().join("wanted");
    ftl_tests::project::write(&wanted, &[("Cargo.toml", &manifest), ("src/lib.rs", "")]);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version", "1"])
        .current_dir(&wanted)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let copies = work.path().join("copies");
    for package in metadata["packages"].as_array().expect("packages") {
        let [name, version] = ["name", "version"].map(|key| package[key].as_str().expect("text"));
        if HISTORIES.iter().any(|(known, versions)| *known == name && versions.contains(&version)) {
            let source =
                Path::new(package["manifest_path"].as_str().expect("its manifest")).parent().unwrap();
            let to = copies.join(name).join(version);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            assert!(Command::new("cp").arg("-r").args([source, &to]).status().unwrap().success());
        }
    }
    fs::rename(&copies, &kept).unwrap();
    kept
}

/// The releases that `tests/stub/histories.txt` lists, fetched once and kept for the next run.
fn listed() -> Vec<History> {
    let kept = repo::tools().join("projects/histories");
    let stub = repo::root().join("tests/stub");
    let pip = repo::tools().join("python/bin/pip");
    let out = Command::new(stub.join("fetch-histories.sh")).args([&kept, &pip]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let list = fs::read_to_string(stub.join("histories.txt")).unwrap();
    let mut histories: Vec<History> = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, language, name, version, part, ..] = words[..] else { panic!("{line}") };
        if histories.last().is_none_or(|last| last.name != name) {
            histories.push(History { name: name.into(), language: language.into(), releases: Vec::new() });
        }
        let releases = &mut histories.last_mut().expect("one").releases;
        let whole = kept.join(name).join(version);
        let patched = kept.join(name).join(format!("{version}+patched"));
        if part == "patches" {
            if let Some(last) = releases.last_mut().filter(|last| last.version == version && patched.exists())
            {
                last.patched = Some(patched);
            }
        } else if whole.exists() {
            releases.push(Release { version: version.into(), whole, patched: None });
        }
    }
    if let Ok(gone) = fs::read_to_string(kept.join(".gone")) {
        println!("no longer to be had:\n{gone}");
    }
    histories
}

/// The releases of three crates.
fn of_crates() -> Vec<History> {
    let kept = crates();
    let history = |(name, versions): (&str, &[&str])| {
        let release = |version: &&str| Release {
            version: (*version).to_owned(),
            whole: kept.join(name).join(version),
            patched: None,
        };
        let releases = versions.iter().map(release).collect();
        History { name: name.to_owned(), language: "Rust".to_owned(), releases }
    };
    HISTORIES.into_iter().map(history).collect()
}

/// The texts that the first of these directories and all others have, by path.
fn texts<const SIDES: usize>(dirs: [&Path; SIDES]) -> BTreeMap<String, [Vec<u8>; SIDES]> {
    let mut all = BTreeMap::new();
    for path in project::see(dirs[0]).into_keys() {
        let Ok(path) = String::from_utf8(path.to_vec()) else { continue };
        let read = |dir: &Path| {
            let at = dir.join(&path);
            at.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
            fs::read(at).ok().filter(|text| hunk::is_text(text) && !text.contains(&0))
        };
        let found: Option<Vec<Vec<u8>>> = dirs.iter().map(|dir| read(dir)).collect();
        if let Some(found) = found {
            all.insert(path, <[Vec<u8>; SIDES]>::try_from(found).expect("one of each"));
        }
    }
    all
}

/// Some of what changed from one text to another.
fn some(from: &[u8], to: &[u8], mut takes: impl FnMut() -> bool) -> Vec<u8> {
    let found = hunk::hunks(from, to, Limits::default()).hunks.len() as u32;
    let numbers = (1..=found).filter(|_| takes());
    let choices: Vec<Choice> = numbers.map(|number| Choice::whole(HunkName::Number(number))).collect();
    select::select(from, to, Limits::default(), &choices).unwrap()
}

/// The files of three releases that differ in all of them.
fn three_releases(history: &History, cases: &mut Vec<Case>) {
    let mut chance = Chance(2);
    for window in history.releases.windows(3) {
        let [first, second, third] = window else { unreachable!() };
        let found = texts([&first.whole, &second.whole, &third.whole]);
        let differ = found.into_iter().filter(|(_, [a, b, c])| a != b && b != c && a != c);
        for (path, [first, second_text, third]) in differ.take(MOST) {
            let name = format!("{} {} {path}", history.name, second.version);
            // A change taken back after the next one was made: the change after it, on what was before it.
            cases.push(Case {
                name: format!("{name} taken back"),
                base: second_text.clone(),
                ours: third.clone(),
                theirs: first.clone(),
            });
            // Some of what came later, beside the change that came first.
            let some = some(&first, &third, || chance.once_in(2));
            if some != first && some != second_text {
                let name = format!("{name} in parts");
                cases.push(Case { name, base: first, ours: some, theirs: second_text });
            }
        }
    }
}

/// What a distribution's people changed in a release, beside the release that came next: as it was made, and
/// with what they changed in that one.
fn patched(history: &History, cases: &mut Vec<Case>) {
    for window in history.releases.windows(2) {
        let [first, second] = window else { unreachable!() };
        let Some(ours) = &first.patched else { continue };
        for (kind, theirs) in [("patched", Some(&second.whole)), ("patched again", second.patched.as_ref())] {
            let Some(theirs) = theirs else { continue };
            let found = texts([&first.whole, ours, theirs]);
            for (path, [base, ours, theirs]) in found {
                if base != ours && base != theirs && ours != theirs {
                    let name = format!("{} {} {path} {kind}", history.name, first.version);
                    cases.push(Case { name, base, ours, theirs });
                }
            }
        }
    }
}

/// What two releases differ in, as if two people had made it: the one some of it, the other the rest and some
/// of the same.
fn two_releases(history: &History, cases: &mut Vec<Case>) {
    let mut chance = Chance(3);
    for window in history.releases.windows(2) {
        let [first, second] = window else { unreachable!() };
        let found = texts([&first.whole, &second.whole]);
        for (path, [base, whole]) in found.into_iter().filter(|(_, [a, b])| a != b).take(MOST) {
            let mut taken = Vec::new();
            let ours = some(&base, &whole, || {
                taken.push(chance.once_in(2));
                taken[taken.len() - 1]
            });
            let mut at = 0;
            let theirs = some(&base, &whole, || {
                at += 1;
                !taken[at - 1] || chance.once_in(4)
            });
            if ours == base || theirs == base || ours == theirs {
                continue;
            }
            // All of it is what the release has: the two never differ about a line.
            let merged =
                three::merge(&base, &ours, &theirs, Limits { bytes: 8 << 20, lines: 200_000 }).unwrap();
            let name = format!("{} {} {path} by two", history.name, first.version);
            assert!(merged.clean().is_none_or(|merged| merged == whole), "{name}: merged to something else");
            cases.push(Case { name, base, ours, theirs });
        }
    }
}

#[test]
fn releases_of_crates_merge_as_git_merges_them() {
    let mut cases = Vec::new();
    of_crates().iter().for_each(|history| three_releases(history, &mut cases));
    assert!(cases.len() > 500, "only {}", cases.len());
    assert_explained(&cases, 15);
}

#[test]
fn releases_of_projects_in_many_languages_merge_as_git_merges_them() {
    let histories = listed();
    let languages: BTreeSet<&str> = histories.iter().map(|history| history.language.as_str()).collect();
    let whole = histories.iter().filter(|history| history.releases.len() > 1).count();
    assert!(whole >= 25 && languages.len() >= 8, "{whole} {languages:?}");
    let mut cases = Vec::new();
    for history in &histories {
        let before = cases.len();
        if history.releases.len() > 2 {
            three_releases(history, &mut cases);
        } else if history.releases.len() == 2 {
            two_releases(history, &mut cases);
        } else {
            continue;
        }
        assert!(cases.len() > before, "nothing of {}", history.name);
    }
    assert!(cases.len() > 3000, "only {}", cases.len());
    assert_explained(&cases, 15);
}

#[test]
fn what_a_distribution_changed_merges_with_the_next_release_as_git_merges_it() {
    let mut cases = Vec::new();
    listed().iter().for_each(|history| patched(history, &mut cases));
    let count = |kind: &str| cases.iter().filter(|case| case.name.ends_with(kind)).count();
    let counts = (count("patched"), count("patched again"));
    assert!(counts.0 >= 20 && counts.1 >= 12, "{counts:?}");
    // Both sides changed the same places more often than not: more to match in one way or another.
    assert_explained(&cases, 25);
}
