//! Whether an agent in an image starts: it is run once, for its version.
//!
//! Owns the throw-away container, which can do nothing but that. Must not know how the image was made.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use tokio::io::AsyncReadExt as _;

use super::SetupError;
use super::programs::Program;
use crate::sandbox::docker::engine::{Engine, EngineError};
use crate::sandbox::docker::nothing;
use crate::sandbox::docker::spec::{LABEL_INSTANCE, LABEL_ROLE};

/// How long an agent may take to say its version, also on a machine that has much else to do.
const LONGEST: Duration = Duration::from_secs(120);

/// The most that is read of what it says, in bytes.
const MAX_SAID: u64 = 64 << 10;

/// The user that runs it: nobody.
const NOBODY: &str = "65534:65534";

/// Runs an agent for its version and gives what it said. A caller that goes away stops nothing: the container
/// is removed in any case.
///
/// # Errors
/// When it does not start, does not end, or names another version.
pub(super) async fn version(
    engine: Engine,
    image: String,
    program: Program,
    path: String,
) -> Result<String, SetupError> {
    let trying = tokio::spawn(async move { try_it(&engine, &image, program, &path).await });
    trying.await.map_err(|error| SetupError::Interrupted { reason: error.to_string() })?
}

async fn try_it(engine: &Engine, image: &str, program: Program, path: &str) -> Result<String, SetupError> {
    let name = nothing::fresh(engine, "try");
    let name = name.map_err(|error| SetupError::Interrupted { reason: error.to_string() })?;
    let _in_use = engine.own().hold(name.clone());
    let id = engine.create(&name, body(image, path, engine.own().instance())).await?;
    let ran = tokio::time::timeout(LONGEST, run(engine, &id)).await;
    // Whatever came of it.
    engine.remove(&id).await?;
    let does_not_start = |said: String| SetupError::Program {
        name: program.name,
        path: path.to_owned(),
        needs: program.needs,
        said,
    };
    let (status, said) = match ran {
        Ok(ran) => ran?,
        Err(_) => return Err(does_not_start(format!("nothing for {} seconds", LONGEST.as_secs()))),
    };
    if status != Some(0) || !said.contains(program.version) {
        return Err(does_not_start(said));
    }
    Ok(said)
}

async fn run(engine: &Engine, id: &str) -> Result<(Option<i64>, String), EngineError> {
    let attached = engine.attach(id).await?;
    if let Err(error) = engine.start(id).await {
        // A program that is not there or cannot run is told as a refusal to start.
        return match error {
            EngineError::Refused { message, .. } => Ok((None, message)),
            error => Err(error),
        };
    }
    let mut said = String::new();
    // What cannot be read was not said.
    let _broken = attached.stdout.take(MAX_SAID).read_to_string(&mut said).await;
    let status = engine.wait(id).await?;
    let complaint = attached.complaint.text();
    let said = if said.trim().is_empty() { complaint } else { said };
    Ok((status, said.trim().to_owned()))
}

fn body(image: &str, path: &str, instance: &str) -> ContainerCreateBody {
    let host = HostConfig {
        network_mode: Some("none".into()),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), "size=64m,mode=1777".to_owned())])),
        pids_limit: Some(256),
        memory: Some(2 << 30),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![path.to_owned()]),
        cmd: Some(vec!["--version".to_owned()]),
        user: Some(NOBODY.to_owned()),
        env: Some(vec!["HOME=/tmp".to_owned()]),
        working_dir: Some("/tmp".to_owned()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        labels: Some(HashMap::from([
            (LABEL_INSTANCE.to_owned(), instance.to_owned()),
            (LABEL_ROLE.to_owned(), "try".to_owned()),
        ])),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_bears_its_daemons_labels_and_can_reach_nothing() {
        let body = body("sha256:1", "/opt/agents/x/x", "me");
        let labels = body.labels.unwrap();
        assert_eq!((labels[LABEL_INSTANCE].as_str(), labels[LABEL_ROLE].as_str()), ("me", "try"));
        let host = body.host_config.unwrap();
        assert_eq!((host.network_mode.as_deref(), host.readonly_rootfs), (Some("none"), Some(true)));
        assert_eq!((body.user.as_deref(), host.cap_drop), (Some(NOBODY), Some(vec!["ALL".to_owned()])));
    }
}
