//! Objects in an S3 bucket: where one is, what the service says, and whether to ask again.
//!
//! Owns the form of URLs, the reading of the service's XML, the sizes of parts, and the decision to try
//! again. Must not know connections, keys or what an object holds.

mod again;
mod location;
mod xml;

pub use again::{Failed, again};
pub use location::{Location, LocationError, Remote, Target};
pub use xml::{Fault, Page, XmlError, fault, page, upload_id};

/// Bytes of a part of a large object, but for the last. A service wants at least 5 MiB and at most 10,000
/// parts; see [`part`].
pub const PART: usize = 8 << 20;
/// The most parts that an object may have.
pub const MOST_PARTS: u64 = 10_000;
/// The largest part that is kept in memory.
pub const LARGEST_PART: usize = 256 << 20;

/// Bytes of the parts of an object that has at most `size` bytes; `None` when it is too large for one.
#[must_use]
pub fn part(size: u64) -> Option<usize> {
    let least = size.div_ceil(MOST_PARTS);
    let part = usize::try_from(least).ok()?.max(PART);
    (part <= LARGEST_PART).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_large_enough_for_ten_thousand_of_them() {
        assert_eq!(part(0), Some(PART));
        assert_eq!(part(PART as u64 * MOST_PARTS), Some(PART));
        for size in [1 << 40, PART as u64 * MOST_PARTS + 1] {
            assert!(size.div_ceil(part(size).unwrap() as u64) <= MOST_PARTS, "{size}");
        }
        assert_eq!(part(u64::MAX), None);
    }
}
