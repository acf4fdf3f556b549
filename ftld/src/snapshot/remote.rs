//! Snapshots on another machine.
//!
//! Owns the seam to a remote and what travels: only what the other side does not have. An object is sent after
//! all that it names and a reference after its snapshot, so that whatever is interrupted leaves nothing that
//! is referred to and not there; so a listing which the other side has need not be looked into. What comes
//! in is compared with its hash before it counts. Must not know protocols, keys or retries.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::{Named, named};

use super::blob::{Look, SMALL};
use super::store::LocalStore;
use super::{SnapshotError, io_error};

/// Objects that are asked for at once.
const ASKED: usize = 1000;
/// A listing that is longer comes from nobody who means well: 4096 bytes of name for each of a million paths.
const LONGEST_LISTING: u64 = 1 << 32;
/// How a content looks that came from no project's file.
const PLAIN: Look = Look { mode: 0o600, mtime_ns: 0 };

/// A place that keeps objects by their hashes, and references to snapshots. Calls may come from several
/// threads. Everything that it hands out is checked.
pub trait Remote: Send + Sync {
    /// Which of these objects are there as a whole, in the order of the question.
    ///
    /// # Errors
    /// When the remote cannot tell.
    fn has(&self, hashes: &[Hash]) -> Result<Vec<bool>, RemoteError>;

    /// Stores an object of `size` bytes. It must not be there before all of it is; storing again what is
    /// there is no error.
    ///
    /// # Errors
    /// When it may not be there.
    fn put(&self, hash: Hash, size: u64, content: &mut dyn Read) -> Result<(), RemoteError>;

    /// An object's bytes.
    ///
    /// # Errors
    /// [`RemoteError::Missing`] when it is not there.
    fn get(&self, hash: Hash) -> Result<Box<dyn Read>, RemoteError>;

    /// Objects in the order of their hashes, after one, at most so many.
    ///
    /// # Errors
    /// When the remote cannot tell.
    fn list(&self, after: Option<Hash>, most: usize) -> Result<Vec<Hash>, RemoteError>;

    /// All references.
    ///
    /// # Errors
    /// When the remote cannot tell.
    fn refs(&self) -> Result<Vec<Ref>, RemoteError>;

    /// Keeps a reference; one to the same snapshot is replaced.
    ///
    /// # Errors
    /// When it may not be kept.
    fn put_ref(&self, reference: &Ref) -> Result<(), RemoteError>;
}

/// A reference to a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ref {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What the owner wants to know of it; the store does not look into it.
    pub about: Vec<u8>,
}

/// Why something did not travel.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// An object that should be there is not.
    #[error("object {hash} is missing at the remote")]
    Missing {
        /// Which.
        hash: Hash,
    },
    /// An object is not what its hash says.
    #[error("object {hash} is damaged at the remote")]
    Damaged {
        /// Which.
        hash: Hash,
    },
    /// The remote could not do something.
    #[error("the remote cannot {act}")]
    Failed {
        /// What was tried.
        act: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store could not.
    #[error(transparent)]
    Store(#[from] SnapshotError),
}

/// What travelled.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Travelled {
    /// Contents and listings.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Travelled {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

// === sending ===

/// Sends a snapshot, then the reference to it.
///
/// # Errors
/// When an object is not in the store, or the remote refuses one; the reference is not kept then.
pub fn push(store: &LocalStore, remote: &dyn Remote, reference: &Ref) -> Result<Travelled, RemoteError> {
    let _lease = store.lease();
    let missing = missing_listings(store, remote, reference.snapshot.0)?;
    let mut plan = Plan {
        store,
        missing: &missing,
        done: HashSet::new(),
        listings: Vec::new(),
        contents: BTreeSet::new(),
    };
    plan.visit(reference.snapshot.0)?;
    let (listings, contents) = (plan.listings, plan.contents.into_iter().collect::<Vec<_>>());
    let mut sent = Travelled::default();
    for some in contents.chunks(ASKED) {
        let known = remote.has(some)?;
        for (hash, _) in some.iter().zip(known).filter(|(_, known)| !known) {
            send(store, remote, *hash, &mut sent)?;
        }
    }
    listings.into_iter().try_for_each(|hash| send(store, remote, hash, &mut sent))?;
    remote.put_ref(reference)?;
    Ok(sent)
}

/// The listings that the remote does not have. One that it has is not looked into.
fn missing_listings(
    store: &LocalStore,
    remote: &dyn Remote,
    root: Hash,
) -> Result<HashSet<Hash>, RemoteError> {
    let mut missing = HashSet::new();
    let mut level = vec![root];
    while !level.is_empty() {
        let mut next = BTreeSet::new();
        for some in level.chunks(ASKED) {
            let known = remote.has(some)?;
            for (hash, _) in some.iter().zip(known).filter(|(_, known)| !known) {
                if missing.insert(*hash) {
                    next.extend(named(&store.listing(*hash)?).map_err(SnapshotError::from)?.listings);
                }
            }
        }
        level = next.into_iter().filter(|hash| !missing.contains(hash)).collect();
    }
    Ok(missing)
}

/// The order of sending.
struct Plan<'a> {
    store: &'a LocalStore,
    missing: &'a HashSet<Hash>,
    done: HashSet<Hash>,
    /// Each after those that it names.
    listings: Vec<Hash>,
    contents: BTreeSet<Hash>,
}

impl Plan<'_> {
    fn visit(&mut self, hash: Hash) -> Result<(), SnapshotError> {
        if !self.missing.contains(&hash) || !self.done.insert(hash) {
            return Ok(());
        }
        let Named { contents, listings: inner } = named(&self.store.listing(hash)?)?;
        self.contents.extend(contents.into_iter().map(|(hash, _)| hash));
        inner.into_iter().try_for_each(|inner| self.visit(inner))?;
        self.listings.push(hash);
        Ok(())
    }
}

fn send(
    store: &LocalStore,
    remote: &dyn Remote,
    hash: Hash,
    sent: &mut Travelled,
) -> Result<(), RemoteError> {
    let mut content = store.open_blob(hash)?;
    // A large file is read here for the first time since it was stored: what is damaged must not get its name.
    if !content.is(hash).map_err(io_error("read", store.blobs.path(hash)))? {
        store.blobs.set_aside(hash)?;
        return Err(SnapshotError::Damaged { hash }.into());
    }
    let size = content.size().map_err(io_error("read", store.blobs.path(hash)))?;
    remote.put(hash, size, &mut content)?;
    sent.add(size);
    Ok(())
}

/// Hashes what is read.
struct Hashing<R> {
    content: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(into)?;
        self.hasher.update(into.get(..read).unwrap_or_default());
        Ok(read)
    }
}

// === fetching ===

/// Fetches a snapshot. The caller holds a [`Lease`](super::Lease) until something that is stored needs it.
///
/// # Errors
/// When an object is missing or damaged at the remote, or the store cannot be written. What came in by
/// then stays, so that the next attempt goes on from there.
pub fn pull(store: &LocalStore, remote: &dyn Remote, id: SnapshotId) -> Result<Travelled, RemoteError> {
    let _lease = store.lease();
    let mut received = Travelled::default();
    fetch_dir(store, remote, id.0, &mut received, 0)?;
    store.settle()?;
    Ok(received)
}

fn fetch_dir(
    store: &LocalStore,
    remote: &dyn Remote,
    hash: Hash,
    received: &mut Travelled,
    depth: usize,
) -> Result<(), RemoteError> {
    if store.blobs.holds(hash)? {
        return Ok(());
    }
    if depth > ftl_core::tree::RelPath::DEEPEST {
        return Err(RemoteError::Damaged { hash });
    }
    let bytes = fetch_bytes(remote, hash, LONGEST_LISTING)?;
    let Named { contents, listings: inner } = named(&bytes).map_err(|_| RemoteError::Damaged { hash })?;
    for dir in inner {
        fetch_dir(store, remote, dir, received, depth + 1)?;
    }
    for (content, size) in contents {
        if !store.has(content, size)? {
            fetch_content(store, remote, content, size)?;
            received.add(size);
        }
    }
    // Last, so that a listing which is there has everything that it names.
    store.blobs.put_listing(hash, &bytes)?;
    received.add(bytes.len() as u64);
    Ok(())
}

fn fetch_content(store: &LocalStore, remote: &dyn Remote, hash: Hash, size: u64) -> Result<(), RemoteError> {
    if size <= SMALL {
        let bytes = fetch_bytes(remote, hash, size)?;
        store.blobs.put_bytes(&bytes, PLAIN)?;
        return Ok(());
    }
    let path = store.blobs.fresh_path();
    let mut file = File::create_new(&path).map_err(io_error("create", &path))?;
    let mut hashing = Hashing { content: remote.get(hash)?.take(size + 1), hasher: blake3::Hasher::new() };
    let copied = io::copy(&mut hashing, &mut file);
    let whole = *hashing.hasher.finalize().as_bytes() == hash.0;
    let kept = match copied {
        Err(source) => Err(failed("hand out an object", source)),
        Ok(_) if !whole => Err(RemoteError::Damaged { hash }),
        Ok(_) => File::open(&path)
            .map_err(io_error("open", &path))
            .and_then(|file| store.blobs.put_file(&file, PLAIN))
            .map_err(RemoteError::from),
    };
    fs::remove_file(&path).map_err(io_error("remove", &path))?;
    kept.map(drop)
}

/// A small object that is what its hash says.
fn fetch_bytes(remote: &dyn Remote, hash: Hash, most: u64) -> Result<Vec<u8>, RemoteError> {
    let mut bytes = Vec::new();
    let read = remote.get(hash)?.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|source| failed("hand out an object", source))?;
    if Hash::of(&bytes) == hash { Ok(bytes) } else { Err(RemoteError::Damaged { hash }) }
}

fn failed(act: &'static str, source: io::Error) -> RemoteError {
    RemoteError::Failed { act, source: source.into() }
}
