//! Setting up: from a choice of agents to an image that sandboxes are made of.
//!
//! Owns the story and its errors. Must not know who asks. Every step that was done before is found again,
//! so doing it twice costs a few questions. Reading order: [`setup`] is the story; [`recipe`] is what is
//! built, [`programs`] the agents, [`install`] brings them ([`fetch`], [`unpack`]), [`guest_layer`] the helper,
//! [`tried`] the check, [`record`] what is kept, [`error`] what can go wrong.

mod archive;
mod error;
mod fetch;
pub mod guest_layer;
mod install;
pub mod programs;
pub mod recipe;
pub mod record;
mod tried;
mod unpack;

use std::io;
use std::path::{Path, PathBuf};

use bollard::models::ImageSummary;

use super::engine::Engine;
use super::images::Build;
use super::spec::LABEL_ROLE;
use error::QUOTED;
pub use error::SetupError;
use install::Install;
use programs::{NOT_PACKED, Program};
use recipe::{Named, Reach};
use record::{Agent, Record};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What the agents are put on.
    pub base: Base,
    /// Names of agents; empty means those of the last setup.
    pub agents: Vec<String>,
    /// Whether everything is made again.
    pub rebuild: bool,
    /// How the human reaches registries.
    pub reach: Reach,
}

/// What agents are put on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Base {
    /// What they were put on last; at first the usual one.
    Last,
    /// The one that the recipe names, from a registry.
    Usual,
    /// A root file system, a tar archive.
    Rootfs(PathBuf),
}

/// The agent that is installed when nobody ever named one.
const FIRST: &str = "claude-code";

/// What is told on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// A step begins.
    Step {
        /// Which, from 1.
        number: u32,
        /// Of how many.
        of: u32,
        /// What it does.
        title: String,
    },
    /// A line of the builder.
    Line(String),
    /// So much of a file was sent to the engine, or fetched for it.
    Sent {
        /// Bytes.
        bytes: u64,
        /// Its length, bytes.
        total: u64,
    },
    /// A step had been done before.
    Kept(String),
}

/// Where progress is told. Nobody may be listening any more.
pub type Hear<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// Makes the image and keeps what it is. `home` is the daemon's, `now_us` the time of the record.
///
/// # Errors
/// When a step fails; what was set up before stays.
pub async fn setup(
    engine: &Engine,
    wanted: Wanted,
    home: &Path,
    now_us: i64,
    hear: Hear<'_>,
) -> Result<Record, SetupError> {
    let before = Record::read(home)?;
    let names = choose(&wanted, before.as_ref());
    let programs: Vec<Program> = names.iter().map(|name| known(name)).collect::<Result<_, _>>()?;
    let of = 4;
    let mut number = 0;
    let mut step = |title: &str, hear: Hear<'_>| {
        number += 1;
        hear(Progress::Step { number, of, title: title.to_owned() });
    };
    let id = engine.info().await?.id.unwrap_or_default();
    step("base", hear);
    let (base, rootfs) = base(engine, &wanted, before.as_ref(), hear).await?;
    step("agents", hear);
    let programs = sorted(programs);
    let install = Install { engine, reach: &wanted.reach, rebuild: wanted.rebuild, home };
    let mut installed = Vec::new();
    for program in &programs {
        installed.push((*program, install.agent(program, hear).await?));
    }
    let recipe = recipe::with_agents(&base, &installed);
    let tag = engine.own().image("agents", &recipe.version);
    let fresh = wanted.rebuild;
    let image = build(engine, recipe.build(tag.clone(), (false, fresh), &wanted.reach), hear).await?;
    step("helper", hear);
    guest_layer::with_guest(engine, &image).await?;
    step("check", hear);
    let mut agents = Vec::new();
    for program in &programs {
        agents.push(check(engine, &image, *program, hear).await?);
    }
    let base = base.tag;
    let kept: Vec<String> = installed.into_iter().map(|(_, image)| image.tag).collect();
    let record = Record { engine: id, image, tag, rootfs, base: Some(base), agents, made_us: now_us };
    record.write(home)?;
    forget(engine, &record, kept).await;
    Ok(record)
}

/// In the order of their names, each once.
fn sorted(mut programs: Vec<Program>) -> Vec<Program> {
    programs.sort_by_key(|program| program.name);
    programs.dedup_by_key(|program| program.name);
    programs
}

/// The agents that are wanted, by name.
fn choose(wanted: &Wanted, before: Option<&Record>) -> Vec<String> {
    match before {
        _ if !wanted.agents.is_empty() => wanted.agents.clone(),
        Some(before) => before.agents.iter().map(|agent| agent.name.clone()).collect(),
        // Whoever brings a root file system may have everything in it, and no network.
        None if matches!(wanted.base, Base::Rootfs(_)) => Vec::new(),
        None => vec![FIRST.to_owned()],
    }
}

/// The image to build on, and the hash of the root file system that it is, if it is one.
async fn base(
    engine: &Engine,
    wanted: &Wanted,
    before: Option<&Record>,
    hear: Hear<'_>,
) -> Result<(Named, Option<String>), SetupError> {
    let last = before.and_then(|before| Some((before.base.clone()?, before.rootfs.clone()?)));
    let (tag, hash) = match (&wanted.base, last) {
        (Base::Rootfs(archive), _) => import(engine, archive, wanted.rebuild, hear).await?,
        (Base::Last, Some((tag, hash))) => {
            hear(Progress::Kept(format!("{tag}, from the last setup")));
            (tag, hash)
        }
        (Base::Last, None) | (Base::Usual, _) => return Ok((usual(engine, wanted, hear).await?, None)),
    };
    let found = engine.image(&tag).await?.and_then(|image| image.id);
    let id = found.ok_or_else(|| SetupError::NoBase { image: tag.clone() })?;
    Ok((Named { id, tag, version: hash.clone() }, Some(hash)))
}

/// The usual base: what it is made of comes from a registry, and its packages from its distribution.
async fn usual(engine: &Engine, wanted: &Wanted, hear: Hear<'_>) -> Result<Named, SetupError> {
    let recipe = recipe::usual_base();
    let tag = engine.own().image("base", &recipe.version);
    if !wanted.rebuild
        && let Some(id) = engine.image(&tag).await?.and_then(|image| image.id)
    {
        hear(Progress::Kept(format!("{tag} is there")));
        return Ok(Named { id, tag, version: recipe.version });
    }
    let image = recipe::usual_image();
    if engine.image(image).await?.is_none() {
        hear(Progress::Line(format!("fetching {image}")));
        let mut line = |line: &str| hear(Progress::Line(line.to_owned()));
        let pulled = engine.pull(image, &mut line).await;
        pulled.map_err(|source| SetupError::Pull { image, source: source.into() })?;
    }
    let build = recipe.build(tag.clone(), (true, wanted.rebuild), &wanted.reach);
    let id = self::build(engine, build, hear).await?;
    Ok(Named { id, tag, version: recipe.version })
}

fn known(name: &str) -> Result<Program, SetupError> {
    if let Some((name, why)) = NOT_PACKED.into_iter().find(|(agent, _)| *agent == name) {
        return Err(SetupError::NotPacked { name, why });
    }
    Program::named(name).ok_or_else(|| SetupError::Unknown { name: name.to_owned() })
}

/// Gives the root file system to the engine, unless it has it, and gives its name and hash.
async fn import(
    engine: &Engine,
    archive: &Path,
    rebuild: bool,
    hear: Hear<'_>,
) -> Result<(String, String), SetupError> {
    let failed = |source| SetupError::Rootfs { path: archive.to_owned(), source };
    let path = archive.to_owned();
    let hashing = tokio::task::spawn_blocking(move || hash(&path)).await;
    let (hash, total) = hashing.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
    let tag = engine.own().image("rootfs", &hash[..16]);
    if !rebuild && engine.image(&tag).await?.is_some() {
        hear(Progress::Kept(format!("{tag} is there")));
        return Ok((tag, hash));
    }
    let mut told = None;
    let mut sent = |bytes: u64| {
        // A reader wants to see that it goes on, not every packet.
        let percent = bytes.saturating_mul(100).checked_div(total);
        if told != percent {
            told = percent;
            hear(Progress::Sent { bytes, total });
        }
    };
    engine.import(archive, &tag, &mut sent).await?;
    Ok((tag, hash))
}

/// The hash and length of a file.
fn hash(path: &Path) -> io::Result<(String, u64)> {
    let mut file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut hasher = blake3::Hasher::new();
    let total = io::copy(&mut file, &mut hasher)?;
    Ok((hasher.finalize().to_hex().to_string(), total))
}

/// Builds an image, unless it is there, and gives its id.
async fn build(engine: &Engine, build: Build, hear: Hear<'_>) -> Result<String, SetupError> {
    if !build.fresh
        && let Some(id) = engine.image(&build.tag).await?.and_then(|image| image.id)
    {
        hear(Progress::Kept(format!("{} is there", build.tag)));
        return Ok(id);
    }
    let mut last = std::collections::VecDeque::new();
    let mut line = |line: &str| {
        // What explains a failure is what the step itself wrote.
        if line.starts_with("Step ") || line.contains("] STEP ") {
            last.clear();
        } else if !line.starts_with(" ---> ") && !line.starts_with("Removing intermediate container") {
            last.push_back(line.to_owned());
        }
        if last.len() > QUOTED {
            last.pop_front();
        }
        hear(Progress::Line(line.to_owned()));
    };
    let built = engine.build(build, &mut line).await;
    built.map_err(|source| SetupError::Build { lines: last.into(), source: source.into() })
}

async fn check(engine: &Engine, image: &str, program: Program, hear: Hear<'_>) -> Result<Agent, SetupError> {
    let arch = &engine.about().arch;
    let none = || SetupError::NoPackage { name: program.name, arch: arch.clone() };
    let path = program.program(arch).ok_or_else(none)?;
    let said = tried::version(engine.clone(), image.to_owned(), program, path.clone()).await?;
    hear(Progress::Line(format!("{}: {said}", program.name)));
    Ok(Agent { name: program.name.to_owned(), version: program.version.to_owned(), program: path, said })
}

/// Takes this daemon's names away from the images that the new one replaces; one that has no other name goes.
/// Containers that still run keep what they need, and the next setup tries again.
async fn forget(engine: &Engine, now: &Record, mut kept: Vec<String>) {
    kept.push(now.tag.clone());
    kept.extend(now.base.clone());
    let own = engine.own();
    let mine = |image: &ImageSummary| -> Vec<String> {
        image.repo_tags.iter().filter(|tag| own.is_image(tag)).cloned().collect()
    };
    let mut names = Vec::new();
    for image in engine.images(&[&format!("{LABEL_ROLE}=agents")]).await.unwrap_or_default() {
        let replaced: Vec<String> = mine(&image).into_iter().filter(|tag| !kept.contains(tag)).collect();
        if !replaced.is_empty() {
            let on_top = engine.images(&[&format!("dev.ftl.base={}", image.id)]).await.unwrap_or_default();
            names.extend(on_top.iter().flat_map(mine));
        }
        names.extend(replaced);
    }
    // Root file systems are imported, and bear no label.
    let rootfs = own.image("rootfs", "");
    let imported = engine.images(&[]).await.unwrap_or_default();
    let imported = imported.iter().flat_map(mine).filter(|tag| tag.starts_with(&rootfs));
    names.extend(imported.filter(|tag| !kept.contains(tag)));
    for name in names {
        if let Err(error) = engine.remove_image(&name).await {
            tracing::debug!(%error, image = name, "an image that was replaced stays");
        }
    }
}
