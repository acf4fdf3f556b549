//! The task that owns a session: takes a command, does it, tells.
//!
//! Owns the order of a turn's stages and the session's record. Asks [`ftl_core::lifecycle`] what is
//! allowed and where a step leads, and never decides that itself.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ftl_core::event::{Bytes, Kind, Level, Stage as StageName};
use ftl_core::id::SessionId;
use ftl_core::lifecycle::{self, Request, State, Step};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::exec::ExecSpec;
use super::folding::Folding;
use super::prepare::Opened;
use super::publish::Teller;
use super::record::{Record, Spec};
use super::turn::{Done, Ended, NOTHING_RAN, Stage, Voice};
use super::{Command, Error, Reply, prepare, project, taking, trust, warm, watching};
use crate::app::Parts;
use crate::audit::{Entry, Sync};
use crate::db;
use crate::snapshot::Lease;

pub(super) type Inbox = mpsc::Receiver<Command>;

/// A session's task.
pub(super) struct Driver {
    pub(super) parts: Arc<Parts>,
    pub(super) record: Record,
    pub(super) teller: Teller,
    /// Layers that are being folded beside it.
    pub(super) folding: Option<Folding>,
}

/// Who waits for the turn to stop.
#[derive(Default)]
pub(super) struct Stopping {
    why: Option<&'static str>,
    waiters: Vec<Reply<Record>>,
}

/// What a turn is for.
enum Turn {
    /// The agent follows an instruction; whoever gave a follow-up is told the last event's number before
    /// the turn.
    Agent { text: String, begun: Option<Reply<u64>> },
    /// The human runs commands, this one first.
    Commands { first: Option<Command> },
}

impl Stopping {
    pub(super) fn ask(&mut self, why: &'static str, reply: Reply<Record>) {
        self.why.get_or_insert(why);
        self.waiters.push(reply);
    }

    /// How the turn ended: stopped, when that was asked for, whatever the agent made of it.
    pub(super) fn ended(&self, otherwise: Ended) -> Ended {
        self.why.map_or(otherwise, Ended::Stopped)
    }

    pub(super) fn why(&self) -> &'static str {
        self.why.unwrap_or("stopped")
    }
}

impl Driver {
    /// Persists a new session.
    pub(super) async fn create(parts: Arc<Parts>, root: &Path, spec: Spec) -> Result<Self, Error> {
        let project = project::open(root, parts.home.root(), parts.user.home.as_deref())?;
        let settings = trust::settings(&parts, root)?;
        let spec = prepare::check(&parts, root, &settings, spec)?;
        let id = warm::id(&parts, &project, &spec, &settings)?;
        let now = parts.clock.now_us();
        let record = Record::new(id.clone(), project, spec, now);
        let teller = parts.publisher.teller(&id)?;
        let mut driver = Self { parts, record, teller, folding: None };
        let Spec { agent, sandbox, task, .. } = driver.record.spec.clone();
        let detail = json!({ "agent": agent, "sandbox": sandbox, "task": task });
        driver.audit("session_created", detail, Sync::Kernel).await?;
        let project = driver.record.project.root.clone();
        driver.keep(vec![Kind::SessionCreated { project, agent, sandbox, task }]).await?;
        Ok(driver)
    }

    /// Takes over a session that is stored.
    pub(super) fn resume(parts: Arc<Parts>, record: Record) -> Result<Self, Error> {
        let teller = parts.publisher.teller(&record.id)?;
        Ok(Self { parts, record, teller, folding: None })
    }

    pub(super) fn id(&self) -> &SessionId {
        &self.record.id
    }

    /// The first turn of a new session, then whatever is asked.
    pub(super) async fn run_new(mut self, mut inbox: Inbox) {
        let turn = match self.record.spec.is_by_hand() {
            true => Turn::Commands { first: None },
            false => Turn::Agent { text: self.record.spec.task.clone(), begun: None },
        };
        self.turn(turn, &mut inbox).await;
        self.tell_of_checks().await;
        warm::hint(&self.parts, &self.record);
        self.run(inbox).await;
    }

    /// Serves commands until the session is removed or the daemon ends.
    pub(super) async fn run(mut self, mut inbox: Inbox) {
        while let Some(command) = self.next(&mut inbox).await {
            match command {
                Command::Say { text, reply } => match self.may(Request::Say) {
                    Ok(()) => self.turn(Turn::Agent { text, begun: Some(reply) }, &mut inbox).await,
                    Err(error) => answer(reply, Err(error)),
                },
                Command::Exec { spec, input, output, reply } => match self.may(Request::Exec) {
                    Ok(()) => {
                        let first = Some(Command::Exec { spec, input, output, reply });
                        self.turn(Turn::Commands { first }, &mut inbox).await;
                    }
                    Err(error) => answer(reply, Err(error)),
                },
                Command::Stop { reply, .. } => answer(reply, self.stop_waiting().await),
                Command::Review { reply } => {
                    let reviewed = self.show().await;
                    answer(reply, reviewed.map(Arc::new));
                }
                Command::Preview { asked, reply } => {
                    answer(reply, self.preview(asked).await.map(Arc::new));
                }
                Command::Approve { digest, asked, reply } => {
                    answer(reply, self.approve(&digest, asked).await);
                }
                Command::Reject { why, go_on, reply } => {
                    let rejected = self.reject(why.clone(), go_on).await;
                    let goes_on = go_on && rejected.is_ok();
                    answer(reply, rejected);
                    if goes_on {
                        self.turn(Turn::Agent { text: why, begun: None }, &mut inbox).await;
                    }
                }
                Command::Undo { how, reply } => answer(reply, self.undo(how).await),
                Command::Rewind { back, reply } => answer(reply, self.rewind(back).await),
                Command::Wipe { wiping, reply } => answer(reply, self.wipe(wiping).await),
                Command::Ready { anew, reply } => answer(reply, self.make_ready(anew).await),
                Command::Branch { checkpoint, reply } => answer(reply, self.branch(checkpoint).await),
                Command::LookAgain { reply } => answer(reply, self.look_again().await),
                Command::Settle { foreign, reply } => answer(reply, self.settle_late(&foreign).await),
                Command::HearChecks { reply } => {
                    self.tell_of_checks().await;
                    answer(reply, Ok(()));
                }
                Command::Remove { removal, reply } => {
                    let removed = self.remove(removal).await;
                    let done = removed.is_ok();
                    answer(reply, removed);
                    if done {
                        return;
                    }
                }
            }
            self.tell_of_checks().await;
            warm::hint(&self.parts, &self.record);
        }
    }

    // === a turn ===

    /// One turn from the snapshot to the captured work. Whatever happens, the session is idle afterwards.
    async fn turn(&mut self, mut turn: Turn, inbox: &mut Inbox) {
        let mut stopping = Stopping::default();
        let (mut last_exec, mut lease) = (None, None);
        if let Err(error) = self.try_turn(&mut turn, inbox, &mut stopping, (&mut last_exec, &mut lease)).await
        {
            let reason = super::full::advised(&error);
            self.fail(reason.clone()).await;
            turn.fail(match error {
                Error::Layers { .. } => error,
                _ => Error::TurnFailed { reason },
            });
        }
        drop(lease);
        if let Some(Done { code, output }) = last_exec {
            super::exec::tell_exit(output, code, Some(Box::new(self.record.clone())));
        }
        self.begin_folding();
        for waiter in stopping.waiters {
            answer(waiter, Ok(self.record.clone()));
        }
    }

    async fn try_turn(
        &mut self,
        turn: &mut Turn,
        inbox: &mut Inbox,
        stopping: &mut Stopping,
        (last_exec, lease): (&mut Option<Done>, &mut Option<Lease>),
    ) -> Result<(), Error> {
        let root = self.root();
        let settings = trust::settings(&self.parts, &root)?;
        self.make_room(inbox, stopping).await?;
        self.begin_turn(turn, &settings).await?;
        *lease = self.snapshot(inbox, stopping).await?;
        let opened = self.open_sandbox(&settings, inbox, stopping).await?;
        // The record names its base by now; after a failure it does once that is kept.
        *lease = None;
        let Opened { sandbox, outlet, serving, facts, .. } = opened;
        let mut voice = Voice::new(None);
        let mut stage = Stage::new(&*sandbox, facts);
        let start = self.parts.clock.monotonic_us();
        let ended = match turn {
            Turn::Agent { text, .. } => {
                self.agent_turn(&mut stage, &settings, text, &mut voice, (inbox, stopping)).await
            }
            Turn::Commands { first } => {
                let runs = self.first_command(&mut stage, first.take()).await;
                match runs {
                    true => Ok(self.follow(&mut stage, None, &mut voice, inbox, stopping).await),
                    false => Ok(Ended::Stopped(NOTHING_RAN)),
                }
            }
        };
        let closed = stage.close(self, &mut voice).await;
        drop(serving);
        for fact in outlet.end_turn() {
            self.teller.tell(fact).await;
        }
        *last_exec = closed?;
        self.hear_end(&mut voice).await;
        drop(sandbox);
        self.told_time(StageName::Agent, start).await;
        self.capture(ended, voice.verdict.take()).await
    }

    async fn begin_turn(
        &mut self,
        turn: &mut Turn,
        settings: &ftl_core::config::Settings,
    ) -> Result<(), Error> {
        let before = self.teller.last_seq();
        self.record.turns += 1;
        let text = match turn {
            Turn::Agent { text, .. } => text.clone(),
            Turn::Commands { .. } => self.record.spec.task.clone(),
        };
        self.record.asked = turn.asked().unwrap_or_else(|| text.clone());
        self.audit("turn_begun", json!({ "turn": self.record.turns, "text": text }), Sync::Kernel).await?;
        let begun = vec![Kind::TurnStarted { turn: self.record.turns, text }];
        if self.record.base.is_some() {
            // A follow-up leaves its rest and begins in one commit: no watcher takes it for idle between.
            self.enter(Step::SandboxBegun, String::new(), begun).await?;
        } else {
            self.record.updated_us = self.parts.clock.now_us();
            self.teller.tell_with(begun, db::encode(&self.record, "session record")?);
        }
        if let Turn::Agent { begun, .. } = turn
            && let Some(reply) = begun.take()
        {
            answer(reply, Ok(before));
        }
        for text in prepare::notices(&self.parts, settings) {
            self.teller.tell(Kind::Notice { level: Level::Warning, text }).await;
        }
        Ok(())
    }

    /// The snapshot that the session works from; taken once.
    async fn snapshot(&mut self, inbox: &mut Inbox, stopping: &mut Stopping) -> Result<Option<Lease>, Error> {
        if self.record.base.is_some() {
            return Ok(None);
        }
        let start = self.parts.clock.monotonic_us();
        self.audit("snapshot_begun", json!({}), Sync::Kernel).await?;
        self.pass(Step::SnapshotBegun)?;
        let (parts, project) = (Arc::clone(&self.parts), self.record.project.clone());
        let taking = async move { taking::take(&parts, &project).await };
        let taken = during(inbox, stopping, State::Snapshotting, taking).await?;
        self.record.base = Some(taken.snapshot);
        self.record.dotenv = taken.dotenv();
        self.teller.tell(taken.event()).await;
        if let Some(text) = watching::notice(&self.parts.store.watching(), &self.root()) {
            self.teller.tell(Kind::Notice { level: Level::Warning, text }).await;
        }
        self.told_time(StageName::Snapshot, start).await;
        Ok(Some(taken.lease))
    }

    async fn open_sandbox(
        &mut self,
        settings: &ftl_core::config::Settings,
        inbox: &mut Inbox,
        stopping: &mut Stopping,
    ) -> Result<Opened, Error> {
        let start = self.parts.clock.monotonic_us();
        self.audit("sandbox_begun", json!({ "backend": self.record.spec.sandbox }), Sync::Kernel).await?;
        if self.record.state != State::Starting {
            self.pass(Step::SandboxBegun)?;
        }
        let (parts, record, settings) = (Arc::clone(&self.parts), self.record.clone(), settings.clone());
        let launching = async move { prepare::launch(&parts, &record, &settings).await };
        let mut opened = during(inbox, stopping, State::Starting, launching).await?;
        for text in std::mem::take(&mut opened.notices) {
            self.teller.tell(Kind::Notice { level: Level::Warning, text }).await;
        }
        self.record.shadows = std::mem::take(&mut opened.shadows);
        let enforcement = opened.sandbox.enforcement().clone();
        let ready = Kind::SandboxReady {
            backend: self.record.spec.sandbox.clone(),
            enforced: enforcement.enforced,
            unenforced: enforcement.unenforced,
        };
        let elapsed_us = self.parts.clock.monotonic_us().saturating_sub(start);
        let time = Kind::StageFinished { stage: StageName::Sandbox, elapsed_us };
        self.enter(Step::WorkBegun, String::new(), vec![ready, time]).await?;
        Ok(opened)
    }

    /// Runs the command that opened the turn, when there is one. Says whether there is something to wait for.
    async fn first_command(&mut self, stage: &mut Stage<'_>, command: Option<Command>) -> bool {
        match command {
            Some(Command::Exec { spec, input, output, reply }) => {
                self.exec(stage, spec, input, output, reply).await
            }
            _ => true,
        }
    }

    /// The project's setup, then the agent.
    async fn agent_turn(
        &mut self,
        stage: &mut Stage<'_>,
        settings: &ftl_core::config::Settings,
        text: &str,
        voice: &mut Voice,
        (inbox, stopping): (&mut Inbox, &mut Stopping),
    ) -> Result<Ended, Error> {
        if let Some(script) = &settings.setup {
            let start = self.parts.clock.monotonic_us();
            let setup = stage.start(prepare::setup(script), Vec::new(), false).await?;
            match self.follow(stage, Some(setup), voice, inbox, stopping).await {
                Ended::Exit(0) => self.told_time(StageName::Setup, start).await,
                Ended::Exit(code) => return Err(Error::Setup { code }),
                other => return Ok(other),
            }
        }
        self.parts.tests.begin(&self.record);
        if self.record.spec.agent == crate::agent::BUILTIN {
            return self.builtin_turn(stage, settings, text, voice, (inbox, stopping)).await;
        }
        let agent = prepare::agent(&self.parts, &self.record, settings, text)?;
        voice.stream = agent.stream;
        self.audit("agent_started", json!({ "program": agent.shown }), Sync::Kernel).await?;
        let running = stage.start(agent.program, agent.stdin, true).await?;
        Ok(self.follow(stage, Some(running), voice, inbox, stopping).await)
    }

    // === keeping and telling ===

    /// Whether the session's state allows a request.
    pub(super) fn may(&self, request: Request) -> Result<(), Error> {
        lifecycle::allows(self.record.state, request).map_err(Error::from)
    }

    /// Takes a step before there is any work that could be lost: it is told in order, and becomes durable
    /// at the latest with the step that lets the agent begin.
    fn pass(&mut self, step: Step) -> Result<(), Error> {
        let state = lifecycle::after(self.record.state, step)?;
        self.record.state = state;
        self.record.updated_us = self.parts.clock.now_us();
        let told = Kind::StateChanged { state, reason: String::new() };
        self.teller.tell_with(vec![told], db::encode(&self.record, "session record")?);
        Ok(())
    }

    /// Takes a step: the record moves, the step's facts are told with it, and both are durable on return.
    pub(super) async fn enter(
        &mut self,
        step: Step,
        reason: String,
        mut kinds: Vec<Kind>,
    ) -> Result<(), Error> {
        let state = lifecycle::after(self.record.state, step)?;
        self.record.state = state;
        self.record.reason.clone_from(&reason);
        kinds.push(Kind::StateChanged { state, reason });
        self.keep(kinds).await
    }

    /// Stores the record together with the facts that led to it.
    pub(super) async fn keep(&mut self, kinds: Vec<Kind>) -> Result<(), Error> {
        self.record.updated_us = self.parts.clock.now_us();
        let record = db::encode(&self.record, "session record")?;
        self.teller.tell_durably(kinds, record).await?;
        Ok(())
    }

    /// Writes an audit record; the caller does what it announces only after this returned.
    pub(super) async fn audit(
        &self,
        action: &'static str,
        detail: serde_json::Value,
        sync: Sync,
    ) -> Result<(), Error> {
        let entry = Entry {
            time_us: self.parts.clock.now_us(),
            action,
            session: Some(self.record.id.clone()),
            project: Some(self.record.project.root.clone()),
            detail,
        };
        let audit = Arc::clone(&self.parts.audit);
        let appended = tokio::task::spawn_blocking(move || audit.append(entry, sync)).await;
        appended.map_err(|_| Error::Interrupted)?.map_err(Error::from)
    }

    pub(super) async fn audit_exec(&self, spec: &ExecSpec) -> Result<(), Error> {
        let argv: Vec<String> = spec.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        self.audit("exec_started", json!({ "argv": argv }), Sync::Kernel).await
    }

    pub(super) fn root(&self) -> PathBuf {
        root(&self.record.project.root)
    }

    /// The turn failed before its work could be captured. Work of earlier turns still waits.
    async fn fail(&mut self, reason: String) {
        tracing::warn!(session = %self.record.id, %reason, "the turn failed");
        if self.record.state.is_idle() {
            return;
        }
        let work = self.still_waits().await;
        if let Err(error) = self.enter(Step::Failed { work }, reason, vec![]).await {
            tracing::error!(session = %self.record.id, error = %told(&error), "the failure could not be kept");
        }
    }
}

impl Turn {
    /// The human's command that opens the turn.
    fn asked(&self) -> Option<String> {
        let Self::Commands { first: Some(Command::Exec { spec, .. }) } = self else { return None };
        let words = spec.argv.iter().map(|word| word.to_string_lossy());
        Some(words.collect::<Vec<_>>().join(" "))
    }

    /// Tells whoever still waits for the turn's beginning that it failed.
    fn fail(self, error: Error) {
        match self {
            Self::Agent { begun: Some(reply), .. } => answer(reply, Err(error)),
            Self::Commands { first: Some(Command::Exec { reply, .. }) } => answer(reply, Err(error)),
            Self::Agent { begun: None, .. } | Self::Commands { .. } => {}
        }
    }
}

/// Does something that takes its time, and answers commands meanwhile. Stopping ends the wait.
pub(super) async fn during<T>(
    inbox: &mut Inbox,
    stopping: &mut Stopping,
    busy: State,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(command) = inbox.recv() => match command {
                Command::Stop { why, reply } => {
                    stopping.ask(why, reply);
                    return Err(Error::Stopped { why });
                }
                other => other.refuse(busy),
            },
        }
    }
}

/// Answers; whoever asked may have gone, which changes nothing.
pub(super) fn answer<T>(reply: oneshot::Sender<T>, result: T) {
    let _gone = reply.send(result);
}

/// An error and its causes in one line.
#[must_use]
pub fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    let mut lines: Vec<String> = causes.collect();
    lines.dedup();
    lines.join(": ")
}

/// The path of a project's root.
pub(super) fn root(root: &Bytes) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(&root.0))
}
