//! The rows of the table that are about models, and about the tests that they write.
//!
//! Owns their codes, reasons and hints. Must not know what a client makes of them.

use tonic::Code;

use super::Row;
use crate::session::Error;
use crate::session::ask::ModelError;

/// The table, as far as it is about generated tests.
pub(super) fn tests_row(error: &Error) -> Row {
    let (code, reason, hint) = match error {
        Error::NoSuchTest { .. } => (
            Code::NotFound,
            "no-test",
            "`ftlctl tests SESSION` lists them; they are written when a session has a tester",
        ),
        Error::NoFramework => (Code::FailedPrecondition, "no-framework", ""),
        _ => (Code::FailedPrecondition, "not-kept", ""),
    };
    (code, reason, hint.to_owned())
}

/// The table, as far as it is about models.
pub(super) fn model_row(error: &ModelError) -> Row {
    let (code, reason) = match error {
        ModelError::NotConfigured { .. } | ModelError::NoAgentModel => (Code::FailedPrecondition, "no-model"),
        ModelError::Name(_) => (Code::FailedPrecondition, "model-name"),
        ModelError::NoKey { .. } => (Code::FailedPrecondition, "no-key"),
        ModelError::Same { .. }
        | ModelError::MaybeSame { .. }
        | ModelError::SameTester { .. }
        | ModelError::MaybeSameTester { .. } => (Code::FailedPrecondition, "same-model"),
        ModelError::Question { .. } => (Code::InvalidArgument, "question"),
        ModelError::NoHunk { .. } => (Code::InvalidArgument, "no-hunk"),
        ModelError::Nothing => (Code::FailedPrecondition, "nothing-to-show"),
        // No policy refused anything: to a client these have simply failed.
        ModelError::Call { .. } => (Code::Unknown, "no-answer"),
        ModelError::NoOpinion { .. } => (Code::Unknown, "no-opinion"),
        ModelError::NoTests { .. } => (Code::Unknown, "no-tests"),
    };
    (code, reason, error.hint())
}
