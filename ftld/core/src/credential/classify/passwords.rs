//! What passwords look like that humans thought of.
//!
//! Owns their shape, which is all there is to tell them by when the name says nothing. Must not know names.

/// Characters that passwords are told to have and settings seldom do.
const SPECIAL: &[u8] = b"!#$%^&*@";
/// Characters that patterns, lists, paths and templates have.
const STRUCTURE: &[u8] = b"/,;:=|\\<>(){}[]\"'`";

/// Whether a value is of the kind that rules for passwords lead to: small and capital letters, digits and
/// special characters, all in one word.
pub(crate) fn is_password(value: &str) -> bool {
    let has = |sort: fn(&u8) -> bool| value.bytes().any(|byte| sort(&byte));
    let special = has(|byte| SPECIAL.contains(byte));
    (8..=64).contains(&value.len())
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
        && special
        && !value.bytes().any(|byte| STRUCTURE.contains(&byte) || byte.is_ascii_whitespace())
        && !value.starts_with(['^', '~', '#', '*', '%'])
        && !is_reference(value)
        && !is_address(value)
}

/// Whether a value under a name such as `LOGIN` is something else than a user's name, number or address.
pub(super) fn is_no_name(value: &str) -> bool {
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let word = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let behind = value.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    // `ada2` and `user01` are names; `h4ckme` is none, nor is a longer word with a number behind it.
    let digits_inside = letters > 0 && behind.bytes().any(|byte| byte.is_ascii_digit());
    let numbered = behind.len() <= 2 && value.len() <= 6;
    let sentence = value.contains(' ') && letters + value.matches(' ').count() == value.len();
    match word {
        true => digits_inside && !numbered,
        false => !sentence && !is_address(value) && !is_reference(value),
    }
}

/// `ada@example.com`, `pnpm@9.1.0`.
fn is_address(value: &str) -> bool {
    let host = |text: &str| {
        text.contains('.') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
    };
    let user = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-@".contains(&byte));
    value.rsplit_once('@').is_some_and(|(before, behind)| user(before) && host(behind))
}

/// `$NAME` and `$NAME$OTHER`, for whoever reads the file to fill in.
fn is_reference(value: &str) -> bool {
    let name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    value.strip_prefix('$').is_some_and(|rest| rest.split('$').all(name))
}
