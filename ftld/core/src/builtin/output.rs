//! A program's output, cut to what a model is told.
//!
//! Owns that the beginning and the end are kept, however much comes. What is kept is foreign text.

use std::collections::VecDeque;

/// The output so far: its beginning and its end.
#[derive(Clone, Debug)]
pub struct Kept {
    first: Vec<u8>,
    last: VecDeque<u8>,
    half: usize,
    whole: u64,
}

impl Kept {
    /// Keeps at most `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { first: Vec::new(), last: VecDeque::new(), half: most / 2, whole: 0 }
    }

    /// More of it.
    pub fn push(&mut self, bytes: &[u8]) {
        self.whole = self.whole.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let room = self.half.saturating_sub(self.first.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.first.extend(first);
        // Of a piece that is longer than the room, only its end can stay.
        let rest = rest.get(rest.len().saturating_sub(self.half)..).unwrap_or_default();
        self.last.extend(rest);
        let over = self.last.len().saturating_sub(self.half);
        self.last.drain(..over);
    }

    /// How many bytes were left out.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        let kept = u64::try_from(self.first.len() + self.last.len()).unwrap_or(u64::MAX);
        self.whole.saturating_sub(kept)
    }

    /// All bytes, when none was left out.
    #[must_use]
    pub fn whole(&self) -> Option<Vec<u8>> {
        (self.left_out() == 0).then(|| self.first.iter().chain(&self.last).copied().collect())
    }

    /// What is kept, as text; a line says how much was left out between.
    #[must_use]
    pub fn text(&self) -> String {
        if let Some(whole) = self.whole() {
            return String::from_utf8_lossy(&whole).into_owned();
        }
        let last: Vec<u8> = self.last.iter().copied().collect();
        let (first, last) = (String::from_utf8_lossy(&self.first), String::from_utf8_lossy(&last));
        format!("{first}\n[{} bytes were left out here]\n{last}", self.left_out())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let mut kept = Kept::new(8);
        kept.push(b"abcdefgh");
        assert_eq!(kept.text(), "abcdefgh");
        kept.push(b"ij");
        assert_eq!((kept.text().as_str(), kept.whole()), ("abcd\n[2 bytes were left out here]\nghij", None));
        let mut bad = Kept::new(8);
        bad.push(b"\xff\x1b[2J");
        assert_eq!(bad.text(), "\u{fffd}\x1b[2J");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in proptest::collection::vec(any::<u8>(), 0..100), size in 1usize..20, most in 2usize..40) {
            let (mut whole, mut pieces) = (Kept::new(most), Kept::new(most));
            whole.push(&bytes);
            bytes.chunks(size).for_each(|piece| pieces.push(piece));
            prop_assert_eq!(whole.text(), pieces.text());
            prop_assert!(pieces.first.len() + pieces.last.len() <= most);
        }
    }
}
