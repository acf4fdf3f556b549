//! Tests that a model writes beside the agent: what it is told, what counts of its answer, and how each file is
//! tried.
//!
//! Owns the prompts, the strict reading of a reply, the frameworks by which a file is run, and what two runs of it
//! mean. Whatever is not understood or not tried is never a pass. Must not know models, sandboxes, or who asks.
//!
//! Reading order: [`framework`] says what a project tests with, [`interface`] what of it a model is shown,
//! [`prompt`] puts that where it is data, [`reply`] reads the answer, [`trial`] says how a file is run, and
//! [`control`] how a run that reports success whatever happens is found out.

pub mod control;
pub mod framework;
pub mod interface;
pub mod prompt;
pub mod reply;
pub mod trial;

pub use framework::Framework;
pub use reply::{NoTests, Reply, Written};
pub use trial::{NOT_BUILT, Trial};

use crate::verify::{Outcome, Verdict};

/// What a file of tests says, from its run and, where that passed, from its control run.
#[must_use]
pub fn judge(run: &Outcome, control: Option<&Outcome>) -> Verdict {
    let could_not_run = |why: String| Verdict::CouldNotRun { why };
    match run {
        Outcome::Passed => match control {
            Some(held) if failed_by_itself(held) => Verdict::Passed,
            Some(Outcome::Passed | Outcome::Empty { .. }) => could_not_run(NOT_BELIEVED.to_owned()),
            Some(other) => {
                could_not_run(format!("it passed, and of its control run is said: {}", other.told()))
            }
            None => could_not_run("it passed, and its control run did not take place".to_owned()),
        },
        Outcome::Code(NOT_BUILT) => could_not_run(UNFIT.to_owned()),
        Outcome::Empty { why } => could_not_run(format!("nothing ran: {why}")),
        Outcome::NotStarted { why } => could_not_run(why.clone()),
        failed => Verdict::Failed {
            why: failed.told(),
            since: crate::verify::Since::Unknown { why: "a generated test has no earlier run".to_owned() },
        },
    }
}

/// Whether a file could not run for want of names that are there, so that asking for another one is worth it.
#[must_use]
pub fn lacks_names(run: &Outcome) -> bool {
    matches!(run, Outcome::Code(NOT_BUILT) | Outcome::Empty { .. })
}

/// Why a run is not believed.
pub const NOT_BELIEVED: &str =
    "its run reports success whatever happens: a test that must fail was added to it, and it passed too";
/// Why a file that was not built could not run.
pub const UNFIT: &str = "it does not compile, or what it names is not there";

/// The signal of the kernel when memory ran out, and how a shell tells of it.
const KILL: i32 = 9;
const KILLED: i32 = 128 + KILL;

/// A control run is a witness only when its own test failed: nothing ended it from outside.
fn failed_by_itself(control: &Outcome) -> bool {
    match control {
        Outcome::Code(code) => *code != NOT_BUILT && *code != KILLED,
        Outcome::Signal(signal) => *signal != KILL,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pass_whose_control_fails_is_a_pass() {
        let code = Outcome::Code;
        let time = || Outcome::Time { seconds: 3 };
        let none = || Outcome::NotStarted { why: "no sandbox".into() };
        let empty = || Outcome::Empty { why: "no test" };
        let lost = || Outcome::Lost { why: "memory".into() };
        let name = |run, control: Option<Outcome>| judge(&run, control.as_ref()).name();
        assert_eq!(name(Outcome::Passed, Some(code(1))), "passed");
        assert_eq!(name(Outcome::Passed, Some(Outcome::Signal(6))), "passed");
        for control in [Outcome::Passed, empty(), time(), none(), lost(), code(NOT_BUILT), code(137)] {
            assert_eq!(name(Outcome::Passed, Some(control.clone())), "could_not_run", "{control:?}");
        }
        assert_eq!(name(Outcome::Passed, None), "could_not_run");
        for failed in [code(1), code(3), Outcome::Signal(11), time(), lost(), Outcome::Output { bytes: 9 }] {
            assert_eq!(name(failed.clone(), Some(code(1))), "failed", "{failed:?}");
        }
        for unfit in [code(NOT_BUILT), empty(), none()] {
            assert_eq!(name(unfit.clone(), None), "could_not_run", "{unfit:?}");
        }
        assert!(lacks_names(&code(NOT_BUILT)) && !lacks_names(&code(1)) && !lacks_names(&Outcome::Passed));
    }
}
