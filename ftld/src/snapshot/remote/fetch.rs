//! Fetching: only what this side does not have, and nothing that is not what its hash says.
//!
//! Owns the order of fetching and the bounds. Everything comes from somebody who may be anybody: a listing's
//! length, how deep directories nest and how often they occur are limited before anything is unfolded.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ftl_core::id::Hash;
use ftl_core::tree::{Named, named_unless};
use rustix::fs::statvfs;

use super::super::blob::{Look, SMALL};
use super::super::content::Moved;
use super::super::notes::unread_from;
use super::super::rules::{Rules, forbidden};
use super::super::store::LocalStore;
use super::super::{SnapshotError, io_error, lock, step};
use super::{Journey, Ref, Remote, RemoteError, Told, Travelled, at_once, contents_of, ordered, unread};

/// Bytes of all listings of a snapshot; a path takes about a hundred.
const LONGEST_LISTINGS: u64 = 1 << 30;
/// Bytes of ignore rules as they travel, where they are escaped, and of what could not be read.
const LONGEST_NOTES: u64 = 64 << 20;
/// Bytes that are written at once, or are a hole.
const BLOCK: usize = 128 * 1024;
/// How a content looks that came from no project's file.
const PLAIN: Look = Look { mode: 0o600, mtime_ns: 0 };

/// Fetches a snapshot and what is noted beside it. Listings that are here are looked into as well: what they name may
/// have gone. The caller holds a [`Lease`](super::super::Lease) until something that is stored needs it.
///
/// # Errors
/// When an object is missing or damaged at the remote, or the store cannot be written. What came in by
/// then stays until it is cleaned, so that the next attempt goes on from there.
pub fn pull(
    store: &LocalStore,
    remote: &dyn Remote,
    reference: &Ref,
    told: &Told<'_>,
) -> Result<Travelled, RemoteError> {
    let _lease = store.lease();
    let (journey, root) = (Journey::new(told), reference.snapshot.0);
    let (all, fresh) = listings(store, remote, root, &journey)?;
    let order = ordered(root, &all)?;
    let contents = contents_of(all.values());
    let total = order.len() + contents.len();
    let mut wanted = Vec::new();
    for (hash, size) in contents {
        // A file that a power cut left without its bytes must not count.
        if !store.blobs.has_sound(Moved { hash, size })? {
            wanted.push((hash, size));
        }
    }
    has_room(store, wanted.iter().fold(0, |sum, (_, size)| u64::saturating_add(sum, *size)))?;
    journey.expect(wanted.len() + fresh.len());
    journey.tell(Default::default())?;
    at_once(&wanted, &|(hash, size)| {
        let fetched = fetch_content(store, remote, (*hash, *size), &journey);
        fetched.map_err(|error| journey.why(error))?;
        journey.add(*size)
    })?;
    let notes = notes(store, remote, reference)?;
    // Without it a snapshot that is here says that everything could be read.
    if let Some((_, unread)) = &notes {
        store.put_unread(reference.snapshot, unread.as_deref())?;
    }
    // Each after all that it names.
    for hash in order {
        if let Some(bytes) = fresh.get(&hash) {
            store.blobs.put_listing(hash, bytes)?;
            journey.add(bytes.len() as u64)?;
        }
    }
    if let Some((rules, _)) = notes {
        store.put_rules(reference.snapshot, &rules)?;
    }
    store.settle()?;
    Ok(journey.end(total))
}

type Listings = (HashMap<Hash, Named>, HashMap<Hash, Vec<u8>>);

/// What each listing beneath a root names, and the bytes of those that are not here.
fn listings(
    store: &LocalStore,
    remote: &dyn Remote,
    root: Hash,
    journey: &Journey<'_>,
) -> Result<Listings, RemoteError> {
    let (mut all, mut fresh) = (HashMap::new(), HashMap::new());
    let left = Budget::new(LONGEST_LISTINGS);
    let mut level = vec![root];
    while !level.is_empty() {
        let read = Mutex::new(BTreeMap::new());
        at_once(&level, &|hash| {
            let (bytes, is_here) = listing(store, remote, *hash, &left)?;
            journey.is_wanted()?;
            let named = looked_into(*hash, &bytes)?;
            lock(&read).insert(*hash, (named, (!is_here).then_some(bytes)));
            Ok(())
        })?;
        level.clear();
        for (hash, (named, bytes)) in read.into_inner().unwrap_or_default() {
            level.extend(&named.listings);
            all.insert(hash, named);
            fresh.extend(bytes.map(|bytes| (hash, bytes)));
        }
        level.sort_unstable();
        level.dedup();
        level.retain(|hash| !all.contains_key(hash));
    }
    Ok((all, fresh))
}

/// What a listing names, if it holds only names that a snapshot can hold.
fn looked_into(hash: Hash, bytes: &[u8]) -> Result<Named, RemoteError> {
    let mut found = None;
    let named = named_unless(bytes, &mut |name| {
        found = forbidden(name).map(|_| name.escape_ascii().to_string());
        found.is_some()
    });
    match found {
        Some(name) => Err(RemoteError::Forbidden { name }),
        None => named.map_err(|_| RemoteError::Damaged { hash }),
    }
}

/// A listing's bytes, and whether they are here.
fn listing(
    store: &LocalStore,
    remote: &dyn Remote,
    hash: Hash,
    left: &Budget,
) -> Result<(Vec<u8>, bool), RemoteError> {
    match store.listing(hash) {
        Ok(bytes) if Hash::of(&bytes) == hash => {
            left.take(bytes.len()).map_err(|error| unread(hash, error))?;
            Ok((bytes, true))
        }
        Ok(_) | Err(SnapshotError::Missing { .. } | SnapshotError::Damaged { .. }) => {
            let content = Counted { content: remote.get(hash)?, left };
            Ok((read_whole(hash, content)?, false))
        }
        Err(error) => Err(error.into()),
    }
}

/// Ignore rules, and what could not be read, as both are stored.
type Notes = (Vec<u8>, Option<Vec<u8>>);

/// What came with a snapshot, unless its own is here; the rules of a reference without any are empty.
fn notes(store: &LocalStore, remote: &dyn Remote, reference: &Ref) -> Result<Option<Notes>, RemoteError> {
    if store.rules(reference.snapshot).is_ok() {
        return Ok(None);
    }
    let mut rules = b"[]".to_vec();
    if let Some(hash) = reference.rules {
        rules = fetch_bytes(remote, hash, LONGEST_NOTES)?;
        let parsed = Rules::from_bytes(&rules).map_err(|_| RemoteError::Damaged { hash })?;
        if parsed.are_too_large() {
            return Err(RemoteError::TooLarge);
        }
    }
    let Some(hash) = reference.unread else { return Ok(Some((rules, None))) };
    let unread = fetch_bytes(remote, hash, LONGEST_NOTES)?;
    unread_from(&unread).map_err(|_| RemoteError::Damaged { hash })?;
    Ok(Some((rules, Some(unread))))
}

/// That there is room for so many bytes. Compressed and sparse contents take less; a remote that names more
/// than the disk has must not fill it.
fn has_room(store: &LocalStore, needed: u64) -> Result<(), RemoteError> {
    let disk = statvfs(&store.dir).map_err(io_error("measure", &store.dir))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed > free { Err(RemoteError::Full { needed, free }) } else { Ok(()) }
}

fn fetch_content(
    store: &LocalStore,
    remote: &dyn Remote,
    (hash, size): (Hash, u64),
    journey: &Journey<'_>,
) -> Result<(), RemoteError> {
    if size <= SMALL {
        let bytes = fetch_bytes(remote, hash, size)?;
        if bytes.len() as u64 != size {
            return Err(RemoteError::Damaged { hash });
        }
        store.blobs.put_bytes(&bytes, PLAIN)?;
        return Ok(());
    }
    let path = store.blobs.fresh_path();
    let file = step::create(&path).map_err(io_error("create", &path))?;
    let kept = remote.get(hash).and_then(|content| {
        let written =
            write_sparse(&mut journey.watch(content).take(size.saturating_add(1)), hash, (&file, &path))?;
        if written != (Moved { hash, size }) {
            return Err(RemoteError::Damaged { hash });
        }
        Ok(store.blobs.put_file(&file, PLAIN)?)
    });
    step::remove(&path).map_err(io_error("remove", &path))?;
    kept.map(drop)
}

/// Writes what comes into an empty file, zeros as holes.
fn write_sparse(content: &mut dyn Read, hash: Hash, to: (&File, &Path)) -> Result<Moved, RemoteError> {
    let (file, path) = to;
    let (mut hasher, mut block, mut at) = (blake3::Hasher::new(), Vec::with_capacity(BLOCK), 0);
    loop {
        block.clear();
        content.take(BLOCK as u64).read_to_end(&mut block).map_err(|source| unread(hash, source))?;
        hasher.update(&block);
        if block.iter().any(|byte| *byte != 0) {
            step::write_at(file, &block, at).map_err(io_error("write", path))?;
        }
        at += block.len() as u64;
        if block.len() < BLOCK {
            step::cut(file, at).map_err(io_error("write", path))?;
            return Ok(Moved { hash: Hash(*hasher.finalize().as_bytes()), size: at });
        }
    }
}

/// An object of at most so many bytes that is what its hash says.
fn fetch_bytes(remote: &dyn Remote, hash: Hash, most: u64) -> Result<Vec<u8>, RemoteError> {
    read_whole(hash, remote.get(hash)?.take(most.saturating_add(1)))
}

fn read_whole(hash: Hash, mut content: impl Read) -> Result<Vec<u8>, RemoteError> {
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(|source| unread(hash, source))?;
    if Hash::of(&bytes) == hash { Ok(bytes) } else { Err(RemoteError::Damaged { hash }) }
}

/// Bytes that may still be read, by all who read at the same time.
struct Budget(AtomicU64);

impl Budget {
    fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let less = |left: u64| left.checked_sub(bytes as u64);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.map(drop).map_err(|_| io::ErrorKind::FileTooLarge.into())
    }
}

/// Takes what is read from a budget as it comes, before anybody knows how much it will be.
struct Counted<'a, R> {
    content: R,
    left: &'a Budget,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(into)?;
        self.left.take(read)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_at_the_same_time_comes_out_of_one_budget() {
        let left = Budget::new(1000);
        let read = |bytes: usize| {
            read_whole(Hash::of(&vec![7; bytes]), Counted { content: &*vec![7; bytes], left: &left })
        };
        assert!(read(600).is_ok() && read(400).is_ok() && read(0).is_ok());
        assert!(matches!(read(1), Err(RemoteError::TooLarge)));
        // Of what never ends no more is kept than the budget has.
        let left = Budget::new(1 << 20);
        let endless = read_whole(Hash::of(b""), Counted { content: io::repeat(0), left: &left });
        assert!(matches!(endless, Err(RemoteError::TooLarge)));
    }
}
