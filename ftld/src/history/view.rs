//! How a project's view is made and kept up.
//!
//! Owns the directory of a view and the order in which it is written: packs first, then what names their
//! commits, so that a crash leaves objects that nothing leads to. Must not know what a session does with
//! a view.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ftl_core::history::object::{self, Format, Id, Kind};
use ftl_core::history::refs::Head;
use ftl_core::history::walk::{Bounds, Found, Rule, Source as _, Walk, WalkError};
use ftl_core::history::{Depth, RECENT, index};
use ftl_core::id::Hash;
use ftl_core::refuse::secret_at_end;
use ftl_core::tree::RelPath;
use serde::{Deserialize, Serialize};

use super::git::{self, Bench, Objects};
use super::locate::{self, Repository};
use super::{History, HistoryError, PROJECT, io_error};

/// What a project's own rules keep out of sandboxes.
pub struct Keep<'a> {
    /// Whether a path is kept out; the second argument is whether it is a directory.
    pub rule: &'a Rule<'a>,
    /// A hash over the rules. A view that was made with others is made anew.
    pub digest: Hash,
}

/// What came of following a project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advanced {
    /// Whether all that was wanted is there; otherwise another run takes more.
    pub done: bool,
    /// What the human should know, in sentences.
    pub notices: Vec<String>,
}

/// A view that is there.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) dir: PathBuf,
    pub(super) state: State,
}

/// What a view is beside its objects.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub(super) format: Format,
    pub(super) head: Head,
    pub(super) refs: BTreeMap<String, Id>,
    /// Commits whose parents the view does not have.
    pub(super) shallow: BTreeSet<Id>,
    /// Those of them whose parents the project does not have either.
    ends: BTreeSet<Id>,
    /// Contents that are kept out.
    pub(super) withheld: BTreeSet<Id>,
    /// What stands in their place.
    pub(super) placeholder: Option<Id>,
    /// The project's references when it was made.
    seen: Hash,
    /// [`Keep::digest`].
    rules: Hash,
}

const VERSION: u32 = 1;
/// Commits that one run adds to a view that is there, towards the past.
const DEEPER: usize = 10_000;
/// Commits of other branches than the one that is checked out.
const BRANCHES: usize = 1000;
/// Other branches that are shown with commits of their own, when not all of the history is.
const OTHERS: usize = 50;
/// Entries of trees that one run looks at.
const BOUNDS: Bounds = Bounds { entries: 50_000_000 };
/// Packs of a view from which on they become one.
const PACKS: usize = 16;
/// What Git shows in place of a content that is kept out.
const PLACEHOLDER: &[u8] = b"FTL keeps the content of this file out of the sandbox.\n";

impl View {
    /// Reads the view in `dir`, if there is one that this version can read.
    pub(super) fn open(dir: &Path) -> Option<Self> {
        let state: State = serde_json::from_slice(&fs::read(dir.join("view.json")).ok()?).ok()?;
        (state.version == VERSION).then(|| Self { dir: dir.to_owned(), state })
    }

    /// The directory of objects, to be shown read-only at [`super::MOUNT`].
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    /// Contents that are kept out of it.
    #[must_use]
    pub fn withheld(&self) -> usize {
        self.state.withheld.len()
    }

    /// Whether its history is cut somewhere where the project's goes on.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.state.shallow.difference(&self.state.ends).next().is_some()
    }
}

impl History {
    /// Follows a project: takes what is new in its repository into its view, and with [`Depth::Full`] some
    /// more of the past each time. Blocks; `None` when the project has no repository of its own.
    ///
    /// # Errors
    /// When the repository cannot be used. The view stays as it was.
    pub fn advance(
        &self,
        project: &Path,
        depth: Depth,
        keep: &Keep<'_>,
    ) -> Result<Option<Advanced>, HistoryError> {
        let lock = self.lock(project);
        let Ok(_alone) = lock.try_lock() else { return Err(HistoryError::Busy) };
        let Some(repository) = locate::read(project)? else { return Ok(None) };
        let program = self.program()?;
        let dir = self.place(project);
        let old = View::open(&dir).map(|view| view.state);
        let old = old.filter(|old| old.rules == keep.digest && old.format == repository.format);
        if let Some(old) = &old
            && old.seen == seen(&repository)
            && (depth != Depth::Full || old.shallow == old.ends)
        {
            name(&dir, project)?;
            return Ok(Some(Advanced { done: true, notices: repository.notices }));
        }
        let at = (dir.as_path(), project);
        let make = |old| Making { at, program, history: self, repository: &repository, keep, old };
        let done = match make(old).run(depth)? {
            Some(done) => done,
            // Something in the view turned out to be secret: all of it is made anew.
            None => make(None).run(depth)?.unwrap_or(true),
        };
        Ok(Some(Advanced { done, notices: repository.notices }))
    }
}

/// One run that makes or extends a view.
struct Making<'a> {
    /// The view's directory, and the project's.
    at: (&'a Path, &'a Path),
    program: &'a Path,
    history: &'a History,
    repository: &'a Repository,
    keep: &'a Keep<'a>,
    old: Option<State>,
}

impl Making<'_> {
    /// Whether the view is all that was wanted; `None` when it has something that it must not have.
    fn run(&self, depth: Depth) -> Result<Option<bool>, HistoryError> {
        let (repository, (own, project)) = (self.repository, self.at);
        if self.old.is_none() {
            git::clear(own)?;
        }
        let packs = self.at.0.join("objects/pack");
        for dir in [self.at.0.join("objects"), self.at.0.join("objects/info"), packs.clone()] {
            open_dir(&dir)?;
        }
        name(own, project)?;
        let bench = self.at.0.join("bench");
        let limit = self.history.limit;
        let bench = Bench::make(self.program, &bench, repository.format, &repository.objects, limit)?;
        let known = known(&packs, repository.format)?;
        let mut objects = bench.objects()?;
        let past = self.past(depth, &mut objects)?;
        let starts: Vec<Id> = past.values().flatten().copied().collect();
        let withheld = self.old.as_ref().map(|old| old.withheld.clone()).unwrap_or_default();
        let rule = |path: &RelPath, is_dir: bool| {
            secret_at_end(path, is_dir).is_some() || (self.keep.rule)(path, is_dir)
        };
        let mut walk = Walk::new(&mut objects, repository.format, &known, withheld, &rule, BOUNDS);
        let refs = self.walk(&mut walk, &starts, depth).map_err(walking)?;
        let head = match &repository.head {
            Head::Branch(name) => refs.get(name).copied(),
            Head::Detached(id) => Some(*id),
        };
        let files = match head {
            Some(head) => walk.files(&head).map_err(walking)?,
            None => Vec::new(),
        };
        let found = walk.finish();
        drop(objects);
        if found.regretted {
            return Ok(None);
        }
        let placeholder = self.keep_objects(&bench, &packs, &found, &known)?;
        let (shallow, ends) = self.boundary(&past, &found, &known);
        let state = State {
            version: VERSION,
            format: repository.format,
            head: repository.head.clone(),
            refs,
            shallow,
            ends,
            withheld: found.withheld,
            placeholder,
            seen: seen(repository),
            rules: self.keep.digest,
        };
        replace(&self.at.0.join("files"), &index::render(&files, repository.format))?;
        let text = serde_json::to_vec(&state)
            .map_err(|error| HistoryError::Broken { what: format!("its view cannot be written: {error}") })?;
        replace(&self.at.0.join("view.json"), &text)?;
        let (dir, done) = (bench.dir().to_owned(), depth != Depth::Full || state.shallow == state.ends);
        drop(bench);
        git::clear(&dir)?;
        Ok(Some(done))
    }

    /// The commits at the view's boundary with their parents, when it is to be moved.
    fn past(&self, depth: Depth, objects: &mut Objects) -> Result<BTreeMap<Id, Vec<Id>>, HistoryError> {
        let mut past = BTreeMap::new();
        let Some(old) = self.old.as_ref().filter(|_| depth == Depth::Full) else { return Ok(past) };
        for id in &old.shallow {
            if let Some((Kind::Commit, bytes)) = objects.read(id)?
                && let Some(commit) = object::commit(&bytes)
            {
                past.insert(*id, commit.parents);
            }
        }
        Ok(past)
    }

    /// Walks, and gives the references that the view has.
    fn walk(
        &self,
        walk: &mut Walk<'_, Objects>,
        past: &[Id],
        depth: Depth,
    ) -> Result<BTreeMap<String, Id>, WalkError<HistoryError>> {
        let repository = self.repository;
        let own = match &repository.head {
            Head::Branch(name) => repository.refs.get(name).copied(),
            Head::Detached(id) => Some(*id),
        };
        walk.commits(own.as_slice(), RECENT)?;
        walk.commits(past, DEEPER)?;
        let mut targets = BTreeMap::new();
        for (name, id) in &repository.refs {
            if let Some(target) = walk.resolve(*id)? {
                targets.insert(name, (*id, target));
            }
        }
        let is_tip = |name: &str| depth == Depth::Full || name.starts_with("refs/heads/");
        let tips = targets.iter().filter(|(name, (_, (commit, _)))| is_tip(name) && !walk.has(commit));
        let tips: Vec<Id> = tips.map(|(_, (_, (commit, _)))| *commit).collect();
        let most = if depth == Depth::Full { usize::MAX } else { OTHERS };
        walk.commits(&tips[..tips.len().min(most)], BRANCHES)?;
        let mut refs = BTreeMap::new();
        for (name, (id, (commit, tags))) in targets {
            if walk.has(&commit) {
                walk.keep_tags(tags);
                refs.insert(name.clone(), id);
            }
        }
        Ok(refs)
    }

    /// Packs what was found; gives what stands in the place of what is withheld.
    fn keep_objects(
        &self,
        bench: &Bench,
        packs: &Path,
        found: &Found,
        known: &BTreeSet<Id>,
    ) -> Result<Option<Id>, HistoryError> {
        let mut wanted: BTreeSet<Id> = found.objects.clone();
        let mut placeholder = self.old.as_ref().and_then(|old| old.placeholder);
        let old = self.old.as_ref().map(|old| &old.withheld);
        let fresh: Vec<&Id> =
            found.withheld.iter().filter(|id| old.is_none_or(|old| !old.contains(*id))).collect();
        if !fresh.is_empty() {
            let args = ["hash-object", "-w", "-t", "blob", "--stdin"];
            let answer = bench.run(&args, |to| to.write_all(PLACEHOLDER))?;
            let id = Id::from_hex(answer.trim_ascii());
            let id = id.ok_or_else(|| HistoryError::Broken { what: "an odd id".to_owned() })?;
            let objects = self.at.0.join("objects");
            let file = place(&bench.dir().join("objects"), &id);
            fresh.iter().try_for_each(|id| stand_in(&file, &place(&objects, id)))?;
            if placeholder.replace(id).is_none() {
                wanted.insert(id);
            }
        }
        if !wanted.is_empty() {
            publish(packs, &bench.pack(packs, wanted.iter())?)?;
        }
        let there = names(packs, ".pack")?;
        if there.len() > PACKS {
            // From the view's own packs: the project may have dropped what an old session still looks at.
            let limit = self.history.limit;
            let own = [self.at.0.join("objects")];
            let bench =
                Bench::make(self.program, &self.at.0.join("merging"), self.repository.format, &own, limit)?;
            let all: BTreeSet<Id> = known.iter().chain(&wanted).copied().collect();
            let name = bench.pack(packs, all.iter())?;
            publish(packs, &name)?;
            for old in there.iter().filter(|old| **old != name) {
                for ending in [".idx", ".rev", ".pack"] {
                    let path = packs.join(format!("{old}{ending}"));
                    if path.exists() {
                        fs::remove_file(&path).map_err(io_error("remove", &path))?;
                    }
                }
            }
            git::clear(&self.at.0.join("merging"))?;
        }
        Ok(placeholder)
    }

    /// The commits at which the history is cut, and those of them where the project's is cut, too.
    fn boundary(
        &self,
        past: &BTreeMap<Id, Vec<Id>>,
        found: &Found,
        known: &BTreeSet<Id>,
    ) -> (BTreeSet<Id>, BTreeSet<Id>) {
        let there = |id: &Id| known.contains(id) || found.commits.contains_key(id);
        let (mut shallow, mut ends) = (BTreeSet::new(), BTreeSet::new());
        for (id, parents) in found.commits.iter().chain(past) {
            if !parents.iter().all(there) {
                shallow.insert(*id);
                if parents.iter().all(|parent| there(parent) || found.missing.contains(parent)) {
                    ends.insert(*id);
                }
            }
        }
        if let Some(old) = &self.old {
            shallow.extend(old.shallow.iter().filter(|id| !past.contains_key(id)));
            ends.extend(old.ends.iter().filter(|id| !past.contains_key(id)));
        }
        (shallow, ends)
    }
}

/// Every id in a view's packs.
fn known(packs: &Path, format: Format) -> Result<BTreeSet<Id>, HistoryError> {
    let mut known = BTreeSet::new();
    for name in names(packs, ".idx")? {
        let path = packs.join(format!("{name}.idx"));
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        known.extend(object::packed_ids(&bytes, format).unwrap_or_default());
    }
    Ok(known)
}

/// The names of packs that have a file with this ending, without it.
fn names(packs: &Path, ending: &str) -> Result<Vec<String>, HistoryError> {
    let entries = fs::read_dir(packs).map_err(io_error("list", packs))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect())
}

/// Lets sandboxes read a pack.
fn publish(packs: &Path, name: &str) -> Result<(), HistoryError> {
    for ending in [".pack", ".idx", ".rev"] {
        let path = packs.join(format!("{name}{ending}"));
        if path.exists() {
            let mode = fs::Permissions::from_mode(0o444);
            fs::set_permissions(&path, mode).map_err(io_error("open to sandboxes", &path))?;
        }
    }
    Ok(())
}

/// Where a directory of objects has one that is in no pack.
fn place(objects: &Path, id: &Id) -> PathBuf {
    let name = id.to_string();
    objects.join(&name[..2]).join(&name[2..])
}

/// Puts an object where one that is kept out would be. Git asks whether it is there when it writes a tree;
/// its content it takes from what replaces it.
fn stand_in(file: &Path, at: &Path) -> Result<(), HistoryError> {
    fs::set_permissions(file, fs::Permissions::from_mode(0o444))
        .map_err(io_error("open to sandboxes", file))?;
    if at.exists() {
        return Ok(());
    }
    open_dir(at.parent().unwrap_or(at))?;
    // A file system allows so many links to one file; then there are copies.
    fs::hard_link(file, at).or_else(|_| fs::copy(file, at).map(drop)).map_err(io_error("write", at))
}

/// Says whose a view is, when it does not say so yet.
fn name(dir: &Path, project: &Path) -> Result<(), HistoryError> {
    let path = dir.join(PROJECT);
    if path.exists() { Ok(()) } else { replace(&path, project.as_os_str().as_bytes()) }
}

/// Makes a directory that sandboxes may read.
fn open_dir(dir: &Path) -> Result<(), HistoryError> {
    fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(io_error("open to sandboxes", dir))
}

/// Replaces a file as a whole.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), HistoryError> {
    let draft = path.with_extension("new");
    git::write(&draft, bytes)?;
    fs::rename(&draft, path).map_err(io_error("replace", path))
}

/// A hash over what a project's repository points to.
fn seen(repository: &Repository) -> Hash {
    let mut text = format!("{:?} {:?}\n", repository.format, repository.head);
    for (name, id) in &repository.refs {
        text.push_str(&format!("{id} {name}\n"));
    }
    Hash::of(text.as_bytes())
}

fn walking(error: WalkError<HistoryError>) -> HistoryError {
    match error {
        WalkError::Source(error) => error,
        WalkError::TooMuch(_) => HistoryError::TooLarge,
    }
}
