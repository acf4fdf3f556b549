//! From an error to what the client is told: one table.
//!
//! Owns the codes, the stable reasons and the hints. The client prints the message, the causes and the
//! hint, and decides its exit code by the gRPC code alone:
//!
//! | code | meaning for the client |
//! |---|---|
//! | `FailedPrecondition`, `PermissionDenied` | refused by the lifecycle or a policy |
//! | `Aborted` | needs a fresh approval |
//! | `Unavailable` | the daemon ends |
//! | anything else | failed |

mod models;

use ftl_core::id::SessionId;
use ftl_core::review::{ApproveRefused, LeftOut, ProposeError};
use tonic::metadata::{BinaryMetadataKey, BinaryMetadataValue, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::agent::AgentError;
use crate::merge::MergeError;
use crate::session::{Error, full, remote};
use crate::snapshot::SnapshotError;

/// Metadata key of the stable reason.
const REASON: &str = "ftl-reason";
/// Metadata key of the causes, a JSON array of strings.
const CAUSES: &str = "ftl-causes-bin";
/// Metadata key of the hint, UTF-8.
const HINT: &str = "ftl-hint-bin";
/// Longest text of one line that travels; metadata is bounded by the transport.
const LONGEST: usize = 2000;

/// What the client is told about an error.
pub(super) fn status(error: &Error) -> Status {
    let (code, reason, hint) = advice(error);
    if matches!(code, Code::Internal) {
        tracing::error!(error = %crate::session::told(error), "internal error");
    }
    told(code, reason, &hint, error, Vec::new())
}

/// The same about a session that is known: a hint names it, so that it can be typed as it stands.
pub(super) fn status_of(session: &SessionId, error: &Error) -> Status {
    let (code, reason, hint) = advice(error);
    if matches!(code, Code::Internal) {
        return status(error);
    }
    told(code, reason, &hint.replace("SESSION", session.as_str()), error, Vec::new())
}

/// What the client is told about any error; `lines` are what programs said that explains it.
pub(super) fn told(
    code: Code,
    reason: &'static str,
    hint: &str,
    error: &(dyn std::error::Error + 'static),
    lines: Vec<String>,
) -> Status {
    let mut causes: Vec<String> = std::iter::successors(error.source(), |cause| cause.source())
        .map(|cause| cut(&cause.to_string()))
        .collect();
    causes.dedup();
    causes.extend(lines.iter().map(|line| cut(line)));
    let mut metadata = MetadataMap::new();
    metadata.insert(REASON, MetadataValue::from_static(reason));
    if let (Ok(json), false) = (serde_json::to_vec(&causes), causes.is_empty()) {
        insert(&mut metadata, CAUSES, &json);
    }
    if !hint.is_empty() {
        insert(&mut metadata, HINT, hint.as_bytes());
    }
    Status::with_metadata(code, cut(&error.to_string()), metadata)
}

fn insert(metadata: &mut MetadataMap, key: &'static str, value: &[u8]) {
    if let Ok(key) = BinaryMetadataKey::from_bytes(key.as_bytes()) {
        metadata.insert_bin(key, BinaryMetadataValue::from_bytes(value));
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// One line of the table: code, stable reason, hint.
type Row = (Code, &'static str, String);

/// The table. What does not fit on a disk has one way out, whatever was written.
fn advice(error: &Error) -> Row {
    let (code, reason, hint) = row(error);
    if full::is_cause_of(error) { (code, reason, full::ADVICE.to_owned()) } else { (code, reason, hint) }
}

/// The table, as far as it is about the daemon itself.
fn row(error: &Error) -> Row {
    let (code, reason, hint) = match error {
        Error::NoSuchSession { .. }
        | Error::RemovedSession { .. }
        | Error::NoSessionOfProject
        | Error::AmbiguousSession { .. }
        | Error::NoSuchSnapshot { .. }
        | Error::AmbiguousSnapshot { .. }
        | Error::NoSuchCheckpoint { .. }
        | Error::TooFarBack { .. } => return name_row(error),
        Error::NoRemote | Error::NoRemoteKey | Error::Remote(_) | Error::NoSuchRemoteSnapshot { .. } => {
            return remote_row(error);
        }
        Error::UnreadableCheckpoint { .. } => (Code::FailedPrecondition, "unreadable-checkpoint", ""),
        Error::History(_) => (Code::FailedPrecondition, "history", ""),
        Error::Project(_) => {
            (Code::InvalidArgument, "project", "name a project's own directory with --project")
        }
        Error::AlreadyThere { .. } => (Code::AlreadyExists, "exists", "edit the file"),
        Error::NothingToTrust => (Code::NotFound, "no-config", "write one with `ftlctl init`"),
        Error::Config(_) => (Code::InvalidArgument, "config", ""),
        Error::Gone { .. } => (Code::Unavailable, "session-gone", ""),
        Error::Misstep(_) | Error::Interrupted => (Code::Internal, "defect", ""),
        Error::Store(error) => return store_row(error),
        Error::Db(_) => (Code::Internal, "db", ""),
        Error::CallNote { .. }
        | Error::Home { .. }
        | Error::Write { .. }
        | Error::Conversation { .. }
        | Error::Tests { .. } => (Code::Internal, "write", "see that the disk has space"),
        Error::Audit(_) => {
            (Code::Internal, "audit", "nothing happens without an audit record; see that the disk has space")
        }
        Error::Vault(error) => return (Code::FailedPrecondition, "secret", error.hint()),
        Error::Model(error) => return models::model_row(error),
        Error::NoSuchTest { .. } | Error::NotKept { .. } | Error::NoPlace { .. } | Error::NoFramework => {
            return models::tests_row(error);
        }
        Error::Policy(_) => (Code::FailedPrecondition, "policy", "correct the file with an editor"),
        Error::BadRule { .. } => {
            (Code::InvalidArgument, "rule", "for instance `allow GET,POST api.example.com/v1`")
        }
        Error::BadUrl { .. } => (
            Code::InvalidArgument,
            "url",
            "write it as https://host/path, or with a port as https://host:port/path",
        ),
        Error::Egress(_) => (Code::Internal, "egress", ""),
        Error::Refused(_)
        | Error::Unsupported { .. }
        | Error::NotInteractive { .. }
        | Error::NoTerminal { .. }
        | Error::HasTerminal { .. }
        | Error::Agent(_)
        | Error::EmptyTask
        | Error::NoAgent
        | Error::NoSuchSandbox { .. }
        | Error::Sandbox(_)
        | Error::NoProgram { .. }
        | Error::Setup { .. }
        | Error::Stopped { .. }
        | Error::Layers { .. }
        | Error::UnreadWork { .. }
        | Error::NoKey { .. }
        | Error::TurnFailed { .. } => return turn_row(error),
        Error::Approve(_)
        | Error::AnotherWork
        | Error::Propose(_)
        | Error::Held { .. }
        | Error::Conflicts(_)
        | Error::Merge(_)
        | Error::Undo(_)
        | Error::UndoConflicts { .. }
        | Error::NothingToUndo => {
            return decision_row(error);
        }
    };
    (code, reason, hint.to_owned())
}

/// The table, as far as it is about names of what is not there, or of too much.
fn name_row(error: &Error) -> Row {
    let (code, reason, hint) = match error {
        Error::NoSuchSession { .. } => {
            (Code::NotFound, "no-session", "list them with `ftlctl sessions --all`")
        }
        Error::RemovedSession { session } => {
            return (Code::NotFound, "session-removed", removed(session));
        }
        Error::NoSessionOfProject => (Code::NotFound, "no-session", "start one with `ftlctl code 'TASK'`"),
        Error::AmbiguousSession { .. } => {
            (Code::InvalidArgument, "ambiguous-session", "give more characters of its id")
        }
        Error::NoSuchSnapshot { .. } => {
            (Code::NotFound, "no-snapshot", "list them with `ftlctl snapshots --all`")
        }
        Error::AmbiguousSnapshot { .. } => {
            (Code::InvalidArgument, "ambiguous-snapshot", "give more characters of its id")
        }
        _ => (Code::NotFound, "no-checkpoint", "list them with `ftlctl sessions --checkpoints SESSION`"),
    };
    (code, reason, hint.to_owned())
}

/// The table, as far as it is about what is stored.
fn store_row(error: &SnapshotError) -> Row {
    let (code, reason, hint) = match error {
        SnapshotError::Occupied { .. } => (Code::FailedPrecondition, "occupied", "name a new directory"),
        SnapshotError::Rules { .. } => (
            Code::FailedPrecondition,
            "ignore-files",
            "remove .gitignore and .ftlignore files that some program made, or name their directory in one above",
        ),
        SnapshotError::Paths { .. } => (
            Code::FailedPrecondition,
            "too-many-paths",
            "name directories of generated files in .ftlignore, so that they are not taken in",
        ),
        _ => (Code::Internal, "store", ""),
    };
    (code, reason, hint.to_owned())
}

/// What is to be said of a session that is no more.
fn removed(session: &SessionId) -> String {
    format!(
        "`ftlctl applied {session}` lists what it applied; the old contents went with it, so that cannot be taken \
         back by FTL any more"
    )
}

/// The table, as far as it is about the human's bucket.
fn remote_row(error: &Error) -> Row {
    let (code, reason, hint) = match error {
        Error::Remote(error) => return (Code::Unknown, "remote", remote::hint(error)),
        Error::NoRemote => (
            Code::FailedPrecondition,
            "no-remote",
            r#"name one in ~/.ftl/config: {"remote": {"url": "s3://BUCKET/PREFIX", "region": "REGION"}}"#,
        ),
        Error::NoRemoteKey => (
            Code::FailedPrecondition,
            "no-remote-key",
            "`ftlctl secret set --global FTL_S3_ACCESS_KEY_ID`, then the same with FTL_S3_SECRET_ACCESS_KEY",
        ),
        _ => (Code::NotFound, "no-snapshot", "list them with `ftlctl snapshots list --remote --all`"),
    };
    (code, reason, hint.to_owned())
}

/// The table, as far as it is about starting and running a turn.
fn turn_row(error: &Error) -> Row {
    let hint = str::to_owned;
    match error {
        Error::Refused(refusal) => (Code::FailedPrecondition, "state", refusal_hint(*refusal)),
        Error::Unsupported { .. } => (Code::FailedPrecondition, "unsupported", hint("remove the setting")),
        Error::NotInteractive { .. } => (
            Code::InvalidArgument,
            "not-interactive",
            hint("give it a task: `ftlctl code --agent AGENT 'TASK'`"),
        ),
        Error::NoTerminal { .. } => (Code::FailedPrecondition, "no-terminal", String::new()),
        Error::HasTerminal { session } => {
            (Code::FailedPrecondition, "has-terminal", format!("sit down at it: `ftlctl attach {session}`"))
        }
        Error::Agent(error @ AgentError::Unknown { .. }) => (Code::InvalidArgument, "no-agent", error.hint()),
        Error::Agent(error) => (Code::FailedPrecondition, "agent", error.hint()),
        Error::NoProgram { .. } => (
            Code::NotFound,
            "no-program",
            hint(
                "the sandbox has the system's programs and well-known tool directories of your home; `tool_dirs` in ~/.ftl/config names more",
            ),
        ),
        Error::EmptyTask => {
            (Code::InvalidArgument, "empty-task", hint("say what the agent should do: `ftlctl code 'TASK'`"))
        }
        Error::NoAgent => (
            Code::FailedPrecondition,
            "no-agent",
            hint("reject it without going on, and run the next command with `ftlctl exec`"),
        ),
        Error::NoSuchSandbox { known, .. } => {
            (Code::InvalidArgument, "no-sandbox", format!("there is: {}", known.join(", ")))
        }
        Error::Sandbox(error) => {
            let doctor = "see `ftlctl doctor`";
            let remedy = error.remedy().map_or_else(|| hint(doctor), |remedy| format!("{remedy}; {doctor}"));
            (Code::FailedPrecondition, "sandbox", remedy)
        }
        Error::Setup { .. } => {
            (Code::FailedPrecondition, "setup", hint("`ftlctl attach` shows its output again"))
        }
        Error::NoKey { names, .. } => {
            let name = names.first().copied().unwrap_or_default();
            let hint = format!("`ftlctl auth {name}` keeps one outside every sandbox");
            (Code::FailedPrecondition, "no-key", hint)
        }
        Error::UnreadWork { .. } => (
            Code::FailedPrecondition,
            "unread-work",
            hint("name the end of an earlier turn, as `ftlctl sessions --checkpoints SESSION` lists them"),
        ),
        Error::Layers { .. } => (
            Code::FailedPrecondition,
            "layers",
            hint(
                "go back to an earlier turn with `ftlctl rewind`, or approve the work and begin another session; the daemon's log says why they could not",
            ),
        ),
        Error::TurnFailed { .. } => {
            (Code::FailedPrecondition, "turn-failed", hint("see `ftlctl attach` for what happened"))
        }
        _ => (Code::FailedPrecondition, "stopped", String::new()),
    }
}

/// How the human's own edits are joined with what a session has done.
const SEE_MERGE: &str = "your edits can be merged with the session's: `ftlctl diff SESSION --preview` shows how, with a digest of its own; other paths can be approved with --path";
/// How it is found out what changed under a digest.
const LOOK_AGAIN: &str =
    "the changes are not the ones that were shown with that digest; look at them with `ftlctl diff`";

/// What only the human can put out of the way of an application or an undoing.
fn in_the_way(error: &MergeError) -> Option<Row> {
    let (reason, hint) = match error {
        MergeError::Locked { .. } => (
            "locked",
            "look with `lsattr -d`, lift it with `chattr -i` or `chattr -a`, and ask again; or leave the path out",
        ),
        MergeError::Unreadable { .. } => (
            "journal-unreadable",
            "the project may be between two states: compare its files with what you expect, put right what is not, then move that journal away and start the daemon again; other projects are not concerned",
        ),
        _ => return None,
    };
    Some((Code::FailedPrecondition, reason, hint.to_owned()))
}

/// The table, as far as it is about the human's decision.
fn decision_row(error: &Error) -> Row {
    if let Error::Undo(error) | Error::Merge(error) = error
        && let Some(row) = in_the_way(error)
    {
        return row;
    }
    let (code, reason, hint) = match error {
        Error::Approve(refused) => return approve_row(refused),
        Error::Propose(error) => return propose_row(error),
        Error::AnotherWork => {
            (Code::Aborted, "work-changed", "look at it again, and choose from what is there")
        }
        Error::Conflicts(_) | Error::Merge(MergeError::Changed(_)) => {
            (Code::Aborted, "project-changed", SEE_MERGE)
        }
        Error::Undo(MergeError::Changed(_)) => (
            Code::Aborted,
            "project-changed",
            "nothing was touched; `ftlctl undo SESSION --merge` shows what can be taken back around your edits",
        ),
        Error::Held { .. } => (
            Code::Aborted,
            "findings",
            "look at each with `ftlctl diff`, and let it pass with --accept ID='why', or choose what does not hold it with --path and --hunk",
        ),
        Error::UndoConflicts { .. } => (
            Code::FailedPrecondition,
            "undo-conflicts",
            "nothing was touched; put those lines back as they were applied, then undo",
        ),
        Error::Undo(MergeError::Partly { foreign, .. })
        | Error::Merge(MergeError::Partly { foreign, .. })
            if !foreign.is_empty() =>
        {
            (
                Code::Internal,
                "partly-applied",
                "all else is as it was before; what someone else wrote is as they left it",
            )
        }
        Error::Undo(MergeError::Partly { .. } | MergeError::Unfinished { .. }) => (
            Code::Internal,
            "partly-applied",
            "the daemon tries again at the next application, and when it starts",
        ),
        Error::Undo(_) => (Code::FailedPrecondition, "undo", "the project is as it was before"),
        Error::NothingToUndo => (Code::FailedPrecondition, "nothing-to-undo", ""),
        Error::Merge(MergeError::LinkLeaves { .. }) => {
            (Code::PermissionDenied, "link-leaves", "approve the rest with --path")
        }
        Error::Merge(MergeError::Partly { .. } | MergeError::Unfinished { .. }) => (
            Code::Internal,
            "partly-applied",
            "the daemon tries again at the next application, and when it starts",
        ),
        _ => (Code::FailedPrecondition, "merge", "the project is as it was before"),
    };
    (code, reason, hint.to_owned())
}

/// The table, as far as it is about what may be approved.
fn approve_row(refused: &ApproveRefused) -> Row {
    use ApproveRefused as A;
    let (code, reason, hint) = match refused {
        A::Nothing => (Code::FailedPrecondition, "nothing-to-approve", ""),
        A::Short { .. } => (Code::InvalidArgument, "digest", "copy the digest from `ftlctl diff`"),
        A::Digest { .. } => (Code::Aborted, "digest-mismatch", LOOK_AGAIN),
        A::Unknown { .. } => (Code::InvalidArgument, "unknown-path", "`ftlctl diff --stat` lists the paths"),
        A::Refused { .. } => {
            (Code::PermissionDenied, "refused-path", "the rest of the change can still be approved")
        }
        A::Unnamed { left } => return (Code::Aborted, "needs-naming", naming_hint(left)),
        A::Moved(_) => (Code::Aborted, "project-changed", SEE_MERGE),
        A::Open { .. } => (
            Code::Aborted,
            "conflicts",
            "decide each with --ours, --theirs or --both and PATH or PATH:NUMBER; `ftlctl diff SESSION --preview` shows them",
        ),
    };
    (code, reason, hint.to_owned())
}

/// The table, as far as it is about selections.
fn propose_row(error: &ProposeError) -> Row {
    let (code, reason, hint) = match error {
        ProposeError::Path(refused) => return approve_row(refused),
        ProposeError::NoHunks { .. } => (Code::InvalidArgument, "no-hunks", "name it with --path"),
        ProposeError::Select { .. } => {
            (Code::InvalidArgument, "selection", "`ftlctl diff --json` lists hunks with ids and lines")
        }
        ProposeError::NoConflict { .. } => {
            (Code::Aborted, "no-conflict", "look again with `ftlctl diff SESSION --preview`")
        }
        ProposeError::OneSide { .. } => {
            (Code::InvalidArgument, "one-side", "take it with --ours or --theirs")
        }
        ProposeError::Decisions { .. } => (Code::InvalidArgument, "decisions", ""),
        ProposeError::Unreadable { .. } => (Code::Aborted, "unreadable", LOOK_AGAIN),
        ProposeError::Conflicts(_) => (
            Code::Aborted,
            "project-changed",
            "nothing was written; put that back as it was, or approve other paths with --path",
        ),
    };
    (code, reason, hint.to_owned())
}

/// The options that name what must be named.
fn naming_hint(left: &[LeftOut]) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-./@%+".contains(char);
    let quoted = |path: &str| match path.chars().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    };
    let options: Vec<String> =
        left.iter().take(20).map(|one| format!("--path {}", quoted(&one.path.to_string()))).collect();
    let more = if left.len() > options.len() { " \u{2026}" } else { "" };
    format!("when you have looked at each, name them: {}{more}", options.join(" "))
}

fn refusal_hint(refusal: ftl_core::lifecycle::Refusal) -> String {
    use ftl_core::lifecycle::Refusal;
    match refusal {
        Refusal::Busy(_) => "wait for it with `ftlctl attach`, or end the turn with `ftlctl stop`".to_owned(),
        Refusal::WorkWaits => "decide with `ftlctl diff` and `ftlctl approve`, or add --discard".to_owned(),
        Refusal::Over(_) => {
            "`ftlctl code --session SESSION 'TASK'` goes on in it, in a sandbox that it makes then".to_owned()
        }
        Refusal::NotWorking(_) | Refusal::NothingToReview(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_code_the_reason_and_what_to_do() {
        let status = status(&Error::NothingToUndo);
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.metadata().get(REASON).unwrap(), "nothing-to-undo");
        assert!(status.metadata().get_bin(CAUSES).is_none());
    }

    #[test]
    fn what_does_not_fit_on_a_disk_says_what_helps() {
        let source = std::io::Error::from_raw_os_error(28);
        let status = status(&Error::Write { path: "/x".into(), source });
        let hint = status.metadata().get_bin(HINT).unwrap().to_bytes().unwrap();
        assert_eq!(&hint[..], full::ADVICE.as_bytes());
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert!(cut(&"ü".repeat(5000)).ends_with('…'));
        assert_eq!(cut("short"), "short");
    }
}
