//! A project's tree as a value: paths, nodes, directories, and the listings that a snapshot's id is made of.
//!
//! Owns what a path beneath a root may look like. Must not know the file system: whoever reads one hands
//! the nodes in.

mod changes;
mod dir;
mod listing;
mod mark;
mod salvage;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::event::Bytes;
use crate::id::Hash;

pub use changes::{Changed, changes};
pub use dir::{Dir, Item, Tree};
pub use listing::{ListingError, Named, load, named, named_unless};
pub use mark::Mark;
pub use salvage::{LostDir, salvage};

/// A path beneath a project's root: one or more components, none of them empty, `.` or `..`, joined by
/// `/`, without NUL. Any other bytes are allowed, UTF-8 or not. At most 4096 bytes, 255 per component, and 256
/// components: whatever goes down a tree may do so by recursion.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Vec<u8>);

/// What stands at a path.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Node {
    /// A regular file.
    File {
        /// Permission bits, at most `0o777`.
        mode: u32,
        /// Bytes.
        size: u64,
        /// BLAKE3 of the content.
        hash: Hash,
    },
    /// A directory.
    Dir {
        /// Permission bits, at most `0o777`.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// The bytes it holds, unresolved.
        #[serde(with = "crate::event::as_bytes")]
        target: Vec<u8>,
    },
}

/// A node and its modification time. The time is part of a snapshot (builds are incremental by it) and
/// never of a diff.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What stands there.
    pub node: Node,
    /// Nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
}

/// A path that cannot be beneath a root.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path beneath the project: {why}")]
pub struct PathError {
    /// What was given, lossily.
    pub path: String,
    /// What is wrong with it.
    pub why: &'static str,
}

// === impl RelPath ===

impl RelPath {
    /// The most bytes of a path.
    pub const LONGEST: usize = 4096;
    /// The most components of a path.
    pub const DEEPEST: usize = 256;

    /// Checks the bytes and keeps them.
    ///
    /// # Errors
    /// When they are not a path beneath a root; see the type.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        match fault(&bytes) {
            None => Ok(Self(bytes)),
            Some(why) => Err(PathError { path: String::from_utf8_lossy(&bytes).into_owned(), why }),
        }
    }

    /// The bytes, joined by `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components in order.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.components().next_back().unwrap_or(&self.0)
    }

    /// The directory it stands in, or `None` in the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|byte| *byte == b'/')?;
        Some(Self(self.0[..slash].to_vec()))
    }

    /// `name` in the directory `parent`, where `None` is the root.
    ///
    /// # Errors
    /// When `name` is not one component, or the whole grows too long.
    pub fn under(parent: Option<&Self>, name: &[u8]) -> Result<Self, PathError> {
        match parent {
            Some(parent) => parent.join(name),
            None if name.contains(&b'/') => Err(PathError {
                path: String::from_utf8_lossy(name).into_owned(),
                why: "it is more than one component",
            }),
            None => Self::new(name),
        }
    }

    /// The directories it stands in, the nearest first; the root is not among them.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// A child of this path.
    ///
    /// # Errors
    /// When `name` is not one component.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self::new(bytes)
    }

    /// Whether it stands somewhere beneath `ancestor`, by components: `ab` is not beneath `a`.
    #[must_use]
    pub fn is_beneath(&self, ancestor: &Self) -> bool {
        self.0.strip_prefix(ancestor.0.as_slice()).is_some_and(|rest| rest.first() == Some(&b'/'))
    }
}

fn fault(bytes: &[u8]) -> Option<&'static str> {
    if bytes.len() > RelPath::LONGEST {
        return Some("it is longer than 4096 bytes");
    }
    if bytes.iter().filter(|byte| **byte == b'/').count() >= RelPath::DEEPEST {
        return Some("it is more than 256 levels deep");
    }
    if bytes.contains(&0) {
        return Some("it holds a NUL byte");
    }
    bytes.split(|byte| *byte == b'/').find_map(|component| match component {
        b"" => Some("it is absolute, empty or has an empty component"),
        b"." | b".." => Some("it has a `.` or `..` component"),
        long if long.len() > 255 => Some("a component is longer than 255 bytes"),
        _ => None,
    })
}

/// Lets a map of paths be searched by bytes.
impl Borrow<[u8]> for RelPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for RelPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes(self.0.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Bytes::deserialize(deserializer)?.0).map_err(serde::de::Error::custom)
    }
}

// === impl Node ===

impl Node {
    /// Permission bits; symbolic links have none of their own and count as `0o777`.
    #[must_use]
    pub fn mode(&self) -> u32 {
        match self {
            Self::File { mode, .. } | Self::Dir { mode } => *mode,
            Self::Symlink { .. } => 0o777,
        }
    }

    /// The content's hash, of files.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        match self {
            Self::File { hash, .. } => Some(*hash),
            Self::Dir { .. } | Self::Symlink { .. } => None,
        }
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        matches!(self, Self::Dir { .. })
    }

    /// Feeds the node into a hash so that different nodes never feed the same bytes.
    pub fn feed(&self, hasher: &mut blake3::Hasher) {
        match self {
            Self::File { mode, size, hash } => {
                hasher.update(b"f").update(&mode.to_le_bytes()).update(&size.to_le_bytes()).update(&hash.0);
            }
            Self::Dir { mode } => {
                hasher.update(b"d").update(&mode.to_le_bytes());
            }
            Self::Symlink { target } => {
                hasher.update(b"l").update(&(target.len() as u64).to_le_bytes()).update(target);
            }
        }
    }
}

// === walking a map of paths ===

/// Everything that stands beneath `dir`, in the order of paths; `dir` itself is not included. Costs what
/// it yields, not what the map holds.
pub fn beneath<'map, V>(
    map: &'map BTreeMap<RelPath, V>,
    dir: &RelPath,
) -> impl Iterator<Item = (&'map RelPath, &'map V)> {
    let first = [dir.as_bytes(), b"/"].concat();
    let end = [dir.as_bytes(), b"0"].concat(); // `0` follows `/`
    map.range::<[u8], _>((Bound::Included(first.as_slice()), Bound::Excluded(end.as_slice())))
}

/// The names that stand directly in `dir` (`None`: the root), also those that the map knows only through
/// something beneath them. Skips over what stands deeper; a directory's name may come twice, because
/// `a-b` sorts between `a` and `a/b`.
pub fn names_in<'map, V>(
    map: &'map BTreeMap<RelPath, V>,
    dir: Option<&RelPath>,
) -> impl Iterator<Item = &'map [u8]> {
    let prefix = dir.map_or(Vec::new(), |dir| [dir.as_bytes(), b"/"].concat());
    let mut from = Bound::Included(prefix.clone());
    std::iter::from_fn(move || {
        let bound = (from.as_ref().map(Vec::as_slice), Bound::Unbounded);
        let (path, _) = map.range::<[u8], _>(bound).next()?;
        let rest = path.as_bytes().strip_prefix(prefix.as_slice())?;
        let name = rest.split(|byte| *byte == b'/').next()?;
        from = match rest.len() == name.len() {
            true => Bound::Excluded(path.as_bytes().to_vec()),
            false => Bound::Included([&prefix, name, b"0"].concat()),
        };
        Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_beneath_a_root_are_paths() {
        for good in ["a", "a/b", "-x", "a b", "a\nb", ".git", "...", "a\\b"] {
            assert!(RelPath::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b"] {
            assert!(RelPath::new(bad).is_err(), "{bad:?}");
        }
        assert!(RelPath::new(vec![b'a'; 256]).is_err());
        assert!(RelPath::new(["a"; 256].join("/")).is_ok());
        assert!(RelPath::new(["a"; 257].join("/")).is_err());
    }

    #[test]
    fn beneath_is_by_components() {
        let path = |text: &str| RelPath::new(text).unwrap();
        assert!(path("a/b").is_beneath(&path("a")));
        assert!(!path("ab").is_beneath(&path("a")));
        assert!(!path("a").is_beneath(&path("a")));
    }

    #[test]
    fn what_stands_beneath_a_directory_is_found_in_spite_of_the_order() {
        let map: BTreeMap<RelPath, ()> = ["a", "a-b", "a/b", "a/b/c", "a/d", "ab", "z/y"]
            .map(|text| (RelPath::new(text).unwrap(), ()))
            .into();
        let a = RelPath::new("a").unwrap();
        let found: Vec<_> = beneath(&map, &a).map(|(path, ())| path.to_string()).collect();
        assert_eq!(found, ["a/b", "a/b/c", "a/d"]);
        assert_eq!(names_in(&map, Some(&a)).collect::<Vec<_>>(), [b"b", b"b", b"d"]);
        let root: std::collections::BTreeSet<_> = names_in(&map, None).collect();
        assert_eq!(root, [&b"a"[..], b"a-b", b"ab", b"z"].into());
    }
}
