//! What can go wrong, as a person and a script see it.
//!
//! Owns the exit codes and the one printer of errors. Must not know what was asked for: every failure
//! carries its own words.

use std::error::Error as _;
use std::io;

use ftl_proto::v1;
use serde_json::{Value, json};
use tonic::Code;

use crate::connect::ConnectError;
use crate::project::ProjectError;
use crate::render::escape;
use crate::render::style::{Style, Tone};
use crate::value::ValueError;

/// Exit codes; they are documented in the help and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Refused by policy, or by where the session stands.
    Refused = 3,
    /// A human has to approve first.
    NeedsApproval = 4,
    /// The daemon cannot be reached.
    Unavailable = 5,
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With one of our codes.
    Exit(Exit),
    /// With the status of the command that it passed through.
    Command(u8),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon cannot be talked to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The daemon said no, or the connection broke.
    #[error("{}", .status.message())]
    Daemon {
        /// What it said.
        status: Box<tonic::Status>,
    },
    /// A path does not fit the project.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The command line asks for something that cannot be.
    #[error("{what}")]
    Usage {
        /// What is wrong with it. It repeats no argument that could be a secret.
        what: String,
        /// What to type instead.
        hint: String,
    },
    /// A credential's value cannot be taken.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// What was named is not there.
    #[error("{what}")]
    Missing {
        /// What is not there.
        what: String,
        /// Where to look.
        hint: String,
    },
    /// A human has to agree first, and none can be asked.
    #[error("{what} and nobody can be asked")]
    Unasked {
        /// What waits.
        what: String,
        /// How to agree.
        hint: String,
    },
    /// The operating system said no.
    #[error("cannot {act}")]
    Io {
        /// What was tried.
        act: String,
        /// What it said.
        source: io::Error,
    },
    /// Whoever read our output has gone; nobody is left to be told.
    #[error("the reader of the output has gone")]
    OutputClosed,
    /// A human has to decide first.
    #[error("session {session} waits for approval of digest {}", short(.digest))]
    NeedsApproval {
        /// Session.
        session: String,
        /// What is to be approved.
        digest: String,
        /// The options that select it, each with a space in front.
        options: String,
    },
    /// The human's own edits are in the way until somebody decides.
    #[error("session {session} has changed the same lines as you")]
    Undecided {
        /// Session.
        session: String,
    },
    /// The checks did not pass, or were of something else than what is to be approved.
    #[error("nothing was applied: {}", not_ready(.word))]
    NotReady {
        /// Session.
        session: String,
        /// What the gate says.
        word: Box<v1::ChecksEnded>,
        /// The options that select it, each with a space in front.
        options: String,
    },
    /// Nothing can be approved in the session.
    #[error("session {session} has nothing that can be approved")]
    NothingToApprove {
        /// Session.
        session: String,
    },
    /// The session ended with an error.
    #[error("session {session} failed")]
    Session {
        /// Session.
        session: String,
        /// What the daemon says about it.
        reason: String,
    },
    /// The human left while the session goes on.
    #[error("left session {session}, which goes on")]
    Detached {
        /// Session.
        session: String,
    },
    /// The human left while the agent is being stopped.
    #[error("left session {session} while its agent is being stopped")]
    Stopping {
        /// Session.
        session: String,
    },
    /// The daemon's answer makes no sense.
    #[error("the daemon {what}")]
    Protocol {
        /// What it did.
        what: &'static str,
    },
    /// The demo did not show what it promises.
    #[error("the demo failed: {what}")]
    Demo {
        /// What was not as it should be.
        what: String,
    },
}

/// A failure in the form in which it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// Stable, for scripts.
    pub(crate) code: String,
    /// What went wrong.
    pub(crate) message: String,
    /// Why, outermost first.
    pub(crate) causes: Vec<String>,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

// === impl Outcome ===

impl Outcome {
    /// Everything was done.
    pub(crate) const DONE: Self = Self::Exit(Exit::Done);

    /// The status of the process.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Exit(exit) => exit as u8,
            Self::Command(status) => status,
        }
    }
}

// === impl Failure ===

impl Failure {
    /// An error of the operating system with what was tried.
    pub(crate) fn io(act: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let act = act.into();
        move |source| Self::Io { act, source }
    }

    /// How it is shown.
    pub(crate) fn report(&self) -> Report {
        let (exit, code) = match self {
            Self::Connect(error) => (Exit::Unavailable, error.code()),
            Self::Daemon { status } => return daemon_report(status),
            Self::Project(_) => (Exit::Usage, "bad-path"),
            Self::Usage { .. } => (Exit::Usage, "usage"),
            Self::Value(error) => (error.exit(), error.code()),
            Self::Missing { .. } => (Exit::Failed, "not-found"),
            Self::Unasked { .. } => (Exit::NeedsApproval, "needs-approval"),
            Self::Io { .. } => (Exit::Failed, "io"),
            Self::OutputClosed => (Exit::Done, "output-closed"),
            Self::NeedsApproval { .. } => (Exit::NeedsApproval, "needs-approval"),
            Self::Undecided { .. } => (Exit::NeedsApproval, "conflicts"),
            Self::NotReady { word, .. } if word.ready => (Exit::NeedsApproval, "digest-mismatch"),
            Self::NotReady { .. } => (Exit::Failed, "not-ready"),
            Self::NothingToApprove { .. } => (Exit::Refused, "nothing-to-approve"),
            Self::Session { .. } => (Exit::Failed, "session-failed"),
            Self::Detached { .. } | Self::Stopping { .. } => (Exit::Failed, "detached"),
            Self::Protocol { .. } => (Exit::Failed, "protocol"),
            Self::Demo { .. } => (Exit::Failed, "demo-failed"),
        };
        let mut causes = Vec::new();
        let mut cause = self.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        match self {
            Self::Connect(error) => causes.extend(error.log().iter().cloned()),
            Self::Session { reason, .. } if !reason.is_empty() => causes.push(reason.clone()),
            _ => {}
        }
        Report { exit, code: code.to_owned(), message: self.to_string(), causes, hint: self.hint() }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Connect(error) => error.hint(),
            Self::Usage { hint, .. } | Self::Missing { hint, .. } | Self::Unasked { hint, .. } => {
                Some(hint.clone())
            }
            Self::Value(error) => error.hint(),
            Self::NeedsApproval { session, digest, options } => Some(format!(
                "look at it with `ftlctl diff {session}{options}`, then `ftlctl approve {session} --digest {digest}{options}`"
            )),
            Self::Undecided { session } => Some(format!(
                "`ftlctl diff {session} --preview` shows the conflicts; decide each with --ours, --theirs or --both and PATH or PATH:NUMBER"
            )),
            Self::NotReady { session, word, options } => Some(format!(
                "apply it all the same: `ftlctl approve {session} --digest {}{options}`",
                word.digest
            )),
            Self::NothingToApprove { session } => {
                Some(format!("`ftlctl diff {session}` says why; `ftlctl rm --discard {session}` removes it"))
            }
            Self::Session { session, .. } => {
                Some(format!("`ftlctl logs --session {session}` tells its story"))
            }
            Self::Detached { session } => {
                Some(format!("watch it with `ftlctl attach {session}`, end it with `ftlctl stop {session}`"))
            }
            Self::Stopping { session } => {
                Some(format!("its work is kept: `ftlctl attach {session}`, then `ftlctl diff {session}`"))
            }
            _ => None,
        }
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Self::Daemon { status: Box::new(status) }
    }
}

/// Whether the connection broke, as opposed to an answer that the daemon gave.
pub(crate) fn is_broken(status: &tonic::Status) -> bool {
    status.metadata().get("ftl-reason").is_none()
        && (status.code() == Code::Unavailable || status.source().is_some())
}

/// The daemon's stable name for what went wrong.
pub(crate) fn reason(status: &tonic::Status) -> Option<&str> {
    status.metadata().get("ftl-reason")?.to_str().ok()
}

fn daemon_report(status: &tonic::Status) -> Report {
    if is_broken(status) {
        let mut causes = vec![status.message().to_owned()];
        causes.extend(status.source().and_then(std::error::Error::source).map(ToString::to_string));
        return Report {
            exit: Exit::Unavailable,
            code: "connection-lost".to_owned(),
            message: "the connection to the daemon broke".to_owned(),
            causes,
            hint: Some(
                "`ftlctl daemon status` says whether it runs; its log is ftld.log in FTL_HOME".to_owned(),
            ),
        };
    }
    let (exit, name) = exit_of(status.code());
    let metadata = status.metadata();
    let binary = |key| metadata.get_bin(key).and_then(|value| value.to_bytes().ok());
    let causes =
        binary("ftl-causes-bin").and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    Report {
        exit,
        code: reason(status).unwrap_or(name).to_owned(),
        message: status.message().to_owned(),
        causes,
        hint: binary("ftl-hint-bin").map(|hint| String::from_utf8_lossy(&hint).into_owned()),
    }
}

/// The table from gRPC's codes to ours.
fn exit_of(code: Code) -> (Exit, &'static str) {
    match code {
        Code::Ok => (Exit::Failed, "ok"),
        Code::Cancelled => (Exit::Failed, "cancelled"),
        Code::Unknown => (Exit::Failed, "unknown"),
        Code::InvalidArgument => (Exit::Failed, "invalid-argument"),
        Code::DeadlineExceeded => (Exit::Failed, "deadline-exceeded"),
        Code::NotFound => (Exit::Failed, "not-found"),
        Code::AlreadyExists => (Exit::Failed, "already-exists"),
        Code::PermissionDenied => (Exit::Refused, "permission-denied"),
        Code::ResourceExhausted => (Exit::Failed, "resource-exhausted"),
        Code::FailedPrecondition => (Exit::Refused, "failed-precondition"),
        Code::Aborted => (Exit::NeedsApproval, "aborted"),
        Code::OutOfRange => (Exit::Failed, "out-of-range"),
        Code::Unimplemented => (Exit::Failed, "unimplemented"),
        Code::Internal => (Exit::Failed, "internal"),
        Code::Unavailable => (Exit::Unavailable, "unavailable"),
        Code::DataLoss => (Exit::Failed, "data-loss"),
        Code::Unauthenticated => (Exit::Failed, "unauthenticated"),
    }
}

fn not_ready(word: &v1::ChecksEnded) -> String {
    match word.ready {
        // What was tried passed, but it is not what was named.
        true => format!("what was tested has the digest {}, which is another one", short(&word.digest)),
        false => word.why.clone(),
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

// === impl Report ===

impl Report {
    /// For standard error; no newline at the end.
    pub(crate) fn text(&self, style: Style) -> String {
        let mut text = format!("{} {}", style.paint(Tone::Bad, "error:"), escape::text(&self.message));
        for cause in &self.causes {
            let label = style.paint(Tone::Heading, "caused by:");
            text += &format!("\n  {label} {}", escape::text(cause).replace('\n', "\n             "));
        }
        if let Some(hint) = &self.hint {
            text += &format!("\n\n{} {}", style.paint(Tone::Good, "hint:"), escape::text(hint));
        }
        text
    }

    /// For standard output with `--json`.
    pub(crate) fn json(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message, "causes": self.causes});
        if let Some(hint) = &self.hint {
            error["hint"] = json!(hint);
        }
        json!({"error": error})
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::{MetadataMap, MetadataValue};

    use super::*;

    fn refusal() -> Failure {
        let mut metadata = MetadataMap::new();
        metadata.insert("ftl-reason", "digest-mismatch".parse().unwrap());
        let causes = MetadataValue::from_bytes("[\"the work is \u{202e}new\"]".as_bytes());
        metadata.insert_bin("ftl-causes-bin", causes);
        metadata
            .insert_bin("ftl-hint-bin", MetadataValue::from_bytes("look again: `ftlctl diff`".as_bytes()));
        tonic::Status::with_metadata(Code::Aborted, "another digest\x1b[2J", metadata).into()
    }

    #[test]
    fn a_refusal_is_printed_with_causes_and_hint() {
        assert_eq!(
            refusal().report().text(Style::Plain),
            "error: another digest\\x1b[2J\n  caused by: the work is \\u{202e}new\n\nhint: look again: `ftlctl diff`"
        );
        assert!(refusal().report().text(Style::Color).starts_with("\x1b[1;31merror:\x1b[0m another"));
    }

    #[test]
    fn the_json_form_has_the_documented_keys() {
        assert_eq!(
            refusal().report().json(),
            json!({"error": {"code": "digest-mismatch", "message": "another digest\u{1b}[2J",
                             "causes": ["the work is \u{202e}new"], "hint": "look again: `ftlctl diff`"}})
        );
        let bare: Failure = tonic::Status::not_found("no such session").into();
        assert_eq!(
            bare.report().json(),
            json!({"error": {"code": "not-found", "message": "no such session", "causes": []}})
        );
    }

    #[test]
    fn every_code_has_its_exit() {
        let table = [
            (Code::InvalidArgument, 1),
            (Code::NotFound, 1),
            (Code::AlreadyExists, 1),
            (Code::OutOfRange, 1),
            (Code::PermissionDenied, 3),
            (Code::FailedPrecondition, 3),
            (Code::Aborted, 4),
            (Code::Unavailable, 5),
            (Code::Internal, 1),
            (Code::Unimplemented, 1),
            (Code::ResourceExhausted, 1),
        ];
        for (code, exit) in table {
            let failure: Failure = tonic::Status::new(code, "x").into();
            assert_eq!(failure.report().exit as u8, exit, "{code:?}");
        }
    }

    #[test]
    fn a_broken_connection_is_an_unavailable_daemon() {
        let status = tonic::Status::from_error(Box::new(io::Error::other("gone")));
        assert_eq!(Failure::from(status).report().exit, Exit::Unavailable);
    }

    #[test]
    fn a_missing_approval_names_the_command() {
        let failure = Failure::NeedsApproval {
            session: "s-1".into(),
            digest: "abcdef0123456789".into(),
            options: " --path a".into(),
        };
        let report = failure.report();
        assert_eq!(
            (report.exit, report.message.as_str()),
            (Exit::NeedsApproval, "session s-1 waits for approval of digest abcdef012345")
        );
        assert!(report.hint.unwrap().contains("--digest abcdef0123456789 --path a"));
    }
}
