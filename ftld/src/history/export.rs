//! Writes a row of trees into a project's repository as a branch.
//!
//! Owns that nothing but new objects and one new reference is written: no working tree, index, `HEAD` or
//! hook is touched, no branch that is there is moved. The objects are made in a repository of our own and
//! put into the project's as one pack. Must not know where contents are kept.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ftl_core::history::object::Id;
use ftl_core::history::refs;
use ftl_core::history::stream::{self, Author, Piece, Step};
use ftl_core::id::Hash;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::git::{self, Bench};
use super::locate::{self, Repository, beneath};
use super::{History, HistoryError, io_error};

/// Where the trees' contents are.
pub trait Contents: Sync {
    /// Writes a content to `to`.
    ///
    /// # Errors
    /// When it is missing or `to` takes no more.
    fn copy(&self, hash: Hash, to: &mut dyn Write) -> io::Result<u64>;
}

/// What is to become a branch.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    /// Its short name: `ftl/try`.
    pub branch: &'a str,
    /// The commit that it begins at; `None` begins with nothing.
    pub base: Option<Id>,
    /// The commits, the first one first.
    pub steps: &'a [Step<'a>],
    /// Who makes them.
    pub author: &'a Author,
}

/// A branch that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// Its full name.
    pub name: String,
    /// Its commit.
    pub tip: Id,
}

impl History {
    /// Makes the branch. Only what each step changes is taken over, so that files which no snapshot has, such
    /// as secrets, stay as they are in `base`. Blocks.
    ///
    /// # Errors
    /// When the branch is there already, its name cannot be one, or Git fails; the project is then as it was,
    /// but for objects that nothing leads to.
    pub fn export(
        &self,
        project: &Path,
        wanted: &Export<'_>,
        contents: &dyn Contents,
    ) -> Result<Exported, HistoryError> {
        let name = format!("refs/heads/{}", wanted.branch);
        let cannot = |why| HistoryError::Branch { name: wanted.branch.to_owned(), why };
        if !refs::is_shown(&name) || wanted.branch == "HEAD" {
            return Err(cannot("that is no name for a branch"));
        }
        if wanted.steps.is_empty() {
            return Err(cannot("there is nothing to commit"));
        }
        let lock = self.lock(project);
        let _alone = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let repository = locate::read(project)?.ok_or_else(|| cannot("the project has no repository"))?;
        let common = open(&repository.common)?;
        is_free(&repository, &common, &name).map_err(cannot)?;
        if let Some(base) = wanted.base
            && base.format() != repository.format
        {
            return Err(cannot("its first commit is of another kind of repository"));
        }
        let dir = self.place(project).join("export");
        let program = self.program()?;
        let bench = Bench::make(program, &dir, repository.format, &repository.objects, self.limit)?;
        bench.run(&["fast-import", "--quiet", "--done"], |to| feed(wanted, contents, to))?;
        let answer = bench.run(&["rev-parse", "--verify", stream::TARGET], |_| Ok(()))?;
        let tip = Id::from_hex(answer.trim_ascii());
        let tip = tip.ok_or_else(|| HistoryError::Broken { what: "an odd id".to_owned() })?;
        install(&bench.dir().join("objects/pack"), &common, &repository.common)?;
        create(&common, &name, tip, &repository.common)?.map_err(cannot)?;
        git::clear(&dir)?;
        Ok(Exported { name, tip })
    }
}

fn feed(wanted: &Export<'_>, contents: &dyn Contents, to: &mut dyn Write) -> io::Result<()> {
    let commits = wanted.steps.iter().flat_map(|step| stream::commit(step, wanted.author));
    for piece in stream::begin(wanted.base).into_iter().chain(commits).chain(stream::end()) {
        match piece {
            Piece::Text(text) => to.write_all(&text)?,
            Piece::Content { hash, size } => {
                writeln!(to, "{size}")?;
                // A content of another length would make the rest of the stream something else.
                if contents.copy(hash, to)? != size {
                    return Err(io::Error::other("a content has another length than its tree says"));
                }
                to.write_all(b"\n")?;
            }
        }
    }
    Ok(())
}

/// Whether neither the name nor a part of it is taken.
fn is_free(repository: &Repository, common: &OwnedFd, name: &str) -> Result<(), &'static str> {
    let within = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    for taken in repository.refs.keys() {
        if taken == name {
            return Err("there is a branch of that name");
        }
        if within(taken, name) || within(name, taken) {
            return Err("there is a branch whose name is part of it, or the other way round");
        }
    }
    match beneath(common.as_fd(), name, OFlags::PATH) {
        Err(Errno::NOENT) => Ok(()),
        _ => Err("there is something in its place"),
    }
}

/// Puts packs into the project's directory of objects, the index last: without it a pack is nothing to Git.
fn install(from: &Path, common: &OwnedFd, shown: &Path) -> Result<(), HistoryError> {
    let failed = |error: Errno| io_error("write into", shown)(error);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let objects = beneath(common.as_fd(), "objects", flags).map_err(failed)?;
    match rustix::fs::mkdirat(&objects, "pack", Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(failed(error)),
    }
    let packs = beneath(objects.as_fd(), "pack", flags).map_err(failed)?;
    let entries = std::fs::read_dir(from).map_err(io_error("list", from))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let stems: Vec<String> = names.filter_map(|name| name.strip_suffix(".pack").map(str::to_owned)).collect();
    for stem in stems {
        for ending in ["pack", "idx"] {
            let name = format!("{stem}.{ending}");
            let source = from.join(&name);
            let mut source = File::open(&source).map_err(io_error("read", &source))?;
            let draft = format!("tmp_ftl_{name}");
            let _left_by_a_crash = rustix::fs::unlinkat(&packs, &draft, AtFlags::empty());
            let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let mut file = File::from(beneath(packs.as_fd(), &draft, create).map_err(failed)?);
            let written = io::copy(&mut source, &mut file)
                .and_then(|_| file.set_permissions(std::fs::Permissions::from_mode(0o444)))
                .and_then(|()| file.sync_all());
            written.map_err(io_error("write into", shown))?;
            rustix::fs::renameat(&packs, &draft, &packs, &name).map_err(failed)?;
        }
    }
    rustix::fs::fsync(&packs).map_err(failed)
}

/// Makes the reference, the way Git does: a lock that nobody else has, then its name, unless that is taken.
fn create(
    common: &OwnedFd,
    name: &str,
    tip: Id,
    shown: &Path,
) -> Result<Result<(), &'static str>, HistoryError> {
    let failed = |error: Errno| io_error("write into", shown)(error);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let (parent, last) = name.rsplit_once('/').unwrap_or(("refs/heads", name));
    let mut dir = beneath(common.as_fd(), ".", flags).map_err(failed)?;
    for part in parent.split('/') {
        let made = rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o755));
        dir = beneath(dir.as_fd(), part, flags).map_err(failed)?;
        match made {
            // The daemon's mask is for its own files.
            Ok(()) => rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o755)).map_err(failed)?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let lock = format!("{last}.lock");
    let file = match beneath(dir.as_fd(), &lock, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL) {
        Ok(file) => file,
        Err(Errno::EXIST) => return Ok(Err("Git is at work on it")),
        Err(error) => return Err(failed(error)),
    };
    let mut file = File::from(file);
    let written = writeln!(file, "{tip}")
        .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(0o644)))
        .and_then(|()| file.sync_all());
    let linked = match written {
        Ok(()) => rustix::fs::linkat(&dir, &lock, &dir, last, AtFlags::empty()).map_err(io::Error::from),
        Err(error) => Err(error),
    };
    rustix::fs::unlinkat(&dir, &lock, AtFlags::empty()).map_err(failed)?;
    match linked {
        Ok(()) => rustix::fs::fsync(&dir).map(Ok).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(Err("there is a branch of that name"))
        }
        Err(error) => Err(io_error("write into", shown)(error)),
    }
}

fn open(path: &Path) -> Result<OwnedFd, HistoryError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(io_error("open", path))
}
