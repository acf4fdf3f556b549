//! Names that are dangerous under some file system's idea of equality.
//!
//! Owns the folding: what a name becomes on hosts that ignore case, normalise Unicode, drop invisible
//! characters, cut trailing dots, know streams or make short names. A name is compared after folding, so
//! that no spelling slips through on a machine other than this one.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// Names that are refused at every depth: FTL's own, and those of version control whose content makes tools
/// on the host run commands.
const PROTECTED: [&str; 8] = [".git", ".hg", ".svn", ".jj", ".bzr", ".ftl", ".ftlconfig", ".ftlignore"];

/// The protected name that a component is, or is taken for by some file system.
#[must_use]
pub fn protected(component: &[u8]) -> Option<&'static str> {
    // Plain names are nearly all names; they need no copy.
    let suspicious = |byte: &u8| matches!(byte, b'.' | b'~' | b'\\') || !byte.is_ascii();
    if !component.iter().any(suspicious) {
        return None;
    }
    // A backslash separates components elsewhere.
    fold(component).split('\\').find_map(|part| {
        let stem = stem(part);
        PROTECTED.into_iter().find(|name| stem == *name || is_short_name(stem, name))
    })
}

/// A component as a file system sees it that ignores case, normal form and invisible characters. Equal
/// results mean that two names may be one file somewhere.
#[must_use]
pub fn fold(component: &[u8]) -> Cow<'_, str> {
    if component.is_ascii() {
        let text = String::from_utf8_lossy(component);
        return match component.iter().any(u8::is_ascii_uppercase) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => text,
        };
    }
    // Upper case first: it unites letters that lower case keeps apart, such as the long s and the dotless i.
    let text = String::from_utf8_lossy(component);
    let seen = text.nfd().filter(|c| !is_invisible(*c));
    let folded: String = seen.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    Cow::Owned(folded.nfc().collect())
}

/// A folded component without what Windows drops: a stream's name, trailing dots and spaces.
#[must_use]
pub(super) fn stem(folded: &str) -> &str {
    let name = match folded.split_once(':') {
        Some((name, _)) if !name.is_empty() => name,
        _ => folded,
    };
    name.trim_end_matches(['.', ' '])
}

/// A component as it is compared with lists of names. Here letters of other widths and styles count as the
/// plain ones too: some hosts write a name that they cannot hold with what looks most like it.
#[must_use]
pub(super) fn folded_stem(component: &[u8]) -> Cow<'_, str> {
    if !component.is_ascii() {
        let plain: String = String::from_utf8_lossy(component).nfkc().collect();
        return Cow::Owned(stem(&fold(plain.as_bytes())).to_owned());
    }
    match fold(component) {
        Cow::Borrowed(text) => Cow::Borrowed(stem(text)),
        Cow::Owned(text) => Cow::Owned(stem(&text).to_owned()),
    }
}

/// Whether a character is drawn as nothing, or turns the direction of what follows: what Unicode lets a program
/// ignore, with the separators of lines and the marks of annotations.
#[must_use]
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character looks like one that separates the components of a path, and is none.
#[must_use]
pub(super) fn is_like_a_separator(c: char) -> bool {
    matches!(
        c,
        '\u{2044}'
            | '\u{2215}'
            | '\u{2216}'
            | '\u{29f5}'
            | '\u{29f8}'
            | '\u{29f9}'
            | '\u{fe68}'
            | '\u{ff0f}'
            | '\u{ff3c}'
    )
}

/// Whether a stem is the 8.3 name that NTFS makes for `name`: `git~1` for `.git`.
fn is_short_name(stem: &str, name: &str) -> bool {
    let long = name.trim_start_matches('.');
    stem.split_once('~').is_some_and(|(start, number)| {
        start == &long[..long.len().min(6)]
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_protected_name_is_found() {
        let spellings: &[&[u8]] = &[
            b".git",
            b".GIT",
            b".Git",
            b"git~1",
            b"GIT~1",
            b"git~12",
            b".git.",
            b".git . .",
            b".git::$INDEX_ALLOCATION",
            b".git:x",
            b".ftl",
            b".FTL",
            b".ftlconfig",
            b".ftlignore",
            b"FTLCON~1",
            b"ftlign~3",
            b"ftl~1",
            b"a\\.git\\config",
            b".git\\hooks",
            b".hg",
            b".HG.",
            b"svn~1",
            b".jj",
            b"x\\.bzr\\plugins",
            ".g\u{200c}it".as_bytes(),
            "\u{feff}.git".as_bytes(),
            ".g\u{131}t".as_bytes(),
            ".ftlcon\u{fb01}g".as_bytes(),
            ".gi\u{e0041}t".as_bytes(),
        ];
        for name in spellings {
            assert!(protected(name).is_some(), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn neighbours_of_protected_names_are_not() {
        let names: &[&[u8]] = &[
            b".gitignore",
            b".github",
            b".gitattributes",
            b".hgignore",
            b".hgtags",
            b".svnignore",
            b"bzr",
            b"git",
            b"x.git",
            b".ftl2",
            b"ftl",
            b"git~",
            b"git~a",
            b".g",
            b".git2",
            b"..git",
            b"\xff.git\xfe",
            b"~1",
            b".",
            b" .git",
            "\u{434}.git".as_bytes(),
        ];
        for name in names {
            assert_eq!(protected(name), None, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn folding_unites_what_some_host_unites() {
        let same = [
            ("README", "readme"),
            ("\u{e9}", "e\u{301}"),
            ("\u{212a}", "k"),
            ("\u{17f}", "s"),
            ("\u{df}", "SS"),
        ];
        for (a, b) in same {
            assert_eq!(fold(a.as_bytes()), fold(b.as_bytes()), "{a} {b}");
        }
        assert_ne!(fold(b"a"), fold(b"b"));
    }
}
