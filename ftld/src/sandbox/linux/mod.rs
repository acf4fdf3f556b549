//! The `native` backend: namespaces, overlay, seccomp, Landlock and control groups of the Linux kernel.
//!
//! Owns the daemon's half; the other half is the helper, which builds the sandbox from within
//! (`ftl-guest`). Must not know sessions or agents. Reading order: [`launch`] is the story;
//! [`session`] serves a sandbox that runs, and [`doors`] its way out; [`identity`], [`image`], [`files`], [`control`] and [`cgroup`] are its
//! parts; [`record`] ends what a crash left; [`doctor`] explains what a machine forbids.

mod cgroup;
mod control;
mod diagnosis;
mod doctor;
mod doors;
pub(super) mod files;
pub(super) mod identity;
pub(super) mod image;
mod launch;
mod pipes;
pub(super) mod process;
pub(super) mod record;
mod session;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ftl_core::id::SessionId;

use super::{Carrier, Check, Limits, Owner, Sandbox, SandboxBackend, SandboxError, SandboxSpec};
use cgroup::Cgroups;
use image::Image;

/// What the backend needs to know of its daemon.
#[derive(Clone, Debug)]
pub struct NativeConfig {
    /// A name for this daemon among others on the machine: letters, digits, `-`. Control groups bear it,
    /// so that two daemons never touch each other's.
    pub instance: String,
    /// Directories that no sandbox may be shown: the daemon's home, its runtime directory, and the
    /// user's home as a whole.
    pub protected: Vec<PathBuf>,
    /// How often a sandbox's disk usage is measured.
    pub disk_interval: Duration,
    /// How a sandbox's way out reaches the daemon. Descriptors are faster; the stream is there to be tried
    /// where there is no other kernel.
    pub carrier: Carrier,
    /// The mask that the human's programs make files with.
    pub umask: u32,
}

/// Makes sandboxes of the kernel's own parts.
pub struct NativeBackend(Arc<Backend>);

/// What every launch needs.
struct Backend {
    config: NativeConfig,
    image: Image,
    cgroups: Cgroups,
}

impl NativeBackend {
    /// Prepares the helper and finds out which control groups can be had.
    ///
    /// # Errors
    /// When the helper cannot be put into memory.
    pub fn new(config: NativeConfig) -> Result<Self, SandboxError> {
        let image =
            Image::new().map_err(|source| SandboxError::Helper { act: "preparing the helper", source })?;
        let cgroups = Cgroups::detect(&config.instance);
        Ok(Self(Arc::new(Backend { config, image, cgroups })))
    }
}

#[async_trait]
impl SandboxBackend for NativeBackend {
    fn name(&self) -> &'static str {
        "native"
    }

    fn owner(&self) -> Result<Option<Owner>, SandboxError> {
        identity::owner()
    }

    async fn launch(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let launching = tokio::spawn(launch::launch(Arc::clone(&self.0), spec));
        match launching.await {
            Ok(launched) => Ok(Box::new(launched?)),
            Err(error) => {
                Err(SandboxError::Helper { act: "launching", source: std::io::Error::other(error) })
            }
        }
    }

    async fn sweep(&self, session: &SessionId, dir: &Path) -> Result<(), SandboxError> {
        record::sweep(dir).await?;
        self.0.cgroups.of(session).remove().await;
        Ok(())
    }

    async fn doctor(&self, scratch: &Path, limits: Limits) -> Vec<Check> {
        doctor::examine(Arc::clone(&self.0), scratch, limits).await
    }
}
