//! What a human should look at before saying yes.
//!
//! Owns the classes of risk, why each is one, and which of them a human must name to approve. None of them
//! refuses anything; each is a reason to look twice. The lists of names are matched after folding, so that
//! a host that ignores case is covered too.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::around::{Around, Sweep};
use super::manifest::Touched;
use super::name::{fold, folded_stem, is_invisible, is_like_a_separator};
use super::pattern::{Pattern, Patterns};
use super::secret::keeps_secrets;
use crate::diff::{After, Change};
use crate::tree::{Node, RelPath, Tree, names_in};

static HOST_EXECUTION: LazyLock<Patterns> = LazyLock::new(|| Patterns::parse(include_str!("host_exec.txt")));

/// Removed lines from which on a change counts as a large deletion.
const MANY_LINES: u64 = 200;
/// The same in bytes: lines may be long.
const MANY_BYTES: u64 = 16 * 1024;

/// The class of lock files and of lists of packages.
const DEPENDENCIES: &str = "dependencies";
/// The class of what is read and runs nothing.
const SETTINGS: &str = "settings";

/// A reason to look twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Risk {
    /// Tools on the host run it, or obey it.
    HostExecution {
        /// Which tools.
        class: &'static str,
        /// What they do with it.
        reason: &'static str,
    },
    /// A file with an executable bit, or one that starts with `#!`.
    Executable {
        /// Whether it was none before.
        new: bool,
    },
    /// It says which packages are installed.
    Dependencies,
    /// The name is one that secrets are kept under.
    SecretFile,
    /// Many lines are gone.
    LargeDeletion,
    /// It is one of the losses that are many together.
    MassDeletion {
        /// Why they are many.
        why: Sweep,
    },
    /// A path is gone.
    Deletion,
    /// The name or the content holds characters that are not drawn, or that redirect what is.
    ControlCharacters,
    /// Others may write to it.
    WorldWritable,
    /// A symbolic link.
    Symlink,
    /// A file that is not text.
    Binary,
    /// A file that is not shown as text, although tools may run it as one.
    Disguised,
    /// On a host that ignores case or normal form it is the same file as another one.
    CaseCollision,
    /// A tool reads it, and runs nothing because of it.
    Settings,
}

/// What is known of a change's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// It is not text, before or after.
    pub binary: bool,
    /// It is not shown as text, although tools may run it as one; see [`crate::lint::disguised`].
    pub disguised: bool,
    /// The added lines hold characters that are not drawn, or that redirect what is.
    pub hidden_characters: bool,
    /// It starts with `#!`.
    pub script: bool,
    /// It started with `#!` before.
    pub was_script: bool,
    /// Lines that are gone.
    pub removed_lines: u64,
    /// What of a package's manifest differs; see [`super::touched`].
    pub touched: Touched,
}

/// The risks of one change, the gravest first. `around` is what [`super::Surroundings`] says of it.
#[must_use]
pub fn risks(change: &Change, content: Content, around: &Around) -> Vec<Risk> {
    let (before, result) = (change.before.as_ref(), change.result());
    let open = |node: Option<&Node>| {
        node.is_some_and(|node| !matches!(node, Node::Symlink { .. }) && node.mode() & 0o002 != 0)
    };
    let is_dir = result.is_some_and(Node::is_dir);
    let secret = std::iter::once(&change.path).chain(&around.also).any(|path| keeps_secrets(path, is_dir));
    let [obeyed, depends, read] = by_names(change, content, around);
    let mut found: Vec<Risk> = [
        obeyed,
        executable(change, content),
        depends,
        secret.then_some(Risk::SecretFile),
        content.disguised.then_some(Risk::Disguised),
        loses_much(before, result, content).then_some(Risk::LargeDeletion),
        around.swept.map(|why| Risk::MassDeletion { why }),
        (change.after == After::Absent).then_some(Risk::Deletion),
        (content.hidden_characters || hidden_in_name(&change.path)).then_some(Risk::ControlCharacters),
        (open(result) && !open(before)).then_some(Risk::WorldWritable),
        matches!(result, Some(Node::Symlink { .. })).then_some(Risk::Symlink),
        content.binary.then_some(Risk::Binary),
        around.collides.then_some(Risk::CaseCollision),
        read,
    ]
    .into_iter()
    .flatten()
    .collect();
    found.dedup();
    found
}

/// What the lists of names say of all names that a path has: what is run, what names packages, what is only read.
fn by_names(change: &Change, content: Content, around: &Around) -> [Option<Risk>; 3] {
    let mut found = by_name(&change.path, change, content);
    for path in &around.also {
        // What is known of a manifest is known of the name that it was read by.
        let touched = if path.name() == change.path.name() { content.touched } else { Touched::Unknown };
        let more = by_name(path, change, Content { touched, ..content });
        found = std::array::from_fn(|at| found[at].or(more[at]));
    }
    let reason = "more links lead to it than are followed, and a tool may run it by one of them";
    let unknown = around.more.then_some(Risk::HostExecution { class: "links", reason });
    [found[0].or(unknown), found[1], found[2]]
}

/// The same of one name.
fn by_name(path: &RelPath, change: &Change, content: Content) -> [Option<Risk>; 3] {
    // Elsewhere a backslash separates components.
    let folded: Vec<Cow<'_, str>> = path.components().flat_map(parts).collect();
    let is_link = matches!(change.result(), Some(Node::Symlink { .. }));
    let leads = || if is_link { HOST_EXECUTION.leading(&folded) } else { None };
    let Some(Pattern { class, reason, tree, .. }) = HOST_EXECUTION.matching(&folded).or_else(leads) else {
        return [None; 3];
    };
    let is_dir = change.result().is_some_and(Node::is_dir);
    let runs = Some(Risk::HostExecution { class, reason });
    let hash = |node: Option<&Node>| node.and_then(Node::hash);
    let (before, after) = (hash(change.before.as_ref()), hash(change.result()));
    match (*class, content.touched) {
        // The name is a file's.
        _ if is_dir && !tree => [None; 3],
        // Only the mode differs.
        _ if before.is_some() && before == after => [None; 3],
        (SETTINGS, _) => [None, None, Some(Risk::Settings)],
        (DEPENDENCIES, _) => [None, Some(Risk::Dependencies), None],
        (_, Touched::Parts { runs: run, depends }) => {
            [runs.filter(|_| run), depends.then_some(Risk::Dependencies), None]
        }
        (_, Touched::Unknown) => [runs, None, None],
    }
}

fn parts(component: &[u8]) -> Vec<Cow<'_, str>> {
    component.split(|byte| *byte == b'\\').filter(|part| !part.is_empty()).map(folded_stem).collect()
}

fn executable(change: &Change, content: Content) -> Option<Risk> {
    let has_bit = |node: Option<&Node>| matches!(node, Some(Node::File { mode, .. }) if mode & 0o111 != 0);
    let is_file = matches!(change.result(), Some(Node::File { .. }));
    let (was, is) = (has_bit(change.before.as_ref()), has_bit(change.result()));
    let runs = is || (is_file && content.script);
    runs.then_some(Risk::Executable { new: (is && !was) || (content.script && !content.was_script && !was) })
}

/// Whether many lines are gone, or many bytes: a few lines may be long.
fn loses_much(before: Option<&Node>, after: Option<&Node>, content: Content) -> bool {
    let size = |node: Option<&Node>| match node {
        Some(Node::File { size, .. }) => *size,
        _ => 0,
    };
    let bytes = size(before).saturating_sub(size(after));
    content.removed_lines >= MANY_LINES || bytes >= MANY_BYTES
}

/// The new paths that are, after folding, the same as another path of the result.
pub(super) fn collisions(base: &Tree, changes: &[Change]) -> BTreeSet<RelPath> {
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
        Ok(text) => text.chars().any(|c| c.is_control() || is_invisible(c) || is_like_a_separator(c)),
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
            Self::HostExecution { .. } => "host-execution",
            Self::Executable { .. } => "executable",
            Self::Dependencies => "dependencies",
            Self::SecretFile => "secret-file",
            Self::LargeDeletion => "large-deletion",
            Self::MassDeletion { .. } => "mass-deletion",
            Self::Deletion => "deletion",
            Self::ControlCharacters => "control-characters",
            Self::WorldWritable => "world-writable",
            Self::Symlink => "symlink",
            Self::Binary => "binary",
            Self::Disguised => "disguised",
            Self::CaseCollision => "case-collision",
            Self::Settings => "settings",
        }
    }

    /// Why it is one, for humans.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::HostExecution { reason, .. } => reason,
            Self::Executable { new: true } => "it can now be run as a program",
            Self::Executable { new: false } => "it is a program, and another one than before",
            Self::Dependencies => "it says which packages are installed, and from where",
            Self::SecretFile => "secrets are kept under this name",
            Self::LargeDeletion => "much of what was there is gone",
            Self::MassDeletion { why } => why.reason(),
            Self::Deletion => "what was there is gone",
            Self::ControlCharacters => "it holds characters that are not drawn, or that change what is",
            Self::WorldWritable => "every user of the host may write to it",
            Self::Symlink => "it leads to another path",
            Self::Binary => "it is not text, so its change cannot be read",
            Self::Disguised => "tools may run it as a text, and it holds bytes that no text has",
            Self::CaseCollision => "some file systems take its name for that of another file",
            Self::Settings => "a tool reads it, and runs nothing because of it",
        }
    }

    /// Whether a change with it is approved only when a human names it, and never together with all others.
    #[must_use]
    pub fn needs_naming(self) -> bool {
        match self {
            Self::HostExecution { .. }
            | Self::Executable { new: true }
            | Self::Dependencies
            | Self::SecretFile
            | Self::Disguised
            | Self::LargeDeletion
            | Self::MassDeletion { .. } => true,
            Self::Executable { new: false }
            | Self::Deletion
            | Self::ControlCharacters
            | Self::WorldWritable
            | Self::Symlink
            | Self::Binary
            | Self::CaseCollision
            | Self::Settings => false,
        }
    }
}

#[cfg(test)]
mod tests;
