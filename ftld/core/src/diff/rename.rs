//! Files that are found under another name.
//!
//! Owns which deleted file a new one is shown as having been. It is a way to show two changes: each path is
//! still approved for itself. Must not know where contents come from; it asks for few of them, whatever the
//! number of changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{After, Change};
use crate::id::Hash;
use crate::tree::{Node, RelPath};

/// How much of the larger file must be in the smaller one, in percent.
const ENOUGH: u64 = 50;
/// Deleted and new files whose contents are compared, all with all, at most: this many of each.
const COMPARED: usize = 200;
/// Bytes of a file that is compared, at most.
const LARGEST: u64 = 1 << 20;
/// Bytes of contents that are asked for, at most.
const BUDGET: u64 = 32 << 20;
/// Bytes that count as one line at most, for files without lines.
const PIECE: usize = 64;

/// What a new file was before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rename {
    /// The deleted path.
    pub from: RelPath,
    /// How much of the content is the same, in percent; 100 when all of it is.
    pub similarity: u8,
}

/// A file that is gone or new.
struct File<'a> {
    path: &'a RelPath,
    node: &'a Node,
    hash: Hash,
    size: u64,
}

/// Bytes of a content by its lines: hash and bytes, sorted.
type Lines = Vec<(u64, u64)>;

/// The new files that were another, deleted file before, by their new path. A deleted file is found again at
/// most once: where the content is the same, then where at least half of it is, the most similar first, and
/// among equals one with the same name. Refused changes and empty files take no part. `content` is asked for a
/// bounded number of bytes; what it does not give is not similar to anything.
#[must_use]
pub fn renames(
    changes: &[Change],
    content: &mut dyn FnMut(&Node) -> Option<Vec<u8>>,
) -> BTreeMap<RelPath, Rename> {
    let standing = || changes.iter().filter(|change| change.refused.is_none());
    let gone = standing().filter(|change| change.after == After::Absent);
    let new = standing().filter(|change| change.before.is_none());
    let mut gone: Vec<_> = gone.filter_map(|change| file(&change.path, change.before.as_ref())).collect();
    let mut new: Vec<_> = new.filter_map(|change| file(&change.path, change.result())).collect();
    let mut found = BTreeMap::new();
    for same_name in [true, false] {
        exact(&mut gone, &mut new, same_name, &mut found);
    }
    similar(&gone, &new, content, &mut found);
    found
}

fn file<'a>(path: &'a RelPath, node: Option<&'a Node>) -> Option<File<'a>> {
    match node {
        Some(node @ Node::File { size, hash, .. }) if *size > 0 => {
            Some(File { path, node, hash: *hash, size: *size })
        }
        _ => None,
    }
}

/// Pairs files of the same content, in the order of their paths.
fn exact(gone: &mut Vec<File>, new: &mut Vec<File>, same_name: bool, found: &mut BTreeMap<RelPath, Rename>) {
    let key = |file: &File| (file.hash.0, same_name.then(|| file.path.name().to_vec()));
    let mut by_key: HashMap<_, Vec<&RelPath>> = HashMap::new();
    for file in gone.iter().rev() {
        by_key.entry(key(file)).or_default().push(file.path);
    }
    let mut taken = BTreeSet::new();
    new.retain(|file| {
        let Some(from) = by_key.get_mut(&key(file)).and_then(Vec::pop) else { return true };
        found.insert(file.path.clone(), Rename { from: from.clone(), similarity: 100 });
        taken.insert(from);
        false
    });
    gone.retain(|file| !taken.contains(file.path));
}

/// Pairs files of similar content. Of too many, those with a name that is on both sides are looked at.
fn similar(
    gone: &[File],
    new: &[File],
    content: &mut dyn FnMut(&Node) -> Option<Vec<u8>>,
    found: &mut BTreeMap<RelPath, Rename>,
) {
    let names = |files: &[File]| files.iter().map(|file| file.path.name().to_vec()).collect::<BTreeSet<_>>();
    let common: BTreeSet<_> = names(gone).intersection(&names(new)).cloned().collect();
    let mut budget = BUDGET;
    let mut some = |files: &[File]| -> Vec<(usize, Lines)> {
        let mut order: Vec<_> = (0..files.len()).filter(|at| files[*at].size <= LARGEST).collect();
        order.sort_by_key(|at| !common.contains(files[*at].path.name()));
        order.truncate(COMPARED);
        let fits = |at: &usize| {
            let fits = files[*at].size <= budget;
            budget -= if fits { files[*at].size } else { 0 };
            fits
        };
        let order: Vec<_> = order.into_iter().filter(fits).collect();
        order.into_iter().filter_map(|at| Some((at, lines(&content(files[at].node)?)))).collect()
    };
    if gone.is_empty() || new.is_empty() {
        return;
    }
    let (old, now) = (some(gone), some(new));
    let mut pairs = Vec::new();
    for (from, before) in &old {
        for (to, after) in &now {
            let (smaller, larger) =
                (gone[*from].size.min(new[*to].size), gone[*from].size.max(new[*to].size));
            if smaller * 100 < larger * ENOUGH {
                continue;
            }
            let similarity = common_bytes(before, after).min(larger) * 100 / larger;
            if similarity >= ENOUGH {
                let other_name = gone[*from].path.name() != new[*to].path.name();
                // Not all: it would have the same hash.
                pairs.push((100 - similarity.min(99), other_name, *from, *to));
            }
        }
    }
    pairs.sort_unstable();
    let (mut left, mut open) = (vec![true; gone.len()], vec![true; new.len()]);
    for (unlike, _, from, to) in pairs {
        if left[from] && open[to] {
            (left[from], open[to]) = (false, false);
            let similarity = (100 - unlike) as u8;
            found.insert(new[to].path.clone(), Rename { from: gone[from].path.clone(), similarity });
        }
    }
}

fn lines(content: &[u8]) -> Lines {
    let pieces = content.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.chunks(PIECE));
    let mut lines: Lines = pieces
        .map(|piece| {
            let mut hasher = DefaultHasher::new();
            piece.hash(&mut hasher);
            (hasher.finish(), piece.len() as u64)
        })
        .collect();
    lines.sort_unstable();
    lines
}

/// Bytes of the lines that both have, as often as both have them.
fn common_bytes(old: &Lines, new: &Lines) -> u64 {
    let (mut at, mut other, mut bytes) = (0, 0, 0);
    while let (Some(left), Some(right)) = (old.get(at), new.get(other)) {
        match left.cmp(right) {
            std::cmp::Ordering::Less => at += 1,
            std::cmp::Ordering::Greater => other += 1,
            std::cmp::Ordering::Equal => {
                bytes += left.1;
                (at, other) = (at + 1, other + 1);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refuse::Refusal;

    fn node(content: &str) -> Node {
        Node::File { mode: 0o644, size: content.len() as u64, hash: Hash::of(content.as_bytes()) }
    }

    /// Changes that delete and add files.
    fn moved(gone: &[(&str, &str)], new: &[(&str, &str)]) -> Vec<Change> {
        let path = |text: &str| RelPath::new(text).unwrap();
        let gone = gone.iter().map(|(at, text)| Change::new(&path(at), Some(&node(text)), After::Absent));
        let new = new.iter().map(|(at, text)| Change::new(&path(at), None, After::Node(node(text))));
        gone.chain(new).collect()
    }

    /// What was found, as `from > to similarity`, and how many contents were asked for.
    fn found(changes: &[Change], contents: &[&str]) -> (Vec<String>, usize) {
        let mut asked = 0;
        let mut content = |wanted: &Node| {
            asked += 1;
            contents.iter().find(|text| node(text) == *wanted).map(|text| text.as_bytes().to_vec())
        };
        let found = renames(changes, &mut content);
        let shown = found.iter().map(|(to, rename)| format!("{} > {to} {}", rename.from, rename.similarity));
        (shown.collect(), asked)
    }

    fn shown(gone: &[(&str, &str)], new: &[(&str, &str)]) -> Vec<String> {
        let contents: Vec<&str> = gone.iter().chain(new).map(|(_, text)| *text).collect();
        found(&moved(gone, new), &contents).0
    }

    #[test]
    fn a_file_is_found_under_its_new_name() {
        let text = "one\ntwo\nthree\nfour\n";
        for (gone, new, wanted) in [
            (&[("a", text)][..], &[("b", text)][..], &["a > b 100"][..]),
            (&[("a", text)], &[("b", "one\ntwo\nthree\nfive\n")], &["a > b 73"]),
            (&[("a", text)], &[("b", "one\nzwei\ndrei\nvier\n")], &[]),
            // The same name goes before the order, and the same content before all.
            (
                &[("x/a", text), ("x/b", text)],
                &[("y/b", text), ("y/c", text)],
                &["x/b > y/b 100", "x/a > y/c 100"],
            ),
            (&[("a", text)], &[("b", "one\ntwo\nthree\n"), ("c", text)], &["a > c 100"]),
            (&[("a", text), ("b", "one\ntwo\nthree\n4\n")], &[("c", "one\ntwo\nthree\n")], &["b > c 87"]),
            // A copy of one that is gone is no second rename; nothing is made of nothing.
            (&[("a", text)], &[("b", text), ("c", text)], &["a > b 100"]),
            (&[("a", "")], &[("b", "")], &[]),
        ] {
            assert_eq!(shown(gone, new), wanted, "{gone:?} {new:?}");
        }
    }

    #[test]
    fn files_without_lines_are_compared_by_pieces() {
        let piece = |n: usize| format!("{n:064}");
        let [old, new] = [0..100, 30..100].map(|range| range.map(piece).collect::<String>());
        assert_eq!(shown(&[("a", &old)], &[("b", &new)]), ["a > b 70"]);
    }

    #[test]
    fn changed_links_directories_and_refused_files_take_no_part() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let mut changes = moved(&[("a", "x\n"), ("b", "y\n")], &[("c", "x\n"), ("d", "y\n")]);
        changes[0].refused = Some(Refusal::SecretFile);
        changes[3].refused = Some(Refusal::SecretFile);
        changes.push(Change::new(&path("e"), Some(&node("y\n")), After::Node(node("x\n"))));
        changes.push(Change::new(&path("f"), None, After::Node(Node::Dir { mode: 0o755 })));
        changes.push(Change::new(&path("g"), Some(&Node::Symlink { target: "x".into() }), After::Absent));
        assert_eq!(found(&changes, &["x\n", "y\n"]).0, Vec::<String>::new());
    }

    #[test]
    fn many_changes_ask_for_few_contents() {
        let text = |n: usize, end: &str| format!("file {n}\n{}{end}", format!("line {n}\n").repeat(20));
        let name = |dir: &str, n: usize| format!("{dir}/{n}");
        let old: Vec<_> = (0..5_000).map(|n| (name("old", n), text(n, ""))).collect();
        // The first thousands move as they are, the others with an edit, some of them under their names.
        let new: Vec<_> = (0..5_000)
            .map(|n| match n {
                0..4_000 => (name("new", n), text(n, "")),
                4_000..4_100 => (name("new", n), text(n, "more\n")),
                _ => (name("new", n + 10_000), text(n, "more\n")),
            })
            .collect();
        fn refs(files: &[(String, String)]) -> Vec<(&str, &str)> {
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
        }
        let changes = moved(&refs(&old), &refs(&new));
        let contents: HashMap<Node, &String> =
            old.iter().chain(&new).map(|(_, text)| (node(text), text)).collect();
        let mut asked = 0;
        let found = renames(&changes, &mut |wanted| {
            asked += 1;
            contents.get(wanted).map(|text| text.as_bytes().to_vec())
        });
        assert_eq!(asked, 2 * COMPARED);
        let under_name = found.values().filter(|rename| rename.similarity < 100).count();
        assert!((100..=COMPARED).contains(&under_name), "{under_name}");
        assert_eq!(found.values().filter(|rename| rename.similarity == 100).count(), 4_000);
        let froms: BTreeSet<_> = found.values().map(|rename| &rename.from).collect();
        assert_eq!(froms.len(), found.len());
    }
}
