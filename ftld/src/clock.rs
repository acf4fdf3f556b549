//! Time, as an argument.
//!
//! Owns the only two places where the daemon asks the system for the time.

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Wall time, microseconds since the Unix epoch.
    fn now_us(&self) -> i64;

    /// Time since some fixed moment, microseconds; never goes back.
    fn monotonic_us(&self) -> u64;
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// The system's clocks; monotonic time counts from now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
