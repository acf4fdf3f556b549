//! Which contents are text in UTF-16.
//!
//! Owns how that is known: by the mark at the start, or by where the NULs of Latin letters are. Must not know what
//! becomes of such a text.

/// Bytes at the start by which UTF-16 without a mark is known.
const PROBE: usize = 1024;

/// How two bytes are read as a unit.
type Read = fn([u8; 2]) -> u16;

/// How many bytes stand before the text of a content in UTF-16, and how its units are read; `None` for anything
/// else.
pub(crate) fn order(content: &[u8]) -> Option<(usize, Read)> {
    let start = &content[..content.len().min(PROBE)];
    let nuls = |odd: usize| start.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let many = |count: usize| start.len() >= 8 && count * 5 >= start.len() * 2;
    match content {
        [0xff, 0xfe, ..] => Some((2, u16::from_le_bytes)),
        [0xfe, 0xff, ..] => Some((2, u16::from_be_bytes)),
        _ if many(nuls(1)) && nuls(0) == 0 => Some((0, u16::from_le_bytes)),
        _ if many(nuls(0)) && nuls(1) == 0 => Some((0, u16::from_be_bytes)),
        _ => None,
    }
}
