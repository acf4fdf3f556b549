//! Files that are laid over what would land, for one run.
//!
//! Owns the layer that holds them and its end. Must not know what the files are.

use std::path::PathBuf;
use std::sync::Arc;

use ftl_core::id::SessionId;
use ftl_core::tester::trial::Around;
use ftl_core::tree::{Entry, Node, RelPath, Tree, changes};
use ftl_core::verify::guess::Files;

use super::Error;
use super::decide::{blocking, new_session_id};
use super::stand::{Stand, TreeFiles, make_dirs, remove};

/// Files that are laid over the changed tree.
pub(super) struct Over {
    id: SessionId,
    pub(super) layer: PathBuf,
}

impl Stand {
    /// Lays files over the changed tree, for one sandbox. What stands at their paths is hidden by them.
    ///
    /// # Errors
    /// When something above a path is no directory, or the disk is full; nothing is left behind then.
    pub(super) async fn lay_over(&self, files: &[(String, String)]) -> Result<Over, Error> {
        let id = new_session_id()?;
        let (parts, after, files) = (Arc::clone(&self.parts), Arc::clone(&self.after), files.to_vec());
        let of = id.clone();
        let laid = blocking(move || {
            let _lease = parts.store.lease();
            let mtime_ns = parts.clock.now_us().saturating_mul(1000);
            let mut with = (*after).clone();
            for (path, contents) in &files {
                let blocked = || Error::NoPlace { path: path.clone() };
                let at = RelPath::new(path.as_str()).map_err(|_| blocked())?;
                let is_in_the_way =
                    |path: &RelPath| after.get(path).is_some_and(|entry| !entry.node.is_dir());
                if at.ancestors().any(|above| is_in_the_way(&above)) {
                    return Err(blocked());
                }
                for above in at.ancestors().filter(|above| !after.contains_key(above)) {
                    with.insert(&above, Entry { node: Node::Dir { mode: 0o755 }, mtime_ns });
                }
                let hash = parts.store.put_captured(contents.as_bytes())?;
                let size = u64::try_from(contents.len()).unwrap_or(u64::MAX);
                with.insert(&at, Entry { node: Node::File { mode: 0o644, size, hash }, mtime_ns });
            }
            let layer = parts.home.sessions().join(of.as_str()).join("patch");
            make_dirs(&layer, parts.owner)?;
            parts.store.write_layer((&after, &with), &layer, parts.owner)?;
            Ok(layer)
        });
        match laid.await {
            Ok(layer) => Ok(Over { id, layer }),
            Err(error) => {
                remove(&self.parts, &id).await;
                Err(error)
            }
        }
    }

    /// Removes files that were laid over the changed tree.
    pub(super) async fn take_off(&self, over: Over) {
        remove(&self.parts, &over.id).await;
    }

    /// Whether the project, without the selected changes, has something at a path.
    pub(super) fn had(&self, path: &RelPath) -> bool {
        self.before.contains_key(path)
    }

    /// The changed tree.
    pub(super) fn after(&self) -> Arc<Tree> {
        Arc::clone(&self.after)
    }

    /// The paths at which the two trees differ, those in Unicode.
    pub(super) fn changed(&self) -> Vec<String> {
        let changed = changes(&self.before, &self.after).into_iter();
        changed.filter_map(|one| String::from_utf8(one.path.as_bytes().to_vec()).ok()).collect()
    }
}

impl Around for TreeFiles {
    fn paths(&self) -> Vec<String> {
        self.names()
    }

    fn text(&self, path: &str) -> Option<String> {
        Files::text(self, path)
    }
}
