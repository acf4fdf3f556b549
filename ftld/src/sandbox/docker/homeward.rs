//! A session's work on its way from an engine's disk into its directory here.
//!
//! Owns the order in which it arrives: all of it aside, then on this machine's disk, then written down as here,
//! then in its places, then forgotten. Whatever ends a daemon in between, either the engine still has all of it or
//! this machine does. Must not know engines.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use ftl_guest::tree::Place;
use ftl_guest::tree::write::{Most, WriteError};

use super::super::SandboxError;
use super::super::linux::identity;
use super::away::Away;
use super::keeper::{self, Keeper, KeeperError, Line};

/// What is the session's own: it is sent, and read back.
pub(super) const OWN: [Place; 3] = [Place::Upper, Place::Home, Place::Tmp];

/// The most nodes that are read back.
const MOST_ENTRIES: u64 = 10_000_000;

/// Reads the session's trees aside. `same` says that the keeper knows what was sent.
///
/// # Errors
/// When one of them cannot be had; all of it may be asked for again.
pub(super) async fn fetch(keeper: &Keeper, dir: &Path, away: &Away, same: bool) -> Result<(), KeeperError> {
    let most = Most { entries: MOST_ENTRIES, bytes: away.bytes, file: u64::MAX };
    let owner = identity::owner().ok().flatten().map(|owner| (owner.uid, owner.gid));
    let dir = dir.to_owned();
    let reading = move |line: &mut Line| {
        for place in OWN {
            let (at, [aside, _]) = (dir.join(place.name()), beside(&dir, place));
            let before = (same && at.exists()).then_some(at.as_path());
            match line.fetch(place, &aside, before, (owner, most)) {
                // What was here is not what was sent any more; all of it comes again.
                Err(KeeperError::Write(WriteError::NotSame)) => {
                    line.fetch(place, &aside, None, (owner, most))?
                }
                other => other?,
            };
        }
        tracing::debug!(dir = %dir.display(), received = line.received(), "a session's work is here");
        Ok(())
    };
    keeper.with(reading).await
}

/// Puts in its places what [`fetch`] has read whole, or what an earlier daemon had. When this returns, the engine's
/// is not needed any more, and nothing says that the work is away.
///
/// # Errors
/// When a file cannot be written; it may be asked for again.
pub(super) async fn arrive(dir: &Path, away: &Away) -> Result<(), SandboxError> {
    let (dir, away) = (dir.to_owned(), away.clone());
    let arriving = tokio::task::spawn_blocking(move || put(&dir, away)).await;
    arriving.map_err(|error| SandboxError::Helper {
        act: "bringing a session's work home",
        source: io::Error::other(error),
    })?
}

fn put(dir: &Path, away: Away) -> Result<(), SandboxError> {
    let failed = |source| SandboxError::File { act: "bringing work into", path: dir.to_owned(), source };
    let sync = || rustix::fs::syncfs(fs::File::open(dir)?).map_err(io::Error::from);
    if !away.here {
        sync().map_err(failed)?;
        Away { here: true, ..away }.write(dir)?;
    }
    OWN.iter().try_for_each(|place| exchange(dir, *place)).map_err(failed)?;
    sync().map_err(failed)?;
    Away::forget(dir)
}

/// Removes what lies aside: nobody wants the work any more.
///
/// # Errors
/// Those of the system.
pub(super) fn drop_aside(dir: &Path) -> io::Result<()> {
    OWN.iter().flat_map(|place| beside(dir, *place)).try_for_each(|path| keeper::remove(&path))
}

/// Where a tree lies until it is in its place, and where the one before it lies until it goes.
fn beside(dir: &Path, place: Place) -> [PathBuf; 2] {
    ["new", "old"].map(|what| dir.join(format!("{}.{what}", place.name())))
}

/// Puts the tree that lies aside in its place. One that was put there already stays.
fn exchange(dir: &Path, place: Place) -> io::Result<()> {
    let (at, [new, old]) = (dir.join(place.name()), beside(dir, place));
    if let Err(error) = fs::symlink_metadata(&new) {
        return if error.kind() == ErrorKind::NotFound { keeper::remove(&old) } else { Err(error) };
    }
    keeper::remove(&old)?;
    match fs::rename(&at, &old) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&new, &at)?;
    keeper::remove(&old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Away {
        let text = String::new;
        Away { engine: text(), at: text(), volume: text(), image: text(), bytes: 0, here: false }
    }

    fn tree(dir: &Path, name: &str, text: &str) {
        fs::create_dir(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("file"), text).unwrap();
    }

    fn read(dir: &Path) -> Vec<String> {
        OWN.iter().map(|place| fs::read_to_string(dir.join(place.name()).join("file")).unwrap()).collect()
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn what_lies_aside_comes_into_its_places_and_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        for place in OWN {
            tree(dir.path(), place.name(), "old");
            tree(dir.path(), &format!("{}.new", place.name()), "new");
        }
        away().write(dir.path()).unwrap();
        put(dir.path(), away()).unwrap();
        assert_eq!(read(dir.path()), ["new"; 3]);
        assert_eq!(names(dir.path()), ["home", "tmp", "upper"]);
    }

    #[test]
    fn an_arrival_that_was_cut_short_is_finished_wherever_it_was() {
        let steps: [&[(&str, &str)]; 4] = [
            &[("upper", "old"), ("upper.new", "new")],
            &[("upper.old", "old"), ("upper.new", "new")],
            &[("upper.old", "old"), ("upper", "new")],
            &[("upper", "new")],
        ];
        for trees in steps {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in trees {
                tree(dir.path(), name, text);
            }
            tree(dir.path(), "home", "new");
            tree(dir.path(), "tmp", "old");
            tree(dir.path(), "tmp.new", "new");
            let here = Away { here: true, ..away() };
            here.write(dir.path()).unwrap();
            put(dir.path(), here).unwrap();
            assert_eq!(read(dir.path()), ["new"; 3], "{trees:?}");
            assert_eq!(names(dir.path()), ["home", "tmp", "upper"], "{trees:?}");
        }
    }

    #[test]
    fn what_nobody_wants_does_not_stay_aside() {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path(), "home", "kept");
        tree(dir.path(), "home.new", "x");
        tree(dir.path(), "tmp.old", "x");
        drop_aside(dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["home"]);
    }
}
