//! The directory of Git that a session starts with.
//!
//! Owns what is in it: its own branches, tags and index over a view's objects, and a configuration that
//! names nobody and reaches nothing. The session may change all of it; no other session sees that, and
//! nothing of it comes back. Must not know where it is put.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use ftl_core::history::index;
use ftl_core::history::object::Format;
use ftl_core::history::refs::Head;
use ftl_core::tree::Tree;

use super::view::{State, View};
use super::{History, HistoryError, git, io_error, locate};

/// Where a sandbox shows the view's objects.
pub const MOUNT: &str = "/var/lib/ftl/history";

impl History {
    /// Makes a session's directory of Git at `target`, which must not be there. `base` is the tree that the
    /// session starts with, from `project`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn seed(&self, view: &View, project: &Path, base: &Tree, target: &Path) -> Result<(), HistoryError> {
        let state = &view.state;
        for dir in ["info", "objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            let path = target.join(dir);
            fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        }
        let head = match &state.head {
            Head::Branch(name) => format!("ref: {name}\n"),
            Head::Detached(id) => format!("{id}\n"),
        };
        let mut files = vec![
            ("HEAD", head.into_bytes()),
            ("config", config(state.format).into_bytes()),
            ("description", b"A session's view of the project's history.\n".to_vec()),
            ("info/exclude", Vec::new()),
            ("objects/info/alternates", format!("{MOUNT}\n").into_bytes()),
            ("packed-refs", references(state).into_bytes()),
        ];
        if !state.shallow.is_empty() {
            let lines = state.shallow.iter().map(|id| format!("{id}\n"));
            files.push(("shallow", lines.collect::<String>().into_bytes()));
        }
        files.extend(self.index(view, project, base)?.map(|bytes| ("index", bytes)));
        for (name, bytes) in files {
            git::write(&target.join(name), &bytes)?;
        }
        give(target, self.owner)
    }

    /// The index: the files of `HEAD`, with how those look that are unchanged.
    fn index(&self, view: &View, project: &Path, base: &Tree) -> Result<Option<Vec<u8>>, HistoryError> {
        let path = view.dir.join("files");
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        let format = view.state.format;
        let Some(mut files) = index::parse(&bytes, format).filter(|files| !files.is_empty()) else {
            return Ok(None);
        };
        // Without the project's index Git finds out by itself what has changed, once.
        let theirs = locate::read(project).ok().flatten().map(|repository| repository.index);
        let theirs = theirs.and_then(|bytes| index::parse(&bytes, format)).unwrap_or_default();
        index::fill(&mut files, &theirs, base);
        Ok(Some(index::render(&files, format)))
    }
}

/// Branches, tags, and for each content that is kept out what stands in its place.
fn references(state: &State) -> String {
    let mut lines: Vec<(String, String)> =
        state.refs.iter().map(|(name, id)| (name.clone(), id.to_string())).collect();
    if let Some(placeholder) = state.placeholder {
        let withheld = state.withheld.iter();
        lines.extend(withheld.map(|id| (format!("refs/replace/{id}"), placeholder.to_string())));
    }
    lines.sort();
    let lines = lines.into_iter().map(|(name, id)| format!("{id} {name}\n"));
    std::iter::once("# pack-refs with: sorted \n".to_owned()).chain(lines).collect()
}

/// The configuration. Size and time tell whether a file is unchanged: its inode is another one than on the
/// host.
fn config(format: Format) -> String {
    format!(
        "[core]\n\trepositoryformatversion = 1\n\tfilemode = true\n\tbare = false\n\
         \tlogAllRefUpdates = true\n\tcheckStat = minimal\n\ttrustctime = false\n\
         [extensions]\n\tobjectFormat = {}\n\
         [user]\n\tname = FTL session\n\temail = session@ftl.invalid\n\
         [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n\
         [sparse]\n\texpectFilesOutsideOfPatterns = true\n",
        format.name()
    )
}

/// Gives a directory and all in it to whom sandboxes run as.
fn give(target: &Path, owner: Option<(u32, u32)>) -> Result<(), HistoryError> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    let mut todo: Vec<PathBuf> = vec![target.to_owned()];
    while let Some(path) = todo.pop() {
        lchown(&path, Some(uid), Some(gid)).map_err(io_error("give away", &path))?;
        if path.is_dir() {
            let entries = fs::read_dir(&path).map_err(io_error("list", &path))?;
            todo.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    Ok(())
}
