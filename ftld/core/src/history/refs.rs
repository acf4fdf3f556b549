//! References: branches, tags and `HEAD`.
//!
//! Owns which names are references here and how the files that hold them are read. Names are checked before
//! anything is done with them: one with `..` would be a path out of its directory. Must not know files.

use serde::{Deserialize, Serialize};

use super::object::Id;

/// What is checked out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Head {
    /// A branch, which may have no commit yet: `refs/heads/main`.
    Branch(String),
    /// A commit.
    Detached(Id),
}

/// The longest name, in bytes.
const LONGEST: usize = 512;

/// Whether a name is a branch or a tag as Git would make it. Others, such as the stash, notes and
/// remote-tracking branches, are none of a session's business.
#[must_use]
pub fn is_shown(name: &str) -> bool {
    (name.starts_with("refs/heads/") || name.starts_with("refs/tags/")) && is_well_formed(name)
}

/// Whether a name is one that Git allows.
#[must_use]
pub fn is_well_formed(name: &str) -> bool {
    let forbidden =
        |c: char| c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let component = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && !part.ends_with('.')
            && !part.ends_with(".lock")
            && part.len() <= 200
    };
    name.len() <= LONGEST
        && !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && name != "@"
        && name.split('/').all(component)
}

/// Reads `HEAD`.
#[must_use]
pub fn head(text: &[u8]) -> Option<Head> {
    let text = text.trim_ascii();
    match text.strip_prefix(b"ref:") {
        Some(name) => {
            let name = std::str::from_utf8(name.trim_ascii()).ok()?;
            (name.starts_with("refs/heads/") && is_well_formed(name)).then(|| Head::Branch(name.to_owned()))
        }
        None => Id::from_hex(text).map(Head::Detached),
    }
}

/// Reads a reference's own file. One that leads to another reference is none.
#[must_use]
pub fn loose(text: &[u8]) -> Option<Id> {
    Id::from_hex(text.trim_ascii())
}

/// Reads the file of packed references. Lines that are none, and names that are not shown, are skipped.
pub fn packed(text: &[u8]) -> impl Iterator<Item = (String, Id)> + '_ {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let name = std::str::from_utf8(&line[space + 1..]).ok()?;
        let id = Id::from_hex(&line[..space])?;
        is_shown(name).then(|| (name.to_owned(), id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_would_not_make_are_none() {
        for name in ["refs/heads/main", "refs/tags/v1.0", "refs/heads/a/b-c", "refs/heads/Ünï"] {
            assert!(is_shown(name), "{name}");
        }
        for name in [
            "refs/stash",
            "refs/notes/commits",
            "refs/remotes/origin/main",
            "refs/heads/",
            "refs/heads/../../x",
            "refs/heads/a..b",
            "refs/heads//a",
            "refs/heads/.a",
            "refs/heads/-a",
            "refs/heads/a.lock",
            "refs/heads/a/b.lock/c",
            "refs/heads/a.",
            "refs/heads/a b",
            "refs/heads/a\nb",
            "refs/heads/a@{1}",
            "refs/heads/a\u{7f}",
            "refs/heads/a[b",
        ] {
            assert!(!is_shown(name), "{name:?}");
        }
    }

    #[test]
    fn files_of_references_are_read() {
        const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let id = Id::from_hex(ID.as_bytes()).unwrap();
        assert_eq!(head(b"ref: refs/heads/main\n"), Some(Head::Branch("refs/heads/main".into())));
        assert_eq!(head(format!("{ID}\n").as_bytes()), Some(Head::Detached(id)));
        for bad in ["ref: refs/heads/../../../etc/passwd", "ref: HEAD", "ref: refs/tags/v1", "", "x"] {
            assert_eq!(head(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(loose(b"ref: refs/heads/main\n"), None);
        let text = format!(
            "# pack-refs with: peeled\n{ID} refs/heads/a\n^{ID}\n{ID} refs/heads/../b\nbad refs/heads/c\n\
             {ID} refs/remotes/o/a\n{ID} refs/tags/t\n"
        );
        let names: Vec<String> = packed(text.as_bytes()).map(|(name, _)| name).collect();
        assert_eq!(names, ["refs/heads/a", "refs/tags/t"]);
    }
}
