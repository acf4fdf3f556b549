//! Random and mutated inputs for whatever reads bytes of a sandbox or of a host, on stable Rust.
//!
//! Owns the inputs: a corpus of what has fooled others, cut, joined and changed at random, a bounded number
//! of times. `FTL_FUZZ_CASES` sets how often, for a longer run.

use std::net::Ipv4Addr;

use ftl_core::credential::slots::{self, Held, Outgoing};
use ftl_core::credential::{Binding, CredentialName, Grant, Slot};
use ftl_core::egress::dns::{self, NameVerdict};
use ftl_core::egress::host::{Authority, DnsName, Host, HostPattern};
use ftl_core::egress::path::CanonicalPath;
use ftl_core::egress::sniff::{Class, LONGEST_UNDECIDED, classify};
use ftl_core::scrub::Scrubber;
use ftl_core::sigv4::Inbound;
use ftl_tests::leaks;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

const SHADOW: &str = "Zk4mWq8/rT2+yB6-nH0_xD9.sF3gJ7lP1cV5aEuI=";
const REAL: &str = "tK9/wQ2+zR7-mX4_bN8.cV5vL3pJ6hG1fD0sAqY=";

/// What has fooled parsers of hosts, paths, headers and protocols.
const CORPUS: [&[u8]; 44] = [
    b"api.example.com", b"API.EXAMPLE.COM.", b"api.example.com:443", b"api.example.com:0443", b"x@api.example.com",
    b"127.1", b"2130706433", b"0x7f.1", b"[::1]", b"[::ffff:127.0.0.1]:443", b"[fe80::1%25lo]", b"xn--pi-7ma.example",
    b"api.example.com\0.evil.test", b"api.example.com%00", b"\xd0\xb0pi.example.com", b"api\xe3\x80\x82example.com",
    b"/v1/../admin", b"/v1/%2e%2e/admin", b"/v1%2fx", b"/v1//x", b"/v1/;x", b"/%c0%ae%c0%ae/", b"/v1/.%00/", b"*",
    b"\x16\x03\x01\x00\x05\x01", b"\x16\x03\x01\x40\x00\x01", b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-x\r\n", b"CONNECT a:443 HTTP/1.1\r\n\r\n", b"\x80\x2e\x01\x03\x01", b"Bearer ", b"Basic dXNlcjo=", b"token ",
    b"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;range;x-amz-date, \
      Signature=fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024",
    b"AWS4-HMAC-SHA256 Credential=////,SignedHeaders=,Signature=", b"Credential=a/b/c/d/aws4_request",
    b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03api\x07example\x03com\x00\x00\x01\x00\x01",
    b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03api\x00\x00\x1c\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00",
    b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    SHADOW.as_bytes(), REAL.as_bytes(), b"key=%2B&access_token=",
];

/// Pieces of the corpus and of chance, one behind the other.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let seed = prop::sample::select(&CORPUS[..]).prop_map(<[u8]>::to_vec);
    let cut = (seed.clone(), any::<prop::sample::Index>(), any::<bool>()).prop_map(|(seed, at, front)| {
        let (before, after) = seed.split_at(at.index(seed.len() + 1));
        if front { before.to_vec() } else { after.to_vec() }
    });
    let changed =
        (seed.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut seed, at, byte)| {
            let at = at.index(seed.len());
            seed[at] = byte;
            seed
        });
    let chance = prop::collection::vec(any::<u8>(), 0..40);
    let piece = prop_oneof![3 => seed, 2 => cut, 3 => changed, 2 => chance];
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("FTL_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(5000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn held() -> Held {
    let binding = Binding {
        hosts: vec![HostPattern::parse("api.example.com").unwrap()],
        port: 443,
        methods: Vec::new(),
        paths: vec!["/v1".into()],
        slots: vec![
            Slot::Header { name: "authorization".into(), format: "Bearer {}".into() },
            Slot::BasicPassword,
            Slot::Query { name: "key".into() },
        ],
        optional: true,
    };
    let name = CredentialName::parse("API_KEY").unwrap();
    Held::new(vec![Grant { name, shadow: SHADOW.into(), bindings: vec![binding] }])
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_classifier_says_the_same_of_the_whole_as_of_its_beginning(bytes in input()) {
        let whole = classify(&bytes);
        for at in 0..=bytes.len() {
            let begun = classify(&bytes[..at]);
            prop_assert!(begun == Class::Undecided || begun == whole, "{begun:?} at {at}, {whole:?} in the end");
            prop_assert!(begun != Class::Undecided || at <= LONGEST_UNDECIDED);
        }
    }

    #[test]
    fn a_host_is_read_as_itself_again(bytes in input()) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(host) = Host::parse(&text) {
            let canonical = host.to_string();
            prop_assert!(canonical.is_ascii() && canonical == canonical.to_ascii_lowercase(), "{canonical}");
            prop_assert!(!canonical.contains(['\0', '@', '/', '%', ' ', '\\']), "{canonical}");
            prop_assert_eq!(Host::parse(&canonical), Ok(host));
        }
        if let Ok(authority) = Authority::parse(&text, Some(443)) {
            prop_assert_eq!(Authority::parse(&authority.to_string(), None), Ok(authority));
        }
    }

    #[test]
    fn a_path_below_a_prefix_leads_nowhere_else(bytes in input(), prefixed in any::<bool>()) {
        let text = String::from_utf8_lossy(&bytes);
        let text = if prefixed { format!("/v1/{text}") } else { text.into_owned() };
        if let Ok(path) = CanonicalPath::parse(&text)
            && path.is_plain()
            && path.is_below("/v1")
        {
            let canonical = path.as_str();
            prop_assert!(canonical == "/v1" || canonical.starts_with("/v1/"), "{canonical}");
            prop_assert!(!canonical.split('/').any(|segment| segment == ".." || segment == "."), "{canonical}");
        }
    }

    #[test]
    fn a_real_value_is_filled_in_at_its_own_host_alone(
        host in prop_oneof![3 => Just("api.example.com".to_owned()), 1 => "[a-z]{1,8}\\.example\\.com"],
        port in prop_oneof![3 => Just(443_u16), 1 => any::<u16>()],
        tls in prop::bool::weighted(0.8),
        path in prop_oneof![3 => Just("/v1/x".to_owned()), 1 => "/[a-z]{0,4}"],
        odd in prop::bool::weighted(0.1),
        query in prop::option::of(prop_oneof![Just(format!("key={SHADOW}")), "[a-z=&%]{0,12}".prop_map(String::from)]),
        lines in prop::collection::vec(
            (prop::sample::select(vec!["authorization", "x-api-key", "proxy-authorization", "x-other", "cookie"]),
             prop_oneof![
                3 => Just(format!("Bearer {SHADOW}").into_bytes()),
                1 => Just(SHADOW.as_bytes().to_vec()),
                2 => input(),
             ]), 0..4),
    ) {
        let Ok(authority) = Authority::parse(&format!("{host}:{port}"), None) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        let held = held();
        let outgoing = Outgoing {
            authority: &authority, tls, method: "GET", path: &path, path_is_odd: odd, query: query.as_deref(),
            headers: &headers,
        };
        let Ok(plan) = slots::plan(&held, &outgoing) else { return Ok(()) };
        let (mut filled, mut asked) = (headers.clone(), query.clone());
        if slots::fill(&plan, &mut filled, &mut asked, &|_| Some(REAL)).is_err() {
            return Ok(());
        }
        let real = |value: &HeaderValue| leaks::holds(value.as_bytes(), &[REAL]);
        // What the sandbox sent itself does not count: it may have guessed.
        let before = headers.values().filter(|value| real(value)).count();
        let after = filled.values().filter(|value| real(value)).count();
        let in_query = asked.as_deref().is_some_and(|query| leaks::holds(query.as_bytes(), &[REAL]));
        let own = host == "api.example.com" && port == 443 && tls && !odd && (path == "/v1" || path.starts_with("/v1/"));
        prop_assert!(own || (after <= before && !in_query), "{authority} {filled:?} {asked:?}");
        prop_assert!(!plan.credentialed() || filled.get_all("authorization").iter().count() <= 1, "{filled:?}");
        prop_assert!(!filled.contains_key("proxy-authorization"));
        // In a header that is no credential's the shadow may stay: its own host knows nothing of it.
        let slot = filled.get("authorization");
        prop_assert!(plan.is_empty() || !slot.is_some_and(|value| value.as_bytes().ends_with(SHADOW.as_bytes())));
    }

    #[test]
    fn no_chunking_brings_a_value_past_the_scrubber(pieces in prop::collection::vec(input(), 0..6), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let scrubber = Scrubber::new(&[(REAL, SHADOW)]);
        let forms = leaks::forms(REAL);
        let mut body = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            body.extend_from_slice(piece);
            // Of the forms, those that a host would send: not backwards, and not as UTF-16.
            let form = &forms[number % forms.len()];
            let backwards: Vec<u8> = REAL.bytes().rev().collect();
            if *form != backwards && !form.contains(&0) {
                body.extend_from_slice(form);
            }
        }
        let scrub = |parts: &[&[u8]]| {
            let (mut stream, mut out) = (scrubber.fresh(), Vec::new());
            for part in parts {
                stream.push(part, &mut out);
            }
            stream.finish(&mut out);
            out
        };
        let whole = scrub(&[&body]);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        places.extend([0, body.len()]);
        places.sort_unstable();
        let parts: Vec<&[u8]> = places.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
        prop_assert_eq!(scrub(&parts), whole.clone());
        prop_assert!(!whole.windows(REAL.len()).any(|window| window == REAL.as_bytes()));
    }

    #[test]
    fn a_name_is_answered_with_the_address_it_was_given_or_with_none(bytes in input(), allowed in any::<bool>()) {
        let mut asked = 0;
        let mut lookup = |name: &DnsName| {
            asked += 1;
            assert!(Host::parse(name.as_str()).is_ok());
            if allowed { NameVerdict::Address(Ipv4Addr::new(198, 18, 7, 9)) } else { NameVerdict::Refused("not allowed".into()) }
        };
        if let Some(answer) = dns::answer(&bytes, &mut lookup) {
            prop_assert!(answer.len() <= dns::LONGEST_ANSWER && answer.len() >= 12);
            prop_assert_eq!(&answer[..2], &bytes[..2]);
            let records = u16::from_be_bytes([answer[6], answer[7]]);
            prop_assert!(records <= 1 && (records == 0 || allowed), "{records} records");
        }
        prop_assert!(asked <= 1);
    }

    #[test]
    fn a_signature_that_is_read_fits_its_host_or_is_refused(bytes in input()) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(inbound) = Inbound::parse(&text) {
            let elsewhere = Authority::parse("s3.eu-north-9.amazonaws.com:443", None).unwrap();
            prop_assert!(inbound.region == "eu-north-9" || inbound.fits(&elsewhere).is_err());
            prop_assert!(!inbound.key_id.contains([',', '\r', '\n']));
        }
    }
}
