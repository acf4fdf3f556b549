//! The JSON that scripts and plugins rely on.
//!
//! Owns every key: fields may be added, never renamed. Must not know where the text goes. Bytes that are
//! not UTF-8 appear twice: lossily under their own key, exactly (base64) under the key with `_bytes`.

use base64::Engine as _;
use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use serde_json::{Map, Value, json};

use crate::render::{check, measure};

pub(crate) mod egress;
mod review;

pub(crate) use review::{application, approval, diff, undo, would_undo};

/// A session, as `sessions --json` shows it.
pub(crate) fn session(session: &v1::Session) -> Value {
    let mut object = Map::new();
    put_bytes(&mut object, "project", &session.project);
    put(&mut object, "session", session.session.clone());
    put(&mut object, "agent", session.agent.clone());
    put(&mut object, "sandbox", session.sandbox.clone());
    put(&mut object, "state", state(session.state()));
    put_unless_empty(&mut object, "reason", &session.reason);
    put(&mut object, "base", session.base.clone());
    put(&mut object, "digest", session.digest.clone());
    put(&mut object, "task", session.task.clone());
    put(&mut object, "turns", session.turns);
    put_unless_empty(&mut object, "tester", &session.tester);
    if let Some(gate) = &session.gate {
        put(&mut object, "gate", check::word_json(gate));
    }
    put(&mut object, "created", measure::time(session.created_us));
    put(&mut object, "updated", measure::time(session.updated_us));
    if let Some(kept) = &session.kept {
        let kept = json!({
            "home_bytes": kept.home_bytes,
            "workspace_bytes": kept.workspace_bytes,
            "temporary_bytes": kept.temporary_bytes,
            "warm": kept.warm,
        });
        put(&mut object, "kept", kept);
    }
    Value::Object(object)
}

/// The last line of `code` and `run`: where the session stands and what could be approved.
pub(crate) fn outcome(session: &v1::Session) -> Value {
    let mut object = Map::new();
    put(&mut object, "session", session.session.clone());
    put(&mut object, "state", state(session.state()));
    put_unless_empty(&mut object, "digest", &session.digest);
    put_unless_empty(&mut object, "reason", &session.reason);
    if let Some(gate) = &session.gate {
        put(&mut object, "gate", check::word_json(gate));
    }
    Value::Object(object)
}

/// One of a session's checkpoints.
pub(crate) fn checkpoint(of: &v1::ListCheckpointsReply, checkpoint: &v1::Checkpoint) -> Value {
    json!({
        "session": of.session,
        "checkpoint": checkpoint.number,
        "current": checkpoint.number == of.at,
        "from": checkpoint.parent,
        "turn": checkpoint.turn,
        "time": measure::time(checkpoint.time_us),
        "digest": checkpoint.digest,
        "entries": checkpoint.entries,
        "text": checkpoint.text,
    })
}

/// A state's name.
pub(crate) fn state(state: v1::State) -> &'static str {
    match state {
        v1::State::Unspecified => "unknown",
        v1::State::Created => "created",
        v1::State::Snapshotting => "snapshotting",
        v1::State::Starting => "starting",
        v1::State::Working => "working",
        v1::State::Capturing => "capturing",
        v1::State::AwaitingReview => "awaiting_review",
        v1::State::NoChanges => "no_changes",
        v1::State::Applying => "applying",
        v1::State::Merged => "merged",
        v1::State::Rejected => "rejected",
        v1::State::Failed => "failed",
    }
}

/// An event: `seq`, `time`, `type`, `session`, and what it says. A kind that this client does not know
/// is `unknown`.
pub(crate) fn event(event: &v1::Event) -> Value {
    let (name, mut object) = event.kind.as_ref().map_or_else(|| ("unknown", Map::new()), kind);
    put(&mut object, "seq", event.seq);
    put(&mut object, "time", measure::time(event.time_us));
    put(&mut object, "type", name);
    put(&mut object, "session", event.session.clone());
    Value::Object(object)
}

fn kind(kind: &Kind) -> (&'static str, Map<String, Value>) {
    let (name, said) = match kind {
        Kind::SessionCreated(e) => {
            let mut object = fields(json!({"agent": e.agent, "sandbox": e.sandbox, "task": e.task}));
            put_bytes(&mut object, "project", &e.project);
            return ("session_created", object);
        }
        Kind::Output(e) => {
            let mut object = fields(json!({"stderr": e.stderr}));
            put_bytes(&mut object, "data", &e.data);
            return ("output", object);
        }
        Kind::StateChanged(e) => ("state_changed", json!({"state": state(e.state()), "reason": e.reason})),
        Kind::StageFinished(e) => ("stage_finished", json!({"stage": e.stage, "elapsed_us": e.elapsed_us})),
        Kind::SnapshotTaken(e) => (
            "snapshot_taken",
            json!({"snapshot": e.snapshot, "files": e.files, "bytes": e.bytes, "ignored": e.ignored,
                   "secrets": exclusions(&e.secrets), "unreadable": exclusions(&e.unreadable)}),
        ),
        Kind::SandboxReady(e) => (
            "sandbox_ready",
            json!({"backend": e.backend, "enforced": e.enforced, "unenforced": e.unenforced}),
        ),
        Kind::TurnStarted(e) => ("turn_started", json!({"turn": e.turn, "text": e.text})),
        Kind::AgentText(e) => ("agent_text", json!({"text": e.text, "fragment": e.fragment})),
        Kind::ToolStarted(e) => ("tool_started", json!({"id": e.id, "name": e.name, "detail": e.detail})),
        Kind::ToolFinished(e) => {
            ("tool_finished", json!({"id": e.id, "ok": e.ok, "elapsed_us": e.elapsed_us}))
        }
        Kind::Usage(e) => (
            "usage",
            json!({"input_tokens": e.input_tokens, "output_tokens": e.output_tokens,
                   "cost_micro_usd": e.cost_micro_usd}),
        ),
        Kind::AgentFinished(e) => {
            ("agent_finished", json!({"ok": e.ok, "message": e.message, "exit_code": e.exit_code}))
        }
        Kind::Notice(e) => ("notice", json!({"level": e.level, "text": e.text})),
        Kind::WorkCaptured(e) => (
            "work_captured",
            json!({"digest": e.digest, "entries": e.entries, "refused": e.refused, "ignored": e.ignored}),
        ),
        Kind::Approved(e) => {
            let mut object = fields(json!({"digest": e.digest}));
            put_paths(&mut object, &e.paths);
            return ("approved", object);
        }
        Kind::Applied(e) => ("applied", json!({"apply": e.apply, "paths": e.paths})),
        Kind::Undone(e) => ("undone", json!({"apply": e.apply, "paths": e.paths})),
        Kind::Rejected(e) => ("rejected", json!({"why": e.why})),
        Kind::Checkpointed(e) => ("checkpointed", json!({"checkpoint": e.checkpoint, "entries": e.entries})),
        Kind::Rewound(e) => ("rewound", json!({"from": e.from, "to": e.to})),
        Kind::Branched(e) => ("branched", json!({"from": e.from, "checkpoint": e.checkpoint})),
        Kind::ChecksBegun(e) => ("checks_begun", check::begun_json(e)),
        Kind::CheckEnded(e) => ("check_ended", check::ended_json(e)),
        Kind::ChecksEnded(e) => ("checks_ended", check::word_json(e)),
        Kind::TestsAsked(_) | Kind::TestsWritten(_) | Kind::TestsNotWritten(_) | Kind::FixAsked(_) => {
            check::generated_json(kind).unwrap_or_default()
        }
        Kind::EgressAsked(e) => (
            "egress_asked",
            json!({"ask": e.ask, "method": e.method, "authority": e.authority, "path": e.path,
                   "rule": e.rule, "patience_ms": e.patience_ms}),
        ),
        Kind::EgressAnswered(e) => ("egress_answered", json!({"ask": e.ask, "answer": e.answer})),
        Kind::EgressRefused(e) => (
            "egress_refused",
            json!({"method": e.method, "authority": e.authority, "path": e.path, "reason": e.reason,
                   "rule": e.rule, "hint": e.hint, "count": e.count}),
        ),
        Kind::CredentialUsed(e) => ("credential_used", json!({"name": e.name, "authority": e.authority})),
        Kind::EgressTotals(e) => ("egress_totals", egress::totals(e)),
    };
    (name, fields(said))
}

/// The name of an entry's kind.
pub(crate) fn entry_kind(kind: v1::EntryKind) -> &'static str {
    match kind {
        v1::EntryKind::Unspecified => "unknown",
        v1::EntryKind::Added => "added",
        v1::EntryKind::Modified => "modified",
        v1::EntryKind::Deleted => "deleted",
        v1::EntryKind::Renamed => "renamed",
        v1::EntryKind::Mode => "mode",
        v1::EntryKind::Symlink => "symlink",
        v1::EntryKind::Binary => "binary",
        v1::EntryKind::Refused => "refused",
    }
}

/// What would happen to the path, whatever its kind.
pub(crate) fn change(entry: &v1::DiffEntry) -> &'static str {
    match (entry.before.is_some() || entry.hidden_before, entry.after.is_some()) {
        (false, true) => "added",
        (true, false) => "deleted",
        (true, true) | (false, false) => "modified",
    }
}

fn node(node: &v1::Node) -> Value {
    let mut object = fields(json!({"type": node.r#type, "mode": measure::mode(node.mode)}));
    match node.r#type.as_str() {
        "file" => {
            put(&mut object, "size", node.size);
            put(&mut object, "blake3", node.blake3.clone());
        }
        "symlink" => put_bytes(&mut object, "target", &node.target),
        _ => {}
    }
    Value::Object(object)
}

/// A snapshot.
pub(crate) fn snapshot(snapshot: &v1::Snapshot) -> Value {
    let mut object = fields(json!({
        "snapshot": snapshot.snapshot,
        "created": measure::time(snapshot.created_us),
        "files": snapshot.files,
        "bytes": snapshot.bytes,
    }));
    put_bytes(&mut object, "project", &snapshot.project);
    Value::Object(object)
}

/// A snapshot that was taken, with what stayed outside.
pub(crate) fn created_snapshot(reply: &v1::CreateSnapshotReply) -> Value {
    let mut object = reply.snapshot.as_ref().map_or_else(Map::new, |taken| fields(snapshot(taken)));
    put(&mut object, "excluded", exclusions(&reply.excluded));
    put(&mut object, "excluded_total", reply.excluded_total);
    put(&mut object, "elapsed_us", reply.elapsed_us);
    Value::Object(object)
}

/// Snapshots that went, or would go.
pub(crate) fn cleaned(reply: &v1::CleanSnapshotsReply, dry_run: bool) -> Value {
    json!({
        "dry_run": dry_run,
        "snapshots": reply.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        "snapshots_total": reply.snapshots_total,
        "needed": reply.needed,
        "contents": reply.contents,
        "bytes": reply.bytes,
        "trees": reply.trees,
        "tree_bytes": reply.tree_bytes,
    })
}

/// A damaged or missing content.
pub(crate) fn damaged(one: &v1::DamagedContent) -> Value {
    json!({
        "blake3": one.blake3,
        "state": if one.damaged { "damaged" } else { "missing" },
        "places": one.places.iter().map(lost_path).collect::<Vec<_>>(),
    })
}

/// A lost path of a snapshot.
pub(crate) fn lost_path(lost: &v1::LostPath) -> Value {
    let mut object = fields(bytes("path", &lost.path));
    if !lost.snapshot.is_empty() {
        put(&mut object, "snapshot", lost.snapshot.as_str());
    }
    Value::Object(object)
}

/// One path of a snapshot, or one that could not be read.
pub(crate) fn snapshot_entry(entry: &v1::SnapshotEntry) -> Value {
    if entry.r#type == "unreadable" {
        let mut object = fields(json!({"type": entry.r#type}));
        put_bytes(&mut object, "path", &entry.path);
        return Value::Object(object);
    }
    let mut object = fields(node(&v1::Node {
        r#type: entry.r#type.clone(),
        mode: entry.mode,
        size: entry.size,
        blake3: entry.blake3.clone(),
        target: entry.target.clone(),
    }));
    put_bytes(&mut object, "path", &entry.path);
    put(&mut object, "mtime_ns", entry.mtime_ns);
    Value::Object(object)
}

/// A record of the audit log; its particulars are a value, not text, when they are valid JSON.
pub(crate) fn record(record: &v1::LogRecord) -> Value {
    let detail =
        serde_json::from_str(&record.detail_json).unwrap_or(Value::String(record.detail_json.clone()));
    let mut object = fields(json!({
        "seq": record.seq,
        "time": measure::time(record.time_us),
        "action": record.action,
        "session": record.session,
        "detail": detail,
    }));
    put_bytes(&mut object, "project", &record.project);
    Value::Object(object)
}

/// The daemon's state.
pub(crate) fn status(status: &v1::StatusReply) -> Value {
    let mut object = fields(json!({
        "version": status.version,
        "api_version": status.api_version,
        "pid": status.pid,
        "sessions_working": status.sessions_working,
        "sessions_total": status.sessions_total,
        "uptime_us": status.uptime_us,
    }));
    put_bytes(&mut object, "home", &status.home);
    put_bytes(&mut object, "socket", &status.socket);
    put(&mut object, "projects", status.projects.iter().map(watched).collect::<Vec<_>>());
    Value::Object(object)
}

/// How the daemon keeps up with a project.
fn watched(project: &v1::WatchedProject) -> Value {
    let mode = match project.mode() {
        v1::WatchMode::Unspecified => "unspecified",
        v1::WatchMode::Live => "live",
        v1::WatchMode::Beginning => "beginning",
        v1::WatchMode::Sweep => "sweep",
    };
    let mut object = fields(json!({
        "files": project.files,
        "directories_watched": project.directories_watched,
        "mode": mode,
        "reason": project.reason,
        "memory_bytes": project.memory,
    }));
    put_bytes(&mut object, "path", &project.path);
    Value::Object(object)
}

/// A check of the diagnosis.
pub(crate) fn check(check: &v1::Check) -> Value {
    let mut object = fields(json!({
        "name": check.name,
        "outcome": outcome_name(check.outcome()),
        "detail": check.detail,
    }));
    put_unless_empty(&mut object, "remedy", &check.remedy);
    Value::Object(object)
}

/// The name of a check's outcome.
pub(crate) fn outcome_name(outcome: v1::CheckOutcome) -> &'static str {
    match outcome {
        v1::CheckOutcome::Unspecified => "unknown",
        v1::CheckOutcome::Ok => "ok",
        v1::CheckOutcome::Warning => "warning",
        v1::CheckOutcome::Failed => "failed",
    }
}

/// Sets `key` to the bytes as text, and `<key>_bytes` too when that is not exact.
pub(crate) fn put_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if std::str::from_utf8(bytes).is_err() {
        put(object, &format!("{key}_bytes"), base64::engine::general_purpose::STANDARD.encode(bytes));
    }
    put(object, key, text.into_owned());
}

/// An object with one key of [`put_bytes`].
pub(crate) fn bytes(key: &str, bytes: &[u8]) -> Value {
    let mut object = Map::new();
    put_bytes(&mut object, key, bytes);
    Value::Object(object)
}

fn exclusions(exclusions: &[v1::Exclusion]) -> Vec<Value> {
    let one = |exclusion: &v1::Exclusion| {
        let mut object = fields(json!({"rule": exclusion.rule, "source": exclusion.source}));
        put_bytes(&mut object, "path", &exclusion.path);
        Value::Object(object)
    };
    exclusions.iter().map(one).collect()
}

/// Sets `paths`, and `paths_bytes` (all of them, in the same order) when one of them is not UTF-8.
fn put_paths(object: &mut Map<String, Value>, paths: &[Vec<u8>]) {
    let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    if paths.iter().any(|path| std::str::from_utf8(path).is_err()) {
        let exact = |path: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(path);
        put(object, "paths_bytes", paths.iter().map(exact).collect::<Vec<_>>());
    }
    put(object, "paths", paths.iter().map(text).collect::<Vec<_>>());
}

fn put(object: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    object.insert(key.to_owned(), value.into());
}

fn put_unless_empty(object: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        put(object, key, text);
    }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
