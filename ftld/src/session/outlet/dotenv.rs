//! Which of a project's files are its `.env` files, and which of them counts most.
//!
//! Owns their order. Must not read them: that is the vault's.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::vault::is_source;

/// Whether a path of a project is one of its `.env` files.
pub(in super::super) fn is_dotenv(path: &Path) -> bool {
    path.file_name().is_some_and(|name| std::str::from_utf8(name.as_bytes()).is_ok_and(is_source))
}

/// Sorts `.env` files: what lies nearer to the root counts more; of one directory, what is only this
/// machine's (`.env.local`) before `.env`, and that before the files of a mode.
pub(in super::super) fn by_weight(files: &mut [PathBuf]) {
    let rank = |path: &Path| match path.file_name().map(|name| name.to_string_lossy().to_lowercase()) {
        Some(name) if name == ".env.local" => 0,
        Some(name) if name == ".env" => 1,
        _ => 2,
    };
    files.sort_by_cached_key(|path| (path.components().count(), rank(path), path.clone()));
}

/// The `.env` files at a project's root, without a walk.
#[must_use]
pub fn dotenv_at_root(project: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(project) else { return Vec::new() };
    let names = entries.flatten().map(|entry| PathBuf::from(entry.file_name()));
    let mut files: Vec<PathBuf> = names.filter(|path| is_dotenv(path)).collect();
    by_weight(&mut files);
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_and_most_local_counts_most() {
        let mut files: Vec<PathBuf> =
            ["web/.env", ".env.production", ".env", ".env.local", "prod.env"].map(PathBuf::from).to_vec();
        by_weight(&mut files);
        let order: Vec<_> = files.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        assert_eq!(order, [".env.local", ".env", ".env.production", "prod.env", "web/.env"]);
        for (name, counts) in
            [(".env", true), ("a/.env.test", true), (".env.example", false), ("x.py", false)]
        {
            assert_eq!(is_dotenv(Path::new(name)), counts, "{name}");
        }
    }
}
