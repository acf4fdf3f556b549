//! What a human should know of a change before saying yes: how its content differs, and its risks.
//!
//! Owns the reading of both sides' contents for that, within limits, and on several processors. Must not
//! know why it is asked, or how the answer is shown.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::iter::Peekable;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ftl_core::diff::{Change, renames};
use ftl_core::hunk::{self, Elided, Hunks, Limits};
use ftl_core::id::Hash;
use ftl_core::lint::{Added, Finding, Known, Windows, disguised, lint, lint_name, lint_windows};
use ftl_core::refuse::{self, Content, Risk, Surroundings};
use ftl_core::tree::{Node, RelPath};

use super::Error;
use super::looked::{Key, Looked};
use crate::snapshot::LocalStore;

/// Bytes of a large file that are read to tell text from binary.
pub(super) const BEGINNING: u64 = 8 * 1024;
/// Bytes of a content that is sent whole at most: a message has a largest size.
const SENT: u64 = 1 << 20;
/// Changes from which on they are shared among processors.
const MANY: usize = 64;

/// Changes that are looked at ahead of who takes them.
const AHEAD: usize = 512;
/// Bytes that are read for that.
const AHEAD_BYTES: u64 = 16 << 20;

/// Looks at changes.
pub struct Appraiser {
    store: Arc<LocalStore>,
    /// Contents that the store does not have.
    beside: BTreeMap<Hash, Vec<u8>>,
    /// What all changes say of each of them.
    around: Arc<Surroundings>,
    /// The values that added content is searched for; without them it is not searched at all.
    known: Option<Arc<Known>>,
    /// Files that are found under another name: the old path and what stood there, by the new path.
    renamed: BTreeMap<RelPath, (RelPath, Node)>,
    /// What was found out before.
    looked: Option<Arc<Looked>>,
    /// How many processors look.
    processors: u32,
}

/// Both sides' contents.
struct Sides {
    old: Vec<u8>,
    new: Vec<u8>,
    /// Whether they are whole; of large ones there is the beginning only.
    whole: bool,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Appraisal {
    /// How the contents differ.
    pub hunks: Arc<Hunks>,
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
    pub fn new(store: Arc<LocalStore>, around: Arc<Surroundings>) -> Self {
        let (beside, renamed) = (BTreeMap::new(), BTreeMap::new());
        Self { store, beside, around, known: None, renamed, looked: None, processors: 1 }
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

    /// The same, which looks at nothing that was looked at before.
    #[must_use]
    pub(super) fn remembering(self, looked: Arc<Looked>) -> Self {
        Self { looked: Some(looked), ..self }
    }

    /// The same, which looks on so many processors.
    #[must_use]
    pub(super) fn on(self, processors: u32) -> Self {
        Self { processors, ..self }
    }

    /// Looks at changes one after the other, as fast as they are taken: some ahead, on all its processors, and not
    /// more than can be held at once.
    pub fn look_along(
        this: Arc<Self>,
        changes: Vec<Change>,
    ) -> impl Iterator<Item = Result<(Change, Appraisal), Error>> {
        let mut left = changes.into_iter().peekable();
        let (mut ready, mut most) = (VecDeque::new(), MANY);
        std::iter::from_fn(move || {
            if ready.is_empty() {
                let part = part(&mut left, most);
                // The first ones are wanted soon.
                most = AHEAD;
                match this.look_at_all(&part, this.processors) {
                    Ok(found) => ready.extend(part.into_iter().zip(found).map(Ok)),
                    Err(error) => ready.push_back(Err(error)),
                }
            }
            ready.pop_front()
        })
    }

    /// Looks at a change.
    ///
    /// # Errors
    /// When a content cannot be read.
    pub fn look(&self, change: &Change) -> Result<Appraisal, Error> {
        let Some(looked) = self.looked.as_ref().filter(|_| self.is_had(change)) else {
            return self.look_anew(change);
        };
        let key = Key {
            change: change.clone(),
            around: self.around.at(change),
            renamed: self.renamed.get(&change.path).map(|(_, node)| node.clone()),
            known: self.known.as_ref().map(|known| known.mark()),
        };
        if let Some(found) = looked.get(&key) {
            return Ok(found);
        }
        let found = self.look_anew(change)?;
        looked.put(key, &found);
        Ok(found)
    }

    /// Whether all that is known of a content here is the whole of it.
    fn is_had(&self, change: &Change) -> bool {
        let nodes = [change.before.as_ref(), change.result()];
        nodes.into_iter().flatten().all(|node| match node {
            Node::File { size, hash, .. } => {
                self.beside.get(hash).is_none_or(|content| content.len() as u64 == *size)
            }
            _ => true,
        })
    }

    fn look_anew(&self, change: &Change) -> Result<Appraisal, Error> {
        self.count(|looked| looked.compared.fetch_add(1, Ordering::Relaxed));
        let takes_a_place = change.before.as_ref().is_some_and(|node| !node.is_dir());
        let is_dir = change.result().is_some_and(Node::is_dir) && !takes_a_place;
        let around = self.around.at(change);
        let (before, after) = (change.before.as_ref(), change.result());
        if before.and_then(Node::hash) == after.and_then(Node::hash) {
            let risks = refuse::risks(change, Content::default(), &around);
            let findings = self.search_name(change);
            return Ok(Appraisal { hunks: Arc::default(), binary: false, risks, findings, is_dir });
        }
        let sides = self.sides(before, after)?;
        let (hunks, content) = compare(&change.path, &sides);
        let is_executable = after.is_some_and(|node| node.mode() & 0o111 != 0);
        let is_file = after.and_then(Node::hash).is_some();
        let disguised = is_file && disguised(&change.path, is_executable, &sides.old, &sides.new);
        let content = Content { disguised, ..content };
        let risks = refuse::risks(change, content, &around);
        let findings = self.search(change, &sides, &hunks)?;
        let hunks = match self.renamed.get(&change.path) {
            Some((_, old)) if Node::hash(old) == after.and_then(Node::hash) => Hunks::default(),
            Some((_, old)) => compare(&change.path, &self.sides(Some(old), after)?).0,
            None => hunks,
        };
        Ok(Appraisal { hunks: Arc::new(hunks), binary: content.binary, risks, findings, is_dir })
    }

    fn count(&self, what: impl FnOnce(&Looked) -> u64) {
        self.looked.as_deref().map(what);
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

    /// Both contents of a change of which no lines are shown, of at most [`SENT`] bytes each; nothing for what is
    /// larger, refused or no file.
    ///
    /// # Errors
    /// When a content cannot be read.
    pub fn contents(&self, change: &Change) -> Result<[Option<Vec<u8>>; 2], Error> {
        let before = self.renamed.get(&change.path).map(|(_, node)| node).or(change.before.as_ref());
        let read = |node: Option<&Node>| match node {
            Some(Node::File { size, .. }) if *size <= SENT && change.refused.is_none() => {
                self.read(node, SENT).map(Some)
            }
            _ => Ok(None),
        };
        Ok([read(before)?, read(change.result())?])
    }

    /// The old path of a file that is found under another name.
    #[must_use]
    pub fn renamed_from(&self, path: &RelPath) -> Option<&RelPath> {
        self.renamed.get(path).map(|(from, _)| from)
    }

    /// The old paths of files that are found under another name, by their new ones.
    pub(super) fn renamed_paths(&self) -> BTreeMap<RelPath, RelPath> {
        self.renamed.iter().map(|(path, (from, _))| (path.clone(), from.clone())).collect()
    }

    /// What files that are found under another name were before, by their new paths.
    pub(super) fn renamed(self) -> BTreeMap<RelPath, Node> {
        self.renamed.into_iter().map(|(path, (_, node))| (path, node)).collect()
    }

    /// What a human should see in what a change adds.
    fn search(&self, change: &Change, sides: &Sides, hunks: &Hunks) -> Result<Vec<Finding>, Error> {
        let after = change.result();
        let Some(known) = self.known.as_ref().filter(|_| change.refused.is_none()) else {
            return Ok(Vec::new());
        };
        if after.and_then(Node::hash).is_none() {
            return Ok(self.search_name(change));
        }
        if sides.whole {
            return Ok(lint(&change.path, &sides.old, &sides.new, &Added::of(hunks), known));
        }
        // Nothing is too large to be searched; it is only not held at once.
        let (mut old, mut new) = (self.open(change.before.as_ref())?, self.open(after)?);
        lint_windows(&change.path, &mut old, &mut new, known, Windows::default())
            .map_err(|_| Error::Interrupted)
    }

    /// The same of a name, and of where a link leads.
    fn search_name(&self, change: &Change) -> Vec<Finding> {
        let Some(known) = self.known.as_ref().filter(|_| change.refused.is_none()) else { return Vec::new() };
        match (change.result(), change.before.as_ref()) {
            (Some(Node::Symlink { target }), _) => lint_name(&change.path, Some(target), known),
            // A directory that changes its mode only has the name that it had.
            (Some(Node::Dir { .. }), None | Some(Node::File { .. } | Node::Symlink { .. })) => {
                lint_name(&change.path, None, known)
            }
            _ => Vec::new(),
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

    /// Both sides of an entry. Of files that are too large to be shown only the beginning is read, to tell text
    /// from binary.
    fn sides(&self, before: Option<&Node>, after: Option<&Node>) -> Result<Sides, Error> {
        let size = |node: Option<&Node>| match node {
            Some(Node::File { size, .. }) => *size,
            _ => 0,
        };
        let whole = size(before).saturating_add(size(after)) <= Limits::default().bytes;
        let most = if whole { u64::MAX } else { BEGINNING };
        Ok(Sides { old: self.read(before, most)?, new: self.read(after, most)?, whole })
    }

    fn read(&self, node: Option<&Node>, most: u64) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        self.open(node)?.take(most).read_to_end(&mut content).map_err(|_| Error::Interrupted)?;
        Ok(content)
    }

    /// A content from its start; nothing for what is no file.
    fn open(&self, node: Option<&Node>) -> Result<Box<dyn Read + '_>, Error> {
        let Some(hash) = node.and_then(Node::hash) else { return Ok(Box::new(std::io::empty())) };
        self.count(|looked| looked.read.fetch_add(1, Ordering::Relaxed));
        match self.beside.get(&hash) {
            Some(content) => Ok(Box::new(content.as_slice())),
            None => Ok(Box::new(self.store.open_blob(hash)?)),
        }
    }
}

/// How an entry's two sides differ, and what is known of them.
fn compare(path: &RelPath, sides: &Sides) -> (Hunks, Content) {
    let Sides { old, new, whole } = sides;
    let hunks = if *whole {
        hunk::hunks(old, new, Limits::default())
    } else {
        Hunks { elided: Some(Elided::TooLarge), ..Hunks::default() }
    };
    let content = hunk::content(old, new, &hunks);
    // Of a part of a manifest nothing can be said.
    let touched = if *whole { refuse::touched(path, old, new) } else { refuse::Touched::Unknown };
    (hunks, Content { touched, ..content })
}

/// Changes that are looked at together: at most so many, and not too much to read.
fn part(left: &mut Peekable<std::vec::IntoIter<Change>>, most: usize) -> Vec<Change> {
    let bytes = |change: &Change| {
        let size = |node: Option<&Node>| match node {
            Some(Node::File { size, .. }) => *size,
            _ => 0,
        };
        size(change.before.as_ref()).saturating_add(size(change.result())).min(Limits::default().bytes)
    };
    let (mut part, mut room) = (Vec::new(), AHEAD_BYTES);
    while part.len() < most
        && let Some(change) = left.next_if(|next| part.is_empty() || bytes(next) <= room)
    {
        room = room.saturating_sub(bytes(&change));
        part.push(change);
    }
    part
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
