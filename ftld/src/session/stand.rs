//! A clean place to try a selection in: the project as it is now, with the selected changes or without them.
//!
//! Owns the two trees, the layer that lies between them, and the directories of their sandboxes, which go with the
//! runs. A sandbox of it has nothing of a session's: no network, no credentials and no shadows of any, no variable
//! of the human's, an empty home. What the project has installed lies below everything. Must not know what runs there
//! or what comes of it.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use ftl_core::config::Settings;
use ftl_core::id::{SessionId, SnapshotId};
use ftl_core::tester::trial::Around;
use ftl_core::tree::{Entry, Node, RelPath, Tree, changes};
use ftl_core::verify::guess::Files;

use super::decide::{blocking, new_session_id};
use super::driver::{root, told};
use super::packages::{self, Packages};
use super::prepare::{self, Places};
use super::readying::Readied;
use super::record::{Project, Record, Spec};
use super::{Error, Proposed, history};
use crate::agent;
use crate::app::Parts;
use crate::sandbox::{Limits, Network, Programs, Sandbox, SandboxBackend, SandboxSpec};
use crate::snapshot::{Base, LocalStore, remove_tree};

/// The two trees, ready to be mounted as often as is wanted.
pub(super) struct Stand {
    pub(super) parts: Arc<Parts>,
    /// The session whose work is tried.
    pub(super) session: Record,
    project: Project,
    spec: Spec,
    pub(super) settings: Settings,
    /// What the project has now.
    pub(super) snapshot: SnapshotId,
    base: Base,
    before: Arc<Tree>,
    after: Arc<Tree>,
    /// The id under which the layer between them lies.
    id: SessionId,
    /// That layer; none when there is no difference.
    patch: Option<PathBuf>,
    /// What the project has installed.
    pub(super) packages: Packages,
    /// What the project's setup made of either tree: without the changes, and with them.
    pub(super) readied: tokio::sync::Mutex<[Option<Readied>; 2]>,
}

/// A sandbox of a stand.
pub(super) struct Place {
    pub(super) sandbox: Box<dyn Sandbox>,
    pub(super) backend: Arc<dyn SandboxBackend>,
    pub(super) id: SessionId,
}

/// What a sandbox has beside the trees.
#[derive(Default)]
pub(super) struct Furniture {
    /// Layers over the trees.
    pub(super) above: Vec<PathBuf>,
    /// Layers beneath them.
    pub(super) beneath: Vec<PathBuf>,
    /// A home to begin with; else an empty one.
    pub(super) home: Option<PathBuf>,
    /// Variables.
    pub(super) env: Vec<(OsString, OsString)>,
    /// Files, by their absolute paths inside.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    /// Whether it has a way out.
    pub(super) network: bool,
}

/// Files that are laid over the changed tree.
pub(super) struct Over {
    id: SessionId,
    layer: PathBuf,
}

/// What every sandbox has in its environment: nobody is there to be asked.
const ENV: [(&str, &str); 1] = [("CI", "true")];
/// And where there is no network.
const OFFLINE: [(&str, &str); 3] =
    [("CARGO_NET_OFFLINE", "true"), ("GOPROXY", "off"), ("npm_config_offline", "true")];
/// The longest file that a command is guessed from, bytes.
const LONGEST: u64 = 1 << 20;
/// Megabytes to bytes.
const MIB: u64 = 1024 * 1024;

impl Stand {
    /// Takes the project as it is now, and makes the layer of what a proposal would write.
    ///
    /// # Errors
    /// When the project cannot be read, or is not what the proposal was made for.
    pub(super) async fn new(
        parts: &Arc<Parts>,
        record: &Record,
        settings: Settings,
        proposed: &Arc<Proposed>,
    ) -> Result<Self, Error> {
        let (parts, project, proposed) = (Arc::clone(parts), record.project.clone(), Arc::clone(proposed));
        let session = record.clone();
        let spec = Spec {
            agent: agent::MANUAL.to_owned(),
            sandbox: record.spec.sandbox.clone(),
            search_path: record.spec.search_path.clone(),
            ..Spec::default()
        };
        blocking(move || {
            let _lease = parts.store.lease();
            let now_ns = parts.clock.now_us().saturating_mul(1000);
            let (taken, base) = parts.store.take_with_base(&root(&project.root), now_ns)?;
            let before = parts.store.tree(taken.id)?;
            let packages = packages::of(&parts, &root(&project.root), &before, &taken.exclusions)?;
            let rules = parts.store.rules(taken.id)?;
            let is_outside = |path: &RelPath, is_dir: bool| rules.ignores(path, is_dir);
            let after = proposed.proposal.onto(&before, now_ns, &is_outside)?;
            for content in proposed.proposal.made().values() {
                parts.store.put_captured(content)?;
            }
            let (id, snapshot) = (new_session_id()?, taken.id);
            let mut stand = Self {
                parts,
                session,
                project,
                spec,
                settings,
                snapshot,
                base,
                before,
                after: Arc::new(after),
                id,
                patch: None,
                packages,
                readied: Default::default(),
            };
            stand.lay()?;
            Ok(stand)
        })
        .await
    }

    /// Writes the layer.
    fn lay(&mut self) -> Result<(), Error> {
        if self.before == self.after {
            return Ok(());
        }
        let patch = self.dir().join("patch");
        // A daemon that is killed leaves what no session names; the next one removes it.
        make_dirs(&patch, self.parts.owner)?;
        self.patch = Some(patch.clone());
        Ok(self.parts.store.write_layer((&self.before, &self.after), &patch, self.parts.owner)?)
    }

    /// The directory that goes with the stand.
    pub(super) fn dir(&self) -> PathBuf {
        self.parts.home.sessions().join(self.id.as_str())
    }

    /// Memory that a run may use, MiB.
    pub(super) fn memory_mb(&self) -> u64 {
        self.settings.limits.memory_of_check()
    }

    /// The project's files, with the selected changes or without them.
    pub(super) fn files(&self, with: bool) -> TreeFiles {
        let tree = if with { &self.after } else { &self.before };
        TreeFiles { tree: Arc::clone(tree), store: Arc::clone(&self.parts.store) }
    }

    /// Lays files over the changed tree, for one sandbox. What stands at their paths is hidden by them.
    ///
    /// # Errors
    /// When something above a path is no directory, or the disk is full; nothing is left behind then.
    pub(super) async fn lay_over(&self, files: &[(String, String)]) -> Result<Over, Error> {
        let id = new_session_id()?;
        let (parts, after, files) = (Arc::clone(&self.parts), Arc::clone(&self.after), files.to_vec());
        let of = id.clone();
        let laid = blocking(move || {
            let _lease = parts.store.lease();
            let mtime_ns = parts.clock.now_us().saturating_mul(1000);
            let mut with = (*after).clone();
            for (path, contents) in &files {
                let blocked = || Error::NoPlace { path: path.clone() };
                let at = RelPath::new(path.as_str()).map_err(|_| blocked())?;
                let is_in_the_way =
                    |path: &RelPath| after.get(path).is_some_and(|entry| !entry.node.is_dir());
                if at.ancestors().any(|above| is_in_the_way(&above)) {
                    return Err(blocked());
                }
                for above in at.ancestors().filter(|above| !after.contains_key(above)) {
                    with.insert(&above, Entry { node: Node::Dir { mode: 0o755 }, mtime_ns });
                }
                let hash = parts.store.put_captured(contents.as_bytes())?;
                let size = u64::try_from(contents.len()).unwrap_or(u64::MAX);
                with.insert(&at, Entry { node: Node::File { mode: 0o644, size, hash }, mtime_ns });
            }
            let layer = parts.home.sessions().join(of.as_str()).join("patch");
            make_dirs(&layer, parts.owner)?;
            parts.store.write_layer((&after, &with), &layer, parts.owner)?;
            Ok(layer)
        });
        match laid.await {
            Ok(layer) => Ok(Over { id, layer }),
            Err(error) => {
                remove(&self.parts, &id).await;
                Err(error)
            }
        }
    }

    /// Removes files that were laid over the changed tree.
    pub(super) async fn take_off(&self, over: Over) {
        remove(&self.parts, &over.id).await;
    }

    /// Whether the project, without the selected changes, has something at a path.
    pub(super) fn had(&self, path: &RelPath) -> bool {
        self.before.contains_key(path)
    }

    /// The changed tree.
    pub(super) fn after(&self) -> Arc<Tree> {
        Arc::clone(&self.after)
    }

    /// The paths at which the two trees differ, those in Unicode.
    pub(super) fn changed(&self) -> Vec<String> {
        let changed = changes(&self.before, &self.after).into_iter();
        changed.filter_map(|one| String::from_utf8(one.path.as_bytes().to_vec()).ok()).collect()
    }

    /// Opens a fresh sandbox for a check over one of the trees, as the project's setup left it, with files over that.
    ///
    /// # Errors
    /// When it cannot be had; nothing is left behind then.
    pub(super) async fn open(&self, with: bool, over: Option<&Over>) -> Result<Place, Error> {
        let made = match &self.readied.lock().await[usize::from(with)] {
            Some(Readied::Made { layer, home }) => (Some(layer.clone()), Some(home.clone())),
            Some(Readied::Failed(_)) | None => (None, None),
        };
        let env = OFFLINE.map(|(name, value)| (name.into(), value.into())).to_vec();
        let above = over.map(|over| over.layer.clone()).into_iter().collect();
        let beneath = made.0.into_iter().collect();
        let furniture = Furniture { above, beneath, home: made.1, env, ..Furniture::default() };
        self.open_with(new_session_id()?, with, furniture).await
    }

    /// Opens a fresh sandbox over one of the trees.
    ///
    /// # Errors
    /// When it cannot be had; nothing is left behind then.
    pub(super) async fn open_with(
        &self,
        id: SessionId,
        with: bool,
        furniture: Furniture,
    ) -> Result<Place, Error> {
        let no_backend = || Error::NoSuchSandbox { name: self.spec.sandbox.clone(), known: Vec::new() };
        let backend = self.parts.sandboxes.get(self.spec.sandbox.as_str()).ok_or_else(no_backend)?;
        prepare::check_engine(&self.parts, &**backend)?;
        match self.launch(with, &id, &**backend, furniture).await {
            Ok(sandbox) => Ok(Place { sandbox, backend: Arc::clone(backend), id }),
            Err(error) => {
                clear(&self.parts, &**backend, &id).await;
                Err(error)
            }
        }
    }

    async fn launch(
        &self,
        with: bool,
        id: &SessionId,
        backend: &dyn SandboxBackend,
        furniture: Furniture,
    ) -> Result<Box<dyn Sandbox>, Error> {
        let parts = &self.parts;
        let mut record =
            Record::new(id.clone(), self.project.clone(), self.spec.clone(), parts.clock.now_us());
        record.base = Some(self.snapshot);
        let tools = match backend.programs() {
            Programs::Host => {
                let more: Vec<PathBuf> = self.settings.tool_dirs.iter().map(PathBuf::from).collect();
                let places = Places::of(parts, &self.spec, &root(&self.project.root));
                agent::tools(&places.search(parts, None), &more)?
            }
            Programs::Image => agent::Tools::default(),
        };
        match furniture.home {
            Some(from) => copy_home(parts, id, from).await?,
            None => prepare::bare_home(parts, &record, &tools.home_links)?,
        }
        // The history is read with the snapshot, which must not go meanwhile.
        let (shared, snapshot) = (Arc::clone(parts), self.snapshot);
        let _lease = blocking(move || {
            let lease = shared.store.lease();
            shared.store.tree(snapshot)?;
            Ok(lease)
        })
        .await?;
        let shown = history::furnish(parts, &record, self.settings.history).await;
        let patch = self.patch.iter().filter(|_| with).cloned();
        let trees = furniture.above.into_iter().chain(patch).chain(self.base.layers());
        // What is installed lies at the bottom, what the setup made over it: whatever the trees have or take away
        // there counts, so that nothing is tried but what would land.
        let layers = trees.chain(furniture.beneath).chain(self.packages.layer()).collect();
        let env = ENV.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let bare = prepare::bare(parts, &record, &self.settings, layers);
        let memory_bytes = self.memory_mb().saturating_mul(MIB);
        let spec = SandboxSpec {
            tools: tools.binds,
            shared: shown.shared,
            path: self.packages.path().into_iter().chain(tools.path).collect(),
            env: tools.env.into_iter().chain(env).chain(furniture.env).collect(),
            files: furniture.files,
            network: if furniture.network { Network::Egress } else { Network::None },
            limits: Limits { memory_bytes, ..bare.limits },
            ..bare
        };
        Ok(backend.launch(spec).await?)
    }

    /// Ends a sandbox, and removes all that was written in it.
    pub(super) async fn close(&self, place: Place) {
        let Place { sandbox, backend, id } = place;
        sandbox.kill().await;
        drop(sandbox);
        clear(&self.parts, &*backend, &id).await;
    }

    /// Removes the layers.
    pub(super) async fn take_down(self) {
        remove(&self.parts, &self.id).await;
    }
}

/// Removes what a sandbox left.
async fn clear(parts: &Arc<Parts>, backend: &dyn SandboxBackend, id: &SessionId) {
    let dir = parts.home.sessions().join(id.as_str());
    for done in [backend.give_up(id, &dir).await, backend.clear(&dir).await] {
        if let Err(error) = done {
            tracing::warn!(check = %id, error = %told(&error), "what a check wrote may be left on the engine");
        }
    }
    remove(parts, id).await;
}

async fn remove(parts: &Arc<Parts>, id: &SessionId) {
    let dir = parts.home.sessions().join(id.as_str());
    let removed = blocking(move || remove_tree(&dir).map_err(|source| Error::Write { path: dir, source }));
    if let Err(error) = removed.await {
        tracing::warn!(check = %id, error = %told(&error), "what a check wrote could not be removed");
    }
}

/// Makes a sandbox's home of what another one's was.
async fn copy_home(parts: &Arc<Parts>, id: &SessionId, from: PathBuf) -> Result<(), Error> {
    let dir = parts.home.sessions().join(id.as_str());
    blocking(move || {
        std::fs::create_dir_all(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
        Ok(crate::snapshot::copy(&from, &dir.join("home"))?)
    })
    .await
}

/// Makes a layer's directory, which a sandbox's root becomes, and the one above it.
pub(super) fn make_dirs(layer: &std::path::Path, owner: Option<(u32, u32)>) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |source| Error::Write { path: layer.to_owned(), source };
    std::fs::create_dir_all(layer).map_err(failed)?;
    std::fs::set_permissions(layer, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    match owner {
        Some((uid, gid)) => std::os::unix::fs::chown(layer, Some(uid), Some(gid)).map_err(failed),
        None => Ok(()),
    }
}

/// The files of a tree.
pub(super) struct TreeFiles {
    tree: Arc<Tree>,
    store: Arc<LocalStore>,
}

impl TreeFiles {
    pub(super) fn new(tree: &Arc<Tree>, store: &Arc<LocalStore>) -> Self {
        Self { tree: Arc::clone(tree), store: Arc::clone(store) }
    }

    /// The paths of all files that have a name in Unicode.
    pub(super) fn names(&self) -> Vec<String> {
        let files = self.tree.iter().filter(|(_, entry)| matches!(entry.node, Node::File { .. }));
        files.filter_map(|(path, _)| String::from_utf8(path.as_bytes().to_vec()).ok()).collect()
    }

    fn node(&self, name: &str) -> Option<&Node> {
        Some(&self.tree.get(&RelPath::new(name).ok()?)?.node)
    }
}

impl Files for TreeFiles {
    fn has(&self, name: &str) -> bool {
        matches!(self.node(name), Some(Node::File { .. }))
    }

    fn text(&self, name: &str) -> Option<String> {
        let Node::File { size: 0..=LONGEST, hash, .. } = self.node(name)? else { return None };
        let mut text = String::new();
        self.store.open_blob(*hash).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
        Some(text)
    }
}

impl Around for TreeFiles {
    fn paths(&self) -> Vec<String> {
        self.names()
    }

    fn text(&self, path: &str) -> Option<String> {
        Files::text(self, path)
    }
}
