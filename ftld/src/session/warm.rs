//! What comes next, made ahead: the sandbox of a session's next turn, or of a project's next session.
//!
//! Owns for whom one is kept, out of what it is made, and when it goes; the counting is
//! [`ftl_core::warm`]'s. A session whose work waits for the human is likely to go on; after one that has ended a
//! new one is likely, whose id is chosen ahead with its sandbox. So every sandbox belongs to one session from its
//! beginning, and there is no way to another one. Must not know how a backend makes one.
//!
//! A project changes between sessions. What differs by then is written into a layer that was empty when the
//! sandbox was made, and that nothing has looked into since.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ftl_core::config::Settings;
use ftl_core::event::Bytes;
use ftl_core::id::{Hash, SessionId, SnapshotId};
use ftl_core::lifecycle::State;
use ftl_core::warm::{Purpose, Ready, to_end};
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

use super::decide::{blocking, new_session_id};
use super::driver::{root, told};
use super::record::{Project, Record, Spec};
use super::{Error, history, layers, outlet, prepare, seen, trust};
use crate::agent::AgentAdapter;
use crate::app::Parts;
use crate::sandbox::SandboxSpec;
use crate::snapshot::Base;

/// What was made ahead.
#[derive(Default)]
pub struct Warm {
    desk: Mutex<Desk>,
    /// Held while it is decided what is made: what is known of a session is then not older than what it gets.
    deciding: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Desk {
    items: Vec<Item>,
    /// Set once the daemon ends: nothing is made any more.
    closed: bool,
}

/// One sandbox that stands ready, or soon will.
struct Item {
    session: SessionId,
    ready: Ready,
    shape: Shape,
    /// Whose it is to be; `None` when the session is there.
    reserved: Option<Reserved>,
}

/// What the next session of a project must be to have what was made for it.
#[derive(Clone, PartialEq, Eq)]
struct Reserved {
    project: Project,
    sandbox: String,
    argv: Vec<Bytes>,
    /// What stands in the home that was made for its agent.
    home: Hash,
}

/// Out of what a sandbox was made.
#[derive(Clone)]
pub(super) struct Shape {
    /// The directories below its workspace, the one on top first.
    pub(super) layers: Vec<PathBuf>,
    /// Some of them. They stay as long as this.
    pub(super) base: Base,
    base_id: SnapshotId,
    /// The frozen layers among them.
    frozen: Vec<PathBuf>,
    /// The layer that is filled with what has changed since.
    patch: Option<PathBuf>,
}

/// How often it is looked for what nobody wants any more.
const EVERY: Duration = Duration::from_secs(30);
/// The layer of a session that has what its project changed while its sandbox stood ready.
const PATCH: &str = "patch";

/// A session has come to rest: prepares what is likely to come next, in the background.
pub(super) fn hint(parts: &Arc<Parts>, record: &Record) {
    let backend = parts.sandboxes.get(record.spec.sandbox.as_str());
    let warms = backend.is_some_and(|backend| backend.warms()) && parts.user.docker.budget().most > 0;
    if !warms || !record.state.is_idle() || record.base.is_none() || lock(&parts.warm).closed {
        return;
    }
    let (shared, record) = (Arc::clone(parts), record.clone());
    parts.warm.tasks.spawn(async move {
        if let Err(error) = prepare_next(&shared, &record).await {
            // The next launch makes its own, and tells what is wrong.
            tracing::debug!(session = %record.id, error = %told(&error), "nothing was made ahead");
        }
    });
}

/// The id of a new session: the one that a sandbox was made ahead for, when it fits.
pub(super) fn id(
    parts: &Parts,
    project: &Project,
    spec: &Spec,
    settings: &Settings,
) -> Result<SessionId, Error> {
    let adapter = prepare::adapter(spec, settings)?;
    let wanted = Reserved::of(parts, project, spec, settings, &*adapter);
    let mut desk = lock(&parts.warm);
    let fits = |item: &&mut Item| {
        item.reserved.as_ref() == Some(&wanted) && item.ready.purpose == purpose(project, spec)
    };
    let Some(item) = desk.items.iter_mut().find(fits) else { return new_session_id() };
    item.reserved = None;
    item.ready.since_us = parts.clock.now_us();
    Ok(item.session.clone())
}

/// What was made ahead for a session's turn, up to date; `None` when the turn begins as if there was nothing.
pub(super) async fn shape(parts: &Arc<Parts>, record: &Record) -> Option<Shape> {
    let item = {
        let mut desk = lock(&parts.warm);
        let at = desk.items.iter().position(|item| item.session == record.id)?;
        desk.items.swap_remove(at)
    };
    let (shared, of) = (Arc::clone(parts), record.clone());
    let fitted = blocking(move || fit(&shared, &of, item.shape)).await;
    match fitted {
        Ok(shape) => shape,
        Err(error) => {
            tracing::warn!(session = %record.id, error = %told(&error), "what was made ahead cannot be used");
            None
        }
    }
}

/// Ends what was made for a session that goes.
pub(super) async fn forget(parts: &Arc<Parts>, session: &SessionId) {
    lock(&parts.warm).items.retain(|item| item.session != *session);
    for backend in parts.sandboxes.values() {
        backend.cool(Some(session)).await;
    }
}

/// Ends everything that was made ahead, for good.
pub(super) async fn close(parts: &Arc<Parts>) {
    let items = {
        let mut desk = lock(&parts.warm);
        desk.closed = true;
        std::mem::take(&mut desk.items)
    };
    for backend in parts.sandboxes.values() {
        backend.cool(None).await;
    }
    parts.warm.tasks.close();
    parts.warm.tasks.wait().await;
    for item in items {
        end(parts, item).await;
    }
    // One may have been begun before it was closed.
    for backend in parts.sandboxes.values() {
        backend.cool(None).await;
    }
}

/// Ends what nobody wants any more, for as long as the daemon runs.
pub async fn keep_few(parts: Arc<Parts>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        look(&parts).await;
    }
}

/// Looks once for what nobody wants any more.
async fn look(parts: &Arc<Parts>) {
    end_excess(parts).await;
    for backend in parts.sandboxes.values() {
        backend.tend().await;
    }
}

/// Whether something stands ready for a session.
#[must_use]
pub fn is_ready(parts: &Parts, session: &SessionId) -> bool {
    parts.sandboxes.values().any(|backend| backend.is_warm(session))
}

// === making ===

/// Makes the sandbox of a session's next turn ahead, and waits until it stands ready; why there is none, when it
/// cannot.
///
/// # Errors
/// When it cannot be told.
pub(super) async fn make_now(parts: &Arc<Parts>, record: &Record) -> Result<Option<String>, Error> {
    let Some(backend) = parts.sandboxes.get(record.spec.sandbox.as_str()) else { return Ok(None) };
    if !backend.warms() {
        return Ok(Some(format!("the sandbox `{}` is made with each turn", backend.name())));
    }
    if parts.user.docker.budget().most == 0 {
        return Ok(Some("`docker.warm` is 0 in ~/.ftl/config".to_owned()));
    }
    if !matches!(record.state, State::AwaitingReview | State::NoChanges) || layers::is_loose(parts, record) {
        return Ok(Some("the last turn's work was not read, so the next one makes its own".to_owned()));
    }
    let made = prepare_next(parts, record).await;
    Ok(match made {
        Ok(()) if is_ready(parts, &record.id) => None,
        Ok(()) => Some("others were wanted later, and `docker.warm` says how many stand ready".to_owned()),
        Err(error) => Some(told(&error)),
    })
}

/// The sandbox of a session's next turn, made and ended: what proves that it can be had.
///
/// # Errors
/// When it cannot.
pub(super) async fn try_out(parts: &Arc<Parts>, record: &Record) -> Result<(), Error> {
    let Some(backend) = parts.sandboxes.get(record.spec.sandbox.as_str()) else {
        return Err(Error::NoSuchSandbox { name: record.spec.sandbox.clone(), known: Vec::new() });
    };
    prepare::check_engine(parts, &**backend)?;
    let settings = trust::settings(parts, &root(&record.project.root))?;
    let (shared, of) = (Arc::clone(parts), record.clone());
    let shape = blocking(move || {
        layers::thaw(&shared, &of)?;
        make_shape(&shared, &of, false)
    })
    .await?;
    let sandbox = backend.launch(prepare::bare(parts, record, &settings, shape.layers.clone())).await?;
    sandbox.kill().await;
    Ok(())
}

async fn prepare_next(parts: &Arc<Parts>, at_rest: &Record) -> Result<(), Error> {
    let Some(backend) = parts.sandboxes.get(at_rest.spec.sandbox.as_str()) else { return Ok(()) };
    let decided = {
        let _alone = parts.warm.deciding.lock().await;
        if !stands(parts, at_rest)? {
            return Ok(());
        }
        decide(parts, at_rest).await?
    };
    end_excess(parts).await;
    let Some(Decided { spec, load, since_us }) = decided else { return Ok(()) };
    let session = spec.session.clone();
    let made = backend.warm(spec, load).await;
    let is_unwanted = made.is_err() || (session == at_rest.id && !exists(parts, &session)?);
    // Whoever has come for it meanwhile makes its own.
    if is_unwanted && let Some(item) = take_idle(parts, &session, since_us) {
        end(parts, item).await;
    }
    Ok(made?)
}

/// What is to be made.
struct Decided {
    spec: SandboxSpec,
    /// The agent's program.
    load: Vec<OsString>,
    since_us: i64,
}

/// Says what is to be made after a session has come to rest, and keeps a place for it.
async fn decide(parts: &Arc<Parts>, at_rest: &Record) -> Result<Option<Decided>, Error> {
    let settings = trust::settings(parts, &root(&at_rest.project.root))?;
    if matches!(at_rest.state, State::AwaitingReview | State::NoChanges) {
        return match layers::is_loose(parts, at_rest) {
            true => Ok(None),
            false => place(parts, at_rest, &settings, None).await.map(Some),
        };
    }
    // A follow-up makes its own.
    forget(parts, &at_rest.id).await;
    let next = next_session(parts, at_rest)?;
    let adapter = prepare::adapter(&next.spec, &settings)?;
    let reserved = Reserved::of(parts, &next.project, &next.spec, &settings, &*adapter);
    if is_reserved(parts, &next, &reserved) {
        return Ok(None);
    }
    let placed = match prepare::furnish(parts, &next, &settings, &*adapter, &[]) {
        Ok(()) => place(parts, &next, &settings, Some(reserved)).await.map(Some),
        Err(error) => Err(error),
    };
    if placed.is_err() {
        remove_dir(parts, &next.id).await;
    }
    placed
}

/// Keeps a place for the sandbox of a session's next turn.
async fn place(
    parts: &Arc<Parts>,
    record: &Record,
    settings: &Settings,
    reserved: Option<Reserved>,
) -> Result<Decided, Error> {
    let adapter = prepare::adapter(&record.spec, settings)?;
    let (shared, of, patched) = (Arc::clone(parts), record.clone(), reserved.is_some());
    let shape = blocking(move || make_shape(&shared, &of, patched)).await?;
    let spec = SandboxSpec {
        shared: history::expected(parts, record, settings.history),
        files: outlet::files().map(|path| (path, Vec::new())).collect(),
        ..prepare::bare(parts, record, settings, shape.layers.clone())
    };
    let since_us = parts.clock.now_us();
    let ready = Ready { purpose: purpose(&record.project, &record.spec), since_us };
    {
        let mut desk = lock(&parts.warm);
        if desk.closed {
            return Err(Error::Interrupted);
        }
        // In the place of what there was for the same session.
        desk.items.retain(|other| other.session != record.id);
        desk.items.push(Item { session: record.id.clone(), ready, shape, reserved });
    }
    let load = adapter.program().map(OsString::from).into_iter().collect();
    Ok(Decided { spec, load, since_us })
}

/// Whether a session is still as it was when it came to rest.
fn stands(parts: &Parts, at_rest: &Record) -> Result<bool, Error> {
    let now = parts.db.records::<Record>(at_rest.id.as_str())?.pop();
    let same = |now: Record| {
        (now.state, now.turns, now.stack) == (at_rest.state, at_rest.turns, at_rest.stack.clone())
    };
    Ok(now.is_some_and(same))
}

fn exists(parts: &Parts, session: &SessionId) -> Result<bool, Error> {
    Ok(!parts.db.records::<Record>(session.as_str())?.is_empty())
}

/// A session of the same project and kind that is not there yet.
fn next_session(parts: &Parts, before: &Record) -> Result<Record, Error> {
    let spec = Spec { task: String::new(), ..before.spec.clone() };
    let mut record = Record::new(new_session_id()?, before.project.clone(), spec, parts.clock.now_us());
    (record.base, record.dotenv) = (before.base, before.dotenv.clone());
    Ok(record)
}

/// The directories below a workspace that is made ahead. Those that are filled later are there.
fn make_shape(parts: &Parts, record: &Record, patched: bool) -> Result<Shape, Error> {
    let base_id = record.base.ok_or(Error::Interrupted)?;
    let base = parts.store.base(&root(&record.project.root), base_id)?;
    let (frozen, seen) = (layers::dirs(parts, record), seen::dir(parts, record));
    let patch = patched.then(|| seen.with_file_name(PATCH));
    for empty in std::iter::once(&seen).chain(&patch).filter(|dir| !dir.exists()) {
        parts.store.write_seen(base_id, &[], empty, parts.owner)?;
    }
    let layers = frozen.iter().cloned().chain([seen]).chain(patch.clone()).chain(base.layers()).collect();
    Ok(Shape { layers, base, base_id, frozen, patch })
}

/// Makes a shape that of this turn, if that can be: `None` when the session, or the project, is another one.
fn fit(parts: &Parts, record: &Record, shape: Shape) -> Result<Option<Shape>, Error> {
    if shape.frozen != layers::dirs(parts, record) {
        return Ok(None);
    }
    let base = record.base.ok_or(Error::Interrupted)?;
    let Some(patch) = &shape.patch else { return Ok((base == shape.base_id).then_some(shape)) };
    // Nothing has run there, so it is as it was made; what is not, nobody gets.
    let dir = parts.home.sessions().join(record.id.as_str());
    if ["upper", "tmp", PATCH].iter().any(|name| layers::holds_something(&dir.join(name))) {
        tracing::warn!(session = %record.id, "what was made ahead is not as it was made");
        return Ok(None);
    }
    let fits = base == shape.base_id || parts.store.write_patch((shape.base_id, base), patch, parts.owner)?;
    Ok(fits.then_some(shape))
}

impl Reserved {
    fn of(
        parts: &Parts,
        project: &Project,
        spec: &Spec,
        settings: &Settings,
        adapter: &dyn AgentAdapter,
    ) -> Self {
        let mut home = Vec::new();
        for (path, content) in prepare::home_files(parts, settings, adapter) {
            home.extend(Hash::of(path.as_os_str().as_encoded_bytes()).to_hex().bytes());
            home.extend(Hash::of(&content).to_hex().bytes());
        }
        Self {
            project: project.clone(),
            sandbox: spec.sandbox.clone(),
            argv: spec.argv.clone(),
            home: Hash::of(&home),
        }
    }
}

fn purpose(project: &Project, spec: &Spec) -> Purpose {
    Purpose { project: project.root.0.clone(), agent: spec.agent.clone() }
}

// === keeping ===

fn lock(warm: &Warm) -> MutexGuard<'_, Desk> {
    warm.desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the next session of that kind has one already, over the same snapshot.
fn is_reserved(parts: &Parts, record: &Record, reserved: &Reserved) -> bool {
    let mut desk = lock(&parts.warm);
    let same = |item: &&mut Item| {
        item.reserved.as_ref() == Some(reserved) && Some(item.shape.base_id) == record.base
    };
    let Some(item) = desk.items.iter_mut().find(same) else { return false };
    item.ready.since_us = parts.clock.now_us();
    true
}

/// Takes what nobody has come for since it was wanted last.
fn take_idle(parts: &Parts, session: &SessionId, since_us: i64) -> Option<Item> {
    let mut desk = lock(&parts.warm);
    let is = |item: &Item| item.session == *session && item.ready.since_us == since_us;
    let at = desk.items.iter().position(is)?;
    Some(desk.items.swap_remove(at))
}

/// Ends what is more than there may be, or too old.
async fn end_excess(parts: &Arc<Parts>) {
    let (budget, now_us) = (parts.user.docker.budget(), parts.clock.now_us());
    let gone: Vec<Item> = {
        let mut desk = lock(&parts.warm);
        let ready: Vec<Ready> = desk.items.iter().map(|item| item.ready.clone()).collect();
        let those = to_end(&ready, budget, now_us);
        // From behind: what is taken out moves what follows.
        those.into_iter().rev().map(|at| desk.items.remove(at)).collect()
    };
    for item in gone {
        end(parts, item).await;
    }
}

/// Ends one, and removes what was made for a session that never came to be.
async fn end(parts: &Arc<Parts>, item: Item) {
    for backend in parts.sandboxes.values() {
        backend.cool(Some(&item.session)).await;
    }
    if item.reserved.is_some() {
        remove_dir(parts, &item.session).await;
    }
}

/// Removes what was made for a session that never came to be.
async fn remove_dir(parts: &Parts, session: &SessionId) {
    let dir = parts.home.sessions().join(session.as_str());
    let removing = move || {
        let removed = crate::snapshot::remove_tree(&dir);
        removed.map_err(|source| Error::Write { path: dir, source })
    };
    if let Err(error) = blocking(removing).await {
        tracing::warn!(%session, error = %told(&error), "what was made ahead is left");
    }
}
