//! What an engine is asked about containers and volumes.
//!
//! Owns the questions and what counts as done: what is to be gone and already is, is no error. Must not
//! know what a container looks like; whoever creates one says so.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, Volume, VolumeCreateRequest,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, InspectContainerOptions,
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder, StartContainerOptions,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;

use super::attached::Attached;
use super::engine::{Engine, EngineError};

impl Engine {
    /// Makes a container and gives its id.
    ///
    /// # Errors
    /// As every question; [`EngineError::is_absent`] when it has no such image.
    pub async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let made = self.ask("create a container", self.docker.create_container(Some(options), body)).await?;
        for warning in made.warnings {
            tracing::warn!(container = name, %warning, "the container engine warns");
        }
        Ok(made.id)
    }

    /// Connects to a container's standard streams. Before it is started nothing of them is lost.
    ///
    /// # Errors
    /// As every question.
    pub async fn attach(&self, id: &str) -> Result<Attached, EngineError> {
        let options =
            AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true).stderr(true).build();
        let attached = self.ask("attach", self.docker.attach_container(id, Some(options))).await?;
        Ok(Attached::new(attached))
    }

    /// Starts a container; one that runs is left alone.
    ///
    /// # Errors
    /// As every question.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        let started = self.ask("start", self.docker.start_container(id, None::<StartContainerOptions>)).await;
        started.or_else(|error| {
            if matches!(error, EngineError::Refused { status: 304, .. }) { Ok(()) } else { Err(error) }
        })
    }

    /// Waits until a container has ended, as long as that takes, and gives its exit status; `None` when it
    /// was removed.
    ///
    /// # Errors
    /// As every question, and when the engine goes away meanwhile.
    pub async fn wait(&self, id: &str) -> Result<Option<i64>, EngineError> {
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut waiting = Box::pin(self.docker.wait_container(id, Some(options)));
        match waiting.next().await {
            Some(Ok(ended)) => Ok(Some(ended.status_code)),
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(Some(code)),
            Some(Err(said)) => match self.failed("wait", self.patience.call, said) {
                error if error.is_absent() => Ok(None),
                error => Err(error),
            },
            None => Ok(None),
        }
    }

    /// Ends a container with SIGKILL; one that does not run, or is no more, is left alone.
    ///
    /// # Errors
    /// As every question.
    pub async fn kill(&self, id: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::new().signal("KILL").build();
        gone(self.ask("kill", self.docker.kill_container(id, Some(options))).await)
    }

    /// Ends and removes a container with the volumes that have no name; one that is no more is left alone.
    ///
    /// # Errors
    /// As every question.
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        gone(self.ask("remove a container", self.docker.remove_container(id, Some(options))).await)
    }

    /// Waits until a container is no more; for one that is no more, or is not being removed, not at all.
    ///
    /// # Errors
    /// As every question.
    pub async fn wait_removed(&self, id: &str) -> Result<(), EngineError> {
        if self.inspect(id).await?.is_none() {
            return Ok(());
        }
        let options = WaitContainerOptionsBuilder::new().condition("removed").build();
        let mut waiting = Box::pin(self.docker.wait_container(id, Some(options)));
        let removed = async {
            match waiting.next().await {
                // That is how the library tells of a status other than 0.
                None | Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => Ok(()),
                Some(Err(said)) => Err(said),
            }
        };
        self.ask("wait for a removal", removed).await
    }

    /// Everything about a container; `None` when there is none.
    ///
    /// # Errors
    /// As every question.
    pub async fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let asked =
            self.ask("inspect", self.docker.inspect_container(id, None::<InspectContainerOptions>)).await;
        there(asked)
    }

    /// The containers, running or not, that have all of these labels: `name=value`, or `name` for any value.
    ///
    /// # Errors
    /// As every question.
    pub async fn list(&self, labels: &[&str]) -> Result<Vec<ContainerSummary>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filter(labels)).build();
        self.ask("list containers", self.docker.list_containers(Some(options))).await
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// As every question; [`EngineError::Taken`] when there is another one of that name, which an engine
    /// would give as it is.
    pub async fn create_volume(&self, request: VolumeCreateRequest) -> Result<Volume, EngineError> {
        let (name, wanted) = (request.name.clone().unwrap_or_default(), request.driver_opts.clone());
        let made = self.ask("create a volume", self.docker.create_volume(request)).await?;
        is_that(&name, &made.options, &wanted.unwrap_or_default())?;
        Ok(made)
    }

    /// Removes a volume; one that is no more is left alone.
    ///
    /// # Errors
    /// As every question; [`EngineError::is_conflict`] while a container has it.
    pub async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveVolumeOptionsBuilder::new().force(false).build();
        let removed = self.ask("remove a volume", self.docker.remove_volume(name, Some(options))).await;
        removed.or_else(|error| if error.is_absent() { Ok(()) } else { Err(error) })
    }

    /// Everything about a volume; `None` when there is none.
    ///
    /// # Errors
    /// As every question.
    pub async fn volume(&self, name: &str) -> Result<Option<Volume>, EngineError> {
        there(self.ask("inspect a volume", self.docker.inspect_volume(name)).await)
    }

    /// The volumes that have all of these labels.
    ///
    /// # Errors
    /// As every question.
    pub async fn volumes(&self, labels: &[&str]) -> Result<Vec<Volume>, EngineError> {
        let options = ListVolumesOptionsBuilder::new().filters(&filter(labels)).build();
        let listed = self.ask("list volumes", self.docker.list_volumes(Some(options))).await?;
        Ok(listed.volumes.unwrap_or_default())
    }
}

/// Engines say of a volume what it was made with.
fn is_that(
    name: &str,
    found: &HashMap<String, String>,
    wanted: &HashMap<String, String>,
) -> Result<(), EngineError> {
    if found == wanted { Ok(()) } else { Err(EngineError::Taken { name: name.to_owned() }) }
}

/// A filter for labels.
pub(super) fn filter<'a>(labels: &[&'a str]) -> HashMap<&'a str, Vec<&'a str>> {
    HashMap::from([("label", labels.to_vec())])
}

/// What was to be gone is gone, whoever did it.
fn gone(done: Result<(), EngineError>) -> Result<(), EngineError> {
    done.or_else(|error| if error.is_absent() || error.is_conflict() { Ok(()) } else { Err(error) })
}

/// What is absent is nothing.
pub(super) fn there<T>(asked: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}
