//! A tar archive in memory, not compressed: what a builder is given.
//!
//! Owns the format's headers. Must not know what is packed. Everything belongs to root and bears no time,
//! so that equal contents are equal bytes and a builder finds what it built before.

use std::io;

use bytes::{Bytes, BytesMut};

/// The size of a header and of what contents are filled up to.
pub(super) const BLOCK: usize = 512;

/// The longest name of a header, and of the directories before it, bytes.
const NAME: usize = 100;
const PREFIX: usize = 155;

/// An archive that is being put together.
#[derive(Default)]
pub(super) struct Archive(BytesMut);

impl Archive {
    /// Adds a file. The path is relative and short.
    pub(super) fn file(mut self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.header(path, mode, content.len(), b'0');
        self.0.extend_from_slice(content);
        let over = content.len() % BLOCK;
        if over > 0 {
            self.0.resize(self.0.len() + BLOCK - over, 0);
        }
        self
    }

    /// Adds an empty directory.
    pub(super) fn dir(mut self, path: &str, mode: u32) -> Self {
        self.header(&format!("{path}/"), mode, 0, b'5');
        self
    }

    /// The archive's bytes.
    pub(super) fn finish(mut self) -> Bytes {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0.freeze()
    }

    fn header(&mut self, path: &str, mode: u32, size: usize, kind: u8) {
        // The paths are this program's own: they fit.
        if let Ok(block) = header(path, mode, size as u64, kind) {
            self.0.extend_from_slice(&block);
        }
    }
}

/// The header of an entry of root's.
///
/// # Errors
/// When the path is too long for one.
pub(super) fn header(path: &str, mode: u32, size: u64, kind: u8) -> io::Result<[u8; BLOCK]> {
    let fits = |at: &usize| *at <= PREFIX && path.len() - at - 1 <= NAME;
    let (prefix, name) = match path.len() {
        ..=NAME => ("", path),
        _ => {
            let slash = path.match_indices('/').map(|(at, _)| at).find(fits);
            let slash = slash.ok_or_else(|| io::Error::other(format!("the name {path:?} is too long")))?;
            (&path[..slash], &path[slash + 1..])
        }
    };
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", size.min(0o77_777_777_777)).as_bytes());
    put(136, b"00000000000\0");
    // The sum is taken with blanks in its own place.
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_unpacks_it() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = Archive::default()
            .file("Dockerfile", 0o644, b"FROM x\n")
            .dir("root/workspace", 0o755)
            .file("root/.ftl/guest", 0o555, &[7; 1024])
            .file("empty", 0o600, b"")
            .finish();
        assert_eq!(bytes.len() % BLOCK, 0);
        std::fs::write(dir.path().join("x.tar"), &bytes).unwrap();
        let out = Command::new("tar").args(["-xpf", "x.tar"]).current_dir(dir.path()).status().unwrap();
        assert!(out.success());
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        assert_eq!((read("Dockerfile"), read("root/.ftl/guest")), (b"FROM x\n".to_vec(), vec![7; 1024]));
        assert!(read("empty").is_empty() && dir.path().join("root/workspace").is_dir());
        let mode = dir.path().join("root/.ftl/guest").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o555);
    }
}
