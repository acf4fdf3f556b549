//! Having files that could not run written again, once, for the names that are there.
//!
//! Owns what is asked, and that an answer takes the place of those files only. When there is none, they could not
//! run, and the work is held.

use std::collections::BTreeSet;

use ftl_core::event::Kind;
use ftl_core::tester::prompt::{self, Excerpt, Unfit};
use ftl_core::tester::{Framework, Written};
use ftl_core::tree::RelPath;
use ftl_core::verify::Limits;

use super::note;
use super::run::{Judged, with_new};
use super::store::Kept;
use super::told::Sources;
use super::write;
use crate::session::Error;
use crate::session::ask::{self, Answered};
use crate::session::check::Work;
use crate::session::decide::blocking;
use crate::session::driver::told;
use crate::session::outlet::known;
use crate::session::stand::Stand;

impl Work {
    /// Asks for other files in the place of those that could not run, and tries them.
    pub(super) async fn adapted(
        &self,
        stand: &Stand,
        framework: Framework,
        kept: Kept,
        (judged, limits): (&mut Vec<Judged>, Limits),
    ) -> Result<Kept, Error> {
        let unfit: BTreeSet<String> =
            judged.iter().filter(|one| one.lacks_names).map(|one| one.ended.check.name.clone()).collect();
        let (model, session) = (kept.model.clone(), &self.record.id);
        match self.ask_again(stand, framework, &kept, (judged, &unfit)).await {
            Ok((new, notes)) => {
                let paths = new.iter().map(|test| test.path.clone()).collect();
                let told = Kind::TestsWritten { model, paths, adapted: true };
                note(&self.sessions, session, told, &self.ending).await;
                judged.retain(|one| !one.lacks_names);
                judged.extend(self.try_all(stand, framework, &new, limits).await?);
                let unfit: Vec<&str> = unfit.iter().map(String::as_str).collect();
                Ok(with_new(kept, &unfit, new, &notes))
            }
            Err(error) => {
                let told = Kind::TestsNotWritten { model, why: told(&error) };
                note(&self.sessions, session, told, &self.ending).await;
                Ok(Kept { adapted: true, ..kept })
            }
        }
    }

    async fn ask_again(
        &self,
        stand: &Stand,
        framework: Framework,
        kept: &Kept,
        (judged, unfit): (&[Judged], &BTreeSet<String>),
    ) -> Result<(Vec<Written>, String), Error> {
        let parts = self.sessions.parts();
        let task = ask::without_credentials(parts, &self.record, kept.task.clone()).await?;
        let names = self.names(stand).await?;
        let tail = |path: &str| {
            judged.iter().find(|one| one.ended.check.name == path).map_or(&[][..], |one| &one.ended.tail)
        };
        let mut files = Vec::new();
        for test in kept.tests.iter().filter(|test| unfit.contains(&test.path)) {
            files.push(Unfit { test, output: tail(&test.path) });
        }
        let prompt = prompt::adapt(&task, framework, (&names, &files), ask::number()?);
        let answered = Answered { model: &kept.model, prompt, adapts: true };
        let others: BTreeSet<&str> =
            kept.tests.iter().map(|test| test.path.as_str()).filter(|path| !unfit.contains(*path)).collect();
        let is_there = |path: &RelPath| {
            stand.had(path) || std::str::from_utf8(path.as_bytes()).is_ok_and(|path| others.contains(path))
        };
        let reply = write::again(parts, &self.record, answered, &self.ending, is_there).await?;
        Ok((reply.tests, reply.notes))
    }

    /// The declarations of what the work has changed.
    async fn names(&self, stand: &Stand) -> Result<Vec<Excerpt>, Error> {
        let known = known(self.sessions.parts(), &self.record).await?;
        let (after, changed) = (stand.after(), stand.changed());
        let parts = std::sync::Arc::clone(self.sessions.parts());
        blocking(move || {
            let sources = Sources { tree: &after, store: &parts.store, known: &known };
            Ok(sources.interfaces(changed.iter().map(String::as_str)))
        })
        .await
    }
}
