//! What the Tab key offers: commands, sessions, paths of the project.
//!
//! Owns which word is completed with what. Must not know the line editor or the file system: directories are listed
//! by an argument, and names that a terminal would not show as they are, are not offered.

use super::line::{Argument, COMMANDS, named};
use crate::render::escape;

/// What there is to complete with.
#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    /// Sessions, newest first.
    pub(super) sessions: Vec<String>,
    /// Verbs of `ftlctl`.
    pub(super) verbs: Vec<String>,
}

/// Where the word begins that is completed, and what it could be. `list` gives a directory's names beneath the
/// project, each with whether it is a directory.
pub(super) fn candidates(
    line: &str,
    known: &Known,
    list: impl Fn(&str) -> Vec<(String, bool)>,
) -> (usize, Vec<String>) {
    let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = &line[start..];
    if line.trim_start().starts_with('/') && line[..start].trim().is_empty() {
        return (start, commands(word, known));
    }
    let command = line.trim_start().strip_prefix('/').and_then(|rest| rest.split_whitespace().next());
    let takes_session = command.and_then(named).is_some_and(|command| command.argument == Argument::Sessions);
    let is_first = line.split_whitespace().count() <= 1 + usize::from(!word.is_empty());
    if takes_session {
        let sessions = known.sessions.iter().filter(|session| is_first && session.starts_with(word));
        return (start, sessions.cloned().collect());
    }
    (start, paths(word, list))
}

fn commands(word: &str, known: &Known) -> Vec<String> {
    let typed = word.trim_start_matches('/');
    let own = COMMANDS.iter().flat_map(|command| command.names.iter().copied());
    let verbs = known.verbs.iter().map(String::as_str).filter(|verb| named(verb).is_none());
    let all = own.chain(verbs).filter(|name| name.starts_with(typed));
    let mut all: Vec<String> = all.map(|name| format!("/{name} ")).collect();
    all.sort_unstable();
    all
}

fn paths(word: &str, list: impl Fn(&str) -> Vec<(String, bool)>) -> Vec<String> {
    let (dir, name) = word.rfind('/').map_or(("", word), |at| word.split_at(at + 1));
    // Beneath the project only.
    if word.starts_with('/') || dir.split('/').any(|part| part == "..") || word.is_empty() {
        return Vec::new();
    }
    let is_shown = |found: &str| {
        found.starts_with(name) && (name.starts_with('.') || !found.starts_with('.')) && is_plain(found)
    };
    let found = list(dir).into_iter().filter(|(found, _)| is_shown(found));
    let mut found: Vec<String> =
        found.map(|(found, is_dir)| format!("{dir}{found}{}", if is_dir { "/" } else { " " })).collect();
    found.sort_unstable();
    found
}

/// Whether a name is seen as what it is, and is one word.
fn is_plain(name: &str) -> bool {
    escape::name(name) == name && !name.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> (usize, Vec<String>) {
        let known = Known {
            sessions: vec!["s-bbb".into(), "s-bcd".into()],
            verbs: vec!["diff".into(), "doctor".into()],
        };
        candidates(line, &known, |dir| match dir {
            "" => vec![("src".into(), true), (".git".into(), true), ("se\x1b[2J".into(), false)],
            "src/" => vec![("main.rs".into(), false), ("a b".into(), false)],
            _ => Vec::new(),
        })
    }

    #[test]
    fn commands_sessions_and_paths_are_offered_where_they_fit() {
        let table: [(&str, usize, &[&str]); 12] = [
            ("/di", 0, &["/diff "]),
            ("/do", 0, &["/doctor ", "/done "]),
            ("/zz", 0, &[]),
            ("/use ", 5, &["s-bbb", "s-bcd"]),
            ("/use s-bc", 5, &["s-bcd"]),
            ("/use s-bcd s-b", 11, &[]),
            ("fix s", 4, &["src/"]),
            ("fix src/m", 4, &["src/main.rs "]),
            ("fix .g", 4, &[".git/"]),
            ("fix ../s", 4, &[]),
            ("fix ", 4, &[]),
            ("/diff --path src/", 13, &["src/main.rs "]),
        ];
        for (line, start, expected) in table {
            let (found, names) = offered(line);
            assert_eq!((found, names), (start, expected.iter().map(ToString::to_string).collect()), "{line}");
        }
    }
}
