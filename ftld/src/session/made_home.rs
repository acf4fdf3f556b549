//! A fresh home for a session's agent.
//!
//! Owns that it is there whole or not at all, and belongs to whoever the sandbox runs as. Must not know what
//! is in it, or why.

use std::path::{Path, PathBuf};

/// Makes a home with these files and links, paths beneath it.
pub(super) fn make_home(
    home: &Path,
    files: &[(PathBuf, Vec<u8>)],
    links: &[(PathBuf, PathBuf)],
    owner: Option<(u32, u32)>,
) -> std::io::Result<()> {
    let give = |path: &Path| match owner {
        Some((uid, gid)) => std::os::unix::fs::lchown(path, Some(uid), Some(gid)),
        None => Ok(()),
    };
    // Built aside and renamed: a crash leaves no home without its files.
    let draft = home.with_extension("new");
    if draft.exists() {
        std::fs::remove_dir_all(&draft)?;
    }
    std::fs::create_dir_all(&draft)?;
    give(&draft)?;
    let parents = |name: &Path| {
        let mut dir = draft.clone();
        for part in name.parent().into_iter().flat_map(Path::components) {
            dir.push(part);
            if !dir.exists() {
                std::fs::create_dir(&dir)?;
                give(&dir)?;
            }
        }
        std::io::Result::Ok(draft.join(name))
    };
    for (name, content) in files {
        let path = parents(name)?;
        std::fs::write(&path, content)?;
        give(&path)?;
    }
    for (name, target) in links {
        let path = parents(name)?;
        std::os::unix::fs::symlink(target, &path)?;
        give(&path)?;
    }
    std::fs::rename(draft, home)
}
