//! The keys and what they mean: one table for those who press them and for the help that lists them.
//!
//! Owns which key means what. Must not know what an action does. No key that a hand hits by habit approves.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A line down.
    Down,
    /// A line up.
    Up,
    /// Half a page down.
    HalfDown,
    /// Half a page up.
    HalfUp,
    /// A page down.
    PageDown,
    /// A page up.
    PageUp,
    /// To the top.
    First,
    /// To the end.
    Last,
    /// Half a screen to the left.
    Left,
    /// Half a screen to the right.
    Right,
    /// To the first column.
    LineStart,
    /// To the next hunk or match.
    Next,
    /// To the hunk or match before.
    Previous,
    /// To the next file.
    NextFile,
    /// To the file before.
    PreviousFile,
    /// To the other pane.
    SwitchPane,
    /// From a file to its diff.
    Open,
    /// Ask what to look for.
    Search,
    /// End a search or a selection of lines.
    Cancel,
    /// Choose, or choose no more.
    Toggle,
    /// Accept a hunk, or lines.
    Accept,
    /// Accept a file.
    AcceptFile,
    /// Leave a hunk out, or lines.
    Leave,
    /// Leave a file out.
    LeaveFile,
    /// Accept everything that needs no naming.
    AcceptAll,
    /// Split a hunk.
    Split,
    /// Edit a hunk.
    Edit,
    /// Begin or end a selection of lines.
    Lines,
    /// Take the last choice back.
    Undo,
    /// Two columns, or one.
    SideBySide,
    /// Mark every space, or only those at the end.
    Spaces,
    /// Wrap long lines, or cut them.
    Wrap,
    /// Fold or unfold a hunk or a directory.
    Fold,
    /// Fold or unfold a file's hunks.
    FoldAll,
    /// Show the findings.
    Findings,
    /// Show the conflicts.
    Conflicts,
    /// Show what left the sandbox.
    Ledger,
    /// Show where a hunk comes from.
    Origins,
    /// Reject the session.
    RejectSession,
    /// Go to the approval.
    Approve,
    /// Ask for a command.
    Command,
    /// Load the diff anew.
    Reload,
    /// Show the keys.
    Help,
    /// Leave, with a question where something is lost.
    Quit,
    /// Leave at once.
    Interrupt,
    /// Stop the process.
    Suspend,
}

/// Keys that mean the same.
pub(crate) struct Binding {
    /// As [`spell`] writes them.
    pub(crate) keys: &'static [&'static str],
    /// What they mean.
    pub(crate) action: Action,
    /// In the help; nothing for keys that need no word there.
    pub(crate) words: &'static str,
}

/// A group of the help.
pub(crate) struct Group {
    /// Its heading.
    pub(crate) heading: &'static str,
    /// Its keys.
    pub(crate) bindings: &'static [Binding],
}

const fn key(keys: &'static [&'static str], action: Action, words: &'static str) -> Binding {
    Binding { keys, action, words }
}

/// Every key of the review.
pub(crate) const GROUPS: [Group; 4] = [
    Group {
        heading: "Move",
        bindings: &[
            key(&["j", "Down"], Action::Down, "line down"),
            key(&["k", "Up"], Action::Up, "line up"),
            key(&["Ctrl-d"], Action::HalfDown, "half a page down"),
            key(&["Ctrl-u"], Action::HalfUp, "half a page up"),
            key(&["PgDn", "Ctrl-f"], Action::PageDown, "page down"),
            key(&["PgUp", "Ctrl-b"], Action::PageUp, "page up"),
            key(&["g", "Home"], Action::First, "to the top"),
            key(&["G", "End"], Action::Last, "to the end"),
            key(&["n"], Action::Next, "next hunk, or match of a search"),
            key(&["p", "N"], Action::Previous, "previous hunk, or match"),
            key(&["]"], Action::NextFile, "next file"),
            key(&["["], Action::PreviousFile, "previous file"),
            key(&["l", "Right"], Action::Right, "to the right"),
            key(&["h", "Left"], Action::Left, "to the left"),
            key(&["0"], Action::LineStart, "to the line's beginning"),
            key(&["Tab"], Action::SwitchPane, "files or diff"),
            key(&["Enter"], Action::Open, "from a file to its diff"),
            key(&["/"], Action::Search, "search"),
            key(&["?"], Action::Help, "this help"),
            key(&["Esc"], Action::Cancel, "end search or selection of lines"),
        ],
    },
    Group {
        heading: "Choose",
        bindings: &[
            key(&["Space"], Action::Toggle, "choose hunk, file or directory, or not"),
            key(&["a"], Action::Accept, "accept hunk"),
            key(&["A"], Action::AcceptFile, "accept file"),
            key(&["d"], Action::Leave, "leave hunk out"),
            key(&["D"], Action::LeaveFile, "leave file out"),
            key(&["*"], Action::AcceptAll, "accept everything but what must be named"),
            key(&["s"], Action::Split, "split hunk"),
            key(&["e"], Action::Edit, "edit hunk in $EDITOR"),
            key(&["v"], Action::Lines, "select lines, then Space, a or d"),
            key(&["u"], Action::Undo, "take the last choice back"),
        ],
    },
    Group {
        heading: "See",
        bindings: &[
            key(&["="], Action::SideBySide, "side by side, or under one another"),
            key(&["w"], Action::Spaces, "mark every space"),
            key(&["W"], Action::Wrap, "wrap long lines"),
            key(&["z"], Action::Fold, "fold hunk or directory"),
            key(&["Z"], Action::FoldAll, "fold all hunks of the file"),
            key(&["f"], Action::Findings, "findings, and accept one with a reason"),
            key(&["c"], Action::Conflicts, "conflicts: o ours, t theirs, b both, e edit"),
            key(&["b"], Action::Origins, "blame: turns, tool calls and hosts behind the hunk"),
            key(&["L"], Action::Ledger, "hosts and credentials that the session used"),
        ],
    },
    Group {
        heading: "Decide",
        bindings: &[
            key(&["y"], Action::Approve, "go to the approval of what is chosen"),
            key(&["R"], Action::RejectSession, "reject the session, with a reason"),
            key(&["r"], Action::Reload, "load the diff anew; choices that fit stay"),
            key(&[":"], Action::Command, "command: approve, reject, reload, help, quit"),
            key(&["q"], Action::Quit, "leave; the work stays for later"),
            key(&["Ctrl-c"], Action::Interrupt, "leave at once"),
            key(&["Ctrl-z"], Action::Suspend, "suspend"),
        ],
    },
];

/// What a key means in the review.
pub(crate) fn action(key: &KeyEvent) -> Option<Action> {
    let spelt = spell(key)?;
    let mut bindings = GROUPS.iter().flat_map(|group| group.bindings);
    bindings.find(|binding| binding.keys.contains(&spelt.as_str())).map(|binding| binding.action)
}

/// A key's name; nothing for those that nobody presses alone.
pub(crate) fn spell(key: &KeyEvent) -> Option<String> {
    let name = match key.code {
        KeyCode::Char(' ') => "Space".to_owned(),
        KeyCode::Char(char) => char.to_string(),
        KeyCode::Enter => "Enter".to_owned(),
        KeyCode::Esc => "Esc".to_owned(),
        KeyCode::Tab => "Tab".to_owned(),
        KeyCode::Backspace => "Backspace".to_owned(),
        KeyCode::Up => "Up".to_owned(),
        KeyCode::Down => "Down".to_owned(),
        KeyCode::Left => "Left".to_owned(),
        KeyCode::Right => "Right".to_owned(),
        KeyCode::Home => "Home".to_owned(),
        KeyCode::End => "End".to_owned(),
        KeyCode::PageUp => "PgUp".to_owned(),
        KeyCode::PageDown => "PgDn".to_owned(),
        _ => return None,
    };
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return Some(format!("Ctrl-{}", name.to_lowercase()));
    }
    // Alt with a letter is another key than the letter.
    (!key.modifiers.contains(KeyModifiers::ALT)).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_means_two_things_and_every_one_is_explained() {
        let mut seen = HashSet::new();
        for binding in GROUPS.iter().flat_map(|group| group.bindings) {
            assert!(!binding.words.is_empty() && !binding.keys.is_empty());
            for key in binding.keys {
                assert!(seen.insert(*key), "{key}");
            }
        }
    }

    #[test]
    fn keys_are_spelt_as_people_call_them() {
        let key = |code, modifiers| spell(&KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('A'), KeyModifiers::SHIFT).as_deref(), Some("A"));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL).as_deref(), Some("Ctrl-c"));
        assert_eq!(key(KeyCode::Char('y'), KeyModifiers::ALT), None);
        assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), None);
    }

    #[test]
    fn enter_and_space_do_not_lead_to_an_approval() {
        for code in [KeyCode::Enter, KeyCode::Char(' '), KeyCode::Tab] {
            let action = action(&KeyEvent::new(code, KeyModifiers::NONE));
            assert_ne!(action, Some(Action::Approve));
        }
    }
}
