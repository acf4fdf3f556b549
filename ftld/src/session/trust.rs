//! A project's configuration and the human's trust in it.
//!
//! Owns that trust is in bytes: a digest, not a path. Must not know what the settings do.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use ftl_core::config::{DEFAULT_AGENT, Settings, effective, template, widening};
use ftl_core::event::Bytes;
use ftl_core::id::Hash;
use serde_json::json;

use super::{Error, project};
use crate::app::Parts;
use crate::audit::{Entry, Sync};
use crate::config;

/// What is trusted now.
#[derive(Debug)]
pub struct Trusted {
    /// The configuration's digest; absent after a revocation.
    pub digest: Option<Hash>,
    /// The settings that the trust makes effective, or that its revocation makes inert.
    pub widening: Vec<&'static str>,
}

/// The settings for a session of a project, as they stand now.
///
/// # Errors
/// When a configuration cannot be read or understood.
pub(super) fn settings(parts: &Parts, root: &Path) -> Result<Settings, Error> {
    let user = config::user(parts.home.root())?;
    let Some(file) = config::project(root)? else { return Ok(effective(&user, None)) };
    let trusted = parts.db.trusted(root.as_os_str().as_bytes())? == Some(file.digest);
    Ok(effective(&user, Some((file.config, trusted))))
}

/// Trusts the very bytes of a project's present configuration, or nothing any more.
///
/// # Errors
/// When there is no configuration to trust, or it is not one.
pub fn trust(parts: &Parts, root: &Path, trust: bool) -> Result<Trusted, Error> {
    let of = project::open(root, parts.home.root(), parts.user.home.as_deref())?;
    let user = config::user(parts.home.root())?;
    let file = config::project(root)?;
    let digest = match (&file, trust) {
        (Some(file), true) => Some(file.digest),
        (None, true) => return Err(Error::NothingToTrust),
        (_, false) => None,
    };
    let action = if trust { "trusted" } else { "trust_revoked" };
    record(parts, action, of.root.clone(), json!({ "digest": digest }))?;
    parts.db.trust(&of.root.0, digest)?;
    Ok(Trusted { digest, widening: file.map(|file| widening(&file.config, &user)).unwrap_or_default() })
}

/// Writes a first configuration into a project that has none.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub fn init(parts: &Parts, root: &Path, agent: &str) -> Result<(PathBuf, String), Error> {
    let of = project::open(root, parts.home.root(), parts.user.home.as_deref())?;
    let agent = if agent.is_empty() { DEFAULT_AGENT } else { agent };
    if !crate::agent::NAMES.contains(&agent) {
        return Err(crate::agent::AgentError::Unknown { name: agent.chars().take(80).collect() }.into());
    }
    let (path, text) = (root.join(config::PROJECT_FILE), template(agent));
    record(parts, "config_written", of.root, json!({ "agent": agent }))?;
    match std::fs::File::create_new(&path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).map_err(|source| Error::Write { path: path.clone(), source })?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::AlreadyThere { path: path.display().to_string() });
        }
        Err(source) => return Err(Error::Write { path, source }),
    }
    Ok((path, text))
}

fn record(
    parts: &Parts,
    action: &'static str,
    project: Bytes,
    detail: serde_json::Value,
) -> Result<(), Error> {
    let entry =
        Entry { time_us: parts.clock.now_us(), action, session: None, project: Some(project), detail };
    Ok(parts.audit.append(entry, Sync::Disk)?)
}
