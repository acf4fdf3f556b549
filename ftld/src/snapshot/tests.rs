//! Real directories, real files: what the store promises about them.

mod base;
mod bench;
mod capture;
mod collect;
mod damage;
mod deeds;
mod disk;
mod edits;
mod flat;
mod history;
mod killed;
mod live;
mod notes;
mod odd;
mod packages;
mod packs;
mod parked;
mod project;
mod remote;
mod shown;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Timespec, Timestamps, mknodat, openat, utimensat};
use tempfile::TempDir;

use super::*;

/// Later than any file of a test changes: every stamp can be trusted.
const LATER: i64 = 4_000_000_000_000_000_000;

/// A directory with a store, a project and room for more.
struct Place {
    dir: TempDir,
    store: LocalStore,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&dir.path().join("store"), None).unwrap();
        fs::create_dir(dir.path().join("project")).unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn project(&self) -> PathBuf {
        self.path("project")
    }

    fn take(&self) -> Taken {
        self.store.take(&self.project(), LATER).unwrap()
    }

    /// Whether the store has a content.
    fn has(&self, content: impl AsRef<[u8]>) -> bool {
        self.store.open_blob(Hash::of(content.as_ref())).is_ok()
    }

    /// Makes a content missing, as a power cut may.
    fn lose(&self, content: impl AsRef<[u8]>) {
        let hash = Hash::of(content.as_ref());
        self.store.blobs.packs.hide(hash);
        let _no_file = fs::remove_file(self.store.blobs.path(hash));
    }

    /// The only pack.
    fn pack(&self) -> PathBuf {
        self.path("store/packs/00000001.pack")
    }

    /// The store as a restarted daemon finds it.
    fn reopened(&self) -> LocalStore {
        // A daemon that ends writes nothing afterwards.
        self.store.park();
        LocalStore::open(&self.path("store"), None).unwrap()
    }
}

/// Writes a file and the directories above it.
fn write(root: &Path, at: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
    let path = root.join(OsStr::from_bytes(at.as_ref()));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn node(root: &Path, at: &str, kind: FileType, device: u64) {
    mknodat(CWD, root.join(at), kind, Mode::from_raw_mode(0o644), device).unwrap();
}

fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A file of two gigabytes that holds a few bytes.
fn sparse(path: &Path) {
    let file = openat(CWD, path, OFlags::RDWR | OFlags::CREATE, Mode::from_raw_mode(0o644)).unwrap();
    let file = fs::File::from(file);
    std::os::unix::fs::FileExt::write_all_at(&file, b"in the middle", 1 << 30).unwrap();
    file.set_len(2 << 30).unwrap();
}

/// Runs as a user without privileges: what root may do anyway would prove nothing.
fn as_nobody<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::fs::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            test()
        });
        thread.join().unwrap()
    })
}

/// A snapshot whose base is one whole tree, and where that is.
fn only((taken, base): (Taken, Base)) -> (Taken, PathBuf) {
    let [layer] = &base.layers()[..] else { panic!("{base:?}") };
    (taken, layer.clone())
}

fn paths(tree: &ftl_core::tree::Tree) -> Vec<String> {
    tree.keys().map(|path| path.to_string()).collect()
}
