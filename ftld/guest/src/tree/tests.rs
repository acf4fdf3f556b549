//! Trees: frames, the order of their parts, and both ends on disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, Stat, XattrFlags, mknodat};

use super::read::{Choice, usage, walk, walk_holding};
use super::write::{Most, WriteError, Writer, clone, remove};
use super::*;

const MOST: Most = Most { entries: 1000, bytes: 10 << 20, file: 1 << 40 };

/// A directory of the tests' own.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ftl-tree-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn dir(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let (dir, name) = (open(self.0.parent().unwrap()), self.0.file_name().unwrap().as_encoded_bytes());
        remove(dir.as_fd(), name).unwrap();
    }
}

fn open(path: &Path) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

fn parts_of(dir: &Path) -> Vec<Part> {
    let mut parts = Vec::new();
    walk(open(dir), &mut |_, _| Choice::Whole, &mut |part| {
        parts.push(part);
        Ok(())
    })
    .unwrap();
    parts.push(Part::End);
    parts
}

fn write(parts: Vec<Part>, to: &Path, before: Option<&Path>, most: Most) -> Result<(), WriteError> {
    let mut writer = Writer::new(open(to), None, before.map(open), most);
    parts.into_iter().try_for_each(|part| writer.take(part))?;
    assert!(writer.is_complete());
    Ok(())
}

fn seal(parts: &[Part]) -> String {
    let mut seal = Seal::default();
    for part in parts {
        seal.take(part);
    }
    seal.finish()
}

fn entry(path: &[u8], node: Node) -> Part {
    Part::Entry(Entry { path: path.to_vec(), node, mode: 0o755, mtime_ns: 0, mark: Mark::None })
}

fn dir(path: &[u8]) -> Part {
    entry(path, Node::Dir)
}

fn file(path: &[u8], size: u64) -> Part {
    entry(path, Node::File { size })
}

/// A directory with everything that there can be in one.
fn everything(scratch: &Scratch) -> PathBuf {
    let root = scratch.dir("from");
    fs::create_dir_all(root.join("a/deep")).unwrap();
    fs::write(root.join("a/file"), vec![7; 200_000]).unwrap();
    fs::write(root.join("a.first"), "").unwrap();
    symlink("../nowhere", root.join("a/deep/link")).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(5 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 3 << 30).unwrap();
    mknodat(CWD, root.join("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    fs::create_dir(root.join("hides")).unwrap();
    let hides = open(&root.join("hides"));
    rustix::fs::fsetxattr(&hides, "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    rustix::fs::fsetxattr(&hides, "user.overlay.origin", b"ab", XattrFlags::empty()).unwrap();
    fs::create_dir(root.join("odd")).unwrap();
    let odd = open(&root.join("odd"));
    rustix::fs::fsetxattr(&odd, "user.overlay.redirect", b"/etc", XattrFlags::empty()).unwrap();
    fs::write(root.join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("run"), Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(root.join("a/deep"), Permissions::from_mode(0o500)).unwrap();
    root
}

#[test]
fn what_is_read_is_written_the_same_and_few_bytes_tell_of_holes() {
    let scratch = Scratch::new("same");
    let from = everything(&scratch);
    let parts = parts_of(&from);
    let mut bytes = Vec::new();
    parts.iter().for_each(|part| part.encode(&mut bytes));
    assert!(bytes.len() < 400_000, "{}", bytes.len());
    let (mut decoder, mut heard) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(1000) {
        decoder.push(piece);
        while let Some(frame) = decoder.next_frame().unwrap() {
            let Frame::Part(part) = frame else { panic!("{frame:?}") };
            heard.push(part);
        }
    }
    assert_eq!(heard, parts);
    let to = scratch.dir("to");
    write(heard, &to, None, MOST).unwrap();
    assert_eq!(parts_of(&to), parts);
    assert_eq!(fs::metadata(to.join("sparse")).unwrap().len(), 5 << 30);
    assert!(fs::metadata(to.join("sparse")).unwrap().blocks() < 1000);
    assert_eq!(fs::metadata(to.join("run")).unwrap().mode() & 0o7777, 0o4751);
    assert!(usage(open(&to), u64::MAX).unwrap().unwrap().bytes > 200_000);
    let odd = |part: &&Part| matches!(part, Part::Entry(Entry { mark: Mark::Odd(name), .. }) if name == b"redirect");
    assert_eq!(parts.iter().filter(odd).count(), 1);
}

#[test]
fn a_seal_changes_with_everything_but_time() {
    let scratch = Scratch::new("seal");
    let root = scratch.dir("r");
    fs::write(root.join("one"), "1").unwrap();
    fs::write(root.join("two"), "2").unwrap();
    let before = seal(&parts_of(&root));
    fs::File::open(root.join("one")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(seal(&parts_of(&root)), before);
    type Change = (&'static str, fn(&Path));
    let changes: [Change; 4] = [
        ("content", |root| fs::write(root.join("one"), "3").unwrap()),
        ("mode", |root| fs::set_permissions(root.join("two"), Permissions::from_mode(0o600)).unwrap()),
        ("name", |root| fs::rename(root.join("one"), root.join("three")).unwrap()),
        ("kind", |root| fs::create_dir(root.join("four")).unwrap()),
    ];
    let mut seen = vec![before];
    for (what, change) in changes {
        change(&root);
        let now = seal(&parts_of(&root));
        assert!(!seen.contains(&now), "{what}");
        seen.push(now);
    }
    // What is known of a file need not be read again.
    let (mut known, mut contents) = (Seal::default(), BTreeMap::new());
    let mut last = Vec::new();
    for part in parts_of(&root) {
        let ended = known.take(&part);
        contents.extend(ended.map(|content| (last.clone(), content)));
        if let Part::Entry(entry) = part {
            last = entry.path;
        }
    }
    let mut again = Seal::default();
    for part in parts_of(&root) {
        match &part {
            Part::Entry(entry) if contents.contains_key(&entry.path) => {
                again.take_known(entry, &contents[&entry.path]);
            }
            Part::Data(_) => {}
            other => {
                again.take(other);
            }
        }
    }
    assert_eq!(again.finish(), known.finish());
}

#[test]
fn parts_that_are_no_tree_are_refused_and_nothing_is_written_outside() {
    let scratch = Scratch::new("hostile");
    let outside = scratch.dir("outside");
    let long = [b'x'; MAX_NAME + 1];
    let link = || entry(b"l", Node::Symlink { target: outside.as_os_str().as_encoded_bytes().to_vec() });
    let hostile: Vec<Vec<Part>> = vec![
        vec![file(b"", 0)],
        vec![Part::End],
        vec![dir(b"a")],
        vec![dir(b""), dir(b"")],
        vec![dir(b""), dir(b"..")],
        vec![dir(b""), file(b"../outside/x", 0)],
        vec![dir(b""), file(b"a/../../outside/x", 0)],
        vec![dir(b""), file(b"/etc/x", 0)],
        vec![dir(b""), file(b"a//b", 0)],
        vec![dir(b""), file(b"a/", 0)],
        vec![dir(b""), file(b"a\0b", 0)],
        vec![dir(b""), file(&long, 0)],
        vec![dir(b""), file(b"b", 0), file(b"a", 0)],
        vec![dir(b""), file(b"a", 0), file(b"a", 0)],
        vec![dir(b""), dir(b"a"), file(b"b", 0), file(b"a/x", 0)],
        vec![dir(b""), file(b"a", 0), file(b"a/x", 0)],
        vec![dir(b""), link(), file(b"l/x", 0)],
        vec![dir(b""), file(b"a", 2), Part::Data(vec![1; 3])],
        vec![dir(b""), file(b"a", 2), Part::Hole(3)],
        vec![dir(b""), file(b"a", 2), Part::End],
        vec![dir(b""), file(b"a", 2), file(b"b", 0)],
        vec![dir(b""), Part::Data(vec![1])],
        vec![dir(b""), Part::Remove(b"..".to_vec())],
        vec![dir(b""), Part::Remove(b"".to_vec())],
        vec![dir(b""), Part::End, dir(b"a")],
    ];
    for (number, parts) in hostile.into_iter().enumerate() {
        let to = scratch.dir(&format!("to-{number}"));
        let error = write(parts.clone(), &to, None, MOST).unwrap_err();
        assert!(matches!(error, WriteError::Malformed(_)), "{parts:?}: {error:?}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    let mut deep = vec![dir(b"")];
    for depth in 0..=MAX_DEPTH {
        deep.push(dir(&vec![b"d".to_vec(); depth + 1].join(&b'/')));
    }
    let to = scratch.dir("deep");
    assert!(matches!(write(deep, &to, None, MOST), Err(WriteError::Malformed(_))));
}

#[test]
fn no_more_is_written_than_may_be() {
    let scratch = Scratch::new("most");
    let most = Most { entries: 3, bytes: 10, file: 100 };
    let much: [Vec<Part>; 3] = [
        vec![dir(b""), dir(b"a"), dir(b"b"), dir(b"c")],
        vec![dir(b""), file(b"a", 20), Part::Data(vec![1; 6]), Part::Data(vec![1; 6])],
        vec![dir(b""), file(b"a", 101)],
    ];
    for (number, parts) in much.into_iter().enumerate() {
        let to = scratch.dir(&number.to_string());
        assert!(matches!(write(parts, &to, None, most), Err(WriteError::Most { .. })), "{number}");
    }
    let to = scratch.dir("enough");
    write(
        vec![dir(b""), file(b"a", 100), Part::Hole(90), Part::Data(vec![1; 10]), Part::End],
        &to,
        None,
        most,
    )
    .unwrap();
}

#[test]
fn a_file_that_is_said_to_be_the_same_is_one_of_the_directory_before_and_of_no_other() {
    let scratch = Scratch::new("before");
    let (before, outside) = (scratch.dir("before"), scratch.dir("outside"));
    fs::write(outside.join("secret"), "12").unwrap();
    fs::create_dir(before.join("d")).unwrap();
    fs::write(before.join("d/kept"), "12").unwrap();
    for path in ["d/kept", "../outside/secret"] {
        fs::set_permissions(before.join(path), Permissions::from_mode(0o755)).unwrap();
    }
    symlink("../outside", before.join("way")).unwrap();
    symlink("../outside/secret", before.join("secret")).unwrap();
    let same =
        |path: &[u8], size| vec![dir(b""), dir(parent(path)), entry(path, Node::Same { size }), Part::End];
    let to = scratch.dir("to");
    write(same(b"d/kept", 2), &to, Some(&before), MOST).unwrap();
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(to.join("d/kept")), inode(before.join("d/kept")));
    let lies = [
        same(b"d/kept", 3),
        same(b"d/none", 2),
        same(b"way/secret", 2),
        vec![dir(b""), entry(b"secret", Node::Same { size: 2 }), Part::End],
        vec![dir(b""), entry(b"d", Node::Same { size: 2 }), Part::End],
    ];
    for (number, parts) in lies.into_iter().enumerate() {
        let to = scratch.dir(&format!("to-{number}"));
        let written = write(parts, &to, Some(&before), MOST);
        assert!(matches!(written, Err(WriteError::NotSame)), "{number}: {written:?}");
    }
    let to = scratch.dir("none");
    assert!(matches!(write(same(b"d/kept", 2), &to, None, MOST), Err(WriteError::NotSame)));
}

#[test]
fn a_tree_is_made_of_another_one_by_what_differs() {
    let scratch = Scratch::new("like");
    let from = scratch.dir("from");
    fs::create_dir_all(from.join("t/d/e")).unwrap();
    for path in ["t/d/kept", "t/d/changed", "t/d/e/gone", "t/file", "t/later-dir"] {
        fs::write(from.join(path), path).unwrap();
    }
    let into = scratch.dir("into");
    clone(open(&from).as_fd(), open(&into).as_fd(), b"t").unwrap();
    assert_eq!(parts_of(&into.join("t")), parts_of(&from.join("t")));
    let parts = vec![
        dir(b""),
        dir(b"d"),
        file(b"d/changed", 3),
        Part::Data(b"new".to_vec()),
        Part::Remove(b"d/e".to_vec()),
        entry(b"file", Node::Symlink { target: b"d".to_vec() }),
        dir(b"later-dir"),
        file(b"later-dir/x", 0),
        Part::End,
    ];
    write(parts, &into.join("t"), None, MOST).unwrap();
    assert_eq!(fs::read_to_string(into.join("t/d/changed")).unwrap(), "new");
    assert_eq!(fs::read_to_string(from.join("t/d/changed")).unwrap(), "t/d/changed");
    assert!(!into.join("t/d/e").exists() && from.join("t/d/e/gone").exists());
    assert!(into.join("t/later-dir/x").exists() && from.join("t/later-dir").is_file());
    assert_eq!(fs::metadata(into.join("t/d/kept")).unwrap().nlink(), 2);
}

#[test]
fn what_is_skipped_is_not_told_and_an_error_ends_the_walk() {
    let scratch = Scratch::new("choose");
    fs::create_dir(scratch.at("d")).unwrap();
    fs::write(scratch.at("d/x"), "x").unwrap();
    fs::write(scratch.at("y"), "y").unwrap();
    let told = RefCell::new(Vec::new());
    let mut choose = |entry: &Entry, _: &Stat| match entry.path.as_slice() {
        b"d" => Choice::Skip,
        b"y" => Choice::Named,
        _ => Choice::Whole,
    };
    walk(open(&scratch.0), &mut choose, &mut |part| {
        told.borrow_mut().push(part);
        Ok(())
    })
    .unwrap();
    let paths: Vec<Vec<u8>> = told
        .borrow()
        .iter()
        .filter_map(|part| match part {
            Part::Entry(entry) => Some(entry.path.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(paths, [b"".to_vec(), b"d/x".to_vec(), b"y".to_vec()]);
    assert!(matches!(told.borrow().last(), Some(Part::Entry(Entry { node: Node::Same { size: 1 }, .. }))));
    let broken =
        walk(open(&scratch.0), &mut |_, _| Choice::Whole, &mut |_| Err(io::ErrorKind::BrokenPipe.into()));
    assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn what_has_no_bytes_costs_a_block_and_nobody_counts_further_than_to_the_limit() {
    let scratch = Scratch::new("usage");
    let root = scratch.dir("root");
    for number in 0..10 {
        fs::create_dir(root.join(format!("d{number}"))).unwrap();
        fs::write(root.join(format!("d{number}/empty")), "").unwrap();
        symlink("x", root.join(format!("l{number}"))).unwrap();
    }
    fs::set_permissions(root.join("d3"), Permissions::from_mode(0o000)).unwrap();
    let used = |most| usage(open(&root), most).unwrap().unwrap();
    assert_eq!(used(u64::MAX).nodes, 30);
    assert!(used(u64::MAX).bytes >= 30 * NODE_BYTES, "{:?}", used(u64::MAX));
    assert_eq!(used(30).nodes, 30);
    assert_eq!((used(5).nodes, used(25).nodes), (6, 26));
}

#[test]
fn words_are_understood_as_they_were_said() {
    let order = Order::Layer { name: "ab".into(), like: None, note: "/x".into() };
    let mut decoder = Decoder::default();
    decoder.push(&word(&order));
    let frame = decoder.next_frame().unwrap().unwrap();
    assert_eq!(understood::<Order>(frame.clone()), Ok(order));
    assert!(understood::<Answer>(frame).is_err());
    assert!(understood::<Order>(Frame::Part(Part::End)).is_err());
    for bytes in [&[9, 0, 0, 0, 0][..], &[2, 0, 0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 0xff]] {
        let mut decoder = Decoder::default();
        decoder.push(bytes);
        assert!(decoder.next_frame().is_err(), "{bytes:?}");
    }
}

#[test]
fn a_directory_of_more_names_than_may_be_held_is_told_as_any_other() {
    let scratch = Scratch::new("many");
    let root = scratch.dir("root");
    for number in 0..500 {
        fs::write(root.join(format!("{}", number * 7919 % 1000)), "").unwrap();
    }
    for below in ["3", "50", "500-dir", "zz"] {
        let dir = root.join(format!("d{below}"));
        fs::create_dir(&dir).unwrap();
        (0..40).for_each(|number| fs::write(dir.join(number.to_string()), "x").unwrap());
    }
    let all = parts_of(&root);
    for held in [(1, 1), (2, 1), (7, 3), (64, 8), (500, 1), (504, 16)] {
        let mut parts = Vec::new();
        walk_holding(held, open(&root), &mut |_, _| Choice::Whole, &mut |part| {
            parts.push(part);
            Ok(())
        })
        .unwrap();
        parts.push(Part::End);
        assert!(parts == all, "{held:?}");
    }
    let nodes = all.iter().filter(|part| matches!(part, Part::Entry(_))).count();
    assert_eq!(nodes, 1 + 500 + 4 * 41);
}
