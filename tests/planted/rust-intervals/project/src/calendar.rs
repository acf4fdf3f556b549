//! The calendar of one room.

/// A booking from `start` to before `end`, in minutes since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booking {
    /// The first minute.
    pub start: u32,
    /// The first minute after it.
    pub end: u32,
}

/// Whether a room is free in a minute.
pub fn is_free(bookings: &[Booking], minute: u32) -> bool {
    !bookings.iter().any(|booking| (booking.start..booking.end).contains(&minute))
}
