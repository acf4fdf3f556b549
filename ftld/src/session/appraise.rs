//! What a human should know of a change before saying yes: how its content differs, and its risks.
//!
//! Owns the reading of both sides' contents for that, within limits, and on several processors. Must not
//! know why it is asked, or how the answer is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::Arc;

use ftl_core::diff::{Change, renames};
use ftl_core::hunk::{self, Elided, Hunks, Limits};
use ftl_core::id::Hash;
use ftl_core::lint::{Added, Finding, Known, lint};
use ftl_core::refuse::{self, Content, Risk};
use ftl_core::tree::{Node, RelPath};

use super::Error;
use crate::snapshot::LocalStore;

/// Bytes of a large file that are read to tell text from binary.
pub(super) const BEGINNING: u64 = 8 * 1024;
/// Bytes of a file that are searched, from its start.
const SEARCHED: u64 = 32 << 20;
/// Changes from which on they are shared among processors.
const MANY: usize = 64;

/// Looks at changes.
pub struct Appraiser {
    store: Arc<LocalStore>,
    /// Contents that the store does not have.
    beside: BTreeMap<Hash, Vec<u8>>,
    /// New paths that a host which folds names would take for another one.
    collisions: BTreeSet<RelPath>,
    /// The values that added content is searched for; without them it is not searched at all.
    known: Option<Arc<Known>>,
    /// Files that are found under another name: the old path and what stood there, by the new path.
    renamed: BTreeMap<RelPath, (RelPath, Node)>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Appraisal {
    /// How the contents differ.
    pub hunks: Hunks,
    /// Whether one of them is not text.
    pub binary: bool,
    /// Reasons to look twice, the gravest first.
    pub risks: Vec<Risk>,
    /// What a search of the added content found.
    pub findings: Vec<Finding>,
    /// Whether a directory is what would stand there, in nothing's place: alone it does nothing.
    is_dir: bool,
}

impl Appraiser {
    /// One over what the store has.
    #[must_use]
    pub fn new(store: Arc<LocalStore>, collisions: BTreeSet<RelPath>) -> Self {
        Self { store, beside: BTreeMap::new(), collisions, known: None, renamed: BTreeMap::new() }
    }

    /// The same, which also searches added content for these values and for whatever a human should see.
    #[must_use]
    pub(super) fn searching(self, known: Arc<Known>) -> Self {
        Self { known: Some(known), ..self }
    }

    /// The same, with contents that the store does not have.
    #[must_use]
    pub(super) fn beside(self, contents: BTreeMap<Hash, Vec<u8>>) -> Self {
        Self { beside: contents, ..self }
    }

    /// Looks at a change.
    ///
    /// # Errors
    /// When a content cannot be read.
    pub fn look(&self, change: &Change) -> Result<Appraisal, Error> {
        let (hunks, content) = self.compare(change)?;
        let risks = refuse::risks(change, content, self.collisions.contains(&change.path));
        let findings = self.search(change, &hunks)?;
        let hunks = match self.renamed.get(&change.path) {
            Some((_, old)) => self.compare(&Change { before: Some(old.clone()), ..change.clone() })?.0,
            None => hunks,
        };
        let takes_a_place = change.before.as_ref().is_some_and(|node| !node.is_dir());
        let is_dir = change.result().is_some_and(Node::is_dir) && !takes_a_place;
        Ok(Appraisal { hunks, binary: content.binary, risks, findings, is_dir })
    }

    /// The same, which shows what else changed in a file that is found under another name.
    #[must_use]
    pub fn with_renames(self, changes: &[Change]) -> Self {
        let mut content = |node: &Node| self.read(Some(node), u64::MAX).ok();
        let found = renames(changes, &mut content);
        let gone: BTreeMap<&RelPath, &Node> =
            changes.iter().filter_map(|change| Some((&change.path, change.before.as_ref()?))).collect();
        let old = |path: RelPath, from: RelPath| {
            let node = (*gone.get(&from)?).clone();
            Some((path, (from, node)))
        };
        let renamed = found.into_iter().filter_map(|(path, rename)| old(path, rename.from)).collect();
        Self { renamed, ..self }
    }

    /// The old path of a file that is found under another name.
    #[must_use]
    pub fn renamed_from(&self, path: &RelPath) -> Option<&RelPath> {
        self.renamed.get(path).map(|(from, _)| from)
    }

    /// What files that are found under another name were before, by their new paths.
    pub(super) fn renamed(self) -> BTreeMap<RelPath, Node> {
        self.renamed.into_iter().map(|(path, (_, node))| (path, node)).collect()
    }

    /// What a human should see in what a change adds.
    fn search(&self, change: &Change, hunks: &Hunks) -> Result<Vec<Finding>, Error> {
        let (before, after) = (change.before.as_ref(), change.result());
        let is_new = after.and_then(Node::hash) != before.and_then(Node::hash);
        match &self.known {
            Some(known) if is_new && change.refused.is_none() && after.and_then(Node::hash).is_some() => {
                let (old, new) = (self.read(before, SEARCHED)?, self.read(after, SEARCHED)?);
                Ok(lint(&change.path, &old, &new, &Added::of(hunks), known))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Looks at many, on as many processors as there are.
    ///
    /// # Errors
    /// When a content cannot be read.
    pub fn look_at_all(&self, changes: &[Change], processors: u32) -> Result<Vec<Appraisal>, Error> {
        let processors = usize::try_from(processors).unwrap_or(1).max(1);
        if changes.len() < MANY || processors == 1 {
            return changes.iter().map(|change| self.look(change)).collect();
        }
        let part = changes.len().div_ceil(processors);
        let found: Vec<Result<Vec<Appraisal>, Error>> = std::thread::scope(|scope| {
            let look = |part| move || -> Result<Vec<Appraisal>, Error> { looked(self, part) };
            let threads: Vec<_> = changes.chunks(part).map(|part| scope.spawn(look(part))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(Err(Error::Interrupted))).collect()
        });
        let found: Result<Vec<Vec<Appraisal>>, Error> = found.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// How an entry's two sides differ, and what is known of them.
    fn compare(&self, change: &Change) -> Result<(Hunks, Content), Error> {
        let limits = Limits::default();
        let (before, after) = (change.before.as_ref(), change.result());
        let size = |node: Option<&Node>| match node {
            Some(Node::File { size, .. }) => *size,
            _ => 0,
        };
        if before.and_then(Node::hash) == after.and_then(Node::hash) {
            return Ok((Hunks::default(), Content::default()));
        }
        // Of files that are too large to be shown only the beginning is read, to tell text from binary.
        let fits = size(before).saturating_add(size(after)) <= limits.bytes;
        let most = if fits { u64::MAX } else { BEGINNING };
        let (old, new) = (self.read(before, most)?, self.read(after, most)?);
        let hunks = if fits {
            hunk::hunks(&old, &new, limits)
        } else {
            Hunks { elided: Some(Elided::TooLarge), ..Hunks::default() }
        };
        let content = hunk::content(&old, &new, &hunks);
        // Of a part of a manifest nothing can be said.
        let touched = if fits { refuse::touched(&change.path, &old, &new) } else { refuse::Touched::Unknown };
        Ok((hunks, Content { touched, ..content }))
    }

    fn read(&self, node: Option<&Node>, most: u64) -> Result<Vec<u8>, Error> {
        let Some(hash) = node.and_then(Node::hash) else { return Ok(Vec::new()) };
        if let Some(content) = self.beside.get(&hash) {
            return Ok(content.clone());
        }
        let mut content = Vec::new();
        let file = self.store.open_blob(hash)?;
        file.take(most).read_to_end(&mut content).map_err(|_| Error::Interrupted)?;
        Ok(content)
    }
}

fn looked(appraiser: &Appraiser, changes: &[Change]) -> Result<Vec<Appraisal>, Error> {
    changes.iter().map(|change| appraiser.look(change)).collect()
}

impl Appraisal {
    /// Why "approve all" leaves the change out; `None` when it does not.
    #[must_use]
    pub fn needs_naming(&self) -> Option<&'static str> {
        let named = self.risks.iter().find(|risk| risk.needs_naming() && !self.is_dir);
        named.map(|risk| risk.reason())
    }
}
