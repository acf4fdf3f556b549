//! What a line of the interactive shell means.
//!
//! Owns the commands, their names and help, and when a line is a task. A word without a slash is a command only when
//! it stands alone and is one that nobody would give an agent as a task. Must not know sessions or what a command
//! does.

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing.
    Nothing,
    /// A task, or what to do next in the session.
    Task {
        /// What to do.
        text: String,
        /// Whether it runs beside the prompt.
        beside: bool,
    },
    /// A command and what stands behind it.
    Command(Word, String),
    /// A verb of `ftlctl` and what stands behind it.
    Verb(String, String),
    /// A word that begins with a slash and is no command.
    Unknown {
        /// The word, as typed.
        word: String,
        /// A command that it nearly is.
        meant: Option<&'static str>,
    },
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Diff,
    Test,
    Review,
    Reject,
    Undo,
    List,
    Use,
    New,
    Watch,
    Stop,
    Rewind,
    Restore,
    Ask,
    Opinion,
    Answer,
    Cost,
    Task,
    Help,
    Quit,
}

/// What completes a command's argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    /// Nothing, or a path.
    Paths,
    /// A session.
    Sessions,
}

/// A command, its names and its help.
pub(super) struct Command {
    /// Which.
    pub(super) word: Word,
    /// Its names without the slash; the first is the usual one.
    pub(super) names: &'static [&'static str],
    /// Whether each of its names alone on a line means it, too.
    pub(super) alone: bool,
    /// What it takes.
    pub(super) takes: &'static str,
    /// What it does.
    pub(super) help: &'static str,
    /// What completes its argument.
    pub(super) argument: Argument,
}

const fn command(
    word: Word,
    names: &'static [&'static str],
    alone: bool,
    takes: &'static str,
    help: &'static str,
) -> Command {
    let argument = match word {
        Word::Use | Word::Watch | Word::Stop | Word::Answer => Argument::Sessions,
        _ => Argument::Paths,
    };
    Command { word, names, alone, takes, help, argument }
}

/// Every command, in the order of the help.
pub(super) const COMMANDS: [Command; 19] = [
    command(Word::Diff, &["diff"], true, "[--stat]", "what the session would change"),
    command(Word::Test, &["test"], true, "[--path P]", "run the project's checks on it"),
    command(Word::Review, &["merge", "review", "done"], true, "", "choose, approve or reject, on a screen"),
    command(Word::Reject, &["reject"], true, "[WHY]", "say no; the work is kept for a while"),
    command(Word::Undo, &["undo"], false, "", "take back what was applied"),
    command(Word::Ask, &["ask"], false, "QUESTION", "ask a model about the changes"),
    command(Word::Opinion, &["opinion"], false, "", "have another model review them"),
    command(Word::Cost, &["cost"], false, "", "tokens and cost of the session so far"),
    command(Word::Rewind, &["rewind"], false, "[TURNS]", "take the session's work back by a turn or more"),
    command(Word::Restore, &["restore"], false, "[STATE]", "list the project's snapshots, or go back to one"),
    command(Word::List, &["list", "sessions"], true, "[all]", "the sessions of this project, or of all"),
    command(Word::Use, &["use"], false, "SESSION", "go on in this session"),
    command(Word::New, &["new"], false, "[AGENT]", "the next line begins a session of its own"),
    command(Word::Watch, &["watch", "fg"], false, "[SESSION]", "watch a session that runs beside"),
    command(Word::Stop, &["stop"], false, "[SESSION]", "stop its agent; the work is kept"),
    command(
        Word::Answer,
        &["answer"],
        false,
        "SESSION N once|session|always|no",
        "answer a request that waits",
    ),
    command(Word::Task, &["task"], false, "TEXT", "a task, whatever its first word is"),
    command(Word::Help, &["help", "?"], true, "", "this"),
    command(Word::Quit, &["quit", "exit"], true, "", "leave; what runs goes on"),
];

/// What a line means. `verbs` are those of `ftlctl`.
pub(super) fn parse(line: &str, verbs: &[String]) -> Line {
    // A backslash at the end of a row only says that the line goes on.
    let line = line.replace("\\\n", "\n");
    let line = line.trim();
    if line.is_empty() {
        return Line::Nothing;
    }
    if let Some(command) = COMMANDS.iter().find(|command| command.alone && command.names.contains(&line)) {
        return Line::Command(command.word, String::new());
    }
    let Some(rest) = line.strip_prefix('/') else { return task(line) };
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim().to_owned();
    if let Some(command) = named(word) {
        return Line::Command(command.word, rest);
    }
    if verbs.iter().any(|verb| verb == word) {
        return Line::Verb(word.to_owned(), rest);
    }
    // `/etc/hosts should …` is a task.
    if word.is_empty() || word.contains(['/', '.']) {
        return task(line);
    }
    let names = COMMANDS.iter().flat_map(|command| command.names.iter().copied());
    let meant = names.filter(|name| strsim::jaro_winkler(name, word) > 0.8);
    let meant = meant
        .max_by(|one, other| strsim::jaro_winkler(one, word).total_cmp(&strsim::jaro_winkler(other, word)));
    Line::Unknown { word: word.to_owned(), meant }
}

/// The command of this name, without the slash.
pub(super) fn named(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.names.contains(&name))
}

fn task(line: &str) -> Line {
    match line.strip_suffix('&').map(str::trim_end) {
        Some(text) if !text.is_empty() && !text.ends_with('&') => {
            Line::Task { text: text.to_owned(), beside: true }
        }
        _ => Line::Task { text: line.to_owned(), beside: false },
    }
}

/// A command's arguments, as a shell splits them; nothing when a quote is not closed.
pub(super) fn words(rest: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = rest.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(open), char) if char == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, char) if char.is_whitespace() => words.extend(word.take()),
            (_, char) => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(line: &str) -> Line {
        parse(line, &["doctor".to_owned(), "policy".to_owned()])
    }

    fn text(text: &str, beside: bool) -> Line {
        Line::Task { text: text.to_owned(), beside }
    }

    #[test]
    fn a_line_is_a_task_unless_it_is_surely_a_command() {
        let table = [
            ("", Line::Nothing),
            ("  \t ", Line::Nothing),
            ("fix the test", text("fix the test", false)),
            ("fix the test &", text("fix the test", true)),
            ("&", text("&", false)),
            ("a &&", text("a &&", false)),
            ("diff", Line::Command(Word::Diff, String::new())),
            (" merge ", Line::Command(Word::Review, String::new())),
            ("done", Line::Command(Word::Review, String::new())),
            ("exit", Line::Command(Word::Quit, String::new())),
            ("diff the two files", text("diff the two files", false)),
            ("reject empty names", text("reject empty names", false)),
            ("undo", text("undo", false)),
            ("Diff", text("Diff", false)),
            ("/diff --stat", Line::Command(Word::Diff, "--stat".into())),
            ("/use  s-1 ", Line::Command(Word::Use, "s-1".into())),
            ("/task diff", Line::Command(Word::Task, "diff".into())),
            ("/policy show", Line::Verb("policy".into(), "show".into())),
            ("/etc/hosts is wrong", text("/etc/hosts is wrong", false)),
            ("/.env is missing", text("/.env is missing", false)),
            ("/ means root", text("/ means root", false)),
            ("one\\\ntwo", text("one\ntwo", false)),
        ];
        for (line, expected) in table {
            assert_eq!(meaning(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_command_that_is_none_runs_nothing() {
        for (line, meant) in [("/dif", Some("diff")), ("/rejct x", Some("reject")), ("/zzz", None)] {
            let Line::Unknown { word, meant: found } = meaning(line) else { panic!("{line}") };
            assert_eq!((found, format!("/{word}").as_str()), (meant, line.split(' ').next().unwrap()));
        }
    }

    #[test]
    fn no_name_means_two_commands() {
        let mut names: Vec<_> = COMMANDS.iter().flat_map(|command| command.names).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn arguments_are_split_as_a_shell_does() {
        let split = |rest: &str| words(rest).map(|words| words.join("|"));
        let table = [
            ("", Some("")),
            ("a  b", Some("a|b")),
            ("'a b' c", Some("a b|c")),
            (r#""a \" b" c\ d"#, Some(r#"a " b|c d"#)),
            (r"'a\b'", Some(r"a\b")),
            ("x''y ''", Some("xy|")),
            ("'a", None),
            ("a\\", None),
        ];
        for (rest, expected) in table {
            assert_eq!(split(rest).as_deref(), expected, "{rest:?}");
        }
    }
}
