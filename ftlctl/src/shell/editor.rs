//! The line editor, on a thread of its own.
//!
//! Owns the terminal while a prompt stands there, and printing above it. Must not know what a line means or what
//! completes it.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc as blocking;
use std::thread;

use rustyline::completion::Completer;
use rustyline::config::{BellStyle, CompletionType};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc;

use super::complete::{Known, candidates};
use super::history::KEPT;
use crate::render::style::{Style, Tone};

/// Names of one directory that are looked at.
const LISTED: usize = 5000;

/// What the human did at the prompt.
#[derive(Debug)]
pub(super) enum Typed {
    /// A line.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the terminal has gone.
    End,
}

/// The editor.
pub(super) struct Prompt {
    asks: blocking::Sender<Ask>,
    typed: mpsc::Receiver<Typed>,
    printer: Option<Box<dyn ExternalPrinter + Send>>,
}

/// A prompt, what completes it, and the lines that were kept since the last one.
struct Ask {
    prompt: String,
    known: Known,
    kept: Option<String>,
}

/// What the editor asks about the line.
struct Assistant {
    known: Known,
    project: PathBuf,
    style: Style,
}

// === impl Prompt ===

impl Prompt {
    /// Starts the editor with these earlier lines.
    pub(super) fn start(project: PathBuf, style: Style, lines: Vec<String>) -> io::Result<Self> {
        let (asks, asked) = blocking::channel();
        let (sender, typed) = mpsc::channel(1);
        let (ready, started) = blocking::channel();
        thread::Builder::new().name("prompt".to_owned()).spawn(move || {
            let assistant = Assistant { known: Known::default(), project, style };
            match open(assistant, &lines) {
                Ok((editor, printer)) => {
                    if ready.send(Ok(printer)).is_ok() {
                        edit(editor, &asked, &sender);
                    }
                }
                Err(error) => drop(ready.send(Err(io::Error::other(error)))),
            }
        })?;
        let printer = started.recv().map_err(io::Error::other)??;
        Ok(Self { asks, typed, printer })
    }

    /// Puts the prompt. `kept` is a line that comes into the history before.
    pub(super) fn ask(&self, prompt: String, known: Known, kept: Option<String>) {
        // Who does not listen any more answers with the end.
        let _ = self.asks.send(Ask { prompt, known, kept });
    }

    /// What is typed then. Nothing is lost when this is dropped before it ends.
    pub(super) async fn typed(&mut self) -> Typed {
        self.typed.recv().await.unwrap_or(Typed::End)
    }

    /// Prints lines above the prompt. They must be escaped.
    pub(super) fn print(&mut self, text: &str) {
        if let Some(printer) = &mut self.printer {
            let _ = printer.print(format!("{text}\n"));
        }
    }
}

type Lines = Editor<Assistant, MemHistory>;

/// An editor and what prints above its prompt; a terminal that cannot be moved on has no such thing.
fn open(
    assistant: Assistant,
    lines: &[String],
) -> rustyline::Result<(Lines, Option<Box<dyn ExternalPrinter + Send>>)> {
    let config = Config::builder()
        .max_history_size(KEPT)?
        .history_ignore_dups(true)?
        .completion_type(CompletionType::List)
        .completion_prompt_limit(200)
        .bell_style(BellStyle::None)
        .auto_add_history(false)
        .bracketed_paste(true)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.set_helper(Some(assistant));
    for line in lines {
        editor.add_history_entry(line)?;
    }
    let printer = editor.create_external_printer().ok();
    Ok((editor, printer.map(|printer| Box::new(printer) as Box<dyn ExternalPrinter + Send>)))
}

fn edit(mut editor: Lines, asked: &blocking::Receiver<Ask>, typed: &mpsc::Sender<Typed>) {
    while let Ok(ask) = asked.recv() {
        if let Some(line) = ask.kept {
            let _ = editor.add_history_entry(line);
        }
        if let Some(assistant) = editor.helper_mut() {
            assistant.known = ask.known;
        }
        let what = match editor.readline(&ask.prompt) {
            Ok(line) => Typed::Line(line),
            Err(ReadlineError::Interrupted) => Typed::Interrupt,
            Err(_) => Typed::End,
        };
        if typed.blocking_send(what).is_err() {
            return;
        }
    }
}

// === impl Assistant ===

impl Assistant {
    /// The names in a directory beneath the project.
    fn list(&self, dir: &str) -> Vec<(String, bool)> {
        let Ok(entries) = self.project.join(dir).read_dir() else { return Vec::new() };
        let named = entries.take(LISTED).flatten().filter_map(|entry| {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            Some((entry.file_name().into_string().ok()?, is_dir))
        });
        named.collect()
    }
}

impl Helper for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Self::Candidate>)> {
        Ok(candidates(line.get(..pos).unwrap_or_default(), &self.known, |dir| self.list(dir)))
    }
}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(self.style.paint(Tone::Heading, prompt))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        // A backslash at the end says that the line goes on.
        let goes_on = context.input().ends_with('\\');
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}
