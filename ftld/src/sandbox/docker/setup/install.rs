//! Brings an agent to an engine: fetched by the daemon, compared with the hash that is known, unpacked, and
//! built into an image of its own.
//!
//! Owns the throw-away files on the way. Must not know what becomes of the image. Nothing of an image runs
//! meanwhile, and a registry, a mirror or a proxy can at most make it fail.

use std::path::Path;

use super::fetch::fetch;
use super::programs::Program;
use super::recipe::{self, Named, Reach};
use super::{Hear, Progress, SetupError, build, unpack};
use crate::sandbox::docker::engine::Engine;

/// What every agent's installation needs.
pub(super) struct Install<'a> {
    pub(super) engine: &'a Engine,
    pub(super) reach: &'a Reach,
    /// Whether what is there is made again.
    pub(super) rebuild: bool,
    /// The daemon's home, for throw-away files.
    pub(super) home: &'a Path,
}

impl Install<'_> {
    /// The agent's image.
    ///
    /// # Errors
    /// When its package does not come, is another one, or the engine fails.
    pub(super) async fn agent(&self, program: &Program, hear: Hear<'_>) -> Result<Named, SetupError> {
        let (recipe, package) = recipe::agent(program, &self.engine.about().arch)?;
        let tag = self.engine.own().image(program.name, &recipe.version);
        if !self.rebuild
            && let Some(id) = self.engine.image(&tag).await?.and_then(|image| image.id)
        {
            return Ok(Named { id, tag, version: recipe.version });
        }
        let unpacking = |source| SetupError::Unpack { name: program.name, source };
        // It goes with its files when the caller goes away.
        let path = self.home.join("setup");
        let dir = Scratch::new(&path).map_err(unpacking)?;
        let (packed, context) = (dir.0.join("package.tgz"), dir.0.join("context.tar"));
        let address = self.reach.address(package.path);
        hear(Progress::Line(format!("fetching {address}")));
        let mut told = None;
        let mut came = |bytes: u64, total: u64| {
            let percent = bytes.saturating_mul(100).checked_div(total);
            if percent.is_some() && told != percent {
                told = percent;
                hear(Progress::Sent { bytes, total });
            }
        };
        let hash = fetch(self.reach, &address, &packed, &mut came)
            .await
            .map_err(|source| SetupError::Fetch { name: program.name, address: address.clone(), source })?;
        if Some(hash) != recipe::hash(&package) {
            return Err(SetupError::Altered { name: program.name, address });
        }
        hear(Progress::Line(format!("{} {}: it has the hash that is known", program.name, program.version)));
        let (from, to, text) = (packed.clone(), context.clone(), recipe.text.clone());
        let launcher = program.launcher;
        let unpacked = tokio::task::spawn_blocking(move || {
            unpack::context(&from, &to, &text, (package.programs, launcher))?;
            std::fs::remove_file(&from)
        });
        let unpacked = unpacked.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        unpacked.map_err(unpacking)?;
        let id = build(self.engine, recipe.build_from(context, tag.clone()), hear).await?;
        Ok(Named { id, tag, version: recipe.version })
    }
}

/// A directory that is empty at first, and gone at the end.
struct Scratch<'a>(&'a Path);

impl<'a> Scratch<'a> {
    fn new(path: &'a Path) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;

        // One setup runs at a time; what is there was left by one that was killed.
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::DirBuilder::new().mode(0o700).create(path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(self.0) {
            tracing::warn!(dir = %self.0.display(), %error, "a package stays behind");
        }
    }
}
