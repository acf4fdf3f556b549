//! Tests of the layout.

use manual::layout::indent;

#[test]
fn lines_are_indented() {
    assert_eq!(indent("a\nb", 2), "  a\n  b");
}
