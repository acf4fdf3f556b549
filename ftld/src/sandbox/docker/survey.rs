//! What a directory of the daemon's holds, and what differs between two of them.
//!
//! Owns the comparison that decides what is sent to an engine. Must not know engines. What a directory
//! holds has a name made of all of it, so that an engine never takes one thing for another.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use ftl_guest::tree::read::{Choice, walk};
use ftl_guest::tree::{Content, Entry, Node, Part, Seal, is_before, parent};
use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, openat};

/// How many digits of its number a tree's name has: enough that no two are ever taken for one, and few enough
/// that many layers fit into a mount's options.
const DIGITS: usize = 20;

/// Which version of a node this is, by what no program can set.
pub(super) type Stamp = (u64, u64, i64, i64);

/// A directory that was looked through.
#[derive(Debug)]
pub(super) struct Survey {
    /// Its name on an engine.
    pub(super) name: String,
    /// What a keeper must find in it.
    pub(super) seal: String,
    /// Everything in it, in the order of a tree, with what each file holds.
    pub(super) nodes: Vec<Surveyed>,
}

/// A node of it.
#[derive(Debug)]
pub(super) struct Surveyed {
    entry: Entry,
    content: Content,
    stamp: Stamp,
}

/// What has to be sent to make one tree of another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// What is sent, and the directories that it stands in.
    pub(super) send: BTreeSet<Vec<u8>>,
    /// What is not there any more, in the order of a tree.
    pub(super) gone: VecDeque<Vec<u8>>,
}

/// Opens a directory of the daemon's own.
pub(super) fn open(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, dir, flags, Mode::empty())?)
}

/// Which version of a directory this is, as far as its own entries tell.
pub(super) fn stamp_of(dir: &Path) -> io::Result<Stamp> {
    Ok(stamp(&fstat(open(dir)?)?))
}

#[allow(clippy::unnecessary_cast, reason = "the width of these fields differs between architectures")]
fn stamp(stat: &Stat) -> Stamp {
    (stat.st_dev as u64, stat.st_ino as u64, stat.st_ctime as i64, stat.st_ctime_nsec as i64)
}

impl Survey {
    /// Looks through a directory in which nothing changes meanwhile. Files that are as they were `before` are
    /// not read again.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn of(dir: &Path, before: Option<&Self>) -> io::Result<Self> {
        let known: BTreeMap<&[u8], &Surveyed> =
            before.iter().flat_map(|before| &before.nodes).map(|node| (node.path(), node)).collect();
        let stamps = RefCell::new(VecDeque::new());
        let (mut seal, mut nodes) = (Seal::default(), Vec::<Surveyed>::new());
        let mut choose = |entry: &Entry, stat: &Stat| {
            let stamp = stamp(stat);
            stamps.borrow_mut().push_back(stamp);
            let same = known.get(entry.path.as_slice()).is_some_and(|node| node.stamp == stamp);
            if same { Choice::Named } else { Choice::Whole }
        };
        let mut hear = |part: Part| {
            let (ended, entry, content) = match part {
                Part::Entry(Entry { node: Node::Same { size }, ref path, .. }) => {
                    let content = known.get(path.as_slice()).map(|node| node.content).unwrap_or_default();
                    let Part::Entry(entry) = part else { return Ok(()) };
                    let entry = Entry { node: Node::File { size }, ..entry };
                    (seal.take_known(&entry, &content), Some(entry), content)
                }
                Part::Entry(ref entry) => (seal.take(&part), Some(entry.clone()), Content::default()),
                ref other => (seal.take(other), None, Content::default()),
            };
            if let (Some(content), Some(last)) = (ended, nodes.last_mut()) {
                last.content = content;
            }
            if let Some(entry) = entry {
                let stamp = stamps.borrow_mut().pop_front().unwrap_or_default();
                nodes.push(Surveyed { entry, content, stamp });
            }
            Ok(())
        };
        walk(open(dir)?, &mut choose, &mut hear)?;
        if let (Some(content), Some(last)) = (seal.take(&Part::End), nodes.last_mut()) {
            last.content = content;
        }
        let mut name = blake3::Hasher::new();
        for node in &nodes {
            let mut bytes = Vec::new();
            Part::Entry(node.entry.clone()).encode(&mut bytes);
            name.update(&bytes).update(&node.content);
        }
        let mut name = name.finalize().to_hex().to_string();
        name.truncate(DIGITS);
        Ok(Self { name, seal: seal.finish(), nodes })
    }

    /// What has to be sent to make this of `other`; nothing when it would be no use to begin with that.
    pub(super) fn beyond(&self, other: &Self) -> Option<Difference> {
        let is_marked = |node: &Surveyed| node.entry.mark != ftl_guest::tree::Mark::None;
        if self.nodes.iter().chain(&other.nodes).any(is_marked) {
            return None;
        }
        let theirs: BTreeMap<&[u8], &Surveyed> = other.nodes.iter().map(|node| (node.path(), node)).collect();
        let ours: BTreeMap<&[u8], &Surveyed> = self.nodes.iter().map(|node| (node.path(), node)).collect();
        let mut difference = Difference::default();
        for node in &self.nodes {
            let is_there = |there: &&Surveyed| there.entry == node.entry && there.content == node.content;
            if !theirs.get(node.path()).is_some_and(is_there) {
                difference.send(node.path());
            }
        }
        for node in &other.nodes {
            let stands_in = ours.get(parent(node.path()));
            if !ours.contains_key(node.path()) && stands_in.is_some_and(|dir| dir.entry.node == Node::Dir) {
                difference.send(parent(node.path()));
                difference.gone.push_back(node.path().to_vec());
            }
        }
        (difference.send.len() <= self.nodes.len() / 2).then_some(difference)
    }
}

impl Surveyed {
    fn path(&self) -> &[u8] {
        &self.entry.path
    }
}

impl Difference {
    fn send(&mut self, path: &[u8]) {
        let mut path = path;
        while self.send.insert(path.to_vec()) && !path.is_empty() {
            path = parent(path);
        }
    }
}

/// Tells the parts of a directory's tree, or of what differs in it, to `hear`, with its end.
///
/// # Errors
/// Those of the system, and those of `hear`.
pub(super) fn tell(
    dir: &Path,
    difference: Option<Difference>,
    hear: &mut dyn FnMut(Part) -> io::Result<()>,
) -> io::Result<()> {
    let (send, mut gone) = match difference {
        Some(Difference { send, gone }) => (Some(send), gone),
        None => (None, VecDeque::new()),
    };
    let mut choose = |entry: &Entry, _: &Stat| match &send {
        Some(send) if !send.contains(&entry.path) => Choice::Skip,
        _ => Choice::Whole,
    };
    let mut with_gone = |part: Part| {
        if let Part::Entry(entry) = &part {
            while gone.front().is_some_and(|path| is_before(path, &entry.path)) {
                gone.pop_front().map_or(Ok(()), |path| hear(Part::Remove(path)))?;
            }
        }
        hear(part)
    };
    walk(open(dir)?, &mut choose, &mut with_gone)?;
    for path in gone {
        hear(Part::Remove(path))?;
    }
    hear(Part::End)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parts(dir: &Path, difference: Option<Difference>) -> Vec<Part> {
        let mut parts = Vec::new();
        tell(dir, difference, &mut |part| {
            parts.push(part);
            Ok(())
        })
        .unwrap();
        parts
    }

    fn paths(parts: &[Part]) -> Vec<String> {
        let shown = |part: &Part| match part {
            Part::Entry(entry) => Some(String::from_utf8_lossy(&entry.path).into_owned()),
            Part::Remove(path) => Some(format!("-{}", String::from_utf8_lossy(path))),
            _ => None,
        };
        parts.iter().filter_map(shown).collect()
    }

    #[test]
    fn only_what_differs_is_sent_and_makes_the_same_tree() {
        let scratch = tempfile::tempdir().unwrap();
        let (old, new) = (scratch.path().join("old"), scratch.path().join("new"));
        for (root, changed) in [(&old, "1"), (&new, "2")] {
            for name in 0..40 {
                fs::create_dir_all(root.join("d/e")).unwrap();
                fs::write(root.join(format!("d/{name}")), "same").unwrap();
                fs::File::open(root.join(format!("d/{name}")))
                    .unwrap()
                    .set_modified(std::time::UNIX_EPOCH)
                    .unwrap();
            }
            fs::write(root.join("d/e/changed"), changed).unwrap();
        }
        fs::create_dir_all(old.join("gone/deep")).unwrap();
        fs::write(old.join("gone/deep/x"), "").unwrap();
        fs::write(old.join("d/a"), "").unwrap();
        fs::create_dir(old.join("kind")).unwrap();
        fs::write(old.join("kind/x"), "").unwrap();
        fs::write(new.join("kind"), "a file").unwrap();
        let (before, after) = (Survey::of(&old, None).unwrap(), Survey::of(&new, None).unwrap());
        assert_ne!(before.name, after.name);
        let difference = after.beyond(&before).unwrap();
        let sent = parts(&new, Some(difference));
        assert_eq!(paths(&sent), ["", "d", "-d/a", "d/e", "d/e/changed", "-gone", "kind"]);
        let mut sequence = ftl_guest::tree::Sequence::default();
        for part in &sent {
            let _taken = sequence.take(part).unwrap();
        }
        let root = fs::File::open(&old).unwrap().into();
        let most = ftl_guest::tree::write::Most { entries: 99, bytes: 999, file: 999 };
        let mut writer = ftl_guest::tree::write::Writer::new(root, None, None, most);
        sent.into_iter().for_each(|part| writer.take(part).unwrap());
        let made = Survey::of(&old, None).unwrap();
        assert_eq!((made.name, made.seal), (after.name, after.seal));
    }

    #[test]
    fn a_second_look_reads_what_changed_and_finds_the_same() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        fs::write(root.join("kept"), "kept").unwrap();
        fs::write(root.join("changed"), "before").unwrap();
        let first = Survey::of(root, None).unwrap();
        let stamp = stamp_of(root).unwrap();
        fs::write(root.join("changed"), "behind").unwrap();
        assert_eq!(stamp_of(root).unwrap(), stamp);
        let (again, afresh) = (Survey::of(root, Some(&first)).unwrap(), Survey::of(root, None).unwrap());
        assert_eq!((&again.name, &again.seal), (&afresh.name, &afresh.seal));
        assert_ne!(again.seal, first.seal);
        fs::write(root.join("new"), "").unwrap();
        assert_ne!(stamp_of(root).unwrap(), stamp);
    }

    #[test]
    fn trees_that_have_little_in_common_are_sent_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let (one, other) = (scratch.path().join("one"), scratch.path().join("other"));
        for root in [&one, &other] {
            fs::create_dir(root).unwrap();
        }
        fs::write(one.join("a"), "a").unwrap();
        fs::write(other.join("b"), "b").unwrap();
        let (one, other) = (Survey::of(&one, None).unwrap(), Survey::of(&other, None).unwrap());
        assert_eq!(one.beyond(&other), None);
    }
}
