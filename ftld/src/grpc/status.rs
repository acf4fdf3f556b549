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

use tonic::metadata::{BinaryMetadataKey, BinaryMetadataValue, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::session::Error;

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
    let (code, reason, hint) = row(error);
    let mut causes: Vec<String> =
        std::iter::successors(std::error::Error::source(error), |cause| cause.source())
            .map(|cause| cut(&cause.to_string()))
            .collect();
    causes.dedup();
    let mut metadata = MetadataMap::new();
    metadata.insert(REASON, MetadataValue::from_static(reason));
    if let (Ok(json), false) = (serde_json::to_vec(&causes), causes.is_empty()) {
        insert(&mut metadata, CAUSES, &json);
    }
    if !hint.is_empty() {
        insert(&mut metadata, HINT, hint.as_bytes());
    }
    if matches!(code, Code::Internal) {
        tracing::error!(error = %crate::session::told(error), "internal error");
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

/// The table: code, stable reason, hint.
fn row(error: &Error) -> (Code, &'static str, String) {
    use ftl_core::review::ApproveRefused as A;
    let hint = str::to_owned;
    match error {
        Error::NoSuchSession { .. } => {
            (Code::NotFound, "no-session", hint("list them with `ftlctl sessions --all`"))
        }
        Error::NoSessionOfProject => {
            (Code::NotFound, "no-session", hint("start one with `ftlctl code 'TASK'`"))
        }
        Error::AmbiguousSession { .. } => {
            (Code::InvalidArgument, "ambiguous-session", hint("give more characters of its id"))
        }
        Error::Gone { .. } => (Code::Unavailable, "session-gone", String::new()),
        Error::Refused(refusal) => (Code::FailedPrecondition, "state", refusal_hint(*refusal)),
        Error::Misstep(_) | Error::Interrupted => (Code::Internal, "defect", String::new()),
        Error::Project(_) => {
            (Code::InvalidArgument, "project", hint("name a project's own directory with --project"))
        }
        Error::ProjectReplaced => (
            Code::FailedPrecondition,
            "project-replaced",
            hint("put the directory back, or start a new session"),
        ),
        Error::Config(_) => (Code::InvalidArgument, "config", String::new()),
        Error::Unsupported { .. } => (Code::FailedPrecondition, "unsupported", hint("remove the setting")),
        Error::AlreadyThere { .. } => (Code::AlreadyExists, "exists", hint("edit the file")),
        Error::NothingToTrust => (Code::NotFound, "no-config", hint("write one with `ftlctl init`")),
        Error::Agent(error) => agent_row(error),
        Error::EmptyTask => {
            (Code::InvalidArgument, "empty-task", hint("say what the agent should do: `ftlctl code 'TASK'`"))
        }
        Error::NoSuchSandbox { known, .. } => {
            (Code::InvalidArgument, "no-sandbox", format!("there is: {}", known.join(", ")))
        }
        Error::Sandbox(error) => (
            Code::FailedPrecondition,
            "sandbox",
            error.remedy().map_or_else(
                || hint("see `ftlctl doctor`"),
                |remedy| format!("{remedy}; see `ftlctl doctor`"),
            ),
        ),
        Error::Home { .. } | Error::Write { .. } => {
            (Code::Internal, "write", hint("see that the disk has space"))
        }
        Error::Setup { .. } => {
            (Code::FailedPrecondition, "setup", hint("see its output with `ftlctl attach`"))
        }
        Error::Stopped { .. } => (Code::FailedPrecondition, "stopped", String::new()),
        Error::TurnFailed { .. } => {
            (Code::FailedPrecondition, "turn-failed", hint("see `ftlctl attach` for what happened"))
        }
        Error::Approve(A::Nothing) => (Code::FailedPrecondition, "nothing-to-approve", String::new()),
        Error::Approve(A::Short { .. }) => {
            (Code::InvalidArgument, "digest", hint("copy the digest from `ftlctl diff`"))
        }
        Error::Approve(A::Digest { .. }) => (
            Code::Aborted,
            "digest-mismatch",
            hint(
                "the changes are not the ones that were shown with that digest; look at them with `ftlctl diff`",
            ),
        ),
        Error::Approve(A::Unknown { .. }) => {
            (Code::InvalidArgument, "unknown-path", hint("`ftlctl diff --stat` lists the paths"))
        }
        Error::Approve(A::Refused { .. }) => {
            (Code::PermissionDenied, "refused-path", hint("the rest of the change can still be approved"))
        }
        Error::Conflicts(_) => (
            Code::Aborted,
            "project-changed",
            hint("nothing was written; put those files back, or approve other paths with --path"),
        ),
        Error::Merge(_) => (Code::FailedPrecondition, "merge", hint("the project is as it was before")),
        Error::NothingToUndo => (Code::FailedPrecondition, "nothing-to-undo", String::new()),
        Error::Store(_) => (Code::Internal, "store", String::new()),
        Error::NoSuchSnapshot { .. } => {
            (Code::NotFound, "no-snapshot", hint("list them with `ftlctl snapshots --all`"))
        }
        Error::AmbiguousSnapshot { .. } => {
            (Code::InvalidArgument, "ambiguous-snapshot", hint("give more characters of its id"))
        }
        Error::Db(_) => (Code::Internal, "db", String::new()),
        Error::Audit(_) => (
            Code::Internal,
            "audit",
            hint("nothing happens without an audit record; see that the disk has space"),
        ),
    }
}

fn refusal_hint(refusal: ftl_core::lifecycle::Refusal) -> String {
    use ftl_core::lifecycle::Refusal;
    match refusal {
        Refusal::Busy(_) => "wait for it with `ftlctl attach`, or end the turn with `ftlctl stop`".to_owned(),
        Refusal::WorkWaits => "decide with `ftlctl diff` and `ftlctl approve`, or add --discard".to_owned(),
        Refusal::NotWorking(_) | Refusal::NothingToReview(_) => String::new(),
    }
}

fn agent_row(error: &crate::agent::AgentError) -> (Code, &'static str, String) {
    (Code::FailedPrecondition, "agent", error.hint())
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
    fn long_texts_are_cut_at_a_character() {
        assert!(cut(&"ü".repeat(5000)).ends_with('…'));
        assert_eq!(cut("short"), "short");
    }
}
