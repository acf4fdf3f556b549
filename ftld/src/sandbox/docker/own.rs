//! What of an engine is this daemon's own: the names that it gives, and which of them are in use now.
//!
//! Owns how names are made of the instance, so that two daemons never have one name for two things, and the
//! list of what this process is using, so that a sweep spares it. Must not ask an engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One daemon's names on its engines. A clone is the same list.
#[derive(Clone, Debug, Default)]
pub struct Own {
    instance: Arc<str>,
    /// What names begin with, and how many hold them.
    used: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// While this lives, no sweep of this process takes what has such a name.
#[derive(Debug)]
pub struct InUse {
    own: Own,
    prefix: String,
}

impl Own {
    /// The names of a daemon. `instance` is letters, digits and `-`.
    #[must_use]
    pub fn new(instance: &str) -> Self {
        Self { instance: instance.into(), used: Arc::default() }
    }

    /// The name of this daemon among others that use the same engine.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The name of a container or volume.
    #[must_use]
    pub fn name(&self, what: &str) -> String {
        match &*self.instance {
            "" => format!("ftl-{what}"),
            instance => format!("ftl-{instance}-{what}"),
        }
    }

    /// The name of an image. The same image may have another daemon's names too.
    #[must_use]
    pub fn image(&self, what: &str, version: &str) -> String {
        format!("{}/{what}:{version}", self.repository())
    }

    /// Whether an image's name was given here.
    #[must_use]
    pub fn is_image(&self, name: &str) -> bool {
        name.strip_prefix(&self.repository()).is_some_and(|rest| rest.starts_with('/'))
    }

    fn repository(&self) -> String {
        match &*self.instance {
            "" => "ftl".to_owned(),
            instance => format!("ftl-{instance}"),
        }
    }

    /// Holds everything whose name begins so.
    #[must_use]
    pub fn hold(&self, prefix: String) -> InUse {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used.entry(prefix.clone()).or_default() += 1;
        InUse { own: self.clone(), prefix }
    }

    /// Whether somebody holds this name. Engines write containers' names with a slash in front.
    #[must_use]
    pub fn is_used(&self, name: &str) -> bool {
        let name = name.trim_start_matches('/');
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.keys().any(|prefix| name.starts_with(prefix))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut used = self.own.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holders) = used.get_mut(&self.prefix) {
            *holders -= 1;
            if *holders == 0 {
                used.remove(&self.prefix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_daemons_and_what_is_held_is_used_until_the_last_lets_go() {
        let (one, other) = (Own::new("one"), Own::new("other"));
        assert_eq!(
            (one.name("try-1"), one.image("agents", "2")),
            ("ftl-one-try-1".into(), "ftl-one/agents:2".into())
        );
        assert!(one.is_image("ftl-one/agents:2") && !other.is_image("ftl-one/agents:2"));
        assert!(!one.is_image("ftl-one-more/agents:2"));
        let first = one.hold("ftl-one-a-".to_owned());
        let second = one.clone().hold("ftl-one-a-".to_owned());
        assert!(one.is_used("/ftl-one-a-sandbox") && !one.is_used("/ftl-one-b-sandbox"));
        drop(first);
        assert!(one.is_used("ftl-one-a-workspace"));
        drop(second);
        assert!(!one.is_used("ftl-one-a-workspace"));
    }
}
