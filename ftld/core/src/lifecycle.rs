//! Where a session can stand, and what may be asked of it there.
//!
//! ```text
//!            ┌─────────────────────── follow-up (say, exec) ───────────────────────┐
//!            ▼                                                                     │
//! created ─ snapshotting ─ starting ─ working ─ capturing ─┬─ awaiting_review ─────┤
//!     │          │            │          │          │      │    │ approve   │ reject
//!     └──────────┴────────────┴──────────┴──────────┴─ failed   ▼           ▼
//!                                                          │  applying   rejected
//!                                                          │    │ some left: back to awaiting_review
//!                                                          │    └ nothing left: merged ── undo ──▶ awaiting_review
//!                                                          └─ no_changes
//! ```
//!
//! A session that is made from captured work (a branch) goes from created to awaiting_review or no_changes
//! at once, and going back to an earlier turn leads there from every state in which nothing runs.
//!
//! Owns every transition and every refusal. Must not know how a stage is done: the driver asks here and
//! never re-decides.

use serde::{Deserialize, Serialize};

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Persisted, not begun.
    Created,
    /// The project is being read.
    Snapshotting,
    /// The sandbox is being built.
    Starting,
    /// The agent works, or the sandbox is open for commands.
    Working,
    /// The frozen work is being read.
    Capturing,
    /// There is a diff and no decision.
    AwaitingReview,
    /// Nothing differs from the snapshot.
    NoChanges,
    /// Approved bytes are being written.
    Applying,
    /// Everything that can be approved was applied.
    Merged,
    /// The human said no; the work is kept.
    Rejected,
    /// It ended with an error and there is nothing to review.
    Failed,
}

/// Something the driver did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// It reads the project.
    SnapshotBegun,
    /// It builds a sandbox.
    SandboxBegun,
    /// The sandbox is up and the turn runs.
    WorkBegun,
    /// The turn is over and every process is gone.
    CaptureBegun,
    /// The work is compared.
    Captured {
        /// Whether anything differs, refused entries included.
        changes: Changes,
    },
    /// It writes approved bytes.
    ApplyBegun,
    /// They are written.
    Applied {
        /// Whether anything that can be approved is left.
        left: Changes,
    },
    /// They could not be written; the project is as it was.
    ApplyFailed,
    /// The human said no.
    Rejected,
    /// An application was taken back.
    Undone,
    /// The session was made from work that is captured already: a branch, or a snapshot to go back to.
    Prepared {
        /// Whether anything differs.
        changes: Changes,
    },
    /// The work, or what it is compared with, is that of an earlier moment again.
    Rewound {
        /// Whether anything differs.
        changes: Changes,
    },
    /// The turn failed. Earlier work, if any, still waits.
    Failed {
        /// Whether there is work to review.
        work: Changes,
    },
}

/// Whether there are changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changes {
    /// There are.
    Some,
    /// There are none.
    None,
}

/// Something a client asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// A follow-up instruction.
    Say,
    /// A command in the sandbox.
    Exec,
    /// End the turn, keep the work.
    Stop,
    /// Show the diff.
    Diff,
    /// Apply approved bytes.
    Approve,
    /// Say no.
    Reject,
    /// Take back an application.
    Undo,
    /// Take the work back to an earlier turn.
    Rewind,
    /// Make the sandbox of the next turn now.
    Ready,
    /// Begin another session with the same work.
    Branch,
    /// Forget the session.
    Remove {
        /// Also when work waits for review.
        discard: bool,
    },
}

/// Why a request does not fit the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// A turn runs.
    #[error("the session is busy: it is {}", .0.name())]
    Busy(State),
    /// No turn runs.
    #[error("no agent works in this session: it is {}", .0.name())]
    NotWorking(State),
    /// There is nothing to review.
    #[error("there is nothing to review: the session is {}", .0.name())]
    NothingToReview(State),
    /// The session was decided on, so no turn is to be expected.
    #[error("nothing stands ready for a session that is over: it is {}", .0.name())]
    Over(State),
    /// Work would be lost.
    #[error("the session holds work that waits for review")]
    WorkWaits,
}

/// A step that does not fit the state: a defect of the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("step {step:?} does not fit state {state:?}")]
pub struct Misstep {
    /// Where the session stood.
    pub state: State,
    /// What was done.
    pub step: Step,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 11] = [
        Self::Created,
        Self::Snapshotting,
        Self::Starting,
        Self::Working,
        Self::Capturing,
        Self::AwaitingReview,
        Self::NoChanges,
        Self::Applying,
        Self::Merged,
        Self::Rejected,
        Self::Failed,
    ];

    /// The state's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Snapshotting => "snapshotting",
            Self::Starting => "starting",
            Self::Working => "working",
            Self::Capturing => "capturing",
            Self::AwaitingReview => "awaiting_review",
            Self::NoChanges => "no_changes",
            Self::Applying => "applying",
            Self::Merged => "merged",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing runs: the session waits for a human.
    #[must_use]
    pub fn is_idle(self) -> bool {
        match self {
            Self::AwaitingReview | Self::NoChanges | Self::Merged | Self::Rejected | Self::Failed => true,
            Self::Created
            | Self::Snapshotting
            | Self::Starting
            | Self::Working
            | Self::Capturing
            | Self::Applying => false,
        }
    }

    /// Whether it has ended: idle, and no decision is open.
    #[must_use]
    pub fn has_ended(self) -> bool {
        self.is_idle() && self != Self::AwaitingReview
    }
}

/// Where a step leads.
///
/// # Errors
/// When the step does not fit the state.
pub fn after(state: State, step: Step) -> Result<State, Misstep> {
    use State as S;
    let next = match (state, step) {
        (S::Created, Step::SnapshotBegun) => S::Snapshotting,
        (S::Snapshotting, Step::SandboxBegun) => S::Starting,
        // A follow-up keeps its snapshot and its workspace.
        (from, Step::SandboxBegun) if from.is_idle() => S::Starting,
        (S::Starting, Step::WorkBegun) => S::Working,
        (S::Starting | S::Working, Step::CaptureBegun) => S::Capturing,
        (S::Capturing, Step::Captured { changes: Changes::Some }) => S::AwaitingReview,
        (S::Capturing, Step::Captured { changes: Changes::None }) => S::NoChanges,
        (S::AwaitingReview, Step::ApplyBegun) => S::Applying,
        (S::Applying, Step::Applied { left: Changes::Some } | Step::ApplyFailed) => S::AwaitingReview,
        (S::Applying, Step::Applied { left: Changes::None }) => S::Merged,
        (S::AwaitingReview, Step::Rejected) => S::Rejected,
        (from, Step::Undone) if from.is_idle() => S::AwaitingReview,
        (S::Created, Step::Prepared { changes: Changes::Some }) => S::AwaitingReview,
        (S::Created, Step::Prepared { changes: Changes::None }) => S::NoChanges,
        (from, Step::Rewound { changes: Changes::Some }) if from.is_idle() => S::AwaitingReview,
        (from, Step::Rewound { changes: Changes::None }) if from.is_idle() => S::NoChanges,
        (from, Step::Failed { work: Changes::Some }) if !from.has_ended() => S::AwaitingReview,
        (from, Step::Failed { work: Changes::None }) if !from.has_ended() => S::Failed,
        _ => return Err(Misstep { state, step }),
    };
    Ok(next)
}

/// Whether a request fits the state.
///
/// # Errors
/// Why not.
pub fn allows(state: State, request: Request) -> Result<(), Refusal> {
    match request {
        Request::Say | Request::Undo | Request::Rewind | Request::Branch | Request::Ready
            if !state.is_idle() =>
        {
            Err(Refusal::Busy(state))
        }
        Request::Ready if matches!(state, State::Merged | State::Rejected) => Err(Refusal::Over(state)),
        Request::Exec if !state.is_idle() && state != State::Working => Err(Refusal::Busy(state)),
        Request::Stop if state.is_idle() || state == State::Applying => Err(Refusal::NotWorking(state)),
        Request::Diff if !state.is_idle() => Err(Refusal::Busy(state)),
        Request::Diff if state == State::Failed => Err(Refusal::NothingToReview(state)),
        Request::Approve | Request::Reject if !state.is_idle() => Err(Refusal::Busy(state)),
        Request::Approve | Request::Reject if state != State::AwaitingReview => {
            Err(Refusal::NothingToReview(state))
        }
        Request::Remove { .. } if !state.is_idle() => Err(Refusal::Busy(state)),
        Request::Remove { discard: false } if state == State::AwaitingReview => Err(Refusal::WorkWaits),
        Request::Say
        | Request::Exec
        | Request::Stop
        | Request::Diff
        | Request::Approve
        | Request::Reject
        | Request::Undo
        | Request::Rewind
        | Request::Branch
        | Request::Ready
        | Request::Remove { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEPS: [Step; 18] = [
        Step::SnapshotBegun,
        Step::SandboxBegun,
        Step::WorkBegun,
        Step::CaptureBegun,
        Step::Captured { changes: Changes::Some },
        Step::Captured { changes: Changes::None },
        Step::ApplyBegun,
        Step::Applied { left: Changes::Some },
        Step::Applied { left: Changes::None },
        Step::ApplyFailed,
        Step::Rejected,
        Step::Undone,
        Step::Failed { work: Changes::Some },
        Step::Failed { work: Changes::None },
        Step::Prepared { changes: Changes::Some },
        Step::Prepared { changes: Changes::None },
        Step::Rewound { changes: Changes::Some },
        Step::Rewound { changes: Changes::None },
    ];

    /// The whole machine, told a second time in five facts: what runs, and whether work waits.
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Model {
        running: Option<&'static str>,
        work_waits: bool,
        ended: bool,
    }

    fn model(state: State) -> Model {
        let running = match state {
            State::Created => Some("queue"),
            State::Snapshotting => Some("snapshot"),
            State::Starting => Some("sandbox"),
            State::Working => Some("agent"),
            State::Capturing => Some("diff"),
            State::Applying => Some("apply"),
            _ => None,
        };
        Model {
            running,
            work_waits: state == State::AwaitingReview,
            ended: running.is_none() && state != State::AwaitingReview,
        }
    }

    proptest! {
        #[test]
        fn any_sequence_of_steps_keeps_the_models_facts(steps in proptest::collection::vec(0..STEPS.len(), 0..60)) {
            let mut state = State::Created;
            for step in steps.into_iter().map(|index| STEPS[index]) {
                let before = model(state);
                let Ok(next) = after(state, step) else { continue };
                let now = model(next);
                match step {
                    // Only a session that waits for a decision is ever applied or rejected.
                    Step::ApplyBegun | Step::Rejected => prop_assert!(before.work_waits),
                    // Work is never dropped by a failed application.
                    Step::ApplyFailed => prop_assert!(before.running == Some("apply") && now.work_waits),
                    Step::Applied { .. } => prop_assert_eq!(before.running, Some("apply")),
                    Step::Captured { .. } => prop_assert_eq!(before.running, Some("diff")),
                    Step::Undone => prop_assert!(now.work_waits),
                    Step::Prepared { .. } => prop_assert_eq!(before.running, Some("queue")),
                    // Nothing is taken back under an agent's feet.
                    Step::Rewound { .. } => prop_assert!(before.running.is_none() && now.running.is_none()),
                    // A failure that knows of work leaves the work waiting.
                    Step::Failed { work: Changes::Some } => prop_assert!(now.work_waits),
                    Step::Failed { work: Changes::None } => prop_assert!(now.ended),
                    Step::SnapshotBegun | Step::SandboxBegun | Step::WorkBegun | Step::CaptureBegun => {
                        prop_assert!(now.running.is_some());
                    }
                }
                state = next;
            }
        }
    }

    #[test]
    fn every_state_can_still_reach_an_end() {
        for start in State::ALL {
            let mut reached = vec![start];
            let mut index = 0;
            while index < reached.len() {
                for step in STEPS {
                    if let Ok(next) = after(reached[index], step)
                        && !reached.contains(&next)
                    {
                        reached.push(next);
                    }
                }
                index += 1;
            }
            assert!(reached.iter().any(|state| state.has_ended()), "{start:?} never ends");
        }
    }

    #[test]
    fn a_request_is_refused_where_it_would_lose_or_mix_work() {
        use Request as R;
        for state in State::ALL {
            let busy = !state.is_idle();
            assert_eq!(allows(state, R::Say).is_err(), busy, "{state:?}");
            assert_eq!(allows(state, R::Rewind).is_err(), busy, "{state:?}");
            assert_eq!(allows(state, R::Branch).is_err(), busy, "{state:?}");
            let decided = matches!(state, State::Merged | State::Rejected);
            assert_eq!(allows(state, R::Ready).is_err(), busy || decided, "{state:?}");
            assert_eq!(allows(state, R::Approve).is_ok(), state == State::AwaitingReview, "{state:?}");
            assert_eq!(allows(state, R::Reject).is_ok(), state == State::AwaitingReview, "{state:?}");
            assert_eq!(allows(state, R::Remove { discard: true }).is_err(), busy, "{state:?}");
        }
        assert_eq!(allows(State::AwaitingReview, R::Remove { discard: false }), Err(Refusal::WorkWaits));
        assert_eq!(allows(State::Working, R::Exec), Ok(()));
        assert_eq!(allows(State::Working, R::Stop), Ok(()));
        assert_eq!(allows(State::Applying, R::Stop), Err(Refusal::NotWorking(State::Applying)));
    }
}
