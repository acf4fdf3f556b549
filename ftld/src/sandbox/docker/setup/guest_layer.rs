//! The helper's layer: any image, and on top of it the program that is process 1 of a container.
//!
//! Owns which images may be used and how the helper comes into them: by the engine's builder, so that it
//! works with an engine on another machine too, and nothing is put into a container. Must not know
//! containers.

use std::collections::BTreeMap;

use ftl_core::id::Hash;

use super::SetupError;
use super::archive::Archive;
use crate::sandbox::docker::engine::Engine;
use crate::sandbox::docker::images::{Build, Context};
use crate::sandbox::linux::image::PROGRAM;
use crate::sandbox::{HOME, WORKSPACE};

/// Where the helper lies in an image that was made here.
pub const GUEST: &str = "/.ftl/guest";

/// An image with the helper.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestImage {
    /// Its id: `sha256:…`.
    pub id: String,
    /// The hash of the helper in it, hex.
    pub guest: String,
}

/// The hash of the helper that this daemon has.
#[must_use]
pub fn guest_hash() -> String {
    Hash::of(PROGRAM).to_hex()
}

/// The image with this daemon's helper on top of `image`, a name or an id; made when it is not there yet.
///
/// # Errors
/// When there is no such image, it asks for things that a sandbox must not have, or the engine fails.
pub async fn with_guest(engine: &Engine, image: &str) -> Result<GuestImage, SetupError> {
    let found = engine.image(image).await?;
    let found = found.ok_or_else(|| SetupError::NoImage { image: image.to_owned() })?;
    let refused = |why: &'static str| SetupError::Image { image: image.to_owned(), why };
    let config = found.config.unwrap_or_default();
    if config.volumes.is_some_and(|volumes| !volumes.is_empty()) {
        return Err(refused("it declares volumes, which would be writable beside the workspace"));
    }
    if config.on_build.is_some_and(|triggers| !triggers.is_empty()) {
        return Err(refused("it has ONBUILD steps, which would run when it is prepared"));
    }
    let base = found.id.ok_or_else(|| refused("the engine names no id for it"))?;
    let guest = guest_hash();
    let short = base.trim_start_matches("sha256:").get(..12).unwrap_or("base");
    let tag = engine.own().image("sandbox", &format!("{}-{short}", &guest[..12]));
    if let Some(id) = made_before(engine, &tag, &base).await? {
        return Ok(GuestImage { id, guest });
    }
    let labels = [("dev.ftl.role", "sandbox"), ("dev.ftl.guest", &guest), ("dev.ftl.base", &base)];
    let labels: BTreeMap<_, _> = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    // By id, so that a name that is given away meanwhile changes nothing.
    let text = format!(
        "FROM {base}\nCOPY root/ /\nUSER 0\nENTRYPOINT [\"{GUEST}\"]\nCMD []\nHEALTHCHECK NONE\nWORKDIR /\n"
    );
    let context = Archive::default()
        .file("Dockerfile", 0o644, text.as_bytes())
        .file(&format!("root{GUEST}"), 0o555, PROGRAM)
        .dir(&format!("root{HOME}"), 0o755);
    // Podman gives a volume the owner of the directory that the image has in its place, and would have none here.
    let context = match engine.about().is_podman() {
        true => context,
        false => context.dir(&format!("root{WORKSPACE}"), 0o755),
    };
    let context = Context::Bytes(context.finish());
    let build = Build { context, tag, labels, ..Build::default() };
    let id = engine.build(build, &mut |line| tracing::debug!(line, "adding the helper to an image")).await?;
    Ok(GuestImage { id, guest })
}

/// The image of that name, when it was made here of that base.
async fn made_before(engine: &Engine, tag: &str, base: &str) -> Result<Option<String>, SetupError> {
    let Some(found) = engine.image(tag).await? else { return Ok(None) };
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    // Whoever may name images may already do anything with the engine; this is against mistakes.
    let same = labels.get("dev.ftl.base").is_some_and(|of| of == base)
        && labels.get("dev.ftl.guest").is_some_and(|of| *of == guest_hash());
    Ok(found.id.filter(|_| same))
}
