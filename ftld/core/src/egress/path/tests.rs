//! Tests of the canonical path.

use proptest::prelude::*;

use super::*;

fn read(raw: &str) -> Result<(String, bool), PathError> {
    CanonicalPath::parse(raw).map(|path| (path.as_str().to_owned(), path.is_odd()))
}

#[test]
fn plain_paths_have_one_spelling() {
    for (raw, text) in [
        ("", "/"),
        ("/", "/"),
        ("?a=/../b", "/"),
        ("/v1/x", "/v1/x"),
        ("/v1/x/", "/v1/x/"),
        ("/v1/x?y=%2e%2e/z#", "/v1/x"),
        ("/%76%31/x", "/v1/x"),
        ("/a%20b", "/a%20b"),
        ("/a%c3%a9", "/a%C3%A9"),
        ("/a\u{e9}", "/a%C3%A9"),
        ("/it's", "/it%27s"),
        ("/a*b", "/a%2Ab"),
        ("/a%", "!"),
        ("/a%2", "!"),
        ("/a%zz", "!"),
        ("/@scope/name", "/@scope/name"),
        ("/...", "/..."),
        ("/.well-known/x", "/.well-known/x"),
        ("/a..b/.c.", "/a..b/.c."),
        ("/100%25", "/100%25"),
        ("/o/r.git/git-upload-pack", "/o/r.git/git-upload-pack"),
    ] {
        match text {
            "!" => assert_eq!(read(raw), Err(PathError::BadEncoding), "{raw}"),
            _ => assert_eq!(read(raw), Ok((text.to_owned(), false)), "{raw}"),
        }
    }
}

#[test]
fn what_servers_read_in_two_ways_is_odd() {
    for (raw, text) in [
        ("//", "//"),
        ("/v1//x", "/v1//x"),
        ("//v1", "//v1"),
        ("/v1;a=b/x", "/v1;a=b/x"),
        ("/v1%3bx", "/v1;x"),
        ("/@scope%2fname", "/@scope%2Fname"),
        ("/@scope%2Fname", "/@scope%2Fname"),
        ("/v1/%252e%2561", "/v1/%252e%2561"),
        ("/a%2525", "/a%2525"),
        ("/%ff", "/%FF"),
        ("/%c0%ae%c0%ae/x", "/%C0%AE%C0%AE/x"),
        ("/%ef%bc%8e%ef%bc%8e/x", "/%EF%BC%8E%EF%BC%8E/x"),
        ("/a\u{ff0f}b", "/a%EF%BC%8Fb"),
        ("/a\u{2215}b", "/a%E2%88%95b"),
        ("/a\u{2025}b", "/a%E2%80%A5b"),
    ] {
        assert_eq!(read(raw), Ok((text.to_owned(), true)), "{raw}");
    }
}

#[test]
fn what_climbs_or_hides_is_refused() {
    for raw in [
        "/.",
        "/..",
        "/v1/..",
        "/v1/../admin",
        "/v1/./x",
        "/v1/%2e%2e/admin",
        "/v1/%2E./x",
        "/v1/.%2e",
        "/v1/..;/admin",
        "/v1/..;x=y/admin",
        "/v1/.;/x",
        "/v1/..%3b/admin",
        "/v1%2f..%2fadmin",
        "/v1/..%2fadmin",
        "/v1/x%2f..",
        "/v1/%252e%252e/admin",
        "/v1/%252e%252e%252fadmin",
        "/v1/..%255cadmin",
        "/v1/%252e",
    ] {
        assert_eq!(read(raw), Err(PathError::DotSegment), "{raw}");
    }
    for raw in ["/a\\b", "/a%5cb", "/..\\x", "/%5C"] {
        assert_eq!(read(raw), Err(PathError::Backslash), "{raw}");
    }
    for raw in ["/a\0", "/a%00", "/a%0d%0aX", "/a b", "/a\tb", "/a#b", "/a%7f", "/a\u{7f}", "/%1f"] {
        assert_eq!(read(raw), Err(PathError::BadCharacter), "{raw}");
    }
    for raw in ["*", "v1/x", "http://a/b", "\\x", " /x"] {
        assert_eq!(read(raw), Err(PathError::NotAbsolute), "{raw}");
    }
    assert_eq!(read(&format!("/{}", "a".repeat(LONGEST))), Err(PathError::TooLong));
    assert_eq!(read(&format!("/{}", "*".repeat(LONGEST / 2))), Err(PathError::TooLong));
    assert!(read(&format!("/{}", "a".repeat(LONGEST - 1))).is_ok());
}

#[test]
fn below_is_by_whole_segments() {
    for (path, prefix, expected) in [
        ("/v1", "/v1", true),
        ("/v1/", "/v1", true),
        ("/v1/x", "/v1", true),
        ("/v1/x", "/v1/", true),
        ("/v1", "/v1/", true),
        ("/%761/x", "/v1", true),
        ("/v10", "/v1", false),
        ("/V1", "/v1", false),
        ("/", "/v1", false),
        ("/x/v1", "/v1", false),
        ("/v1//x", "/v1", false),
        ("/v1;x", "/v1", false),
        ("/v1%2fx", "/v1", false),
        ("/anything", "/", true),
    ] {
        assert_eq!(CanonicalPath::parse(path).unwrap().is_below(prefix), expected, "{path} {prefix}");
    }
}

/// Bytes that trouble is made of, more often than others.
fn raw_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("v1".to_owned()),
        Just("%2e".to_owned()),
        Just("%2F".to_owned()),
        Just("%25".to_owned()),
        Just("%5c".to_owned()),
        Just(";".to_owned()),
        Just("\\".to_owned()),
        Just("%c0%af".to_owned()),
        "[a-z%0-9?#*]{0,4}",
        "\\PC{0,3}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// Where a server that decodes twice, cuts parameters, joins slashes and resolves dots would look.
fn most_generous(raw: &str) -> Vec<String> {
    let path = raw.split('?').next().unwrap();
    let once: Vec<u8> = percent_decode_str(path).collect();
    let twice: Vec<u8> = percent_encoding::percent_decode(&once).collect();
    let mut segments: Vec<String> = Vec::new();
    for segment in String::from_utf8_lossy(&twice).split(['/', '\\']) {
        match segment.split(';').next().unwrap() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.to_owned()),
        }
    }
    segments
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_canonical_form_is_stable(raw in raw_path()) {
        if let Ok(path) = CanonicalPath::parse(&raw) {
            prop_assert_eq!(CanonicalPath::parse(path.as_str()), Ok(path.clone()));
            let good = |byte: u8| byte.is_ascii_graphic() && !b"'\"`\\?#*".contains(&byte);
            prop_assert!(path.as_str().bytes().all(good));
        }
    }

    #[test]
    fn nothing_makes_it_panic(raw in any::<String>(), bytes in any::<Vec<u8>>()) {
        let _ = CanonicalPath::parse(&raw);
        let _ = CanonicalPath::parse(&format!("/{}", String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn what_is_below_v1_is_below_v1_for_every_server(raw in raw_path()) {
        if CanonicalPath::parse(&raw).is_ok_and(|path| path.is_below("/v1")) {
            let segments = most_generous(&raw);
            prop_assert_eq!(segments.first().map(String::as_str), Some("v1"), "{}", raw);
        }
    }
}
