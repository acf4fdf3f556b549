//! Where hunks come from: as lines, and as JSON.
//!
//! Owns the words for turns, tool calls and hosts, and that what was cut is counted. Must not know how it was
//! asked for.

use ftl_proto::v1;
use serde_json::{Value, json};

use crate::render::escape;
use crate::render::measure::{self, plural};

/// Characters of an instruction or an argument that one line shows.
const SHOWN: usize = 60;

/// One origin; `number` is that of its hunk, from 1. Escaped.
pub(crate) fn lines(of: &v1::Origin, number: usize) -> Vec<String> {
    let mut lines = vec![match of.hunk.as_str() {
        "" => "the whole change".to_owned(),
        id => format!("hunk {number}  {}", escape::name(id)),
    }];
    let hidden = |total: u64, shown: usize| total.saturating_sub(shown as u64);
    let earlier = hidden(of.turns_total, of.turns.len());
    if earlier > 0 {
        lines.push(format!("  {}", plural(earlier, "earlier turn", "earlier turns")));
    }
    for turn in &of.turns {
        lines.push(format!("  turn {}  {}", turn.turn, escape::summary(&turn.text, SHOWN)));
    }
    if of.turns.is_empty() {
        lines.push("  no turn that is still known".to_owned());
    }
    for call in &of.calls {
        let (name, detail) = (escape::name(&call.name), escape::summary(&call.detail, SHOWN));
        lines.push(format!("  {name} {detail}  (turn {}, event {})", call.turn, call.seq));
    }
    let more = hidden(of.calls_total, of.calls.len());
    if more > 0 {
        lines.push(format!("  … and {}", plural(more, "more call that names it", "more calls that name it")));
    }
    if of.other_calls > 0 {
        let calls = plural(of.other_calls, "other call", "other calls");
        let only = if of.calls.is_empty() { "" } else { " too" };
        lines.push(format!("  {calls} in these turns may have written it{only}"));
    }
    for host in &of.fetched {
        let requests = plural(host.requests, "request", "requests");
        lines.push(format!("  had reached {} by then ({requests})", escape::name(&host.authority)));
    }
    let more = hidden(of.fetched_total, of.fetched.len());
    if more > 0 {
        lines.push(format!("  … and {}", plural(more, "more host", "more hosts")));
    }
    lines
}

/// One origin in JSON.
pub(crate) fn origin(of: &v1::Origin) -> Value {
    let turn = |turn: &v1::OriginTurn| json!({ "turn": turn.turn, "text": turn.text });
    let call = |call: &v1::OriginCall| {
        json!({
            "event": call.seq,
            "turn": call.turn,
            "tool": call.name,
            "detail": call.detail,
            "time": measure::time(call.time_us),
        })
    };
    let fetch = |host: &v1::OriginFetch| {
        json!({
            "authority": host.authority,
            "requests": host.requests,
            "first": measure::time(host.first_us),
        })
    };
    json!({
        "hunk": (!of.hunk.is_empty()).then_some(&of.hunk),
        "turns": of.turns.iter().map(turn).collect::<Vec<_>>(),
        "turns_total": of.turns_total,
        "calls": of.calls.iter().map(call).collect::<Vec<_>>(),
        "calls_total": of.calls_total,
        "other_calls": of.other_calls,
        "fetched": of.fetched.iter().map(fetch).collect::<Vec<_>>(),
        "fetched_total": of.fetched_total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_is_counted_and_what_is_shown_is_escaped() {
        let of = v1::Origin {
            hunk: "0123456789ab".into(),
            turns: vec![v1::OriginTurn { turn: 7, text: "do\u{1b}[2J it".into() }],
            turns_total: 3,
            calls: vec![v1::OriginCall { seq: 5, turn: 7, name: "Edit".into(), ..Default::default() }],
            calls_total: 2,
            other_calls: 1,
            fetched: vec![v1::OriginFetch { authority: "a.example:443".into(), requests: 1, first_us: 0 }],
            fetched_total: 4,
        };
        let expected = [
            "hunk 1  0123456789ab",
            "  2 earlier turns",
            "  turn 7  do\\x1b[2J it",
            "  Edit   (turn 7, event 5)",
            "  … and 1 more call that names it",
            "  1 other call in these turns may have written it too",
            "  had reached a.example:443 by then (1 request)",
            "  … and 3 more hosts",
        ];
        assert_eq!(lines(&of, 1), expected);
    }
}
