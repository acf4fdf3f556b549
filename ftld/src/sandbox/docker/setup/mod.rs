//! Setting up: from a choice of agents to an image that sandboxes are made of.
//!
//! Owns the story and its errors. Must not know who asks. Every step that was done before is found again,
//! so doing it twice costs a few questions. Reading order: [`setup`] is the story; [`recipe`] is what is
//! built, [`programs`] the agents, [`guest_layer`] the helper, [`tried`] the check, [`record`] what is kept.

mod archive;
pub mod guest_layer;
pub mod programs;
pub mod recipe;
pub mod record;
mod tried;

use std::io;
use std::path::{Path, PathBuf};

use super::engine::{Engine, EngineError};
use programs::{PROGRAMS, Program};
use recipe::{Reach, Recipe};
use record::{Agent, Record};

/// The lines of a failed build that are quoted.
const QUOTED: usize = 12;

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
    /// So much of a file was sent.
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

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The engine cannot be had or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A build failed.
    #[error("building the image failed")]
    Build {
        /// The builder's last lines.
        lines: Vec<String>,
        /// What the engine said.
        #[source]
        source: Box<EngineError>,
    },
    /// No agent of that name can be installed.
    #[error("there is no agent {name:?} that can be installed")]
    Unknown {
        /// Which.
        name: String,
    },
    /// There is no package of it for this kind of processor.
    #[error("{name} has no package for {arch} processors")]
    NoPackage {
        /// Which.
        name: &'static str,
        /// The kind.
        arch: String,
    },
    /// The root file system cannot be read.
    #[error("cannot read the root file system {}", path.display())]
    Rootfs {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The certificates cannot be read.
    #[error("cannot read the certificates that SSL_CERT_FILE names, {}", path.display())]
    Authorities {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A proxy's address that would be shown to the image's programs.
    #[error("{name} has a name and password in it, which the programs of the image would see")]
    Proxy {
        /// The variable.
        name: &'static str,
    },
    /// The registry's address cannot be used.
    #[error("the registry's address in NPM_CONFIG_REGISTRY cannot be used: {address:?}")]
    Registry {
        /// It, without what may be a password.
        address: String,
    },
    /// An installed agent does not start.
    #[error("{name} was installed and does not start")]
    Program {
        /// Which.
        name: &'static str,
        /// Its program in the image.
        path: String,
        /// What it said.
        said: String,
    },
    /// There is no such image.
    #[error("the engine has no image {image}")]
    NoImage {
        /// Which.
        image: String,
    },
    /// The root file system of the last setup is gone.
    #[error("the engine no longer has {image}, the root file system of the last setup")]
    NoBase {
        /// Its name.
        image: String,
    },
    /// An image asks for things that a sandbox must not have.
    #[error("the image {image} cannot be used: {why}")]
    Image {
        /// Which.
        image: String,
        /// Why not.
        why: &'static str,
    },
    /// What was set up cannot be kept or read.
    #[error("cannot use {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The daemon itself could not go on.
    #[error("the daemon could not go on: {reason}")]
    Interrupted {
        /// Why not.
        reason: String,
    },
}

impl SetupError {
    /// What a person can do about it; empty when nothing is known.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Engine(error) => error.remedy(),
            Self::Build { source, lines } => build_remedy(source, lines),
            Self::Unknown { .. } => {
                format!("there is: {}", PROGRAMS.map(|program| program.name).join(", "))
            }
            Self::Proxy { .. } => "start the daemon with a proxy that needs no password: `ftlctl daemon stop` first".to_owned(),
            Self::Registry { .. } => {
                "write it as https://host/path, without a name and password".to_owned()
            }
            Self::Program { .. } => "try it again with `ftlctl setup --rebuild`".to_owned(),
            Self::NoBase { .. } => {
                "name the archive again, `ftlctl setup --rootfs TAR`, or use the usual base, `ftlctl setup --usual-base`"
                    .to_owned()
            }
            Self::NoImage { .. } => "make it again: `ftlctl setup`".to_owned(),
            Self::Rootfs { .. } => {
                "name a tar archive, for instance from `mmdebstrap --variant=essential --include=git,curl bookworm root.tar`".to_owned()
            }
            Self::Record { .. } => "see that the disk has space, then `ftlctl setup`".to_owned(),
            Self::NoPackage { .. } | Self::Authorities { .. } | Self::Image { .. } | Self::Interrupted { .. } => {
                String::new()
            }
        }
    }

    /// What programs said that explains it, line by line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Build { lines, .. } => lines.clone(),
            Self::Program { said, .. } => said.lines().take(QUOTED).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

/// What the builder's words tell about a way out.
fn build_remedy(source: &EngineError, lines: &[String]) -> String {
    let said = format!("{source} {}", lines.join(" "));
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["curl: not found", "sha512sum: not found", "tar: not found"]) {
        "the root file system needs curl, tar, gzip, coreutils and ca-certificates to install agents"
            .to_owned()
    } else if has(&["certificate", "SSL"]) {
        "name your certificate authorities in SSL_CERT_FILE, then restart the daemon: `ftlctl daemon stop`"
            .to_owned()
    } else if has(&[
        "Could not resolve host",
        "pulling image",
        "dial tcp",
        "no such host",
        "manifest unknown",
    ]) {
        "the engine's machine needs the network for this; without a registry use `ftlctl setup --rootfs TAR`"
            .to_owned()
    } else {
        source.remedy()
    }
}

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
    let rootfs = base(engine, &wanted, before.as_ref(), hear).await?;
    step("agents", hear);
    let base = rootfs.as_ref().map(|(tag, _)| tag.as_str());
    let recipe = recipe::recipe(base, &programs, &engine.about().arch)?;
    let image = build(engine, &recipe, &wanted, hear).await?;
    step("helper", hear);
    guest_layer::with_guest(engine, &image).await?;
    step("check", hear);
    let mut agents = Vec::new();
    for program in recipe.programs() {
        agents.push(check(engine, &image, *program, hear).await?);
    }
    let (base, rootfs) = rootfs.unzip();
    let record = Record { engine: id, image, tag: recipe.tag, rootfs, base, agents, made_us: now_us };
    record.write(home)?;
    if let Some(before) = before {
        forget(engine, &before, &record).await;
    }
    Ok(record)
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

/// The name and hash of the root file system to build on; nothing for the usual base.
async fn base(
    engine: &Engine,
    wanted: &Wanted,
    before: Option<&Record>,
    hear: Hear<'_>,
) -> Result<Option<(String, String)>, SetupError> {
    let last = before.and_then(|before| Some((before.base.clone()?, before.rootfs.clone()?)));
    match (&wanted.base, last) {
        (Base::Rootfs(archive), _) => Ok(Some(import(engine, archive, wanted.rebuild, hear).await?)),
        (Base::Last, Some((tag, hash))) => {
            if engine.image(&tag).await?.is_none() {
                return Err(SetupError::NoBase { image: tag });
            }
            hear(Progress::Kept(format!("{tag}, from the last setup")));
            Ok(Some((tag, hash)))
        }
        (Base::Last, None) | (Base::Usual, _) => Ok(None),
    }
}

fn known(name: &str) -> Result<Program, SetupError> {
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
    let tag = format!("ftl-rootfs:{}", &hash[..16]);
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

/// Builds the image, unless it is there, and gives its id.
async fn build(
    engine: &Engine,
    recipe: &Recipe,
    wanted: &Wanted,
    hear: Hear<'_>,
) -> Result<String, SetupError> {
    if !wanted.rebuild
        && let Some(id) = engine.image(&recipe.tag).await?.and_then(|image| image.id)
    {
        hear(Progress::Kept(format!("{} is there", recipe.tag)));
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
    let built = engine.build(recipe.build(&wanted.reach, wanted.rebuild)?, &mut line).await;
    built.map_err(|source| SetupError::Build { lines: last.into(), source: source.into() })
}

async fn check(engine: &Engine, image: &str, program: Program, hear: Hear<'_>) -> Result<Agent, SetupError> {
    let arch = &engine.about().arch;
    let none = || SetupError::NoPackage { name: program.name, arch: arch.clone() };
    let first = program.package(arch).and_then(|package| package.programs.first().copied());
    let path = format!("{}/{}", program.dir(), first.ok_or_else(none)?);
    let said = tried::version(engine.clone(), image.to_owned(), program, path.clone()).await?;
    hear(Progress::Line(format!("{}: {said}", program.name)));
    Ok(Agent { name: program.name.to_owned(), version: program.version.to_owned(), program: path, said })
}

/// Takes away the images that the new one replaces. Containers that still run keep what they need.
async fn forget(engine: &Engine, before: &Record, now: &Record) {
    let mut names = Vec::new();
    if before.image != now.image {
        let label = format!("dev.ftl.base={}", before.image);
        let made_of_it = engine.images(&[&label]).await.unwrap_or_default();
        names.extend(made_of_it.into_iter().map(|image| image.id));
        names.push(before.image.clone());
    }
    names.extend(before.base.clone().filter(|base| Some(base) != now.base.as_ref()));
    for name in names {
        if let Err(error) = engine.remove_image(&name).await {
            tracing::debug!(%error, image = name, "an image that was replaced stays");
        }
    }
}
