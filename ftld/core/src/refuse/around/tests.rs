//! Reviews as a whole: what many changes are together, and the names that links give.

use super::*;
use crate::refuse::{Content, Risk, risks};
use crate::tree::Entry;

fn path(at: &str) -> RelPath {
    RelPath::new(at).unwrap()
}

fn file(size: u64, content: &str) -> Node {
    Node::File { mode: 0o644, size, hash: Hash::of(content.as_bytes()) }
}

/// A tree from lines: `link -> target`, `dir/`, or a file's path.
fn tree(lines: &[&str]) -> Tree {
    let entry = |node| Entry { node, mtime_ns: 0 };
    let node = |line: &&str| match (line.split_once(" -> "), line.strip_suffix('/')) {
        (Some((at, target)), _) => (path(at), entry(Node::Symlink { target: target.into() })),
        (_, Some(dir)) => (path(dir), entry(Node::Dir { mode: 0o755 })),
        _ => (path(line), entry(file(3, "base"))),
    };
    lines.iter().map(node).collect()
}

fn modified(at: &str) -> Change {
    Change::new(&path(at), Some(&file(3, "base")), After::Node(file(3, "new")))
}

fn link(at: &str, target: &str) -> Change {
    Change::new(&path(at), None, After::Node(Node::Symlink { target: target.into() }))
}

/// The changes' risks that need naming, by path.
fn named(base: &Tree, changes: &[Change]) -> Vec<(String, &'static str)> {
    let around = Surroundings::of(base, changes);
    let of = |change: &Change| {
        let found = risks(change, Content::default(), &around.at(change)).into_iter();
        let named = found.filter(|risk| risk.needs_naming()).map(Risk::name).next();
        named.map(|name| (change.path.to_string(), name))
    };
    changes.iter().filter_map(of).collect()
}

/// A project of `count` files of `size` bytes, and the removal of the first `gone`.
fn removal(count: usize, gone: usize, size: u64) -> (Tree, Vec<Change>) {
    let at = |number: usize| path(&format!("f{number:03}"));
    let node = |number: usize| file(size, &format!("{number}"));
    let base = (0..count).map(|one| (at(one), Entry { node: node(one), mtime_ns: 0 })).collect();
    (base, (0..gone).map(|one| Change::new(&at(one), Some(&node(one)), After::Absent)).collect())
}

#[test]
fn many_small_losses_are_one_large_one() {
    let count = |(base, changes): (Tree, Vec<Change>)| named(&base, &changes).len();
    assert_eq!(count(removal(50, 50, 700)), 50);
    assert_eq!(count(removal(1000, 20, 10)), 20);
    assert_eq!(count(removal(1000, 19, 10)), 0);
    // A part of the project, of a project that is more than a handful.
    assert_eq!((count(removal(20, 5, 10)), count(removal(21, 5, 10)), count(removal(4, 4, 10))), (5, 0, 0));
    // Much in sum.
    assert_eq!((count(removal(1000, 4, 9000)), count(removal(1000, 3, 9000))), (4, 0));
}

#[test]
fn what_is_emptied_is_lost_and_what_moves_is_not() {
    let (base, mut changes) = removal(50, 50, 700);
    for change in &mut changes {
        change.after = After::Node(file(10, "rest"));
    }
    assert_eq!(named(&base, &changes).len(), 50);
    let (base, mut changes) = removal(50, 50, 700);
    let moved: Vec<Change> = changes
        .iter()
        .map(|change| {
            Change::new(
                &path(&format!("to/{}", change.path)),
                None,
                After::Node(change.before.clone().unwrap()),
            )
        })
        .collect();
    changes.extend(moved);
    assert_eq!(named(&base, &changes), []);
}

#[test]
fn a_path_is_judged_by_every_name_that_links_give_it() {
    for (base, changed, expected) in [
        (&["Makefile -> docs/mk.txt", "docs/mk.txt"][..], "docs/mk.txt", true),
        (&[".husky -> tools", "tools/pre-commit"], "tools/pre-commit", true),
        (&[".husky -> tools", "tools/pre-commit"], "docs/a", false),
        // A chain, a way through another directory, one that goes up, and the root itself.
        (&["Makefile -> a", "a -> b", "b"], "b", true),
        (&[".husky -> x", "x -> tools", "tools/y"], "tools/y", true),
        (&["q -> a", "a/", "a/.husky -> ../b", "b/x"], "b/x", true),
        (&["a/", "a/Makefile -> ../c/d.txt", "c/d.txt"], "c/d.txt", true),
        (&[".husky -> .", "x"], "x", true),
        (&["other -> tools", "tools/x"], "tools/x", false),
        (&["id_rsa -> notes.txt", "notes.txt"], "notes.txt", true),
    ] {
        let found = named(&tree(base), &[modified(changed)]);
        assert_eq!(!found.is_empty(), expected, "{base:?} {changed}: {found:?}");
    }
}

#[test]
fn a_new_link_is_judged_by_what_it_leads_to_and_what_is_under_it() {
    let base = tree(&["docs/", "docs/workflows/", "docs/workflows/ci.yml", "docs/mk.txt"]);
    assert_eq!(named(&base, &[link(".github", "docs")]), [(".github".to_owned(), "host-execution")]);
    assert_eq!(named(&base, &[link("gh", "docs")]), []);
    // A link that the same session makes counts as well.
    let both = [link("Makefile", "docs/mk.txt"), modified("docs/mk.txt")];
    assert_eq!(named(&base, &both).len(), 2);
}

#[test]
fn more_names_than_are_looked_at_are_a_risk_of_their_own() {
    let links: Vec<String> = (0..=MOST_NAMES).map(|one| format!("l{one:03} -> t")).collect();
    let mut lines: Vec<&str> = links.iter().map(String::as_str).collect();
    lines.push("t/x");
    assert_eq!(named(&tree(&lines), &[modified("t/x")]), [("t/x".to_owned(), "host-execution")]);
    let around = Surroundings::of(&tree(&lines[2..]), &[modified("t/x")]).at(&modified("t/x"));
    assert_eq!((around.also.len(), around.more), (MOST_NAMES - 1, false));
}
