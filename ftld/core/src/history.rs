//! A project's Git history, as far as a session may see it.
//!
//! Owns how Git's objects, references, index and import stream are written down, and which objects of a
//! history a sandbox gets: all that its commits reach, without the contents that stand, or ever stood, where
//! secrets are kept. Must not know files or processes: objects are read through [`walk::Source`]. What is
//! read here comes from a directory that somebody else may have made.

pub mod index;
pub mod object;
pub mod refs;
pub mod stream;
pub mod walk;

use serde::{Deserialize, Serialize};

/// How much of a project's history a session sees.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Nothing.
    Off,
    /// The newest commits, [`RECENT`] of them.
    #[default]
    Recent,
    /// All that there is, added in the background.
    Full,
}

/// Commits of `HEAD`'s history that a view has at first, and that [`Depth::Recent`] is satisfied with.
/// Whole levels are taken, so that there may be some more.
pub const RECENT: usize = 1000;

impl Depth {
    /// Its name in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Recent => "recent",
            Self::Full => "full",
        }
    }

    /// The depth of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Off, Self::Recent, Self::Full].into_iter().find(|depth| depth.name() == name)
    }
}
