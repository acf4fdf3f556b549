//! The presets: what is allowed before anybody wrote a rule.
//!
//! Owns the reading of `presets.txt`. Must not know layers or requests.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::host::{Host, HostPattern};
use super::policy_file::{self, PolicyError};
use super::rule::Rule;

/// The parts of `presets.txt`.
static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists::read(include_str!("presets.txt")));

/// Names that are not on the public internet, or not names of hosts.
const NOT_PUBLIC: [&str; 12] = [
    "arpa",
    "corp",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localhost",
    "onion",
    "private",
    "test",
];

/// What `presets.txt` says.
struct Lists {
    /// The rules of `balanced`.
    balanced: Result<Vec<Rule>, PolicyError>,
    doh: Vec<HostPattern>,
}

impl Lists {
    fn read(text: &str) -> Self {
        let (balanced, doh) = text.split_once("\n[doh]\n").unwrap_or((text, ""));
        let balanced = balanced.split_once("\n[balanced]\n").map_or("", |(_, rules)| rules);
        let hosts = doh.lines().filter_map(|line| HostPattern::parse(line.trim()).ok());
        Self { balanced: policy_file::parse(balanced), doh: hosts.collect() }
    }
}

/// What is allowed at the bottom, under every rule that somebody wrote.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Nothing.
    #[default]
    Locked,
    /// Reading from package registries and source hosts.
    Balanced,
    /// Every public host on its usual port.
    Open,
}

impl Preset {
    /// Every preset, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Locked, Self::Balanced, Self::Open];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Balanced => "balanced",
            Self::Open => "open",
        }
    }

    /// The preset of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }
}

impl Preset {
    /// Its rules. `open` has none that could be written: what it means is asked with [`is_public`].
    #[must_use]
    pub fn rules(self) -> &'static [Rule] {
        match self {
            Self::Locked | Self::Open => &[],
            Self::Balanced => LISTS.balanced.as_deref().unwrap_or_default(),
        }
    }
}

/// Whether a host answers name queries over HTTPS: whoever reaches it can ask for every name.
#[must_use]
pub fn answers_name_queries(host: &Host) -> bool {
    LISTS.doh.iter().any(|pattern| pattern.matches(host))
}

/// Whether a name can be that of a public host: it has a domain, and not one for use inside.
#[must_use]
pub fn is_public(host: &Host) -> bool {
    host.name().is_some_and(|name| {
        let top = name.as_str().rsplit_once('.').map(|(_, top)| top);
        top.is_some_and(|top| !NOT_PUBLIC.contains(&top))
    })
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_lists_is_read() {
        let text = include_str!("presets.txt");
        let lines =
            |from: &str| text.split_once(from).unwrap().1.lines().filter(|line| !line.is_empty()).count();
        assert_eq!(LISTS.balanced.as_ref().err(), None);
        assert_eq!(LISTS.doh.len(), lines("[doh]\n"));
        assert!(Preset::Balanced.rules().len() > 30);
        for rule in Preset::Balanced.rules() {
            assert!(matches!(rule, Rule::Allow(_)), "{rule}");
        }
    }

    #[test]
    fn names_of_the_inside_are_not_public() {
        for (host, public) in [
            ("example.com", true),
            ("a.b.co.uk", true),
            ("localhost", false),
            ("db", false),
            ("printer.local", false),
            ("metadata.google.internal", false),
            ("1.0.0.10.in-addr.arpa", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(is_public(&Host::parse(host).unwrap()), public, "{host}");
        }
    }
}
