//! A disk without space: how an error tells of it, and what a person can do.
//!
//! Owns the words. Must not know what was written, or where an error is shown.

use std::error::Error;

use super::driver::told;

/// What helps. A database that could not write takes nothing more until it is opened again.
pub const ADVICE: &str = "see that the disk has space, the one of FTL_HOME (~/.ftl) and the project's; then end the \
                          daemon with `ftlctl daemon stop`: the next command starts it again";

/// What the system calls it, also where an error keeps nothing of it but its text.
const WORDS: [&str; 4] =
    ["No space left on device", "no space left on device", "Disk quota exceeded", "(os error 28)"];

/// Whether something could not be written because a disk is full.
#[must_use]
pub fn is_cause_of(error: &dyn Error) -> bool {
    let told = told(error);
    WORDS.iter().any(|words| told.contains(words))
}

/// An error and its causes in one line, with what helps when that is known.
pub(super) fn advised(error: &dyn Error) -> String {
    let told = told(error);
    if is_cause_of(error) { format!("{told}; {ADVICE}") } else { told }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::session;

    #[test]
    fn a_full_disk_is_recognised_wherever_it_stands_among_the_causes() {
        let of =
            |errno| session::Error::Write { path: "/x".into(), source: io::Error::from_raw_os_error(errno) };
        assert!(is_cause_of(&of(28)) && advised(&of(28)).contains("has space"));
        assert!(!is_cause_of(&of(13)) && !advised(&of(13)).contains("space"));
        let text = io::Error::other("IO error: No space left on device (os error 28)");
        assert!(is_cause_of(&text));
    }
}
