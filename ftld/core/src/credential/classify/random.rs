//! What random characters look like.
//!
//! Owns the difference between what a machine drew and what a human or a program wrote. Must not know names.

/// Whether a part of a value looks like random characters: long, without a separator that a human would
/// write, and with many different characters for its length.
pub(crate) fn is_random(part: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"+/_-.~".contains(&byte);
    if part.len() < 20 || part.starts_with('/') || !part.bytes().all(token) {
        return false;
    }
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    let upper = |text: &str| text.bytes().filter(u8::is_ascii_uppercase).count();
    let lower = |text: &str| text.bytes().filter(u8::is_ascii_lowercase).count();
    // Paths, names and versions are words between separators; random text has a long stretch of all sorts.
    let stretch = part.split(['/', '-', '_', '.']).any(|stretch| {
        let sorts = digits(stretch) >= 3 && upper(stretch) + lower(stretch) >= 3;
        let cases = stretch.len() >= 24 && upper(stretch) > 2 && lower(stretch) > 2;
        stretch.len() >= 16 && (sorts || cases)
    });
    // Base64 may have its separators anywhere.
    let base64 =
        part.len() >= 32 && !part.contains('.') && digits(part) > 0 && upper(part) > 2 && lower(part) > 2;
    stretch || base64 || is_uuid(part)
}

pub(crate) fn is_uuid(part: &str) -> bool {
    let lengths: Vec<_> = part.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && part.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
