//! How trees of files travel over one stream of bytes, between the daemon and the keeper of a session's files.
//!
//! Owns the frames, their bytes, and the order that a tree's parts come in; [`words`] is what the two say beside
//! that. Must not know containers; [`read`] and [`write`] are the two ends on disk. A frame is a kind (one byte), a
//! length (four bytes, little endian) and that many bytes.
//!
//! A tree is its root, then what is beneath it: each directory before what it holds, names in the order of
//! their bytes. So nothing comes twice, and what was written is never returned to.
//!
//! ```text
//! daemon                      keeper
//!   Begin          ──────────>           once, first
//!                  <──────────  Ready
//!   Layer, parts   ──────────>           a tree that stays, made like another one where that is named
//!                  <──────────  Seal     of what it then finds on its disk
//!   Fill, parts    ──────────>           a tree of the session's own
//!                  <──────────  Done
//!   Check          ──────────>
//!                  <──────────  Seal, Absent
//!   Names, Remove  ──────────>
//!                  <──────────  Names, Done
//!   Rest           ──────────>           nothing is written any more
//!                  <──────────  Done
//!   Measure        ──────────>
//!                  <──────────  Used
//!   Read           ──────────>
//!                  <──────────  parts
//! ```
//!
//! The keeper answers `Failed` to what it cannot do. The end of the stream is its end.

pub mod read;
#[cfg(test)]
mod tests;
mod words;
pub mod write;

use crate::arrived::Arrived;
pub use words::{Answer, MOST_NODES, NODE_BYTES, Order, Place, Usage, understood, word};

/// The most bytes of a file in one frame.
pub const MAX_DATA: usize = 64 << 10;

/// Where the keeper has the trees that stay.
pub const LAYERS: &str = "/keep/layers";

/// Where the keeper has the trees of the session's own.
pub const SESSION: &str = "/keep/session";

/// The directory of a tree that stays, beneath the one of its name.
pub const TREE: &str = "tree";

/// The longest path, bytes.
pub const MAX_PATH: usize = 4095;

/// The longest name, bytes.
pub const MAX_NAME: usize = 255;

/// How many directories may stand within one another.
pub const MAX_DEPTH: usize = 300;

/// The longest frame, bytes.
pub const MAX_FRAME: usize = 1 << 20;

/// Bytes before a frame's own.
const HEADER: usize = 5;

/// Bits of a mode that travel.
const MODE: u32 = 0o7777;

/// One node of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where, beneath the root; empty for the root itself.
    pub path: Vec<u8>,
    /// What.
    pub node: Node,
    /// Permissions; 0 where they mean nothing.
    pub mode: u32,
    /// When it was changed, nanoseconds since the epoch; 0 where that means nothing.
    pub mtime_ns: i64,
    /// What an overlay noted on it.
    pub mark: Mark,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir,
    /// A file; so many bytes of it follow.
    File {
        /// Bytes.
        size: u64,
    },
    /// A file that is still as whoever reads this sent it.
    Same {
        /// Bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        target: Vec<u8>,
    },
    /// An overlay's note that what lies below is gone.
    Whiteout,
    /// A named pipe.
    Fifo,
    /// A socket; or something that does not travel, in whose place it stands.
    Socket,
}

/// What an overlay noted on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing that matters.
    None,
    /// It hides what is below it.
    Opaque,
    /// Something that no daemon asks for, by its name behind `user.overlay.`.
    Odd(Vec<u8>),
}

/// A part of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A node.
    Entry(Entry),
    /// The next bytes of the file just named; not empty.
    Data(Vec<u8>),
    /// So many bytes of it are zero; not 0.
    Hole(u64),
    /// What stands at this path is not part of the tree any more.
    Remove(Vec<u8>),
    /// That was all.
    End,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// An [`Order`] or an [`Answer`], as JSON.
    Word(Vec<u8>),
    /// A part of a tree.
    Part(Part),
}

/// Bytes that are no frame, or parts that are no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are no tree of files: {0}")]
pub struct Malformed(pub &'static str);

/// Makes frames of bytes as they arrive.
#[derive(Debug, Default)]
pub struct Decoder(Arrived);

/// Holds a tree's parts to their order.
#[derive(Debug, Default)]
pub struct Sequence {
    /// The directories that are open, the root first.
    open: Vec<Vec<u8>>,
    last: Vec<u8>,
    /// Bytes of the file just named that did not come yet.
    missing: u64,
    ended: bool,
}

/// What a tree holds, as one number; times do not count, which file systems keep differently well.
#[derive(Debug, Default)]
pub struct Seal {
    tree: blake3::Hasher,
    file: Option<blake3::Hasher>,
}

/// What a file holds, as one number.
pub type Content = [u8; 32];

// === impl Entry, Part ===

impl Entry {
    /// The same without its time.
    fn timeless(&self) -> Self {
        Self { mtime_ns: 0, ..self.clone() }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, size, target): (u8, u64, &[u8]) = match &self.node {
            Node::Dir => (0, 0, &[]),
            Node::File { size } => (1, *size, &[]),
            Node::Same { size } => (2, *size, &[]),
            Node::Symlink { target } => (3, 0, target),
            Node::Whiteout => (4, 0, &[]),
            Node::Fifo => (5, 0, &[]),
            Node::Socket => (6, 0, &[]),
        };
        out.push(kind);
        out.extend(self.mode.to_le_bytes());
        out.extend(self.mtime_ns.to_le_bytes());
        out.extend(size.to_le_bytes());
        let (mark, name): (u8, &[u8]) = match &self.mark {
            Mark::None => (0, &[]),
            Mark::Opaque => (1, &[]),
            Mark::Odd(name) => (2, name),
        };
        out.push(mark);
        for bytes in [name, &self.path, target] {
            out.extend((bytes.len() as u16).to_le_bytes());
            out.extend(bytes);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        let [kind] = take(&mut rest)?;
        let mode = u32::from_le_bytes(take(&mut rest)?);
        let mtime_ns = i64::from_le_bytes(take(&mut rest)?);
        let size = u64::from_le_bytes(take(&mut rest)?);
        let [mark] = take(&mut rest)?;
        let (name, path, target) = (counted(&mut rest)?, counted(&mut rest)?, counted(&mut rest)?);
        if !rest.is_empty() || mode & !MODE != 0 || name.len() > 64 || target.contains(&0) {
            return Err(Malformed("an entry"));
        }
        let node = match (kind, size, target.is_empty()) {
            (0, 0, true) => Node::Dir,
            (1, size, true) => Node::File { size },
            (2, size, true) => Node::Same { size },
            (3, 0, false) if target.len() <= MAX_PATH => Node::Symlink { target },
            (4, 0, true) => Node::Whiteout,
            (5, 0, true) => Node::Fifo,
            (6, 0, true) => Node::Socket,
            _ => return Err(Malformed("an entry")),
        };
        let mark = match (mark, name.is_empty()) {
            (0, true) => Mark::None,
            (1, true) => Mark::Opaque,
            (2, false) if name.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'.') => {
                Mark::Odd(name)
            }
            _ => return Err(Malformed("a mark")),
        };
        Ok(Self { path, node, mode, mtime_ns, mark })
    }
}

impl Part {
    /// Adds its frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry(entry) => put(out, 1, |out| entry.encode(out)),
            Self::Data(bytes) => put(out, 2, |out| out.extend(bytes)),
            Self::Hole(length) => put(out, 3, |out| out.extend(length.to_le_bytes())),
            Self::Remove(path) => put(out, 4, |out| out.extend(path)),
            Self::End => put(out, 5, |_| ()),
        }
    }
}

// === impl Decoder ===

impl Decoder {
    /// Takes bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// The next frame; `None` when more bytes are needed for one.
    ///
    /// # Errors
    /// When the bytes are none. Nothing that follows can be understood then.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        let rest = self.0.rest();
        let Some((&[kind, a, b, c, d], body)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > MAX_FRAME {
            return Err(Malformed("a length"));
        }
        let Some(payload) = body.get(..length) else { return Ok(None) };
        let frame = match (kind, payload) {
            (0, words) => Frame::Word(words.into()),
            (1, entry) => Frame::Part(Part::Entry(Entry::decode(entry)?)),
            (2, bytes @ [_, ..]) if bytes.len() <= MAX_DATA => Frame::Part(Part::Data(bytes.into())),
            (3, &[a, b, c, d, e, f, g, h]) if payload != [0; 8] => {
                Frame::Part(Part::Hole(u64::from_le_bytes([a, b, c, d, e, f, g, h])))
            }
            (4, path) => Frame::Part(Part::Remove(path.into())),
            (5, []) => Frame::Part(Part::End),
            _ => return Err(Malformed("a frame")),
        };
        self.0.take(HEADER + length);
        Ok(Some(frame))
    }
}

// === impl Sequence ===

impl Sequence {
    /// Takes note of the next part, and says how many directories are complete before it, the innermost
    /// first.
    ///
    /// # Errors
    /// When it cannot come now, or its path is none that can be beneath a root.
    pub fn take(&mut self, part: &Part) -> Result<usize, Malformed> {
        if self.ended {
            return Err(Malformed("more after the end"));
        }
        match part {
            Part::Data(bytes) => self.content(bytes.len() as u64),
            Part::Hole(length) => self.content(*length),
            _ if self.missing > 0 => Err(Malformed("a file that is cut short")),
            Part::Entry(entry) => {
                let left = self.enter(&entry.path, &entry.node)?;
                if let Node::File { size } = entry.node {
                    self.missing = size;
                }
                Ok(left)
            }
            Part::Remove(path) if !path.is_empty() => self.step(path),
            Part::End if !self.open.is_empty() => {
                self.ended = true;
                Ok(std::mem::take(&mut self.open).len())
            }
            Part::Remove(_) | Part::End => Err(Malformed("a tree without a root")),
        }
    }

    /// Bytes of the file just named that did not come yet.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Whether the tree is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ended
    }

    fn content(&mut self, length: u64) -> Result<usize, Malformed> {
        self.missing = self.missing.checked_sub(length).ok_or(Malformed("more of a file than was said"))?;
        Ok(0)
    }

    fn enter(&mut self, path: &[u8], node: &Node) -> Result<usize, Malformed> {
        let left = match (path.is_empty(), self.open.is_empty()) {
            (true, true) if *node == Node::Dir => 0,
            (false, false) => self.step(path)?,
            _ => return Err(Malformed("a tree without a root")),
        };
        if *node == Node::Dir {
            if self.open.len() > MAX_DEPTH {
                return Err(Malformed("directories too deep"));
            }
            self.open.push(path.to_vec());
        }
        Ok(left)
    }

    /// Goes on to a path.
    fn step(&mut self, path: &[u8]) -> Result<usize, Malformed> {
        let plain =
            |name: &[u8]| !matches!(name, b"" | b"." | b"..") && name.len() <= MAX_NAME && !name.contains(&0);
        if path.len() > MAX_PATH || !path.split(|byte| *byte == b'/').all(plain) {
            return Err(Malformed("a path"));
        }
        if !is_before(&self.last, path) {
            return Err(Malformed("paths out of order"));
        }
        let at = parent(path);
        let keep = self.open.iter().rposition(|dir| dir == at).ok_or(Malformed("a path in no directory"))?;
        let left = self.open.len() - keep - 1;
        self.open.truncate(keep + 1);
        self.last = path.to_vec();
        Ok(left)
    }
}

/// Whether one path comes before another one in a tree; the root comes before all.
#[must_use]
pub fn is_before(one: &[u8], other: &[u8]) -> bool {
    fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
        path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }
    names(one).lt(names(other))
}

/// The path of the directory that something stands in.
#[must_use]
pub fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(&[], |at| &path[..at])
}

/// The last name of a path.
#[must_use]
pub fn name(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(path, |at| &path[at + 1..])
}

// === impl Seal ===

impl Seal {
    /// Takes in the next part of a tree; gives what the file holds that it is the end of, when it is one's.
    pub fn take(&mut self, part: &Part) -> Option<Content> {
        let mut bytes = Vec::new();
        match part {
            Part::Data(_) | Part::Hole(_) => {
                part.encode(&mut bytes);
                self.file.get_or_insert_default().update(&bytes);
                None
            }
            Part::Entry(entry) => {
                let ended = self.end_file();
                Part::Entry(entry.timeless()).encode(&mut bytes);
                self.tree.update(&bytes);
                if let Node::File { .. } = entry.node {
                    self.file = Some(blake3::Hasher::default());
                }
                ended
            }
            Part::Remove(_) | Part::End => self.end_file(),
        }
    }

    /// Takes in a file of which it is known what it holds.
    pub fn take_known(&mut self, file: &Entry, content: &Content) -> Option<Content> {
        let ended = self.take(&Part::Entry(file.clone()));
        self.file = None;
        self.tree.update(content);
        ended
    }

    /// The number, in hexadecimal digits.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.end_file();
        self.tree.finalize().to_hex().to_string()
    }

    fn end_file(&mut self) -> Option<Content> {
        let content = *self.file.take()?.finalize().as_bytes();
        self.tree.update(&content);
        Some(content)
    }
}

fn put(out: &mut Vec<u8>, kind: u8, payload: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let at = out.len();
    out.extend([0; 4]);
    payload(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Malformed("an entry"))?;
    *rest = tail;
    Ok(*head)
}

fn counted(rest: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let length = usize::from(u16::from_le_bytes(take(rest)?));
    let (head, tail) = rest.split_at_checked(length).ok_or(Malformed("an entry"))?;
    *rest = tail;
    Ok(head.to_vec())
}
