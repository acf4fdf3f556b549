//! A disk as a crash may leave it.
//!
//! Owns what the list of a store's changes means: what a killed process leaves, which is everything that was
//! done, and what a power cut leaves, which is everything that was forced to the disk and any part of the
//! rest. Nothing is assumed of the file system but what it promises: a flushed file has its bytes, a flushed
//! directory its names, a renamed file stands in one of its places.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::super::step::record::Op;

/// A source of choices that a seed decides.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `most`; 0 when that is 0.
    pub(super) fn roll(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap().checked_rem(most).unwrap_or(0)
    }
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Dir,
    File(usize),
}

/// A change of names that is not forced to the disk.
#[derive(Clone, Debug)]
enum Naming {
    Put(PathBuf, Node),
    Move(PathBuf, PathBuf),
    Take(PathBuf),
}

/// A change of a file's bytes that is not forced to the disk.
#[derive(Clone, Debug)]
enum Writing {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone, Default, Debug)]
struct Body {
    seen: Vec<u8>,
    kept: Vec<u8>,
    loose: Vec<Writing>,
}

type Names = BTreeMap<PathBuf, Node>;

/// A disk: what is seen on it, and what of that would outlive a power cut.
#[derive(Clone, Default, Debug)]
pub(super) struct Disk {
    bodies: Vec<Body>,
    seen: Names,
    kept: Names,
    loose: Vec<Naming>,
}

impl Writing {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Bytes(at, new) => {
                bytes.resize(bytes.len().max(at + new.len()), 0);
                bytes[*at..at + new.len()].copy_from_slice(new);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// What a power cut may leave of it.
    fn apply_some(&self, bytes: &mut Vec<u8>, dice: &mut Dice) {
        match (self, dice.roll(4)) {
            (_, 0) => {}
            (Self::Bytes(at, new), 1) => Self::Bytes(*at, new[..dice.roll(new.len())].to_vec()).apply(bytes),
            // The length is there and the bytes are not.
            (Self::Bytes(at, new), 2) => bytes.resize(bytes.len().max(at + new.len()), 0),
            _ => self.apply(bytes),
        }
    }
}

impl Naming {
    fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Put(path, _) | Self::Take(path) => vec![path],
            Self::Move(from, to) => vec![from, to],
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Put(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Take(path) => drop(names.remove(path)),
            Self::Move(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl Disk {
    /// Does one recorded step.
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::MakeDir { path } => {
                for above in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
                    if !above.as_os_str().is_empty() && !self.seen.contains_key(above) {
                        self.name(Naming::Put(above.to_owned(), Node::Dir));
                    }
                }
            }
            Op::Create { path } => {
                if !self.seen.contains_key(path) {
                    self.bodies.push(Body::default());
                    self.name(Naming::Put(path.clone(), Node::File(self.bodies.len() - 1)));
                }
            }
            Op::Write { path, at, bytes } => {
                self.write(path, Writing::Bytes(usize::try_from(*at).unwrap(), bytes.clone()));
            }
            Op::Cut { path, length } => self.write(path, Writing::Length(usize::try_from(*length).unwrap())),
            Op::Sync { path } => {
                if let Some(body) = self.body(path) {
                    body.kept = body.seen.clone();
                    body.loose.clear();
                }
            }
            Op::SyncDir { path } => self.keep_names_in(path),
            Op::SyncAll => self.keep_all(),
            Op::Rename { from, to } => self.name(Naming::Move(from.clone(), to.clone())),
            Op::Remove { path } => {
                if self.seen.contains_key(path) {
                    self.name(Naming::Take(path.clone()));
                }
            }
            Op::Clear { path } => {
                let gone: Vec<PathBuf> =
                    self.seen.keys().filter(|at| at.starts_with(path)).cloned().collect();
                gone.into_iter().rev().for_each(|path| self.name(Naming::Take(path)));
            }
        }
    }

    /// Does a part of a step, as a killed process may.
    pub(super) fn apply_half(&mut self, op: &Op, dice: &mut Dice) {
        if let Op::Write { path, at, bytes } = op {
            let bytes = bytes[..dice.roll(bytes.len())].to_vec();
            self.apply(&Op::Write { path: path.clone(), at: *at, bytes });
        }
    }

    /// What a power cut may leave.
    pub(super) fn cut(&self, dice: &mut Dice) -> Self {
        let mut names = self.kept.clone();
        match dice.roll(4) {
            0 => {}
            // In the order in which it was done, as a journal has it.
            1 | 2 => {
                let count = dice.roll(self.loose.len() + 1);
                self.loose[..count].iter().for_each(|naming| naming.apply(&mut names));
            }
            _ => {
                let wanted: BTreeSet<usize> = (0..self.loose.len()).filter(|_| dice.roll(2) == 0).collect();
                apply_with_what_they_need(&self.loose, &wanted, &mut names);
            }
        }
        let mut left = Self::default();
        for (path, node) in &names {
            if path
                .ancestors()
                .skip(1)
                .any(|above| above != Path::new("") && names.get(above) != Some(&Node::Dir))
            {
                continue;
            }
            let node = match node {
                Node::Dir => Node::Dir,
                Node::File(body) => {
                    let bytes = self.bodies[*body].after_cut(dice);
                    left.bodies.push(Body { seen: bytes.clone(), kept: bytes, loose: Vec::new() });
                    Node::File(left.bodies.len() - 1)
                }
            };
            left.seen.insert(path.clone(), node);
        }
        left.kept = left.seen.clone();
        left
    }

    /// Writes what is seen into an empty directory.
    pub(super) fn write_out(&self, dir: &Path) {
        for (path, node) in &self.seen {
            match node {
                Node::Dir => fs::create_dir(dir.join(path)).unwrap(),
                Node::File(body) => fs::write(dir.join(path), &self.bodies[*body].seen).unwrap(),
            }
        }
    }

    /// The files that are seen beneath a directory.
    pub(super) fn files_in(&self, part: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.seen.iter().filter(|(path, _)| path.starts_with(part));
        files
            .filter_map(|(path, node)| match node {
                Node::Dir => None,
                Node::File(body) => Some((path.clone(), self.bodies[*body].seen.clone())),
            })
            .collect()
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.seen);
        self.loose.push(naming);
    }

    fn body(&mut self, path: &Path) -> Option<&mut Body> {
        match self.seen.get(path) {
            Some(Node::File(body)) => self.bodies.get_mut(*body),
            _ => None,
        }
    }

    fn write(&mut self, path: &Path, writing: Writing) {
        // A file without a name is lost with the process.
        if let Some(body) = self.body(path) {
            writing.apply(&mut body.seen);
            body.loose.push(writing);
        }
    }

    fn keep_names_in(&mut self, dir: &Path) {
        let in_dir = |naming: &Naming| naming.paths().iter().any(|path| path.parent() == Some(dir));
        let wanted = (0..self.loose.len()).filter(|at| in_dir(&self.loose[*at])).collect();
        let done = apply_with_what_they_need(&self.loose, &wanted, &mut self.kept);
        let mut at = 0;
        self.loose.retain(|_| {
            at += 1;
            !done.contains(&(at - 1))
        });
    }

    fn keep_all(&mut self) {
        self.kept = self.seen.clone();
        self.loose.clear();
        for body in &mut self.bodies {
            body.kept = body.seen.clone();
            body.loose.clear();
        }
    }
}

impl Body {
    fn after_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.kept.clone();
        match dice.roll(4) {
            0 => {}
            1 => self.loose.iter().for_each(|writing| writing.apply(&mut bytes)),
            _ => self.loose.iter().for_each(|writing| writing.apply_some(&mut bytes, dice)),
        }
        bytes
    }
}

/// Applies some changes of names, each after the earlier ones of the same paths. Says which were applied.
fn apply_with_what_they_need(all: &[Naming], wanted: &BTreeSet<usize>, names: &mut Names) -> BTreeSet<usize> {
    let (mut paths, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for (at, naming) in all.iter().enumerate().rev() {
        if wanted.contains(&at) || naming.paths().iter().any(|path| paths.contains(path)) {
            paths.extend(naming.paths());
            needed.insert(at);
        }
    }
    needed.iter().for_each(|at| all[*at].apply(names));
    needed
}

#[test]
fn a_power_cut_takes_what_was_not_forced_and_nothing_else() {
    let (path, other) = (PathBuf::from("d/a"), PathBuf::from("d/b"));
    let mut disk = Disk::default();
    let write = |path: &PathBuf, bytes: &[u8]| Op::Write { path: path.clone(), at: 0, bytes: bytes.to_vec() };
    for op in [
        Op::MakeDir { path: "d".into() },
        Op::SyncDir { path: "".into() },
        Op::Create { path: path.clone() },
        write(&path, b"kept"),
        Op::Sync { path: path.clone() },
        Op::Rename { from: path.clone(), to: other.clone() },
        Op::SyncDir { path: "d".into() },
        write(&other, b"LOST"),
    ] {
        disk.apply(&op);
    }
    let left: BTreeSet<_> = (0..200).map(|seed| disk.cut(&mut Dice(seed)).files_in("d")).collect();
    assert!(left.iter().all(|files| files.keys().eq([&other])));
    let has = |bytes: &[u8]| left.iter().any(|files| files[&other] == bytes);
    assert!(has(b"kept") && has(b"LOST") && has(b"LOpt") | has(b"Lept") | has(b"LOSt"));
    disk.apply(&Op::SyncAll);
    assert!((0..50).all(|seed| disk.cut(&mut Dice(seed)).files_in("d")[&other] == b"LOST"));
}
