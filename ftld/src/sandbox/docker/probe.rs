//! Whether an engine sees this machine's directories, found out by trying.
//!
//! Owns the trial: a container of nothing is given a directory that exists here alone, and cannot start
//! either way; what it fails at tells which. An address tells nothing: a socket may be forwarded from another
//! machine, or lead into a virtual one.

use std::path::{Path, PathBuf};

use super::engine::{Engine, EngineError};
use super::nothing::{self, mounts};

/// What an engine can do with a directory of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shares {
    /// Mount an overlay of it.
    Overlay,
    /// Show it; overlays it cannot mount, for this reason.
    Directories {
        /// The engine's words.
        why: String,
    },
    /// Nothing: it does not see it, for this reason.
    Nothing {
        /// The engine's words.
        why: String,
    },
}

/// Finds out what the engine can do with directories beneath `scratch`, an existing directory for
/// throw-away files with an absolute path. The options are those of an overlay mount beside its layers,
/// such as `userxattr,index=off`; none when empty. A caller that goes away stops nothing: all is removed again.
///
/// # Errors
/// When the engine fails at something else, or the directories cannot be made.
pub async fn shares(engine: Engine, scratch: PathBuf, options: String) -> Result<Shares, EngineError> {
    let path = scratch.clone();
    let trying = tokio::spawn(async move { try_it(&engine, &scratch, &options).await });
    trying.await.map_err(|error| EngineError::File { path, source: std::io::Error::other(error) })?
}

async fn try_it(engine: &Engine, scratch: &Path, options: &str) -> Result<Shares, EngineError> {
    let failed = |source| EngineError::File { path: scratch.to_owned(), source };
    let name = nothing::fresh(engine, "probe").map_err(failed)?;
    let dir = scratch.join(&name);
    for part in ["lower", "upper", "work"] {
        std::fs::create_dir_all(dir.join(part)).map_err(failed)?;
    }
    let found = examine(engine, &name, &dir, options).await;
    // An overlay's own directories are the engine's, and closed; empty ones can be removed unread.
    for own in ["work/work", "work/index"] {
        let _absent = std::fs::remove_dir(dir.join(own));
    }
    if let Err(error) = std::fs::remove_dir_all(&dir) {
        tracing::warn!(dir = %dir.display(), %error, "a trial's directory stays behind");
    }
    found
}

async fn examine(engine: &Engine, name: &str, dir: &Path, options: &str) -> Result<Shares, EngineError> {
    nothing::prepare(engine, dir).await?;
    let at = |part: &str| dir.join(part).display().to_string();
    let mut layers = format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
    if !options.is_empty() {
        layers = format!("{layers},{options}");
    }
    let overlay = [("type", "overlay".to_owned()), ("device", "overlay".to_owned()), ("o", layers)];
    let why_not_overlay = match mounts(engine, name, &overlay).await? {
        Ok(()) => return Ok(Shares::Overlay),
        Err(why) => why,
    };
    let bind = [("type", "none".to_owned()), ("device", at("lower")), ("o", "bind".to_owned())];
    let why = match mounts(engine, name, &bind).await? {
        Ok(()) => return Ok(Shares::Directories { why: why_not_overlay }),
        Err(why) => why,
    };
    // An engine that starts nothing at all has said nothing about directories.
    match mounts(engine, name, &[]).await? {
        Ok(()) => Ok(Shares::Nothing { why }),
        Err(message) => Err(EngineError::Refused { act: "start an empty container", status: 0, message }),
    }
}
