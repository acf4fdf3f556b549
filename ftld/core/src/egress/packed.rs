//! Bodies that are compressed although nobody said so.
//!
//! Owns what the beginning of a body and its announced type say about that. Must not know connections.
//!
//! A compressed body cannot be searched for values. Where the type says that it is a text, compression can
//! only be meant to hide, or be a mistake; an archive is compressed by its nature and passes. Brotli and
//! bare deflate have no beginning that could be told from other bytes.

/// Bytes of a body's beginning that tell.
const TELLING: usize = 4;

/// What bodies that are compressed begin with: gzip, zstd, bzip2, xz, lz4, zlib.
const BEGINNINGS: [&[u8]; 8] = [
    &[0x1f, 0x8b],
    &[0x28, 0xb5, 0x2f, 0xfd],
    b"BZh",
    &[0xfd, b'7', b'z', b'X'],
    &[0x04, 0x22, 0x4d, 0x18],
    &[b'x', 0x01],
    &[b'x', 0x9c],
    &[b'x', 0xda],
];

/// The beginning of one body.
#[derive(Debug)]
pub struct Beginning {
    /// As much as is needed; empty for a body of which nothing is needed.
    seen: Vec<u8>,
    text: bool,
}

impl Beginning {
    /// The beginning of a body of this type, as its header says.
    #[must_use]
    pub fn new(content_type: Option<&str>) -> Self {
        Self { seen: Vec::new(), text: content_type.is_none_or(is_text) }
    }

    /// Takes the next bytes. Says whether the body is a text that is compressed.
    pub fn is_packed(&mut self, bytes: &[u8]) -> bool {
        if !self.text || self.seen.len() >= TELLING {
            return false;
        }
        let missing = TELLING - self.seen.len();
        self.seen.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        BEGINNINGS.iter().any(|beginning| self.seen.starts_with(beginning))
    }
}

/// Whether a type is one of texts.
fn is_text(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((kind, name)) = essence.split_once('/') else { return true };
    let structured = name.rsplit_once('+').map_or(name, |(_, suffix)| suffix);
    kind == "text"
        || matches!(
            structured,
            "json"
                | "xml"
                | "yaml"
                | "x-yaml"
                | "toml"
                | "javascript"
                | "x-javascript"
                | "ecmascript"
                | "x-www-form-urlencoded"
                | "x-ndjson"
                | "ndjson"
                | "jsonl"
                | "graphql"
                | "json-seq"
                | "sql"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_are_compressed_are_told_however_they_come() {
        let gzip = [0x1f, 0x8b, 8, 0, 0, 0];
        for (kind, expected) in [
            (None, true),
            (Some("text/html; charset=utf-8"), true),
            (Some("text/event-stream"), true),
            (Some("Application/JSON"), true),
            (Some("application/vnd.api+json;v=1"), true),
            (Some("application/atom+xml"), true),
            (Some("application/x-www-form-urlencoded"), true),
            (Some("nonsense"), true),
            (Some("application/octet-stream"), false),
            (Some("application/gzip"), false),
            (Some("application/x-gzip"), false),
            (Some("application/x-tar"), false),
            (Some("image/svg+zip"), false),
            (Some("application/zstd"), false),
        ] {
            assert_eq!(Beginning::new(kind).is_packed(&gzip), expected, "{kind:?}");
            let mut slow = Beginning::new(kind);
            assert_eq!(gzip.iter().any(|byte| slow.is_packed(&[*byte])), expected, "{kind:?}");
        }
    }

    #[test]
    fn other_beginnings_pass() {
        for body in ["", "x", "xml", "{\"a\": 1}", "BZ", "data: 1\n\n", "(5"] {
            assert!(!Beginning::new(None).is_packed(body.as_bytes()), "{body}");
        }
        for body in BEGINNINGS {
            assert!(Beginning::new(None).is_packed(body), "{body:?}");
        }
        let mut later = Beginning::new(None);
        assert!(!later.is_packed(b"abcd") && !later.is_packed(&[0x1f, 0x8b]));
    }
}
