//! How an input says where it is cut.
//!
//! Owns the beginning of such an input: a count, modulo 8, then so many lengths of pieces, a byte each. What
//! follows is cut by them in turn.

/// What follows the lengths, whole and in pieces.
pub(crate) fn cut(input: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let (count, rest) =
        input.split_first().map_or((0, input), |(count, rest)| (usize::from(count % 8), rest));
    let (lengths, body) = rest.split_at(count.min(rest.len()));
    let (mut pieces, mut left) = (Vec::new(), body);
    let mut lengths = lengths.iter().cycle();
    while !left.is_empty() {
        let length = lengths.next().map_or(left.len(), |length| usize::from(*length).max(1));
        let (piece, behind) = left.split_at(length.min(left.len()));
        pieces.push(piece);
        left = behind;
    }
    (body, pieces)
}

/// The first byte, 0 when there is none, and what is behind it.
pub(crate) fn first(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (*first, rest))
}
