//! Having tests written while the agent works.
//!
//! Owns the order: what is told is read off the session's snapshot, the model is asked, its answer is read, and what
//! came of it is kept and told. Has no way to the agent's work.

use std::sync::Arc;

use ftl_core::event::Kind;
use ftl_core::tester::framework::detect;
use ftl_core::tester::prompt::{self, Told};
use ftl_core::tester::{Framework, NoTests, reply};
use tokio_util::sync::CancellationToken;

use super::Beside;
use super::store::{self, Kept};
use super::told::Sources;
use crate::app::Parts;
use crate::session::ask::{self, Answered};
use crate::session::decide::blocking;
use crate::session::driver::told;
use crate::session::outlet::known;
use crate::session::record::Record;
use crate::session::stand::TreeFiles;
use crate::session::{Error, ask::ModelError};

impl Beside {
    /// Has tests written for a turn's task.
    pub(super) async fn write(self, record: &Record) {
        let model = record.spec.tests.model.clone().unwrap_or_default();
        let parts = Arc::clone(self.sessions.parts());
        let blank = Kept { model, task: ask::task(record), ..Kept::default() };
        let kept = match self.written(record, blank.clone()).await {
            Ok(kept) => kept,
            Err(error) => Kept { why: told(&error), ..blank },
        };
        let kind = match kept.why.as_str() {
            "" => Kind::TestsWritten {
                model: kept.model.clone(),
                paths: kept.tests.iter().map(|test| test.path.clone()).collect(),
                adapted: false,
            },
            why => Kind::TestsNotWritten { model: kept.model.clone(), why: why.to_owned() },
        };
        if let Err(error) = store::save(&parts, &self.id, &kept).await {
            tracing::warn!(session = %self.id, error = %told(&error), "generated tests could not be kept");
        }
        // Whoever waits for them goes on before the session has told of them, which may take a turn.
        parts.tests.change(&self.id, |job| job.is_writing = false);
        self.note(kind).await;
    }

    async fn written(&self, record: &Record, blank: Kept) -> Result<Kept, Error> {
        let parts = self.sessions.parts();
        let task = ask::without_credentials(parts, record, blank.task.clone()).await?;
        let (framework, told) = look(parts, record, task.clone()).await?;
        self.note(Kind::TestsAsked { model: blank.model.clone(), framework: framework.name().to_owned() })
            .await;
        let base = record.base.ok_or(Error::Interrupted)?;
        let prompt = prompt::write(&task, framework, &told, ask::number()?);
        let answered = Answered { model: &blank.model, prompt, adapts: false };
        let text = ask::written(parts, record, answered, &self.stop).await?;
        let tree = Arc::clone(parts);
        let model = blank.model.clone();
        let reply = blocking(move || {
            let tree = tree.store.tree(base)?;
            reply::read(&text, |path| tree.contains_key(path))
                .map_err(|source| ModelError::NoTests { model, source }.into())
        })
        .await?;
        let (framework, tests, notes) = (framework.name().to_owned(), reply.tests, reply.notes);
        Ok(Kept { framework, tests, notes, ..blank })
    }
}

/// What the project tests with, and what of it a model is told.
async fn look(parts: &Arc<Parts>, record: &Record, task: String) -> Result<(Framework, Told), Error> {
    let known = known(parts, record).await?;
    let (parts, base) = (Arc::clone(parts), record.base.ok_or(Error::Interrupted)?);
    blocking(move || {
        let _lease = parts.store.lease();
        let tree = parts.store.tree(base)?;
        let files = TreeFiles::new(&tree, &parts.store);
        let paths = files.names();
        let framework = detect(paths.iter().map(String::as_str), &files).ok_or(Error::NoFramework)?;
        let told = Sources { tree: &tree, store: &parts.store, known: &known }.told(&task);
        Ok((framework, told))
    })
    .await
}

/// Has files written again for the names that are there.
pub(super) async fn again(
    parts: &Arc<Parts>,
    record: &Record,
    answered: Answered<'_>,
    stop: &CancellationToken,
    is_there: impl Fn(&ftl_core::tree::RelPath) -> bool,
) -> Result<reply::Reply, Error> {
    let model = answered.model.to_owned();
    let text = ask::written(parts, record, answered, stop).await?;
    reply::read(&text, is_there).map_err(|source: NoTests| ModelError::NoTests { model, source }.into())
}
