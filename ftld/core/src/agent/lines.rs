//! Cuts a stream of bytes into lines.
//!
//! Owns the cap that keeps a line without an end from filling the memory. Must not know what lines mean.

/// Longest line, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// How much of a line that is too long is kept.
const KEPT: usize = 200;

/// A line without its line feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// All of it.
    Whole(Vec<u8>),
    /// It was longer than [`MAX_LINE`].
    TooLong {
        /// Its first bytes.
        start: Vec<u8>,
        /// Its length in bytes.
        length: u64,
    },
}

/// A cutter at work: holds the line that has not ended yet.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
    // Bytes of this line that were dropped because it is too long; `held` is only its start then.
    dropped: u64,
}

impl Lines {
    /// The lines that end in this chunk.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut pieces = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.hold(piece);
            if pieces.peek().is_some() {
                lines.push(self.take());
            }
        }
        lines
    }

    /// The last line, when it had no line feed.
    pub fn end(&mut self) -> Option<Line> {
        (!self.held.is_empty()).then(|| self.take())
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.dropped == 0 && self.held.len() + piece.len() <= MAX_LINE {
            self.held.extend_from_slice(piece);
            return;
        }
        let missing = KEPT.saturating_sub(self.held.len()).min(piece.len());
        self.held.extend_from_slice(&piece[..missing]);
        self.dropped += (self.held.len() - self.held.len().min(KEPT) + piece.len() - missing) as u64;
        self.held.truncate(KEPT);
        self.held.shrink_to_fit();
    }

    fn take(&mut self) -> Line {
        let held = std::mem::take(&mut self.held);
        match std::mem::take(&mut self.dropped) {
            0 => Line::Whole(held),
            dropped => Line::TooLong { length: held.len() as u64 + dropped, start: held },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Line> {
        let mut cutter = Lines::default();
        let mut lines: Vec<_> = chunks.iter().flat_map(|chunk| cutter.push(chunk)).collect();
        lines.extend(cutter.end());
        lines
    }

    #[test]
    fn a_line_may_come_in_pieces_and_need_not_end() {
        let whole = |text: &str| Line::Whole(text.into());
        assert_eq!(lines(&[b"a\nb", b"", b"c\n", b"\nd"]), [whole("a"), whole("bc"), whole(""), whole("d")]);
        assert_eq!(lines(&[]), []);
        assert_eq!(lines(&[b"\n"]), [whole("")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_counted_and_its_end_found() {
        for size in [1000, MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE] {
            let mut bytes = vec![b'x'; MAX_LINE + 1];
            bytes.extend(b"\nnext");
            let chunks: Vec<_> = bytes.chunks(size).collect();
            let long = Line::TooLong { start: vec![b'x'; KEPT], length: MAX_LINE as u64 + 1 };
            assert_eq!(lines(&chunks), [long, Line::Whole(b"next".into())], "{size}");
        }
        let longest = vec![b'x'; MAX_LINE];
        assert_eq!(lines(&[&longest]), [Line::Whole(longest.clone())]);
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), size in 1usize..9) {
            let chunks: Vec<_> = bytes.chunks(size).collect();
            prop_assert_eq!(lines(&chunks), lines(&[&bytes]));
        }
    }
}
