//! Tests of the calendar.

use rooms::calendar::{is_free, Booking};

#[test]
fn free_minutes() {
    let bookings = [Booking { start: 60, end: 120 }];
    assert!(is_free(&bookings, 59));
    assert!(!is_free(&bookings, 60));
    assert!(is_free(&bookings, 120));
}
