//! One canonical form for the path of a request.
//!
//! Owns the reading of a path: decoded exactly once, split from its query, judged. Must not know rules or
//! hosts.
//!
//! Two kinds of trouble are kept apart. What no client means, and what would climb out of a prefix, is
//! refused: dot segments in any spelling, backslashes, control characters. What clients do send and
//! servers read in different ways, such as `//`, `;` or an encoded slash (npm has it in the names of scoped
//! packages), makes the path *odd*: an odd path fits no allowing rule that has a path, and fits every
//! denying one.

use std::fmt;

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

/// A path in canonical form. It begins with `/`; what is not plain ASCII stands there as `%` and two
/// upper-case digits, once.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CanonicalPath {
    text: String,
    odd: bool,
}

/// Why a text is no path that is forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// It is longer than 8 KiB in its canonical form.
    #[error("the path is longer than {LONGEST} bytes")]
    TooLong,
    /// A segment `.` or `..`, however it is written.
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
    /// A backslash, raw or encoded.
    #[error("the path has a backslash")]
    Backslash,
    /// A control character, a space or `#`, raw, or an encoded control character.
    #[error("the path has a character that no path has")]
    BadCharacter,
    /// A `%` without two hexadecimal digits.
    #[error("the path has a `%` that is not followed by two hexadecimal digits")]
    BadEncoding,
}

/// Longest canonical form, bytes.
const LONGEST: usize = 8192;

/// Characters outside ASCII that some servers turn into a slash or a backslash and that no Unicode
/// normalisation does.
const SLASH_LOOKALIKES: [char; 6] = ['\u{2044}', '\u{2215}', '\u{2216}', '\u{29f5}', '\u{29f8}', '\u{29f9}'];

impl CanonicalPath {
    /// Reads the path of a request target in origin form, such as `/v1/x?y=z`. The query is not kept.
    ///
    /// # Errors
    /// When it is none, or climbs.
    pub fn parse(raw_target_path: &str) -> Result<Self, PathError> {
        let raw = raw_target_path.split_once('?').map_or(raw_target_path, |(path, _)| path);
        if raw.len() > LONGEST {
            return Err(PathError::TooLong);
        }
        if raw.is_empty() {
            return Ok(Self { text: "/".into(), odd: false });
        }
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if raw.bytes().any(|byte| byte <= b' ' || byte == b'#' || byte == 0x7f) {
            return Err(PathError::BadCharacter);
        }
        let mut text = String::with_capacity(raw.len());
        let mut odd = false;
        for segment in raw[1..].split('/') {
            check_encoding(segment)?;
            let bytes: Vec<u8> = percent_decode_str(segment).collect();
            odd |= judge(&bytes)?;
            text.push('/');
            write_canonical(&bytes, &mut text);
        }
        odd |= text.contains("//");
        if text.len() > LONGEST {
            return Err(PathError::TooLong);
        }
        Ok(Self { text, odd })
    }

    /// The canonical form: printable ASCII without spaces and quotes, at most 8 KiB. What the log has.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether servers may read it in different ways; such a path must not be matched by its beginning.
    #[must_use]
    pub fn is_odd(&self) -> bool {
        self.odd
    }

    /// The opposite of [`Self::is_odd`].
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.odd
    }

    /// Whether it is this path or below it: `/v1` and `/v1/` both mean `/v1`, `/v1/` and `/v1/x`, and not
    /// `/v10`. An odd path is below nothing. `prefix` is canonical.
    #[must_use]
    pub fn is_below(&self, prefix: &str) -> bool {
        self.is_plain() && below(&self.text, prefix)
    }
}

/// Whether a canonical path is another or below it, by whole segments.
pub(crate) fn below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Every `%` has its two digits.
fn check_encoding(segment: &str) -> Result<(), PathError> {
    let good = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    match segment.split('%').skip(1).all(good) {
        true => Ok(()),
        false => Err(PathError::BadEncoding),
    }
}

/// Whether a decoded segment makes its path odd.
fn judge(segment: &[u8]) -> Result<bool, PathError> {
    if segment.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
        return Err(PathError::BadCharacter);
    }
    if segment.contains(&b'\\') {
        return Err(PathError::Backslash);
    }
    // Servers cut a segment at `;`, and some decode a second time, at their peril and ours.
    let twice: Vec<u8> = percent_encoding::percent_decode(segment).collect();
    for part in segment.split(|byte| *byte == b'/').chain(twice.split(|byte| matches!(byte, b'/' | b'\\'))) {
        let name = part.split(|byte| *byte == b';').next().unwrap_or_default();
        if name == b"." || name == b".." {
            return Err(PathError::DotSegment);
        }
    }
    if segment.iter().any(|byte| matches!(byte, b'/' | b';')) || twice != segment {
        return Ok(true);
    }
    Ok(std::str::from_utf8(segment).map_or(true, has_lookalikes))
}

/// Whether a text has characters that are read as a dot, slash, backslash, `;` or `%` by servers that
/// normalise.
fn has_lookalikes(text: &str) -> bool {
    let special = |c: &char| matches!(c, '.' | '/' | '\\' | ';' | '%');
    !text.is_ascii()
        && (text.chars().any(|c| SLASH_LOOKALIKES.contains(&c) || c.is_control())
            || text.nfkc().filter(special).count() != text.chars().filter(special).count())
}

/// Writes decoded bytes so that every path has one spelling. Quotes and `*` are encoded, too: paths stand
/// in commands that a human copies, and in rules.
fn write_canonical(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text.push(char::from(*byte)),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'(' | b')' | b'+' | b',' => {
                text.push(char::from(*byte));
            }
            b';' | b'=' | b':' | b'@' => text.push(char::from(*byte)),
            _ => text.push_str(percent_encoding::percent_encode_byte(*byte)),
        }
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
