//! What the human was told about a project's credentials, so that it is not told again.
//!
//! Owns the one file that remembers it. Must not know what it says.

use std::path::Path;

use super::{Scope, Vault};
use crate::private;

impl Vault {
    /// Whether the human has been told exactly this about a project; from now on they have. An empty text
    /// is nothing to tell, and after it everything is news again.
    #[must_use]
    pub fn has_told(&self, project: &Path, text: &str) -> bool {
        let path = Self::dir(&self.home, &Scope::Project(project.to_owned())).join("told");
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
        let told = |project: &str, text: &str| vault.has_told(Path::new(project), text);
        assert!(told("/a", ""), "nothing is never news");
        assert!(!told("/a", "one") && told("/a", "one"));
        assert!(!told("/b", "one"));
        assert!(!told("/a", "two") && told("/a", "two"));
        assert!(!told("/a", "") && !told("/a", "two"));
    }
}
