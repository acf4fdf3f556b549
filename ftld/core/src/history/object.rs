//! Git's objects: ids, commits, trees, tags.
//!
//! Owns their byte formats in repositories of either hash. Whatever is malformed is `None`; nothing here
//! trusts a length that it read. Must not know where objects are kept.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::Digest as _;

/// A repository's hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

/// An object's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    format: Format,
    /// Zero beyond the format's width.
    bytes: [u8; 32],
}

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A commit.
    Commit,
    /// A directory.
    Tree,
    /// A file's content, or a link's target.
    Blob,
    /// An annotated tag.
    Tag,
}

/// What a commit leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The root directory.
    pub tree: Id,
    /// Its parents in order.
    pub parents: Vec<Id>,
}

/// A line of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeEntry {
    /// The mode as Git writes it: `0o100644`, `0o100755`, `0o120000`, `0o40000` or `0o160000`.
    pub mode: u32,
    /// One component of a path. Hostile trees may have `..` here.
    pub name: Vec<u8>,
    /// What stands there.
    pub id: Id,
}

// === impl Format ===

impl Format {
    /// Bytes of an id.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Its name in Git's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// The hash of these bytes.
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> Id {
        let mut found = [0; 32];
        match self {
            Self::Sha1 => found[..20].copy_from_slice(&sha1::Sha1::digest(bytes)),
            Self::Sha256 => found.copy_from_slice(&sha2::Sha256::digest(bytes)),
        }
        Id { format: self, bytes: found }
    }
}

// === impl Id ===

impl Id {
    /// The id with these bytes; `None` unless there are 20 or 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let format = match bytes.len() {
            20 => Format::Sha1,
            32 => Format::Sha256,
            _ => return None,
        };
        let mut kept = [0; 32];
        kept[..bytes.len()].copy_from_slice(bytes);
        Some(Self { format, bytes: kept })
    }

    /// The id that these hexadecimal digits are; `None` unless there are 40 or 64, in lower case.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        if !matches!(text.len(), 40 | 64) {
            return None;
        }
        let pairs = text.chunks_exact(2);
        let bytes: Option<Vec<u8>> = pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
        Self::from_bytes(&bytes?)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.format.width()]
    }

    /// The hash that it is one of.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(text.as_bytes()).ok_or_else(|| serde::de::Error::custom("not an object's id"))
    }
}

// === impl Kind ===

impl Kind {
    /// The kind of that name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"commit" => Some(Self::Commit),
            b"tree" => Some(Self::Tree),
            b"blob" => Some(Self::Blob),
            b"tag" => Some(Self::Tag),
            _ => None,
        }
    }
}

// === reading ===

/// Reads a commit. What follows the parents is not looked at.
#[must_use]
pub fn commit(bytes: &[u8]) -> Option<Commit> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let tree = Id::from_hex(lines.next()?.strip_prefix(b"tree ")?)?;
    let parents: Option<Vec<Id>> =
        lines.map_while(|line| line.strip_prefix(b"parent ")).map(Id::from_hex).collect();
    Some(Commit { tree, parents: parents? })
}

/// Reads what an annotated tag stands for.
#[must_use]
pub fn tag(bytes: &[u8]) -> Option<(Id, Kind)> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let id = Id::from_hex(lines.next()?.strip_prefix(b"object ")?)?;
    Some((id, Kind::named(lines.next()?.strip_prefix(b"type ")?)?))
}

/// Reads a tree.
#[must_use]
pub fn tree(bytes: &[u8], format: Format) -> Option<Vec<TreeEntry>> {
    let (mut entries, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let space = rest.iter().take(8).position(|byte| *byte == b' ')?;
        let mode = u32::from_str_radix(std::str::from_utf8(&rest[..space]).ok()?, 8).ok()?;
        rest = &rest[space + 1..];
        let end = rest.iter().position(|byte| *byte == 0)?;
        let id = Id::from_bytes(rest.get(end + 1..end + 1 + format.width())?)?;
        entries.push(TreeEntry { mode, name: rest[..end].to_vec(), id });
        rest = &rest[end + 1 + format.width()..];
    }
    Some(entries)
}

/// The ids that the index of a pack lists. `None` when it is no index of version 2.
#[must_use]
pub fn packed_ids(bytes: &[u8], format: Format) -> Option<Vec<Id>> {
    const IDS: usize = 8 + 256 * 4;
    let head = bytes.get(..IDS)?;
    if head[..8] != *b"\xfftOc\x00\x00\x00\x02" {
        return None;
    }
    let count = u32::from_be_bytes(head[IDS - 4..].try_into().ok()?) as usize;
    let ids = bytes.get(IDS..)?.get(..count.checked_mul(format.width())?)?;
    ids.chunks_exact(format.width()).map(Id::from_bytes).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    const B: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";

    fn id(hex: &str) -> Id {
        Id::from_hex(hex.as_bytes()).unwrap()
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        assert_eq!(Format::Sha1.hash(b"tree 0\0"), id(A));
        assert_eq!(Format::Sha1.hash(b"blob 0\0").to_string(), B);
        let long = Format::Sha256.hash(b"tree 0\0");
        assert_eq!(long.to_string(), "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321");
        assert_eq!(Id::from_hex(long.to_string().as_bytes()), Some(long));
        for bad in ["", "4b825", &A.to_uppercase(), &format!("{A}00")] {
            assert_eq!(Id::from_hex(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn objects_are_read_and_malformed_ones_are_none() {
        let text = format!("tree {A}\nparent {B}\nparent {A}\nauthor a <a@b> 0 +0000\nparent {B}\n\nx\n");
        let found = commit(text.as_bytes()).unwrap();
        assert_eq!(found, Commit { tree: id(A), parents: vec![id(B), id(A)] });
        assert_eq!(commit(format!("tree {A}\nparent x\n").as_bytes()), None);
        assert_eq!(commit(b"parent\n"), None);
        let text = format!("object {A}\ntype commit\ntag v1\n");
        assert_eq!(tag(text.as_bytes()), Some((id(A), Kind::Commit)));
        assert_eq!(tag(format!("object {A}\ntype thing\n").as_bytes()), None);
        let bytes = [b"100644 a\0", id(B).as_bytes(), b"40000 ..\0", id(A).as_bytes()].concat();
        let entries = tree(&bytes, Format::Sha1).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[1].mode, entries[1].name.as_slice()), (0o40000, &b".."[..]));
        assert_eq!(tree(&bytes[..bytes.len() - 1], Format::Sha1), None);
        assert_eq!(tree(b"999999999999 a\0", Format::Sha1), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = (commit(&bytes), tag(&bytes), tree(&bytes, Format::Sha1));
            let index = [b"\xfftOc\x00\x00\x00\x02".as_slice(), &bytes].concat();
            let _ = (packed_ids(&index, Format::Sha256), tree(&bytes, Format::Sha256));
        }
    }
}
