//! What the shell's commands do.
//!
//! Owns which verb of the command line stands behind a command, and the session that is filled in. Must not do what
//! a verb does itself.

use clap::Parser as _;
use ftl_proto::v1;
use ftl_proto::v1::event::Kind;

use super::line::{COMMANDS, Word, words};
use super::{Next, Shell};
use crate::args::{Cli, Verb};
use crate::command;
use crate::failure::Failure;
use crate::render::measure::{self, count, plural};
use crate::render::progress::sum;
use crate::render::surface::width;
use crate::render::{escape, json};

/// What stands behind the list of commands.
const KEYS: &str = "\
A line without a slash is a task; the next one goes on in the same conversation
and sandbox, until /new. A line that ends with & runs beside the prompt. Alone on
a line, diff, test, merge, review, done, reject, list, sessions, help, quit and
exit are commands, too. /VERB ARGS runs any other verb of ftlctl, as in /doctor.

While an agent works, Ctrl-C stops it and keeps its work, twice does not wait
for that; Ctrl-Z lets it run beside the prompt. At the prompt, Tab completes,
Ctrl-R searches, Ctrl-C clears the line, Ctrl-D leaves; a \\ at its end goes on.
Lines that begin with a space, or hold what looks like a key, are not kept.
Nothing is applied before you approve it on the screen of /merge.";

impl Shell<'_> {
    /// Does what a command says.
    pub(super) async fn command(&mut self, word: Word, rest: String) -> Result<Next, Failure> {
        match word {
            Word::Quit => return Ok(Next::Leave),
            Word::Help => self.help()?,
            Word::Task if rest.is_empty() => {
                return Err(usage("a task needs words", "/task TEXT"));
            }
            Word::Task => self.task(rest, false).await?,
            Word::New => self.begin(rest)?,
            Word::Use => self.choose(rest).await?,
            Word::Watch => self.look(rest).await?,
            Word::Cost => self.cost().await?,
            Word::List => {
                let rest = if rest == "all" { "--all".to_owned() } else { rest };
                self.verb(vec!["sessions".to_owned()], &rest).await?;
            }
            Word::Restore if rest.is_empty() => {
                self.verb(vec!["snapshots".to_owned(), "list".to_owned()], "").await?;
                self.context.output.line("/restore SNAPSHOT makes a session that takes the project back")?;
            }
            Word::Restore => {
                let verb = ["snapshots", "restore", "--into-project"].map(str::to_owned);
                self.verb(verb.to_vec(), &rest).await?;
            }
            Word::Answer => self.verb(vec!["policy".to_owned(), "answer".to_owned()], &rest).await?,
            Word::Stop if !rest.is_empty() => self.verb(vec!["stop".to_owned()], &rest).await?,
            Word::Reject | Word::Ask => self.say(word, rest).await?,
            Word::Diff
            | Word::Test
            | Word::Review
            | Word::Undo
            | Word::Opinion
            | Word::Rewind
            | Word::Stop => {
                let verb = match word {
                    Word::Diff => "diff",
                    Word::Test => "test",
                    Word::Review => "review",
                    Word::Undo => "undo",
                    Word::Opinion => "opinion",
                    Word::Rewind => "rewind",
                    _ => "stop",
                };
                let session = self.current()?;
                self.verb(vec![verb.to_owned(), session], &rest).await?;
            }
        }
        Ok(Next::Line)
    }

    /// Runs a verb of the command line with these words, and those behind it.
    pub(super) async fn verb(&mut self, mut verb: Vec<String>, rest: &str) -> Result<(), Failure> {
        let more = words(rest).ok_or_else(|| usage("a quote or a backslash is left open", "close it"))?;
        verb.extend(more);
        self.parsed(verb).await
    }

    /// The words go to the agent or to a model as they are; with options they are split as in a shell.
    async fn say(&mut self, word: Word, rest: String) -> Result<(), Failure> {
        let session = self.current()?;
        let verb = if word == Word::Ask { "ask" } else { "reject" };
        if rest.starts_with("--") {
            return self.verb(vec![verb.to_owned(), session], &rest).await;
        }
        let words = match word {
            Word::Ask if rest.is_empty() => {
                return Err(usage("a question needs words", "/ask QUESTION"));
            }
            Word::Ask => vec![verb.to_owned(), session, "--".to_owned(), rest],
            _ if rest.is_empty() => vec![verb.to_owned(), session],
            _ => vec![verb.to_owned(), session, format!("--why={rest}")],
        };
        self.parsed(words).await
    }

    async fn parsed(&mut self, words: Vec<String>) -> Result<(), Failure> {
        let output = &self.context.output;
        let cli = match Cli::try_parse_from(std::iter::once("ftlctl".to_owned()).chain(words)) {
            Ok(cli) => cli,
            Err(error) => return output.line(escape::text(&error.render().to_string()).trim_end()),
        };
        let global = &cli.global;
        if global.json || global.plain || global.no_start || global.project.is_some() {
            return Err(usage(
                "the shell has its own form and its own project",
                "give --json, --plain, --no-start and --project to ftlctl itself",
            ));
        }
        let hears = cli.verb.as_ref().is_some_and(hears_ctrl_c);
        // The verbs know this shell, as its caller.
        let done = Box::pin(command::run(self.context, cli.verb));
        tokio::select! {
            done = done => done.map(drop),
            _ = tokio::signal::ctrl_c(), if !hears => {
                output.moving(None)?;
                output.note("interrupted")
            }
        }
    }

    fn help(&self) -> Result<(), Failure> {
        let output = &self.context.output;
        let shown = |command: &super::line::Command| {
            let names: Vec<String> = command.names.iter().map(|name| format!("/{name}")).collect();
            format!("{} {}", names.join(" "), command.takes).trim_end().to_owned()
        };
        // What is longer than this has its help in the next row.
        let column = 26_usize;
        for command in &COMMANDS {
            let name = shown(command);
            match column.checked_sub(width(&name)) {
                Some(gap) => output.line(&format!("  {name}{}  {}", " ".repeat(gap), command.help))?,
                None => output.line(&format!("  {name}\n  {}  {}", " ".repeat(column), command.help))?,
            }
        }
        output.line("")?;
        output.line(KEYS)
    }

    fn begin(&mut self, agent: String) -> Result<(), Failure> {
        self.session = None;
        self.agent = agent;
        let agent = match self.agent.as_str() {
            "" => String::new(),
            agent => format!(" with {}", escape::name(agent)),
        };
        self.context.output.line(&format!("the next line begins a session of its own{agent}"))
    }

    /// The next line is for this session.
    async fn choose(&mut self, rest: String) -> Result<(), Failure> {
        if rest.is_empty() {
            return Err(usage(
                "which session?",
                "/list shows them; /use SESSION, or a unique beginning of its id",
            ));
        }
        let client = self.context.connect().await?;
        let session = self.context.session(&client, Some(&rest)).await?;
        let id = &session.session;
        self.enter(id);
        if is_idle(session.state()) {
            self.beside.forget(id);
        } else if !self.beside.has(id) {
            self.beside.add(&client, id, session.last_seq + 1);
        }
        let state = json::state(session.state()).replace('_', " ");
        let turns = plural(u64::from(session.turns), "turn", "turns");
        let task = escape::summary(&session.task, 60);
        self.context.output.line(&format!("{} · {state} · {turns} · {task}", escape::name(id)))
    }

    /// Watches a session, from where it was left if it ran beside.
    async fn look(&mut self, rest: String) -> Result<(), Failure> {
        let named = if rest.is_empty() { self.current()? } else { rest };
        let client = self.context.connect().await?;
        let session = self.context.session(&client, Some(&named)).await?.session;
        self.watch(client, session, 1).await
    }

    /// Tokens and cost of all turns.
    async fn cost(&mut self) -> Result<(), Failure> {
        let client = self.context.connect().await?;
        let session = self.current()?;
        let request = v1::WatchRequest { session, from_seq: 1, ..Default::default() };
        let mut events = client.sessions().watch(request).await?.into_inner();
        let (mut all, mut turn, mut turns) = (v1::Usage::default(), v1::Usage::default(), 0);
        while let Some(event) = events.message().await? {
            match event.kind {
                Some(Kind::TurnStarted(_)) => {
                    all = sum(all, std::mem::take(&mut turn));
                    turns += 1;
                }
                // What an agent tells is the turn's sum so far.
                Some(Kind::Usage(usage)) => turn = usage,
                _ => {}
            }
        }
        self.context.output.line(&told(sum(all, turn), turns))
    }
}

/// Whether the verb knows what Ctrl-C means; it ends what any other one waits for.
fn hears_ctrl_c(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Code(_)
            | Verb::Run(_)
            | Verb::Exec(_)
            | Verb::Attach(_)
            | Verb::Review(_)
            | Verb::Approve(_)
            | Verb::Undo(_)
            | Verb::Demo(_)
            | Verb::Auth(_)
            | Verb::Secret(_)
    )
}

/// Tokens and cost for people.
fn told(all: v1::Usage, turns: u64) -> String {
    let turns = plural(turns, "turn", "turns");
    if all == v1::Usage::default() {
        return format!("{turns}; the agent told neither tokens nor cost");
    }
    let cost = match all.cost_micro_usd {
        0 => "cost not told".to_owned(),
        cost => measure::cost(cost),
    };
    format!("{turns} · {} tokens in, {} out · {cost}", count(all.input_tokens), count(all.output_tokens))
}

fn is_idle(state: v1::State) -> bool {
    matches!(
        state,
        v1::State::AwaitingReview
            | v1::State::NoChanges
            | v1::State::Merged
            | v1::State::Rejected
            | v1::State::Failed
    )
}

fn usage(what: &str, hint: &str) -> Failure {
    Failure::Usage { what: what.to_owned(), hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_told_is_not_called_free() {
        let usage = |input, output, cost| v1::Usage {
            input_tokens: input,
            output_tokens: output,
            cost_micro_usd: cost,
        };
        assert_eq!(told(usage(0, 0, 0), 1), "1 turn; the agent told neither tokens nor cost");
        assert_eq!(told(usage(1200, 30, 0), 2), "2 turns · 1,200 tokens in, 30 out · cost not told");
        assert_eq!(told(usage(1200, 30, 41_200), 2), "2 turns · 1,200 tokens in, 30 out · $0.0412");
    }

    #[test]
    fn every_word_that_stands_alone_is_told() {
        for command in COMMANDS.iter().filter(|command| command.alone) {
            for name in command.names.iter().filter(|name| name.chars().all(char::is_alphabetic)) {
                let is_told = KEYS.split(|char: char| !char.is_alphabetic()).any(|word| word == *name);
                assert!(is_told, "{name}");
            }
        }
    }
}
