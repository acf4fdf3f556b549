//! The bytes of a directory's listing.
//!
//! Owns the format. Equal directories, and only they, have equal listings; a directory in a listing is
//! named by the hash of its own, so that the root's hash stands for the whole tree.

use std::collections::HashMap;
use std::sync::Arc;

use super::dir::{Dir, Tree};
use super::{Entry, Node, RelPath};
use crate::id::Hash;

/// A listing that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// It ends early, or a length is out of range.
    #[error("the listing is truncated at byte {at}")]
    Truncated {
        /// Offset in bytes.
        at: usize,
    },
    /// It has another version or an unknown node kind.
    #[error("the listing holds an unknown {what} at byte {at}")]
    Unknown {
        /// What is unknown.
        what: &'static str,
        /// Offset in bytes.
        at: usize,
    },
    /// A name cannot be one, or makes a path too long.
    #[error("the listing holds a bad name at byte {at}")]
    Name {
        /// Offset in bytes.
        at: usize,
    },
    /// Names are not strictly ascending.
    #[error("the listing's names are not in order at byte {at}")]
    Order {
        /// Offset in bytes.
        at: usize,
    },
    /// The bytes are not those whose hash was asked for.
    #[error("the listing {hash} holds other bytes")]
    Damaged {
        /// Which.
        hash: Hash,
    },
}

const MAGIC: &[u8] = b"ftl-dir-1\n";

/// The canonical bytes of a directory.
pub(super) fn encode(dir: &Dir) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for (name, item) in dir.items() {
        let Entry { node, mtime_ns } = item.entry();
        put_bytes(&mut out, name);
        out.extend_from_slice(&mtime_ns.to_le_bytes());
        match node {
            Node::File { mode, size, hash } => {
                out.push(b'f');
                out.extend_from_slice(&mode.to_le_bytes());
                out.extend_from_slice(&size.to_le_bytes());
                out.extend_from_slice(&hash.0);
            }
            Node::Dir { mode } => {
                out.push(b'd');
                out.extend_from_slice(&mode.to_le_bytes());
                out.extend_from_slice(&item.dir().map_or_else(|| Dir::default().hash(), |dir| dir.hash()).0);
            }
            Node::Symlink { target } => {
                out.push(b'l');
                put_bytes(&mut out, target);
            }
        }
    }
    out
}

/// Reads the tree whose root has a hash. `fetch` hands in the bytes of a listing; directories that occur
/// more than once are asked for once, and shared.
///
/// # Errors
/// When `fetch` fails, or what it hands in is not that listing.
pub fn load<E: From<ListingError>>(
    root: Hash,
    fetch: &mut dyn FnMut(Hash) -> Result<Vec<u8>, E>,
) -> Result<Tree, E> {
    let mut loading = Loading { fetch, known: HashMap::new() };
    Ok(Tree::of_root(loading.dir(root, 0, 0)?.dir))
}

/// A name, what stands there, and the listing of what stands in it.
pub(super) type Line = (Vec<u8>, Entry, Option<Hash>);

/// Reads one listing.
///
/// # Errors
/// When the bytes are not what a directory's listing looks like.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Line>, ListingError> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(ListingError::Unknown { what: "version", at: 0 });
    }
    let mut lines: Vec<Line> = Vec::new();
    while reader.at < bytes.len() {
        let at = reader.at;
        let name = reader.take_bytes()?;
        RelPath::under(None, name).map_err(|_| ListingError::Name { at })?;
        if lines.last().is_some_and(|(last, ..)| last.as_slice() >= name) {
            return Err(ListingError::Order { at });
        }
        let mtime_ns = i64::from_le_bytes(reader.array()?);
        let kind = reader.array::<1>()?[0];
        let (node, inner) = match kind {
            b'f' => {
                let mode = reader.mode()?;
                let size = u64::from_le_bytes(reader.array()?);
                (Node::File { mode, size, hash: Hash(reader.array()?) }, None)
            }
            b'd' => {
                let mode = reader.mode()?;
                (Node::Dir { mode }, Some(Hash(reader.array()?)))
            }
            b'l' => (Node::Symlink { target: reader.take_bytes()?.to_vec() }, None),
            _ => return Err(ListingError::Unknown { what: "node kind", at: reader.at - 1 }),
        };
        lines.push((name.to_vec(), Entry { node, mtime_ns }, inner));
    }
    Ok(lines)
}

/// What a listing names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Named {
    /// Contents, with their sizes in bytes.
    pub contents: Vec<(Hash, u64)>,
    /// Listings of directories.
    pub listings: Vec<Hash>,
}

/// What a listing names, without reading what that names.
///
/// # Errors
/// When the bytes are not a listing.
pub fn named(bytes: &[u8]) -> Result<Named, ListingError> {
    named_unless(bytes, &mut |_| false)
}

/// The same unless it holds a name that is refused.
///
/// # Errors
/// When the bytes are not a listing, and for such a name.
pub fn named_unless(bytes: &[u8], refused: &mut dyn FnMut(&[u8]) -> bool) -> Result<Named, ListingError> {
    let mut named = Named::default();
    for (name, entry, inner) in parse(bytes)? {
        if refused(&name) {
            return Err(ListingError::Name { at: 0 });
        }
        if let Node::File { size, hash, .. } = entry.node {
            named.contents.push((hash, size));
        }
        named.listings.extend(inner);
    }
    Ok(named)
}

/// Reading under way.
struct Loading<'a, E> {
    fetch: &'a mut dyn FnMut(Hash) -> Result<Vec<u8>, E>,
    known: HashMap<Hash, Known>,
}

/// A directory that was read. It can occur again where all that is in it would be too deep.
#[derive(Clone)]
struct Known {
    dir: Arc<Dir>,
    /// Levels of names in it.
    height: usize,
    /// The longest path in it with a slash before each name, bytes.
    longest: usize,
}

/// Whether names may stand so deep, and paths with a slash before each name be so long.
fn fits(length: usize, depth: usize) -> Result<(), ListingError> {
    match length > RelPath::LONGEST + 1 || depth > RelPath::DEEPEST {
        true => Err(ListingError::Name { at: 0 }),
        false => Ok(()),
    }
}

impl<E: From<ListingError>> Loading<'_, E> {
    /// The directory with this listing, whose path is so long and so deep.
    fn dir(&mut self, hash: Hash, length: usize, depth: usize) -> Result<Known, E> {
        if let Some(known) = self.known.get(&hash) {
            fits(length + known.longest, depth + known.height)?;
            return Ok(known.clone());
        }
        let bytes = (self.fetch)(hash)?;
        if Hash::of(&bytes) != hash {
            return Err(ListingError::Damaged { hash }.into());
        }
        let (mut items, mut height, mut longest) = (Vec::new(), 0, 0);
        for (name, entry, inner) in parse(&bytes)? {
            let own = 1 + name.len();
            fits(length + own, depth + 1)?;
            let inner = inner.map(|inner| self.dir(inner, length + own, depth + 1)).transpose()?;
            let (levels, beneath) = inner.as_ref().map_or((0, 0), |inner| (inner.height, inner.longest));
            (height, longest) = (height.max(1 + levels), longest.max(own + beneath));
            items.push((name, entry, inner.map(|inner| inner.dir)));
        }
        let known = Known { dir: Arc::new(Dir::of(items)), height, longest };
        self.known.insert(hash, known.clone());
        Ok(known)
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ListingError> {
        let end = self.at.checked_add(length).ok_or(ListingError::Truncated { at: self.at })?;
        let taken = self.bytes.get(self.at..end).ok_or(ListingError::Truncated { at: self.at })?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ListingError> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| ListingError::Truncated { at })
    }

    /// Permission bits; a listing with others gives rights that no snapshot holds.
    fn mode(&mut self) -> Result<u32, ListingError> {
        let at = self.at;
        let mode = u32::from_le_bytes(self.array()?);
        if mode & !0o777 == 0 { Ok(mode) } else { Err(ListingError::Unknown { what: "mode", at }) }
    }

    fn take_bytes(&mut self) -> Result<&'a [u8], ListingError> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_tree() -> impl Strategy<Value = Tree> {
        let node = prop_oneof![
            (0u32..0o1000, 0u64..1 << 40, any::<[u8; 32]>()).prop_map(|(mode, size, hash)| Node::File {
                mode,
                size,
                hash: Hash(hash)
            }),
            (0u32..0o1000).prop_map(|mode| Node::Dir { mode }),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|target| Node::Symlink { target }),
        ];
        let name = proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'a'), 1u8..=255], 1..20)
            .prop_filter_map("not a path", |bytes| RelPath::new(bytes).ok());
        let entry = (node, any::<i64>()).prop_map(|(node, mtime_ns)| Entry { node, mtime_ns });
        proptest::collection::vec((name, entry), 0..20).prop_map(|entries| entries.into_iter().collect())
    }

    /// Every listing of a tree.
    fn listings(dir: &Dir, into: &mut HashMap<Hash, Vec<u8>>) {
        into.insert(dir.hash(), dir.listing());
        dir.items().filter_map(|(_, item)| item.dir()).for_each(|dir| listings(dir, into));
    }

    fn read_back(tree: &Tree) -> Result<Tree, ListingError> {
        let mut kept = HashMap::new();
        listings(tree.root(), &mut kept);
        load(tree.id().0, &mut |hash| Ok(kept[&hash].clone()))
    }

    proptest! {
        #[test]
        fn a_tree_is_read_back(tree in any_tree()) {
            prop_assert_eq!(read_back(&tree), Ok(tree));
        }

        #[test]
        fn hostile_listings_are_errors_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let with_magic = [MAGIC, &bytes].concat();
            if let Ok(lines) = parse(&with_magic)
                && lines.iter().all(|(.., inner)| inner.is_none())
            {
                prop_assert_eq!(Dir::of(lines.into_iter().map(|(name, entry, _)| (name, entry, None))).listing(), with_magic);
            }
        }
    }

    #[test]
    fn other_bytes_under_a_hash_are_an_error() {
        let hash = Dir::default().hash();
        let loaded = load::<ListingError>(hash, &mut |_| Ok(b"other".to_vec()));
        assert_eq!(loaded, Err(ListingError::Damaged { hash }));
    }

    #[test]
    fn directories_that_nest_without_end_are_an_error() {
        let mut dir = Arc::new(Dir::default());
        let mut kept = HashMap::from([(dir.hash(), dir.listing())]);
        for _ in 0..=RelPath::DEEPEST {
            let entry = Entry { node: Node::Dir { mode: 0o755 }, mtime_ns: 0 };
            dir = Arc::new(Dir::of([(b"d".to_vec(), entry, Some(dir))]));
            kept.insert(dir.hash(), dir.listing());
        }
        let loaded = load::<ListingError>(dir.hash(), &mut |hash| Ok(kept[&hash].clone()));
        assert!(matches!(loaded, Err(ListingError::Name { .. })), "{loaded:?}");
    }

    #[test]
    fn bits_beside_the_permissions_are_an_error() {
        for (mode, is_good) in [(0o777, true), (0o4755, false), (0o2755, false), (0o1777, false)] {
            for node in [Node::Dir { mode }, Node::File { mode, size: 0, hash: Hash::of(b"") }] {
                let bytes = Dir::of([(b"a".to_vec(), Entry { node, mtime_ns: 0 }, None)]).listing();
                assert_eq!(named(&bytes).is_ok(), is_good, "{mode:o}");
            }
        }
    }

    /// Two names for one chain of directories: as it is, and at the end of another chain.
    fn twice(name: &[u8], levels: usize) -> Result<Tree, ListingError> {
        let entry = Entry { node: Node::Dir { mode: 0o755 }, mtime_ns: 0 };
        let mut kept = HashMap::new();
        let mut within = |items: Vec<(&[u8], &Arc<Dir>)>| {
            let items =
                items.into_iter().map(|(name, dir)| (name.to_vec(), entry.clone(), Some(dir.clone())));
            let dir = Arc::new(Dir::of(items));
            kept.insert(dir.hash(), dir.listing());
            dir
        };
        let mut chain = within(Vec::new());
        for _ in 0..levels {
            chain = within(vec![(name, &chain)]);
        }
        let mut other = chain.clone();
        for _ in 0..levels {
            other = within(vec![(name, &other)]);
        }
        // The short one is read first.
        let root = within(vec![(b"a", &chain), (b"b", &other)]);
        load(root.hash(), &mut |hash| Ok(kept[&hash].clone()))
    }

    #[test]
    fn a_directory_that_occurs_again_must_fit_there_as_well() {
        assert!(twice(b"d", 127).is_ok());
        assert!(matches!(twice(b"d", 128), Err(ListingError::Name { .. })));
        assert!(matches!(twice(b"d", 200), Err(ListingError::Name { .. })));
        // Two bytes, and 255 for each level.
        let long = [b'd'; 254];
        assert!(twice(&long, 8).is_ok());
        assert!(matches!(twice(&long, 9), Err(ListingError::Name { .. })));
    }
}
