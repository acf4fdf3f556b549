//! How captured work is kept: in parts, one over the other, so that a turn costs what it changed.
//!
//! Owns the stored form of work and which contents it needs. A part names the one below it. A new part takes in
//! those below that are not much larger than itself, so there are as many as the number of changes has binary
//! digits, and a change is written that often at most. Must not know what is in an upper layer or shown of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use ftl_core::diff::{SeenFiles, UpperNode};
use ftl_core::id::Hash;
use ftl_core::stack;
use ftl_core::tree::{Node, RelPath};
use serde::{Deserialize, Serialize};

use super::Error;
use super::record::Work;
use crate::app::Parts;
use crate::db::{self, DbError};
use crate::snapshot::SnapshotError;

/// What is wrong with a part, in the words of an error.
const WHAT: &str = "captured work";
/// How many times larger a part may be that is taken in.
const TIMES: usize = 2;

/// A part as it is kept.
#[derive(Serialize, Deserialize)]
struct Part {
    upper: Vec<(RelPath, UpperNode)>,
    #[serde(default)]
    left_out: Vec<RelPath>,
    #[serde(default)]
    unread: Vec<String>,
    #[serde(default)]
    seen: Vec<(RelPath, Node)>,
    /// The part that this one lies on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    below: Option<Hash>,
}

/// Keeps what a turn changed, over what was kept before.
///
/// # Errors
/// When what was kept cannot be read, or this not be written.
pub(super) fn put(parts: &Parts, mut below: Option<Hash>, turn: Work) -> Result<Hash, Error> {
    let mut work = turn;
    while let Some(hash) = below {
        let (lower, next) = read(parts, hash)?;
        if size(&lower) > TIMES * size(&work) {
            break;
        }
        below = next;
        work = join(lower, work);
    }
    let Work { upper, left_out, unread, seen } = work;
    let part = Part { upper, left_out, unread, seen, below };
    Ok(parts.store.put_captured(&db::encode(&part, WHAT)?)?)
}

/// All that is kept under a hash, in one.
///
/// # Errors
/// When a part of it cannot be read.
pub(super) fn get(parts: &Parts, hash: Option<Hash>) -> Result<Work, Error> {
    let mut found = Vec::new();
    let mut next = hash;
    while let Some(hash) = next {
        let (work, below) = read(parts, hash)?;
        next = below;
        found.push(work);
    }
    let joined = found.into_iter().rev().reduce(join);
    Ok(joined.unwrap_or_default())
}

/// Adds to `needed` what is kept under a hash: its parts, and the contents that they name. Parts that are
/// `walked` were added before. Work that is lost has nothing any more that could be shown.
///
/// # Errors
/// When a part is there and cannot be read.
pub(super) fn needs(
    parts: &Parts,
    hash: Hash,
    walked: &mut BTreeSet<Hash>,
    needed: &mut BTreeSet<Hash>,
) -> Result<(), Error> {
    let mut next = Some(hash);
    // Not asked of `needed`: a session may hold a file with the very bytes of a part.
    while let Some(hash) = next.filter(|hash| walked.insert(*hash)) {
        needed.insert(hash);
        let (work, below) = match read(parts, hash) {
            Err(Error::Store(SnapshotError::Missing { .. } | SnapshotError::Damaged { .. })) => return Ok(()),
            part => part?,
        };
        let content = |(_, node)| match node {
            UpperNode::File { hash, .. } => Some(hash),
            _ => None,
        };
        needed.extend(work.upper.into_iter().filter_map(content));
        next = below;
    }
    Ok(())
}

/// A part and the one below it.
fn read(parts: &Parts, hash: Hash) -> Result<(Work, Option<Hash>), Error> {
    let mut bytes = Vec::new();
    let read = parts.store.open_blob(hash)?.read_to_end(&mut bytes);
    read.map_err(|error| DbError::Unreadable { what: WHAT, message: error.to_string() })?;
    let Part { upper, left_out, unread, seen, below } = db::decode(&bytes, WHAT)?;
    Ok((Work { upper, left_out, unread, seen }, below))
}

fn size(work: &Work) -> usize {
    work.upper.len() + work.left_out.len() + work.unread.len() + work.seen.len()
}

/// Two parts as one that holds what both hold together.
fn join(lower: Work, upper: Work) -> Work {
    let below: BTreeMap<_, _> = lower.upper.into_iter().collect();
    let above: BTreeMap<_, _> = upper.upper.into_iter().collect();
    let left_out =
        stack::left_out(&lower.left_out.into_iter().collect(), &above, &upper.left_out.into_iter().collect());
    let mut unread = lower.unread;
    for sentence in upper.unread {
        if !unread.contains(&sentence) {
            unread.push(sentence);
        }
    }
    // Layers below may hold changes of files that only an earlier turn showed.
    let seen: SeenFiles = lower.seen.into_iter().chain(upper.seen).collect();
    Work {
        upper: stack::stack(&below, &above).into_iter().collect(),
        left_out: left_out.into_iter().collect(),
        unread,
        seen: seen.into_iter().collect(),
    }
}
