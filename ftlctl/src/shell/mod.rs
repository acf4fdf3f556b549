//! `ftlctl` alone: a prompt for tasks, follow-ups and what is done with their work.
//!
//! Owns the loop from a line to what it means, and which session the next line is for. Decides nothing: commands are
//! the verbs of the command line with the session filled in, and work is approved only on the review's own screen,
//! while nothing of any agent is printed.

use std::path::Path;

use clap::CommandFactory as _;
use ftl_proto::v1;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::Cli;
use crate::connect::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::escape;
use crate::render::style::Tone;

mod act;
mod beside;
mod complete;
mod editor;
mod history;
mod line;
mod turn;

use beside::{Beside, News};
use complete::Known;
use editor::{Prompt, Typed};
use history::History;
use line::Line;

/// Characters of a project's name in the prompt.
const NAME: usize = 24;

/// Characters of a task that are shown beside its session.
const TASK: usize = 22;

/// Sessions that are named in the beginning and at the end; the rest is counted.
const NAMED: usize = 5;

/// One interactive shell.
pub(crate) struct Shell<'a> {
    context: &'a Context,
    prompt: Prompt,
    history: History,
    /// The line that came into the history and is not known to the editor yet.
    kept: Option<String>,
    /// Ctrl-Z while a session is watched.
    suspends: Signal,
    beside: Beside,
    /// News that came while a session was watched.
    late: Vec<News>,
    /// The project's name, escaped.
    name: String,
    verbs: Vec<String>,
    /// The session that the next line is for.
    session: Option<String>,
    /// The agent of the next session; empty means the configured one.
    agent: String,
    /// Sessions that this shell has to do with.
    mine: Vec<String>,
}

/// What comes after a line.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Another one.
    Line,
    /// The end.
    Leave,
}

/// Reads lines until the human leaves.
pub(crate) async fn run(context: &Context) -> Result<Outcome, Failure> {
    if !context.output.is_interactive() {
        return Err(Failure::Usage {
            what: "the interactive shell needs a terminal".to_owned(),
            hint: "`ftlctl code 'TASK'` runs one task, `ftlctl --help` lists all verbs".to_owned(),
        });
    }
    let client = context.connect().await?;
    let root = context.project()?;
    let history = History::new(&context.places()?.home);
    let prompt = Prompt::start(root.clone(), context.output.style, history.load());
    let suspend = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
    let mut shell = Shell {
        context,
        prompt: prompt.map_err(Failure::io("use the terminal"))?,
        history,
        kept: None,
        suspends: signal(suspend).map_err(Failure::io("listen to Ctrl-Z"))?,
        beside: Beside::new(),
        late: Vec::new(),
        name: name(&root),
        verbs: Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect(),
        session: None,
        agent: String::new(),
        mine: Vec::new(),
    };
    shell.greet(&client).await?;
    loop {
        let line = match shell.read(&client).await? {
            Typed::Line(line) => line,
            Typed::Interrupt => continue,
            Typed::End => break,
        };
        match shell.act(line).await {
            Ok(Next::Line) => {}
            Ok(Next::Leave) => break,
            Err(Failure::OutputClosed) => return Err(Failure::OutputClosed),
            // A command that fails ends nothing but itself.
            Err(failure) => shell.tell(&failure)?,
        }
    }
    shell.leave().await?;
    Ok(Outcome::DONE)
}

/// A project's name in the prompt.
fn name(root: &Path) -> String {
    let name = root.file_name().map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned());
    escape::summary(&name, NAME)
}

/// The prompt.
fn prompt(name: &str, session: Option<&str>, (running, waiting): (usize, usize)) -> String {
    let session = session.map_or_else(String::new, |session| format!(" {}", escape::name(session)));
    let told = [(running, "running"), (waiting, "to review")];
    let told: Vec<String> = told
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    let told = if told.is_empty() { String::new() } else { format!(" [{}]", told.join(", ")) };
    format!("{name}{session}{told}> ")
}

// === impl Shell ===

impl Shell<'_> {
    /// Reads a line; what happens meanwhile is printed above it.
    async fn read(&mut self, client: &Client) -> Result<Typed, Failure> {
        for news in std::mem::take(&mut self.late) {
            if let Some(line) = self.beside.hear(news, self.context.output.style) {
                self.context.output.line(&line)?;
            }
        }
        let sessions = self.sessions(client).await.unwrap_or_default();
        let sessions = sessions.into_iter().map(|session| session.session).collect();
        let known = Known { sessions, verbs: self.verbs.clone() };
        let prompt = prompt(&self.name, self.session.as_deref(), self.beside.counts());
        self.prompt.ask(prompt, known, self.kept.take());
        loop {
            let news = tokio::select! {
                typed = self.prompt.typed() => return Ok(typed),
                news = self.beside.next() => news,
                // The prompt has its own way with this key.
                _ = self.suspends.recv() => continue,
            };
            self.beside.notify(self.context, client, &news).await?;
            if let Some(line) = self.beside.hear(news, self.context.output.style) {
                self.prompt.print(&line);
            }
        }
    }

    async fn act(&mut self, line: String) -> Result<Next, Failure> {
        match self.history.keep(&line) {
            Ok(true) => self.kept = Some(line.clone()),
            Ok(false) => {}
            Err(error) => self.context.output.note(&format!("the line is not kept: {error}"))?,
        }
        match line::parse(&line, &self.verbs) {
            Line::Nothing => Ok(Next::Line),
            Line::Task { text, beside } => {
                self.task(text, beside).await?;
                Ok(Next::Line)
            }
            Line::Command(word, rest) => self.command(word, rest).await,
            Line::Verb(verb, rest) => {
                self.verb(vec![verb], &rest).await?;
                Ok(Next::Line)
            }
            Line::Unknown { word, meant } => Err(Failure::Usage {
                what: format!("there is no command /{}", escape::name(&word)),
                hint: meant.map_or_else(
                    || "/help lists them; /task TEXT makes a task of any text".to_owned(),
                    |meant| format!("did you mean /{meant}?"),
                ),
            }),
        }
    }

    /// The newest sessions of the project.
    async fn sessions(&self, client: &Client) -> Result<Vec<v1::Session>, Failure> {
        let project = self.context.project_bytes()?;
        let request = v1::ListSessionsRequest { project, ..Default::default() };
        Ok(client.sessions().list(request).await?.into_inner().sessions)
    }

    async fn greet(&self, client: &Client) -> Result<(), Failure> {
        let output = &self.context.output;
        let what = "a line is a task for the agent; /help lists the commands";
        output.line(&format!("{} · {what}", output.style.paint(Tone::Heading, &self.name)))?;
        let sessions = self.sessions(client).await?;
        self.list(
            &sessions,
            v1::State::AwaitingReview,
            "waits for your review: /use",
            "wait for your review",
        )?;
        self.list(&sessions, v1::State::Working, "works: /watch", "work")
    }

    /// Says which of them stand there, each with what to type.
    fn list(
        &self,
        sessions: &[v1::Session],
        state: v1::State,
        what: &str,
        more: &str,
    ) -> Result<(), Failure> {
        let there: Vec<_> = sessions.iter().filter(|session| session.state() == state).collect();
        for session in there.iter().take(NAMED) {
            let id = escape::name(&session.session);
            let line = format!("  {id} {what} {id}  {}", escape::summary(&session.task, TASK));
            self.context.output.line(&line)?;
        }
        match there.len().saturating_sub(NAMED) {
            0 => Ok(()),
            rest => self.context.output.line(&format!("  {rest} more {more}: /list")),
        }
    }

    /// Says what goes on without this shell.
    async fn leave(&self) -> Result<(), Failure> {
        let client = self.context.connect().await?;
        for session in self.sessions(&client).await? {
            if !self.mine.contains(&session.session) {
                continue;
            }
            let id = escape::name(&session.session);
            let line = match session.state() {
                v1::State::AwaitingReview => format!("{id} waits for your review: ftlctl review {id}"),
                v1::State::Created
                | v1::State::Snapshotting
                | v1::State::Starting
                | v1::State::Working
                | v1::State::Capturing
                | v1::State::Applying => format!("{id} goes on without this shell: ftlctl attach {id}"),
                _ => continue,
            };
            self.context.output.line(&line)?;
        }
        Ok(())
    }

    fn tell(&self, failure: &Failure) -> Result<(), Failure> {
        let text = failure.report().text(self.context.output.error_style);
        self.context.output.note(&text)
    }

    /// The session becomes the one that the next line is for.
    fn enter(&mut self, session: &str) {
        self.session = Some(session.to_owned());
        self.remember(session);
    }

    fn remember(&mut self, session: &str) {
        if !self.mine.iter().any(|known| known == session) {
            self.mine.push(session.to_owned());
        }
    }

    /// The session that a command is about.
    fn current(&self) -> Result<String, Failure> {
        self.session.clone().ok_or_else(|| Failure::Usage {
            what: "there is no session yet".to_owned(),
            hint: "type a task, or choose one: /list, /use SESSION".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_says_where_and_what_else_there_is() {
        let table = [
            (None, (0, 0), "web> "),
            (Some("s-bcdfghjkmn"), (0, 0), "web s-bcdfghjkmn> "),
            (None, (2, 0), "web [2 running]> "),
            (Some("s-1"), (1, 3), "web s-1 [1 running, 3 to review]> "),
        ];
        for (session, counts, expected) in table {
            assert_eq!(prompt("web", session, counts), expected);
        }
        assert_eq!(name(Path::new("/")), "/");
        assert_eq!(name(Path::new("/a/b\x1b[2J")), "b\\x1b[2J");
    }
}
