//! Files of the daemon's own that a container is shown.
//!
//! Owns where they lie while the container lives, and which paths they may have. Must not know what is in
//! them. They are made anew for each container, by the daemon and in a directory that is the daemon's, and
//! the engine mounts each over what the image has at its path.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ftl_guest::made_up::made_up;

use super::super::linux::files::examine;
use super::super::{Owner, SandboxError, SandboxSpec};

/// The directory of a session that has them.
const DIR: &str = "shown";

/// Writes the files of a sandbox and says what stands where: on the host, and inside.
///
/// # Errors
/// When a file cannot be shown at its path, or cannot be written.
pub(super) fn write(spec: &SandboxSpec, user: Owner) -> Result<Vec<(PathBuf, PathBuf)>, SandboxError> {
    examine(&spec.files)?;
    let dir = spec.dir.join(DIR);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("removing", &dir)(error)),
        _ => {}
    }
    // It is the engine that reaches them; programs inside have no path to here.
    fs::DirBuilder::new().mode(0o700).create(&dir).map_err(failed("making", &dir))?;
    let mut shown = Vec::new();
    for (number, (target, content)) in files(spec, user).into_iter().enumerate() {
        let path = dir.join(number.to_string());
        write_file(&path, &content).map_err(failed("writing", &path))?;
        shown.push((path, target));
    }
    shown.extend(spec.shared.iter().cloned());
    Ok(shown)
}

/// Writes other contents into the files that a container is shown which has run nothing yet. What stands where
/// is what it was.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn rewrite(spec: &SandboxSpec, user: Owner) -> Result<(), SandboxError> {
    let dir = spec.dir.join(DIR);
    for (number, (_, content)) in files(spec, user).into_iter().enumerate() {
        let path = dir.join(number.to_string());
        rewrite_file(&path, &content).map_err(failed("writing", &path))?;
    }
    Ok(())
}

/// Keeps one of those files of a session's directory that hold the same, for a container that is given no others
/// later, and says what stands where then: what travels to an engine does so once.
///
/// # Errors
/// When a file cannot be read, or is not a file of this module's.
pub(super) fn merge_equal(
    dir: &Path,
    shown: Vec<(PathBuf, PathBuf)>,
) -> Result<Vec<(PathBuf, PathBuf)>, SandboxError> {
    let own = dir.join(DIR);
    let mut kept: BTreeMap<Vec<u8>, PathBuf> = BTreeMap::new();
    let mut merged = Vec::new();
    for (path, target) in shown {
        if !path.starts_with(&own) {
            merged.push((path, target));
            continue;
        }
        let content = fs::read(&path).map_err(failed("reading", &path))?;
        let one = match kept.get(&content) {
            Some(one) => {
                fs::remove_file(&path).map_err(failed("removing", &path))?;
                one.clone()
            }
            None => kept.entry(content).or_insert(path).clone(),
        };
        merged.push((one, target));
    }
    Ok(merged)
}

/// What stands at which paths inside: files that every system has, and those that are given.
fn files(spec: &SandboxSpec, user: Owner) -> Vec<(PathBuf, Vec<u8>)> {
    let usual = made_up("/bin/sh", spec.network, (user.uid, user.gid)).into_iter();
    let usual = usual.map(|(name, content)| (Path::new("/etc").join(name), content.into_bytes()));
    // One that is given takes its place.
    let is_given = |target: &PathBuf| spec.files.iter().any(|(path, _)| path == target);
    usual.filter(|(target, _)| !is_given(target)).chain(spec.files.iter().cloned()).collect()
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::File { act, path, source }
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(content)?;
    // The same each time: where it travels to an engine, what is there already stays there.
    file.set_modified(std::time::UNIX_EPOCH)?;
    // The daemon's own mask would leave it to the daemon.
    file.set_permissions(Permissions::from_mode(0o444))
}

/// The container has this very file, so that it is written where it lies.
fn rewrite_file(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(0o444))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_the_same_lies_there_once_and_is_shown_at_every_place() {
        let dir = tempfile::tempdir().unwrap();
        let (own, shared) = (dir.path().join(DIR), dir.path().join("objects"));
        fs::create_dir(&own).unwrap();
        fs::create_dir(&shared).unwrap();
        let mut shown = Vec::new();
        for (number, content) in ["roots", "hosts", "roots", "", "roots"].into_iter().enumerate() {
            write_file(&own.join(number.to_string()), content.as_bytes()).unwrap();
            shown.push((own.join(number.to_string()), PathBuf::from(format!("/etc/{number}"))));
        }
        shown.push((shared.clone(), "/shared".into()));
        let merged = merge_equal(dir.path(), shown).unwrap();
        let at = |number: &str| own.join(number);
        let from: Vec<PathBuf> = merged.iter().map(|(from, _)| from.clone()).collect();
        assert_eq!(from, [at("0"), at("1"), at("0"), at("3"), at("0"), shared]);
        assert!(
            merged
                .iter()
                .take(5)
                .enumerate()
                .all(|(n, (_, to))| *to == Path::new("/etc").join(n.to_string()))
        );
        assert_eq!(fs::read_dir(&own).unwrap().count(), 3);
        assert!(merge_equal(dir.path(), vec![(at("2"), "/etc/2".into())]).is_err(), "it went");
    }
}
