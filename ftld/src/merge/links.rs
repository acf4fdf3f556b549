//! Where the project's symbolic links lead.
//!
//! Owns the last look before an application is final: links and directories that are harmless one by one can
//! lead out of the project together. Links that led out before are the user's own and are let be.

use std::collections::{BTreeMap, BTreeSet};

use ftl_core::merge::Step;
use ftl_core::tree::{Node, RelPath};
use rustix::fs::{AtFlags, FileType, OFlags, statat};
use rustix::io::Errno;

use super::root::Root;
use super::{MergeError, io_error};

/// Where a link leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leads {
    /// To something in the project, or to nothing.
    Within,
    /// Out of it, at some point of its way.
    Out,
    /// Nowhere: in circles, or through one of the kernel's own links.
    Nowhere,
}

/// The links to look at, and where they led before the first step.
pub(super) struct Watch {
    before: BTreeMap<RelPath, Option<Leads>>,
    approved: BTreeSet<RelPath>,
}

impl Watch {
    /// Notes where links lead now.
    pub(super) fn begin(root: &Root, links: &[RelPath], steps: &[Step]) -> Result<Self, MergeError> {
        let made = steps.iter().filter(|step| matches!(step.after, Some(Node::Symlink { .. })));
        let approved: BTreeSet<_> = made.map(|step| step.path.clone()).collect();
        let watched: BTreeSet<_> = links.iter().chain(&approved).collect();
        let before = watched.into_iter().map(|link| Ok((link.clone(), leads(root, link)?)));
        Ok(Self { before: before.collect::<Result<_, MergeError>>()?, approved })
    }

    /// Refuses when a link leads out that did not before. One that the steps made must not in any case.
    pub(super) fn end(&self, root: &Root) -> Result<(), MergeError> {
        for (path, before) in &self.before {
            let is_approved = self.approved.contains(path);
            let leaves = match leads(root, path)? {
                Some(Leads::Out) => is_approved || *before != Some(Leads::Out),
                Some(Leads::Nowhere) => is_approved,
                Some(Leads::Within) | None => false,
            };
            if leaves {
                return Err(MergeError::LinkLeaves { path: path.clone() });
            }
        }
        Ok(())
    }
}

/// Where a link leads; `None` when there is no link at the path.
fn leads(root: &Root, link: &RelPath) -> Result<Option<Leads>, MergeError> {
    let failed = io_error::<Errno>("follow", link);
    let parent = match root.parent(link, OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(Errno::ACCESS | Errno::XDEV) => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(parent) => parent,
    };
    match statat(&parent, link.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {}
        Ok(_) | Err(Errno::NOENT | Errno::ACCESS) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    match root.follow(link) {
        Err(Errno::XDEV) => Ok(Some(Leads::Out)),
        Err(Errno::LOOP) => Ok(Some(Leads::Nowhere)),
        Err(Errno::AGAIN) => Err(failed(Errno::AGAIN)),
        // What cannot be reached this way leads nobody out.
        Ok(_) | Err(_) => Ok(Some(Leads::Within)),
    }
}
