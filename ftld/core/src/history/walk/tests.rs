//! Walks over histories that are made up in memory.

use std::collections::BTreeSet;
use std::convert::Infallible;

use super::*;

const BOUNDS: Bounds = Bounds { entries: 100_000 };

#[derive(Default)]
struct Memory(BTreeMap<Id, (Kind, Vec<u8>)>);

impl Source for Memory {
    type Error = Infallible;

    fn read(&mut self, id: &Id) -> Result<Option<(Kind, Vec<u8>)>, Infallible> {
        Ok(self.0.get(id).cloned())
    }
}

impl Memory {
    fn put(&mut self, kind: Kind, bytes: Vec<u8>) -> Id {
        let id = Format::Sha1.hash(&[format!("{kind:?}").as_bytes(), &bytes].concat());
        self.0.insert(id, (kind, bytes));
        id
    }

    fn blob(&mut self, text: &str) -> Id {
        self.put(Kind::Blob, text.into())
    }

    fn tree(&mut self, entries: &[(&str, u32, Id)]) -> Id {
        let line = |(name, mode, id): &(&str, u32, Id)| {
            [format!("{mode:o} {name}\0").as_bytes(), id.as_bytes()].concat()
        };
        let bytes = entries.iter().flat_map(line).collect();
        self.put(Kind::Tree, bytes)
    }

    fn commit(&mut self, tree: Id, parents: &[Id]) -> Id {
        let parents: String = parents.iter().map(|id| format!("parent {id}\n")).collect();
        self.put(Kind::Commit, format!("tree {tree}\n{parents}\nx").into_bytes())
    }

    /// A commit with one file.
    fn step(&mut self, path: &str, text: &str, parents: &[Id]) -> Id {
        let blob = self.blob(text);
        let tree = self.tree(&[(path, 0o100_644, blob)]);
        self.commit(tree, parents)
    }

    fn walk(&mut self, known: &BTreeSet<Id>, starts: &[Id], limit: usize) -> Found {
        let mut walk = Walk::new(self, Format::Sha1, known, BTreeSet::new(), &|_, _| false, BOUNDS);
        walk.commits(starts, limit).unwrap();
        walk.finish()
    }
}

fn none() -> BTreeSet<Id> {
    BTreeSet::new()
}

#[test]
fn what_stood_at_a_secret_path_in_any_commit_is_left_out() {
    let mut memory = Memory::default();
    let (plain, secret) = (memory.blob("plain"), memory.blob("TOKEN=1"));
    let key = memory.blob("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n");
    let deep = memory.blob("in a place for secrets");
    let ssh = memory.tree(&[("notes", 0o100_644, deep)]);
    let old = memory.tree(&[(".env", 0o100_644, secret), (".ssh", 0o40000, ssh)]);
    // The same content under a harmless name, later.
    let new = memory.tree(&[("a", 0o100_644, plain), ("copy", 0o100_644, secret), ("k", 0o100_644, key)]);
    let first = memory.commit(old, &[]);
    let second = memory.commit(new, &[first]);
    let found = memory.walk(&none(), &[second], 10);
    assert_eq!(found.withheld, [secret, key, deep].into());
    assert_eq!(found.objects, [plain, ssh, old, new, first, second].into());
    assert!(found.boundary(&none()).is_empty() && !found.regretted);
}

#[test]
fn a_projects_own_rules_and_paths_that_are_none_keep_out_too() {
    let mut memory = Memory::default();
    let (one, two) = (memory.blob("one"), memory.blob("two"));
    let internal = memory.tree(&[("x", 0o100_644, one)]);
    let tree =
        memory.tree(&[("internal", 0o40000, internal), ("..", 0o100_644, two), ("..", 0o40000, internal)]);
    let commit = memory.commit(tree, &[]);
    let known = none();
    let rule = |path: &RelPath, is_dir: bool| is_dir && path.as_bytes() == b"internal";
    let mut walk = Walk::new(&mut memory, Format::Sha1, &known, BTreeSet::new(), &rule, BOUNDS);
    walk.commits(&[commit], 1).unwrap();
    let files = walk.files(&commit).unwrap();
    assert_eq!(files.len(), 1);
    assert!(files[0].skipped && files[0].path.as_bytes() == b"internal/x");
    assert_eq!(walk.finish().withheld, [one, two].into());
}

#[test]
fn a_bound_cuts_by_levels_and_what_is_known_is_not_walked_again() {
    let mut memory = Memory::default();
    let mut row = vec![memory.step("f", "0", &[])];
    for number in 1..10 {
        let next = memory.step("f", &number.to_string(), &[row[number - 1]]);
        row.push(next);
    }
    let side = memory.step("f", "side", &[row[0]]);
    let tip = memory.step("f", "tip", &[row[9], side]);
    let found = memory.walk(&none(), &[tip], 4);
    let walked: BTreeSet<Id> = found.commits.keys().copied().collect();
    assert_eq!(walked, [tip, row[9], side, row[8], row[0]].into());
    assert_eq!(found.boundary(&none()), [row[8]].into());
    // On from the boundary; the rest is there.
    let known = found.objects;
    let deeper = memory.walk(&known, &[row[7]], 100);
    assert_eq!(deeper.commits.len(), 7);
    assert!(deeper.boundary(&known).is_empty());
    assert!(deeper.objects.is_disjoint(&known));
}

#[test]
fn a_commit_that_is_not_there_is_a_boundary() {
    let mut memory = Memory::default();
    let gone = Format::Sha1.hash(b"gone");
    let tip = memory.step("f", "x", &[gone]);
    let found = memory.walk(&none(), &[tip, gone], 10);
    assert_eq!(found.missing, [gone].into());
    assert_eq!(found.boundary(&none()), [tip].into());
}

#[test]
fn what_was_given_away_and_turns_out_to_be_secret_is_told() {
    let mut memory = Memory::default();
    let first = memory.step("prod.txt", "TOKEN=1", &[]);
    let known = memory.walk(&none(), &[first], 10).objects;
    let second = memory.step(".env", "TOKEN=1", &[first]);
    assert!(memory.walk(&known, &[second], 10).regretted);
    let harmless = memory.step("b", "2", &[first]);
    assert!(!memory.walk(&known, &[harmless], 10).regretted);
}

#[test]
fn a_tree_that_names_itself_a_billion_times_ends_the_walk() {
    let mut memory = Memory::default();
    let blob = memory.blob("x");
    let mut tree = memory.tree(&[("f", 0o100_644, blob)]);
    for _ in 0..10 {
        let entries: Vec<(String, u32, Id)> = (0..10).map(|n| (format!("d{n}"), 0o40000, tree)).collect();
        let entries: Vec<_> = entries.iter().map(|(name, mode, id)| (name.as_str(), *mode, *id)).collect();
        tree = memory.tree(&entries);
    }
    let commit = memory.commit(tree, &[]);
    let known = none();
    let mut walk = Walk::new(&mut memory, Format::Sha1, &known, none(), &|_, _| false, BOUNDS);
    assert!(matches!(walk.commits(&[commit], 1), Err(WalkError::TooMuch(_))));
}

#[test]
fn tags_lead_to_commits_or_nowhere() {
    let mut memory = Memory::default();
    let commit = memory.step("f", "x", &[]);
    let blob = memory.blob("x");
    let tag = memory.put(Kind::Tag, format!("object {commit}\ntype commit\ntag a\n").into_bytes());
    let twice = memory.put(Kind::Tag, format!("object {tag}\ntype tag\ntag b\n").into_bytes());
    let of_blob = memory.put(Kind::Tag, format!("object {blob}\ntype blob\ntag c\n").into_bytes());
    let known = none();
    let mut walk = Walk::new(&mut memory, Format::Sha1, &known, none(), &|_, _| false, BOUNDS);
    assert_eq!(walk.resolve(twice).unwrap(), Some((commit, vec![twice, tag])));
    assert_eq!(walk.resolve(commit).unwrap(), Some((commit, vec![])));
    assert_eq!(walk.resolve(of_blob).unwrap(), None);
    assert_eq!(walk.resolve(blob).unwrap(), None);
}
