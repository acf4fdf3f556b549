//! Tests of the search.

use timeline::search::is_ordered;

#[test]
fn order() {
    assert!(is_ordered(&[1, 1, 2]));
    assert!(!is_ordered(&[2, 1]));
}
