//! Files that tools run as text although they are not shown as one.
//!
//! Owns which names and beginnings say that a tool reads a file as text, and which formats programs have that are
//! none. Interpreters skip over a NUL, or over any bytes in a comment; a review that shows "binary" for such a file
//! shows nothing of what it does. Must not know what is searched for.

use super::place::{Family, Place};
use crate::hunk;
use crate::tree::RelPath;

/// In what is mostly text at least so many of a hundred bytes are printed ones.
const PRINTED: usize = 90;
/// Bytes at a start that are looked at.
const PROBE: usize = 8 * 1024;

/// Whether a file is, or becomes, one that tools may run as a text and that is not shown as one: no text in spite
/// of its name or beginning, a text until now, an executable in no known format, or a text with NULs where there
/// were none. `after` is the new content or its beginning, `before` the old one, empty for none.
#[must_use]
pub fn disguised(path: &RelPath, is_executable: bool, before: &[u8], after: &[u8]) -> bool {
    let has_nul = |content: &[u8]| content.contains(&0);
    let place = Place::of(path, after);
    if hunk::is_text(after) {
        return has_nul(after) && !has_nul(before);
    }
    let was_text = !before.is_empty() && hunk::is_text(before);
    was_text || is_named_text(&place) || after.starts_with(b"#!") || (is_executable && !is_program(after))
}

/// Whether a content is searched as a text, whatever bytes it has.
pub(super) fn is_read_as_text(place: &Place, content: &[u8]) -> bool {
    let start = &content[..content.len().min(PROBE)];
    let printed = start.iter().filter(|byte| matches!(**byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')).count();
    is_named_text(place) || content.starts_with(b"#!") || printed * 100 >= start.len() * PRINTED
}

fn is_named_text(place: &Place) -> bool {
    !matches!(place.family, Family::Other | Family::Prose)
}

/// Whether a content begins like a program that a kernel or a runtime loads: no shell takes such a one for text.
fn is_program(content: &[u8]) -> bool {
    match content {
        [0x7f, b'E', b'L', b'F', 1 | 2, 1 | 2, 1, ..] | [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => true,
        [0xca, 0xfe, 0xba, 0xbe, 0, ..] => true,
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => true,
        [b'M', b'Z', ..] => is_portable(content),
        _ => false,
    }
}

/// Whether the second header of a program for Windows stands where the first one says.
fn is_portable(content: &[u8]) -> bool {
    let Some(at) = content.get(0x3c..0x40).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) else {
        return false;
    };
    let at = u32::from_le_bytes(at) as usize;
    content.get(at..).is_some_and(|rest| rest.starts_with(b"PE\0\0"))
}

#[cfg(test)]
mod tests {
    use super::super::{Added, Class, Known, lint};
    use super::*;

    const RUNS: &[u8] =
        b"\nrequire(\"child_process\").execSync(\"rm -rf $HOME\");\nconst k=\"AKIAQ3EGRZ7LXWPN5TBV\";\n";

    fn path(at: &str) -> RelPath {
        RelPath::new(at).unwrap()
    }

    fn is(at: &str, is_executable: bool, before: &[u8], after: &[u8]) -> bool {
        disguised(&path(at), is_executable, before, after)
    }

    #[test]
    fn a_file_that_tools_run_as_text_is_one_however_it_begins() {
        let one = [b"/* \0 */", RUNS].concat();
        let many = [b"/*", &[0; 400][..], b"*/", RUNS].concat();
        let late = [&[b' '; 100][..], RUNS, b"\0"].concat();
        for content in [&one, &many, &late] {
            assert!(is("app.js", false, b"x = 1\n", content), "{}", content.escape_ascii());
            assert!(is("data", false, b"x = 1\n", content), "a text becomes none");
        }
        assert!(is("run", true, b"", &many) && is("run", false, b"", &[b"#!/bin/sh\n", &many[..]].concat()));
        assert!(is("new.py", false, b"", &many) && is("Makefile", false, b"", &many));
        // What always was one is no change of that.
        assert!(!is("app.js", false, &one, &late));
    }

    #[test]
    fn binaries_and_texts_are_no_disguise() {
        let elf = [&b"\x7fELF\x02\x01\x01"[..], &[0; 60]].concat();
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        assert!(!is("a.out", true, b"", &elf) && !is("logo.png", false, b"", png));
        assert!(!is("app.js", false, b"x\n", RUNS) && !is("blob", false, b"", &[0, 1, 2, 3]));
        // The same letters at the start make no program of a script.
        assert!(is("tool", true, b"", b"MZ\0\nrm -rf ~\n") && is("tool", true, b"", b"\x7fELF\0\nrm\n"));
    }

    #[test]
    fn it_is_searched_like_the_text_that_it_is() {
        for nuls in [1, 400] {
            let content = [b"/*", &vec![0; nuls][..], b"*/", RUNS].concat();
            let found = lint(&path("app.js"), b"", &content, &Added::All, &Known::none());
            let classes: Vec<_> = found.iter().map(|one| (one.class, one.line)).collect();
            assert_eq!(classes, [(Class::Destructive, 2), (Class::VendorKey, 3)], "{nuls}: {found:?}");
        }
    }
}
