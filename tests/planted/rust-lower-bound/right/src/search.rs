//! Finding events by their time.

/// Whether the times are in order.
pub fn is_ordered(times: &[i64]) -> bool {
    times.windows(2).all(|pair| pair[0] <= pair[1])
}

/// The index of the first element that is not less than `value`.
pub fn lower_bound(sorted: &[i64], value: i64) -> usize {
    let (mut low, mut high) = (0, sorted.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if sorted[middle] < value {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
