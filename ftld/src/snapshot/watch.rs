//! Hearing of changes in directories.
//!
//! Owns the seam to the kernel's notifications and its implementation over inotify: which events are asked
//! for, that none is lost unseen, and how many watches this daemon takes. Must not know projects or paths.
//!
//! The kernel queues an event before the system call that caused it returns. So whoever reads the queue to
//! its end has every event for what was done before the reading began; nothing else is needed as a barrier.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// What is asked for. Neither opening nor reading is in it: this daemon's own reading would flood the queue.
const WANTED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);
/// Events after which a name stands for something else, or for nothing.
const RENAMING: ReadFlags =
    ReadFlags::CREATE.union(ReadFlags::DELETE).union(ReadFlags::MOVED_FROM).union(ReadFlags::MOVED_TO);
/// Events after which the watched directory itself is elsewhere or gone.
const LEAVING: ReadFlags =
    ReadFlags::DELETE_SELF.union(ReadFlags::MOVE_SELF).union(ReadFlags::UNMOUNT).union(ReadFlags::IGNORED);
/// Bytes read from the queue at once.
const BUFFER: usize = 64 * 1024;
/// Distinct events that are kept until somebody asks; more count as lost.
const MOST: usize = 200_000;
/// How long events are let gather before they are fetched from the queue, which is limited.
const GATHER: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// One thing that happened in a watched directory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Event {
    /// The watch.
    pub(super) watch: i32,
    /// What it happened to in the directory; `None`: to the directory itself.
    pub(super) name: Option<Vec<u8>>,
    /// What kind of thing.
    pub(super) what: What,
}

/// The kinds of events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum What {
    /// The content or the metadata changed.
    Changed,
    /// The name is new, gone or stands for something else; the directory itself was moved or removed.
    Moved,
    /// The watch is gone.
    Ended,
}

/// Why there is no watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum WatchError {
    /// The user's watches are used up, or this daemon's part of them.
    #[error("fs.inotify.max_user_watches is reached")]
    Watches,
    /// The user's inotify instances are used up.
    #[error("fs.inotify.max_user_instances is reached")]
    Instances,
    /// The kernel refuses for another reason.
    #[error("inotify says: {0}")]
    Refused(Errno),
}

/// Hears of changes in directories.
pub(super) trait Watch: Send + Sync {
    /// Begins to watch an open directory. One that is watched already keeps its number.
    fn add(&self, dir: BorrowedFd<'_>) -> Result<i32, WatchError>;

    /// How many more directories may be watched.
    fn room(&self) -> usize;

    /// Ends a watch. Its events may still arrive.
    fn remove(&self, watch: i32);

    /// Puts every event for what happened before the call into `into`, in any order and each once or more.
    /// False when some were lost.
    fn drain(&self, into: &mut Vec<Event>) -> bool;

    /// Waits until there is something to do, and keeps the kernel's queue short meanwhile. False when
    /// [`Watch::stop`] was called.
    fn wait(&self) -> bool;

    /// Wakes whoever waits.
    fn wake(&self);

    /// Wakes whoever waits for good.
    fn stop(&self);
}

/// How many watches this daemon may take and has taken.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) most: usize,
    pub(super) used: AtomicUsize,
}

/// The kernel's inotify.
pub(super) struct Inotify {
    queue: OwnedFd,
    bell: OwnedFd,
    stopped: AtomicBool,
    budget: Arc<Budget>,
    own: AtomicUsize,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    events: HashSet<Event>,
    lost: bool,
}

impl Budget {
    /// Half of what the kernel grants a user; `limit` is the text of its setting. Editors need theirs.
    pub(super) fn of_limit(limit: Option<&str>) -> Self {
        let limit: usize = limit.and_then(|text| text.trim().parse().ok()).unwrap_or(8192);
        Self { most: limit / 2, used: AtomicUsize::new(0) }
    }

    fn take(&self) -> bool {
        let more = |used| (used < self.most).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn room(&self) -> usize {
        self.most.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    fn give_back(&self, watches: usize) {
        self.used.fetch_sub(watches, Ordering::Relaxed);
    }
}

impl Inotify {
    /// A queue of its own.
    pub(super) fn new(budget: Arc<Budget>) -> Result<Self, WatchError> {
        let queue =
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|error| match error {
                Errno::MFILE => WatchError::Instances,
                other => WatchError::Refused(other),
            })?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(WatchError::Refused)?;
        let (stopped, own, heard) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::default());
        Ok(Self { queue, bell, stopped, budget, own, heard })
    }

    /// Reads the queue to its end.
    fn fetch(&self) -> MutexGuard<'_, Heard> {
        // Held while reading, so that nobody sees an end that another one is still putting away.
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => heard.put(&event),
                Err(Errno::AGAIN) => return heard,
                Err(Errno::INTR) => {}
                Err(_) => {
                    heard.lost = true;
                    return heard;
                }
            }
        }
    }

    fn ring(&self) {
        // It fails only when the bell rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

impl Heard {
    fn put(&mut self, event: &inotify::Event<'_>) {
        let flags = event.events();
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) || self.events.len() >= MOST {
            self.lost = true;
            self.events.clear();
            return;
        }
        let name = event.file_name().map(|name| name.to_bytes().to_vec());
        let what = match &name {
            _ if flags.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT) => What::Ended,
            None if flags.intersects(LEAVING) => What::Moved,
            Some(_) if flags.intersects(RENAMING) => What::Moved,
            _ => What::Changed,
        };
        self.events.insert(Event { watch: event.wd(), name, what });
    }
}

impl Watch for Inotify {
    fn add(&self, dir: BorrowedFd<'_>) -> Result<i32, WatchError> {
        if !self.budget.take() {
            return Err(WatchError::Watches);
        }
        // Through the descriptor: what a path names may be another directory by now.
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let added = inotify::add_watch(&self.queue, path, WANTED).map_err(|error| match error {
            Errno::NOSPC => WatchError::Watches,
            other => WatchError::Refused(other),
        });
        match added.is_ok() {
            true => self.own.fetch_add(1, Ordering::Relaxed),
            false => {
                self.budget.give_back(1);
                0
            }
        };
        added
    }

    fn room(&self) -> usize {
        self.budget.room()
    }

    fn remove(&self, watch: i32) {
        // It is gone already when the directory is.
        let _ = inotify::remove_watch(&self.queue, watch);
        if self.own.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |own| own.checked_sub(1)).is_ok() {
            self.budget.give_back(1);
        }
    }

    fn drain(&self, into: &mut Vec<Event>) -> bool {
        let mut heard = self.fetch();
        into.extend(heard.events.drain());
        !std::mem::take(&mut heard.lost)
    }

    fn wait(&self) -> bool {
        let has = |fds: &mut [PollFd<'_>], timeout: Option<&Timespec>| {
            poll(fds, timeout).is_ok_and(|ready| ready > 0)
        };
        let bell = || PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN);
        while !self.stopped.load(Ordering::Acquire) {
            has(&mut [bell(), PollFd::from_borrowed_fd(self.queue.as_fd(), PollFlags::IN)], None);
            if !has(&mut [bell()], Some(&GATHER)) {
                drop(self.fetch());
                continue;
            }
            let mut count = [0; 8];
            let _ = rustix::io::read(&self.bell, &mut count);
            return !self.stopped.load(Ordering::Acquire);
        }
        false
    }

    fn wake(&self) {
        self.ring();
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.ring();
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        self.budget.give_back(self.own.load(Ordering::Relaxed));
    }
}
