//! The wire's messages from the core's values, and back.
//!
//! Owns every conversion. Must not decide anything: what cannot be converted is an invalid argument.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use ftl_core::event::{Bytes, Event, Excluded, Kind};
use ftl_core::lifecycle::State;
use ftl_core::tree::{Node, RelPath};
use ftl_proto::v1;
use tonic::Status;

use crate::session::Keeps;
use crate::session::record::{Checkpoint, Record};

/// An absolute path from the wire.
///
/// # Errors
/// When it is relative or holds NUL.
pub(super) fn absolute(bytes: Vec<u8>, field: &str) -> Result<PathBuf, Status> {
    let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    if path.is_absolute() && !path.as_os_str().as_bytes().contains(&0) {
        Ok(path)
    } else {
        Err(Status::invalid_argument(format!("`{field}` is not an absolute path: {path:?}")))
    }
}

/// A project's path from the wire, where none means all.
///
/// # Errors
/// When it is relative or holds NUL.
pub(super) fn optional_project(bytes: Vec<u8>) -> Result<Vec<u8>, Status> {
    if bytes.is_empty() {
        return Ok(bytes);
    }
    absolute(bytes, "project").map(|path| path.into_os_string().into_vec())
}

/// Paths beneath a project from the wire.
///
/// # Errors
/// When one is not beneath it.
pub(super) fn rel_paths(paths: Vec<Vec<u8>>) -> Result<Vec<RelPath>, Status> {
    let paths = paths.into_iter().map(|bytes| {
        let trimmed = bytes.strip_suffix(b"/").unwrap_or(&bytes).to_vec();
        RelPath::new(trimmed).map_err(|error| Status::invalid_argument(error.to_string()))
    });
    paths.collect()
}

/// Microseconds or counts that the wire carries signed.
pub(super) fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// A state.
pub(super) fn state(state: State) -> v1::State {
    match state {
        State::Created => v1::State::Created,
        State::Snapshotting => v1::State::Snapshotting,
        State::Starting => v1::State::Starting,
        State::Working => v1::State::Working,
        State::Capturing => v1::State::Capturing,
        State::AwaitingReview => v1::State::AwaitingReview,
        State::NoChanges => v1::State::NoChanges,
        State::Applying => v1::State::Applying,
        State::Merged => v1::State::Merged,
        State::Rejected => v1::State::Rejected,
        State::Failed => v1::State::Failed,
    }
}

/// A session as it stands; `last_seq` comes from the events.
pub(super) fn session(record: Record, last_seq: u64) -> v1::Session {
    let gate = record.word().map(|gate| v1::ChecksEnded {
        digest: gate.digest.to_string(),
        ready: gate.ready,
        why: gate.why.clone(),
    });
    v1::Session {
        session: record.id.to_string(),
        project: record.project.root.0,
        agent: record.spec.agent,
        sandbox: record.spec.sandbox,
        state: state(record.state).into(),
        reason: record.reason,
        task: record.spec.task,
        created_us: record.created_us,
        updated_us: record.updated_us,
        base: record.base.map(|base| base.to_string()).unwrap_or_default(),
        digest: record.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        last_seq,
        turns: record.turns,
        kept: None,
        gate,
        tester: record.spec.tests.model.unwrap_or_default(),
    }
}

/// What a session keeps.
pub(super) fn kept(kept: Keeps) -> v1::Kept {
    v1::Kept {
        home_bytes: kept.home,
        workspace_bytes: kept.workspace,
        temporary_bytes: kept.temporary,
        warm: kept.warm,
    }
}

/// A checkpoint.
pub(super) fn checkpoint(checkpoint: Checkpoint) -> v1::Checkpoint {
    v1::Checkpoint {
        number: checkpoint.number,
        parent: checkpoint.parent,
        turn: checkpoint.turn,
        time_us: checkpoint.time_us,
        text: checkpoint.text,
        digest: checkpoint.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        entries: checkpoint.entries,
    }
}

/// A file, directory or link.
pub(super) fn node(node: &Node) -> v1::Node {
    let mut wire = v1::Node { mode: node.mode(), ..v1::Node::default() };
    match node {
        Node::File { size, hash, .. } => {
            wire.r#type = "file".into();
            wire.size = *size;
            wire.blake3 = hash.to_hex();
        }
        Node::Dir { .. } => wire.r#type = "directory".into(),
        Node::Symlink { target } => {
            wire.r#type = "symlink".into();
            wire.target.clone_from(target);
        }
    }
    wire
}

/// A path that stayed outside.
pub(super) fn exclusion(excluded: Excluded) -> v1::Exclusion {
    v1::Exclusion { path: excluded.path.0, rule: excluded.rule, source: excluded.source }
}

/// An event.
pub(super) fn event(event: Event) -> v1::Event {
    v1::Event {
        session: event.session.to_string(),
        seq: event.seq,
        time_us: event.time_us,
        kind: Some(kind(event.kind)),
    }
}

fn kind(kind: Kind) -> v1::event::Kind {
    use v1::event::Kind as W;
    match kind {
        Kind::SessionCreated { project, agent, sandbox, task } => {
            W::SessionCreated(v1::SessionCreated { project: project.0, agent, sandbox, task })
        }
        Kind::StateChanged { state: to, reason } => {
            W::StateChanged(v1::StateChanged { state: state(to).into(), reason })
        }
        Kind::StageFinished { stage, elapsed_us } => {
            W::StageFinished(v1::StageFinished { stage: stage.name().into(), elapsed_us })
        }
        Kind::SnapshotTaken { snapshot, files, bytes, secrets, ignored, unreadable } => {
            W::SnapshotTaken(v1::SnapshotTaken {
                snapshot: snapshot.to_string(),
                files,
                bytes,
                secrets: secrets.into_iter().map(exclusion).collect(),
                ignored,
                unreadable: unreadable.into_iter().map(exclusion).collect(),
            })
        }
        Kind::SandboxReady { backend, enforced, unenforced } => {
            W::SandboxReady(v1::SandboxReady { backend, enforced, unenforced })
        }
        Kind::TurnStarted { turn, text } => W::TurnStarted(v1::TurnStarted { turn, text }),
        Kind::AgentText { text, fragment } => W::AgentText(v1::AgentText { text, fragment }),
        Kind::ToolStarted { id, name, detail } => W::ToolStarted(v1::ToolStarted { id, name, detail }),
        Kind::ToolFinished { id, ok, elapsed_us } => W::ToolFinished(v1::ToolFinished { id, ok, elapsed_us }),
        Kind::Output { data, stderr } => W::Output(v1::Output { data: data.0, stderr }),
        Kind::Usage { input_tokens, output_tokens, cost_micro_usd } => {
            W::Usage(v1::Usage { input_tokens, output_tokens, cost_micro_usd })
        }
        Kind::AgentFinished { ok, message, exit_code } => {
            W::AgentFinished(v1::AgentFinished { ok, message, exit_code })
        }
        Kind::Notice { level, text } => W::Notice(v1::Notice { level: level.name().into(), text }),
        Kind::WorkCaptured { digest, entries, refused, ignored } => W::WorkCaptured(v1::WorkCaptured {
            digest: digest.map(|digest| digest.to_string()).unwrap_or_default(),
            entries,
            refused,
            ignored,
        }),
        Kind::Approved { digest, paths } => W::Approved(v1::Approved {
            digest: digest.to_string(),
            paths: paths.into_iter().map(|Bytes(path)| path).collect(),
        }),
        Kind::Applied { apply, paths } => W::Applied(v1::Applied { apply: apply.to_string(), paths }),
        Kind::Undone { apply, paths } => W::Undone(v1::Undone { apply: apply.to_string(), paths }),
        Kind::Rejected { why } => W::Rejected(v1::Rejected { why }),
        Kind::Checkpointed { checkpoint, entries } => {
            W::Checkpointed(v1::Checkpointed { checkpoint, entries })
        }
        Kind::Rewound { from, to } => W::Rewound(v1::Rewound { from, to }),
        Kind::Branched { from, checkpoint } => {
            W::Branched(v1::Branched { from: from.to_string(), checkpoint })
        }
        Kind::ChecksBegun { .. } | Kind::CheckEnded { .. } | Kind::ChecksEnded { .. } => {
            super::verify::stored(kind)
        }
        Kind::TestsAsked { model, framework } => W::TestsAsked(v1::TestsAsked { model, framework }),
        Kind::TestsWritten { model, paths, adapted } => {
            W::TestsWritten(v1::TestsWritten { model, paths, adapted })
        }
        Kind::TestsNotWritten { model, why } => W::TestsNotWritten(v1::TestsNotWritten { model, why }),
        Kind::FixAsked { round, of } => W::FixAsked(v1::FixAsked { round, of }),
        Kind::EgressAsked { ask, method, authority, path, rule, patience_ms } => {
            W::EgressAsked(v1::EgressAsked { ask, method, authority, path, rule, patience_ms })
        }
        Kind::EgressAnswered { ask, answer } => W::EgressAnswered(v1::EgressAnswered { ask, answer }),
        Kind::EgressRefused { method, authority, path, reason, rule, hint, count } => {
            W::EgressRefused(v1::EgressRefused { method, authority, path, reason, rule, hint, count })
        }
        Kind::CredentialUsed { name, authority } => W::CredentialUsed(v1::CredentialUsed { name, authority }),
        Kind::EgressTotals { requests, refused, bytes_up, bytes_down, authorities, credentials } => {
            W::EgressTotals(v1::EgressTotals {
                requests,
                refused,
                bytes_up,
                bytes_down,
                authorities,
                credentials,
            })
        }
    }
}
