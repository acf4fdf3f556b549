//! What stays outside a snapshot.
//!
//! Owns the exclusions of a project with what is kept of some of them: which could not be read, and the stamps
//! of files that were read and stay outside for what they hold. A snapshot shares the exclusions with the
//! project, so that one of an unchanged project costs nothing for them, however many there are. Must not know
//! the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ftl_core::tree::RelPath;

use super::index::Stamp;
use super::rules::{Class, Exclusion};

/// The paths that stay outside a snapshot, in order. Cloning costs nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Exclusions(Arc<BTreeMap<RelPath, Exclusion>>);

impl Exclusions {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Exclusion> {
        self.0.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing stays outside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What stays outside, as it changes.
#[derive(Debug, Default)]
pub(super) struct Outside {
    all: Exclusions,
    /// Those that could not be read, in an order of their own: each is tried again at each snapshot.
    unread: BTreeSet<RelPath>,
    /// Files that hold a private key, by the stamps that they were read with.
    keys: BTreeMap<RelPath, Stamp>,
}

impl Outside {
    /// All of it at this moment.
    pub(super) fn all(&self) -> &Exclusions {
        &self.all
    }

    /// What could not be read.
    pub(super) fn unread(&self) -> &BTreeSet<RelPath> {
        &self.unread
    }

    /// Whether a file is known to hold a private key, whatever its stamp is now.
    pub(super) fn has_key(&self, path: &RelPath) -> bool {
        self.keys.contains_key(path)
    }

    /// Whether a file with this stamp is known to hold a private key.
    pub(super) fn is_key(&self, path: &RelPath, stamp: Stamp) -> bool {
        self.keys.get(path) == Some(&stamp)
    }

    /// Notes the stamp of a file that holds a private key.
    pub(super) fn put_key(&mut self, path: RelPath, stamp: Stamp) {
        self.keys.insert(path, stamp);
    }

    /// Makes that a file is read at the next look at it whatever its stamp says.
    pub(super) fn doubt(&mut self, path: &RelPath) {
        self.keys.remove(path);
    }

    /// Notes that a path stays outside.
    pub(super) fn put(&mut self, exclusion: Exclusion) {
        let path = &exclusion.path;
        self.keys.remove(path);
        match exclusion.class {
            Class::Unreadable if self.unread.contains(path) => {}
            Class::Unreadable => drop(self.unread.insert(path.clone())),
            _ => drop(self.unread.remove(path)),
        }
        // An equal one is left alone: whoever shares it goes on sharing it.
        if self.all.0.get(path) != Some(&exclusion) {
            Arc::make_mut(&mut self.all.0).insert(path.clone(), exclusion);
        }
    }

    /// Forgets a path.
    pub(super) fn remove(&mut self, path: &RelPath) {
        if self.all.0.contains_key(path) {
            Arc::make_mut(&mut self.all.0).remove(path);
        }
        self.unread.remove(path);
        self.keys.remove(path);
    }

    /// Forgets all that is beneath a directory.
    pub(super) fn remove_beneath(&mut self, dir: &RelPath) {
        let held: Vec<RelPath> = self.from(Some(dir)).filter(|path| path.is_beneath(dir)).cloned().collect();
        held.iter().for_each(|path| self.remove(path));
    }

    /// The names directly in a directory.
    pub(super) fn names_in(&self, at: Option<&RelPath>) -> impl Iterator<Item = &[u8]> {
        self.from(at).filter(move |path| path.parent().as_ref() == at).map(RelPath::name)
    }

    /// Every path that begins like a directory's; others are among them.
    fn from(&self, at: Option<&RelPath>) -> Box<dyn Iterator<Item = &RelPath> + '_> {
        let Some(at) = at.cloned() else { return Box::new(self.all.0.keys()) };
        let paths = self.all.0.range(at.clone()..).map(|(path, _)| path);
        Box::new(paths.take_while(move |path| path.as_bytes().starts_with(at.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(path: &str, class: Class) -> Exclusion {
        let path = RelPath::new(path).unwrap();
        Exclusion { path, rule: "x".to_owned(), source: "y".to_owned(), class }
    }

    #[test]
    fn what_stays_as_it_is_stays_shared() {
        let mut outside = Outside::default();
        outside.put(out("a/b", Class::Ignored));
        outside.put(out("a.b", Class::Unreadable));
        let before = outside.all().clone();
        outside.put(out("a/b", Class::Ignored));
        outside.put(out("a.b", Class::Unreadable));
        outside.remove(&RelPath::new("c").unwrap());
        outside.remove_beneath(&RelPath::new("a.b").unwrap());
        assert!(Arc::ptr_eq(&before.0, &outside.all().0));
        outside.remove_beneath(&RelPath::new("a").unwrap());
        assert_eq!((before.len(), outside.all().len(), outside.unread().len()), (2, 1, 1));
        outside.put(out("a.b", Class::Special));
        assert!(outside.unread().is_empty());
    }
}
