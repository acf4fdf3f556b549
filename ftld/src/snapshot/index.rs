//! What a project's files were when they were last read.
//!
//! Owns the decision whether a file must be read again, and the form on disk of what is known of files. An
//! index only saves work: one that is lost or damaged costs a full read and nothing else. Must not know when
//! one is written.

use std::io::{self, Write};
use std::num::NonZeroU64;

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::{Entry, Mark, Node, RelPath, Tree};
use rustix::fs::Stat;

use super::dir::{ctime_ns, mtime_ns};

const MAGIC: &[u8] = b"ftl-index-3\n";
/// A file changed this shortly before the walk began may have been changed again within the same tick of the
/// file system's clock.
const RACY_NS: i64 = 10_000_000;
/// The same on file systems that keep whole seconds, some of them only even ones.
const RACY_COARSE_NS: i64 = 2_100_000_000;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
}

/// The contents of a project's files by their stamps: what outlives a daemon of all that is seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Index {
    /// The root's device; another root makes every stamp worthless.
    pub(super) device: u64,
    /// The snapshot that was taken last.
    pub(super) last: Option<SnapshotId>,
    /// The marked files in it are known, and nothing else in it counts.
    pub(super) files: Tree,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: mtime_ns(stat),
            ctime_ns: ctime_ns(stat),
        }
    }

    /// What a tree keeps of it for a file read after `now_ns`. `None`: a later change may not show.
    pub(super) fn mark(&self, now_ns: i64) -> Option<Mark> {
        let whole = |time: i64| time.rem_euclid(1_000_000_000) == 0;
        let racy = if whole(self.mtime_ns) && whole(self.ctime_ns) { RACY_COARSE_NS } else { RACY_NS };
        let is_settled = self.mtime_ns.max(self.ctime_ns) < now_ns.saturating_sub(racy);
        let inode = NonZeroU64::new(self.inode).filter(|_| is_settled)?;
        Some(Mark { inode, ctime_ns: self.ctime_ns })
    }

    /// The content of a file that still has the stamp it was read with.
    pub(super) fn find(self, files: &Tree, path: &RelPath) -> Option<Hash> {
        let (entry, mark) = files.marked(path)?;
        let Node::File { size, hash, .. } = entry.node else { return None };
        let known = Self { inode: mark.inode.get(), size, mtime_ns: entry.mtime_ns, ctime_ns: mark.ctime_ns };
        (known == self).then_some(hash)
    }
}

/// Writes, and hashes what was written.
struct Summed<W> {
    into: W,
    sum: blake3::Hasher,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.into.write_all(bytes)
    }
}

impl Index {
    /// The contents of all files that are known.
    pub(super) fn hashes(&self) -> impl Iterator<Item = Hash> {
        self.files.marks().filter_map(|(_, entry, _)| entry.node.hash())
    }

    /// Writes the index with a hash at the end. Goes file by file: a large project's index is never in memory
    /// as a whole.
    pub(super) fn write(&self, into: impl Write) -> io::Result<()> {
        let mut out = Summed { into, sum: blake3::Hasher::new() };
        out.put(MAGIC)?;
        out.put(&self.device.to_le_bytes())?;
        out.put(&self.last.map_or([0; 32], |id| id.0.0))?;
        for (path, Entry { node, mtime_ns }, mark) in self.files.marks() {
            let Node::File { mode, size, hash } = node else { continue };
            out.put(&(path.as_bytes().len() as u32).to_le_bytes())?;
            out.put(path.as_bytes())?;
            out.put(&mode.to_le_bytes())?;
            out.put(&mark.inode.get().to_le_bytes())?;
            out.put(&size.to_le_bytes())?;
            out.put(&mtime_ns.to_le_bytes())?;
            out.put(&mark.ctime_ns.to_le_bytes())?;
            out.put(&hash.0)?;
        }
        let sum = *out.sum.finalize().as_bytes();
        out.into.write_all(&sum)?;
        out.into.flush()
    }

    /// Reads an index back; `None` when anything is wrong with it.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<32>()?;
        if Hash::of(body).0 != *sum {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let device = u64::from_le_bytes(take(&mut rest)?);
        let last = Some(SnapshotId(Hash(take(&mut rest)?))).filter(|id| id.0.0 != [0; 32]);
        let mut files = Tree::new();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(take(&mut rest)?) as usize;
            let (path, after) = rest.split_at_checked(length)?;
            rest = after;
            let path = RelPath::new(path).ok()?;
            let mode = u32::from_le_bytes(take(&mut rest)?);
            let inode = NonZeroU64::new(u64::from_le_bytes(take(&mut rest)?))?;
            let size = u64::from_le_bytes(take(&mut rest)?);
            let mtime_ns = i64::from_le_bytes(take(&mut rest)?);
            let ctime_ns = i64::from_le_bytes(take(&mut rest)?);
            let node = Node::File { mode, size, hash: Hash(take(&mut rest)?) };
            files.insert(&path, Entry { node, mtime_ns });
            files.mark(&path, Some(Mark { inode, ctime_ns }));
        }
        files.join(&Tree::new());
        Some(Self { device, last, files })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_500_000_000;

    fn stamp(mtime_ns: i64, ctime_ns: i64) -> Stamp {
        Stamp { inode: 7, size: 1, mtime_ns, ctime_ns }
    }

    fn put(files: &mut Tree, path: &RelPath, stamp: Stamp, content: &[u8]) {
        let node = Node::File { mode: 0o644, size: stamp.size, hash: Hash::of(content) };
        files.insert(path, Entry { node, mtime_ns: stamp.mtime_ns });
        files.mark(path, stamp.mark(NOW));
    }

    #[test]
    fn a_file_that_changed_just_before_the_walk_is_read_again() {
        let path = RelPath::new("a").unwrap();
        let seconds = NOW / 1_000_000_000 * 1_000_000_000;
        for (stamp, trusted) in [
            (stamp(NOW - 20_000_000, NOW - 20_000_000), true),
            (stamp(NOW - 5_000_000, NOW - 20_000_000), false),
            (stamp(NOW - 20_000_000, NOW - 5_000_000), false),
            (stamp(NOW + 5, NOW + 5), false),
            (stamp(seconds, seconds), false),
            (stamp(seconds - 3_000_000_000, seconds - 3_000_000_000), true),
        ] {
            let mut files = Tree::new();
            put(&mut files, &path, stamp, b"");
            assert_eq!(stamp.find(&files, &path).is_some(), trusted, "{stamp:?}");
        }
    }

    #[test]
    fn any_other_stamp_means_reading_again() {
        let path = RelPath::new("a").unwrap();
        let known = stamp(1, 2);
        let mut files = Tree::new();
        put(&mut files, &path, known, b"");
        assert_eq!(known.find(&files, &path), Some(Hash::of(b"")));
        for other in [
            Stamp { inode: 8, ..known },
            Stamp { size: 2, ..known },
            Stamp { mtime_ns: 3, ..known },
            Stamp { ctime_ns: 3, ..known },
        ] {
            assert_eq!(other.find(&files, &path), None, "{other:?}");
        }
    }

    #[test]
    fn an_index_is_read_back_and_a_damaged_one_is_none() {
        let mut index = Index { device: 3, last: Some(SnapshotId(Hash::of(b"x"))), files: Tree::new() };
        put(&mut index.files, &RelPath::new(&b"a\xff\n"[..]).unwrap(), stamp(1, 2), b"1");
        put(&mut index.files, &RelPath::new("b").unwrap(), stamp(3, 4), b"2");
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        let read = Index::from_bytes(&bytes).unwrap();
        assert_eq!(read.files.marks().collect::<Vec<_>>(), index.files.marks().collect::<Vec<_>>());
        assert_eq!(read, index);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Index::from_bytes(&damaged), None);
            assert_eq!(Index::from_bytes(&bytes[..at]), None);
        }
    }
}
