//! The JSON of diffs, previews, approvals and what was applied.
//!
//! Owns their keys: fields may be added, never renamed.

use ftl_proto::v1;
use serde_json::{Map, Value, json};

use super::{change, entry_kind, fields, node, outcome, put, put_bytes, put_paths, put_unless_empty};
use crate::render::measure;

/// A diff: its header and every entry.
pub(crate) fn diff(header: &v1::DiffHeader, entries: &[v1::DiffEntry]) -> Value {
    json!({
        "session": header.session,
        "base": header.base,
        "digest": header.digest,
        "ignored": header.ignored,
        "unread": header.unread,
        "conflicts": header.conflicts,
        "merged": header.merged,
        "findings": header.findings,
        "left_out": header.left_out.iter().map(left).collect::<Vec<_>>(),
        "entries": entries.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn entry(entry: &v1::DiffEntry) -> Value {
    let mut object = Map::new();
    put_bytes(&mut object, "path", &entry.path);
    put(&mut object, "kind", entry_kind(entry.kind()));
    put(&mut object, "change", change(entry));
    put_unless_empty(&mut object, "reason", &entry.reason);
    put(&mut object, "risk", entry.risks.clone());
    put(&mut object, "risk_reasons", entry.risk_reasons.clone());
    put(&mut object, "needs_naming", entry.needs_naming);
    if !entry.renamed_from.is_empty() {
        put_bytes(&mut object, "renamed_from", &entry.renamed_from);
    }
    if entry.merged {
        put(&mut object, "merged", true);
    }
    if !entry.conflicts.is_empty() {
        put(&mut object, "conflicts", entry.conflicts.iter().map(conflict).collect::<Vec<_>>());
    }
    if !entry.findings.is_empty() {
        put(&mut object, "findings", entry.findings.iter().map(finding).collect::<Vec<_>>());
    }
    put(&mut object, "added_lines", entry.added_lines);
    put(&mut object, "removed_lines", entry.removed_lines);
    put_unless_empty(&mut object, "elided", &entry.elided);
    for (key, side) in [("before", &entry.before), ("after", &entry.after)] {
        if let Some(side) = side {
            put(&mut object, key, node(side));
        }
    }
    if !entry.hunks.is_empty() {
        put(&mut object, "hunks", entry.hunks.iter().map(hunk).collect::<Vec<_>>());
    }
    Value::Object(object)
}

fn hunk(hunk: &v1::Hunk) -> Value {
    let line = |line: &v1::Line| {
        let mut object = fields(json!({"tag": line.tag}));
        put_bytes(&mut object, "text", &line.text);
        Value::Object(object)
    };
    json!({
        "id": hunk.id,
        "old_start": hunk.old_start,
        "old_lines": hunk.old_lines,
        "new_start": hunk.new_start,
        "new_lines": hunk.new_lines,
        "lines": hunk.lines.iter().map(line).collect::<Vec<_>>(),
    })
}

/// What an approval did.
pub(crate) fn approval(reply: &v1::ApproveReply) -> Value {
    let mut object = reply.session.as_ref().map_or_else(Map::new, |session| fields(outcome(session)));
    put(&mut object, "apply", reply.apply.clone());
    put_paths(&mut object, &reply.paths);
    put(&mut object, "paths_total", reply.paths_total);
    put(&mut object, "left_alone", reply.left_alone.iter().map(left).collect::<Vec<_>>());
    Value::Object(object)
}

/// What an undo did.
pub(crate) fn undo(reply: &v1::UndoReply) -> Value {
    let mut object = reply.session.as_ref().map_or_else(Map::new, |session| fields(outcome(session)));
    put(&mut object, "apply", reply.apply.clone());
    put_paths(&mut object, &reply.paths);
    put(&mut object, "paths_total", reply.paths_total);
    Value::Object(object)
}

/// What taking an application back would write.
pub(crate) fn would_undo(header: &v1::DiffHeader, entries: &[v1::DiffEntry]) -> Value {
    json!({
        "session": header.session,
        "digest": header.digest,
        "would": entries.iter().map(entry).collect::<Vec<_>>(),
    })
}

/// A conflict with the human's own edits.
fn conflict(conflict: &v1::Conflict) -> Value {
    let mut object = fields(json!({"number": conflict.number, "line": conflict.line}));
    put_unless_empty(&mut object, "whole", &conflict.whole);
    if conflict.whole.is_empty() {
        put_bytes(&mut object, "base", &conflict.base);
        put_bytes(&mut object, "ours", &conflict.ours);
        put_bytes(&mut object, "theirs", &conflict.theirs);
    }
    let decision = conflict.decision.map(|_| match conflict.decision() {
        v1::Decision::Unspecified => "unknown",
        v1::Decision::Ours => "ours",
        v1::Decision::Theirs => "theirs",
        v1::Decision::Both => "both",
        v1::Decision::Edited => "edited",
    });
    if let Some(decision) = decision {
        put(&mut object, "decision", decision);
    }
    Value::Object(object)
}

fn finding(finding: &v1::Finding) -> Value {
    let mut object = fields(json!({
        "id": finding.id,
        "class": finding.class,
        "line": finding.line,
        "message": finding.message,
        "holds": finding.holds,
    }));
    put_unless_empty(&mut object, "accepted", &finding.accepted);
    Value::Object(object)
}

fn left(left: &v1::LeftAlone) -> Value {
    let mut object = fields(json!({"reason": left.reason}));
    put_bytes(&mut object, "path", &left.path);
    Value::Object(object)
}

/// Something that was applied.
pub(crate) fn application(application: &v1::Application) -> Value {
    let mut object = fields(json!({
        "apply": application.apply,
        "session": application.session,
        "time": measure::time(application.time_us),
        "digest": application.digest,
        "by": application.by,
        "undone": application.undone,
        "removed": application.removed,
        "paths_total": application.paths_total,
    }));
    put_paths(&mut object, &application.paths);
    Value::Object(object)
}
