//! Whether an engine sees this machine's directories, found out by trying.
//!
//! Owns the trial: a container of an empty image is given a directory that exists here alone, and cannot
//! start either way; what it fails at tells which. Nothing runs, so nothing has to be installed for it. An
//! address tells nothing: a socket may be forwarded from another machine, or lead into a virtual one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, VolumeCreateRequest};
use ftl_core::id::Hash;

use super::engine::{Engine, EngineError};

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

/// The name of the program that the empty image does not have.
const MISSING: &str = "/ftl-no-such-program";

/// The image of nothing.
const EMPTY: &str = "ftl-probe:empty";

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
    let mut random = [0; 16];
    let failed = |source| EngineError::File { path: scratch.to_owned(), source };
    getrandom::fill(&mut random).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    // A name that no other machine has by chance.
    let name = format!("ftl-probe-{}", &Hash::of(&random).to_hex()[..32]);
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
    if engine.image(EMPTY).await?.is_none() {
        // Two blocks of zeros are an archive of nothing.
        let empty = dir.join("empty.tar");
        std::fs::write(&empty, [0; 1024])
            .map_err(|source| EngineError::File { path: empty.clone(), source })?;
        engine.import(&empty, EMPTY, &mut |_| {}).await?;
    }
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

/// Whether the engine mounts a volume with these options, and starts a container without one when there are
/// none; its words when it does not.
async fn mounts(
    engine: &Engine,
    name: &str,
    options: &[(&str, String)],
) -> Result<Result<(), String>, EngineError> {
    let labels = HashMap::from([("dev.ftl.role".to_owned(), "probe".to_owned())]);
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let volume = VolumeCreateRequest {
        name: Some(name.to_owned()),
        driver: Some("local".to_owned()),
        driver_opts: Some(options),
        labels: Some(labels.clone()),
        ..VolumeCreateRequest::default()
    };
    let mount = Mount {
        target: Some("/probe".to_owned()),
        source: Some(name.to_owned()),
        typ: Some(MountType::VOLUME),
        ..Mount::default()
    };
    let body = ContainerCreateBody {
        image: Some(EMPTY.to_owned()),
        entrypoint: Some(vec![MISSING.to_owned()]),
        labels: Some(labels),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![mount]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    match engine.create_volume(volume).await {
        Ok(_) => {}
        // An engine may look at the options at once.
        Err(EngineError::Refused { message, .. }) => return Ok(Err(message)),
        Err(error) => return Err(error),
    }
    let started = match engine.create(name, body).await {
        Ok(id) => {
            let started = engine.start(&id).await;
            engine.remove(&id).await?;
            started
        }
        Err(error) => Err(error),
    };
    engine.remove_volume(name).await?;
    match started {
        // It has no program, so it cannot have started.
        Ok(()) => Ok(Ok(())),
        Err(EngineError::Refused { message, .. }) if message.contains(MISSING) => Ok(Ok(())),
        Err(EngineError::Refused { message, .. }) => Ok(Err(message)),
        Err(error) => Err(error),
    }
}
