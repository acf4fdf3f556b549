//! Where the contents of a complete pack are.
//!
//! Owns the index's form on disk and the lookup. Hashes are sorted; the first four bytes of each are kept in
//! memory (four bytes for each content), so that a content that is not there costs no read, and one that is
//! there costs one. An index is made from its pack and can be made again.
//!
//! ```text
//! "ftlidx1\n"  count 8  length of the pack 8  check 8  check of the entries 8
//! the first 4 bytes of each hash  ·  entries: hash 32, offset 8, stored 4, length 4
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ftl_core::id::Hash;

const MAGIC: &[u8; 8] = b"ftlidx1\n";
const HEAD: usize = 40;
const ENTRY: usize = 48;

/// Where a content lies in its pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// Bytes after the record's header.
    pub(super) stored: u32,
    /// The content's length.
    pub(super) length: u32,
}

/// An opened index.
#[derive(Debug)]
pub(super) struct PackIndex {
    file: File,
    starts: Vec<u32>,
    entries_check: [u8; 8],
}

/// The bytes of an index for these contents of a pack so long.
pub(super) fn encode(mut entries: Vec<(Hash, Place)>, pack_length: u64) -> Vec<u8> {
    entries.sort_by_key(|(hash, _)| *hash);
    let (mut starts, mut rest) = (Vec::new(), Vec::new());
    for (hash, place) in &entries {
        starts.extend_from_slice(&hash.0[..4]);
        rest.extend_from_slice(&hash.0);
        rest.extend_from_slice(&place.offset.to_le_bytes());
        rest.extend_from_slice(&place.stored.to_le_bytes());
        rest.extend_from_slice(&place.length.to_le_bytes());
    }
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    out.extend_from_slice(&pack_length.to_le_bytes());
    let head = check(&[&out, &starts]);
    out.extend_from_slice(&head);
    out.extend_from_slice(&check(&[&rest]));
    out.extend_from_slice(&starts);
    out.extend_from_slice(&rest);
    out
}

impl PackIndex {
    /// Opens the index of a pack so long; `None` when it is not that.
    pub(super) fn open(file: File, pack_length: u64) -> Option<Self> {
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).ok()?;
        let number = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let count = usize::try_from(number(8)?).ok()?;
        let wanted = count.checked_mul(ENTRY + 4)?.checked_add(HEAD)? as u64;
        let fits = &head[..8] == MAGIC && number(16)? == pack_length && file.metadata().ok()?.len() == wanted;
        fits.then_some(())?;
        let mut starts = vec![0; count * 4];
        file.read_exact_at(&mut starts, HEAD as u64).ok()?;
        (check(&[&head[..24], &starts]) == head[24..32]).then_some(())?;
        let entries_check = head[32..].try_into().ok()?;
        let starts = starts.chunks_exact(4).map(start_of).collect();
        Some(Self { file, starts, entries_check })
    }

    /// How many contents there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Where a content is.
    pub(super) fn find(&self, hash: Hash) -> io::Result<Option<Place>> {
        let start = start_of(&hash.0);
        let from = self.starts.partition_point(|known| *known < start);
        let same = self.starts.iter().skip(from).take_while(|known| **known == start).count();
        for at in from..from + same {
            let (found, place) = self.entry(at)?;
            if found == hash {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// All contents with their places, sorted by hash. Reads them at once: 48 bytes for each.
    pub(super) fn entries(&self) -> impl Iterator<Item = io::Result<(Hash, Place)>> + use<> {
        let mut rest = vec![0; self.len() * ENTRY];
        let read = self.file.read_exact_at(&mut rest, (HEAD + self.len() * 4) as u64);
        let count = if read.is_ok() { self.len() } else { 0 };
        let found = (0..count).map(move |at| Ok(parse(&rest[at * ENTRY..(at + 1) * ENTRY])));
        read.err().map(Err).into_iter().chain(found)
    }

    /// Whether the entries are as they were written. Reads all of them.
    pub(super) fn is_intact(&self) -> bool {
        let mut rest = vec![0; self.len() * ENTRY];
        let read = self.file.read_exact_at(&mut rest, (HEAD + self.len() * 4) as u64);
        read.is_ok() && check(&[&rest]) == self.entries_check
    }

    fn entry(&self, at: usize) -> io::Result<(Hash, Place)> {
        let mut entry = [0; ENTRY];
        self.file.read_exact_at(&mut entry, (HEAD + self.len() * 4 + at * ENTRY) as u64)?;
        Ok(parse(&entry))
    }
}

/// Reads an entry of 48 bytes.
fn parse(entry: &[u8]) -> (Hash, Place) {
    let number = |from: usize, length: usize| {
        entry[from..from + length].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let mut hash = [0; 32];
    hash.copy_from_slice(&entry[..32]);
    let (stored, length) = (number(40, 4) as u32, number(44, 4) as u32);
    (Hash(hash), Place { offset: number(32, 8), stored, length })
}

/// The number that the first four bytes are, in the order of hashes.
fn start_of(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

fn check(parts: &[&[u8]]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut check = [0; 8];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    check
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn opened(bytes: &[u8]) -> Option<PackIndex> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        PackIndex::open(file, 7)
    }

    #[test]
    fn every_content_is_found_and_no_other() {
        let place = |n: u32| Place { offset: u64::from(n) * 9, stored: n, length: n + 1 };
        let hash = |n: u32| Hash::of(&n.to_le_bytes());
        // Two that begin alike.
        let mut twin = hash(3);
        twin.0[31] ^= 1;
        let mut entries: Vec<_> = (0..100).map(|n| (hash(n), place(n))).collect();
        entries.push((twin, place(500)));
        let bytes = encode(entries.clone(), 7);
        let index = opened(&bytes).unwrap();
        for (hash, place) in &entries {
            assert_eq!(index.find(*hash).unwrap(), Some(*place));
        }
        assert!((200..400).all(|n| index.find(hash(n)).unwrap().is_none()));
        assert_eq!((index.len(), index.entries().count(), index.is_intact()), (101, 101, true));
    }

    #[test]
    fn an_index_of_another_pack_or_a_damaged_one_is_none() {
        let bytes = encode(vec![(Hash::of(b"a"), Place { offset: 8, stored: 1, length: 1 })], 7);
        assert!(opened(&encode(vec![], 8)).is_none());
        assert!(opened(&bytes[..bytes.len() - 1]).is_none());
        for at in 0..HEAD - 8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(opened(&damaged).is_none(), "{at}");
        }
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(!opened(&damaged).unwrap().is_intact());
    }
}
