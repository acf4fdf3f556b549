//! Tells the human on their desktop that something waits for them.
//!
//! Owns when that is worth it, what it says, and by which way it goes: an escape sequence that the terminal makes
//! a notification of, or the desktop's own program. Must not know sessions: what is told are our own words and a
//! session's id, never anything that an agent wrote; and what an agent prints is escaped everywhere, so that it
//! can send no such sequence.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ftl_proto::v1;
use tokio::time::Instant;

use crate::connect::Client;
use crate::context::Context;
use crate::environment::Environment;
use crate::failure::Failure;

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Work, for its review.
    Review,
    /// A request, for an answer.
    Question,
    /// Nothing: the session has ended.
    Ended,
}

/// How the human is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// By the terminal.
    Escape(Dialect),
    /// By this program.
    Program(PathBuf),
}

/// Which sequence a terminal makes a notification of. Who knows none of them shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `OSC 9`: iTerm2, Windows Terminal, `WezTerm`, Ghostty.
    Nine,
    /// `OSC 777`: foot, rxvt-unicode, what is built on VTE.
    Seven,
    /// `OSC 99`: kitty.
    NinetyNine,
}

/// One watcher's memory of what it told.
pub(crate) struct Notifier {
    /// When the watching, or the turn, began.
    since: Instant,
    /// When the human was told last.
    told: Option<Instant>,
}

// === impl Notifier ===

impl Notifier {
    /// Begins to count.
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), told: None }
    }

    /// Tells the human, if whoever looks at a terminal has been waiting for long enough. What cannot be told is
    /// not: it stands on the terminal too.
    pub(crate) async fn tell(
        &mut self,
        context: &Context,
        client: &Client,
        session: &str,
        waits: Waits,
    ) -> Result<(), Failure> {
        // A second is shorter than what anybody can set, so the daemon is not asked for short work.
        let waited = self.since.elapsed();
        if !context.output.can_move() || waited < Duration::from_secs(1) {
            return Ok(());
        }
        let Ok(reply) = client.daemon().status(v1::StatusRequest {}).await else { return Ok(()) };
        let after = reply.into_inner().notify_after_s;
        if !is_due(after, waited, self.told.map(|told| told.elapsed())) {
            return Ok(());
        }
        self.told = Some(Instant::now());
        send(context, session, waits)
    }
}

/// Whether the human is told. Questions follow each other as quickly as an agent likes: notifications do not.
fn is_due(after_s: u64, waited: Duration, since_last: Option<Duration>) -> bool {
    let after = Duration::from_secs(after_s);
    after_s > 0 && waited >= after && since_last.is_none_or(|since| since >= after)
}

fn send(context: &Context, session: &str, waits: Waits) -> Result<(), Failure> {
    let environment = &context.environment;
    let (title, body) = words(session, waits);
    match way(environment, |path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()) {
        Way::Escape(dialect) => {
            context.output.unseen(&sequence(dialect, environment.desk.tmux, &title, body))
        }
        Way::Program(program) => {
            // Nobody waits for it: a desktop that does not answer must not hold anything up.
            let _started = tokio::process::Command::new(program)
                .args(["--app-name=FTL", "--", &title, body])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            Ok(())
        }
    }
}

/// Title and text. An id that is none is not told.
fn words(session: &str, waits: Waits) -> (String, &'static str) {
    let is_id =
        session.len() <= 40 && session.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let session = if is_id { session } else { "a session" };
    match waits {
        Waits::Review => (format!("FTL: {session} is done"), "Its work waits for your review."),
        Waits::Question => (format!("FTL: {session} asks you"), "A request waits for your answer."),
        Waits::Ended => (format!("FTL: {session} is done"), "There is nothing to review."),
    }
}

/// The way that surely shows one notification: a terminal that is known for it, else the desktop's program, else
/// the sequence that most others know.
fn way(environment: &Environment, is_program: impl Fn(&Path) -> bool) -> Way {
    let desk = &environment.desk;
    let term = environment.term.as_str();
    if desk.kitty || term == "xterm-kitty" {
        return Way::Escape(Dialect::NinetyNine);
    }
    if term.starts_with("foot") || term.starts_with("rxvt") {
        return Way::Escape(Dialect::Seven);
    }
    let nine = ["iTerm.app", "WezTerm", "ghostty"];
    if nine.contains(&desk.program.as_str()) || term == "xterm-ghostty" {
        return Way::Escape(Dialect::Nine);
    }
    let program =
        environment.search_path.iter().map(|dir| dir.join("notify-send")).find(|path| is_program(path));
    match program {
        Some(program) if desk.desktop && !desk.remote => Way::Program(program),
        _ if desk.vte => Way::Escape(Dialect::Seven),
        _ => Way::Escape(Dialect::Nine),
    }
}

/// The bytes for the terminal. Neither text holds a control character or a semicolon.
fn sequence(dialect: Dialect, in_tmux: bool, title: &str, body: &str) -> Vec<u8> {
    let sequence = match dialect {
        Dialect::Nine => format!("\x1b]9;{title}. {body}\x1b\\"),
        Dialect::Seven => format!("\x1b]777;notify;{title};{body}\x1b\\"),
        Dialect::NinetyNine => {
            format!(
                "\x1b]99;i=ftl:d=0:o=unfocused;{title}\x1b\\\x1b]99;i=ftl:p=body:o=unfocused;{body}\x1b\\"
            )
        }
    };
    if !in_tmux {
        return sequence.into_bytes();
    }
    // tmux hands it to the terminal where it is allowed to, and marks the window for the bell.
    format!("\x1bPtmux;{}\x1b\\\x07", sequence.replace('\x1b', "\x1b\x1b")).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variable = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        Environment::read(variable, PathBuf::from("/"))
    }

    #[test]
    fn the_way_is_one_that_the_desk_knows() {
        let program = || Way::Program("/bin/notify-send".into());
        let path = ("PATH", "/bin");
        let bus = ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x");
        let table: [(&[(&str, &str)], Way); 9] = [
            (&[("TERM", "xterm-kitty"), path, bus], Way::Escape(Dialect::NinetyNine)),
            (&[("TERM", "foot"), path, bus], Way::Escape(Dialect::Seven)),
            (&[("TERM_PROGRAM", "WezTerm")], Way::Escape(Dialect::Nine)),
            (&[("TERM", "xterm-256color"), path, bus], program()),
            (&[("VTE_VERSION", "7600"), path, ("WAYLAND_DISPLAY", "wayland-0")], program()),
            (&[("VTE_VERSION", "7600"), ("PATH", "/none"), bus], Way::Escape(Dialect::Seven)),
            (&[("TERM", "xterm"), path], Way::Escape(Dialect::Nine)),
            (&[("SSH_CONNECTION", "x"), ("DISPLAY", "localhost:10"), path], Way::Escape(Dialect::Nine)),
            (&[], Way::Escape(Dialect::Nine)),
        ];
        for (variables, expected) in table {
            let found = way(&environment(variables), |path| path == Path::new("/bin/notify-send"));
            assert_eq!(found, expected, "{variables:?}");
        }
    }

    #[test]
    fn a_notification_is_one_sequence_of_our_own_words() {
        let (title, body) = words("s-bcdfghjkmn", Waits::Review);
        assert_eq!(
            sequence(Dialect::Nine, false, &title, body),
            b"\x1b]9;FTL: s-bcdfghjkmn is done. Its work waits for your review.\x1b\\"
        );
        assert_eq!(
            sequence(Dialect::Seven, false, &title, body),
            b"\x1b]777;notify;FTL: s-bcdfghjkmn is done;Its work waits for your review.\x1b\\"
        );
        let tmux = sequence(Dialect::NinetyNine, true, &title, body);
        assert!(tmux.starts_with(b"\x1bPtmux;\x1b\x1b]99;") && tmux.ends_with(b"\x1b\x1b\\\x1b\\\x07"));
        let (title, _) = words("s-\x1b]0;x\x07", Waits::Question);
        assert_eq!(title, "FTL: a session asks you");
    }

    #[test]
    fn only_long_waits_are_told_and_not_one_after_another() {
        let seconds = Duration::from_secs;
        let table = [
            (30, 29, None, false),
            (30, 30, None, true),
            (30, 100, Some(29), false),
            (30, 100, Some(30), true),
            (0, 10_000, None, false),
        ];
        for (after, waited, last, expected) in table {
            assert_eq!(
                is_due(after, seconds(waited), last.map(seconds)),
                expected,
                "{after} {waited} {last:?}"
            );
        }
    }
}
