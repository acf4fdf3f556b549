//! Containers that are started ahead.
//!
//! Owns for which session each of them is, when it is made, and that it is given to that session's next launch
//! and to nobody else: nothing of an agent's has run in it. Must not know why one is wanted. It costs a launch
//! no call of the engine: process 1 was heard, and found that it is closed, when it was made.
//!
//! Each has a task that makes it, waits, and removes it unless a launch took it. It is made step by step, and
//! before each step it lets those go first that somebody waits for.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ftl_core::id::SessionId;
use ftl_core::warm::Traits;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::super::guest_stream::Guest;
use super::super::{Command, Ending, ExitStatus, Process, SandboxError, SandboxSpec, Stdio};
use super::engine::Engine;
use super::launch::{self, Named, Standing};
use super::setup::guest_layer::GUEST;
use super::{Backend, DockerConfig, left, users};

/// All of them.
#[derive(Default)]
pub(super) struct Ahead {
    desk: Arc<Mutex<Desk>>,
    /// How many launches are under way that somebody waits for.
    starting: watch::Sender<usize>,
    /// Held while one is put in the place of another.
    replacing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Desk {
    entries: HashMap<SessionId, Entry>,
    /// Sessions that have a sandbox, or are getting one: none is made ahead for them.
    taken: HashSet<SessionId>,
}

/// Says that a session has a sandbox, as long as it lives.
pub(super) struct Taken {
    desk: Arc<Mutex<Desk>>,
    session: SessionId,
}

/// One of them.
struct Entry {
    traits: Traits,
    named: Named,
    wish: watch::Sender<Wish>,
    ready: watch::Receiver<Option<Running>>,
    task: JoinHandle<Option<Standing>>,
}

/// Where one runs, and what: the engine and the image's id.
type Running = (Engine, String);

/// What is wanted of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    /// That it stands ready some day.
    Ready,
    /// It is wanted now.
    Now,
    /// It is not wanted any more.
    Gone,
}

/// How one is made.
pub(super) enum Pace {
    /// Somebody waits for it.
    Now,
    /// Whoever waits for another one goes first.
    Behind(Behind),
}

/// Waits for its turn.
pub(super) struct Behind {
    wish: watch::Receiver<Wish>,
    starting: watch::Receiver<usize>,
}

/// A launch that somebody waits for.
pub(super) struct Starting<'a>(&'a watch::Sender<usize>);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        lock(&self.desk).taken.remove(&self.session);
    }
}

impl Pace {
    /// Whether nobody waits for it yet.
    pub(super) fn is_ahead(&self) -> bool {
        matches!(self, Self::Behind(_))
    }

    /// Waits until the next step may be done.
    ///
    /// # Errors
    /// When none is to be done any more.
    pub(super) async fn step(&mut self) -> Result<(), SandboxError> {
        let Self::Behind(Behind { wish, starting }) = self else { return Ok(()) };
        loop {
            match *wish.borrow_and_update() {
                Wish::Now => return Ok(()),
                Wish::Gone => return Err(unwanted()),
                Wish::Ready if *starting.borrow_and_update() == 0 => return Ok(()),
                Wish::Ready => {}
            }
            let changed = tokio::select! {
                changed = wish.changed() => changed,
                changed = starting.changed() => changed,
            };
            // Without the other end there is no daemon any more.
            changed.map_err(|_| unwanted())?;
        }
    }
}

impl Ahead {
    /// Says that a launch is under way, as long as what it gives lives.
    pub(super) fn starting(&self) -> Starting<'_> {
        self.starting.send_modify(|count| *count += 1);
        Starting(&self.starting)
    }

    /// Says that a session gets a sandbox.
    pub(super) fn take(&self, session: &SessionId) -> Taken {
        lock(&self.desk).taken.insert(session.clone());
        Taken { desk: Arc::clone(&self.desk), session: session.clone() }
    }

    /// Whether one stands ready for a session.
    pub(super) fn is_ready(&self, session: &SessionId) -> bool {
        lock(&self.desk)
            .entries
            .get(session)
            .is_some_and(|entry| entry.ready.borrow().is_some() && !entry.task.is_finished())
    }

    /// Ends that of a session, or all, and waits until they are removed.
    pub(super) async fn end(&self, session: Option<&SessionId>) {
        let those: Vec<Entry> = {
            let mut desk = lock(&self.desk);
            match session {
                Some(session) => desk.entries.remove(session).into_iter().collect(),
                None => desk.entries.drain().map(|(_, entry)| entry).collect(),
            }
        };
        for entry in &those {
            entry.wish.send_replace(Wish::Gone);
        }
        for entry in those {
            if let Ok(Some(standing)) = entry.task.await {
                standing.end().await;
            }
        }
    }
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a container ahead, in the place of one for the same session that is another. Resolves when it stands
/// ready.
///
/// # Errors
/// When it cannot be made, or is not wanted any more.
pub(super) async fn prepare(
    backend: &Arc<Backend>,
    spec: SandboxSpec,
    load: Vec<OsString>,
) -> Result<(), SandboxError> {
    let named = Named::of(&backend.config)?;
    let (session, traits) = (spec.session.clone(), traits(&backend.config, &spec));
    let same = |entry: &Entry| {
        !entry.task.is_finished() && entry.named == named && entry.traits.differs_from(&traits).is_none()
    };
    let replacing = backend.ahead.replacing.lock().await;
    let known = lock(&backend.ahead.desk).entries.get(&session).filter(|entry| same(entry)).map(Entry::watch);
    if let Some(mut ready) = known {
        drop(replacing);
        return if stands(&mut ready).await { Ok(()) } else { Err(unwanted()) };
    }
    backend.ahead.end(Some(&session)).await;
    let (wish, wished) = watch::channel(Wish::Ready);
    let (tell, mut ready) = watch::channel(None);
    let (failed, failure) = oneshot::channel();
    let pace = Pace::Behind(Behind { wish: wished.clone(), starting: backend.ahead.starting.subscribe() });
    let making = make(Arc::clone(backend), spec, (pace, wished), (tell, failed), load);
    {
        let mut desk = lock(&backend.ahead.desk);
        if desk.taken.contains(&session) {
            return Err(unwanted());
        }
        let task = tokio::spawn(making);
        desk.entries.insert(session, Entry { traits, named, wish, ready: ready.clone(), task });
    }
    drop(replacing);
    match stands(&mut ready).await {
        true => Ok(()),
        false => Err(failure.await.unwrap_or_else(|_| unwanted())),
    }
}

impl Entry {
    fn watch(&self) -> watch::Receiver<Option<Running>> {
        self.ready.clone()
    }
}

/// Waits until one stands ready; whether it does.
async fn stands(ready: &mut watch::Receiver<Option<Running>>) -> bool {
    ready.wait_for(Option::is_some).await.is_ok()
}

/// Takes the container that was made ahead for a launch, when it is what that wants in everything. One that is
/// not is removed.
pub(super) async fn lease(backend: &Arc<Backend>, spec: &SandboxSpec) -> Option<Standing> {
    let entry = lock(&backend.ahead.desk).entries.remove(&spec.session)?;
    let session = &spec.session;
    let named = Named::of(&backend.config).ok();
    let differs = match &named {
        Some(named) if *named == entry.named => entry.traits.differs_from(&traits(&backend.config, spec)),
        _ => Some("image"),
    };
    entry.wish.send_replace(if differs.is_none() { Wish::Now } else { Wish::Gone });
    let standing = entry.task.await.ok().flatten()?;
    let environment = standing.environment();
    let answers = differs.is_some() || answers(standing.guest(), &environment).await;
    let differs = if answers { differs } else { Some("process 1, which does not answer") };
    let given = match (differs, named) {
        (None, Some(named)) => standing.give(spec, &named).await,
        (differs, _) => {
            tracing::info!(%session, differs, "a container that was made ahead is not what is wanted");
            standing.end().await;
            return None;
        }
    };
    match given {
        Ok(standing) => Some(standing),
        Err((standing, error)) => {
            tracing::warn!(%session, %error, "a container that was made ahead cannot be given");
            standing.end().await;
            None
        }
    }
}

/// Ends those whose image is not the one any more that a launch would run, and what an earlier daemon left.
pub(super) async fn tend(backend: &Arc<Backend>) {
    if left::may_be(&backend.config.home)
        && let Ok(engine) = backend.engines.get().await
        && let Err(error) = backend.tidy(&engine).await
    {
        tracing::debug!(%error, "what an earlier daemon left could not be removed yet");
    }
    let running: Vec<(SessionId, Running)> = {
        let mut desk = lock(&backend.ahead.desk);
        desk.entries.retain(|_, entry| !entry.task.is_finished());
        let running =
            |(session, entry): (&SessionId, &Entry)| Some((session.clone(), entry.ready.borrow().clone()?));
        desk.entries.iter().filter_map(running).collect()
    };
    for (session, running) in running {
        if !is_current(backend, &running).await {
            tracing::info!(%session, "a container that was made ahead has an image that is another by now");
            backend.ahead.end(Some(&session)).await;
        }
    }
}

/// What a container is made of. What is given to a launch afterwards is not part of it.
fn traits(config: &DockerConfig, spec: &SandboxSpec) -> Traits {
    let targets: Vec<_> = spec.files.iter().map(|(target, _)| target).collect();
    Traits::default()
        .with("session", spec.session.to_string())
        .with("layers", format!("{:?}", spec.layers))
        .with("directory", format!("{:?}", spec.dir))
        .with("limits", format!("{:?}", spec.limits))
        .with("shared directories", format!("{:?}", spec.shared))
        .with("network", format!("{:?}", spec.network))
        .with("files", format!("{targets:?}"))
        .with("runtime", format!("{:?}", config.runtime))
        .with("user", format!("{:?}", users::of_this_machine().ok()))
}

// === the task of one ===

async fn make(
    backend: Arc<Backend>,
    spec: SandboxSpec,
    (mut pace, mut wish): (Pace, watch::Receiver<Wish>),
    (ready, failed): (watch::Sender<Option<Running>>, oneshot::Sender<SandboxError>),
    load: Vec<OsString>,
) -> Option<Standing> {
    let standing = match launch::make(&backend, spec, &mut pace).await {
        Ok(standing) => standing,
        Err(error) => {
            let _nobody_waits = failed.send(error);
            return None;
        }
    };
    if pace.step().await.is_ok() {
        let environment = standing.environment();
        bring_into_memory(standing.guest(), &environment, load, &mut wish).await;
    }
    ready.send_replace(Some(standing.image()));
    loop {
        let wished = *wish.borrow_and_update();
        match wished {
            Wish::Now => return Some(standing),
            Wish::Gone => break,
            Wish::Ready => {}
        }
        tokio::select! {
            // Without a backend nobody wants it.
            changed = wish.changed() => if changed.is_err() { break },
            () = standing.guest().gone() => break,
        }
    }
    standing.end().await;
    None
}

/// Whether a launch would run the same image. Of what cannot be told nothing is given away.
async fn is_current(backend: &Backend, (engine, image): &Running) -> bool {
    let Ok(named) = Named::of(&backend.config) else { return false };
    named.find(engine).await.is_ok_and(|found| found == *image)
}

/// Reads programs of the image as the kernel would when they are started, by our own program and with the least
/// priority. Nothing depends on it, and whoever wants the container now does not wait for it.
async fn bring_into_memory(
    guest: &Guest,
    environment: &[(OsString, OsString)],
    load: Vec<OsString>,
    wish: &mut watch::Receiver<Wish>,
) {
    if load.is_empty() {
        return;
    }
    let Ok(Process { control, mut exit, .. }) = read_ahead(guest, environment, load).await else { return };
    tokio::select! {
        _ended = &mut exit => return,
        _wanted = wish.wait_for(|wish| matches!(wish, Wish::Now | Wish::Gone)) => {}
    }
    // It is gone before anything else begins: an error means that all of it is.
    if control.signal(KILL).await.is_ok() {
        let _ended = exit.await;
    }
}

/// Whether process 1 still does what it is asked, found out by having it run our own program on nothing. Its end
/// may not have been heard of yet.
async fn answers(guest: &Guest, environment: &[(OsString, OsString)]) -> bool {
    let asked = async { read_ahead(guest, environment, Vec::new()).await?.exit.await };
    matches!(tokio::time::timeout(ANSWER, asked).await, Ok(Ok(ExitStatus::Code(0))))
}

/// Starts our own program that reads others.
async fn read_ahead(
    guest: &Guest,
    environment: &[(OsString, OsString)],
    programs: Vec<OsString>,
) -> Result<Process, SandboxError> {
    let argv = [GUEST.into(), "load".into()].into_iter().chain(programs).collect();
    let command = Command { argv, env: Vec::new(), workdir: Some("/".into()), stdio: Stdio::Pipes };
    let (_sender, end) = watch::channel(Some(Ending::Killed));
    guest.spawn(command, environment, end).await
}

/// How long process 1 may take for that, on a machine that does a hundred other things.
const ANSWER: Duration = Duration::from_secs(10);

/// The signal that nothing survives.
const KILL: i32 = 9;

fn unwanted() -> SandboxError {
    SandboxError::Ended { ending: Ending::Killed }
}
