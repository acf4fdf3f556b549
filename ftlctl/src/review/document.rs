//! The diff that is looked at: entries as they came, in the order in which a human should see them.
//!
//! Owns which entries deserve a look first, and the counts. Must not know what was chosen.

use std::collections::{BTreeMap, HashMap, HashSet};

use ftl_proto::v1;

/// Where in the list an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Section {
    /// It deserves a look by itself.
    Look,
    /// Everything else that can be applied.
    Changes,
    /// Never applied.
    Refused,
}

/// A row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    /// The heading of a section, with how many entries it has.
    Section(Section, usize),
    /// A directory with its path and how many entries stand beneath it.
    Directory(Vec<u8>, usize),
    /// An entry by its place in the diff; whether its directory stands above it.
    File(usize, bool),
}

/// What the diff is together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Entries that can be applied.
    pub(crate) files: u64,
    /// Lines added.
    pub(crate) added: u64,
    /// Lines removed.
    pub(crate) removed: u64,
    /// Entries that deserve a look.
    pub(crate) risky: u64,
    /// Entries that are refused.
    pub(crate) refused: u64,
}

/// The diff of a session.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// What it is of.
    pub(crate) header: v1::DiffHeader,
    /// Its entries, in the order in which they came.
    pub(crate) entries: Vec<v1::DiffEntry>,
    /// What it is together.
    pub(crate) counts: Counts,
    /// Whether all of it has come.
    pub(crate) is_complete: bool,
    places: HashMap<Vec<u8>, usize>,
    /// New directories that something new beneath them brings.
    implied: HashSet<usize>,
    /// Where files went that are found under another name, by their old paths.
    moved: HashMap<Vec<u8>, usize>,
}

// === impl Document ===

impl Document {
    /// A diff of which only the header has come.
    pub(crate) fn new(header: v1::DiffHeader) -> Self {
        Self { header, ..Self::default() }
    }

    /// Takes one more entry.
    pub(crate) fn push(&mut self, entry: v1::DiffEntry) {
        let counts = &mut self.counts;
        match section(&entry) {
            Section::Refused => counts.refused += 1,
            section => {
                counts.files += 1;
                counts.risky += u64::from(section == Section::Look);
            }
        }
        counts.added += entry.added_lines;
        counts.removed += entry.removed_lines;
        if section(&entry) != Section::Refused && entry.after.is_some() {
            self.imply(&entry.path);
        }
        if !entry.renamed_from.is_empty() {
            self.moved.insert(entry.renamed_from.clone(), self.entries.len());
        }
        self.places.insert(entry.path.clone(), self.entries.len());
        self.entries.push(entry);
    }

    /// A new directory precedes what is beneath it, and needs no decision of its own then.
    fn imply(&mut self, path: &[u8]) {
        let mut path = split(path).0;
        while !path.is_empty() {
            if let Some(place) = self.place(path)
                && is_new_directory(&self.entries[place])
                && self.implied.insert(place)
            {
                self.counts.files -= 1;
                self.counts.risky -= u64::from(section(&self.entries[place]) == Section::Look);
            }
            path = split(path).0;
        }
    }

    /// Whether an entry comes with what is beneath it, and is not listed.
    pub(crate) fn is_implied(&self, place: usize) -> bool {
        self.implied.contains(&place)
    }

    /// The path under which a file is found that is gone at this one.
    pub(crate) fn moved_to(&self, path: &[u8]) -> Option<&[u8]> {
        let place = self.moved.get(path)?;
        self.entries.get(*place).map(|entry| entry.path.as_slice())
    }

    /// The entry of a file's other name, when it is found under another one: where it went, or where it was.
    pub(crate) fn other_name(&self, entry: &v1::DiffEntry) -> Option<&v1::DiffEntry> {
        let place = match entry.renamed_from.is_empty() {
            true => self.moved.get(&entry.path).copied(),
            false => self.place(&entry.renamed_from),
        };
        self.entries.get(place?)
    }

    /// The place of a path.
    pub(crate) fn place(&self, path: &[u8]) -> Option<usize> {
        self.places.get(path).copied()
    }

    /// The rows of the list: what deserves a look first and by itself, the rest by directory.
    pub(crate) fn rows(&self, folded: &HashSet<Vec<u8>>) -> Vec<Row> {
        let mut sections: BTreeMap<Section, Vec<usize>> = BTreeMap::new();
        for (place, entry) in self.entries.iter().enumerate().filter(|(place, _)| !self.is_implied(*place)) {
            sections.entry(section(entry)).or_default().push(place);
        }
        let mut rows = Vec::new();
        for (section, mut places) in sections {
            rows.push(Row::Section(section, places.len()));
            if section != Section::Changes {
                places.sort_by(|a, b| self.entries[*a].path.cmp(&self.entries[*b].path));
                rows.extend(places.into_iter().map(|place| Row::File(place, false)));
                continue;
            }
            let mut directories: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
            for place in places {
                directories.entry(split(&self.entries[place].path).0).or_default().push(place);
            }
            for (directory, mut places) in directories {
                places.sort_by(|a, b| self.entries[*a].path.cmp(&self.entries[*b].path));
                let is_top = directory.is_empty();
                if !is_top {
                    rows.push(Row::Directory(directory.to_vec(), places.len()));
                }
                if !folded.contains(directory) {
                    rows.extend(places.into_iter().map(|place| Row::File(place, !is_top)));
                }
            }
        }
        rows
    }
}

/// Whether an entry is a directory.
pub(crate) fn is_directory(entry: &v1::DiffEntry) -> bool {
    entry.after.as_ref().or(entry.before.as_ref()).is_some_and(|node| node.r#type == "directory")
}

fn is_new_directory(entry: &v1::DiffEntry) -> bool {
    entry.before.is_none() && is_directory(entry) && section(entry) != Section::Refused
}

/// Where an entry belongs.
pub(crate) fn section(entry: &v1::DiffEntry) -> Section {
    if entry.kind() == v1::EntryKind::Refused {
        Section::Refused
    } else if entry.needs_naming || !entry.risks.is_empty() || entry.findings.iter().any(|one| one.holds) {
        Section::Look
    } else {
        Section::Changes
    }
}

/// A path's directory and its name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// Whether a path is another one or beneath it.
pub(crate) fn is_beneath(path: &[u8], top: &[u8]) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, risk: &str, kind: v1::EntryKind) -> v1::DiffEntry {
        let risks = if risk.is_empty() { Vec::new() } else { vec![risk.to_owned()] };
        v1::DiffEntry { path: path.into(), kind: kind.into(), risks, added_lines: 2, ..Default::default() }
    }

    #[test]
    fn what_deserves_a_look_stands_first() {
        use v1::EntryKind::{Added, Modified, Refused};
        let mut document = Document::default();
        for (path, risk, kind) in [
            ("a/x", "", Modified),
            ("a/y", "executable", Added),
            (".git/config", "", Refused),
            ("top", "", Modified),
            ("a/b/z", "", Modified),
            ("a/w", "", Modified),
        ] {
            document.push(entry(path, risk, kind));
        }
        let shown = |folded: &[&str]| -> Vec<String> {
            let folded = folded.iter().map(|path| path.as_bytes().to_vec()).collect();
            let rows = document.rows(&folded).into_iter().map(|row| match row {
                Row::Section(section, count) => format!("{section:?} {count}"),
                Row::Directory(path, count) => format!("{}/ {count}", String::from_utf8_lossy(&path)),
                Row::File(place, is_inside) => {
                    let path = String::from_utf8_lossy(&document.entries[place].path).into_owned();
                    if is_inside { format!("  {path}") } else { path }
                }
            });
            rows.collect()
        };
        assert_eq!(
            shown(&[]),
            [
                "Look 1",
                "a/y",
                "Changes 4",
                "top",
                "a/ 2",
                "  a/w",
                "  a/x",
                "a/b/ 1",
                "  a/b/z",
                "Refused 1",
                ".git/config"
            ]
        );
        assert!(!shown(&["a"]).contains(&"  a/w".to_owned()));
        assert_eq!(document.counts, Counts { files: 5, added: 12, removed: 0, risky: 1, refused: 1 });
        assert_eq!(document.place(b"top"), Some(3));
    }

    #[test]
    fn a_new_directory_comes_with_what_is_beneath_it() {
        use v1::EntryKind::Added;
        let node = |kind: &str| Some(v1::Node { r#type: kind.into(), ..Default::default() });
        let mut document = Document::default();
        for (path, risk, kind) in [
            ("d", "", "directory"),
            ("d/e", "ci", "directory"),
            ("empty", "", "directory"),
            ("d/e/f", "", "file"),
        ] {
            document.push(v1::DiffEntry { after: node(kind), ..entry(path, risk, Added) });
        }
        assert_eq!((document.counts.files, document.counts.risky), (2, 0));
        let rows = document.rows(&HashSet::new());
        let files: Vec<_> = rows.iter().filter(|row| matches!(row, Row::File(..))).collect();
        assert_eq!(files, [&Row::File(2, false), &Row::File(3, true)]);
    }

    #[test]
    fn a_finding_that_holds_deserves_a_look() {
        let mut one = entry("a", "", v1::EntryKind::Modified);
        one.findings.push(v1::Finding { holds: false, ..Default::default() });
        assert_eq!(section(&one), Section::Changes);
        one.findings[0].holds = true;
        assert_eq!(section(&one), Section::Look);
    }
}
