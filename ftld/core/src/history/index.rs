//! Git's index: which files a working tree has, and how each looked when Git saw it last.
//!
//! Owns its format: versions 2 to 4 are read, 2 and 3 written. A file whose size and time are those of the
//! index need not be read to know that it is unchanged. Must not know files.

use std::collections::BTreeMap;

use super::object::{Format, Id};
use crate::tree::{Node, RelPath, Tree};

/// A file of an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Where.
    pub path: RelPath,
    /// The mode as Git writes it.
    pub mode: u32,
    /// Its content.
    pub id: Id,
    /// Whether the working tree does not have it and need not.
    pub skipped: bool,
    /// How it looked; `None` means that Git has to look itself.
    pub seen: Option<Seen>,
}

/// How a file looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Modification time, seconds since the Unix epoch, the lower 32 bits.
    pub seconds: u32,
    /// And nanoseconds.
    pub nanoseconds: u32,
    /// Bytes, the lower 32 bits.
    pub size: u32,
}

const NAME_BITS: u16 = 0x0fff;
const STAGE_BITS: u16 = 0x3000;
const EXTENDED: u16 = 0x4000;
const SKIPPED: u16 = 0x4000;
/// Bytes before an entry's id.
const STAT: usize = 40;

impl Listed {
    /// A file that Git has not looked at. Modes are made ones that an index may hold.
    #[must_use]
    pub fn new(path: RelPath, mode: u32, id: Id, skipped: bool) -> Self {
        let mode = match mode {
            0o120_000 | 0o160_000 => mode,
            other if other & 0o111 != 0 => 0o100_755,
            _ => 0o100_644,
        };
        Self { path, mode, id, skipped, seen: None }
    }
}

/// Fills in how files look, where `theirs`, an index of the project, says that a file of `base` has the
/// content it should have.
pub fn fill(files: &mut [Listed], theirs: &[Listed], base: &Tree) {
    let theirs: BTreeMap<&RelPath, &Listed> = theirs.iter().map(|listed| (&listed.path, listed)).collect();
    for file in files {
        file.seen = base.get(&file.path).and_then(|entry| {
            let (size, executable) = match &entry.node {
                Node::File { size, mode, .. } => (*size, mode & 0o100 != 0),
                Node::Symlink { target } => (target.len() as u64, false),
                Node::Dir { .. } => return None,
            };
            let is_link = matches!(entry.node, Node::Symlink { .. });
            let expected = if is_link { 0o120_000 } else { 0o100_644 | if executable { 0o111 } else { 0 } };
            let seen = Seen {
                seconds: entry.mtime_ns.div_euclid(1_000_000_000) as u32,
                nanoseconds: entry.mtime_ns.rem_euclid(1_000_000_000) as u32,
                size: size as u32,
            };
            let known = theirs.get(&file.path)?;
            let same = known.seen == Some(seen) && known.id == file.id && file.mode == expected;
            same.then_some(seen)
        });
    }
}

/// Writes an index. The files are sorted by path.
#[must_use]
pub fn render(files: &[Listed], format: Format) -> Vec<u8> {
    let version: u32 = if files.iter().any(|file| file.skipped) { 3 } else { 2 };
    let mut bytes = b"DIRC".to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend(u32::try_from(files.len()).unwrap_or(u32::MAX).to_be_bytes());
    for file in files {
        let start = bytes.len();
        let seen = file.seen.unwrap_or(Seen { seconds: 0, nanoseconds: 0, size: 0 });
        let stat = [0, 0, seen.seconds, seen.nanoseconds, 0, 0, file.mode, 0, 0, seen.size];
        stat.iter().for_each(|word: &u32| bytes.extend(word.to_be_bytes()));
        bytes.extend(file.id.as_bytes());
        let name = file.path.as_bytes();
        let length = u16::try_from(name.len()).unwrap_or(NAME_BITS).min(NAME_BITS);
        bytes.extend((length | if file.skipped { EXTENDED } else { 0 }).to_be_bytes());
        if file.skipped {
            bytes.extend(SKIPPED.to_be_bytes());
        }
        bytes.extend(name);
        let padding = 8 - (bytes.len() - start) % 8;
        bytes.extend(std::iter::repeat_n(0, padding));
    }
    let sum = format.hash(&bytes);
    bytes.extend(sum.as_bytes());
    bytes
}

/// Reads an index as far as it lists files that are not in conflict. `None` when it cannot be read.
#[must_use]
pub fn parse(bytes: &[u8], format: Format) -> Option<Vec<Listed>> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let version = word(4)?;
    if bytes.get(..4)? != b"DIRC" || !(2..=4).contains(&version) {
        return None;
    }
    let (mut files, mut at, mut name) = (Vec::new(), 12, Vec::new());
    for _ in 0..word(8)? {
        let start = at;
        let id = Id::from_bytes(bytes.get(at + STAT..at + STAT + format.width())?)?;
        let flags = half(at + STAT + format.width())?;
        let mut rest = at + STAT + format.width() + 2;
        let mut skipped = false;
        if flags & EXTENDED != 0 {
            skipped = half(rest)? & SKIPPED != 0;
            rest += 2;
        }
        if version == 4 {
            let (cut, after) = varint(bytes, rest)?;
            name.truncate(name.len().checked_sub(cut)?);
            rest = after;
        } else {
            name.clear();
        }
        let length = bytes.get(rest..)?.iter().position(|byte| *byte == 0)?;
        name.extend(&bytes[rest..rest + length]);
        let end = rest + length;
        at = if version == 4 { end + 1 } else { start + ((end - start) / 8 + 1) * 8 };
        let seen =
            Seen { seconds: word(start + 8)?, nanoseconds: word(start + 12)?, size: word(start + 36)? };
        let (Ok(path), 0) = (RelPath::new(name.as_slice()), flags & STAGE_BITS) else { continue };
        files.push(Listed { path, mode: word(start + 24)?, id, skipped, seen: Some(seen) });
    }
    Some(files)
}

/// A number of variable length, and where it ends.
fn varint(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut value = 0usize;
    loop {
        let byte = *bytes.get(at)?;
        value = value.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
        at += 1;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
        value = value.checked_add(1)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Hash;
    use crate::tree::Entry;

    fn listed(path: &str, skipped: bool, seen: Option<Seen>) -> Listed {
        Listed {
            seen,
            ..Listed::new(RelPath::new(path).unwrap(), 0o100_644, Format::Sha1.hash(b"x"), skipped)
        }
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let seen = Some(Seen { seconds: 7, nanoseconds: 8, size: 9 });
        let files = [listed("a", false, seen), listed("dir/bcdefgh", true, seen), listed("e", false, seen)];
        for files in [&files[..1], &files[..]] {
            let bytes = render(files, Format::Sha1);
            assert_eq!(parse(&bytes, Format::Sha1).unwrap(), files);
        }
    }

    #[test]
    fn a_file_is_known_only_when_everything_agrees() {
        let file = |size, mode| Node::File { mode, size, hash: Hash::of(b"") };
        let base = |node| Tree::from([(RelPath::new("a").unwrap(), Entry { node, mtime_ns: 7_000_000_008 })]);
        let seen = Some(Seen { seconds: 7, nanoseconds: 8, size: 9 });
        let known = |theirs: Listed, node| {
            let mut files = [listed("a", false, None)];
            fill(&mut files, &[theirs], &base(node));
            files[0].seen.is_some()
        };
        assert!(known(listed("a", false, seen), file(9, 0o644)));
        assert!(!known(listed("a", false, seen), file(8, 0o644)));
        assert!(!known(listed("a", false, seen), file(9, 0o755)));
        assert!(!known(listed("b", false, seen), file(9, 0o644)));
        let other = Listed { id: Format::Sha1.hash(b"y"), ..listed("a", false, seen) };
        assert!(!known(other, file(9, 0o644)));
        let later = Some(Seen { seconds: 6, nanoseconds: 8, size: 9 });
        assert!(!known(listed("a", false, later), file(9, 0o644)));
        assert!(!known(listed("a", false, seen), Node::Dir { mode: 0o755 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            version in 0u8..6,
            count in any::<u16>(),
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let [high, low] = count.to_be_bytes();
            let index = [b"DIRC\0\0\0".as_slice(), &[version, 0, 0, high, low], &bytes].concat();
            let _ = (parse(&index, Format::Sha1), parse(&index, Format::Sha256));
        }
    }
}
