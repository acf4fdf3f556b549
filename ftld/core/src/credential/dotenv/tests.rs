//! Tests of the dialect.

use proptest::prelude::*;

use super::*;

/// Name, value and line.
type Line = (String, String, usize);

fn read(text: &[u8]) -> (Vec<Line>, Vec<(usize, Fault)>) {
    let (entries, problems) = parse(text);
    let entries = entries.into_iter().map(|it| (it.name, it.value.expose().to_owned(), it.line));
    (entries.collect(), problems.into_iter().map(|it| (it.line, it.fault)).collect())
}

#[test]
fn assignments_mean_what_the_common_libraries_mean() {
    for (text, value) in [
        ("A=b", "b"),
        ("A=", ""),
        ("A = b ", "b"),
        ("  A=b", "b"),
        ("export A=b", "b"),
        ("export\tA=b", "b"),
        ("A=b # comment", "b"),
        ("A=b#c", "b#c"),
        ("A=#c", ""),
        ("A= # c", ""),
        ("A=b c", "b c"),
        ("A=b=c==", "b=c=="),
        ("A='b'", "b"),
        ("A='b # c' # d", "b # c"),
        ("A='b\\n'", "b\\n"),
        ("A=\"b\\nc\"", "b\nc"),
        ("A=\"b\\tc\\r\"", "b\tc\r"),
        ("A=\"b\\\"c\\\\\"", "b\"c\\"),
        ("A=\"\\$B \\x\"", "$B \\x"),
        ("A=`b 'c' \"d\"`", "b 'c' \"d\""),
        ("A=$B/${C}", "$B/${C}"),
        ("A=\"b\nc\"", "b\nc"),
        ("A=\"b\r\nc\"", "b\nc"),
        ("A='b\n#c'", "b\n#c"),
        ("A=b'c", "b'c"),
        ("A=it's", "it's"),
        ("A=b\r", "b"),
        ("A=\"\"", ""),
        ("A=\u{fc}", "\u{fc}"),
        ("\u{feff}A=b", "b"),
    ] {
        assert_eq!(read(text.as_bytes()), (vec![("A".to_owned(), value.to_owned(), 1)], vec![]), "{text:?}");
    }
}

#[test]
fn what_means_nothing_is_reported_and_the_rest_counts() {
    let text =
        b"# comment\n\nA=1\nB: 2\nC=\xff\xfe\nD=\"open\n1E=2\nexport F\nexport G=3\nH='x'y\nI=a\0b\r\nJ=4";
    let (entries, problems) = read(text);
    let names: Vec<_> =
        entries.iter().map(|(name, value, line)| (name.as_str(), value.as_str(), *line)).collect();
    assert_eq!(names, [("A", "1", 3), ("G", "3", 9), ("J", "4", 12)]);
    let expected = [
        (4, Fault::NoAssignment),
        (5, Fault::NotText),
        (6, Fault::OpenQuote),
        (7, Fault::NoAssignment),
        (8, Fault::NoAssignment),
        (10, Fault::AfterQuote),
        (11, Fault::NotText),
    ];
    assert_eq!(problems, expected);
}

#[test]
fn lines_are_counted_through_quotes() {
    let (entries, problems) = read(b"A=\"1\n2\n3\"\nB=4\n");
    assert_eq!(problems, []);
    assert_eq!(entries[1], ("B".to_owned(), "4".to_owned(), 4));
}

#[test]
fn there_is_an_end_to_what_is_read() {
    let (entries, problems) = read("A=b\n".repeat(10_001).as_bytes());
    assert_eq!((entries.len(), problems), (10_000, vec![(10_001, Fault::TooMany)]));
    let long = format!("A=b\nB={}\n", "x".repeat(1 << 20));
    let (entries, problems) = read(long.as_bytes());
    assert_eq!((entries.len(), problems), (1, vec![(2, Fault::TooLong)]));
    let exact = "# ".to_owned() + &"x".repeat((1 << 20) - 2);
    assert_eq!(read(exact.as_bytes()), (vec![], vec![]));
}

#[test]
fn quotes_are_written_where_they_are_needed() {
    let text = render([
        ("A", "plain-1.0"),
        ("B", "two words"),
        ("C", "it's"),
        ("D", "a\nb"),
        ("E", ""),
        ("F", "$X #y"),
    ]);
    assert_eq!(text, "A=plain-1.0\nB='two words'\nC=\"it's\"\nD=\"a\\nb\"\nE=\nF='$X #y'\n");
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(
        variables in prop::collection::vec(("[A-Za-z_][A-Za-z0-9_.-]{0,8}", "[^\0]{0,20}|[ -~\n\r\\\\'\"`$#=]{0,20}"), 0..6)
    ) {
        let text = render(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let (entries, problems) = read(text.as_bytes());
        prop_assert_eq!(problems, vec![]);
        let entries: Vec<_> = entries.into_iter().map(|(name, value, _)| (name, value)).collect();
        prop_assert_eq!(entries, variables);
    }

    #[test]
    fn any_bytes_can_be_read(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'='), Just(b'"'), Just(b'\\')], 0..200)) {
        let (entries, problems) = read(&bytes);
        let lines = bytes.split(|byte| *byte == b'\n').count();
        prop_assert!(entries.iter().all(|(_, _, line)| *line <= lines));
        prop_assert!(problems.iter().all(|(line, _)| *line <= lines));
        // What was read can be written and read again.
        let text = render(entries.iter().map(|(name, value, _)| (name.as_str(), value.as_str())));
        let again: Vec<_> = read(text.as_bytes()).0.into_iter().map(|(name, value, _)| (name, value)).collect();
        let first: Vec<_> = entries.into_iter().map(|(name, value, _)| (name, value)).collect();
        prop_assert_eq!(again, first);
    }
}

mod masked {
    use proptest::prelude::*;

    use super::super::mask::{Shown, mask};
    use super::super::parse;
    use crate::credential::classify::{Class, classify};
    use crate::credential::shadow::mint_value;

    /// What a session does: shadows for secrets, the rest as it is.
    fn seen(bytes: &[u8]) -> (String, Vec<String>) {
        let (entries, _) = parse(bytes);
        let mut minted = Vec::new();
        let mut reals = Vec::new();
        for entry in &entries {
            let made = mint_value(&entry.name, entry.value.expose(), &mut |bytes| bytes.fill(0x5a));
            reals.extend(
                made.iter().flat_map(|made| &made.credentials).map(|one| one.real.expose().to_owned()),
            );
            minted.push((entry.name.clone(), entry.value.expose().to_owned(), made.map(|made| made.text)));
        }
        let texts: Vec<&str> = reals.iter().map(String::as_str).collect();
        let out = mask(bytes, &texts, &mut |name, value| {
            let made = minted.iter().find(|(known, real, _)| known == name && real == value);
            match made.map(|(_, _, text)| text) {
                Some(Some(text)) => Shown::Instead(text.clone()),
                Some(None) if classify(name, value) == Class::Plain => Shown::Plain,
                _ => Shown::Withheld,
            }
        });
        (String::from_utf8(out).unwrap(), reals)
    }

    #[test]
    fn the_text_stays_but_for_what_is_secret() {
        let file = "# App settings\nPORT=3000\n\nexport API_KEY=\"hunter2hunter2\" # ours\n\
            NAME='two words'\nDATABASE_URL=postgres://u:hunter3hunter3@h/db\n# OLD_KEY=hunter4\n\
            #password: swordf1sh\n# see hunter2hunter2\nLAST=x # hunter3hunter3\n";
        let (text, _) = seen(file.as_bytes());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["# App settings", "PORT=3000", ""]);
        assert!(lines[3].starts_with("export API_KEY=\"") && lines[3].ends_with("\" # ours"), "{text}");
        assert_eq!(lines[4], "NAME='two words'");
        assert!(lines[5].starts_with("DATABASE_URL=postgres://u:") && lines[5].ends_with("@h/db"), "{text}");
        assert!(lines[6..9].iter().all(|line| line.starts_with("# withheld by FTL")), "{text}");
        assert_eq!(lines[9..], ["LAST=x"]);
        for secret in ["hunter", "swordf1sh"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[test]
    fn a_password_that_is_a_word_does_not_hide_the_user_of_that_name() {
        let (text, _) = seen(
            b"POSTGRES_USER=postgres\r\nPOSTGRES_PASSWORD=postgres\r\nDATABASE_URL=postgres://postgres:postgres@db/app\r\n",
        );
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], "POSTGRES_USER=postgres");
        assert!(lines[1].starts_with("POSTGRES_PASSWORD=") && !lines[1].ends_with("postgres"), "{text}");
        assert!(lines[2].starts_with("DATABASE_URL=postgres://postgres:"), "{text}");
        assert!(lines[2].ends_with("@db/app") && !lines[2].contains(":postgres@"), "{text}");
    }

    #[test]
    fn what_may_be_the_rest_of_a_value_is_withheld() {
        for (file, last) in [
            ("A=1\nKEY=-----BEGIN PRIVATE KEY-----\nMIIEabcd\nrest=\nB=2\n", "what follows"),
            ("A=1\nB=\"open\nTOKEN=abcdef\n", "what follows"),
            ("A=1\nB='x' y\nC=1\n", "what follows"),
            ("A=1\nghp_abcdefghijklmnopqrstuvwxyz0123456789=\n", "withheld by FTL\n"),
        ] {
            let (text, _) = seen(file.as_bytes());
            assert!(text.starts_with("A=1\n") && text.contains(last), "{text}");
            for leaked in ["MIIE", "rest", "open", "abcdef", "C=", "ghp_"] {
                assert!(!text.contains(leaked), "{text}");
            }
        }
        assert_eq!(seen(b"\xff=1\n").0.lines().count(), 1);
    }

    proptest! {
        #[test]
        fn no_real_value_is_in_what_is_seen(
            lines in proptest::collection::vec(
                ("(export )?[A-Z]{1,4}(_KEY|_TOKEN|_PASSWORD|_URL)?", "[\"'` ]?", "[ -~]{0,30}|https://u:[ -~]{8,20}@h/x", "[\"'` ]?( #[ -~]{0,20})?"),
                0..6),
            tail in "[ -~\n]{0,60}",
        ) {
            let mut file = String::new();
            for (name, open, value, close) in lines {
                file += &format!("{name}={open}{value}{close}\n");
            }
            file += &tail;
            let (text, reals) = seen(file.as_bytes());
            let is_word = |real: &str| real.len() <= 10 && real.bytes().all(|byte| byte.is_ascii_lowercase());
            for real in reals.iter().filter(|real| real.len() >= 8 && !is_word(real)) {
                prop_assert!(!text.contains(real.as_str()), "{real:?} of {file:?} in {text:?}");
            }
        }
    }
}
