//! What leaves a sandbox, for people: requests, refusals, questions, totals, the ledger.
//!
//! Owns their words. Must not know when they are shown. Methods, hosts and paths come from inside a
//! sandbox: everything is escaped here, and a path is cut where it grows long, but never a host.

mod ledger;

use ftl_proto::v1;

pub(crate) use self::ledger::{Columns, page};

use crate::render::escape;
use crate::render::measure::{self, count, plural, size};
use crate::render::style::{Style, Tone};

/// Characters of a path that are shown.
const PATH: usize = 100;

/// Hosts that the daemon lists in its totals.
const LISTED: usize = 50;

/// What was wanted: `POST api.example.com/v1/pay`, or `the name api.example.com`.
pub(crate) fn target(method: &str, authority: &str, path: &str) -> String {
    if method.is_empty() {
        return format!("the name {}", host(authority));
    }
    format!("{} {}{}", escape::summary(method, 20), host(authority), escape::summary(path, PATH))
}

/// A refusal's code as words: `not_allowed` is `not allowed`.
pub(crate) fn reason(code: &str) -> String {
    escape::name(code).replace('_', " ")
}

/// A refused request: what, why, and how to allow it.
pub(crate) fn refused(event: &v1::EgressRefused, style: Style) -> String {
    let target = target(&event.method, &event.authority, &event.path);
    let mut why = reason(&event.reason);
    if !event.rule.is_empty() {
        why += &format!(" by `{}`", escape::name(&event.rule));
    }
    if event.count > 1 {
        why += &format!(", {} times", count(event.count));
    }
    let mut text = style.paint(Tone::Warning, &format!("warning: refused {target} ({why})"));
    if !event.hint.is_empty() {
        text += &format!("\n  {} {}", style.paint(Tone::Good, "hint:"), escape::name(&event.hint));
    }
    text
}

/// A request that waits, and what the lasting answers would add.
pub(crate) fn asked(event: &v1::EgressAsked) -> String {
    let target = target(&event.method, &event.authority, &event.path);
    let rule = if event.rule.is_empty() {
        String::new()
    } else {
        format!("; `session` and `always` add the rule `{}`", escape::name(&event.rule))
    };
    format!("waiting for you: {target} ({} left{rule})", measure::duration(patience_us(event)))
}

/// How to answer from another terminal.
pub(crate) fn answer_command(session: &str, ask: u64) -> String {
    format!("ftlctl policy answer {} {ask} once|session|always|no", escape::name(session))
}

/// The question about a request that waits.
pub(crate) fn question(event: &v1::EgressAsked) -> String {
    let target = target(&event.method, &event.authority, &event.path);
    format!("allow {target}? [o]nce [s]ession [a]lways [N]o: ")
}

/// How long a request waits, microseconds.
pub(crate) fn patience_us(event: &v1::EgressAsked) -> u64 {
    event.patience_ms.saturating_mul(1000)
}

/// What became of a request that waited.
pub(crate) fn answered(target: &str, answer: &str) -> (Tone, String) {
    match answer {
        "once" => (Tone::Good, format!("allowed once: {target}")),
        "session" => (Tone::Good, format!("allowed for the session: {target}")),
        "always" => (Tone::Good, format!("allowed from now on: {target}")),
        "no" => (Tone::Warning, format!("refused by the human: {target}")),
        "nobody" => (Tone::Warning, format!("refused, nobody answered: {target}")),
        other => (Tone::Warning, format!("{}: {target}", escape::name(other))),
    }
}

/// A credential's first use in a turn.
pub(crate) fn used(event: &v1::CredentialUsed) -> String {
    format!("credential {} used at {}", escape::name(&event.name), host(&event.authority))
}

/// What left the sandbox, in one line; `None` when nothing did and nothing tried.
pub(crate) fn totals(totals: &v1::EgressTotals) -> Option<String> {
    if totals.requests == 0 && totals.refused == 0 {
        return None;
    }
    let mut text = format!("network: {}", plural(totals.requests, "request", "requests"));
    if !totals.authorities.is_empty() {
        let hosts = totals.authorities.len();
        let more = if hosts < LISTED { "" } else { "at least " };
        text += &format!(" to {more}{}", plural(hosts as u64, "host", "hosts"));
    }
    if totals.refused > 0 {
        text += &format!(", {} refused", count(totals.refused));
    }
    if totals.requests > 0 {
        text += &format!(", {} up, {} down", size(totals.bytes_up), size(totals.bytes_down));
    }
    if !totals.credentials.is_empty() {
        text += &format!(" · credentials: {}", names(&totals.credentials));
    }
    Some(text)
}

/// Names in one line.
pub(crate) fn names(names: &[String]) -> String {
    names.iter().map(escape::name).collect::<Vec<_>>().join(", ")
}

/// A host as people write it: without the port that everybody expects.
fn host(authority: &str) -> String {
    escape::name(authority.strip_suffix(":443").unwrap_or(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_why_and_what_to_do() {
        let event = v1::EgressRefused {
            method: "POST".into(),
            authority: "api.example.com:443".into(),
            path: "/v1/\x1b[2Jpay".into(),
            reason: "not_allowed".into(),
            hint: "ftlctl policy allow 'POST api.example.com/v1/pay'".into(),
            count: 1,
            ..Default::default()
        };
        assert_eq!(
            refused(&event, Style::Plain),
            "warning: refused POST api.example.com/v1/\\x1b[2Jpay (not allowed)\n  \
             hint: ftlctl policy allow 'POST api.example.com/v1/pay'"
        );
        let denied = v1::EgressRefused {
            method: String::new(),
            path: String::new(),
            authority: "x.example:8443".into(),
            reason: "denied".into(),
            rule: "deny *.example".into(),
            hint: String::new(),
            count: 1200,
        };
        assert_eq!(
            refused(&denied, Style::Plain),
            "warning: refused the name x.example:8443 (denied by `deny *.example`, 1,200 times)"
        );
    }

    #[test]
    fn a_question_shows_the_whole_host_and_a_long_path_in_part() {
        let host = format!("{}.example.com", "a".repeat(200));
        let event = v1::EgressAsked {
            ask: 1,
            method: "POST".into(),
            authority: format!("{host}:443"),
            path: format!("/{}", "b".repeat(300)),
            rule: "allow POST x".into(),
            patience_ms: 60_000,
        };
        let asked_for = question(&event);
        assert!(asked_for.contains(&host) && asked_for.contains("bb…? [o]nce"), "{asked_for}");
        assert!(
            asked(&event).contains("(1 min 00 s left; `session` and `always` add the rule `allow POST x`)")
        );
    }

    #[test]
    fn totals_are_one_line() {
        let full = v1::EgressTotals {
            requests: 12,
            refused: 2,
            bytes_up: 20_480,
            bytes_down: 1_258_292,
            authorities: vec!["a:443".into(), "b:443".into(), "c:80".into()],
            credentials: vec!["ANTHROPIC_API_KEY".into()],
        };
        assert_eq!(
            totals(&full).unwrap(),
            "network: 12 requests to 3 hosts, 2 refused, 20.0 KiB up, 1.2 MiB down · credentials: ANTHROPIC_API_KEY"
        );
        let refused = v1::EgressTotals { refused: 1, ..Default::default() };
        assert_eq!(totals(&refused).unwrap(), "network: 0 requests, 1 refused");
        assert_eq!(totals(&v1::EgressTotals::default()), None);
    }
}
