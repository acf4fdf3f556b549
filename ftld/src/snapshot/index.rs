//! What a project's files were when they were last read.
//!
//! Owns the decision whether a file must be read again, and the index's form on disk. An index only saves
//! work: one that is lost or damaged costs a full read and nothing else.

use std::collections::HashMap;

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::RelPath;
use rustix::fs::Stat;

use super::dir::{ctime_ns, mtime_ns};

const MAGIC: &[u8] = b"ftl-index-2\n";
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

/// The contents of a project's files by their stamps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Index {
    /// The root's device; another root makes every stamp worthless.
    pub(super) device: u64,
    /// The snapshot that was taken last.
    pub(super) last: Option<SnapshotId>,
    files: HashMap<RelPath, (Stamp, Hash)>,
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

    /// Whether every later change must show, for a file read after `now_ns`.
    pub(super) fn is_settled(&self, now_ns: i64) -> bool {
        let whole = |time: i64| time.rem_euclid(1_000_000_000) == 0;
        let racy = if whole(self.mtime_ns) && whole(self.ctime_ns) { RACY_COARSE_NS } else { RACY_NS };
        self.mtime_ns.max(self.ctime_ns) < now_ns.saturating_sub(racy)
    }
}

impl Index {
    /// What is known of a root on this device: nothing yet.
    pub(super) fn new(device: u64) -> Self {
        Self { device, ..Self::default() }
    }

    /// The content of a file that still has the stamp it was read with.
    pub(super) fn get(&self, path: &RelPath, stamp: Stamp) -> Option<Hash> {
        self.files.get(path).filter(|(known, _)| *known == stamp).map(|(_, hash)| *hash)
    }

    /// Remembers a file read after `now_ns`, if its stamp can be trusted later; says whether it can.
    pub(super) fn insert(&mut self, path: RelPath, stamp: Stamp, hash: Hash, now_ns: i64) -> bool {
        let is_settled = stamp.is_settled(now_ns);
        match is_settled {
            true => drop(self.files.insert(path, (stamp, hash))),
            false => drop(self.files.remove(&path)),
        }
        is_settled
    }

    /// Forgets a file.
    pub(super) fn remove(&mut self, path: &RelPath) {
        self.files.remove(path);
    }

    /// The contents of all files.
    pub(super) fn hashes(&self) -> impl Iterator<Item = Hash> {
        self.files.values().map(|(_, hash)| *hash)
    }

    /// The index as bytes, with a hash at the end.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.device.to_le_bytes());
        out.extend(self.last.map_or([0; 32], |id| id.0.0));
        for (path, (stamp, hash)) in &self.files {
            out.extend((path.as_bytes().len() as u32).to_le_bytes());
            out.extend(path.as_bytes());
            out.extend(stamp.inode.to_le_bytes());
            out.extend(stamp.size.to_le_bytes());
            out.extend(stamp.mtime_ns.to_le_bytes());
            out.extend(stamp.ctime_ns.to_le_bytes());
            out.extend(hash.0);
        }
        out.extend(Hash::of(&out).0);
        out
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
        let mut files = HashMap::new();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(take(&mut rest)?) as usize;
            let (path, after) = rest.split_at_checked(length)?;
            rest = after;
            let stamp = Stamp {
                inode: u64::from_le_bytes(take(&mut rest)?),
                size: u64::from_le_bytes(take(&mut rest)?),
                mtime_ns: i64::from_le_bytes(take(&mut rest)?),
                ctime_ns: i64::from_le_bytes(take(&mut rest)?),
            };
            files.insert(RelPath::new(path).ok()?, (stamp, Hash(take(&mut rest)?)));
        }
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
            let mut index = Index::default();
            index.insert(path.clone(), stamp, Hash::of(b""), NOW);
            assert_eq!(index.get(&path, stamp).is_some(), trusted, "{stamp:?}");
        }
    }

    #[test]
    fn any_other_stamp_means_reading_again() {
        let path = RelPath::new("a").unwrap();
        let known = stamp(1, 2);
        let mut index = Index::default();
        index.insert(path.clone(), known, Hash::of(b""), NOW);
        for other in [
            Stamp { inode: 8, ..known },
            Stamp { size: 2, ..known },
            Stamp { mtime_ns: 3, ..known },
            Stamp { ctime_ns: 3, ..known },
        ] {
            assert_eq!(index.get(&path, other), None, "{other:?}");
        }
    }

    #[test]
    fn an_index_is_read_back_and_a_damaged_one_is_none() {
        let mut index = Index::new(3);
        index.last = Some(SnapshotId(Hash::of(b"x")));
        index.insert(RelPath::new(&b"a\xff\n"[..]).unwrap(), stamp(1, 2), Hash::of(b"1"), NOW);
        index.insert(RelPath::new("b").unwrap(), stamp(3, 4), Hash::of(b"2"), NOW);
        let bytes = index.to_bytes();
        assert_eq!(Index::from_bytes(&bytes), Some(index));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Index::from_bytes(&damaged), None);
            assert_eq!(Index::from_bytes(&bytes[..at]), None);
        }
    }
}
