//! Whether a request is sent once more.
//!
//! Owns which failures pass by themselves, how often and after how long. Must not know the clock.

use std::time::Duration;

/// How a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed {
    /// There was no answer, or not all of it.
    Line,
    /// There is nobody, or nobody who is trusted, at the other end.
    Unreachable,
    /// The service answered with this status.
    Status(u16),
}

/// Attempts of one request.
const ATTEMPTS: u32 = 4;
/// The longest wait in units of the first.
const LONGEST: u32 = 16;

/// How long to wait before the next attempt after `attempts` that failed; `None` when there is none. `first`
/// is the first wait; each further one is four times as long.
#[must_use]
pub fn again(failed: Failed, attempts: u32, first: Duration) -> Option<Duration> {
    let passes = match failed {
        Failed::Line => true,
        Failed::Unreachable => false,
        Failed::Status(status) => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
    };
    let factor = 4u32.saturating_pow(attempts.saturating_sub(1)).min(LONGEST);
    (passes && attempts < ATTEMPTS).then(|| first.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_four_times_and_what_does_not_once() {
        let first = Duration::from_millis(100);
        for failed in [Failed::Line, Failed::Status(500), Failed::Status(503), Failed::Status(429)] {
            let waits: Vec<_> = (1..9).map_while(|attempts| again(failed, attempts, first)).collect();
            assert_eq!(waits, [first, first * 4, first * 16], "{failed:?}");
        }
        for failed in [Failed::Unreachable, Failed::Status(403), Failed::Status(404), Failed::Status(301)] {
            assert_eq!(again(failed, 1, first), None, "{failed:?}");
        }
    }
}
