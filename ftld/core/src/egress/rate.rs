//! How many requests are too many.
//!
//! Owns the limit and the token bucket that keeps it. Must not know the time or who asks: both are the
//! caller's.

/// Requests per minute, and how many of them may come at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limit {
    per_minute: u32,
    burst: u32,
}

/// A token bucket: full at first, a request takes one token, time brings them back.
#[derive(Clone, Debug)]
pub struct Bucket {
    limit: Limit,
    /// What is in it, in [`TOKEN`]ths of a token.
    level: u64,
    /// When that was so, microseconds.
    at_us: i64,
}

/// One token. A limit of n per minute brings n of these units in a microsecond, so nothing is ever
/// rounded.
const TOKEN: u64 = 60_000_000;

impl Limit {
    /// A limit; without a burst it is a sixth of a minute's requests, at least one. None when either
    /// number is 0.
    #[must_use]
    pub fn new(per_minute: u32, burst: Option<u32>) -> Option<Self> {
        let burst = burst.unwrap_or((per_minute / 6).max(1));
        (per_minute > 0 && burst > 0).then_some(Self { per_minute, burst })
    }

    /// Requests per minute.
    #[must_use]
    pub fn per_minute(self) -> u32 {
        self.per_minute
    }

    /// Requests at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst
    }
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(limit: Limit, now_us: i64) -> Self {
        Self { limit, level: u64::from(limit.burst) * TOKEN, at_us: now_us }
    }

    /// The limit that it keeps.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When there is none: after how many whole seconds there will be, at least 1.
    pub fn take(&mut self, now_us: i64) -> Result<(), u64> {
        let rate = u64::from(self.limit.per_minute);
        let full = u64::from(self.limit.burst) * TOKEN;
        // A clock that goes back brings nothing, and is believed from then on.
        let passed = u64::try_from(now_us.saturating_sub(self.at_us)).unwrap_or(0);
        self.level = self.level.saturating_add(passed.saturating_mul(rate)).min(full);
        self.at_us = now_us;
        if let Some(left) = self.level.checked_sub(TOKEN) {
            self.level = left;
            return Ok(());
        }
        let wait_us = (TOKEN - self.level).div_ceil(rate);
        Err(wait_us.div_ceil(1_000_000).max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn the_burst_is_there_at_once_and_the_rest_in_its_time() {
        let mut bucket = Bucket::new(Limit::new(60, Some(3)).unwrap(), 5);
        for _ in 0..3 {
            assert_eq!(bucket.take(5), Ok(()));
        }
        assert_eq!(bucket.take(5), Err(1));
        assert_eq!(bucket.take(5 + SECOND - 1), Err(1));
        assert_eq!(bucket.take(5 + SECOND), Ok(()));
        assert_eq!(bucket.take(5 + SECOND), Err(1));
        // A long rest fills it to the burst and no further.
        for _ in 0..3 {
            assert_eq!(bucket.take(900 * SECOND), Ok(()));
        }
        assert_eq!(bucket.take(900 * SECOND), Err(1));
    }

    #[test]
    fn the_wait_is_computed() {
        let mut bucket = Bucket::new(Limit::new(2, None).unwrap(), 0);
        assert_eq!(bucket.take(0), Ok(()));
        assert_eq!(bucket.take(0), Err(30));
        assert_eq!(bucket.take(10 * SECOND + 1), Err(20));
        assert_eq!(bucket.take(30 * SECOND), Ok(()));
    }

    #[test]
    fn limits_have_a_default_burst_and_are_never_zero() {
        assert_eq!(Limit::new(60, None).unwrap().burst(), 10);
        assert_eq!(Limit::new(3, None).unwrap().burst(), 1);
        assert_eq!(Limit::new(0, None), None);
        assert_eq!(Limit::new(1, Some(0)), None);
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(
            per_minute in 1..600u32,
            burst in 1..50u32,
            steps in proptest::collection::vec(-1_000_000..5_000_000i64, 1..200),
        ) {
            let mut bucket = Bucket::new(Limit::new(per_minute, Some(burst)).unwrap(), 0);
            let (mut now, mut passed, mut taken) = (0i64, 0i64, 0i64);
            for step in steps {
                now += step;
                passed += step.max(0);
                taken += i64::from(bucket.take(now).is_ok());
            }
            prop_assert!(taken <= i64::from(burst) + passed * i64::from(per_minute) / 60_000_000 + 1);
        }

        #[test]
        fn waiting_as_told_is_enough(per_minute in 1..u32::MAX, burst in 1..5u32, times in 1..20u8) {
            let mut bucket = Bucket::new(Limit::new(per_minute, Some(burst)).unwrap(), 0);
            let mut now = 0;
            for _ in 0..times {
                if let Err(seconds) = bucket.take(now) {
                    now += i64::try_from(seconds).unwrap() * SECOND;
                    prop_assert_eq!(bucket.take(now), Ok(()));
                }
            }
        }

        #[test]
        fn no_clock_makes_it_panic(times in proptest::collection::vec(any::<i64>(), 0..20)) {
            let mut bucket = Bucket::new(Limit::new(u32::MAX, Some(u32::MAX)).unwrap(), 0);
            for time in times {
                let _ = bucket.take(time);
            }
        }
    }
}
