//! The project's setup before its checks: run once over each of the two trees, kept as a layer and a home.
//!
//! Owns that a setup has a way out by the session's rules, no credentials and nobody who is asked, and that a check is
//! not run where it failed. Must not know what is checked afterwards.

use std::io::ErrorKind;
use std::path::PathBuf;

use ftl_core::verify::{Limits, Outcome};
use tokio_util::sync::CancellationToken;

use super::decide::{blocking, new_session_id};
use super::driver::told;
use super::stand::{Furniture, Place, Stand};
use super::{Error, history, outlet};
use crate::verify::{Piece, Run, run};

/// What came of a setup.
pub(super) enum Readied {
    /// What it wrote, and the home that it had.
    Made {
        /// A layer over the tree.
        layer: PathBuf,
        /// The home.
        home: PathBuf,
    },
    /// It failed: no check runs.
    Failed(Run),
}

/// Who hears of a setup, and what ends it.
pub(super) struct Hearing<'a> {
    /// It begins; with what does not hold in its sandbox.
    pub(super) begun: &'a (dyn Fn(Vec<String>) + Send + Sync),
    /// It printed something.
    pub(super) say: &'a (dyn Fn(Piece) + Send + Sync),
    /// Ends it.
    pub(super) stop: &'a CancellationToken,
}

impl Stand {
    /// Runs the project's setup over one of the trees, unless it has run there or there is none. A run is why no
    /// check can: it did not start.
    ///
    /// # Errors
    /// When what it made cannot be kept; when it was stopped, [`Error::Interrupted`].
    pub(super) async fn ready(
        &self,
        with: bool,
        limits: Limits,
        hearing: Hearing<'_>,
    ) -> Result<Option<Run>, Error> {
        let Some(script) = &self.settings.setup else { return Ok(None) };
        let mut readied = self.readied.lock().await;
        let of_tree = &mut readied[usize::from(with)];
        let made = match of_tree.take() {
            Some(made) => made,
            None => self.set_up(script, with, limits, hearing).await?,
        };
        Ok(match of_tree.insert(made) {
            Readied::Made { .. } => None,
            Readied::Failed(run) => Some(run.clone()),
        })
    }

    async fn set_up(
        &self,
        script: &str,
        with: bool,
        limits: Limits,
        hearing: Hearing<'_>,
    ) -> Result<Readied, Error> {
        let id = new_session_id()?;
        let (outlet, furnishing) = outlet::open_for_checks(&self.parts, &self.session, &self.settings, &id)?;
        let outlet::Furnishing { env, files, .. } = furnishing;
        let furniture = Furniture { env, files, network: true, ..Furniture::default() };
        let opened = self.open_with(id.clone(), with, furniture).await;
        let place = match opened {
            Ok(place) => place,
            Err(error) => {
                self.parts.outlets.forget(&id);
                let outcome = Outcome::NotStarted { why: format!("the setup: {}", told(&error)) };
                return Ok(Readied::Failed(Run { outcome, tail: Vec::new() }));
            }
        };
        (hearing.begun)(place.sandbox.enforcement().unenforced.clone());
        // What is told of requests is in the audit log, under the session.
        let serving = place.sandbox.take_pipe().map(|pipe| outlet.serve(pipe));
        let ran = run(&*place.sandbox, script, limits, hearing.say, hearing.stop).await;
        drop(serving);
        drop(outlet.end_turn());
        self.parts.outlets.forget(&id);
        let kept = match &ran {
            Some(run) if run.outcome.is_well() => self.keep(&place, with).await.map(Some),
            Some(_) | None => Ok(None),
        };
        self.close(place).await;
        match (kept?, ran) {
            (Some(made), _) => Ok(made),
            (None, Some(Run { outcome, tail })) => {
                let outcome = Outcome::NotStarted { why: format!("the setup failed: {}", outcome.told()) };
                Ok(Readied::Failed(Run { outcome, tail }))
            }
            (None, None) => Err(Error::Interrupted),
        }
    }

    /// Takes what a setup wrote out of its sandbox's directory. Nothing runs there any more.
    async fn keep(&self, place: &Place, with: bool) -> Result<Readied, Error> {
        let from = self.parts.home.sessions().join(place.id.as_str());
        place.backend.bring_home(&place.id, &from).await?;
        let name = if with { "with" } else { "without" };
        let (layer, home) =
            (self.dir().join(format!("ready-{name}")), self.dir().join(format!("home-{name}")));
        let owner = self.parts.owner;
        blocking(move || {
            history::park(&from)?;
            for (part, to) in [("upper", &layer), ("home", &home)] {
                let part = from.join(part);
                super::stand::make_dirs(to, owner)?;
                // An empty directory gives way to the one that takes its place; an engine makes none that stays empty.
                match std::fs::rename(&part, to) {
                    Err(source) if source.kind() != ErrorKind::NotFound => {
                        return Err(Error::Write { path: part, source });
                    }
                    _ => {}
                }
            }
            Ok(Readied::Made { layer, home })
        })
        .await
    }
}
