//! A change of bytes as git's binary patch, which leads both ways.
//!
//! Owns its form: names of both contents, and each of them whole, deflated, in base 85. Must not know which file
//! it is.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest as _, Sha1};

/// Git's digits of base 85.
const DIGITS: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
/// Deflated bytes of one line.
const LINE: usize = 52;
/// The name of no content.
const NOTHING: &str = "0000000000000000000000000000000000000000";

/// The line that names both contents, and what leads from one to the other and back. `mode` is the one that both
/// sides have.
pub(super) fn change(out: &mut Vec<u8>, before: Option<&[u8]>, after: Option<&[u8]>, mode: Option<&str>) {
    let mode = mode.map(|mode| format!(" {mode}")).unwrap_or_default();
    out.extend(format!("index {}..{}{mode}\n", object(before), object(after)).bytes());
    out.extend_from_slice(b"GIT binary patch\n");
    for content in [after, before] {
        literal(out, content.unwrap_or_default());
    }
}

/// The name that git gives a content.
fn object(content: Option<&[u8]>) -> String {
    let Some(content) = content else { return NOTHING.to_owned() };
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()).as_bytes());
    hasher.update(content);
    hasher.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn literal(out: &mut Vec<u8>, content: &[u8]) {
    out.extend(format!("literal {}\n", content.len()).bytes());
    for line in deflated(content).chunks(LINE) {
        let length = u8::try_from(line.len()).unwrap_or_default();
        out.push(if length <= 26 { b'A' + length - 1 } else { b'a' + length - 27 });
        for group in line.chunks(4) {
            let mut bytes = [0; 4];
            bytes[..group.len()].copy_from_slice(group);
            let mut number = u32::from_be_bytes(bytes);
            let mut digits = [0; 5];
            for digit in digits.iter_mut().rev() {
                *digit = DIGITS[(number % 85) as usize];
                number /= 85;
            }
            out.extend(digits);
        }
        out.push(b'\n');
    }
    out.push(b'\n');
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Nothing fails that writes to memory.
    encoder.write_all(content).and_then(|()| encoder.finish()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use ftl_proto::v1;

    use crate::render::patch;

    fn git(dir: &Path, args: &[&str]) {
        let ran = Command::new("git").args(args).current_dir(dir).output().unwrap();
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn entry(path: &str, before: Option<(&[u8], u32)>, after: Option<(&[u8], u32)>) -> v1::DiffEntry {
        let node = |(_, mode): (&[u8], u32)| v1::Node { r#type: "file".into(), mode, ..Default::default() };
        v1::DiffEntry {
            path: path.into(),
            kind: v1::EntryKind::Binary.into(),
            before: before.map(node),
            after: after.map(node),
            elided: "not text".into(),
            content_before: before.map(|(content, _)| content.to_vec()),
            content_after: after.map(|(content, _)| content.to_vec()),
            ..Default::default()
        }
    }

    #[test]
    fn git_takes_it_both_ways() {
        let (old, new) = (noise(70_000), [&noise(3000)[..], b"\0the end"].concat());
        for length in [0, 1, 3, 4, 5, 51, 52, 53] {
            both_ways(Some((&noise(length), 0o644)), Some((b"\0", 0o644)));
        }
        both_ways(Some((&old, 0o644)), Some((&new, 0o644)));
        both_ways(Some((&old, 0o644)), Some((&new, 0o755)));
        both_ways(None, Some((&new, 0o755)));
        both_ways(Some((&old, 0o644)), None);
    }

    fn both_ways(before: Option<(&[u8], u32)>, after: Option<(&[u8], u32)>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a b.bin");
        let read = || std::fs::read(&file).ok();
        if let Some((content, _)) = before {
            std::fs::write(&file, content).unwrap();
        }
        let written = patch::patch(&v1::DiffHeader::default(), &[entry("a b.bin", before, after)]);
        assert_eq!(written.missing, Vec::<String>::new());
        std::fs::write(dir.path().join("patch"), &written.bytes).unwrap();
        git(dir.path(), &["init", "-q"]);
        git(dir.path(), &["apply", "patch"]);
        assert_eq!(read(), after.map(|(content, _)| content.to_vec()));
        git(dir.path(), &["apply", "-R", "patch"]);
        assert_eq!(read(), before.map(|(content, _)| content.to_vec()));
    }
}
