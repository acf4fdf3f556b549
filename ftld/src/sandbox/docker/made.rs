//! What an engine was asked to make for one session, and its removal.
//!
//! Owns that everything is found again: by what this process remembers, and by labels, for a daemon that
//! remembers nothing. Must not know what the things are for.

use std::path::Path;
use std::sync::Arc;

use bollard::models::{ContainerSummary, Volume};

use super::away::Away;
use super::engine::{Engine, EngineError, Engines};
use super::own::InUse;
use super::spec::{Belongs, LABEL_DIR, LABEL_ROLE};

/// What was made.
pub(super) struct Made {
    engines: Arc<Engines>,
    /// The one that made them: no other one can say that they are gone. It is reached again after a restart.
    maker: Option<Engine>,
    belongs: Belongs,
    /// Ids; the first is the sandbox's own.
    containers: Vec<String>,
    _in_use: InUse,
}

impl Made {
    /// Nothing yet.
    pub(super) fn new(engines: Arc<Engines>, belongs: Belongs) -> Self {
        let _in_use = engines.own().hold(belongs.name(""));
        Self { engines, maker: None, belongs, containers: Vec::new(), _in_use }
    }

    /// Remembers a container, and the engine that made it.
    pub(super) fn add(&mut self, engine: &Engine, id: String) {
        self.maker.get_or_insert_with(|| engine.clone());
        self.containers.push(id);
    }

    async fn engine(&self) -> Result<Engine, EngineError> {
        match &self.maker {
            Some(maker) => Ok(maker.clone()),
            None => self.engines.get().await,
        }
    }

    /// What the engine knows of the end of the sandbox's container, as a sentence.
    pub(super) async fn ending(&self) -> String {
        let Some(id) = self.containers.first() else { return "it was not there".to_owned() };
        let asked = async { self.engine().await?.inspect(id).await };
        let state = match asked.await {
            Ok(Some(found)) => found.state.unwrap_or_default(),
            Ok(None) => return "its container was removed by somebody else".to_owned(),
            Err(error) => return format!("its container cannot be asked about: {error}"),
        };
        match (state.oom_killed, state.running, state.exit_code) {
            (Some(true), ..) => "memory ran out in its container".to_owned(),
            (_, Some(true), _) => "its first process does not answer as it must".to_owned(),
            (_, _, Some(137)) => "its container was killed by somebody else".to_owned(),
            (_, _, code) => format!("its container ended by itself, with status {}", code.unwrap_or(-1)),
        }
    }

    /// Ends and removes all of it. A volume that the engine keeps has no process in it: it is left to the next
    /// launch, which uses nothing of an earlier one.
    ///
    /// # Errors
    /// When a container of it may be left.
    pub(super) async fn remove(&self) -> Result<(), EngineError> {
        let engine = self.engine().await?;
        remove(&engine, &self.containers).await?;
        or_left(engine.remove_volume(&self.belongs.name("workspace")).await)
    }

    /// Ends and removes everything of the session, whoever made it.
    ///
    /// # Errors
    /// When something of it may be left.
    pub(super) async fn sweep(&self) -> Result<(), EngineError> {
        let engine = self.engines.get().await?;
        sweep(&engine, &self.belongs.filter().each_ref().map(String::as_str)).await
    }
}

/// Ends and removes everything that has these labels, but for trees that stay, and for work that may not be here
/// yet.
pub(super) async fn sweep(engine: &Engine, labels: &[&str]) -> Result<(), EngineError> {
    let containers = engine.list(labels).await?.into_iter().filter_map(|found| found.id);
    remove(engine, &containers.collect::<Vec<_>>()).await?;
    for volume in engine.volumes(labels).await? {
        if !is_kept(&volume) {
            engine.remove_volume(&volume.name).await?;
        }
    }
    Ok(())
}

/// Ends and removes everything that has this label and is in nobody's use, but for
/// what outlives its containers; trees do only where they may be needed again.
pub(super) async fn tidy(engine: &Engine, label: &str, keep_trees: bool) -> Result<(), EngineError> {
    let own = engine.own();
    let unused = |found: &ContainerSummary| !found.names.iter().flatten().any(|name| own.is_used(name));
    let containers = engine.list(&[label]).await?.into_iter().filter(unused).filter_map(|found| found.id);
    remove(engine, &containers.collect::<Vec<_>>()).await?;
    for volume in engine.volumes(&[label]).await?.into_iter() {
        let is_kept = is_kept(&volume) && (keep_trees || !is_of(&volume, "layers"));
        if !is_kept && !own.is_used(&volume.name) {
            // One that cannot be removed holds up the session that it is of, and nobody else.
            or_left(engine.remove_volume(&volume.name).await)?;
        }
    }
    Ok(())
}

/// What came of removing a volume that nothing runs in; an engine may have lost count of what uses it.
fn or_left(removed: Result<(), EngineError>) -> Result<(), EngineError> {
    match removed {
        Err(error @ EngineError::Refused { .. }) => {
            tracing::warn!(%error, "a volume stays behind");
            Ok(())
        }
        other => other,
    }
}

fn is_of(volume: &Volume, role: &str) -> bool {
    volume.labels.get(LABEL_ROLE).is_some_and(|found| found == role)
}

/// Whether a volume outlives its containers: a session's work does until it is here.
fn is_kept(volume: &Volume) -> bool {
    let is_away = || volume.labels.get(LABEL_DIR).is_some_and(|dir| Away::is_noted(Path::new(dir)));
    is_of(volume, "layers") || (is_of(volume, "work") && is_away())
}

/// All of them, also when one cannot be; the first error counts.
async fn remove(engine: &Engine, containers: &[String]) -> Result<(), EngineError> {
    let removing = containers.iter().map(|id| async move {
        engine.remove(id).await?;
        // A removal that somebody else has begun is waited for.
        match engine.wait_removed(id).await {
            Err(error) if error.is_absent() => Ok(()),
            other => other,
        }
    });
    futures_util::future::join_all(removing).await.into_iter().collect()
}
