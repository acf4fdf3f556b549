//! Tests of the search: ids, added lines, what was there before, odd and hostile contents.

use std::sync::LazyLock;

use super::*;
use crate::hunk::{Limits, hunks};

const KEY: &str = "vQ8mZ3xK7pL2wR9tB4nY6cH1";

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

static KNOWN: LazyLock<Known> =
    LazyLock::new(|| Known::new(&[("API_KEY", KEY)], &[("AGENT", "Zp4Nw8Qk2Rv6Tx1Ym5Jc9Lb3")]));

fn all(at: &str, content: impl AsRef<[u8]>) -> Vec<Finding> {
    lint(&path(at), b"", content.as_ref(), &Added::All, &KNOWN)
}

fn changed(at: &str, before: &str, after: &str) -> Vec<Finding> {
    let added = Added::of(&hunks(before.as_bytes(), after.as_bytes(), Limits::default()));
    lint(&path(at), before.as_bytes(), after.as_bytes(), &added, &KNOWN)
}

#[test]
fn a_finding_says_where_and_what_and_never_the_value() {
    let found = all("src/a.py", format!("\n\nkey = \"{KEY}\"\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].class, found[0].line, found[0].holds), (Class::Secret, 3, true));
    assert_eq!(found[0].message, "the real value of API_KEY");
    let shadow = all("src/a.py", "key = \"Zp4Nw8Qk2Rv6Tx1Ym5Jc9Lb3\"");
    assert_eq!(shadow[0].message, "the shadow of AGENT, which means nothing outside of its sandbox");
    assert_eq!(Class::VendorKey.to_string(), "vendor-key");
}

#[test]
fn an_id_stays_when_lines_move_and_is_another_for_the_second_of_two() {
    let ids = |text: String| all("a.py", text).into_iter().map(|finding| finding.id).collect::<Vec<_>>();
    let one = ids(format!("k = '{KEY}'\n"));
    assert_eq!(one, ids(format!("import os\n\nk = '{KEY}'\n")));
    let two = ids(format!("k = '{KEY}'\nj = '{KEY}'\n"));
    assert_eq!(two[0], one[0]);
    assert_ne!(two[0], two[1]);
    assert_ne!(all("b.py", format!("k = '{KEY}'\n"))[0].id, one[0]);
}

#[test]
fn only_what_is_added_is_searched() {
    let filler = "x = 1\n".repeat(20);
    let before = format!("k = '{KEY}'\n{filler}");
    assert_eq!(changed("a.py", &before, &format!("{before}y = 2\n")), []);
    // The line is new, and the value in it is not.
    let moved = changed("a.py", &before, &format!("{filler}k2 = '{KEY}'\n"));
    assert_eq!(moved.iter().map(|finding| finding.holds).collect::<Vec<_>>(), [false]);
    let twice = changed("a.py", "", &format!("k = '{KEY}'\n"));
    assert!(twice[0].holds);
}

#[test]
fn the_added_lines_are_those_of_the_hunks() {
    let (before, after) = ("a\nb\nc\n", "a\nB\nc\nd\ne\n");
    let added = Added::of(&hunks(before.as_bytes(), after.as_bytes(), Limits::default()));
    assert_eq!(added, Added::Lines(vec![2..3, 4..6]));
    assert!(added.holds(2, 2) && added.holds(3, 4) && !added.holds(3, 3) && !added.holds(6, 9));
    let large = Added::of(&hunks(b"1", b"2", Limits { bytes: 0, lines: 0 }));
    assert_eq!(large, Added::All);
}

#[test]
fn a_path_can_be_the_leak() {
    let found = all(&format!("notes/{KEY}.md"), "");
    assert_eq!((found[0].line, found[0].class), (0, Class::Secret));
    assert!(found[0].message.starts_with("in the path itself"));
}

#[test]
fn other_encodings_and_binaries_are_searched() {
    let text = "import os\nos.system('rm -rf /')\n";
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let found = all("a.py", &utf16);
    assert_eq!((found[0].class, found[0].line), (Class::Destructive, 2));
    let wide: Vec<u8> = format!("k = '{KEY}'\n").encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert!(all("a.py", &wide).iter().any(|finding| finding.class == Class::Secret));
    let binary = [b"\x7fELF\0\x01".as_slice(), KEY.as_bytes(), b"\0\xff"].concat();
    let found = all("a.bin", &binary);
    assert_eq!((found[0].class, found[0].line), (Class::Secret, 0));
    let latin = [b"caf\xe9 = '".as_slice(), KEY.as_bytes(), b"'\n"].concat();
    assert_eq!(all("a.py", &latin)[0].line, 1);
    // A command in what is no text is none.
    assert_eq!(all("a.sh", b"\0rm -rf /\n"), []);
}

#[test]
fn plain_values_are_left_out_and_said() {
    let known = Known::new(&[("A", "postgres"), ("B", "short"), ("C", "12345678"), ("D", KEY)], &[]);
    assert_eq!(known.left_out(), ["A", "B", "C"]);
    let found = lint(&path("a.py"), b"", b"db = 'postgres'", &Added::All, &known);
    assert_eq!(found, []);
}

#[test]
fn a_part_of_a_value_is_found_and_its_vendors_prefix_is_none() {
    let found = all("a.py", format!("k = join('{}', rest)", &KEY[..14]));
    assert_eq!(found[0].message, "a part of the real value of API_KEY");
    let value = format!("{}{KEY}", "sk-ant-api03-");
    let known = Known::new(&[("K", value.as_str())], &[]);
    let other = lint(&path("a.py"), b"", b"if k.startswith('sk-ant-api03-'): pass", &Added::All, &known);
    assert_eq!(other, []);
}

/// Contents that are made to be expensive.
#[test]
fn hostile_contents_are_searched_in_bounded_work() {
    let size = 8_000;
    for piece in [
        "$(",
        "`",
        "'",
        "\"",
        "(",
        "<<A\n",
        "\\",
        "eyJ",
        "eyJ.",
        "://a:b@",
        "password=",
        "token: \"",
        "-----BEGIN ",
        "rm -rf ",
        "{{",
        "/*",
        "sk-",
        "AKIA",
        "\"rm\", ",
        "'a' + ",
        "a=b ",
        "execute(\"",
        "| sh ",
        "\u{0}",
        "\n",
        "DELETE FROM a ",
        "M",
        "%25",
        "\"\"\"",
        "r#\"",
        "sig=",
        "Basic ",
        "0x41, ",
    ] {
        let text = piece.repeat(size / piece.len());
        for name in [
            "a.sh",
            "a.py",
            "a.js",
            "a.rs",
            "a.sql",
            "a.yml",
            "package.json",
            "Makefile",
            "Dockerfile",
            "a.ps1",
            ".env",
            "a",
        ] {
            all(name, &text);
        }
    }
}

#[test]
fn names_and_targets_are_searched_too() {
    let class = |at: &str, target: Option<&str>| -> Vec<Class> {
        lint_name(&path(at), target.map(str::as_bytes), &KNOWN).iter().map(|one| one.class).collect()
    };
    assert_eq!(class(&format!("d-{KEY}"), None), [Class::Secret]);
    assert_eq!(class("link", Some(&format!("../{KEY}/x"))), [Class::Secret]);
    assert_eq!(class("link", Some("AKIAQ3EGRZ7LXWPN5TBV")), [Class::VendorKey]);
    assert_eq!(class("src/dir", Some("../lib/other")), []);
}
