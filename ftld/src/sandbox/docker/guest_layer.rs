//! The image that containers are made of: the human's, with one more layer that has process 1.
//!
//! Owns the layer and its name, which says what both are made of, so that it is made once. Must not know what
//! else is in an image. The program travels in the build's context, so that nothing of the host is mounted
//! and any engine can have it.

use super::super::linux::image::PROGRAM;
use super::engine::{Engine, EngineError};
use super::images::Build;

/// The repository of the images with the layer.
const REPOSITORY: &str = "ftl-sandbox";

/// The label that tells such an image from others; its value is the program's digest.
pub(super) const LABEL_GUEST: &str = "dev.ftl.guest";

/// The block of a tar archive, bytes.
const BLOCK: usize = 512;

/// An image that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Runnable {
    /// Its id.
    pub(super) id: String,
    /// Directories that the image asks to be writable; none of ours does.
    pub(super) volumes: Vec<String>,
}

/// The image of that name with the layer, made when the engine has none yet; `None` when it has no image of
/// that name.
///
/// # Errors
/// As every question to an engine.
pub(super) async fn with_guest(engine: &Engine, image: &str) -> Result<Option<Runnable>, EngineError> {
    let Some(base) = engine.image(image).await?.and_then(|found| found.id) else { return Ok(None) };
    let guest = blake3::hash(PROGRAM).to_hex();
    let both = blake3::hash(format!("{base} {guest}").as_bytes()).to_hex();
    let tag = format!("{REPOSITORY}:{}", &both[..16]);
    let mut made = engine.image(&tag).await?;
    if made.is_none() {
        let dockerfile = format!("FROM {base}\nCOPY guest /.ftl/guest\n");
        let context = archive(&[("Dockerfile", dockerfile.as_bytes(), 0o644), ("guest", PROGRAM, 0o755)]);
        let labels = [(LABEL_GUEST.to_owned(), guest.to_string())].into();
        let build = Build { context: context.into(), tag: tag.clone(), labels, ..Build::default() };
        engine.build(build, &mut |line| tracing::debug!(line, "an image is made")).await?;
        made = engine.image(&tag).await?;
    }
    Ok(made.and_then(|found| {
        let volumes = found.config.and_then(|config| config.volumes).unwrap_or_default();
        Some(Runnable { id: found.id?, volumes: volumes.into_iter().collect() })
    }))
}

/// A tar archive of these files: name, content, mode.
fn archive(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content, mode) in files {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        // Owner, group and time are 0, so that the same content is the same layer.
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", content.len()).as_bytes());
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend(header);
        archive.extend(*content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_tar_takes() {
        let dir = tempfile::tempdir().unwrap();
        let (large, small) = (vec![7; 1000], b"FROM x\n".to_vec());
        let bytes = archive(&[("Dockerfile", &small, 0o644), ("guest", &large, 0o755)]);
        std::fs::write(dir.path().join("a.tar"), &bytes).unwrap();
        let tar = |arguments: &[&str]| {
            std::process::Command::new("tar").current_dir(dir.path()).args(arguments).output().unwrap()
        };
        let listed = tar(&["tvf", "a.tar", "--numeric-owner"]);
        let text = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.status.success() && listed.stderr.is_empty(), "{text}");
        assert!(text.contains("-rwxr-xr-x 0/0            1000"), "{text}");
        assert!(tar(&["xf", "a.tar"]).status.success());
        assert_eq!(std::fs::read(dir.path().join("guest")).unwrap(), large);
        assert_eq!(std::fs::read(dir.path().join("Dockerfile")).unwrap(), small);
    }
}
