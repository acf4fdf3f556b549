//! How much and how long.
//!
//! Owns the numbers that keep one session from using up the daemon, and the counting of those that are
//! rates. Must not know what is limited.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ftl_core::egress::host::Host;
use ftl_core::egress::rate::{Bucket, Limit};

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
    /// Questions for names.
    pub names: Option<Limit>,
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
            names: Limit::new(3000, Some(200)),
        }
    }
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
