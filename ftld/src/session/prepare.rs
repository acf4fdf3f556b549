//! What a turn needs before it can run: a checked request, a sandbox, the agent's program.
//!
//! Owns the translation of settings into what the folders below ask for. Must not know the order of a
//! turn, and changes no session.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ftl_core::agent::is_loopback;
use ftl_core::config::{Forwarded, SandboxChoice, Settings, effective, forwardable};
use ftl_core::egress::host::Authority;
use ftl_core::egress::rule::Rule;
use ftl_core::event::Kind;
use ftl_core::id::SnapshotId;
use tokio::sync::mpsc;

use super::Error;
use super::decide::blocking;
use super::driver::root;
use super::history;
use super::layers;
use super::made_home::make_home;
use super::outlet::{self, Outlet, Serving};
use super::record::{Record, Spec};
use super::{interactive, own_settings, seen, tester, warm};
use crate::agent::{
    self, AgentAdapter, AgentError, CommandSpec, EventStream, Found, Search, Tools, TurnSpec,
};
use crate::app::Parts;
use crate::sandbox::{
    Check, Command, Limits, Network, Outcome, Programs, Sandbox, SandboxBackend, SandboxError, SandboxSpec,
    Stdio,
};
use crate::snapshot::Base;
use crate::vault::Wanted;

/// An agent that is ready to be started.
pub(super) struct Agent {
    pub(super) program: Command,
    pub(super) stdin: Vec<u8>,
    pub(super) stream: Option<Box<dyn EventStream + Send>>,
    /// The program and its arguments for the audit log, without the task.
    pub(super) shown: String,
}

/// Megabytes to bytes.
const MIB: u64 = 1024 * 1024;
/// Descriptors that one process of a sandbox may have open.
const OPEN_FILES: u64 = 65_536;

/// Fills in what the request left to the settings, and refuses what cannot run.
pub(super) fn check(parts: &Parts, project: &Path, settings: &Settings, spec: Spec) -> Result<Spec, Error> {
    if let Some(what) = settings.refused.first() {
        return Err(Error::Unsupported { what: (*what).to_owned() });
    }
    let agent = if spec.agent.is_empty() { settings.agent.clone() } else { spec.agent };
    let sandbox = match spec.sandbox.as_str() {
        "" => settings.sandbox.name(),
        name => name,
    };
    let sandbox = if sandbox == SandboxChoice::Auto.name() { "native" } else { sandbox };
    if !parts.sandboxes.contains_key(sandbox) {
        let known = parts.sandboxes.keys().copied().collect();
        return Err(Error::NoSuchSandbox { name: sandbox.chars().take(80).collect(), known });
    }
    let spec = Spec { agent, sandbox: sandbox.to_owned(), ..spec };
    let spec = Spec { tests: tester::resolve(parts, settings, &spec)?, ..spec };
    let adapter = adapter(&spec, settings)?;
    interactive::check(&spec, &*adapter)?;
    if !spec.is_by_hand() && spec.task.trim().is_empty() {
        return Err(Error::EmptyTask);
    }
    has_key(parts, project, settings, &*adapter)?;
    // Looked for now, so that a missing program is an error of the request and not of the turn.
    if programs(parts, &spec) == Programs::Host {
        find(parts, &Places::of(parts, &spec, project), settings, &*adapter)?;
    }
    Ok(spec)
}

/// Whether there is a key for an agent whose model is served by its vendor.
fn has_key(
    parts: &Parts,
    project: &Path,
    settings: &Settings,
    agent: &dyn AgentAdapter,
) -> Result<(), Error> {
    let agent_settings = settings.agent_settings(agent.name());
    if agent.name() == agent::BUILTIN {
        // The key itself is asked for when the turn begins: it may come from another program.
        return super::ask::of_agent(parts, agent_settings.model.as_deref()).map(drop);
    }
    let url = agent_settings.model_base_url;
    if agent.keys().is_empty() || url.is_some_and(|url| is_loopback(&url)) {
        return Ok(());
    }
    let dotenv = outlet::dotenv_at_root(project);
    let wanted = Wanted { project, dotenv: &dotenv, named: &settings.shadow_env, agent: agent.keys() };
    let (entries, _problems) = parts.vault.of_session(&wanted)?;
    match entries.iter().any(|entry| agent.keys().contains(&entry.name.as_str())) {
        true => Ok(()),
        false => Err(Error::NoKey { agent: agent.name(), names: agent.keys() }),
    }
}

pub(super) fn adapter(spec: &Spec, settings: &Settings) -> Result<Box<dyn AgentAdapter>, Error> {
    let asked: Vec<OsString> = spec.argv.iter().map(|word| OsString::from_vec(word.0.clone())).collect();
    let configured = || settings.command.iter().flatten().map(OsString::from).collect();
    let command = if asked.is_empty() { configured() } else { asked };
    Ok(agent::adapter(&spec.agent, &command)?)
}

/// The adapter of that name as these settings have it; none when it could not run.
pub(super) fn adapter_named(name: &str, settings: &Settings) -> Option<Box<dyn AgentAdapter>> {
    let command: Vec<OsString> = settings.command.iter().flatten().map(OsString::from).collect();
    agent::adapter(name, &command).ok()
}

/// Where programs are looked for: the human's PATH first, the daemon's own after it.
pub(super) struct Places {
    path: Vec<PathBuf>,
    avoid: Vec<PathBuf>,
}

impl Places {
    pub(super) fn of(parts: &Parts, spec: &Spec, project: &Path) -> Self {
        let mut path: Vec<PathBuf> = spec.search_path.iter().map(root).collect();
        path.extend(parts.user.path.iter().flat_map(std::env::split_paths));
        Self { path, avoid: vec![project.to_owned(), parts.home.root().to_owned()] }
    }

    pub(super) fn search<'a>(&'a self, parts: &'a Parts, configured: Option<&'a str>) -> Search<'a> {
        Search {
            configured: configured.map(Path::new),
            path: &self.path,
            home: parts.user.home.as_deref(),
            avoid: &self.avoid,
        }
    }
}

/// Where the programs of a session come from.
fn programs(parts: &Parts, spec: &Spec) -> Programs {
    parts.sandboxes.get(spec.sandbox.as_str()).map_or(Programs::Host, |backend| backend.programs())
}

/// Finds the agent's program on the host.
fn find(
    parts: &Parts,
    places: &Places,
    settings: &Settings,
    adapter: &dyn AgentAdapter,
) -> Result<Option<Found>, Error> {
    let Some(program) = adapter.program() else { return Ok(None) };
    let configured = settings.agent_settings(adapter.name()).path;
    Ok(Some(agent::find_program(&program.to_string_lossy(), &places.search(parts, configured.as_deref()))?))
}

/// Sentences about settings that do not do what the reader of the configuration may expect.
pub(super) fn notices(parts: &Parts, settings: &Settings) -> Vec<String> {
    let refused = forwarded(parts, settings).refused.into_iter();
    let mut notices: Vec<String> =
        refused.map(|(name, why)| format!("{name} stays outside the sandbox: it {}", why.reason())).collect();
    if !settings.inert.is_empty() {
        let names = settings.inert.join(", ");
        notices.push(format!(
            ".ftlconfig is not trusted, so this is inert: {names}; `ftlctl trust` changes that"
        ));
    }
    if !settings.idle.is_empty() {
        let names = settings.idle.join(", ");
        notices.push(format!("this version does nothing yet with: {names}"));
    }
    notices
}

/// A sandbox that is up, with its outlet.
pub(super) struct Opened {
    pub(super) sandbox: Box<dyn Sandbox>,
    /// The directories below its workspace. They must outlive it.
    pub(super) _bases: [Base; 2],
    pub(super) outlet: Arc<Outlet>,
    /// Serves the sandbox's pipe as long as it lives; absent when the backend has none.
    pub(super) serving: Option<Serving>,
    /// What the proxy has to tell.
    pub(super) facts: mpsc::Receiver<Kind>,
    /// The session's shadows, to be kept.
    pub(super) shadows: BTreeMap<String, String>,
    /// What the human should know.
    pub(super) notices: Vec<String>,
}

/// Launches the session's sandbox over its base and its upper layer, and opens its outlet.
pub(super) async fn launch(
    parts: &Arc<Parts>,
    record: &Record,
    settings: &Settings,
) -> Result<Opened, Error> {
    let no_backend = || Error::NoSuchSandbox { name: record.spec.sandbox.clone(), known: Vec::new() };
    let backend = parts.sandboxes.get(record.spec.sandbox.as_str()).ok_or_else(no_backend)?;
    let base_id = record.base.ok_or(Error::Interrupted)?;
    check_engine(parts, &**backend)?;
    let (shared, of) = (Arc::clone(parts), record.clone());
    let base = blocking(move || {
        layers::thaw(&shared, &of)?;
        Ok(shared.store.base(&root(&of.project.root), base_id)?)
    })
    .await?;
    tidy_later(parts, record, base_id);
    let adapter = adapter(&record.spec, settings)?;
    let places = Places::of(parts, &record.spec, &root(&record.project.root));
    let (found, tools) = match backend.programs() {
        Programs::Host => {
            let more: Vec<PathBuf> = settings.tool_dirs.iter().map(PathBuf::from).collect();
            let tools = agent::tools(&places.search(parts, None), &more)?;
            (find(parts, &places, settings, &*adapter)?, tools)
        }
        Programs::Image => (None, Tools::default()),
    };
    furnish(parts, record, settings, &*adapter, &tools.home_links)?;
    let mut env = tools.env;
    env.extend(forwarded(parts, settings).env.into_iter().map(|(name, value)| (name.into(), value)));
    let (outlet, mut furnishing) = outlet::open(parts, record, settings, &*adapter).await?;
    env.extend(furnishing.env);
    let mut binds = tools.binds;
    let mut path = tools.path;
    if let Some(found) = found {
        binds.extend(found.binds);
        path.splice(0..0, found.path);
        env.extend(found.env);
    }
    let shape = warm::shape(parts, record).await;
    let shown = history::furnish(parts, record, settings.history).await;
    let seen = std::mem::take(&mut furnishing.seen);
    let (layers, below) = match shape {
        Some(shape) => {
            seen::write(parts, record, seen).await?;
            (shape.layers, shape.base)
        }
        None => {
            let below = seen::layers(parts, record, &base, seen).await?;
            ([layers::dirs(parts, record), below].concat(), base.clone())
        }
    };
    let spec = SandboxSpec {
        tools: binds,
        shared: shown.shared,
        path,
        env,
        files: furnishing.files,
        ..bare(parts, record, settings, layers)
    };
    let sandbox = backend.launch(spec).await?;
    let (serving, facts) = match sandbox.take_pipe() {
        Some(pipe) => {
            let (serving, facts) = outlet.serve(pipe);
            (Some(serving), facts)
        }
        None => (None, mpsc::channel(1).1),
    };
    let outlet::Furnishing { shadows, mut notices, .. } = furnishing;
    notices.extend(shown.notices);
    if record.turns <= 1 {
        notices.extend(own_settings::of(parts.user.home.as_deref(), settings, adapter.name()).told);
    }
    Ok(Opened { sandbox, _bases: [base, below], outlet, serving, facts, shadows, notices })
}

/// Refuses containers of another kind than those that the human asks for by now.
pub(super) fn check_engine(parts: &Parts, backend: &dyn SandboxBackend) -> Result<(), Error> {
    if backend.programs() == Programs::Image
        && crate::config::user(parts.home.root())?.docker != parts.user.docker
    {
        return Err(SandboxError::Container {
            why: "`docker` in ~/.ftl/config is not what it was when the daemon started".to_owned(),
            remedy: "start it again: `ftlctl daemon stop`, then `ftlctl daemon start`".to_owned(),
        }
        .into());
    }
    Ok(())
}

/// A session's sandbox without what a turn furnishes it with.
pub(super) fn bare(parts: &Parts, record: &Record, settings: &Settings, layers: Vec<PathBuf>) -> SandboxSpec {
    let limits = limits(parts, settings);
    SandboxSpec {
        session: record.id.clone(),
        layers,
        dir: session_dir(parts, record),
        limits: Limits { disk_bytes: layers::left(record, limits.disk_bytes), ..limits },
        tools: Vec::new(),
        shared: Vec::new(),
        path: Vec::new(),
        env: Vec::new(),
        network: Network::Egress,
        files: Vec::new(),
    }
}

/// Folds what has become many layers, while the session goes on.
fn tidy_later(parts: &Arc<Parts>, record: &Record, base: SnapshotId) {
    let project = root(&record.project.root);
    if !parts.store.is_untidy(&project) {
        return;
    }
    let parts = Arc::clone(parts);
    tokio::task::spawn_blocking(move || {
        let result = parts.db.records::<Record>("").map_err(Error::from).and_then(|records| {
            let open = records.iter().filter(|record| !record.state.has_ended());
            let keep = open.filter_map(|record| record.base).collect();
            Ok(parts.store.fold(&project, base, &keep)?)
        });
        if let Err(error) = result {
            tracing::warn!(project = %project.display(), %error, "base trees could not be tidied");
        }
    });
}

/// What an agent must be able to reach to work at all.
pub(super) fn agent_rules(settings: &Settings, agent: &dyn AgentAdapter) -> Vec<Rule> {
    let configured = endpoint(settings, agent).map(|authority| format!("allow https://{authority}"));
    let usual = agent.hosts().iter().map(|host| format!("allow https://{host}"));
    let rules: Vec<String> = match configured {
        Some(rule) => vec![rule],
        None => usual.collect(),
    };
    rules.iter().filter_map(|rule| rule.parse().ok()).collect()
}

/// Where the human's configuration has the agent's model served, when that is outside the sandbox.
pub(super) fn endpoint(settings: &Settings, adapter: &dyn AgentAdapter) -> Option<Authority> {
    if adapter.name() == agent::BUILTIN {
        // The daemon asks its model, wherever `models` says it is.
        return None;
    }
    let url = settings.agent_settings(adapter.name()).model_base_url?;
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Authority::parse(authority, Some(443)).ok()
}

/// The variables that a trusted configuration forwards, judged.
fn forwarded(parts: &Parts, settings: &Settings) -> Forwarded {
    forwardable(&settings.agent_env, |name| parts.user.env.get(OsStr::new(name)).cloned())
}

fn limits(parts: &Parts, settings: &Settings) -> Limits {
    let limits = settings.limits;
    let all = u64::from(parts.user.processors).saturating_mul(100);
    Limits {
        memory_bytes: limits.memory_mb.saturating_mul(MIB),
        processes: limits.pids,
        cpu_percent: u32::try_from(limits.cpu_percent.unwrap_or(all)).unwrap_or(u32::MAX),
        file_size_bytes: limits.file_size_mb.saturating_mul(MIB),
        disk_bytes: limits.disk_mb.saturating_mul(MIB),
        open_files: OPEN_FILES,
    }
}

/// The limits of a session whose project asks for none of its own.
///
/// # Errors
/// When the human's configuration cannot be used.
pub fn usual_limits(parts: &Parts) -> Result<Limits, Error> {
    let user = crate::config::user(parts.home.root())?;
    Ok(limits(parts, &effective(&user, None)))
}

/// What can be said of each agent on this machine.
///
/// # Errors
/// When the human's configuration cannot be used.
pub fn agents(parts: &Parts) -> Result<Vec<Check>, Error> {
    let user = crate::config::user(parts.home.root())?;
    let settings = effective(&user, None);
    let spec = Spec::default();
    let places = Places::of(parts, &spec, parts.home.root());
    let names = agent::NAMES.into_iter().filter(|name| !matches!(*name, "command" | agent::MANUAL));
    let mut missing = Vec::new();
    let mut checks: Vec<Check> = names
        .filter_map(|name| {
            let adapter = agent::adapter(name, &[]).ok()?;
            let found = find(parts, &places, &settings, &*adapter);
            if matches!(found, Err(Error::Agent(AgentError::NotFound { .. }))) && settings.agent != name {
                missing.push(name);
                return None;
            }
            let usable = has_key(parts, parts.home.root(), &settings, &*adapter);
            let (outcome, detail, remedy) = match (found, usable) {
                (Err(Error::Agent(error)), _) => (Outcome::Warning, error.to_string(), error.hint()),
                (Err(error), _) => (Outcome::Warning, super::told(&error), String::new()),
                (Ok(_), Err(Error::Model(error))) => {
                    // Nobody needs it who does not want it.
                    let outcome = if settings.agent == name { Outcome::Warning } else { Outcome::Ok };
                    (outcome, error.to_string(), error.hint())
                }
                (Ok(_), Err(error)) => {
                    let remedy = adapter.keys().first().map(|key| format!("ftlctl auth {key}"));
                    (Outcome::Warning, super::told(&error), remedy.unwrap_or_default())
                }
                (Ok(Some(found)), Ok(())) => {
                    (Outcome::Ok, found.program.display().to_string(), String::new())
                }
                (Ok(None), Ok(())) => (Outcome::Ok, "needs no program of the host".to_owned(), String::new()),
            };
            Some(Check { name: format!("agent {name}"), outcome, detail, remedy })
        })
        .collect();
    if !missing.is_empty() {
        // Nobody needs all of them.
        let detail = format!("not installed: {}", missing.join(", "));
        let name = "other agents".to_owned();
        checks.push(Check { name, outcome: Outcome::Ok, detail, remedy: String::new() });
    }
    Ok(checks)
}

/// The project's setup command.
pub(super) fn setup(script: &str) -> Command {
    let argv = ["/bin/sh", "-c", "--", script].map(OsString::from).to_vec();
    Command { argv, env: Vec::new(), workdir: None, stdio: Stdio::Pipes }
}

/// The agent's program for this turn.
pub(super) fn agent(parts: &Parts, record: &Record, settings: &Settings, text: &str) -> Result<Agent, Error> {
    let adapter = adapter(&record.spec, settings)?;
    let found = program(parts, record, settings, &*adapter)?;
    let agent_settings = settings.agent_settings(adapter.name());
    let turn = TurnSpec {
        task: text,
        turn: record.turns,
        conversation: record.conversation.as_deref(),
        settings: &agent_settings,
        program: found.as_deref(),
    };
    let CommandSpec { argv, env, stdin, home_files: _ } = adapter.turn(&turn).ok_or(Error::EmptyTask)?;
    let words = argv.iter().filter(|word| word.as_bytes() != text.as_bytes());
    let shown = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let program = Command { argv, env, workdir: None, stdio: Stdio::Pipes };
    Ok(Agent { program, stdin, stream: adapter.stream(record.spent), shown })
}

/// Where the agent's program is; none when the sandbox has it.
pub(super) fn program(
    parts: &Parts,
    record: &Record,
    settings: &Settings,
    adapter: &dyn AgentAdapter,
) -> Result<Option<PathBuf>, Error> {
    let places = Places::of(parts, &record.spec, &root(&record.project.root));
    match programs(parts, &record.spec) {
        Programs::Host => Ok(find(parts, &places, settings, adapter)?.map(|found| found.program)),
        Programs::Image => Ok(None),
    }
}

/// Makes the session's home with the files that its agent wants there. Done once, before anything runs
/// that could put a link in a file's way.
pub(super) fn furnish(
    parts: &Parts,
    record: &Record,
    settings: &Settings,
    adapter: &dyn AgentAdapter,
    links: &[(PathBuf, PathBuf)],
) -> Result<(), Error> {
    let home = session_dir(parts, record).join("home");
    if home.exists() {
        return Ok(());
    }
    let made = make_home(&home, &home_files(parts, settings, adapter), links, parts.owner);
    made.map_err(|source| Error::Home { path: home, source })
}

/// Makes a home without any file of an agent's.
pub(super) fn bare_home(parts: &Parts, record: &Record, links: &[(PathBuf, PathBuf)]) -> Result<(), Error> {
    let home = session_dir(parts, record).join("home");
    make_home(&home, &[], links, parts.owner).map_err(|source| Error::Home { path: home, source })
}

/// The files that an agent wants in its home, beneath it.
pub(super) fn home_files(
    parts: &Parts,
    settings: &Settings,
    adapter: &dyn AgentAdapter,
) -> Vec<(PathBuf, Vec<u8>)> {
    let agent_settings = settings.agent_settings(adapter.name());
    let first = TurnSpec { task: "", turn: 1, conversation: None, settings: &agent_settings, program: None };
    let mut files = own_settings::of(parts.user.home.as_deref(), settings, adapter.name()).files;
    files.extend(adapter.turn(&first).map(|spec| spec.home_files).unwrap_or_default());
    files
}

fn session_dir(parts: &Parts, record: &Record) -> PathBuf {
    parts.home.sessions().join(record.id.as_str())
}
