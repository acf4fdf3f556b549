//! What a project would hold once a proposal is applied.
//!
//! Owns the tree that can be tried before it lands. Must not know how it is tried.

use super::Proposal;
use crate::merge::{Conflict, Conflicts};
use crate::tree::{Entry, Node, RelPath, Tree};

impl Proposal {
    /// The tree that applying this to a project with the tree `now` would leave, as far as a snapshot holds it.
    /// `is_outside` says which paths no snapshot of the project takes in; what differs gets the time `mtime_ns`,
    /// nanoseconds since the epoch.
    ///
    /// # Errors
    /// When the project has something else at a path of this than it had when this was made.
    pub fn onto(
        &self,
        now: &Tree,
        mtime_ns: i64,
        is_outside: &dyn Fn(&RelPath, bool) -> bool,
    ) -> Result<Tree, Conflicts> {
        let mut conflicts = Vec::new();
        let mut tree = now.clone();
        let changed =
            || self.items().iter().filter(|item| item.change.result() != item.change.before.as_ref());
        for item in changed() {
            let (path, before) = (&item.change.path, &item.change.before);
            let found = now.get(path).map(|entry| entry.node.clone());
            let is_hidden =
                || found.is_none() && before.as_ref().is_some_and(|node| is_outside(path, node.is_dir()));
            if found != *before && !is_hidden() {
                conflicts.push(Conflict { path: path.clone(), expected: before.clone(), found });
            }
        }
        if !conflicts.is_empty() {
            return Err(Conflicts(conflicts));
        }
        // What stands in a directory goes before it, and a directory comes before what stands in it.
        for item in changed().collect::<Vec<_>>().into_iter().rev() {
            let path = &item.change.path;
            // One that holds something of the human's stays.
            let is_full = tree.beneath(path).next().is_some();
            if item.change.result().is_none() && !is_full {
                tree.remove(path);
            }
        }
        for item in changed() {
            if let Some(node) = item.change.result() {
                let node: Node = node.clone();
                tree.insert(&item.change.path, Entry { node, mtime_ns });
            }
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::{Contents, Review, Wanted};
    use super::*;
    use crate::diff::{After, Change};
    use crate::id::{Hash, SessionId, SnapshotId};

    struct Nothing;

    impl Contents for Nothing {
        fn stored(&self, _: Hash) -> Option<Vec<u8>> {
            None
        }
        fn on_host(&self, _: &RelPath, _: Hash) -> Option<Vec<u8>> {
            None
        }
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn file(text: &str) -> Node {
        Node::File { mode: 0o644, size: text.len() as u64, hash: Hash::of(text.as_bytes()) }
    }

    fn tree(nodes: &[(&str, Node)]) -> Tree {
        nodes.iter().map(|(name, node)| (path(name), Entry { node: node.clone(), mtime_ns: 1 })).collect()
    }

    /// What removes `a/` and its file, and puts a file in the place of the directory `b/`.
    fn proposal(host: &[(&str, Node)]) -> Proposal {
        let dir = || Node::Dir { mode: 0o755 };
        let nodes = [("a", dir()), ("a/f", file("f")), ("b", dir()), ("b/f", file("f"))];
        let base = tree(&nodes);
        let gone = |name: &str, node: &Node| Change::new(&path(name), Some(node), After::Absent);
        let changes = vec![
            gone("a", &dir()),
            gone("a/f", &file("f")),
            Change::new(&path("b"), Some(&dir()), After::Node(file("now a file"))),
            gone("b/f", &file("f")),
        ];
        let id = SnapshotId(Hash::of(b"base"));
        let review = Review::new(SessionId::from_random([1; 10]), b"/p", id, Arc::new(base), changes.clone());
        let host: BTreeMap<RelPath, Node> =
            host.iter().map(|(name, node)| (path(name), node.clone())).collect();
        let host = crate::merge::to_observe(changes.iter().map(|change| &change.path))
            .into_iter()
            .map(|at| (at.clone(), host.get(&at).cloned()))
            .collect();
        Proposal::new(&review, b"/p", (changes, Vec::new()), &Wanted::default(), &host, &Nothing).unwrap()
    }

    #[test]
    fn directories_go_and_change_their_kind_but_what_the_human_put_there_stays() {
        let dir = || Node::Dir { mode: 0o755 };
        let nodes = [("a", dir()), ("a/f", file("f")), ("b", dir()), ("b/f", file("f"))];
        let proposal = proposal(&nodes);
        let onto = |now: &Tree| proposal.onto(now, 2, &|_, _| false);
        let names = |tree: &Tree| tree.keys().map(|path| path.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&onto(&tree(&nodes)).unwrap()), ["b"]);
        let mine = tree(&[&nodes[..], &[("a/mine", file("mine"))]].concat());
        assert_eq!(names(&onto(&mine).unwrap()), ["a", "a/mine", "b"]);
    }

    #[test]
    fn a_project_that_has_changed_meanwhile_is_told_and_what_no_snapshot_holds_is_not_missed() {
        let dir = || Node::Dir { mode: 0o755 };
        let nodes = [("a", dir()), ("a/f", file("f")), ("b", dir()), ("b/f", file("f"))];
        let proposal = proposal(&nodes);
        let edited = tree(&[("a", dir()), ("a/f", file("edited")), ("b", dir()), ("b/f", file("f"))]);
        let conflicts = proposal.onto(&edited, 2, &|_, _| false).unwrap_err();
        assert_eq!(conflicts.0.len(), 1);
        assert_eq!(conflicts.0[0].path, path("a/f"));
        let without = tree(&[("a", dir()), ("b", dir()), ("b/f", file("f"))]);
        assert!(proposal.onto(&without, 2, &|_, _| false).is_err());
        assert!(proposal.onto(&without, 2, &|at, _| *at == path("a/f")).is_ok());
    }
}
