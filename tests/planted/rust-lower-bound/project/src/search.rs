//! Finding events by their time.

/// Whether the times are in order.
pub fn is_ordered(times: &[i64]) -> bool {
    times.windows(2).all(|pair| pair[0] <= pair[1])
}
