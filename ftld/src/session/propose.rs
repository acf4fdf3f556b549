//! What approving a selection would do to the project as it is now.
//!
//! Owns the look at the project for that, and where the contents of a merge come from. Must not decide: what
//! is selected, joined and held is [`ftl_core::review`]'s. Writes nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::{Arc, PoisonError};

use ftl_core::diff::Change;
use ftl_core::hunk::Limits;
use ftl_core::id::{Digest, Hash, SessionId};
use ftl_core::lifecycle::Request;
use ftl_core::lint::{Finding, Known};
use ftl_core::merge::{Host, to_observe};
use ftl_core::refuse::Surroundings;
use ftl_core::review::{Contents, Item, Proposal, ProposeError, SHORTEST, Wanted};
use ftl_core::tree::{Node, RelPath};

use super::appraise::{Appraisal, Appraiser, BEGINNING};
use super::decide::{blocking, open_root};
use super::driver::Driver;
use super::looked::Looked;
use super::outlet::known;
use super::record::Record;
use super::workspace::{Reviewed, reviewed};
use super::{Error, Sessions};
use crate::app::Parts;
use crate::merge::Root;
use crate::snapshot::LocalStore;

/// What a human wants, and what the human lets pass.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What is wanted.
    pub wanted: Wanted,
    /// Findings that the human lets pass, by id, each with the reason.
    pub accepted: BTreeMap<String, String>,
    /// Digest of the whole diff that the human chose from, or enough of it to name it; empty for the work as it
    /// is now. A path alone says nothing of the bytes that were seen there.
    pub shown: String,
}

/// What would be written.
#[derive(Debug)]
pub struct Proposed {
    /// The whole work that it is a part of.
    pub reviewed: Reviewed,
    /// What would be written.
    pub proposal: Proposal,
    /// What is to be known of each of its paths, in their order.
    pub appraisals: Vec<Appraisal>,
    /// Where files that are found under another name were, by their new paths.
    pub renamed: BTreeMap<RelPath, RelPath>,
    /// Findings that the human lets pass, by id, each with the reason.
    pub accepted: BTreeMap<String, String>,
    /// What the project has.
    pub(super) host: Host,
}

impl Proposed {
    /// The findings that hold an approval of this, or would if they had not been accepted.
    pub(super) fn grave(&self) -> impl Iterator<Item = (&RelPath, &Finding)> {
        let items = self.proposal.items().iter().zip(&self.appraisals);
        items.flat_map(|(item, found)| {
            found.findings.iter().filter(|one| one.holds).map(|one| (&item.change.path, one))
        })
    }

    /// The findings that hold an approval of this.
    pub fn holding(&self) -> impl Iterator<Item = (&RelPath, &Finding)> {
        self.grave().filter(|(_, one)| !self.accepted.contains_key(&one.id))
    }
}

/// Where contents are: in the store, and in the project.
pub(super) struct Places<'a> {
    pub(super) store: &'a LocalStore,
    pub(super) root: &'a Root,
    /// What the project had when it was read.
    pub(super) seen: RefCell<BTreeMap<Hash, Vec<u8>>>,
}

impl Sessions {
    /// What looks at the changes of a session's work for a human.
    ///
    /// # Errors
    /// When the human's own credentials cannot be read.
    pub async fn appraiser(&self, id: &SessionId, reviewed: &Reviewed) -> Result<Appraiser, Error> {
        let known = known(self.parts(), &self.get(id)?).await?;
        let (store, looked) = (Arc::clone(&self.parts().store), self.parts().looked.of(id));
        Ok(Appraiser::new(store, Arc::clone(&reviewed.around))
            .searching(known)
            .remembering(looked)
            .on(self.parts().user.processors))
    }
}

impl Driver {
    /// What approving a selection would write into the project now.
    pub(super) async fn preview(&self, asked: Asked) -> Result<Proposed, Error> {
        self.may(Request::Approve)?;
        self.propose(asked, false).await
    }

    /// The same; `settled` brings half of an earlier application to rest before.
    pub(super) async fn propose(&self, asked: Asked, settled: bool) -> Result<Proposed, Error> {
        let known = known(&self.parts, &self.record).await?;
        let (parts, record) = (Arc::clone(&self.parts), self.record.clone());
        blocking(move || {
            let root = open_root(&record.project)?;
            if settled {
                parts.merge.bring_to_rest(&root, &*parts.store)?;
            }
            propose(&parts, &record, &root, (asked, known))
        })
        .await
    }
}

fn propose(
    parts: &Parts,
    record: &Record,
    root: &Root,
    (asked, known): (Asked, Arc<Known>),
) -> Result<Proposed, Error> {
    let Asked { mut wanted, accepted, shown } = asked;
    let reviewed = reviewed(parts, record)?;
    if !is_shown(&shown, reviewed.review.digest()) {
        return Err(Error::AnotherWork);
    }
    let changes = reviewed.review.changes();
    if changes.iter().any(|change| change.before.is_none() && wanted.parts.contains_key(&change.path)) {
        let appraiser = Appraiser::new(Arc::clone(&parts.store), Arc::default());
        wanted.renamed = appraiser.with_renames(changes).renamed();
    }
    let looked = parts.looked.of(&record.id);
    let begun = looked.counts();
    let appraiser = Appraiser::new(Arc::clone(&parts.store), Arc::clone(&reviewed.around))
        .searching(Arc::clone(&known))
        .remembering(Arc::clone(&looked));
    let judged = judge(&appraiser, &reviewed, &wanted, parts.user.processors)?;
    let naming =
        |change: &Change| judged.get(&change.path).and_then(|found| found.needs_naming()).map(str::to_owned);
    let selected = reviewed.review.select(&wanted, &naming)?;
    let host = observe(parts, root, &looked, &to_observe(selected.0.iter().map(|change| &change.path)))?;
    let places = Places { store: &parts.store, root, seen: RefCell::default() };
    let project = &record.project.root.0;
    let proposal = Proposal::new(&reviewed.review, project, selected, &wanted, &host, &places)?;
    let (appraisals, renamed) = appraise(parts, (&reviewed.around, known), &places, &proposal)?;
    let (compared, read) = looked.counts();
    tracing::debug!(compared = compared - begun.0, read = read - begun.1, "looked at what would be written");
    Ok(Proposed { renamed, reviewed, proposal, appraisals, accepted, host })
}

/// Whether the work is what the human chose from.
fn is_shown(shown: &str, now: Option<Digest>) -> bool {
    let names = |digest: Digest| shown.len() >= SHORTEST && digest.to_string().starts_with(shown);
    shown.is_empty() || now.is_some_and(names)
}

/// What the project has. A file that is as it was when it was last looked at is not read again: whatever is written
/// is compared with all that is there once more.
fn observe(parts: &Parts, root: &Root, looked: &Looked, paths: &BTreeSet<RelPath>) -> Result<Host, Error> {
    let mut seen = looked.seen.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(root.observe_again(paths, &mut seen, parts.clock.now_us() / 1_000_000)?)
}

/// What is known of the changes that a selection could leave out: those that it does not name, and those that
/// it brings because something stands in them.
fn judge(
    appraiser: &Appraiser,
    reviewed: &Reviewed,
    wanted: &Wanted,
    processors: u32,
) -> Result<BTreeMap<RelPath, Appraisal>, Error> {
    let exact: BTreeSet<&RelPath> = wanted.paths.iter().chain(wanted.parts.keys()).collect();
    let concerns = |change: &&Change| {
        let is_meant = exact.is_empty() || change.path.ancestors().any(|above| exact.contains(&above));
        let is_meant = is_meant || (change.before.is_some() && brings(&exact, change));
        change.refused.is_none() && is_meant && !exact.contains(&change.path)
    };
    let changes: Vec<Change> = reviewed.review.changes().iter().filter(concerns).cloned().collect();
    let judged = appraiser.look_at_all(&changes, processors)?;
    Ok(changes.into_iter().map(|change| change.path).zip(judged).collect())
}

/// Whether something named stands in a directory that a change makes.
fn brings(exact: &BTreeSet<&RelPath>, change: &Change) -> bool {
    change.result().is_some_and(Node::is_dir) && exact.iter().any(|path| path.is_beneath(&change.path))
}

/// Looks at what would be written, over what the project has.
pub(super) fn appraise(
    parts: &Parts,
    (around, known): (&Arc<Surroundings>, Arc<Known>),
    places: &Places<'_>,
    proposal: &Proposal,
) -> Result<(Vec<Appraisal>, BTreeMap<RelPath, RelPath>), Error> {
    let mut beside = places.beside(proposal)?;
    beside.extend(proposal.made().clone());
    let changes: Vec<Change> = proposal.items().iter().map(|item| item.change.clone()).collect();
    let appraiser = Appraiser::new(Arc::clone(&parts.store), Arc::clone(around))
        .searching(known)
        .remembering(parts.looked.of(proposal.session()))
        .beside(beside)
        .with_renames(&changes);
    let appraisals = appraiser.look_at_all(&changes, parts.user.processors)?;
    Ok((appraisals, appraiser.renamed_paths()))
}

// === impl Places ===

impl Contents for Places<'_> {
    fn stored(&self, hash: Hash) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        self.store.open_blob(hash).ok()?.read_to_end(&mut content).ok()?;
        Some(content)
    }

    fn on_host(&self, path: &RelPath, hash: Hash) -> Option<Vec<u8>> {
        let content = self.root.content(path, u64::MAX).ok().flatten()?;
        if Hash::of(&content) != hash {
            return None;
        }
        self.seen.borrow_mut().insert(hash, content.clone());
        Some(content)
    }
}

impl Places<'_> {
    /// What of the project's contents the store may not have; of large ones the beginning.
    fn beside(&self, proposal: &Proposal) -> Result<BTreeMap<Hash, Vec<u8>>, Error> {
        let mut beside = self.seen.borrow().clone();
        let hash = |node: &Option<Node>| node.as_ref().and_then(Node::hash);
        let own = |item: &&Item| {
            let found = hash(&item.change.before);
            found.is_some() && found != hash(&item.base) && found != hash(&item.took)
        };
        for item in proposal.items().iter().filter(own) {
            let Some(Node::File { size, hash, .. }) = &item.change.before else { continue };
            if !beside.contains_key(hash) {
                let most = if *size > Limits::default().bytes { BEGINNING } else { u64::MAX };
                let content = self.root.content(&item.change.path, most)?;
                let content = content.unwrap_or_default();
                if most == u64::MAX && Hash::of(&content) != *hash {
                    let path = item.change.path.clone();
                    return Err(ProposeError::Unreadable { path }.into());
                }
                beside.insert(*hash, content);
            }
        }
        Ok(beside)
    }
}
