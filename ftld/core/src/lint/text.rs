//! A content as it is searched.
//!
//! Owns what is searched as text, the decoding of UTF-16, and which line a place is in. Must not know what is searched
//! for.

use std::borrow::Cow;

use crate::hunk;

/// A content with the beginnings of its lines.
pub(super) struct Text<'a> {
    bytes: Cow<'a, [u8]>,
    starts: Vec<usize>,
    binary: bool,
}

impl<'a> Text<'a> {
    /// `is_read` is whether tools take it for text, whatever bytes it has.
    pub(super) fn new(content: &'a [u8], is_read: bool) -> Self {
        let decoded = utf16(content);
        let binary = decoded.is_none() && !is_read && !hunk::is_text(content);
        let bytes = decoded.map_or(Cow::Borrowed(content), |text| Cow::Owned(text.into_bytes()));
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Self { bytes, starts, binary }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is no text; it has no lines then.
    pub(super) fn is_binary(&self) -> bool {
        self.binary
    }

    /// Whether places in it are not places in the content.
    pub(super) fn is_decoded(&self) -> bool {
        matches!(self.bytes, Cow::Owned(_))
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, at: usize) -> u64 {
        self.starts.partition_point(|start| *start <= at) as u64
    }
}

/// The text of a content in UTF-16 of either byte order.
fn utf16(content: &[u8]) -> Option<String> {
    let (skip, read) = hunk::utf16::order(content)?;
    let units = content[skip..].chunks_exact(2).map(|pair| read([pair[0], pair[1]]));
    Some(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}
