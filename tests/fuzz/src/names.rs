//! Hosts, paths and rules.
//!
//! Owns what must hold for them. Must not know requests.

use std::net::Ipv4Addr;

use ftl_core::egress::host::{Authority, Host, HostPattern};
use ftl_core::egress::path::CanonicalPath;
use ftl_core::egress::policy_file;
use ftl_core::egress::rule::{Facts, Rule, Scheme};
use percent_encoding::percent_decode;

/// A host has one form, and no other reader takes it for another host.
pub(crate) fn host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(host) = Host::parse(text) {
        let canonical = host.to_string();
        assert!(canonical.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
        assert!(!canonical.contains(['@', '/', '%', '\\', '?', '#']), "{canonical}");
        assert_eq!(Host::parse(&canonical).as_ref(), Ok(&host));
        assert_eq!(Host::parse(&text.to_ascii_uppercase()).as_ref(), Ok(&host));
        if let Host::Dns(name) = &host {
            assert_eq!(Host::parse(&format!("{canonical}.")).as_ref(), Ok(&host));
            assert!(name.as_str().len() <= 253 && !canonical.ends_with('.') && !canonical.contains(".."));
            assert_eq!(c_library(&canonical), None, "{canonical} is an address to others");
        }
        other_reader(text, &host);
    }
    if let Ok(authority) = Authority::parse(text, Some(443)) {
        assert!(authority.port != 0);
        assert_eq!(Authority::parse(&authority.to_string(), None).as_ref(), Ok(&authority));
        if let Ok(other) = text.parse::<http::uri::Authority>() {
            assert_eq!(other.port_u16().unwrap_or(443), authority.port);
            other_reader(other.host(), &authority.host);
        }
    }
    if let Ok(pattern) = HostPattern::parse(text) {
        assert_eq!(HostPattern::parse(&pattern.to_string()).as_ref(), Ok(&pattern));
        match &pattern {
            HostPattern::Exact(host) => assert!(pattern.matches(host)),
            HostPattern::Below(name) => {
                assert!(!pattern.matches(&Host::Dns(name.clone())) && name.labels() > 1);
                for (child, matched) in [(format!("a.{name}"), true), (format!("a{name}"), false)] {
                    match Host::parse(&child) {
                        Ok(child) => assert_eq!(pattern.matches(&child), matched),
                        // The whole, or its first label, has become too long.
                        Err(_) => assert!(!matched || name.as_str().len() > 200),
                    }
                }
            }
        }
    }
}

/// The library for URIs, where it accepts the same text, means the same host.
fn other_reader(text: &str, host: &Host) {
    let Ok(other) = text.parse::<http::uri::Authority>() else { return };
    let name = other.host().trim_end_matches('.').to_ascii_lowercase();
    match host {
        Host::Dns(ours) => assert_eq!(name, ours.as_str()),
        Host::Ip(ours) => {
            let theirs = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            assert_eq!(theirs.map(|theirs| theirs.to_canonical()), Ok(*ours));
        }
    }
}

/// How `inet_aton` reads a text: one to four numbers, each decimal, octal or hexadecimal.
fn c_library(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    let numbers: Option<Vec<u64>> = parts.iter().map(|part| c_number(part)).collect();
    let numbers = numbers.filter(|numbers| (1..=4).contains(&numbers.len()))?;
    let (last, front) = numbers.split_last()?;
    let room = 8 * (4 - front.len() as u32);
    if front.iter().any(|number| *number > 255) || *last >> room != 0 {
        return None;
    }
    let front = front.iter().enumerate().fold(0, |sum, (at, number)| sum | number << (24 - 8 * at));
    Some(Ipv4Addr::from(u32::try_from(front | last).ok()?))
}

fn c_number(text: &str) -> Option<u64> {
    let (digits, base) = match text.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    u64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))
}

/// A path has one form; a plain one means the same to whoever decodes it once or twice.
pub(crate) fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(path) = CanonicalPath::parse(text) else { return };
    let canonical = path.as_str();
    assert!(canonical.starts_with('/') && canonical.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!canonical.contains(['"', '\'', '\\', '?', '#', '<', '>', '`', '*']), "{canonical}");
    assert_eq!(CanonicalPath::parse(canonical).as_ref(), Ok(&path), "{canonical}");
    let sent = text.split('?').next().unwrap();
    let once: Vec<u8> = percent_decode(sent.as_bytes()).collect();
    assert_eq!(
        percent_decode(canonical.as_bytes()).collect::<Vec<u8>>(),
        if once.is_empty() { b"/" } else { &once[..] }
    );
    let twice: Vec<u8> = percent_decode(&once).collect();
    // Even an odd path never climbs, whatever its reader takes for a slash.
    for read in [&once, &twice] {
        let climbs = |part: &[u8]| {
            let name = part.split(|byte| *byte == b';').next().unwrap();
            name == b".." || name == b"."
        };
        assert!(!read.split(|byte| matches!(byte, b'/' | b'\\')).any(climbs), "{canonical}");
    }
    if path.is_plain() {
        assert_eq!(once, twice);
        assert!(
            !once.windows(2).any(|pair| pair == b"//") && !once.contains(&b';') && !once.contains(&b'\\')
        );
        assert!(std::str::from_utf8(&once).is_ok());
        for prefix in ["/v1", "/v1/"] {
            let below = once == b"/v1" || once.starts_with(b"/v1/");
            assert_eq!(path.is_below(prefix), below, "{canonical}");
        }
    } else {
        assert!(!path.is_below("/") && !path.is_below("/v1"));
    }
}

/// A rule is written as one that means the same, and denying means at least what allowing does.
pub(crate) fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // The first line is a request, the others are a policy.
    let (request, text) = text.split_once('\n').unwrap_or(("", text));
    let rules = match policy_file::parse(text) {
        Ok(rules) => rules,
        Err(problem) => {
            assert!((1..=text.lines().count()).contains(&problem.line), "line {}", problem.line);
            assert!(problem.to_string().len() < 2048, "an error as long as a file");
            return;
        }
    };
    let written: String = rules.iter().map(|rule| format!("{rule}\n")).collect();
    assert_eq!(policy_file::parse(&written).as_ref(), Ok(&rules), "{written}");
    let mut words = request.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, scheme, authority, path) = (word(), word(), word(), word());
    let (Ok(authority), Ok(path)) = (Authority::parse(authority, Some(443)), CanonicalPath::parse(path))
    else {
        return;
    };
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    let facts = Facts { scheme, authority: &authority, method, path: &path };
    for rule in &rules {
        let _ = rule.warning();
        let (Rule::Allow(target) | Rule::Deny(target)) = rule else { continue };
        if target.allows(&facts) {
            assert!(target.denies(&facts), "{rule} allows what it would not deny");
            assert!(target.path.is_none() || path.is_plain(), "{rule} allows an odd path");
            assert!(target.host.matches(&authority.host));
        }
    }
}
