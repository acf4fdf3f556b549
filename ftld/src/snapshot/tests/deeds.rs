//! What may be done to a project and to the store that keeps its snapshots.
//!
//! Owns the deeds that a history is made of. Must not know what is expected of them.

use std::os::unix::fs::{PermissionsExt, symlink};

use proptest::prelude::*;

use super::bench::swap;
use super::*;

/// One thing that is done.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Write(PathBuf, u8),
    Large(PathBuf, u8),
    Append(PathBuf, u8),
    Truncate(PathBuf, u8),
    Swap(PathBuf),
    Rename(PathBuf, PathBuf),
    /// Out of the project, and back into it: what is in a directory has the same stamps again.
    Out(PathBuf),
    Back(PathBuf),
    Remove(PathBuf),
    MakeDir(PathBuf),
    FileForDir(PathBuf),
    DirForFile(PathBuf),
    Link(PathBuf, u8),
    HardLink(PathBuf, PathBuf),
    Mode(PathBuf, u8),
    Touch(PathBuf, u8),
    /// A snapshot; the flags say whether all directories are watched before, and whether it is forced to the
    /// disk after.
    Take(bool, bool),
    /// A collection that drops some of the snapshots; whether indexes stay.
    Collect(u8, bool),
    /// A content that exists nowhere else.
    Keep(u8, bool),
    Fold,
    Park,
    Restart,
}

pub(super) fn bytes(seed: u8, length: usize) -> Vec<u8> {
    let noise = (0u32..).flat_map(|n| Hash::of(&[&[seed], n.to_le_bytes().as_slice()].concat()).0);
    noise.take(length).collect()
}

impl Deed {
    /// Does it to the project. An error means that there is nothing to do it to, or something else.
    pub(super) fn edit(&self, project: &Path) -> io::Result<()> {
        let at = |path: &PathBuf| project.join(path);
        let above = |path: &PathBuf| fs::create_dir_all(at(path).parent().unwrap());
        match self {
            Self::Write(path, seed) => {
                above(path)?;
                fs::write(at(path), bytes(*seed, usize::from(*seed) * 40))
            }
            Self::Large(path, seed) => {
                above(path)?;
                fs::write(at(path), bytes(*seed % 4, 140_000 + usize::from(*seed)))
            }
            Self::Append(path, seed) => {
                let mut file = fs::OpenOptions::new().append(true).open(at(path))?;
                io::Write::write_all(&mut file, &[*seed; 9])
            }
            Self::Truncate(path, length) => {
                fs::OpenOptions::new().write(true).open(at(path))?.set_len(u64::from(*length))
            }
            Self::Swap(path) => swap(&at(path)),
            Self::Rename(from, to) => {
                above(to)?;
                fs::rename(at(from), at(to))
            }
            Self::Out(path) => fs::rename(at(path), project.with_file_name("outside")),
            Self::Back(path) => {
                above(path)?;
                fs::rename(project.with_file_name("outside"), at(path))
            }
            Self::Remove(path) => fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path))),
            Self::MakeDir(path) => fs::create_dir_all(at(path)),
            Self::FileForDir(path) => {
                fs::remove_dir_all(at(path))?;
                fs::write(at(path), "in the place of a directory")
            }
            Self::DirForFile(path) => {
                fs::remove_file(at(path))?;
                fs::create_dir(at(path))?;
                fs::write(at(path).join("f"), "in the place of a file")
            }
            Self::Link(path, target) => {
                above(path)?;
                let _ = fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path)));
                symlink(["f", "../a", "/nowhere/at/all", "\u{1}odd"][usize::from(*target % 4)], at(path))
            }
            Self::HardLink(from, to) => fs::hard_link(at(from), at(to)),
            Self::Mode(path, which) => {
                let modes = [0o644, 0o755, 0o600, 0o700, 0o711, 0o777];
                let mode = fs::Permissions::from_mode(modes[usize::from(*which) % modes.len()]);
                // Not through a link.
                if at(path).symlink_metadata()?.is_symlink() {
                    Ok(())
                } else {
                    fs::set_permissions(at(path), mode)
                }
            }
            Self::Touch(path, which) => {
                at(path).symlink_metadata()?;
                set_mtime(&at(path), i64::from(*which) * 10_000_000 - 5, 7 * i64::from(*which));
                Ok(())
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn any_deed() -> impl Strategy<Value = Deed> {
    let dir = || prop_oneof![Just("a"), Just("b")];
    let name = || prop_oneof![2 => dir(), 3 => Just("f"), 1 => Just("g"), 1 => Just("F")];
    let path = move || {
        prop_oneof![
            name().prop_map(PathBuf::from),
            (dir(), name()).prop_map(|(a, b)| PathBuf::from(a).join(b)),
            (dir(), dir(), name()).prop_map(|(a, b, c)| PathBuf::from(a).join(b).join(c)),
        ]
    };
    let edits = prop_oneof![
        6 => (path(), any::<u8>()).prop_map(|(path, seed)| Deed::Write(path, seed)),
        3 => (path(), any::<u8>()).prop_map(|(path, seed)| Deed::Large(path, seed)),
        2 => (path(), any::<u8>()).prop_map(|(path, seed)| Deed::Append(path, seed)),
        2 => (path(), any::<u8>()).prop_map(|(path, length)| Deed::Truncate(path, length)),
        2 => path().prop_map(Deed::Swap),
        5 => (path(), path()).prop_map(|(from, to)| Deed::Rename(from, to)),
        2 => path().prop_map(Deed::Out),
        2 => path().prop_map(Deed::Back),
        3 => path().prop_map(Deed::Remove),
        3 => path().prop_map(Deed::MakeDir),
        1 => path().prop_map(Deed::FileForDir),
        1 => path().prop_map(Deed::DirForFile),
    ];
    let more = prop_oneof![
        3 => (path(), any::<u8>()).prop_map(|(path, target)| Deed::Link(path, target)),
        2 => (path(), path()).prop_map(|(from, to)| Deed::HardLink(from, to)),
        3 => (path(), any::<u8>()).prop_map(|(path, mode)| Deed::Mode(path, mode)),
        2 => (path(), any::<u8>()).prop_map(|(path, time)| Deed::Touch(path, time)),
    ];
    let store = prop_oneof![
        10 => (any::<bool>(), any::<bool>()).prop_map(|(warm, settle)| Deed::Take(warm, settle)),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(which, indexed)| Deed::Collect(which, indexed)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(seed, large)| Deed::Keep(seed, large)),
        1 => Just(Deed::Fold),
        1 => Just(Deed::Park),
        1 => Just(Deed::Restart),
    ];
    prop_oneof![7 => edits.boxed(), 3 => more.boxed(), 5 => store.boxed()].boxed()
}
