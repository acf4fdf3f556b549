//! What is left of a tree some of whose listings are lost.
//!
//! Owns reading on where [`load`](super::load) gives up. Must not know where listings are kept.

use std::sync::Arc;

use super::listing::{Line, parse};
use super::{Dir, RelPath, Tree};
use crate::id::{Hash, SnapshotId};

/// A directory whose listing is lost: nothing of what stood in it is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostDir {
    /// Where; `None` is the root.
    pub path: Option<RelPath>,
    /// The listing.
    pub hash: Hash,
}

/// Reads what can be read of a snapshot's tree. `fetch` hands in a listing's bytes, or `None` when it is
/// lost; bytes that are not the listing count as lost. A directory that is lost is empty in the tree.
///
/// # Errors
/// Those of `fetch`.
pub fn salvage<E>(
    id: SnapshotId,
    fetch: &mut dyn FnMut(Hash) -> Result<Option<Vec<u8>>, E>,
) -> Result<(Tree, Vec<LostDir>), E> {
    let mut salvaging = Salvaging { fetch, lost: Vec::new() };
    let root = salvaging.dir(id.0, None, 0)?;
    Ok((Tree::of_root(root), salvaging.lost))
}

struct Salvaging<'a, E> {
    fetch: &'a mut dyn FnMut(Hash) -> Result<Option<Vec<u8>>, E>,
    lost: Vec<LostDir>,
}

impl<E> Salvaging<'_, E> {
    fn dir(&mut self, hash: Hash, at: Option<&RelPath>, depth: usize) -> Result<Arc<Dir>, E> {
        let lines = (self.fetch)(hash)?.filter(|bytes| Hash::of(bytes) == hash);
        let lines = lines.and_then(|bytes| parse(&bytes).ok()).filter(|_| depth <= RelPath::DEEPEST);
        let Some(lines) = lines else {
            self.lost.push(LostDir { path: at.cloned(), hash });
            return Ok(Arc::default());
        };
        let mut items = Vec::new();
        for (name, entry, inner) in lines {
            let line: Line = (name, entry, inner);
            let inner = match (line.2, RelPath::under(at, &line.0)) {
                (Some(inner), Ok(path)) => Some(self.dir(inner, Some(&path), depth + 1)?),
                _ => None,
            };
            items.push((line.0, line.1, inner));
        }
        Ok(Arc::new(Dir::of(items)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;

    use super::*;
    use crate::tree::{Entry, Node};

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn a_lost_listing_costs_its_directory_and_nothing_else() {
        let file = Entry { node: Node::File { mode: 0o644, size: 1, hash: Hash::of(b"x") }, mtime_ns: 1 };
        let tree: Tree = ["a/b/c", "a/d", "e"].map(|text| (path(text), file.clone())).into();
        let mut kept = HashMap::new();
        for at in [None, Some("a"), Some("a/b")] {
            let dir = tree.dir(at.map(path).as_ref()).unwrap();
            kept.insert(dir.hash(), dir.listing());
        }
        let lost = tree.dir(Some(&path("a/b"))).unwrap().hash();
        for instead in [None, Some(b"other".to_vec())] {
            let mut fetch = |hash| {
                Ok::<_, Infallible>(if hash == lost { instead.clone() } else { kept.get(&hash).cloned() })
            };
            let (left, missed) = salvage(tree.id(), &mut fetch).unwrap();
            assert_eq!(
                left.keys().map(|path| path.to_string()).collect::<Vec<_>>(),
                ["a", "a/b", "a/d", "e"]
            );
            assert_eq!(missed, [LostDir { path: Some(path("a/b")), hash: lost }]);
        }
        let (left, missed) = salvage::<Infallible>(tree.id(), &mut |_| Ok(None)).unwrap();
        assert_eq!((left.len(), missed[0].path.clone()), (0, None));
        let (whole, missed) =
            salvage::<Infallible>(tree.id(), &mut |hash| Ok(kept.get(&hash).cloned())).unwrap();
        assert_eq!((whole.id(), missed.len()), (tree.id(), 0));
    }
}
