//! Rooms and who has booked them.

pub mod calendar;
