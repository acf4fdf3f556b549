//! What can be answered to a question of the plain review.
//!
//! Owns the letters, which are those of `git add -p` and of the screen, and the help that lists them. Must not know
//! what an answer does.

use std::ops::Range;

/// What the letters mean.
pub(super) const HELP: &str = "\
Choose:
y - accept this hunk
n - leave it out
a - accept it and all further ones of the file
d - leave it and all further ones of the file out
l 2-4 - accept lines 2 to 4 of those shown, and ask about the others
s - split it
e - edit it in $EDITOR
u - take the last choice back
* - accept everything but what must be named
Move, and decide nothing:
j - to the next hunk
k - to the hunk before
] - to the next file
[ - to the file before
g 3 - to file 3
/words - to the next hunk that has these words
See:
f - findings, and accept one with a reason
c - conflicts with your own edits, and decide them
b - blame: turns, tool calls and hosts behind the hunk
L - hosts and credentials that the session used
i - inquire: ask a model about the hunk
Decide:
t - run the project's tests on what was accepted; Ctrl-C ends them
r - load the diff anew; choices that fit stay
R - reject the session, with a reason
q - ask no more; what was accepted can be approved then
? - this help
An empty answer accepts nothing: the question is put again.";

/// What was answered about a hunk or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// It and what follows in the file.
    All,
    /// The same, left out.
    None,
    /// Some of the lines that are shown, from 0.
    Lines(Range<usize>),
    Split,
    Edit,
    Undo,
    Everything,
    Next,
    Back,
    NextFile,
    FileBefore,
    /// A file, from 0.
    File(usize),
    Search(String),
    Findings,
    Conflicts,
    Origins,
    Ledger,
    Inquire,
    Test,
    Reload,
    Reject,
    Quit,
    Help,
}

/// What was meant; an empty line is nothing.
pub(super) fn answer(typed: &str) -> Option<Answer> {
    let typed = typed.strip_suffix('\n').unwrap_or(typed);
    if let Some(words) = typed.trim_start().strip_prefix('/') {
        return (!words.is_empty()).then(|| Answer::Search(words.to_owned()));
    }
    let typed = typed.trim();
    if let Some(number) = typed.strip_prefix("g ") {
        return number.trim().parse::<usize>().ok()?.checked_sub(1).map(Answer::File);
    }
    if let Some(lines) = typed.strip_prefix("l ") {
        let (first, last) = lines.split_once('-').unwrap_or((lines, lines));
        let [first, last] = [first, last].map(|number| number.trim().parse::<usize>().ok());
        let (first, last) = (first?.checked_sub(1)?, last?);
        return (first < last).then_some(Answer::Lines(first..last));
    }
    Some(match typed {
        "y" => Answer::Yes,
        "n" => Answer::No,
        "a" => Answer::All,
        "d" => Answer::None,
        "s" => Answer::Split,
        "e" => Answer::Edit,
        "u" => Answer::Undo,
        "*" => Answer::Everything,
        "j" => Answer::Next,
        "k" => Answer::Back,
        "]" => Answer::NextFile,
        "[" => Answer::FileBefore,
        "f" => Answer::Findings,
        "c" => Answer::Conflicts,
        "b" => Answer::Origins,
        "L" => Answer::Ledger,
        "i" => Answer::Inquire,
        "t" => Answer::Test,
        "r" => Answer::Reload,
        "R" => Answer::Reject,
        "q" => Answer::Quit,
        "?" => Answer::Help,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::keys::{Action, GROUPS};

    #[test]
    fn only_a_clear_answer_is_one() {
        let table = [
            ("y\n", Some(Answer::Yes)),
            (" n \n", Some(Answer::No)),
            ("?\n", Some(Answer::Help)),
            ("\n", None),
            ("yes\n", None),
            ("Y\n", None),
            ("y\ny\n", None),
            ("g 3\n", Some(Answer::File(2))),
            ("g 0\n", None),
            ("g\n", None),
            ("l 2-4\n", Some(Answer::Lines(1..4))),
            ("l 2\n", Some(Answer::Lines(1..2))),
            ("l 4-2\n", None),
            ("l 0-2\n", None),
            ("/two words \n", Some(Answer::Search("two words ".to_owned()))),
            ("/\n", None),
        ];
        for (typed, expected) in table {
            assert_eq!(answer(typed), expected, "{typed:?}");
        }
    }

    #[test]
    fn everything_that_the_screen_does_can_be_answered() {
        for binding in GROUPS.iter().flat_map(|group| group.bindings) {
            use Action as A;
            let typed = match binding.action {
                A::Down | A::Next | A::HalfDown | A::PageDown | A::Open => "j",
                A::Up | A::Previous | A::HalfUp | A::PageUp => "k",
                A::NextFile => "]",
                A::PreviousFile | A::SwitchPane => "[",
                A::First => "g 1",
                A::Last => "g 99",
                A::Search => "/x",
                A::Toggle | A::Accept => "y",
                A::AcceptFile => "a",
                A::Leave => "n",
                A::LeaveFile => "d",
                A::AcceptAll => "*",
                A::Split => "s",
                A::Edit => "e",
                A::Lines => "l 1-2",
                A::Undo => "u",
                A::Findings => "f",
                A::Conflicts => "c",
                A::Ledger => "L",
                A::Origins => "b",
                A::Test => "t",
                A::AskModel => "i",
                A::RejectSession => "R",
                A::Approve | A::Quit | A::Command => "q",
                A::Reload => "r",
                A::Help => "?",
                // How something is drawn, where nothing is; and what the terminal's own keys do.
                A::SideBySide | A::Spaces | A::Wrap | A::Fold | A::FoldAll | A::Left | A::Right => continue,
                A::LineStart | A::Cancel | A::Interrupt | A::Suspend => continue,
            };
            assert!(answer(typed).is_some(), "{typed}");
            let letter = typed.split([' ', 'x']).next().unwrap();
            let is_listed = |line: &str| line.starts_with(letter) && line.contains(" - ");
            assert!(HELP.lines().any(is_listed), "{letter} is not in the help");
        }
    }
}
