//! Finding events by their time.

/// Whether the times are in order.
pub fn is_ordered(times: &[i64]) -> bool {
    times.windows(2).all(|pair| pair[0] <= pair[1])
}

/// The index of the first element that is not less than `value`.
pub fn lower_bound(sorted: &[i64], value: i64) -> usize {
    match sorted.binary_search(&value) {
        Ok(found) => found,
        Err(place) => place,
    }
}
