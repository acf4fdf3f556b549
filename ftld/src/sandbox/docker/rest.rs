//! What an engine's user left in a session's directory, and how it goes.
//!
//! An engine that runs as root mounts the workspace as root, and the kernel keeps what it works with in a
//! directory of root's inside the session's own. An ordinary user cannot empty it. Mounting once more does:
//! the kernel begins with an empty directory. Owns that mount, over nothing and with nothing to be seen.
//! Must not know why the directory is to go.

use std::path::Path;

use super::super::{SandboxError, disk};
use super::engine::{Engine, EngineError, Engines};
use super::{nothing, spec};

/// Where the two empty layers lie meanwhile, in the session's directory.
const LAYERS: &str = "clear";

/// What is done, for errors.
const ACT: &str = "empty the overlay's directory";

/// Makes everything in a session's directory the daemon's to remove. Nothing of it may be mounted.
///
/// # Errors
/// When an engine is needed for it and cannot be had, or cannot mount it.
pub(super) async fn clear(engines: &Engines, dir: &Path) -> Result<(), SandboxError> {
    let dir = dir.to_owned();
    let work = dir.join("work");
    let path = work.clone();
    let removing = tokio::task::spawn_blocking(move || disk::remove_tree(&path)).await;
    let failed = |act| move |source| SandboxError::Helper { act, source };
    if removing.map_err(std::io::Error::other).map_err(failed("removing"))?.is_ok() {
        return Ok(());
    }
    let engine = engines.get().await?;
    // A caller that goes away leaves no mount behind.
    let emptying = tokio::spawn(async move { empty(&engine, &dir).await }).await;
    emptying.map_err(std::io::Error::other).map_err(failed(ACT))?
}

async fn empty(engine: &Engine, dir: &Path) -> Result<(), SandboxError> {
    let layers = dir.join(LAYERS);
    let (lower, upper, work) = (layers.join("lower"), layers.join("upper"), dir.join("work"));
    for path in [&lower, &upper] {
        let failed = |source| SandboxError::File { act: "making", path: path.clone(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
    }
    let name = nothing::fresh(engine, "clear")
        .map_err(|source| SandboxError::Helper { act: "choosing a name", source })?;
    nothing::prepare(engine, &layers).await?;
    let at = |path: &Path| {
        spec::option(path)
            .map_err(|error| SandboxError::Container { why: error.to_string(), remedy: String::new() })
    };
    let layers = format!("lowerdir={},upperdir={},workdir={}", at(&lower)?, at(&upper)?, at(&work)?);
    let overlay = [("type", "overlay".to_owned()), ("device", "overlay".to_owned()), ("o", layers)];
    match nothing::mounts(engine, &name, &overlay).await? {
        Ok(()) => Ok(()),
        Err(message) => Err(EngineError::Refused { act: ACT, status: 0, message }.into()),
    }
}
