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
    let failed = |act, path: &Path| {
        let path = path.to_owned();
        move |source| SandboxError::File { act, path, source }
    };
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("removing", &dir)(error)),
        _ => {}
    }
    // It is the engine that reaches them; programs inside have no path to here.
    fs::DirBuilder::new().mode(0o700).create(&dir).map_err(failed("making", &dir))?;
    let mut shown = Vec::new();
    let mut show = |target: PathBuf, content: &[u8]| {
        let path = dir.join(shown.len().to_string());
        write_file(&path, content).map_err(failed("writing", &path))?;
        shown.push((path, target));
        Ok::<_, SandboxError>(())
    };
    for (name, content) in made_up("/bin/sh", spec.network, (user.uid, user.gid)) {
        let target = Path::new("/etc").join(name);
        // One that is given takes its place.
        if !spec.files.iter().any(|(path, _)| *path == target) {
            show(target, content.as_bytes())?;
        }
    }
    for (target, content) in &spec.files {
        show(target.clone(), content)?;
    }
    shown.extend(spec.shared.iter().cloned());
    Ok(shown)
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(content)?;
    // The same each time: where it travels to an engine, what is there already stays there.
    file.set_modified(std::time::UNIX_EPOCH)?;
    // The daemon's own mask would leave it to the daemon.
    file.set_permissions(Permissions::from_mode(0o444))
}
