//! A session's turns as a branch of the project's repository: one commit per checkpoint.
//!
//! Owns which trees become which commits. Must not know how a commit is made; see [`crate::history`].

use std::io::Write;
use std::sync::Arc;

use ftl_core::event::Bytes;
use ftl_core::history::stream::{Author, Step};
use ftl_core::id::{Hash, SessionId};
use ftl_core::stack;
use ftl_core::tree::Tree;
use serde_json::json;

use super::decide::blocking;
use super::driver::root;
use super::{Error, Sessions, captured, checkpoint, workspace};
use crate::app::Parts;
use crate::audit::{Entry, Sync};
use crate::history::{Contents, Export, Exported};
use crate::snapshot::LocalStore;

/// Who makes the commits: no person did.
const NAME: &str = "FTL";
const ADDRESS: &str = "session@ftl.invalid";

impl Sessions {
    /// Makes a branch in the project's repository, on top of the commit that is checked out there, with one
    /// commit for each turn that led to the session's work as it is now. The working tree is not touched.
    ///
    /// # Errors
    /// When there is no repository or no turn, the branch is there already, or Git fails.
    pub async fn export(&self, id: &SessionId, branch: String) -> Result<Exported, Error> {
        let (parts, record) = (Arc::clone(self.parts()), self.get(id)?);
        blocking(move || {
            let missing = || Error::NoSuchCheckpoint { session: record.id.clone(), number: 1 };
            let base = parts.store.tree(record.base.ok_or_else(missing)?)?;
            let mut trees: Vec<(Arc<Tree>, String, i64)> = Vec::new();
            let mut number = record.at;
            while let Some(checkpoint) = record.checkpoint(number) {
                let work = captured::get(&parts, checkpoint::stack_at(&record, number)?.work)?;
                let tree = Arc::new(workspace::allowed(&base, work, 0));
                let message = message(&checkpoint.text, checkpoint.turn, &record.id);
                trees.insert(0, (tree, message, checkpoint.time_us));
                number = checkpoint.parent;
            }
            let befores = std::iter::once(&base).chain(trees.iter().map(|(tree, ..)| tree));
            let steps: Vec<Step<'_>> = befores
                .zip(&trees)
                .filter(|(before, (after, ..))| !stack::between(before, after).is_empty())
                .map(|(before, (after, message, time_us))| Step {
                    before,
                    after,
                    message,
                    seconds: u64::try_from(time_us / 1_000_000).unwrap_or_default(),
                })
                .collect();
            audit(&parts, &record.id, &record.project.root, &branch)?;
            let project = root(&record.project.root);
            let author = Author { name: NAME.to_owned(), email: ADDRESS.to_owned() };
            let base = parts.history.head(&project)?;
            let wanted = Export { branch: &branch, base, steps: &steps, author: &author };
            Ok(parts.history.export(&project, &wanted, &Store(&parts.store))?)
        })
        .await
    }
}

fn audit(parts: &Parts, id: &SessionId, project: &Bytes, branch: &str) -> Result<(), Error> {
    let entry = Entry {
        time_us: parts.clock.now_us(),
        action: "export_begun",
        session: Some(id.clone()),
        project: Some(project.clone()),
        detail: json!({ "branch": branch }),
    };
    Ok(parts.audit.append(entry, Sync::Disk)?)
}

/// The instruction as a commit's message: its first line is the subject.
fn message(text: &str, turn: u32, session: &SessionId) -> String {
    let (subject, body) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
    let subject = if subject.is_empty() { "A turn without words" } else { subject.trim_end() };
    let parts = [subject, body.trim(), &format!("Turn {turn} of session {session}.")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// The store as the history sees it. The two folders do not know each other.
struct Store<'a>(&'a LocalStore);

impl Contents for Store<'_> {
    fn copy(&self, hash: Hash, to: &mut dyn Write) -> std::io::Result<u64> {
        let mut from = self.0.open_blob(hash).map_err(std::io::Error::other)?;
        std::io::copy(&mut from, to)
    }
}
