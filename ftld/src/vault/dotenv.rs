//! The `.env` files of a project, as the project has them now.
//!
//! Owns which files count and that reading one follows no link out of the project. Must not know which of
//! their values are secret.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ftl_core::credential::CredentialName;
use ftl_core::credential::dotenv::{self, Entry};
use ftl_core::credential::secret_value::Secret;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::VaultError;

/// The most that a file may hold, bytes.
const LONGEST: u64 = 1 << 20;
/// Endings of files that show what a `.env` file looks like and hold nothing real.
const EXAMPLES: [&str; 6] = [".example", ".sample", ".template", ".dist", ".schema", ".tmpl"];

/// A file as it stands in the project.
pub struct Text {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Permission bits, at most `0o777`.
    pub mode: u32,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
}

/// Whether a file of this name is a `.env` file that counts.
#[must_use]
pub fn is_source(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_dotenv = name == ".env" || name.starts_with(".env.") || name.ends_with(".env");
    is_dotenv && !EXAMPLES.iter().any(|example| name.contains(example))
}

/// The names in a file; one that cannot be used is a problem, and the others count.
pub(super) fn names(project: &Path, file: &Path, problems: &mut Vec<String>) -> Vec<CredentialName> {
    let entries = match values(project, file) {
        Ok((entries, more)) => {
            problems.extend(more);
            entries
        }
        Err(error) => {
            problems.push(match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            });
            return Vec::new();
        }
    };
    entries.iter().filter_map(|entry| CredentialName::parse(&entry.name).ok()).collect()
}

/// Every entry of a file, and what is wrong with its other lines.
///
/// # Errors
/// When the file cannot be read.
fn values(project: &Path, file: &Path) -> Result<(Vec<Entry>, Vec<String>), VaultError> {
    let (entries, problems) = dotenv::parse(&read(project, file)?.bytes);
    let told = problems
        .into_iter()
        .map(|problem| format!("{}, line {}: {}", file.display(), problem.line, problem.fault));
    Ok((entries, told.collect()))
}

/// Files that were read for one purpose, each once.
#[derive(Default)]
pub struct Files(HashMap<PathBuf, HashMap<String, Secret>>);

impl Files {
    /// One value.
    pub(super) fn value(
        &mut self,
        project: &Path,
        file: &Path,
        name: &str,
    ) -> Result<Option<Secret>, VaultError> {
        let path = project.join(file);
        if let Some(read) = self.0.get(&path) {
            return Ok(read.get(name).cloned());
        }
        // As programs that read such files have it: of several definitions the last one counts.
        let (entries, _problems) = values(project, file)?;
        let read: HashMap<String, Secret> =
            entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
        Ok(self.0.entry(path).or_insert(read).get(name).cloned())
    }
}

/// Reads a file beneath the project's root.
///
/// # Errors
/// When it is no plain file of at most 1 MiB, or a link is on the way, or it cannot be read.
pub fn read(project: &Path, file: &Path) -> Result<Text, VaultError> {
    let path = project.join(file);
    let io = |source: std::io::Error| VaultError::Io { act: "read", path: path.clone(), source };
    let root = rustix::fs::open(project, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| io(errno.into()))?;
    // A FIFO would be waited for without NONBLOCK.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened =
        rustix::fs::openat2(&root, file, flags, Mode::empty(), beneath).map_err(|errno| io(errno.into()))?;
    let opened = File::from(opened);
    let damaged = |what: &str| VaultError::Damaged { path: path.clone(), what: what.to_owned() };
    let meta = opened.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(damaged("it is not a plain file"));
    }
    let mut bytes = Vec::new();
    opened.take(LONGEST + 1).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() as u64 > LONGEST {
        true => Err(damaged("it is longer than 1 MiB")),
        false => Ok(Text {
            bytes,
            mode: meta.mode() & 0o777,
            mtime_ns: meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec()),
        }),
    }
}
