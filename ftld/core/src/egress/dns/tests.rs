//! Answers, byte by byte, and that no bytes break the reader.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 3, 4);

fn question(name: &[&str], kind: u16, class: u16, extension: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, u8::from(!extension.is_empty())];
    for label in name {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(class.to_be_bytes());
    bytes.extend(extension);
    bytes
}

const EXTENSION: &[u8] = &[0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];

/// Allows `good.example` and remembers how often it was asked.
fn ask(query: &[u8]) -> (Option<Vec<u8>>, usize) {
    let asked = Cell::new(0);
    let answered = answer(query, &mut |name| {
        asked.set(asked.get() + 1);
        match name.as_str() {
            "good.example" => NameVerdict::Address(ADDRESS),
            _ => NameVerdict::Refused("no rule allows it ".repeat(40)),
        }
    });
    (answered, asked.get())
}

fn code(answer: &[u8]) -> u8 {
    answer[3] & 0xf
}

fn records(answer: &[u8]) -> u16 {
    u16::from_be_bytes([answer[6], answer[7]])
}

#[test]
fn an_allowed_name_has_its_address() {
    let query = question(&["Good", "eXample"], kind::A, 1, &[]);
    let (answered, asked) = ask(&query);
    let answered = answered.unwrap();
    assert_eq!(asked, 1);
    assert_eq!(answered[..12], [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(answered[12..query.len()], query[12..], "the question is repeated as it was written");
    assert_eq!(answered[query.len()..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 18, 3, 4]);
}

#[test]
fn an_allowed_name_has_nothing_else() {
    for kind in [kind::AAAA, 2, 5, 6, 12, 15, 33, 43, 48, 64, 65, 257, 65000] {
        let answered = ask(&question(&["good", "example"], kind, 1, &[])).0.unwrap();
        assert_eq!((code(&answered), records(&answered)), (0, 0), "type {kind}");
    }
    for kind in [kind::TXT, kind::NULL, kind::ANY, kind::AXFR, kind::IXFR] {
        let answered = ask(&question(&["good", "example"], kind, 1, &[])).0.unwrap();
        assert_eq!((code(&answered), records(&answered)), (5, 0), "type {kind}");
    }
    assert_eq!(code(&ask(&question(&["good", "example"], kind::A, 3, &[])).0.unwrap()), 5);
}

#[test]
fn another_name_does_not_exist_and_the_answer_says_why_to_who_can_read_it() {
    let plain = question(&["bad", "example"], kind::A, 1, &[]);
    let answered = ask(&plain).0.unwrap();
    assert_eq!((code(&answered), records(&answered), answered.len()), (3, 0, plain.len()));

    let long = "a".repeat(63);
    let name = [&*long, &long, &long, &long[..60]];
    let answered = ask(&question(&name, kind::TXT, 1, EXTENSION)).0.unwrap();
    assert_eq!((code(&answered), answered.len()), (3, LONGEST_ANSWER));
    let text = String::from_utf8_lossy(&answered).into_owned();
    assert!(text.contains("no rule allows it no rule allows it"), "{text}");

    let short = question(&["bad", "example"], kind::A, 1, EXTENSION);
    let answered = answer(&short, &mut |_| NameVerdict::Refused("no".to_owned())).unwrap();
    let extension = [0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 8, 0, 15, 0, 4, 0, 18, b'n', b'o'];
    assert_eq!(answered[short.len() - EXTENSION.len()..], extension);
}

#[test]
fn some_names_are_answered_without_asking() {
    let localhost = ask(&question(&["sub", "localhost"], kind::A, 1, &[]));
    assert!(localhost.0.unwrap().ends_with(&[127, 0, 0, 1]));
    let localhost = ask(&question(&["localhost"], kind::AAAA, 1, &[])).0.unwrap();
    assert!(localhost.ends_with(&Ipv6Addr::LOCALHOST.octets()));
    for name in [
        &["4", "3", "18", "198", "in-addr", "arpa"][..],
        &["ipv4only", "arpa"],
        &[],
        &["a.b", "example"],
        &["sp ace", "example"],
        &["1", "2", "3", "4"],
        &["\u{e9}", "example"],
    ] {
        let (answered, asked) = ask(&question(name, kind::A, 1, &[]));
        assert_eq!((code(&answered.unwrap()), asked), (3, 0), "{name:?}");
    }
}

#[test]
fn what_is_no_plain_question_is_refused_or_dropped() {
    let good = question(&["good", "example"], kind::A, 1, EXTENSION);
    for cut in 0..12 {
        assert_eq!(ask(&good[..cut]).0, None);
    }
    for cut in 12..good.len() {
        let (answered, asked) = ask(&good[..cut]);
        assert_eq!((code(&answered.unwrap()), asked), (1, 0), "cut at {cut}");
    }
    let changed = |at: usize, value: u8| {
        let mut query = good.clone();
        query[at] = value;
        ask(&query)
    };
    assert_eq!(changed(2, 0x81).0, None, "an answer");
    assert_eq!(code(&changed(2, 0x29).0.unwrap()), 4, "another operation");
    for (at, value) in [(5, 0), (5, 2), (7, 1), (9, 1), (11, 2), (12, 0xc0), (12, 64)] {
        assert_eq!(changed(at, value).1, 0);
        assert_eq!(code(&changed(at, value).0.unwrap()), 1, "{value} at {at}");
    }
    let version = good.len() - 5;
    let answered = changed(version, 1).0.unwrap();
    assert_eq!((code(&answered), answered[good.len() - 6]), (0, 1), "the extended code is 16");
    let too_long = "a".repeat(63);
    assert_eq!(code(&ask(&question(&[&*too_long; 4], kind::A, 1, &[])).0.unwrap()), 1);
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let (Some(answered), _) = ask(&bytes) {
            prop_assert!((12..=LONGEST_ANSWER).contains(&answered.len()));
        }
    }

    #[test]
    fn no_change_of_a_question_breaks_it(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut query = question(&["good", "example"], kind::A, 1, EXTENSION);
        query.extend(tail);
        for (at, value) in changes {
            let at = at.index(query.len());
            query[at] = value;
        }
        let (answered, asked) = ask(&query);
        prop_assert!(asked <= 1);
        prop_assert!(answered.is_none_or(|answered| (12..=LONGEST_ANSWER).contains(&answered.len())));
    }
}
