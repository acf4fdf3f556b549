//! What of a snapshot a tester is told.
//!
//! Owns the choice: the layout, declarations of the sources that are nearest to the task, and an example of the
//! project's tests; lines that hold a credential are withheld. Reads the store, and nothing of the session's work
//! but what it is handed.

use std::collections::BTreeSet;
use std::io::Read as _;

use ftl_core::lint::{Added, Class, Known, lint};
use ftl_core::opinion::WITHHELD;
use ftl_core::tester::interface::{declared, is_test};
use ftl_core::tester::prompt::{Excerpt, Told};
use ftl_core::tree::{Node, RelPath, Tree};

use crate::snapshot::LocalStore;

/// Paths that are listed at most.
const LISTED: usize = 400;
/// Bytes of declarations, and of examples, that are shown.
const ROOM: usize = 60_000;
const EXAMPLES: usize = 12_000;
/// Sources that are looked into at most, and the longest of them, bytes.
const LOOKED_INTO: usize = 400;
const LONGEST: u64 = 256 * 1024;
/// Examples, and lines of each.
const SHOWN: usize = 2;
const LINES: usize = 120;

/// A tree and where its contents are.
pub(super) struct Sources<'a> {
    pub(super) tree: &'a Tree,
    pub(super) store: &'a LocalStore,
    /// Values that no model may see.
    pub(super) known: &'a Known,
}

impl Sources<'_> {
    /// What is told of all of it.
    pub(super) fn told(&self, task: &str) -> Told {
        let paths: Vec<String> = self.files();
        let layout: Vec<String> = paths.iter().take(LISTED).cloned().collect();
        let (tests, mut sources): (Vec<String>, Vec<String>) = paths
            .iter()
            .filter(|path| LocalName::of(path).is_ours())
            .cloned()
            .partition(|path| is_test(path));
        let task = task.to_lowercase();
        let far = |path: &String| (!LocalName::of(path).is_named_in(&task), path.matches('/').count());
        sources.sort_by_cached_key(far);
        let mut room = EXAMPLES;
        let examples = tests.iter().filter_map(|path| self.example(path, &mut room)).take(SHOWN).collect();
        Told {
            more: paths.len() - layout.len(),
            layout,
            interfaces: self.interfaces(sources.iter().map(String::as_str)),
            examples,
        }
    }

    /// The declarations of these files, as many as there is room for.
    pub(super) fn interfaces<'p>(&self, paths: impl Iterator<Item = &'p str>) -> Vec<Excerpt> {
        let mut room = ROOM;
        let mut found = Vec::new();
        for path in paths.take(LOOKED_INTO) {
            let Some((text, secret)) = self.text(path) else { continue };
            let lines = declared(path, &text);
            if let Some(excerpt) = fitting(path, lines, &secret, &mut room) {
                found.push(excerpt);
            }
        }
        found
    }

    fn example(&self, path: &str, room: &mut usize) -> Option<Excerpt> {
        let (text, secret) = self.text(path)?;
        let lines =
            text.lines().zip(1..).take(LINES).map(|(line, number)| (number, line.to_owned())).collect();
        fitting(path, lines, &secret, room)
    }

    /// The paths of all files that have a name in Unicode.
    fn files(&self) -> Vec<String> {
        let is_file = |node: &Node| matches!(node, Node::File { .. });
        let files = self.tree.iter().filter(|(_, entry)| is_file(&entry.node));
        files.filter_map(|(path, _)| String::from_utf8(path.as_bytes().to_vec()).ok()).collect()
    }

    /// A file's text, and its lines that may not be shown; nothing of one that holds a credential at no one line.
    fn text(&self, path: &str) -> Option<(String, BTreeSet<u64>)> {
        let at = RelPath::new(path).ok()?;
        let Node::File { size: 0..=LONGEST, hash, .. } = self.tree.get(&at)?.node else { return None };
        let mut text = String::new();
        self.store.open_blob(hash).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
        let found = lint(&at, b"", text.as_bytes(), &Added::All, self.known);
        let is_secret = |class| matches!(class, Class::Secret | Class::VendorKey);
        let secret: BTreeSet<u64> =
            found.iter().filter(|one| is_secret(one.class)).map(|one| one.line).collect();
        (!secret.contains(&0)).then_some((text, secret))
    }
}

/// Lines that are shown of a file, unless there is no room.
fn fitting(
    path: &str,
    lines: Vec<(u64, String)>,
    secret: &BTreeSet<u64>,
    room: &mut usize,
) -> Option<Excerpt> {
    let withhold = |(number, line): (u64, String)| match secret.contains(&number) {
        true => (number, WITHHELD.to_owned()),
        false => (number, line),
    };
    let lines: Vec<(u64, String)> = lines.into_iter().map(withhold).collect();
    let size = path.len() + lines.iter().map(|(_, line)| line.len() + 8).sum::<usize>();
    if lines.is_empty() || size > *room {
        return None;
    }
    *room -= size;
    Some(Excerpt { path: path.to_owned(), lines })
}

/// A path as a human would speak of it.
struct LocalName<'a>(&'a str);

impl<'a> LocalName<'a> {
    fn of(path: &'a str) -> Self {
        Self(path)
    }

    fn is_ours(&self) -> bool {
        let foreign =
            |dir: &str| matches!(dir, "node_modules" | "vendor" | "third_party" | "target" | "dist");
        !self.0.split('/').any(foreign)
    }

    /// Whether a task speaks of it, by the file's name or its stem.
    fn is_named_in(&self, task: &str) -> bool {
        let name = self.0.rsplit('/').next().unwrap_or(self.0);
        let stem = name.split('.').next().unwrap_or(name).to_lowercase();
        stem.len() > 2 && task.contains(&stem)
    }
}
