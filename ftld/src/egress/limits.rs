//! How much and how long.
//!
//! Owns the numbers that keep one session from using up the daemon, and the counting of those that are
//! rates. Must not know what is limited.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ftl_core::egress::host::Host;
use ftl_core::egress::rate::{Bucket, Limit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limits of one session.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once, busy or idle.
    pub connections: usize,
    /// Requests at once.
    pub requests: usize,
    /// Streams at once of one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of a message's headers.
    pub head: usize,
    /// How long a connection may take to say what it is, to shake hands, or to finish a request's head.
    pub opening: Duration,
    /// How long a host may take to begin its response. Models think for long.
    pub response: Duration,
    /// How long a body or an upgraded connection may stand still.
    pub idle: Duration,
    /// Bytes of bodies that may leave in a minute, and the same at once; 0 means any number.
    pub upload_per_minute: u64,
    /// Bytes of bodies that are held as a whole at once, because something of them has to be known before
    /// they are sent.
    pub ahead: usize,
    /// Questions for names.
    pub names: Option<Limit>,
    /// Names in all that the human is asked about because a program looked them up.
    pub asked_names: usize,
}

/// Hosts whose limits are counted at once; the least recently asked is forgotten first.
const MOST_BUCKETS: usize = 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            requests: 512,
            streams: 100,
            head: 64 << 10,
            opening: Duration::from_secs(10),
            response: Duration::from_secs(900),
            idle: Duration::from_secs(600),
            upload_per_minute: 4 << 30,
            ahead: 64 << 20,
            names: Limit::new(3000, Some(200)),
            asked_names: 64,
        }
    }
}

/// Bytes of bodies that all sessions together hold as a whole at once.
pub(super) const AHEAD_OF_ALL: usize = 256 << 20;
/// What room is counted in, bytes: the counters are small numbers.
const ROOM: usize = 1 << 10;

/// Room for bodies that are held as a whole: one session's, and what all sessions share.
pub(super) struct Ahead {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// Room that was taken; dropping it gives it back.
pub(super) struct Room {
    _held: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Ahead {
    /// A session's room within that of all.
    pub(super) fn new(own: usize, all: Arc<Semaphore>) -> Self {
        Self { own: Arc::new(room(own)), all }
    }

    /// Waits for room for so many bytes, first come first served; `None` when there is none in time.
    pub(super) async fn take(&self, bytes: usize, patience: Duration) -> Option<Room> {
        let count = u32::try_from(bytes.div_ceil(ROOM)).ok()?;
        if count == 0 {
            return Some(Room { _held: None });
        }
        // Always the session's own first: nobody holds what all share while waiting for their own.
        let both = async {
            let own = Arc::clone(&self.own).acquire_many_owned(count).await.ok()?;
            let all = Arc::clone(&self.all).acquire_many_owned(count).await.ok()?;
            Some(Room { _held: Some((own, all)) })
        };
        tokio::time::timeout(patience, both).await.ok().flatten()
    }
}

impl Room {
    /// The bytes that the room was taken for; it is given back when the last of them are dropped.
    pub(super) fn filled(self, bytes: Bytes) -> Bytes {
        struct Filled {
            bytes: Bytes,
            _room: Room,
        }
        impl AsRef<[u8]> for Filled {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        Bytes::from_owner(Filled { bytes, _room: self })
    }
}

/// Room for so many bytes.
pub(super) fn room(bytes: usize) -> Semaphore {
    Semaphore::new((bytes / ROOM).min(Semaphore::MAX_PERMITS))
}

/// Counts requests by host.
#[derive(Default)]
pub(super) struct Rates {
    buckets: Mutex<HashMap<Host, (Bucket, i64)>>,
}

impl Rates {
    /// Takes one request for a host.
    ///
    /// # Errors
    /// When that is one too many: in how many seconds it will not be.
    pub(super) fn take(&self, host: &Host, limit: Limit, now_us: i64) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_BUCKETS && !buckets.contains_key(host) {
            let oldest = buckets.iter().min_by_key(|(_, (_, asked))| *asked).map(|(host, _)| host.clone());
            oldest.map(|oldest| buckets.remove(&oldest));
        }
        let (bucket, asked) =
            buckets.entry(host.clone()).or_insert_with(|| (Bucket::new(limit, now_us), now_us));
        *asked = now_us;
        // A limit that was changed begins anew.
        if bucket.limit() != limit {
            *bucket = Bucket::new(limit, now_us);
        }
        bucket.take(now_us)
    }
}

/// Counts the bytes that leave.
pub(super) struct Volume {
    per_minute: u64,
    /// What may still leave, in 60,000,000ths of a byte, and when that was so.
    left: Mutex<(u128, i64)>,
}

const BYTE: u128 = 60_000_000;

impl Volume {
    pub(super) fn new(per_minute: u64, now_us: i64) -> Self {
        Self { per_minute, left: Mutex::new((u128::from(per_minute) * BYTE, now_us)) }
    }

    /// Takes bytes; whether there were as many.
    pub(super) fn take(&self, bytes: u64, now_us: i64) -> bool {
        if self.per_minute == 0 {
            return true;
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = u128::try_from(now_us.saturating_sub(left.1)).unwrap_or(0);
        let full = u128::from(self.per_minute) * BYTE;
        left.0 = left.0.saturating_add(passed.saturating_mul(self.per_minute.into())).min(full);
        left.1 = now_us;
        match left.0.checked_sub(u128::from(bytes) * BYTE) {
            Some(rest) => {
                left.0 = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_own_count_and_a_new_limit_begins_anew() {
        let rates = Rates::default();
        let host = |name: usize| Host::parse(&format!("h{name}.example")).unwrap();
        let limit = Limit::new(60, Some(1)).unwrap();
        assert_eq!(rates.take(&host(1), limit, 0), Ok(()));
        assert_eq!(rates.take(&host(1), limit, 0), Err(1));
        assert_eq!(rates.take(&host(2), limit, 0), Ok(()));
        assert_eq!(rates.take(&host(1), Limit::new(60, Some(2)).unwrap(), 0), Ok(()));
        for name in 3..3000 {
            assert_eq!(rates.take(&host(name), limit, 10), Ok(()));
        }
        assert!(rates.buckets.lock().unwrap().len() <= MOST_BUCKETS);
    }

    #[tokio::test]
    async fn room_is_bounded_for_one_and_for_all_and_comes_back() {
        const PATIENCE: Duration = Duration::from_millis(50);
        let all = Arc::new(room(96 << 10));
        let (one, other) = (Ahead::new(64 << 10, Arc::clone(&all)), Ahead::new(64 << 10, all));
        let first = one.take(40 << 10, PATIENCE).await.unwrap();
        assert!(one.take(40 << 10, PATIENCE).await.is_none(), "a session's own");
        let second = other.take(50 << 10, PATIENCE).await.unwrap();
        assert!(other.take(14 << 10, PATIENCE).await.is_none(), "what all share");
        assert!(other.take(0, PATIENCE).await.is_some());
        assert!(other.take(usize::MAX, PATIENCE).await.is_none());
        let bytes = first.filled(Bytes::from_static(b"whole"));
        let copy = bytes.slice(1..3);
        drop(bytes);
        let waits = other.take(14 << 10, Duration::from_secs(60));
        let frees = async { drop(copy) };
        assert!(tokio::join!(waits, frees).0.is_some(), "whoever waits gets what is given back");
        drop(second);
        // Those who gave up hold nothing.
        assert!(one.take(64 << 10, PATIENCE).await.is_some());
    }

    #[test]
    fn bytes_come_back_with_time() {
        let volume = Volume::new(600, 0);
        assert!(volume.take(600, 0));
        assert!(!volume.take(1, 0));
        assert!(volume.take(10, 1_000_000));
        assert!(!volume.take(1, 1_000_000));
        assert!(volume.take(600, i64::MAX));
        assert!(Volume::new(0, 0).take(u64::MAX, 0));
    }
}
