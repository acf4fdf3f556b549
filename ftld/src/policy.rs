//! Policy files: the human's own rules, as text that an editor and `ftlctl` may change at any time.
//!
//! Owns where they lie, when they are read again, and that a file which cannot be understood leaves the
//! last good rules in force. Must not know what a rule decides.
//!
//! ```text
//! FTL_HOME/policy                     every session
//! FTL_HOME/projects/<hash>/policy     every session of a project
//! FTL_HOME/sessions/<id>/policy       one session
//! ```

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::egress::policy_file::{self, PolicyError};
use ftl_core::egress::preset::Preset;
use ftl_core::egress::rule::Rule;

use crate::private;

/// Every policy file that was read.
#[derive(Default)]
pub struct PolicyFiles {
    read: Mutex<HashMap<PathBuf, Read>>,
    /// Held while a file is changed.
    writing: Mutex<()>,
}

/// A file's rules, and what is wrong with the file as it is now.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The rules in force.
    pub rules: Arc<Vec<Rule>>,
    /// Why they are not what the file says; `None` when they are.
    pub problem: Option<String>,
}

struct Read {
    stamp: Option<Stamp>,
    rules: Rules,
}

/// What changes when a file does.
type Stamp = (u64, u64, i64, i64);

/// Why a policy file cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The file cannot be read or written.
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
    /// The file as it is cannot be understood; a change could make it worse.
    #[error("{} cannot be understood", path.display())]
    Bad {
        /// Which.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: PolicyError,
    },
}

/// The most that a policy file may hold, bytes.
const LONGEST: u64 = 1 << 20;

impl PolicyFiles {
    /// The rules of a file; none when it is not there. Read again whenever the file has changed.
    #[must_use]
    pub fn rules(&self, path: &Path) -> Rules {
        let stamp = std::fs::metadata(path)
            .map(|meta| (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
            .ok();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let before = read.get(path);
        if let Some(before) = before.filter(|before| before.stamp == stamp) {
            return before.rules.clone();
        }
        let rules = match (stamp, parse(path)) {
            (None, _) => Rules::default(),
            (Some(_), Ok(rules)) => Rules { rules: Arc::new(rules), problem: None },
            (Some(_), Err(problem)) => {
                // Without good rules to go on with, nothing is allowed.
                let locked = || Arc::new(vec![Rule::Preset(Preset::Locked)]);
                let consequence = match before {
                    Some(_) => "until it is mended, what it said before counts",
                    None => "until it is mended, nothing that it says counts, and the preset is `locked`",
                };
                let rules = before.map_or_else(locked, |before| Arc::clone(&before.rules.rules));
                tracing::warn!(path = %path.display(), problem, "a policy file is ignored");
                Rules { rules, problem: Some(format!("{}: {problem}; {consequence}", path.display())) }
            }
        };
        read.insert(path.to_owned(), Read { stamp, rules: rules.clone() });
        rules
    }

    /// Forgets all files in a directory that is gone for good, as a session's.
    pub fn forget(&self, dir: &Path) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|path, _| !path.starts_with(dir));
    }

    /// Adds a rule to a file; one that says the same in another way goes.
    ///
    /// # Errors
    /// When the file cannot be understood or written.
    pub fn add(&self, path: &Path, rule: &Rule) -> Result<(), PolicyFileError> {
        self.change(path, |line| !supersedes(rule, line), Some(rule)).map(|_| ())
    }

    /// Takes every rule out of a file that is this one; how many there were.
    ///
    /// # Errors
    /// When the file cannot be understood or written.
    pub fn remove(&self, path: &Path, rule: &Rule) -> Result<u32, PolicyFileError> {
        self.change(path, |line| line != rule, None)
    }

    /// Rewrites a file: comments stay, rules stay when `keep` says so, `more` comes at the end.
    fn change(
        &self,
        path: &Path,
        keep: impl Fn(&Rule) -> bool,
        more: Option<&Rule>,
    ) -> Result<u32, PolicyFileError> {
        let io = |act| move |source| PolicyFileError::Io { act, path: path.to_owned(), source };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io("read")(error)),
        };
        policy_file::parse(&before)
            .map_err(|source| PolicyFileError::Bad { path: path.to_owned(), source })?;
        let mut removed = 0;
        let mut text = String::new();
        for line in before.lines() {
            match policy_file::parse(line).ok().and_then(|rules| rules.into_iter().next()) {
                Some(rule) if !keep(&rule) => removed += 1,
                _ => text = text + line + "\n",
            }
        }
        if let Some(rule) = more {
            text = format!("{text}{rule}\n");
        }
        private::replace(path, text.as_bytes()).map_err(io("write"))?;
        Ok(removed)
    }
}

/// Whether a new rule says something about the very thing that an old one is about.
fn supersedes(new: &Rule, old: &Rule) -> bool {
    match (new, old) {
        (Rule::Preset(_), Rule::Preset(_)) => true,
        (Rule::Limit { host, .. }, Rule::Limit { host: before, .. }) => host == before,
        (Rule::Alias { name, .. }, Rule::Alias { name: before, .. }) => name == before,
        (Rule::Allow(what), Rule::Deny(before)) | (Rule::Deny(what), Rule::Allow(before)) => what == before,
        (new, old) => new == old,
    }
}

fn parse(path: &Path) -> Result<Vec<Rule>, String> {
    let meta = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !meta.is_file() || meta.len() > LONGEST {
        return Err("it is not a plain file of at most 1 MiB".to_owned());
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    policy_file::parse(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_session_that_is_gone_are_forgotten() {
        let (dir, files) = (tempfile::tempdir().unwrap(), PolicyFiles::default());
        for name in ["one", "other"] {
            assert!(files.rules(&dir.path().join(name).join("policy")).rules.is_empty());
        }
        files.forget(&dir.path().join("one"));
        let left: Vec<_> = files.read.lock().unwrap().keys().cloned().collect();
        assert_eq!(left, [dir.path().join("other/policy")]);
    }
}
