//! What a human should look at before saying yes.
//!
//! Owns the classes of risk. None of them refuses anything; each is a reason to look twice. The lists of
//! names are matched after folding, so that a host that ignores case is covered too.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::name::{fold, folded_stem, is_invisible};
use super::pattern::Patterns;
use super::secret::keeps_secrets;
use crate::diff::{After, Change};
use crate::tree::{Node, RelPath, Tree, names_in};

static HOST_EXECUTION: LazyLock<Patterns> = LazyLock::new(|| Patterns::parse(include_str!("host_exec.txt")));

/// Removed lines from which on a change counts as a large deletion.
const MANY_LINES: u64 = 200;

/// A reason to look twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Risk {
    /// A new or changed file with an executable bit, or one that starts with `#!`.
    Executable,
    /// Others may write to it.
    WorldWritable,
    /// The name or the content holds characters that are not drawn, or that redirect what is.
    ControlCharacters,
    /// A path is gone, or many lines are.
    Deletion,
    /// A symbolic link.
    Symlink,
    /// A file that is not text.
    Binary,
    /// Tools on the host run it, or obey it.
    HostExecution {
        /// Which tools.
        class: &'static str,
    },
    /// The name is one that secrets are kept under.
    SecretFile,
    /// On a host that ignores case or normal form it is the same file as another one.
    CaseCollision,
}

/// What is known of a change's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// It is not text, before or after.
    pub binary: bool,
    /// The added lines hold characters that are not drawn, or that redirect what is.
    pub hidden_characters: bool,
    /// It starts with `#!`.
    pub script: bool,
    /// Lines that are gone.
    pub removed_lines: u64,
}

/// The risks of one change. `collides` is whether [`collisions`] names it.
#[must_use]
pub fn risks(change: &Change, content: Content, collides: bool) -> Vec<Risk> {
    let result = change.result();
    let runs = matches!(result, Some(Node::File { mode, .. }) if content.script || mode & 0o111 != 0);
    let open = |node: Option<&Node>| {
        node.is_some_and(|node| !matches!(node, Node::Symlink { .. }) && node.mode() & 0o002 != 0)
    };
    let folded: Vec<_> = change.path.components().map(folded_stem).collect();
    let host = HOST_EXECUTION.matching(&folded).map(|pattern| Risk::HostExecution { class: pattern.class });
    let found = [
        runs.then_some(Risk::Executable),
        (open(result) && !open(change.before.as_ref())).then_some(Risk::WorldWritable),
        (content.hidden_characters || hidden_in_name(&change.path)).then_some(Risk::ControlCharacters),
        (change.after == After::Absent || content.removed_lines >= MANY_LINES).then_some(Risk::Deletion),
        matches!(result, Some(Node::Symlink { .. })).then_some(Risk::Symlink),
        content.binary.then_some(Risk::Binary),
        host,
        keeps_secrets(&change.path, result.is_some_and(Node::is_dir)).then_some(Risk::SecretFile),
        collides.then_some(Risk::CaseCollision),
    ];
    found.into_iter().flatten().collect()
}

/// The new paths that are, after folding, the same as another path of the result.
#[must_use]
pub fn collisions(base: &Tree, changes: &[Change]) -> BTreeSet<RelPath> {
    let changed: BTreeMap<RelPath, &Change> =
        changes.iter().filter(|change| change.refused.is_none()).map(|c| (c.path.clone(), c)).collect();
    let added: Vec<_> = changed.values().filter(|c| c.before.is_none() && c.result().is_some()).collect();
    let parents: BTreeSet<_> = added.iter().map(|change| change.path.parent()).collect();
    let present = |path: &RelPath| match changed.get(path) {
        Some(change) => change.result().is_some(),
        None => base.contains_key(path),
    };
    let mut colliding = BTreeSet::new();
    for parent in parents {
        let mut twins: BTreeMap<Cow<'_, str>, BTreeSet<RelPath>> = BTreeMap::new();
        for name in base.names_in(parent.as_ref()).chain(names_in(&changed, parent.as_ref())) {
            if let Ok(path) = RelPath::under(parent.as_ref(), name)
                && present(&path)
            {
                twins.entry(fold(name)).or_default().insert(path);
            }
        }
        colliding.extend(twins.into_values().filter(|paths| paths.len() > 1).flatten());
    }
    added.iter().map(|change| &change.path).filter(|path| colliding.contains(*path)).cloned().collect()
}

fn hidden_in_name(path: &RelPath) -> bool {
    match std::str::from_utf8(path.as_bytes()) {
        Ok(text) => text.chars().any(|c| c.is_control() || is_invisible(c)),
        Err(_) => true,
    }
}

/// Whether text holds characters, other than line ends and tabs, that are not drawn or that redirect what
/// is. Bytes that are not UTF-8 are judged as Latin-1 control characters.
#[must_use]
pub(crate) fn hides_characters(text: &[u8]) -> bool {
    text.utf8_chunks().any(|chunk| {
        let hidden = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || is_invisible(c);
        let valid = chunk.valid().replace("\r\n", "\n");
        valid.chars().any(hidden) || chunk.invalid().iter().any(|byte| (0x80..0xa0).contains(byte))
    })
}

// === impl Risk ===

impl Risk {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Executable => "executable",
            Self::WorldWritable => "world-writable",
            Self::ControlCharacters => "control-characters",
            Self::Deletion => "deletion",
            Self::Symlink => "symlink",
            Self::Binary => "binary",
            Self::HostExecution { .. } => "host-execution",
            Self::SecretFile => "secret-file",
            Self::CaseCollision => "case-collision",
        }
    }
}
