//! The calendar of one room.

/// A booking from `start` to before `end`, in minutes since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booking {
    /// The first minute.
    pub start: u32,
    /// The first minute after it.
    pub end: u32,
}

/// Bookings that overlap or touch as one, ordered by their start.
pub fn merge(bookings: &[Booking]) -> Vec<Booking> {
    let mut ordered: Vec<Booking> =
        bookings.iter().copied().filter(|booking| booking.start < booking.end).collect();
    ordered.sort_by_key(|booking| booking.start);
    let mut merged: Vec<Booking> = Vec::new();
    for booking in ordered {
        match merged.last_mut() {
            Some(last) if booking.start <= last.end => last.end = booking.end,
            _ => merged.push(booking),
        }
    }
    merged
}

/// Whether a room is free in a minute.
pub fn is_free(bookings: &[Booking], minute: u32) -> bool {
    !bookings.iter().any(|booking| (booking.start..booking.end).contains(&minute))
}
