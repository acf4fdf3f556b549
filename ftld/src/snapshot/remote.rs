//! Snapshots on another machine.
//!
//! Owns the seam to a remote, what may go wrong on the way, and how many objects travel at once: `send` has
//! what goes out, `fetch` what comes in. An object is sent after all that it names and a reference after its
//! snapshot, so that whatever is interrupted leaves nothing that is referred to and not there. What comes in
//! is compared with its hash before it counts. Must not know protocols, keys or retries.

mod fetch;
mod send;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::{Named, RelPath};

use super::{SnapshotError, lock};

pub use fetch::pull;
pub use send::push;

/// Objects that travel at the same time.
const AT_ONCE: usize = 8;
/// Paths of a snapshot. Directories that occur often cost a sender nothing, and whoever unfolds them a lot.
const MOST_PATHS: u64 = 20_000_000;

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

    /// An object's bytes. Reading them fails with `InvalidData` or `UnexpectedEof` when they were changed.
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
    /// The object with the ignore rules that it was taken with; [`push`] fills it in.
    pub rules: Option<Hash>,
    /// The object with what could not be read when it was taken, if anything; [`push`] fills it in.
    pub unread: Option<Hash>,
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
    /// A snapshot that no project can have been.
    #[error("the remote's snapshot has too many paths, too deep ones, or too large ignore files")]
    TooLarge,
    /// A name that no snapshot has: tools on this side would obey what stands there.
    #[error("the remote's snapshot holds {name}, which no snapshot does")]
    Forbidden {
        /// The name, escaped.
        name: String,
    },
    /// More bytes than the disk has.
    #[error("the snapshot's files take {} MiB and the store's disk has {} MiB left", needed >> 20, free >> 20)]
    Full {
        /// Bytes that are not here.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// More references than are read.
    #[error("the remote has more than {most} references to snapshots, or too long ones")]
    Crowded {
        /// What is accepted.
        most: usize,
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
    /// Whoever was told of it wanted no more.
    #[error("it was broken off")]
    BrokenOff,
}

/// What travelled.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Travelled {
    /// Contents and listings.
    pub objects: u64,
    /// Their bytes, as they are in the store.
    pub bytes: u64,
    /// Contents and listings of the snapshot that were there already.
    pub present: u64,
}

/// How far it came.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Contents and listings that travelled.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Contents and listings that are to travel.
    pub of: u64,
}

/// Is told how far it came, from several threads; breaks it off when it is no longer wanted.
pub type Told<'a> = dyn Fn(Progress) -> ControlFlow<()> + Sync + 'a;

/// Counts what travels and tells of it.
struct Journey<'a> {
    told: &'a Told<'a>,
    progress: Mutex<Progress>,
    /// Whether somebody wanted no more.
    is_over: AtomicBool,
}

impl<'a> Journey<'a> {
    fn new(told: &'a Told<'a>) -> Self {
        Self { told, progress: Mutex::default(), is_over: AtomicBool::new(false) }
    }

    fn expect(&self, objects: usize) {
        lock(&self.progress).of += objects as u64;
    }

    fn add(&self, bytes: u64) -> Result<(), RemoteError> {
        let progress = {
            let mut progress = lock(&self.progress);
            progress.objects += 1;
            progress.bytes += bytes;
            *progress
        };
        self.tell(progress)
    }

    fn tell(&self, progress: Progress) -> Result<(), RemoteError> {
        match (self.told)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                self.is_over.store(true, Ordering::Relaxed);
                Err(RemoteError::BrokenOff)
            }
        }
    }

    /// Tells once more how far it came; fails when nobody wants to know.
    fn is_wanted(&self) -> Result<(), RemoteError> {
        let progress = *lock(&self.progress);
        self.tell(progress)
    }

    /// Content on its way, until nobody wants it any more.
    fn watch<R>(&self, content: R) -> Watched<'_, 'a, R> {
        Watched { journey: self, content, untold: 0 }
    }

    /// Why something really failed: content that nobody wanted looks like content that cannot be read.
    fn why(&self, error: RemoteError) -> RemoteError {
        if self.is_over.load(Ordering::Relaxed) { RemoteError::BrokenOff } else { error }
    }

    /// What travelled of so many objects.
    fn end(self, all: usize) -> Travelled {
        let Progress { objects, bytes, .. } = *lock(&self.progress);
        Travelled { objects, bytes, present: (all as u64).saturating_sub(objects) }
    }
}

/// Bytes of one object after which is asked whether it is still wanted.
const ASK: usize = 64 * 1024;

/// What [`Journey::watch`] gives.
struct Watched<'a, 'b, R> {
    journey: &'a Journey<'b>,
    content: R,
    untold: usize,
}

impl<R: Read> Read for Watched<'_, '_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(into)?;
        self.untold += read;
        if self.untold >= ASK {
            self.untold = 0;
            self.journey.is_wanted().map_err(io::Error::other)?;
        }
        Ok(read)
    }
}

/// Does the work for each item, some at the same time, until one fails.
fn at_once<T: Sync>(
    items: &[T],
    work: &(dyn Fn(&T) -> Result<(), RemoteError> + Sync),
) -> Result<(), RemoteError> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let worker = || {
        while lock(&failed).is_none()
            && let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed))
        {
            if let Err(error) = work(item) {
                lock(&failed).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(items.len()) {
            // Without a further thread it only takes longer.
            let _ = std::thread::Builder::new().name("ftl-remote".into()).spawn_scoped(scope, worker);
        }
        worker();
    });
    let failed = lock(&failed).take();
    failed.map_or(Ok(()), Err)
}

/// Listings in an order in which each stands after those that it names.
struct Order<'a> {
    named: &'a HashMap<Hash, Named>,
    /// Of each the paths beneath it and the levels of directories: it can occur again at a greater depth.
    known: HashMap<Hash, (u64, usize)>,
    order: Vec<Hash>,
}

/// The listings beneath a root in that order. `named` has all of them.
fn ordered(root: Hash, named: &HashMap<Hash, Named>) -> Result<Vec<Hash>, RemoteError> {
    let mut order = Order { named, known: HashMap::new(), order: Vec::new() };
    order.visit(root, 0)?;
    Ok(order.order)
}

impl Order<'_> {
    /// Paths beneath a listing and the levels of directories, when it stands so deep.
    fn visit(&mut self, hash: Hash, depth: usize) -> Result<(u64, usize), RemoteError> {
        let known = self.known.get(&hash).copied();
        if depth + known.map_or(0, |(_, height)| height) > RelPath::DEEPEST {
            return Err(RemoteError::TooLarge);
        }
        if let Some(known) = known {
            return Ok(known);
        }
        let named = self.named.get(&hash).ok_or(RemoteError::Missing { hash })?;
        let mut paths = (named.contents.len() + named.listings.len()) as u64;
        let mut height = 0;
        for inner in &named.listings {
            let (beneath, levels) = self.visit(*inner, depth + 1)?;
            (paths, height) = (paths.saturating_add(beneath), height.max(levels + 1));
        }
        if paths > MOST_PATHS {
            return Err(RemoteError::TooLarge);
        }
        self.known.insert(hash, (paths, height));
        self.order.push(hash);
        Ok((paths, height))
    }
}

/// The contents that listings name, each once.
fn contents_of<'a>(listings: impl IntoIterator<Item = &'a Named>) -> Vec<(Hash, u64)> {
    let mut seen = HashSet::new();
    let all = listings.into_iter().flat_map(|named| &named.contents);
    all.copied().filter(|content| seen.insert(*content)).collect()
}

/// Why a read of a remote's object failed.
fn unread(hash: Hash, source: io::Error) -> RemoteError {
    match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => RemoteError::Damaged { hash },
        io::ErrorKind::FileTooLarge => RemoteError::TooLarge,
        _ => RemoteError::Failed { act: "hand out an object", source: source.into() },
    }
}
