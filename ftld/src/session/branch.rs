//! Sessions that begin with work that is there already: a branch of another one, or a snapshot that a human
//! wants to have back in the project.
//!
//! Owns what such a session takes over and what it does not. Layers are shared and never copied. Nothing is
//! written to the project here: going back in it is a change like any other, with its review.

use std::path::Path;
use std::sync::Arc;

use ftl_core::event::Kind;
use ftl_core::id::SessionId;
use ftl_core::lifecycle::{Request, State, Step};
use ftl_core::stack;
use ftl_core::tree::{Entry, RelPath};
use serde_json::json;

use super::checkpoint::changes;
use super::decide::{blocking, new_session_id};
use super::driver::{Driver, told};
use super::record::{Checkpoint, Layer, Record, Spec, Stack, Work};
use super::{Error, Sessions, builtin, captured, history, layers, prepare, project, standing, taking, trust};
use crate::app::Parts;
use crate::audit::Sync;
use crate::snapshot;

impl Driver {
    /// Begins another session with the work of this one, or of one of its checkpoints.
    pub(super) async fn branch(&mut self, checkpoint: Option<u32>) -> Result<SessionId, Error> {
        self.may(Request::Branch)?;
        // Until the new record names what it has: this session's may be gone by then.
        let _lease = self.lease().await?;
        self.secure().await?;
        let at = checkpoint.unwrap_or(self.record.at);
        let stack = self.stack_at(at)?;
        let id = new_session_id()?;
        let mut record = Record {
            stack: stack.clone(),
            at,
            work: stack.work,
            checkpoints: Vec::new(),
            applies: Vec::new(),
            came_with: standing::standing(&self.parts, &self.record)?,
            frozen: 0,
            folded: 0,
            digest: None,
            pending: None,
            state: State::Created,
            reason: String::new(),
            created_us: self.parts.clock.now_us(),
            id: id.clone(),
            ..self.record.clone()
        };
        let mut number = at;
        while let Some(checkpoint) = self.record.checkpoint(number) {
            record.checkpoints.insert(0, checkpoint.clone());
            number = checkpoint.parent;
        }
        record.turns = self.record.checkpoint(at).map_or(0, |checkpoint| checkpoint.turn);
        let detail = json!({ "branch": id, "checkpoint": at });
        self.audit("session_branched", detail, Sync::Disk).await?;
        let from = self.record.id.clone();
        let fact = Kind::Branched { from: from.clone(), checkpoint: at };
        let (parts, to) = (Arc::clone(&self.parts), id.clone());
        blocking(move || copy_home(&parts, &from, &to)).await?;
        let begun = begin(&self.parts, record, fact).await;
        if begun.is_err() {
            discard(&self.parts, &id);
        }
        begun.map(|()| id)
    }
}

impl Sessions {
    /// Begins a session whose work is the difference between a project as it is now and a state that a human
    /// names: a snapshot, a session, or a session's checkpoint.
    ///
    /// # Errors
    /// When there is no such state, or the project cannot be read.
    pub async fn propose(&self, root: &Path, text: &str) -> Result<SessionId, Error> {
        let parts = Arc::clone(self.parts());
        let wanted = self.point(text)?;
        let of = project::open(root, parts.home.root(), parts.user.home.as_deref())?;
        let settings = trust::settings(&parts, root)?;
        let task = format!("go back to {}", wanted.name);
        let spec = Spec { agent: crate::agent::MANUAL.to_owned(), task, ..Spec::default() };
        let spec = prepare::check(&parts, root, &settings, spec)?;
        let id = new_session_id()?;
        let mut record = Record::new(id.clone(), of, spec, parts.clock.now_us());
        let detail = json!({ "agent": record.spec.agent, "task": record.spec.task });
        let driver = Driver::resume(Arc::clone(&parts), record.clone())?;
        driver.audit("session_created", detail, Sync::Kernel).await?;
        driver.audit("snapshot_begun", json!({}), Sync::Kernel).await?;
        let taken = taking::take(&parts, &record.project).await?;
        record.base = Some(taken.snapshot);
        record.dotenv = taken.dotenv();
        let (layer, shared, wanted) = (layers::name(&id, 1), Arc::clone(&parts), wanted.clone());
        let base = taken.snapshot;
        let stack = blocking(move || {
            let now = shared.store.tree(base)?;
            let rules = shared.store.rules(wanted.rules)?;
            let is_ignored = |(path, entry): &(RelPath, &Entry)| {
                !wanted.tree.contains_key(path) && rules.ignores(path, entry.node.is_dir())
            };
            // What was ignored then was not looked at, so it is not known to be gone either.
            let ignored = now.iter().filter(is_ignored).map(|(path, _)| path);
            let unread = ignored.chain(wanted.unread.iter().cloned()).collect();
            let tree = stack::with_unread(&now, &wanted.tree, &unread);
            let upper: Vec<_> = stack::between(&now, &tree).into_iter().collect();
            let work = Some(captured::put(&shared, None, Work { upper, ..Work::default() })?);
            let name = layers::make(&shared, &layer, |half| {
                make_dir(half)?;
                Ok(shared.store.write_layer((&now, &tree), half, shared.owner)?)
            })?;
            // What is the human's own counts nothing against the sandbox's disk.
            Ok(Stack { layers: vec![Layer { name, bytes: 0 }], work })
        })
        .await?;
        record.work = stack.work;
        record.frozen = 1;
        // Going back from it loses nothing either.
        record.at = 1;
        record.checkpoints.push(Checkpoint {
            number: 1,
            parent: 0,
            turn: 0,
            time_us: parts.clock.now_us(),
            text: record.spec.task.clone(),
            digest: None,
            entries: 0,
            stack: stack.clone(),
        });
        record.stack = stack;
        let begun = begin(&parts, record, taken.event()).await;
        if begun.is_err() {
            discard(&parts, &id);
        }
        begun.map(|()| id)
    }
}

/// Persists a session whose work is captured already, and tells of it.
async fn begin(parts: &Arc<Parts>, mut record: Record, fact: Kind) -> Result<(), Error> {
    let Spec { agent, sandbox, task, .. } = record.spec.clone();
    let created = Kind::SessionCreated { project: record.project.root.clone(), agent, sandbox, task };
    let mut driver = Driver::resume(Arc::clone(parts), record.clone())?;
    let reviewed = driver.reviewed(&record).await?;
    record.digest = reviewed.review.digest();
    let (digest, at) = (record.digest, record.at);
    let refused = reviewed.review.changes().iter().filter(|change| change.refused.is_some()).count();
    let entries = reviewed.review.changes().len() - refused;
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let captured = Kind::WorkCaptured {
        digest: record.digest,
        entries: wide(entries),
        refused: wide(refused),
        ignored: reviewed.ignored,
    };
    // Its digest is the session's own.
    for checkpoint in record.checkpoints.iter_mut().filter(|checkpoint| checkpoint.number == at) {
        (checkpoint.digest, checkpoint.entries) = (digest, wide(entries));
    }
    driver.record = record;
    let step = Step::Prepared { changes: changes(&reviewed) };
    driver.enter(step, String::new(), vec![created, fact, captured]).await
}

/// Copies the agent's home, so that its conversation can go on in both sessions, and its `.git`.
fn copy_home(parts: &Parts, from: &SessionId, to: &SessionId) -> Result<(), Error> {
    let dir = |id: &SessionId| parts.home.sessions().join(id.as_str());
    let (source, target) = (dir(from), dir(to));
    make_dir(&target)?;
    let copy = || {
        for name in ["home", builtin::SAID, history::PARKED] {
            let (from, to) = (source.join(name), target.join(name));
            if from.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                snapshot::copy(&from, &to)?;
            }
        }
        let given = target.join(history::GIVEN);
        match source.join(history::GIVEN).exists() {
            true => std::fs::write(&given, b"").map_err(|source| Error::Write { path: given, source }),
            false => Ok(()),
        }
    };
    let copied = copy();
    if copied.is_err() {
        discard(parts, to);
    }
    copied
}

fn make_dir(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    std::fs::create_dir(path).map_err(failed)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).map_err(failed)
}

/// Removes what was made for a session that did not come to be.
fn discard(parts: &Parts, id: &SessionId) {
    let dirs = [parts.home.sessions().join(id.as_str()), parts.home.layers().join(layers::name(id, 1))];
    for dir in dirs {
        if let Err(error) = snapshot::remove_tree(&dir) {
            tracing::warn!(session = %id, error = %told(&error), "what was made for a session is left");
        }
    }
}
