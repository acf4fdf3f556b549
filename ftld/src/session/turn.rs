//! One turn: what happens in an open sandbox until it is over.
//!
//! Owns the loop that hears the agent, answers the human meanwhile, and knows when the turn has ended.
//! Must not know where the sandbox came from or what becomes of the work.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use ftl_core::agent::AgentEvent;
use ftl_core::event::{Bytes, Kind, Level};
use ftl_core::id::SessionId;
use ftl_core::lifecycle::State;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Inbox, Stopping};
use super::exec::{self, ExecInput, ExecOutput, ExecSpec};
use super::terminal::{self, Terminals, Visitor};
use super::{Command, Error, Reply, interactive};
use crate::agent::EventStream;
use crate::sandbox::{
    Command as Program, Ending, ExitStatus, Process, ProcessControl, Reader, Sandbox, SandboxError, Size,
    Stdio,
};

/// How a turn ended. Its work is captured in any case.
#[derive(Debug)]
pub(super) enum Ended {
    /// The agent's program, or the last of the human's commands, has ended with this status.
    Exit(i32),
    /// The human or the daemon stopped it.
    Stopped(&'static str),
    /// The sandbox ended under it: a limit, the kernel.
    Died(Ending),
}

/// An open sandbox and everything that runs in it for this turn.
pub(super) struct Stage<'a> {
    pub(super) sandbox: &'a dyn Sandbox,
    ears: Ears,
    /// What the egress proxy has to tell.
    facts: mpsc::Receiver<Kind>,
    /// Cancelled when the sandbox has ended: no client is waited for any more.
    over: CancellationToken,
    execs: JoinSet<Done>,
    /// The exit of the newest command that the human ran, not yet told to its client.
    last_exec: Option<Done>,
    /// Whether it was told that the end takes longer than it should.
    is_late: bool,
}

/// What the programs of a turn say, in the order of its arrival.
struct Ears {
    sender: mpsc::Sender<Heard>,
    chunks: mpsc::Receiver<Heard>,
    kept: usize,
}

/// Something that was heard.
enum Heard {
    /// Bytes of a program.
    Bytes { from: Source, data: Vec<u8> },
    /// What FTL's own agent says.
    Event(AgentEvent),
}

/// A way for FTL's own agent to be heard as a program is.
#[derive(Clone)]
pub(super) struct Telling(mpsc::Sender<Heard>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Agent,
    Raw { stderr: bool },
}

/// A human's command that has ended.
pub(super) struct Done {
    pub(super) code: i32,
    pub(super) output: mpsc::Sender<ExecOutput>,
}

/// The agent's own account: whether it says that it succeeded, and what it says.
pub(super) type Said = Option<(bool, String)>;

/// The agent's side of a turn: its parser and what it said of itself.
pub(super) struct Voice {
    pub(super) stream: Option<Box<dyn EventStream + Send>>,
    pub(super) verdict: Said,
    tools: HashMap<String, u64>,
}

/// How long an agent that was told to stop may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// How long an open sandbox waits for the human's first command.
const LONELY: Duration = Duration::from_secs(60);
/// Why a turn without a command ends.
pub(super) const NOTHING_RAN: &str = "no command ran";
/// Longer than any turn.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Chunks that wait for the turn's loop; then the program waits for it.
const HEARD: usize = 32;
/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// What is kept of what the programs of one turn say, bytes.
const KEPT: usize = 16 * 1024 * 1024;
/// What an event costs beside its words, bytes.
const EVENT: usize = 200;
/// Calls of tools at once whose time is measured.
const TOOLS: usize = 1000;
/// The polite signal.
const INTERRUPT: i32 = 2;

impl Voice {
    pub(super) fn new(stream: Option<Box<dyn EventStream + Send>>) -> Self {
        Self { stream, verdict: None, tools: HashMap::new() }
    }
}

impl<'a> Stage<'a> {
    pub(super) fn new(sandbox: &'a dyn Sandbox, facts: mpsc::Receiver<Kind>) -> Self {
        let (sender, chunks) = mpsc::channel(HEARD);
        Self {
            sandbox,
            ears: Ears { sender, chunks, kept: 0 },
            facts,
            over: CancellationToken::new(),
            execs: JoinSet::new(),
            last_exec: None,
            is_late: false,
        }
    }

    /// Starts a program whose output the turn hears.
    pub(super) async fn start(
        &self,
        program: Program,
        stdin: Vec<u8>,
        is_agent: bool,
    ) -> Result<Running<'static>, Error> {
        let Process { stdin: mut pipe, stdout, stderr, control, exit, .. } =
            self.sandbox.spawn(program).await?;
        tokio::spawn(async move {
            // A program that does not read its input has its reasons. Its end is told by the drop: agents
            // wait for more instructions as long as their standard input is open.
            let _unread = pipe.write_all(&stdin).await;
        });
        let out = if is_agent { Source::Agent } else { Source::Raw { stderr: false } };
        self.listen(Some(stdout), out);
        self.listen(stderr, Source::Raw { stderr: true });
        Ok(Running { control, exit })
    }

    fn listen(&self, from: Option<Reader>, source: Source) {
        let Some(mut from) = from else { return };
        let sender = self.ears.sender.clone();
        tokio::spawn(async move {
            let mut chunk = vec![0; CHUNK];
            while let Ok(count @ 1..) = from.read(&mut chunk).await {
                let heard = Heard::Bytes { from: source, data: chunk[..count].to_vec() };
                if sender.send(heard).await.is_err() {
                    return;
                }
            }
        });
    }

    /// A way to be heard in this turn.
    pub(super) fn telling(&self) -> Telling {
        Telling(self.ears.sender.clone())
    }

    /// Runs a human's command beside whatever runs.
    pub(super) async fn exec(
        &mut self,
        spec: ExecSpec,
        input: mpsc::Receiver<ExecInput>,
        output: mpsc::Sender<ExecOutput>,
        terminals: (&Terminals, &SessionId),
    ) -> Result<(), Error> {
        let stdio = match spec.terminal {
            Some((rows, columns)) => Stdio::Terminal { size: Size { rows, columns }, term: spec.term },
            None => Stdio::Pipes,
        };
        let (over, size) = (self.over.clone(), spec.terminal.unwrap_or_default());
        let place = spec.of_agent.then(|| terminals.0.open(terminals.1)).transpose()?;
        let program = Program { argv: spec.argv, env: spec.env, workdir: None, stdio };
        let process = self.sandbox.spawn(program).await.map_err(not_started)?;
        if let Some(place) = place {
            let first = Visitor { input, output, size };
            self.execs.spawn(async move {
                let (code, output) = terminal::keep(process, first, place, over).await;
                Done { code, output }
            });
            return Ok(());
        }
        self.execs.spawn(async move {
            let code = exec::pump(process, input, output.clone(), over).await;
            Done { code, output }
        });
        Ok(())
    }

    /// Ends everything in the sandbox, hears what was still said, and gives back the exit of the human's
    /// last command, which its client has not been told yet.
    pub(super) async fn close(
        mut self,
        driver: &mut Driver,
        voice: &mut Voice,
    ) -> Result<Option<Done>, Error> {
        let mut killing = pin!(self.sandbox.kill());
        tokio::select! {
            _ = &mut killing => {}
            why = self.sandbox.trouble(), if !self.is_late => {
                driver.tell_trouble(why).await;
                killing.await;
            }
        }
        self.over.cancel();
        drop(self.ears.sender);
        while let Some(heard) = self.ears.chunks.recv().await {
            driver.hear(heard, voice, &mut self.ears.kept).await;
        }
        while let Ok(fact) = self.facts.try_recv() {
            driver.teller.tell(fact).await;
        }
        while let Some(done) = self.execs.join_next().await {
            let done = done.map_err(|_| Error::Interrupted)?;
            tell_exit(self.last_exec.replace(done));
        }
        Ok(self.last_exec.take())
    }
}

impl Driver {
    /// Tells why the end takes longer than it should.
    async fn tell_trouble(&mut self, text: String) {
        self.teller.tell(Kind::Notice { level: Level::Warning, text }).await;
    }

    /// Hears and answers until `main` has ended, the human stops the turn, or the sandbox ends. Without
    /// `main` the turn is the human's: it lasts until the last command of the client has ended.
    pub(super) async fn follow(
        &mut self,
        stage: &mut Stage<'_>,
        main: Option<Running<'_>>,
        voice: &mut Voice,
        inbox: &mut Inbox,
        stopping: &mut Stopping,
    ) -> Ended {
        let sandbox = stage.sandbox;
        let mut died = pin!(sandbox.ended());
        let mut grace = pin!(tokio::time::sleep(FOREVER));
        let mut lonely = pin!(tokio::time::sleep(LONELY));
        let by_commands = main.is_none();
        let (control, mut exit) = match main {
            Some(Running { control, exit }) => (Some(control), exit),
            None => (None, Box::pin(std::future::pending()) as Ends<'_>),
        };
        loop {
            tokio::select! {
                Some(heard) = stage.ears.chunks.recv() => {
                    self.hear(heard, voice, &mut stage.ears.kept).await;
                }
                Some(fact) = stage.facts.recv() => self.teller.tell(fact).await,
                why = sandbox.trouble(), if !stage.is_late => {
                    stage.is_late = true;
                    self.tell_trouble(why).await;
                }
                status = &mut exit => {
                    // The sandbox that ended under the program knows why better than its exit status.
                    let ended = match &status {
                        Ok(_) => Ended::Exit(exec::code(&status)),
                        Err(_) => Ended::Died(sandbox.ended().await),
                    };
                    return stopping.ended(ended);
                }
                Some(command) = inbox.recv() => match command {
                    Command::Stop { why, reply } => {
                        stopping.ask(why, reply);
                        let Some(control) = &control else { return Ended::Stopped(why) };
                        if control.signal(INTERRUPT).await.is_err() {
                            return Ended::Stopped(why);
                        }
                        grace.as_mut().reset(tokio::time::Instant::now() + GRACE);
                    }
                    Command::Exec { spec, input, output, reply } => {
                        let started = self.exec(stage, spec, input, output, reply).await;
                        if !started && by_commands && stage.execs.is_empty() {
                            return Ended::Stopped(NOTHING_RAN);
                        }
                    }
                    Command::HearChecks { reply } => {
                        self.tell_of_checks().await;
                        // The task that noted it may have gone.
                        let _gone = reply.send(Ok(()));
                    }
                    other => other.refuse(State::Working),
                },
                () = &mut grace => return Ended::Stopped(stopping.why()),
                () = &mut lonely, if by_commands && stage.execs.is_empty() => return Ended::Stopped(NOTHING_RAN),
                reason = &mut died => return Ended::Died(reason),
                Some(Ok(done)) = stage.execs.join_next() => {
                    if by_commands && stage.execs.is_empty() {
                        let code = done.code;
                        stage.last_exec = Some(done);
                        return stopping.ended(Ended::Exit(code));
                    }
                    tell_exit(Some(done));
                }
            }
        }
    }

    pub(super) async fn exec(
        &mut self,
        stage: &mut Stage<'_>,
        mut spec: ExecSpec,
        input: mpsc::Receiver<ExecInput>,
        output: mpsc::Sender<ExecOutput>,
        reply: Reply<()>,
    ) -> bool {
        let started = async {
            interactive::complete(&self.parts, &self.record, &mut spec)?;
            self.audit_exec(&spec).await?;
            stage.exec(spec, input, output, (&self.parts.terminals, &self.record.id)).await
        }
        .await;
        let runs = started.is_ok();
        // The client may have gone; the command's end is noticed all the same.
        let _gone = reply.send(started);
        runs
    }

    async fn hear(&mut self, heard: Heard, voice: &mut Voice, kept: &mut usize) {
        let (from, data) = match heard {
            Heard::Bytes { from, data } => (from, data),
            Heard::Event(event) => {
                return self.agent_event(event, &mut voice.tools, &mut voice.verdict, kept).await;
            }
        };
        match (from, &mut voice.stream) {
            (Source::Agent, Some(stream)) => {
                for event in stream.feed(&data) {
                    self.agent_event(event, &mut voice.tools, &mut voice.verdict, kept).await;
                }
            }
            (Source::Agent, None) => self.raw(&data, false, kept).await,
            (Source::Raw { stderr }, _) => self.raw(&data, stderr, kept).await,
        }
    }

    async fn raw(&mut self, data: &[u8], stderr: bool, kept: &mut usize) {
        self.tell_of_many(Kind::Output { data: Bytes::from(data), stderr }, data.len(), kept).await;
    }

    /// Tells something that a program can say without end, as long as there is room for it in this turn.
    async fn tell_of_many(&mut self, kind: Kind, length: usize, kept: &mut usize) {
        if *kept >= KEPT {
            return;
        }
        *kept += EVENT + length;
        self.teller.tell(kind).await;
        if *kept >= KEPT {
            let text =
                format!("what the programs say beyond {} MiB in a turn is not kept", KEPT / 1024 / 1024);
            self.teller.tell(Kind::Notice { level: Level::Warning, text }).await;
        }
    }

    /// What remains of a line without an end, when the agent has gone.
    pub(super) async fn hear_end(&mut self, voice: &mut Voice) {
        let Some(stream) = &mut voice.stream else { return };
        let mut kept = 0;
        for event in stream.end() {
            self.agent_event(event, &mut voice.tools, &mut voice.verdict, &mut kept).await;
        }
    }

    async fn agent_event(
        &mut self,
        event: AgentEvent,
        tools: &mut HashMap<String, u64>,
        verdict: &mut Said,
        kept: &mut usize,
    ) {
        let mut length = 0;
        let kind = match event {
            AgentEvent::Text { text, fragment } => {
                length = text.len();
                Kind::AgentText { text, fragment }
            }
            AgentEvent::ToolStarted { id, name, detail } => {
                length = id.len() + name.len() + detail.len();
                if tools.len() < TOOLS {
                    tools.insert(id.clone(), self.parts.clock.monotonic_us());
                }
                Kind::ToolStarted { id, name, detail }
            }
            AgentEvent::ToolFinished { id, ok } => {
                let now = self.parts.clock.monotonic_us();
                let elapsed_us = tools.remove(&id).map_or(0, |start| now.saturating_sub(start));
                Kind::ToolFinished { id, ok, elapsed_us }
            }
            AgentEvent::Usage { input_tokens, output_tokens, cost_micro_usd } => {
                let spent = &mut self.record.spent;
                spent.input_tokens = spent.input_tokens.saturating_add(input_tokens);
                spent.output_tokens = spent.output_tokens.saturating_add(output_tokens);
                spent.cost_micro_usd = spent.cost_micro_usd.saturating_add(cost_micro_usd);
                self.teller.tell(Kind::Usage { input_tokens, output_tokens, cost_micro_usd }).await;
                return;
            }
            AgentEvent::Conversation { id } => {
                self.record.conversation = Some(id);
                return;
            }
            AgentEvent::Finished { ok, message } => {
                *verdict = Some((ok, message));
                return;
            }
            AgentEvent::Note { text } => {
                length = text.len();
                Kind::Notice { level: Level::Info, text }
            }
        };
        self.tell_of_many(kind, length, kept).await;
    }
}

/// A program that the turn started, or FTL's own agent, which ends as one does.
pub(super) struct Running<'a> {
    control: Arc<dyn ProcessControl>,
    exit: Ends<'a>,
}

/// The end of what runs.
type Ends<'a> = Pin<Box<dyn Future<Output = Result<ExitStatus, SandboxError>> + Send + 'a>>;

impl<'a> Running<'a> {
    pub(super) fn new(control: Arc<dyn ProcessControl>, exit: Ends<'a>) -> Self {
        Self { control, exit }
    }
}

impl Telling {
    /// Says something; when nobody hears it any more, nothing happens.
    pub(super) async fn say(&self, event: AgentEvent) {
        let _gone = self.0.send(Heard::Event(event)).await;
    }
}

/// A program that is not there is the asker's concern, not the sandbox's.
fn not_started(error: SandboxError) -> Error {
    match error {
        SandboxError::Spawn { program, source, .. }
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
        {
            Error::NoProgram { program: program.to_string_lossy().into_owned(), source }
        }
        other => other.into(),
    }
}

/// Tells a command's client that it has ended, while the session goes on.
fn tell_exit(done: Option<Done>) {
    if let Some(Done { code, output }) = done {
        exec::tell_exit(output, code, None);
    }
}
