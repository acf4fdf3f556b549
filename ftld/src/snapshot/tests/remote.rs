//! Snapshots that travel: only what is missing, and nothing half.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Mutex;

use super::super::remote::{self, Ref, Remote, RemoteError, Travelled};
use super::*;

/// A remote in a directory, that fails when it is told to.
struct LocalDir {
    dir: PathBuf,
    /// Objects that may still be put.
    left: Mutex<usize>,
    /// What was put, in order.
    put: Mutex<Vec<Hash>>,
}

impl LocalDir {
    fn new(dir: PathBuf) -> Self {
        fs::create_dir_all(dir.join("refs")).unwrap();
        fs::create_dir_all(dir.join("objects")).unwrap();
        Self { dir, left: Mutex::new(usize::MAX), put: Mutex::default() }
    }

    fn forget(&self, hash: Hash) {
        fs::remove_file(self.object(hash)).unwrap();
    }

    fn object(&self, hash: Hash) -> PathBuf {
        self.dir.join("objects").join(hash.to_hex())
    }

    fn allow(&self, puts: usize) {
        *self.left.lock().unwrap() = puts;
        self.put.lock().unwrap().clear();
    }
}

impl Remote for LocalDir {
    fn has(&self, hashes: &[Hash]) -> Result<Vec<bool>, RemoteError> {
        Ok(hashes.iter().map(|hash| self.object(*hash).exists()).collect())
    }

    fn put(&self, hash: Hash, size: u64, content: &mut dyn Read) -> Result<(), RemoteError> {
        let mut left = self.left.lock().unwrap();
        let mut bytes = Vec::new();
        let unread = |error| RemoteError::Failed { act: "read what is to be kept", source: Box::new(error) };
        content.read_to_end(&mut bytes).map_err(unread)?;
        assert_eq!(bytes.len() as u64, size);
        if *left == 0 {
            return Err(RemoteError::Failed { act: "keep an object", source: "the line broke".into() });
        }
        *left -= 1;
        self.put.lock().unwrap().push(hash);
        fs::write(self.object(hash), bytes).unwrap();
        Ok(())
    }

    fn get(&self, hash: Hash) -> Result<Box<dyn Read>, RemoteError> {
        let file = fs::File::open(self.object(hash)).map_err(|_| RemoteError::Missing { hash })?;
        Ok(Box::new(file))
    }

    fn list(&self, after: Option<Hash>, most: usize) -> Result<Vec<Hash>, RemoteError> {
        let names = fs::read_dir(self.dir.join("objects")).unwrap();
        let mut all: Vec<Hash> =
            names.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        all.sort();
        Ok(all.into_iter().filter(|hash| after.is_none_or(|after| *hash > after)).take(most).collect())
    }

    fn refs(&self) -> Result<Vec<Ref>, RemoteError> {
        let names = fs::read_dir(self.dir.join("refs")).unwrap();
        let read = |path: PathBuf| {
            let snapshot = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let text = fs::read_to_string(path).unwrap();
            let [rules, unread, about] = text.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{text}")
            };
            let about = about.as_bytes().to_vec();
            Ref { snapshot, rules: rules.parse().ok(), unread: unread.parse().ok(), about }
        };
        Ok(names.map(|entry| read(entry.unwrap().path())).collect())
    }

    fn put_ref(&self, reference: &Ref) -> Result<(), RemoteError> {
        let name = reference.snapshot.to_string();
        let [rules, unread] = [reference.rules, reference.unread]
            .map(|note: Option<Hash>| note.map(|note| note.to_hex()).unwrap_or_default());
        let about = String::from_utf8(reference.about.clone()).unwrap();
        fs::write(self.dir.join("refs").join(name), format!("{rules} {unread} {about}")).unwrap();
        Ok(())
    }
}

fn push(store: &LocalStore, to: &LocalDir, reference: &Ref) -> Result<Travelled, RemoteError> {
    remote::push(store, to, reference, false, &|_| ControlFlow::Continue(()))
}

fn pull(store: &LocalStore, from: &LocalDir, id: SnapshotId) -> Result<Travelled, RemoteError> {
    let named = from.refs()?.into_iter().find(|known| known.snapshot == id);
    let bare = Ref { snapshot: id, rules: None, unread: None, about: Vec::new() };
    remote::pull(store, from, &named.unwrap_or(bare), &|_| ControlFlow::Continue(()))
}

fn large(seed: u32) -> Vec<u8> {
    (0..6000u32).flat_map(|n| Hash::of(&(u64::from(seed) << 32 | u64::from(n)).to_le_bytes()).0).collect()
}

fn reference(taken: &Taken) -> Ref {
    Ref { snapshot: taken.id, rules: None, unread: None, about: b"about".to_vec() }
}

/// A project with a snapshot, a remote, and the store of another machine.
fn world() -> (Place, Taken, LocalDir, LocalStore) {
    let place = Place::new();
    for (at, content) in [("a/b/c", "c"), ("a/d", "d"), ("e/f", "f"), ("twin/b/c", "c")] {
        write(&place.project(), at, content);
        set_mtime(&place.project().join(at), 5, 0);
    }
    for at in ["a/b", "twin/b"] {
        set_mtime(&place.project().join(at), 5, 0);
    }
    write(&place.project(), "large", large(1));
    let taken = place.take();
    let remote = LocalDir::new(place.path("remote"));
    let other = LocalStore::open(&place.path("other"), None).unwrap();
    (place, taken, remote, other)
}

#[test]
fn a_snapshot_arrives_and_the_next_one_sends_what_changed() {
    let (place, taken, remote, other) = world();
    let sent = push(&place.store, &remote, &reference(&taken)).unwrap();
    // Four contents, and the listings of five directories: `b` is twice the same.
    assert_eq!((sent.objects, sent.present), (4 + 5, 0));
    assert_eq!(pull(&other, &remote, taken.id).unwrap(), sent);
    let kept = remote.refs().unwrap().remove(0);
    assert_eq!(Ref { rules: None, ..kept }, reference(&taken));
    let restored = other.restore(taken.id, &place.path("out")).unwrap();
    assert_eq!((restored.files, restored.lost), (5, vec![]));
    assert_eq!(place.store.take(&place.path("out"), LATER).unwrap().id, taken.id);

    write(&place.project(), "a/d", "changed");
    let next = place.take();
    let sent = push(&place.store, &remote, &reference(&next)).unwrap();
    assert_eq!((sent.objects, sent.present), (1 + 2, 3 + 3));
    assert_eq!(pull(&other, &remote, next.id).unwrap(), sent);
    assert_eq!(push(&place.store, &remote, &reference(&next)).unwrap().objects, 0);
    assert_eq!(pull(&other, &remote, next.id).unwrap().objects, 0);
    assert_eq!(remote.list(None, 5).unwrap().len(), 5);
}

#[test]
fn the_ignore_rules_travel_with_their_snapshot() {
    let (place, _, remote, other) = world();
    write(&place.project(), ".gitignore", "*.log\n");
    let taken = place.take();
    push(&place.store, &remote, &reference(&taken)).unwrap();
    pull(&other, &remote, taken.id).unwrap();
    let digest = |store: &LocalStore| store.rules(taken.id).unwrap().digest();
    assert_eq!(digest(&other), digest(&place.store));
    // Rules that were changed on the way are not taken, and neither is their snapshot.
    let rules = remote.refs().unwrap().iter().find(|known| known.snapshot == taken.id).unwrap().rules;
    fs::write(remote.object(rules.unwrap()), "[]").unwrap();
    let third = LocalStore::open(&place.path("third"), None).unwrap();
    assert!(matches!(pull(&third, &remote, taken.id), Err(RemoteError::Damaged { .. })));
    assert!(third.tree(taken.id).is_err());
}

#[test]
fn what_could_not_be_read_travels_with_its_snapshot() {
    use ftl_core::tree::RelPath;
    let (place, taken, remote, other) = world();
    let unread = std::collections::BTreeSet::from([RelPath::new("locked").unwrap()]);
    place.store.put_unread(taken.id, Some(&serde_json::to_vec(&unread).unwrap())).unwrap();
    push(&place.store, &remote, &reference(&taken)).unwrap();
    // What an interrupted attempt left does not stay.
    other.put_unread(taken.id, Some(b"[]")).unwrap();
    pull(&other, &remote, taken.id).unwrap();
    assert_eq!(other.unread(taken.id).unwrap(), unread);

    let noted = remote.refs().unwrap().remove(0).unread.unwrap();
    fs::write(remote.object(noted), "[]").unwrap();
    let third = LocalStore::open(&place.path("third"), None).unwrap();
    assert!(matches!(pull(&third, &remote, taken.id), Err(RemoteError::Damaged { .. })));
    assert!(third.tree(taken.id).is_err());
}

#[test]
fn more_ignore_rules_than_a_project_may_have_are_refused() {
    let (place, taken, remote, other) = world();
    push(&place.store, &remote, &reference(&taken)).unwrap();
    let rules = format!(r#"[{{"dir":null,"kind":"Git","text":"{}"}}]"#, "a".repeat((16 << 20) + 1));
    let hash = Hash::of(rules.as_bytes());
    fs::write(remote.object(hash), rules).unwrap();
    remote.put_ref(&Ref { rules: Some(hash), ..reference(&taken) }).unwrap();
    assert!(matches!(pull(&other, &remote, taken.id), Err(RemoteError::TooLarge)));
}

#[test]
fn what_a_listing_here_names_and_is_gone_is_fetched_again() {
    let (place, taken, remote, other) = world();
    push(&place.store, &remote, &reference(&taken)).unwrap();
    pull(&other, &remote, taken.id).unwrap();
    fs::remove_file(other.blobs.path(Hash::of(&large(1)))).unwrap();
    assert_eq!(pull(&other, &remote, taken.id).unwrap().objects, 1);
    assert_eq!(other.restore(taken.id, &place.path("out")).unwrap().lost, []);
}

#[test]
fn a_file_here_that_a_power_cut_emptied_is_fetched_again() {
    let (place, taken, remote, other) = world();
    push(&place.store, &remote, &reference(&taken)).unwrap();
    pull(&other, &remote, taken.id).unwrap();
    let path = other.blobs.path(Hash::of(&large(1)));
    fs::write(&path, vec![0; large(1).len()]).unwrap();
    // Only a process that has neither written nor read it can find it so.
    drop(other);
    let other = LocalStore::open(&place.path("other"), None).unwrap();
    assert_eq!(pull(&other, &remote, taken.id).unwrap().objects, 1);
    assert_eq!(fs::read(&path).unwrap(), large(1));
}

#[test]
fn what_the_remote_lost_is_sent_again_when_all_is_looked_for() {
    let (place, taken, remote, other) = world();
    push(&place.store, &remote, &reference(&taken)).unwrap();
    remote.forget(Hash::of(b"d"));
    let inner = taken.tree.dir(Some(&ftl_core::tree::RelPath::new("a/b").unwrap())).unwrap().hash();
    remote.forget(inner);
    assert_eq!(push(&place.store, &remote, &reference(&taken)).unwrap().objects, 0);
    let all = remote::push(&place.store, &remote, &reference(&taken), true, &|_| ControlFlow::Continue(()));
    assert_eq!(all.unwrap().objects, 2);
    assert_eq!(pull(&other, &remote, taken.id).unwrap().objects, 9);
}

#[test]
fn it_ends_when_nobody_wants_it_any_more() {
    let (place, taken, remote, _) = world();
    let sent = |most: u64| {
        let told = |progress: remote::Progress| match progress.objects >= most {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        remote::push(&place.store, &remote, &reference(&taken), false, &told)
    };
    assert!(matches!(sent(0), Err(RemoteError::BrokenOff)) && remote.list(None, 9).unwrap().is_empty());
    assert!(matches!(sent(2), Err(RemoteError::BrokenOff)) && remote.list(None, 9).unwrap().len() < 9);
    assert_eq!(remote.refs().unwrap(), []);
}

#[test]
fn it_ends_within_an_object_that_nobody_wants_any_more() {
    let (place, _, remote, other) = world();
    for at in ["a", "e", "twin"] {
        fs::remove_dir_all(place.project().join(at)).unwrap();
    }
    let taken = place.take();
    push(&place.store, &remote, &reference(&taken)).unwrap();
    let kept = remote.refs().unwrap().remove(0);
    // After it was said how much is to travel, and before the only content is there.
    let asked = Mutex::new(0);
    let told = |progress: remote::Progress| {
        let mut asked = asked.lock().unwrap();
        *asked += u64::from(progress.of > 0 && progress.objects == 0);
        if *asked > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let error = remote::pull(&other, &remote, &kept, &told).unwrap_err();
    assert!(matches!(error, RemoteError::BrokenOff), "{error}");
    assert!(other.open_blob(Hash::of(&large(1))).is_err());
}

#[test]
fn directories_that_a_stranger_nests_without_end_are_refused() {
    use ftl_core::tree::{Dir, Entry, Node};
    let (place, taken, remote, other) = world();
    push(&place.store, &remote, &reference(&taken)).unwrap();
    let node = |dir: &std::sync::Arc<Dir>| {
        (Entry { node: Node::Dir { mode: 0o755 }, mtime_ns: 0 }, Some(dir.clone()))
    };
    for (twins, levels) in [(1, 300), (2, 60)] {
        let mut dir = std::sync::Arc::new(Dir::of([]));
        for _ in 0..levels {
            fs::write(remote.object(dir.hash()), dir.listing()).unwrap();
            let items = (0..twins).map(|twin: u8| (vec![b'a' + twin], node(&dir).0, node(&dir).1));
            dir = std::sync::Arc::new(Dir::of(items));
        }
        fs::write(remote.object(dir.hash()), dir.listing()).unwrap();
        let error = pull(&other, &remote, SnapshotId(dir.hash())).unwrap_err();
        assert!(matches!(error, RemoteError::TooLarge), "{twins}: {error}");
    }
}

#[test]
fn a_directory_that_a_stranger_hangs_in_twice_must_not_be_too_deep_at_either_place() {
    use ftl_core::tree::{Dir, Entry, Node};
    let (_place, _, remote, other) = world();
    let within = |items: &[(&str, &std::sync::Arc<Dir>)]| {
        let entry = Entry { node: Node::Dir { mode: 0o755 }, mtime_ns: 0 };
        let items =
            items.iter().map(|(name, dir)| (name.as_bytes().to_vec(), entry.clone(), Some((*dir).clone())));
        let dir = std::sync::Arc::new(Dir::of(items));
        fs::write(remote.object(dir.hash()), dir.listing()).unwrap();
        dir
    };
    let chain = (0..200).fold(within(&[]), |dir, _| within(&[("d", &dir)]));
    let other_chain = (0..200).fold(chain.clone(), |dir, _| within(&[("d", &dir)]));
    let root = within(&[("a", &chain), ("b", &other_chain)]);
    let error = pull(&other, &remote, SnapshotId(root.hash())).unwrap_err();
    assert!(matches!(error, RemoteError::TooLarge), "{error}");
}

#[test]
fn names_and_modes_that_no_snapshot_has_are_refused() {
    use ftl_core::tree::{Dir, Entry, Node};
    let (_place, _, remote, other) = world();
    let hash = Hash::of(b"");
    fs::write(remote.object(hash), b"").unwrap();
    let pulled = |name: &str, mode: u32| {
        let entry = Entry { node: Node::File { mode, size: 0, hash }, mtime_ns: 0 };
        let dir = Dir::of([(name.as_bytes().to_vec(), entry, None)]);
        fs::write(remote.object(dir.hash()), dir.listing()).unwrap();
        pull(&other, &remote, SnapshotId(dir.hash()))
    };
    for name in [".git", ".GIT", ".hg", ".ftl", "git~1"] {
        let error = pulled(name, 0o644).unwrap_err();
        assert!(matches!(error, RemoteError::Forbidden { .. }), "{name}: {error}");
    }
    for name in [".ftlconfig", ".ftlignore", ".gitignore"] {
        pulled(name, 0o644).unwrap();
    }
    assert!(matches!(pulled("a", 0o4755), Err(RemoteError::Damaged { .. })));
}

#[test]
fn a_sparse_file_arrives_with_its_holes() {
    use std::os::unix::fs::MetadataExt;
    let (place, _, remote, other) = world();
    let file = fs::File::create(place.project().join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"in the middle", 9 << 20).unwrap();
    file.set_len(16 << 20).unwrap();
    let taken = place.take();
    push(&place.store, &remote, &reference(&taken)).unwrap();
    pull(&other, &remote, taken.id).unwrap();
    let hash = Hash::of(&fs::read(place.project().join("sparse")).unwrap());
    let kept = fs::metadata(other.blobs.path(hash)).unwrap();
    assert_eq!(kept.len(), 16 << 20);
    assert!(kept.blocks() * 512 < 1 << 20, "{} bytes on the disk", kept.blocks() * 512);
    assert_eq!(other.restore(taken.id, &place.path("out")).unwrap().lost, []);
}

#[test]
fn sizes_that_a_stranger_makes_up_are_refused_before_anything_is_written() {
    use ftl_core::tree::{Dir, Entry, Node};
    let (_place, _, remote, other) = world();
    let hash = Hash::of(&large(1));
    fs::write(remote.object(hash), large(1)).unwrap();
    let pulled = |size: u64| {
        let entry = Entry { node: Node::File { mode: 0o644, size, hash }, mtime_ns: 0 };
        let dir = Dir::of([(b"a".to_vec(), entry, None)]);
        fs::write(remote.object(dir.hash()), dir.listing()).unwrap();
        pull(&other, &remote, SnapshotId(dir.hash()))
    };
    assert!(matches!(pulled(u64::MAX), Err(RemoteError::Full { .. })));
    let size = large(1).len() as u64;
    for wrong in [size + 1, size - 1] {
        assert!(matches!(pulled(wrong), Err(RemoteError::Damaged { .. })));
    }
    pulled(size).unwrap();
}

#[test]
fn an_upload_that_is_interrupted_anywhere_leaves_no_reference_and_goes_on_later() {
    let (place, taken, remote, other) = world();
    for puts in 0..9 {
        fs::remove_dir_all(place.path("remote/objects")).unwrap();
        fs::create_dir(place.path("remote/objects")).unwrap();
        remote.allow(puts);
        let error = push(&place.store, &remote, &reference(&taken)).unwrap_err();
        assert!(matches!(error, RemoteError::Failed { .. }), "{error}");
        assert_eq!(remote.refs().unwrap(), []);
        // Whatever is there has all that it names.
        for hash in remote.put.lock().unwrap().clone() {
            let bytes = fs::read(remote.object(hash)).unwrap();
            if let Ok(named) = ftl_core::tree::named(&bytes) {
                let all = named.contents.into_iter().map(|(hash, _)| hash).chain(named.listings);
                assert!(remote.has(&all.collect::<Vec<_>>()).unwrap().into_iter().all(|has| has));
            }
        }
        assert!(matches!(pull(&other, &remote, taken.id), Err(RemoteError::Missing { .. })));
        remote.allow(usize::MAX);
        assert_eq!(push(&place.store, &remote, &reference(&taken)).unwrap().objects as usize, 9 - puts);
        // One file more: the ignore rules.
        assert_eq!(remote.list(None, 99).unwrap().len(), 10);
        fs::remove_dir_all(place.path("remote/refs")).unwrap();
        fs::create_dir(place.path("remote/refs")).unwrap();
    }
}

#[test]
fn an_object_that_was_changed_at_the_remote_never_counts() {
    let (place, taken, remote, _) = world();
    push(&place.store, &remote, &reference(&taken)).unwrap();
    for hash in remote.list(None, 100).unwrap() {
        let whole = fs::read(remote.object(hash)).unwrap();
        for wrong in [[whole.as_slice(), b"x"].concat(), whole[..whole.len() - 1].to_vec(), Vec::new()] {
            fs::write(remote.object(hash), wrong).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let other = LocalStore::open(dir.path(), None).unwrap();
            let error = pull(&other, &remote, taken.id).unwrap_err();
            assert!(matches!(error, RemoteError::Damaged { hash: found } if found == hash), "{error}");
            assert!(other.open_blob(hash).is_err() && other.tree(taken.id).is_err());
        }
        fs::write(remote.object(hash), whole).unwrap();
    }
}

#[test]
fn a_large_file_that_is_damaged_here_is_not_referred_to_there() {
    let (place, taken, remote, _) = world();
    let path = place.store.blobs.path(Hash::of(&large(1)));
    let mut bytes = large(1);
    bytes[5] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = push(&place.store, &remote, &reference(&taken)).unwrap_err();
    assert!(matches!(error, RemoteError::Store(SnapshotError::Damaged { .. })), "{error}");
    assert!(!remote.object(Hash::of(&large(1))).exists());
    assert_eq!(remote.refs().unwrap(), []);
}
