//! What the daemon and the keeper of a session's files say to each other, beside trees.
//!
//! Owns orders and answers. Must not know how they are done.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Frame, Malformed, put};

/// One of the trees of a session's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// What the session changes in the workspace.
    Upper,
    /// The home of its programs.
    Home,
    /// Their temporary files.
    Tmp,
}

/// What a session has on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes, of which every node has [`NODE_BYTES`] at least.
    pub bytes: u64,
    /// Files, directories and everything else that has a name.
    pub nodes: u64,
}

/// What a node counts at least, bytes: a disk has a place for each, and not for any number of them.
pub const NODE_BYTES: u64 = 4096;

/// The most nodes that a session may have, so that the disk that it shares has some left for others, and that
/// what it leaves can be read.
pub const MOST_NODES: u64 = 1_000_000;

/// What the daemon says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Whom everything belongs to. First.
    Begin {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A tree that stays; its parts follow.
    Layer {
        /// Its name.
        name: String,
        /// The tree that it is made like: what follows is what differs.
        like: Option<String>,
        /// What the daemon wants to know of it later.
        note: String,
    },
    /// What a tree that stays holds.
    Check {
        /// Its name.
        name: String,
    },
    /// All trees that stay.
    Names,
    /// A tree that stays is not needed any more.
    Remove {
        /// Its name.
        name: String,
    },
    /// A tree of the session's own; its parts follow.
    Fill {
        /// Which.
        place: Place,
    },
    /// From now on nothing is written any more, by the kernel's word where it has Landlock.
    Rest,
    /// How much the session has on its disk.
    Measure,
    /// The parts of a tree of the session's own.
    Read {
        /// Which.
        place: Place,
        /// Whether files that are as they were filled in are named only.
        same: bool,
    },
}

/// What the keeper says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It can begin.
    Ready {
        /// Whether the kernel knows version 6 of the internet protocol.
        ipv6: bool,
    },
    /// What a tree holds, as its [`Seal`].
    Seal(String),
    /// There is no such tree.
    Absent,
    /// Names of trees, and what was noted with them.
    Names(Vec<(String, String)>),
    /// It was done.
    Done,
    /// Nothing when it is hidden too deep to be counted.
    Used(Option<Usage>),
    /// It could not be done.
    Failed {
        /// What, and with what.
        what: String,
        /// The system's error number.
        errno: i32,
    },
}

impl Usage {
    /// Adds a node that has so many blocks of 512 bytes.
    pub fn add(&mut self, blocks: u64) {
        self.bytes = self.bytes.saturating_add(blocks.saturating_mul(512).max(NODE_BYTES));
        self.nodes += 1;
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), nodes: self.nodes.saturating_add(other.nodes) }
    }
}

impl Place {
    /// The name of its directory, on both sides.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Upper => "upper",
            Self::Home => "home",
            Self::Tmp => "tmp",
        }
    }
}

/// The frame of an order or an answer.
#[must_use]
pub fn word<T: Serialize>(word: &T) -> Vec<u8> {
    let mut out = Vec::new();
    // Nothing that is said here can fail to be written; if it did, the other end would not take it.
    put(&mut out, 0, |out| out.extend(serde_json::to_vec(word).unwrap_or_default()));
    out
}

/// The order or the answer of a frame.
///
/// # Errors
/// When it is none.
pub fn understood<T: DeserializeOwned>(frame: Frame) -> Result<T, Malformed> {
    match frame {
        Frame::Word(bytes) => serde_json::from_slice(&bytes).map_err(|_| Malformed("words")),
        Frame::Part(_) => Err(Malformed("a part where words belong")),
    }
}
