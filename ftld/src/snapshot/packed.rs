//! One content in a pack: how a record looks.
//!
//! Owns the record's form, what is compressed, and what a reader checks. A record says by itself what it
//! holds, so that a pack without its index loses nothing. Must not know files.
//!
//! ```text
//! "FTLr"  encoding 1  0 0 0  length 4  stored 4  hash 32  check 8  the stored bytes
//! ```
//! Numbers are little-endian. `length` is the content's, `stored` that of the bytes in the record; `check` is
//! the beginning of BLAKE3 over all before it and the stored bytes.

use ftl_core::id::Hash;

const MAGIC: &[u8; 4] = b"FTLr";
/// Bytes before the stored ones.
pub(super) const HEADER: usize = 56;
/// Bytes that `check` covers.
const CHECKED: usize = 48;
const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// Higher levels save 4 % more of sources and cost a third of the speed.
const LEVEL: i32 = 1;
/// What is shorter does not shrink by more than zstd's own frame.
const SHORTEST: usize = 64;

/// What a record's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) hash: Hash,
    /// The content's length.
    pub(super) length: u32,
    /// Bytes that follow the header.
    pub(super) stored: u32,
    encoding: u8,
    check: [u8; 8],
}

/// The record of a content; `None` when it is too long for one.
pub(super) fn encode(hash: Hash, bytes: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(bytes.len()).ok()?;
    let small = (bytes.len() >= SHORTEST).then(|| zstd::bulk::compress(bytes, LEVEL).ok()).flatten();
    // What shrinks by less than a sixteenth is not worth the time to read it back.
    let small = small.filter(|small| small.len() <= bytes.len() / 16 * 15);
    let (encoding, stored) = small.as_deref().map_or((RAW, bytes), |small| (ZSTD, small));
    let mut out = Vec::with_capacity(HEADER + stored.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[encoding, 0, 0, 0]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&u32::try_from(stored.len()).ok()?.to_le_bytes());
    out.extend_from_slice(&hash.0);
    let check = check(&out, stored);
    out.extend_from_slice(&check);
    out.extend_from_slice(stored);
    Some(out)
}

/// Reads a header; `None` when there is none.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let known = bytes.get(..HEADER)?;
    let number = |at: usize| Some(u32::from_le_bytes(known.get(at..at + 4)?.try_into().ok()?));
    let encoding = known[4];
    let fits = &known[..4] == MAGIC && matches!(encoding, RAW | ZSTD) && known[5..8] == [0; 3];
    let (hash, check) = (Hash(known[16..CHECKED].try_into().ok()?), known[CHECKED..].try_into().ok()?);
    fits.then_some(())?;
    Some(Header { hash, length: number(8)?, stored: number(12)?, encoding, check })
}

/// Whether a whole record is as it was written.
pub(super) fn is_intact(record: &[u8]) -> bool {
    header(record).is_some_and(|header| {
        record.len() == HEADER + header.stored as usize
            && check(&record[..CHECKED], &record[HEADER..]) == header.check
    })
}

/// The content of a whole record; `None` when it is not what its hash says.
pub(super) fn decode(record: &[u8]) -> Option<Vec<u8>> {
    let header = header(record)?;
    let stored = record.get(HEADER..HEADER + header.stored as usize)?;
    let bytes = match header.encoding {
        RAW => stored.to_vec(),
        _ => zstd::bulk::decompress(stored, header.length as usize).ok()?,
    };
    (bytes.len() == header.length as usize && Hash::of(&bytes) == header.hash).then_some(bytes)
}

/// Where a record may begin at the earliest, from `at` on.
pub(super) fn next_candidate(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    rest.windows(MAGIC.len()).position(|window| window == MAGIC).map(|found| at + found)
}

fn check(head: &[u8], stored: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(stored);
    let mut check = [0; 8];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    check
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_gives_its_content_back_and_a_damaged_one_nothing(
            bytes in proptest::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..2000),
            at in any::<prop::sample::Index>(),
            flip in 1u8..
        ) {
            let mut record = encode(Hash::of(&bytes), &bytes).unwrap();
            prop_assert!(is_intact(&record));
            prop_assert_eq!(decode(&record), Some(bytes.clone()));
            let at = at.index(record.len());
            record[at] ^= flip;
            prop_assert!(!is_intact(&record));
        }

        #[test]
        fn hostile_bytes_are_no_record_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let with_magic = [MAGIC.as_slice(), &[ZSTD, 0, 0, 0], &bytes].concat();
            for bytes in [bytes, with_magic] {
                prop_assert!(!is_intact(&bytes));
                prop_assert_eq!(decode(&bytes), None);
            }
        }
    }

    #[test]
    fn what_shrinks_is_compressed_and_what_does_not_is_not() {
        let text = b"fn main() {}\n".repeat(100);
        assert!(encode(Hash::of(&text), &text).unwrap().len() < text.len() / 4);
        let noise: Vec<u8> = (0..40u64).flat_map(|n| Hash::of(&n.to_le_bytes()).0).collect();
        assert_eq!(encode(Hash::of(&noise), &noise).unwrap().len(), HEADER + noise.len());
    }
}
