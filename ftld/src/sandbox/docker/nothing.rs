//! A container of nothing: what an engine does before it starts a program, without one.
//!
//! Owns the empty image, and the trick: an engine mounts what a container has before it finds that there is
//! no program in it. Nothing runs, so nothing has to be installed for it. Must not know what the mounts are
//! good for.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, VolumeCreateRequest};
use ftl_core::id::Hash;

use super::engine::{Engine, EngineError};
use super::spec::{LABEL_INSTANCE, LABEL_ROLE};

/// The name of the program that the empty image does not have.
const MISSING: &str = "/ftl-no-such-program";

/// The image of nothing, which is the same for every daemon and is never removed by one.
const EMPTY: &str = "ftl-empty:1";

/// Options of a volume.
pub(super) type Options<'a> = &'a [(&'a str, String)];

/// A name that no other machine has by chance.
///
/// # Errors
/// When there is no randomness.
pub(super) fn fresh(engine: &Engine, what: &str) -> std::io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(engine.own().name(&format!("{what}-{}", &Hash::of(&random).to_hex()[..16])))
}

/// Makes the empty image where there is none. `dir` is for a throw-away file.
///
/// # Errors
/// As every question, and when the file cannot be written.
pub(super) async fn prepare(engine: &Engine, dir: &Path) -> Result<(), EngineError> {
    if engine.image(EMPTY).await?.is_some() {
        return Ok(());
    }
    // Two blocks of zeros are an archive of nothing.
    let empty = dir.join("empty.tar");
    std::fs::write(&empty, [0; 1024]).map_err(|source| EngineError::File { path: empty.clone(), source })?;
    let imported = engine.import(&empty, EMPTY, &mut |_| {}).await;
    let _kept = std::fs::remove_file(&empty);
    imported.map(drop)
}

/// Whether the engine mounts a volume with these options, and starts a container without one when there are
/// none; its words when it does not. The volume is unmounted and removed again.
///
/// # Errors
/// When the engine fails at something else.
pub(super) async fn mounts(
    engine: &Engine,
    name: &str,
    options: Options<'_>,
) -> Result<Result<(), String>, EngineError> {
    let _in_use = engine.own().hold(name.to_owned());
    let labels = labels(engine.own().instance());
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let volume = VolumeCreateRequest {
        name: Some(name.to_owned()),
        driver: Some("local".to_owned()),
        driver_opts: Some(options),
        labels: Some(labels.clone()),
        ..VolumeCreateRequest::default()
    };
    match engine.create_volume(volume).await {
        Ok(_) => {}
        // An engine may look at the options at once.
        Err(EngineError::Refused { message, .. }) => return Ok(Err(message)),
        Err(error) => return Err(error),
    }
    let started = match engine.create(name, body(name, labels)).await {
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

/// A daemon that finds them later removes them.
fn labels(instance: &str) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_INSTANCE.to_owned(), instance.to_owned()),
        (LABEL_ROLE.to_owned(), "probe".to_owned()),
    ])
}

fn body(volume: &str, labels: HashMap<String, String>) -> ContainerCreateBody {
    let mount = Mount {
        target: Some("/probe".to_owned()),
        source: Some(volume.to_owned()),
        typ: Some(MountType::VOLUME),
        ..Mount::default()
    };
    ContainerCreateBody {
        image: Some(EMPTY.to_owned()),
        entrypoint: Some(vec![MISSING.to_owned()]),
        labels: Some(labels),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![mount]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throw_away_container_bears_its_daemons_labels_and_has_no_network() {
        let body = body("v", labels("me"));
        let labels = body.labels.unwrap();
        assert_eq!((labels[LABEL_INSTANCE].as_str(), labels[LABEL_ROLE].as_str()), ("me", "probe"));
        assert_eq!(body.host_config.unwrap().network_mode.as_deref(), Some("none"));
    }
}
