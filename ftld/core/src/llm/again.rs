//! Whether a question is put to a model's service once more.
//!
//! Owns which failures pass by themselves, how often one tries, and how much of a service's wish to wait is
//! granted. Must not know the clock.

use std::time::Duration;

/// How a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed {
    /// There was no answer, or not all of it.
    Line,
    /// There is nobody, or nobody who is trusted, at the other end, or nothing that is understood.
    Hopeless,
    /// The service answered with this status.
    Status(u16),
}

/// Attempts of one request at most.
pub const ATTEMPTS: u32 = 4;
/// The longest wait that a service is granted.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest wait of our own, in units of the first.
const MOST: u32 = 16;

/// How long to wait before the next attempt after `attempts` that failed; `None` when there is none. `first`
/// is the first wait of our own, each further one is four times as long; `wish` is what the service wants,
/// which counts when it is longer.
#[must_use]
pub fn again(failed: Failed, attempts: u32, first: Duration, wish: Option<Duration>) -> Option<Duration> {
    let passes = match failed {
        Failed::Line => true,
        Failed::Hopeless => false,
        // 529 is Anthropic's word for too much to do.
        Failed::Status(status) => matches!(status, 408 | 429 | 500 | 502 | 503 | 504 | 529),
    };
    let factor = 4_u32.saturating_pow(attempts.saturating_sub(1)).min(MOST);
    let wait = first.saturating_mul(factor).max(wish.unwrap_or_default());
    (passes && attempts < ATTEMPTS && wait <= LONGEST).then_some(wait)
}

/// The wait that `Retry-After` asks for: seconds, perhaps with a fraction. A date is not read: it would need
/// two clocks that agree.
#[must_use]
pub fn wish(retry_after: &str) -> Option<Duration> {
    let seconds: f64 = retry_after.trim().parse().ok()?;
    (0.0..1e6).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_four_times_and_what_does_not_once() {
        let first = Duration::from_millis(500);
        for failed in [Failed::Line, Failed::Status(429), Failed::Status(529), Failed::Status(503)] {
            let waits: Vec<_> = (1..9).map_while(|attempts| again(failed, attempts, first, None)).collect();
            assert_eq!(waits, [first, first * 4, first * 16], "{failed:?}");
        }
        for failed in [Failed::Hopeless, Failed::Status(400), Failed::Status(401), Failed::Status(302)] {
            assert_eq!(again(failed, 1, first, None), None, "{failed:?}");
        }
    }

    #[test]
    fn a_service_is_granted_a_minute() {
        let first = Duration::from_millis(500);
        let ask = |text| again(Failed::Status(429), 1, first, wish(text));
        assert_eq!(ask("7"), Some(Duration::from_secs(7)));
        assert_eq!(ask("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(ask("0"), Some(first));
        assert_eq!(ask("60"), Some(LONGEST));
        assert_eq!(ask("61"), None, "whoever asks for more is not waited for");
        for odd in ["", "-1", "NaN", "inf", "1e9", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(wish(odd), None, "{odd}");
        }
    }
}
