//! The vault: credentials' real values, and where they come from.
//!
//! Owns the sources (the project's `.env` files, the credentials files, the environment by name,
//! commands, the keyring), what the human has bound each credential to, and which of them belong to a
//! session. Must not know requests, sandboxes or shadows.
//!
//! A value is read from its source whenever it is asked for, so that a rotated or removed one counts from
//! the next request on. Only a command's output is kept for a little while.
//!
//! ```text
//! FTL_HOME/credentials                    NAME=value, for agents and for projects that name it
//! FTL_HOME/bindings                       what the human bound names to, and other sources
//! FTL_HOME/projects/<hash>/credentials    the same of one project, for its sessions
//! FTL_HOME/projects/<hash>/bindings
//! ```

mod command;
mod dotenv;
mod file;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::credential::secret_value::Secret;
use ftl_core::credential::{Binding, CredentialName};
use ftl_core::id::Hash;
use serde::{Deserialize, Serialize};

pub use dotenv::{Files, Text, is_source, read as dotenv_text};
pub use told::Subject;

use command::Outputs;

/// Every credential that the daemon can get at.
pub struct Vault {
    home: PathBuf,
    env: BTreeMap<OsString, OsString>,
    outputs: Outputs,
    /// Microseconds of a clock that never goes back.
    monotonic: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Held while a file is changed.
    writing: Mutex<()>,
}

/// To whom a credential belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// To no project: agents whose key it is get it, and projects that name it.
    Global,
    /// To every session of this project, absolute.
    Project(PathBuf),
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The credentials file of a scope.
    Kept(Scope),
    /// A file of the project, beneath its root.
    DotEnv {
        /// The project's root, absolute.
        project: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// Somewhere that the human named.
    Elsewhere(Elsewhere),
    /// The daemon's environment, under the credential's own name.
    Environment,
}

/// A source outside FTL's own files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Elsewhere {
    /// A variable of the daemon's environment.
    Env(String),
    /// A program and its arguments; its output without the line's end is the value.
    Command(Vec<String>),
    /// An entry of the system's keyring.
    Keyring {
        /// Service.
        service: String,
        /// Account.
        account: String,
    },
}

/// What the human said about a credential.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Bound {
    /// Where it may be used, instead of what the catalogue says; empty leaves that to the catalogue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bindings: Vec<Binding>,
    /// Where the value comes from, instead of the credentials file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Elsewhere>,
}

/// A credential that the vault knows of.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: CredentialName,
    /// Where the value comes from.
    pub source: Source,
    /// To whom it belongs.
    pub scope: Scope,
    /// What the human bound it to; empty leaves that to the catalogue.
    pub bindings: Vec<Binding>,
}

/// Whose credentials are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The project's root.
    pub project: &'a Path,
    /// Its `.env` files, beneath the root, the one that counts most first.
    pub dotenv: &'a [PathBuf],
    /// Names that a trusted configuration asks for.
    pub named: &'a [String],
    /// Names of the agent's own keys.
    pub agent: &'a [&'a str],
}

/// Why a credential cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A file cannot be used.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file of secrets is open to others.
    #[error("{} can be read by others", path.display())]
    NotPrivate {
        /// Which.
        path: PathBuf,
    },
    /// A file does not say anything that makes sense.
    #[error("{} cannot be understood: {what}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong, without any value.
        what: String,
    },
    /// The value is not there (any more).
    #[error("{name} has no value in {place}")]
    Missing {
        /// Which.
        name: String,
        /// Where it was looked for.
        place: String,
    },
    /// The program that prints the value failed.
    #[error("`{program}` gave no value: {what}")]
    Command {
        /// Which.
        program: String,
        /// How it failed, without its output.
        what: String,
    },
    /// The system's keyring gave no value.
    #[error("the keyring gave no value for {entry}: {what}")]
    Keyring {
        /// Which, as `SERVICE/ACCOUNT`.
        entry: String,
        /// What is wrong, without its output.
        what: String,
        /// What the human can do about it.
        hint: String,
    },
    /// The value cannot travel in a request.
    #[error("the value of {name} {what}")]
    BadValue {
        /// Whose.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Variables of one project's `.env` files: each costs time in every turn.
const MOST: usize = 400;
/// The longest value, bytes.
const LONGEST: usize = 64 * 1024;

impl Vault {
    /// A vault over the state directory and the daemon's environment; `monotonic` gives microseconds.
    #[must_use]
    pub fn new(
        home: &Path,
        env: BTreeMap<OsString, OsString>,
        monotonic: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        let (home, outputs) = (home.to_owned(), Outputs::default());
        Self { home, env, outputs, monotonic, writing: Mutex::new(()) }
    }

    /// The directory of what FTL keeps about a scope.
    #[must_use]
    pub fn dir(home: &Path, scope: &Scope) -> PathBuf {
        match scope {
            Scope::Global => home.to_owned(),
            Scope::Project(root) => {
                home.join("projects").join(&Hash::of(root.as_os_str().as_bytes()).to_hex()[..16])
            }
        }
    }

    fn credentials(&self, scope: &Scope) -> PathBuf {
        Self::dir(&self.home, scope).join("credentials")
    }

    fn bound_path(&self, scope: &Scope) -> PathBuf {
        Self::dir(&self.home, scope).join("bindings")
    }

    /// Keeps a value; whether there was another one before.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn set(&self, scope: &Scope, name: &CredentialName, value: &Secret) -> Result<bool, VaultError> {
        check_value(name, value.expose())?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.credentials(scope);
        let mut kept = file::credentials(&path)?;
        let replaced = kept.insert(name.clone(), value.clone()).is_some();
        file::keep_credentials(&path, &kept)?;
        Ok(replaced)
    }

    /// Keeps what the human says about a credential; parts that are not said stay as they are.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn bind(&self, scope: &Scope, name: &CredentialName, said: Bound) -> Result<Bound, VaultError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.bound_path(scope);
        let mut all: BTreeMap<CredentialName, Bound> = file::bound(&path)?;
        let bound = all.entry(name.clone()).or_default();
        // What is said about a host takes the place of what was said about it before; other hosts stay.
        for binding in said.bindings {
            for before in bound.bindings.iter_mut().filter(|before| before.port == binding.port) {
                before.hosts.retain(|host| !binding.hosts.contains(host));
            }
            bound.bindings.retain(|before| !before.hosts.is_empty());
            bound.bindings.push(binding);
        }
        if said.source.is_some() {
            bound.source = said.source;
        }
        let bound = bound.clone();
        file::keep_bound(&path, &all)?;
        Ok(bound)
    }

    /// Forgets a credential of a scope; whether there was one.
    ///
    /// # Errors
    /// When it cannot be forgotten.
    pub fn remove(&self, scope: &Scope, name: &CredentialName) -> Result<bool, VaultError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.credentials(scope);
        let mut kept = file::credentials(&path)?;
        let was_kept = kept.remove(name).is_some();
        if was_kept {
            file::keep_credentials(&path, &kept)?;
        }
        let path = self.bound_path(scope);
        let mut all = file::bound(&path)?;
        let was_bound = all.remove(name).is_some();
        if was_bound {
            file::keep_bound(&path, &all)?;
        }
        Ok(was_kept || was_bound)
    }

    /// Every credential of a scope.
    ///
    /// # Errors
    /// When its files cannot be used.
    pub fn entries(&self, scope: &Scope) -> Result<Vec<Entry>, VaultError> {
        let mut bound = file::bound(&self.bound_path(scope))?;
        let kept = file::credentials(&self.credentials(scope))?;
        let mut entries = Vec::new();
        for (name, _value) in kept {
            let Bound { bindings, source } = bound.remove(&name).unwrap_or_default();
            let source = source.map_or_else(|| Source::Kept(scope.clone()), Source::Elsewhere);
            entries.push(Entry { name, source, scope: scope.clone(), bindings });
        }
        for (name, Bound { bindings, source }) in bound {
            // Without a source of its own, the binding is about a name that comes from elsewhere.
            let source = source.map_or(Source::Environment, Source::Elsewhere);
            entries.push(Entry { name, source, scope: scope.clone(), bindings });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// The credentials that belong to a session, each name once, and what is wrong with the others.
    /// What a `.env` file holds is given whole: which of it is a secret, its reader decides.
    ///
    /// # Errors
    /// When the human's own files cannot be used.
    pub fn of_session(&self, wanted: &Wanted<'_>) -> Result<(Vec<Entry>, Vec<String>), VaultError> {
        let ours = Scope::Project(wanted.project.to_owned());
        let project = self.entries(&ours)?;
        let global = self.entries(&Scope::Global)?;
        let is_wanted =
            |name: &str| wanted.agent.contains(&name) || wanted.named.iter().any(|wanted| wanted == name);
        let mut problems = Vec::new();
        let mut found: BTreeMap<CredentialName, Entry> = BTreeMap::new();
        for entry in project.iter().filter(|entry| self.has_source(entry)) {
            found.entry(entry.name.clone()).or_insert_with(|| entry.clone());
        }
        let mut room = MOST;
        for file in wanted.dotenv {
            let names = dotenv::names(wanted.project, file, &mut problems);
            if names.len() > room {
                let what = format!("{}: only {MOST} variables of .env files are taken up", file.display());
                problems.push(what);
            }
            let taken = names.len().min(room);
            room -= taken;
            for name in names.into_iter().take(taken) {
                let source = Source::DotEnv { project: wanted.project.to_owned(), file: file.clone() };
                let entry = Entry { name: name.clone(), source, scope: ours.clone(), bindings: Vec::new() };
                found.entry(name).or_insert(entry);
            }
        }
        for entry in global.iter().filter(|entry| is_wanted(entry.name.as_str()) && self.has_source(entry)) {
            found.entry(entry.name.clone()).or_insert_with(|| entry.clone());
        }
        let by_name = wanted.named.iter().map(String::as_str).chain(wanted.agent.iter().copied());
        for name in by_name.filter(|name| self.env.contains_key(OsStr::new(name))) {
            let Ok(name) = CredentialName::parse(name) else { continue };
            let entry = Entry {
                name: name.clone(),
                source: Source::Environment,
                scope: Scope::Global,
                bindings: Vec::new(),
            };
            found.entry(name).or_insert(entry);
        }
        // What the human bound counts wherever the value comes from.
        for entry in found.values_mut().filter(|entry| entry.bindings.is_empty()) {
            let said = project.iter().chain(&global).find(|said| said.name == entry.name);
            entry.bindings = said.map(|said| said.bindings.clone()).unwrap_or_default();
        }
        for name in wanted.named {
            if !found.keys().any(|found| found.as_str() == name) {
                problems.push(format!("{name} is named by the configuration and nowhere to be found"));
            }
        }
        Ok((found.into_values().collect(), problems))
    }

    /// Whether an entry of the human's files says where its value is.
    fn has_source(&self, entry: &Entry) -> bool {
        !matches!(entry.source, Source::Environment) || self.env.contains_key(OsStr::new(entry.name.as_str()))
    }

    /// Today's value.
    ///
    /// # Errors
    /// When there is none.
    pub async fn value(&self, name: &CredentialName, source: &Source) -> Result<Secret, VaultError> {
        self.value_with(name, source, &mut Files::default()).await
    }

    /// Today's value, for many at once: each `.env` file is read once.
    ///
    /// # Errors
    /// When there is none.
    pub async fn value_with(
        &self,
        name: &CredentialName,
        source: &Source,
        files: &mut Files,
    ) -> Result<Secret, VaultError> {
        let missing = |place: String| VaultError::Missing { name: name.to_string(), place };
        let value = match source {
            Source::Kept(scope) => {
                let path = self.credentials(scope);
                let value = file::credentials(&path)?.remove(name);
                value.ok_or_else(|| missing(path.display().to_string()))?
            }
            Source::DotEnv { project, file } => files
                .value(project, file, name.as_str())?
                .ok_or_else(|| missing(file.display().to_string()))?,
            Source::Environment => self.variable(name.as_str()).ok_or_else(|| missing(ENVIRONMENT.into()))?,
            Source::Elsewhere(Elsewhere::Env(variable)) => {
                self.variable(variable).ok_or_else(|| missing(format!("{ENVIRONMENT} ({variable})")))?
            }
            Source::Elsewhere(Elsewhere::Command(argv)) => {
                self.outputs.of(argv, &self.env, (self.monotonic)()).await?
            }
            Source::Elsewhere(Elsewhere::Keyring { service, account }) => {
                self.outputs.of_keyring(service, account, &self.env, (self.monotonic)()).await?
            }
        };
        check_value(name, value.expose())?;
        Ok(value)
    }

    fn variable(&self, name: &str) -> Option<Secret> {
        let value = self.env.get(OsStr::new(name))?.to_str()?;
        Some(Secret::new(value.to_owned()))
    }
}

const ENVIRONMENT: &str = "the environment in which ftld was started";

fn check_value(name: &CredentialName, value: &str) -> Result<(), VaultError> {
    let what = match value {
        "" => "is empty",
        value if value.len() > LONGEST => "is longer than 65536 bytes",
        value if value.contains('\0') => "holds a NUL character",
        _ => return Ok(()),
    };
    Err(VaultError::BadValue { name: name.to_string(), what })
}

impl VaultError {
    /// What the human can do about it; empty when nothing is known.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotPrivate { path } => format!("chmod 600 {}", path.display()),
            Self::Missing { name, .. } => format!("ftlctl secret set {name}"),
            Self::Command { program, .. } => format!("run `{program}` in a terminal and see what it says"),
            Self::Keyring { hint, .. } => hint.clone(),
            Self::Io { .. } | Self::Damaged { .. } | Self::BadValue { .. } => String::new(),
        }
    }
}

impl Source {
    /// The source in a word or two, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Kept(_) => "credentials".to_owned(),
            Self::DotEnv { file, .. } => file.display().to_string(),
            Self::Environment => "environment".to_owned(),
            Self::Elsewhere(Elsewhere::Env(name)) => format!("environment {name}"),
            Self::Elsewhere(Elsewhere::Command(argv)) => format!("command {}", argv.join(" ")),
            Self::Elsewhere(Elsewhere::Keyring { service, account }) => {
                format!("keyring {service}/{account}")
            }
        }
    }
}
