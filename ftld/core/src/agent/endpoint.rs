//! Where a model's API is served, as far as isolation is concerned.
//!
//! Owns the question whether a URL stays on the sandbox's own loopback. Must not resolve names.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a URL's host is this machine's own loopback, so that no network is needed to reach it. Only
/// the plain forms count: a name or number that a client might read differently is not loopback.
#[must_use]
pub fn is_loopback(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://")) else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    if authority.contains(['@', '\\']) {
        return false;
    }
    if let Some(bracketed) = authority.strip_prefix('[') {
        return match bracketed.split_once(']') {
            Some((host, port)) => is_port(port) && host.parse() == Ok(Ipv6Addr::LOCALHOST),
            None => false,
        };
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    is_port(port)
        && (host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()))
}

/// Whether this is nothing, or a colon and a port.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some(digits) => digits.bytes().all(|digit| digit.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plain_loopback_forms_are_loopback() {
        for yes in [
            "http://127.0.0.1",
            "http://127.0.0.1:8099/v1",
            "https://127.255.0.3/",
            "http://localhost:80?x",
            "HTTP://LOCALHOST",
            "http://[::1]:8099/v1",
            "http://[::1]",
        ] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in [
            "",
            "127.0.0.1",
            "ftp://127.0.0.1",
            "https://api.example.com",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@example.com",
            "http://example.com\\@127.0.0.1",
            "http://127.1",
            "http://0x7f000001",
            "http://2130706433",
            "http://0177.0.0.1",
            "http://localhost.example.com",
            "http://localhost.",
            "http://[::ffff:127.0.0.1]",
            "http://[::1",
            "http://[::1]x",
            "http://127.0.0.1:",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:80:80",
            "http:///127.0.0.1",
            "http://0.0.0.0",
            "http://10.0.0.1",
        ] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
