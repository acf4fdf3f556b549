//! Spans of time.

/// From `start` to before `end`, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first second.
    pub start: i64,
    /// The first second after it.
    pub end: i64,
}

impl Span {
    /// How many seconds it has; none when it ends before it begins.
    pub fn length(&self) -> i64 {
        (self.end - self.start).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn a_span_has_a_length() {
        assert_eq!(Span { start: 2, end: 5 }.length(), 3);
        assert_eq!(Span { start: 5, end: 2 }.length(), 0);
    }
}
