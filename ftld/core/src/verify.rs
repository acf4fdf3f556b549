//! Whether work may be called ready: what a check's runs mean.
//!
//! Owns the verdict over a check from its run with the selected changes and its run without them, and the
//! gate's word over all verdicts. Must not know how a check is run, where its output goes, or which sandbox it
//! ran in. Whatever could not be tried is never called ready.

pub mod guess;
pub mod packages;
pub mod tally;

use std::collections::BTreeMap;

use self::guess::{Files, guess};
use self::tally::{Counted, Tally};

/// A command of the project that says whether the project is sound.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Check {
    /// Its name, for people and for the options of a client.
    pub name: String,
    /// The command, for a shell.
    pub command: String,
    /// Who says that this is the command.
    pub source: Source,
}

/// Who says what a check's command is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// The configuration of the human, or one of the project that the human trusts.
    Configured,
    /// Nobody: it was guessed.
    Guessed {
        /// The file of the project that it was guessed from.
        file: &'static str,
        /// Whether the project has that file only with the changes that are to be tried.
        is_new: bool,
    },
    /// A model: it is a file of tests that was written for the task.
    Generated {
        /// What it checks, in the model's words.
        covers: String,
    },
}

/// What a run may use up. Memory, processes and disk are the sandbox's own limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Seconds.
    pub seconds: u64,
    /// Bytes that it may print.
    pub output_bytes: u64,
}

/// How a run of a check ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// By itself, with status 0.
    Passed,
    /// By itself, and nothing that it is for took place.
    Empty {
        /// What the test runner says, a part of a sentence.
        why: &'static str,
    },
    /// By itself, with another status.
    Code(i32),
    /// By a signal that FTL did not send.
    Signal(i32),
    /// It was ended, because it took too long.
    Time {
        /// What it may take.
        seconds: u64,
    },
    /// It was ended, because it printed too much.
    Output {
        /// What it may print.
        bytes: u64,
    },
    /// The sandbox ended under it.
    Lost {
        /// Why, as far as is known.
        why: String,
    },
    /// It could not be started.
    NotStarted {
        /// Why not.
        why: String,
    },
}

/// What a check says about the selected changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It ran and passed.
    Passed,
    /// It ran and did not pass.
    Failed {
        /// How it ended.
        why: String,
        /// Since when.
        since: Since,
    },
    /// It could not be tried.
    CouldNotRun {
        /// Why not.
        why: String,
    },
    /// It ended well, and nothing was tried by it.
    NothingRan {
        /// What its test runner says.
        why: String,
    },
}

/// Since when a check fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Since {
    /// It passes without the selected changes.
    Regression,
    /// It fails without them too.
    Before {
        /// How it ends without them.
        why: String,
    },
    /// That cannot be told.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// The gate's word over all checks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// Whether something ran, and all of it passed.
    pub ready: bool,
    /// Why, in one sentence without a full stop.
    pub why: String,
}

/// The name of a check that was guessed.
pub const GUESSED: &str = "test";

/// What is tried: the configured checks, or else what can be guessed from the project. The project as it is
/// without the changes goes first, so that who made the changes does not choose the command while the project
/// has one.
#[must_use]
pub fn plan(configured: &BTreeMap<String, String>, before: &dyn Files, after: &dyn Files) -> Vec<Check> {
    if !configured.is_empty() {
        let check = |(name, command): (&String, &String)| Check {
            name: name.clone(),
            command: command.clone(),
            source: Source::Configured,
        };
        return configured.iter().map(check).collect();
    }
    let guessed = |files, is_new| guess(files).map(|guess| (guess, is_new));
    let found = guessed(before, false).or_else(|| guessed(after, true));
    let check = |(guess, is_new): (guess::Guess, bool)| Check {
        name: GUESSED.to_owned(),
        command: guess.command,
        source: Source::Guessed { file: guess.file, is_new },
    };
    found.map(check).into_iter().collect()
}

/// What a check says, from its run with the selected changes and, where that [failed](Outcome::has_failed), the
/// one without them.
#[must_use]
pub fn judge(after: &Outcome, before: Option<&Outcome>) -> Verdict {
    match after {
        Outcome::Passed => Verdict::Passed,
        Outcome::Empty { why } => Verdict::NothingRan { why: (*why).to_owned() },
        Outcome::NotStarted { why } => Verdict::CouldNotRun { why: why.clone() },
        failed => Verdict::Failed { why: failed.told(), since: since(before) },
    }
}

fn since(before: Option<&Outcome>) -> Since {
    match before {
        None => Since::Unknown { why: "it was not tried without the selected changes".to_owned() },
        Some(Outcome::Passed) => Since::Regression,
        Some(failed) if failed.has_failed() => Since::Before { why: failed.told() },
        Some(other) => Since::Unknown { why: format!("without the selected changes {}", other.told()) },
    }
}

/// The gate's word. Ready is only what ran and passed.
#[must_use]
pub fn word<'a>(verdicts: impl IntoIterator<Item = (&'a str, &'a Verdict)>) -> Word {
    let (mut passed, mut held) = (0_usize, Vec::new());
    for (name, verdict) in verdicts {
        match verdict {
            Verdict::Passed => passed += 1,
            Verdict::Failed { since: Since::Regression, .. } => {
                held.push(format!("{name} fails because of the selected changes"));
            }
            Verdict::Failed { since: Since::Before { .. }, .. } => {
                held.push(format!("{name} fails, and did before"));
            }
            Verdict::Failed { .. } => held.push(format!("{name} fails")),
            Verdict::CouldNotRun { .. } => held.push(format!("{name} could not run")),
            Verdict::NothingRan { .. } => held.push(format!("nothing ran in {name}")),
        }
    }
    match (passed, held.is_empty()) {
        (0, true) => Word { ready: false, why: "nothing ran: no check is known".to_owned() },
        (1, true) => Word { ready: true, why: "the check passed".to_owned() },
        (count, true) => Word { ready: true, why: format!("all {count} checks passed") },
        (_, false) => Word { ready: false, why: held.join("; ") },
    }
}

// === impl Outcome ===

/// The statuses with which a shell says that it found no program, or may not run it.
const SHELL: [(i32, &str); 2] = [
    (126, "a program of it may not be run (status 126)"),
    (127, "a program of it is not in the sandbox (status 127)"),
];

impl Outcome {
    /// What an exit status means, beside what was printed.
    #[must_use]
    pub fn of_exit(status: i32, tally: &Tally) -> Self {
        match (status, tally.counted()) {
            (_, Counted::Missing(why)) if status != 0 => Self::NotStarted { why: why.to_owned() },
            (_, Counted::Nothing(why)) => Self::Empty { why },
            (0, _) => Self::Passed,
            (code, Counted::Something) => Self::Code(code),
            (code, _) => match SHELL.iter().find(|(known, _)| *known == code) {
                Some((_, why)) => Self::NotStarted { why: (*why).to_owned() },
                None => Self::Code(code),
            },
        }
    }

    /// Whether it ran and did not pass; then it is worth knowing how it ends without the changes.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(
            self,
            Self::Code(_) | Self::Signal(_) | Self::Time { .. } | Self::Output { .. } | Self::Lost { .. }
        )
    }

    /// Whether it ended by itself, with status 0.
    #[must_use]
    pub fn is_well(&self) -> bool {
        matches!(self, Self::Passed | Self::Empty { .. })
    }

    /// Whether it would be the same again: it ended by itself, at nobody's limit.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::Passed | Self::Empty { .. } | Self::Code(_))
    }

    /// It in words: what stands after "it".
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Passed => "it passed".to_owned(),
            Self::Empty { why } => format!("nothing ran: {why}"),
            Self::Code(code) => format!("it ended with status {code}"),
            Self::Signal(9) => "it was killed (signal 9), perhaps because memory ran out".to_owned(),
            Self::Signal(signal) => format!("it was ended by signal {signal}"),
            Self::Time { seconds } => format!("it did not end within {seconds} seconds"),
            Self::Output { bytes } => format!("it printed more than {} MiB", bytes >> 20),
            Self::Lost { why } => format!("the sandbox ended under it: {why}"),
            Self::NotStarted { why } => format!("it could not run: {why}"),
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// Its name in the API and in events.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed { .. } => "failed",
            Self::CouldNotRun { .. } => "could_not_run",
            Self::NothingRan { .. } => "nothing_ran",
        }
    }

    /// Why, in one sentence without a full stop; empty when it passed.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Failed { why, .. } | Self::CouldNotRun { why } | Self::NothingRan { why } => why,
        }
    }

    /// Since when it fails.
    #[must_use]
    pub fn since(&self) -> Option<&Since> {
        match self {
            Self::Failed { since, .. } => Some(since),
            _ => None,
        }
    }
}

impl Since {
    /// Its name in the API and in events.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::Before { .. } => "before",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// What is to be added to the name; empty when nothing is.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Regression => "",
            Self::Before { why } | Self::Unknown { why } => why,
        }
    }
}

#[cfg(test)]
mod tests;
