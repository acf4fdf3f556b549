//! Files of the daemon's own that a container is shown.
//!
//! Owns where they lie while the container lives, and which paths they may have. Must not know what is in
//! them. They are made anew for each container, by the daemon and in a directory that is the daemon's, and
//! the engine mounts each over what the image has at its path.

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
