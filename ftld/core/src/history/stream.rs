//! Git's import stream: how a row of trees becomes a row of commits.
//!
//! Owns what changes from one tree to the next in Git's terms, and how commands are written so that no
//! path or message can be taken for a command. Must not know where contents are kept: the caller writes
//! them where [`Piece::Content`] stands.

use super::object::Id;
use crate::id::Hash;
use crate::refuse::{protected, secret_at_end};
use crate::tree::{Node, RelPath, Tree};

/// A piece of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// These bytes.
    Text(Vec<u8>),
    /// The length of a content in decimal digits, a line feed, the content, a line feed.
    Content {
        /// Which.
        hash: Hash,
        /// Its bytes.
        size: u64,
    },
}

/// A commit to be made.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The tree before.
    pub before: &'a Tree,
    /// The tree after it.
    pub after: &'a Tree,
    /// The message.
    pub message: &'a str,
    /// Seconds since the Unix epoch.
    pub seconds: u64,
}

/// Who makes the commits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Author {
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
}

/// The reference that a stream writes, in a repository of its own.
pub const TARGET: &str = "refs/heads/export";

/// Begins the stream: the reference stands for `base`, or for nothing.
#[must_use]
pub fn begin(base: Option<Id>) -> Vec<Piece> {
    let from = base.map(|id| format!("from {id}\n")).unwrap_or_default();
    vec![Piece::Text(format!("feature done\nreset {TARGET}\n{from}\n").into_bytes())]
}

/// One commit on top of what the reference stands for. Only what the step changes is written: files that
/// the commit below has and the trees do not, such as secrets, stay as they are. Empty directories are
/// nothing to Git.
#[must_use]
pub fn commit(step: &Step<'_>, author: &Author) -> Vec<Piece> {
    let plain = |text: &str| text.replace(|c: char| c.is_control() || matches!(c, '<' | '>'), " ");
    let (name, email) = (plain(&author.name), plain(&author.email));
    let message = format!("{}\n", step.message.replace('\0', "").trim_end());
    let head = format!(
        "commit {TARGET}\ncommitter {name} <{email}> {} +0000\ndata {}\n{message}\n",
        step.seconds,
        message.len()
    );
    let mut pieces = vec![Piece::Text(head.into_bytes())];
    // What goes away goes first: it may stand where something new wants to be.
    let gone = step.before.iter().filter(|(path, entry)| {
        !entry.node.is_dir() && step.after.get(path).is_none_or(|entry| entry.node.is_dir())
    });
    for (path, _) in gone.filter(|(path, _)| is_exported(path)) {
        pieces.push(Piece::Text([b"D ", quoted(&path).as_slice(), b"\n"].concat()));
    }
    for (path, entry) in step.after.iter().filter(|(path, _)| is_exported(path)) {
        let was = step.before.get(&path).and_then(|entry| as_git(&entry.node));
        let Some(is) = as_git(&entry.node).filter(|is| Some(is) != was.as_ref()) else { continue };
        let line = [format!("M {:o} inline ", is.0).as_bytes(), &quoted(&path), b"\ndata "].concat();
        pieces.push(Piece::Text(line));
        pieces.push(match &entry.node {
            Node::Symlink { target } => {
                Piece::Text([target.len().to_string().as_bytes(), b"\n", target, b"\n"].concat())
            }
            Node::File { hash, size, .. } => Piece::Content { hash: *hash, size: *size },
            Node::Dir { .. } => continue,
        });
    }
    pieces
}

/// Ends the stream; without it nothing is kept.
#[must_use]
pub fn end() -> Vec<Piece> {
    vec![Piece::Text(b"done\n".to_vec())]
}

/// What Git keeps of a node: its mode and content.
fn as_git(node: &Node) -> Option<(u32, &[u8])> {
    match node {
        Node::File { mode, hash, .. } if mode & 0o100 != 0 => Some((0o100_755, &hash.0)),
        Node::File { hash, .. } => Some((0o100_644, &hash.0)),
        Node::Symlink { target } => Some((0o120_000, target)),
        Node::Dir { .. } => None,
    }
}

/// Whether a path may be written into the project's repository at all.
fn is_exported(path: &RelPath) -> bool {
    let secret = |path: &RelPath, is_dir| secret_at_end(path, is_dir).is_some();
    path.components().all(|name| protected(name).is_none())
        && !secret(path, false)
        && !path.ancestors().any(|above| secret(&above, true))
}

/// A path in quotes, every byte that is not plain written as its octal digits.
fn quoted(path: &RelPath) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in path.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b' ' => text.push(*byte),
            other => text.extend(format!("\\{other:03o}").bytes()),
        }
    }
    text.push(b'"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Entry;

    fn tree(files: &[(&str, u32, &str)]) -> Tree {
        let entry = |text: &str, mode: u32| {
            let node = match mode {
                0 => Node::Symlink { target: text.into() },
                0o40755 => Node::Dir { mode: 0o755 },
                _ => Node::File { mode, size: text.len() as u64, hash: Hash::of(text.as_bytes()) },
            };
            Entry { node, mtime_ns: 0 }
        };
        files.iter().map(|(path, mode, text)| (RelPath::new(*path).unwrap(), entry(text, *mode))).collect()
    }

    fn text(pieces: &[Piece]) -> String {
        let written = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Piece::Content { size, .. } => format!("({size})\n"),
        });
        written.collect()
    }

    #[test]
    fn only_changes_are_written_and_nothing_can_be_taken_for_a_command() {
        let before = tree(&[("a", 0o644, "1"), ("b", 0o644, "1"), ("c", 0o644, "1"), ("s", 0o644, "x")]);
        let after = tree(&[
            ("a", 0o755, "1"),
            ("b", 0o600, "1"),
            ("c", 0o40755, ""),
            ("c/d\nD a", 0, "t\nD a"),
            (".env", 0o644, "s"),
            ("x/.GIT/config", 0o644, "s"),
            (".ssh/id", 0o644, "s"),
        ]);
        let step = Step { before: &before, after: &after, message: "Do\n\ndone\n", seconds: 5 };
        let author = Author { name: "A <x>\nb".into(), email: "a@b".into() };
        assert_eq!(
            text(&commit(&step, &author)),
            "commit refs/heads/export\ncommitter A  x  b <a@b> 5 +0000\ndata 9\nDo\n\ndone\n\nD \"c\"\nD \"s\"\n\
             M 100755 inline \"a\"\ndata (1)\nM 120000 inline \"c/d\\012D a\"\ndata 5\nt\nD a\n"
        );
    }
}
