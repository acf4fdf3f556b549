//! Files that a sandbox is given, on their way to the helper.
//!
//! Owns which paths they may have, and how their content travels: in memory that only a descriptor
//! names, so that its size is nobody's concern. Must not know what is in them.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use ftl_guest::protocol::{self, HOME, WORKSPACE};
use rustix::fs::MemfdFlags;

use super::super::SandboxError;

/// Directories of which a sandbox owns the content, or the kernel.
const NOT_THERE: &[&str] = &[WORKSPACE, HOME, "/tmp", "/var/tmp", "/dev", "/proc"];

/// Refuses paths at which no file can be shown.
pub(in super::super) fn examine(files: &[(PathBuf, Vec<u8>)]) -> Result<(), SandboxError> {
    match files.iter().find(|(path, _)| !is_showable(path)) {
        None => Ok(()),
        Some((path, _)) => Err(SandboxError::File {
            act: "showing",
            path: path.clone(),
            source: io::Error::new(ErrorKind::InvalidInput, "no file can be shown there"),
        }),
    }
}

fn is_showable(path: &Path) -> bool {
    let mut components = path.components();
    let plain = components.next() == Some(Component::RootDir)
        && components.all(|component| matches!(component, Component::Normal(_)));
    let named = path.parent().is_some_and(|parent| parent != Path::new("/"));
    plain && named && !NOT_THERE.iter().any(|dir| path.starts_with(dir))
}

/// What the helper is told of them.
pub(super) fn described(files: &[(PathBuf, Vec<u8>)]) -> Vec<protocol::File> {
    let describe = |(path, content): &(PathBuf, Vec<u8>)| protocol::File {
        path: path.as_path().into(),
        length: content.len() as u64,
    };
    files.iter().map(describe).collect()
}

/// A descriptor that reads all of their content; `None` without files.
pub(super) fn content(files: &[(PathBuf, Vec<u8>)]) -> io::Result<Option<OwnedFd>> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut memory = File::from(rustix::fs::memfd_create("ftl-files", MemfdFlags::CLOEXEC)?);
    for (_, content) in files {
        memory.write_all(content)?;
    }
    memory.rewind()?;
    Ok(Some(memory.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_outside_of_what_is_the_sandboxs_own_are_taken() {
        for good in ["/etc/ftl/ca.pem", "/etc/ssl/certs/ca-certificates.crt", "/usr/share/x"] {
            assert!(is_showable(Path::new(good)), "{good}");
        }
        for bad in
            ["etc/x", "/", "/file", "/etc/../home/agent/x", "/workspace/x", "/tmp/x", "/proc/x", "/dev/x"]
        {
            assert!(!is_showable(Path::new(bad)), "{bad}");
        }
    }
}
