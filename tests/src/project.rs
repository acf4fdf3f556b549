//! Projects for tests, from literals.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// What stands at a path: enough to tell whether anything changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A file's permission bits and content.
    File(u32, Vec<u8>),
    /// A directory's permission bits.
    Dir(u32),
    /// A link's target.
    Link(Vec<u8>),
    /// Anything else, by its mode.
    Other(u32),
}

/// Writes files beneath `root`: `("src/a.rs", "text")`.
///
/// # Panics
/// When one cannot be written.
pub fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("beneath a root")).expect("parents can be made");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Everything beneath `root`, by path.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn see(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    see_but(root, &[])
}

/// Everything beneath `root` but some paths and what is beneath them.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn see_but(root: &Path, but: &[&Path]) -> BTreeMap<Vec<u8>, Seen> {
    let mut seen = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.expect("an entry").path();
            if but.contains(&path.as_path()) {
                continue;
            }
            let meta = fs::symlink_metadata(&path).expect("its metadata");
            let mode = meta.permissions().mode() & 0o7777;
            let what = if meta.is_dir() {
                dirs.push(path.clone());
                Seen::Dir(mode)
            } else if meta.is_file() {
                Seen::File(mode, fs::read(&path).expect("its content"))
            } else if meta.is_symlink() {
                Seen::Link(fs::read_link(&path).expect("its target").as_os_str().as_bytes().to_vec())
            } else {
                Seen::Other(meta.mode())
            };
            let name = path.strip_prefix(root).expect("beneath the root").as_os_str().as_bytes().to_vec();
            seen.insert(name, what);
        }
    }
    seen
}

/// Inode and modification time of every file beneath `root`, by path.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn identities(root: &Path) -> BTreeMap<Vec<u8>, (u64, i64, i64)> {
    see(root)
        .into_keys()
        .map(|name| {
            let path = root.join(std::ffi::OsStr::from_bytes(&name));
            let meta = fs::symlink_metadata(path).expect("its metadata");
            (name, (meta.ino(), meta.mtime(), meta.mtime_nsec()))
        })
        .collect()
}
