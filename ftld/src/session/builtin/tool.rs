//! The model's calls, done in the sandbox.
//!
//! Owns how a call's program is run: its time, what of its output is kept, which run at the same time. A call
//! that cannot be done is a result that says so; only the sandbox's own end is none.

use std::ffi::OsString;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ftl_core::agent::AgentEvent;
use ftl_core::builtin::output::Kept;
use ftl_core::builtin::tool::{self, Action, LONGEST_FILE, Program};
use ftl_core::llm::{ToolCall, ToolResult};
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::saying::Saying;
use crate::sandbox::{Command, Sandbox, Stdio};
use crate::session::driver::told;
use crate::session::exec::{self, ExecInput, ExecOutput};

/// Where calls are done.
pub(super) struct Bench<'a> {
    sandbox: &'a dyn Sandbox,
    saying: Saying,
}

/// What a program left.
struct Ran {
    /// Its status; `None` when it took too long.
    code: Option<i32>,
    out: Kept,
    err: Kept,
}

/// Calls of one answer that are done; more are refused.
const MOST_CALLS: usize = 64;
/// Bytes of a result, at least and at most.
const LEAST_KEPT: usize = 1000;
const MOST_KEPT: usize = 32_000;
/// How long a program that was killed may take to be gone.
const GRACE: Duration = Duration::from_secs(5);
/// The signal that nothing survives.
const KILL: i32 = 9;

impl<'a> Bench<'a> {
    pub(super) fn new(sandbox: &'a dyn Sandbox, saying: Saying) -> Self {
        Self { sandbox, saying }
    }

    /// What the project looks like; empty when that cannot be said.
    pub(super) async fn layout(&self) -> String {
        self.program(tool::layout(), MOST_KEPT).await.map(|ran| ran.out.text()).unwrap_or_default()
    }

    /// Does the calls of one answer: those that only read at the same time, the others in their order. A call's
    /// result has its id; `request` tells the calls of one instruction apart.
    pub(super) async fn run(&self, calls: &[ToolCall], request: u64, context_tokens: u64) -> Vec<ToolResult> {
        let context = usize::try_from(context_tokens).unwrap_or(usize::MAX);
        let room = (context / calls.len().max(1)).clamp(LEAST_KEPT, MOST_KEPT);
        let mut actions: Vec<_> = calls.iter().map(tool::read).collect();
        for action in actions.iter_mut().skip(MOST_CALLS) {
            *action = Err(format!("at most {MOST_CALLS} calls are done at once"));
        }
        let mut rest = calls.iter().zip(&actions).zip(0usize..);
        let mut results = Vec::with_capacity(calls.len());
        for group in tool::groups(&actions) {
            let doing = rest.by_ref().take(group).map(|((call, action), at)| {
                let name = format!("{request}-{at}");
                self.one(name, call, action.clone(), room)
            });
            results.extend(join_all(doing.collect::<Vec<_>>()).await);
        }
        results
    }

    async fn one(
        &self,
        id: String,
        call: &ToolCall,
        action: Result<Action, String>,
        room: usize,
    ) -> ToolResult {
        let (name, detail) = (call.name.clone(), tool::detail(call));
        self.saying.say(AgentEvent::ToolStarted { id: id.clone(), name, detail }).await;
        let done = match action {
            Ok(Action::Run(program)) => self.output(program, room).await,
            Ok(Action::Edit { path, old, new }) => self.edit(&path, &old, &new).await,
            Err(why) => Err(format!("error: {why}")),
        };
        self.saying.say(AgentEvent::ToolFinished { id, ok: done.is_ok() }).await;
        let failed = done.is_err();
        let text = match done {
            Ok(text) | Err(text) => text,
        };
        ToolResult { id: call.id.clone(), text, failed }
    }

    /// A program's output, and how it ended when that was not well.
    async fn output(&self, program: Program, room: usize) -> Result<String, String> {
        let (seconds, may_find_nothing) = (program.seconds, program.may_find_nothing);
        let ran = self.program(program, room).await?;
        let mut text = [ran.out.text(), ran.err.text()].concat();
        if text.is_empty() {
            text = "(no output)".to_owned();
        }
        match ran.code {
            Some(0) => Ok(text),
            Some(1) if may_find_nothing && ran.err.text().is_empty() => Ok("nothing was found".to_owned()),
            Some(code) => Err(format!("{text}\n[exit status {code}]")),
            None => Err(format!("{text}\n[ended after {seconds} seconds]")),
        }
    }

    async fn edit(&self, path: &str, old: &str, new: &str) -> Result<String, String> {
        let ran = self.program(tool::read_all(path), LONGEST_FILE).await?;
        if ran.code != Some(0) {
            return Err(format!("error: {}", ran.err.text().trim_end()));
        }
        let content = tool::edited(ran.out.whole(), old, new).map_err(|why| format!("error: {why}"))?;
        let written = self.program(tool::write(path, content), LEAST_KEPT).await?;
        match written.code {
            Some(0) => Ok("done".to_owned()),
            _ => Err(format!("error: the file cannot be written: {}", written.err.text().trim_end())),
        }
    }

    async fn program(&self, program: Program, room: usize) -> Result<Ran, String> {
        let Program { argv, stdin, seconds, .. } = program;
        let argv = argv.into_iter().map(OsString::from).collect();
        let command = Command { argv, env: Vec::new(), workdir: None, stdio: Stdio::Pipes };
        let failed = |error| format!("error: {}", told(&error));
        let process = self.sandbox.spawn(command).await.map_err(failed)?;
        let control = Arc::clone(&process.control);
        // As long as it is open the program is not told that its client has gone.
        let (input, inputs) = mpsc::channel(2);
        for message in [ExecInput::Data(stdin), ExecInput::End] {
            let _room_for_both = input.try_send(message);
        }
        let (tell, mut heard) = mpsc::channel(4);
        let (mut out, mut err) = (Kept::new(room), Kept::new(room));
        let code = {
            let collecting = async {
                while let Some(said) = heard.recv().await {
                    match said {
                        ExecOutput::Stdout(bytes) => out.push(&bytes),
                        ExecOutput::Stderr(bytes) => err.push(&bytes),
                        ExecOutput::Exit { .. } | ExecOutput::Replaced => {}
                    }
                }
            };
            let pumping = exec::pump(process, inputs, tell, CancellationToken::new());
            let mut both = pin!(async { tokio::join!(pumping, collecting).0 });
            match tokio::time::timeout(Duration::from_secs(seconds), &mut both).await {
                Ok(code) => Some(code),
                Err(_) => {
                    control.signal(KILL).await.map_err(failed)?;
                    // What is left of it goes with the sandbox.
                    let _code = tokio::time::timeout(GRACE, &mut both).await;
                    None
                }
            }
        };
        drop(input);
        Ok(Ran { code, out, err })
    }
}
