//! What the human was told about a project's credentials, so that it is not told again.
//!
//! Owns the one file that remembers it. Must not know what it says.

use std::path::Path;

use super::{Scope, Vault};
use crate::private;

/// What the human is told about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Credentials that can go nowhere.
    Unreachable,
    /// What of the `.env` files is not shown in sandboxes.
    Withheld,
}

impl Subject {
    fn file(self) -> &'static str {
        match self {
            Self::Unreachable => "told",
            Self::Withheld => "told-withheld",
        }
    }
}

impl Vault {
    /// Whether the human has been told exactly this about a project; from now on they have. An empty text
    /// is nothing to tell, and after it everything is news again. What is told of one subject does not make
    /// another one news.
    #[must_use]
    pub fn has_told(&self, project: &Path, subject: Subject, text: &str) -> bool {
        let path = Self::dir(&self.home, &Scope::Project(project.to_owned())).join(subject.file());
        if std::fs::read_to_string(&path).unwrap_or_default() == text {
            return true;
        }
        if let Err(error) = private::replace(&path, text.as_bytes()) {
            tracing::warn!(path = %path.display(), %error, "what was told is not kept and is told again");
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_same_is_told_once_for_each_project_and_again_when_it_changes() {
        let home = tempfile::tempdir().unwrap();
        let vault = Vault::new(home.path(), BTreeMap::new(), Arc::new(|| 0));
        let told = |project: &str, text: &str| vault.has_told(Path::new(project), Subject::Unreachable, text);
        assert!(told("/a", ""), "nothing is never news");
        assert!(!told("/a", "one") && told("/a", "one"));
        assert!(!told("/b", "one"));
        assert!(!told("/a", "two") && told("/a", "two"));
        assert!(!vault.has_told(Path::new("/a"), Subject::Withheld, "two") && told("/a", "two"));
        assert!(!told("/a", "") && !told("/a", "two"));
    }
}
