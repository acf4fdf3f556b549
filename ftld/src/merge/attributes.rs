//! What a node has beside its content and its permissions: owner, set-id bits, access rules, attributes.
//!
//! Owns what of it goes from what a step takes away to what comes in its place, and what is kept so that it can
//! come back. A change tells content and permissions only, so all else is the user's and stays as it was; what
//! cannot stay is refused and never lost in silence. Must not know which steps there are.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use ftl_core::event::Bytes;
use ftl_core::id::Hash;
use ftl_core::tree::RelPath;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Stat, Uid, XattrFlags, chmodat, fchown, fstat, getxattr, listxattr,
    removexattr, setxattr,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Rights that a program has whoever runs it.
const CAPABILITY: &str = "security.capability";
/// Who else may do what with a node.
const ACCESS: &str = "system.posix_acl_access";
/// What a node in this directory begins with.
const DEFAULT: &str = "system.posix_acl_default";
/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;
/// All bits of a mode that are no permissions.
const BEYOND: u32 = 0o7000;
/// The kernel's own limits for a list of names and for a value.
const MOST: usize = 1 << 16;

/// What a node has beside content and permissions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Attributes {
    uid: u32,
    gid: u32,
    /// The bits of its mode that are no permissions.
    bits: u32,
    /// Extended attributes by name, sorted.
    named: Vec<(Bytes, Bytes)>,
}

/// The attributes of a node that a step takes away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Where it stood.
    pub(super) path: RelPath,
    /// A file's content: rights of a program go to no other.
    pub(super) hash: Option<Hash>,
    pub(super) attributes: Attributes,
}

/// What a new node is dressed in.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// The same content stood there with these.
    Same(Attributes),
    /// Another content stood there with these.
    Other(Attributes),
    /// Nothing stood there; the directory that it stands in.
    In(Stat),
}

impl Attributes {
    /// Those of an open node; a path to it is enough.
    pub(super) fn of(node: impl AsFd) -> Result<Self, Errno> {
        let stat = fstat(&node)?;
        let place = place(&node);
        let mut named = Vec::new();
        for name in names(&place)? {
            if !is_copied(&name) {
                continue;
            }
            match value(&place, &name) {
                Ok(value) => named.push((Bytes(name), Bytes(value))),
                // Gone meanwhile, or only told to others.
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM) => {}
                Err(error) => return Err(error),
            }
        }
        named.sort();
        Ok(Self { uid: stat.st_uid, gid: stat.st_gid, bits: stat.st_mode & BEYOND, named })
    }

    /// Whether the file runs with rights that its content must be trusted with.
    pub(super) fn is_privileged(&self) -> bool {
        self.bits & SET_ID != 0 || self.get(CAPABILITY).is_some()
    }

    /// Whether there is anything that a new node in this directory would not have by itself.
    pub(super) fn is_plain(&self, dir: &Stat) -> bool {
        let is_told = |(name, _): &&(Bytes, Bytes)| is_required(&name.0) || name.0 == CAPABILITY.as_bytes();
        (self.uid, self.gid) == (dir.st_uid, dir.st_gid)
            && self.bits & !(dir.st_mode & 0o2000) == 0
            && !self.named.iter().any(|one| is_told(&one))
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.named.iter().find(|(named, _)| named.0 == name.as_bytes()).map(|(_, value)| value.0.as_slice())
    }
}

/// Dresses a new node, which nobody else can open yet, and gives it its permissions last.
///
/// # Errors
/// When something of it cannot be kept, or the file system does not keep the permissions.
pub(super) fn dress(new: impl AsFd, origin: &Origin, mode: u32) -> io::Result<()> {
    let mut bits = 0;
    match origin {
        Origin::Same(old) | Origin::Other(old) => {
            let is_same = matches!(origin, Origin::Same(_));
            adopt(&new, old, mode)?;
            copy(&new, old, is_same)?;
            bits = if is_same { old.bits } else { old.bits & !SET_ID };
        }
        Origin::In(dir) => give_to(&new, dir)?,
    }
    let stat = fstat(&new)?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_dir {
        // A set-group-id bit that came from the directory above stays: the user's group depends on it.
        bits |= stat.st_mode & 0o2000;
    }
    chmodat(CWD, place(&new), Mode::from_raw_mode(mode | bits), AtFlags::empty())?;
    let meant = if is_dir { 0o777 } else { 0o777 | SET_ID };
    if fstat(&new)?.st_mode & meant != (mode | bits) & meant {
        return Err(io::Error::other("the file system does not keep permissions"));
    }
    Ok(())
}

/// Gives what is new the owner of the directory it stands in: a daemon that is root must not leave files that
/// the user cannot touch. Others can give nothing away and need not.
fn give_to(new: impl AsFd, dir: &Stat) -> Result<(), Errno> {
    if fstat(&new)?.st_uid == dir.st_uid {
        return Ok(());
    }
    match chown(&new, Some(dir.st_uid), dir.st_gid) {
        Err(Errno::PERM) => Ok(()),
        other => other,
    }
}

/// Gives what is new the owner and group of what it replaces. An owner that cannot be kept is let go: the file
/// is written by this user now. A group is not where it may do what others may not: another group would.
fn adopt(new: impl AsFd, old: &Attributes, mode: u32) -> io::Result<()> {
    let mine = fstat(&new)?;
    if (mine.st_uid, mine.st_gid) == (old.uid, old.gid) {
        return Ok(());
    }
    if mine.st_uid != old.uid && chown(&new, Some(old.uid), old.gid).is_ok() {
        return Ok(());
    }
    match chown(&new, None, old.gid) {
        Err(Errno::PERM) if (mode >> 3) & 7 & !mode != 0 => {
            Err(io::Error::other("its group cannot be kept, and another would get that group's access"))
        }
        Err(Errno::PERM) => Ok(()),
        other => Ok(other?),
    }
}

fn chown(node: impl AsFd, uid: Option<u32>, gid: u32) -> Result<(), Errno> {
    fchown(node, uid.map(Uid::from_raw), Some(Gid::from_raw(gid)))
}

/// Makes a new node's attributes those of the old. What it got from its directory alone goes.
fn copy(new: impl AsFd, old: &Attributes, is_same: bool) -> io::Result<()> {
    let (place, now) = (place(&new), Attributes::of(&new)?);
    for rules in [ACCESS, DEFAULT] {
        if now.get(rules).is_some() && old.get(rules).is_none() {
            removexattr(&place, rules)?;
        }
    }
    for (name, value) in &old.named {
        let is_wanted = is_same || name.0 != CAPABILITY.as_bytes();
        if !is_wanted || now.named.contains(&(name.clone(), value.clone())) {
            continue;
        }
        let shown = String::from_utf8_lossy(&name.0);
        match setxattr(&place, name.0.as_slice(), &value.0, XattrFlags::empty()) {
            Err(error) if is_required(&name.0) || name.0 == CAPABILITY.as_bytes() => {
                let said = io::Error::from(error);
                return Err(io::Error::new(said.kind(), format!("its attribute {shown}: {said}")));
            }
            Err(error) => tracing::debug!(%error, name = %shown, "an attribute was not kept"),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Whether an attribute is the user's own, who misses it when it goes.
fn is_required(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == ACCESS.as_bytes() || name == DEFAULT.as_bytes()
}

/// Whether an attribute goes along where it may. What the kernel keeps of a content's integrity does not: it
/// is of the old content.
fn is_copied(name: &[u8]) -> bool {
    let is_seal = name == b"security.ima" || name == b"security.evm";
    is_required(name) || ((name.starts_with(b"security.") || name.starts_with(b"btrfs.")) && !is_seal)
}

/// A path to an open node, also to one that may only be named.
fn place(node: impl AsFd) -> String {
    format!("/proc/self/fd/{}", node.as_fd().as_raw_fd())
}

fn names(place: &str) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = vec![0; 1024];
    loop {
        match listxattr(place, &mut names[..]) {
            Ok(length) => {
                names.truncate(length);
                let each = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
                return Ok(each.map(<[u8]>::to_vec).collect());
            }
            Err(Errno::RANGE) if names.len() < MOST => names = vec![0; MOST],
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}

fn value(place: &str, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 256];
    loop {
        match getxattr(place, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                return Ok(value);
            }
            Err(Errno::RANGE) if value.len() < MOST => value = vec![0; MOST],
            Err(error) => return Err(error),
        }
    }
}
