//! What files have beside content and permissions, before and after.

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

use super::*;

const ACCESS: &str = "system.posix_acl_access";

/// Rules that let one more user read and write, and the group only read.
fn rules() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(0x01, 6, u32::MAX), (0x02, 6, 4321), (0x04, 4, u32::MAX), (0x10, 6, u32::MAX), (0x20, 4, u32::MAX)];
    let mut rules = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        rules.extend([tag.to_le_bytes(), perm.to_le_bytes()].concat());
        rules.extend(id.to_le_bytes());
    }
    rules
}

fn get(at: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 512];
    match getxattr(at, name, &mut value[..]) {
        Ok(length) => Some(value[..length].to_vec()),
        Err(Errno::NODATA) => None,
        other => panic!("{other:?}"),
    }
}

fn set(at: &Path, name: &str, value: &[u8]) {
    let set = setxattr(at, name, value, XattrFlags::empty());
    assert!(
        set.is_ok(),
        "{}: {name}: {set:?}; TMPDIR must be where files have such attributes",
        at.display()
    );
}

fn mode(at: &Path) -> u32 {
    at.symlink_metadata().unwrap().mode() & 0o7777
}

#[test]
fn attributes_and_access_rules_stay_when_a_file_is_replaced_and_come_back_when_it_was_removed() {
    let place = Place::new();
    let at = |name: &str| place.project().join(name);
    for name in ["edited", "d/gone", "old/x/y", "to-dir"] {
        set(&at(name), "user.note", b"mine\xff");
        set(&at(name), ACCESS, &rules());
    }
    set(&at("old/x"), "system.posix_acl_default", &rules());
    fs::set_permissions(place.path("work/edited"), fs::Permissions::from_mode(0o664)).unwrap();
    let had = |name: &str| (get(&at(name), "user.note"), get(&at(name), ACCESS), mode(&at(name)));
    let noted = (Some(b"mine\xff".to_vec()), Some(rules()), 0o664);
    assert_eq!(had("edited"), noted);
    place.apply_all().unwrap();
    assert_eq!((fs::read(at("edited")).unwrap().as_slice(), had("edited")), (&b"new"[..], noted.clone()));
    place.merge().undo(&id(1), &id(2), &place.root(), &place.store).unwrap();
    for name in ["edited", "d/gone", "old/x/y", "to-dir"] {
        assert_eq!(had(name), noted, "{name}");
    }
    assert_eq!(get(&at("old/x"), "system.posix_acl_default"), Some(rules()));
}

#[test]
fn a_file_without_rules_gets_none_from_its_directory_when_it_is_replaced() {
    let place = Place::new();
    set(&place.project(), "system.posix_acl_default", &rules());
    place.apply_all().unwrap();
    let project = place.project();
    assert_eq!((get(&project.join("edited"), ACCESS), get(&project.join("mode"), ACCESS)), (None, None));
    // What is new begins as the directory says.
    assert!(get(&project.join("to-file"), ACCESS).is_some() && get(&project.join("new"), ACCESS).is_some());
}

#[test]
fn what_was_removed_comes_back_after_a_crash_as_it_was() {
    let place = Place::new();
    let at = place.project().join("d/gone");
    set(&at, "user.note", b"mine");
    let approval = place.approve(&[]);
    let probe = |point| if point == Point::Flushed { Err(io::Error::other("stop")) } else { Ok(()) };
    let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
    merge.apply(&id(1), &place.root(), &place.plan(&approval), &approval, &place.store, &[]).unwrap_err();
    assert!(!at.exists());
    place.merge().recover(&place.store).unwrap();
    assert_eq!(get(&at, "user.note"), Some(b"mine".to_vec()));
}

#[test]
fn a_program_with_rights_of_its_own_gets_no_other_content_and_comes_back_with_them() {
    for bits in [0o4755, 0o2755] {
        let place = Place::new();
        let edited = place.project().join("edited");
        let approval = place.approve(&[]);
        let plan = place.plan(&approval);
        fs::set_permissions(&edited, fs::Permissions::from_mode(0o7000 & bits | 0o644)).unwrap();
        let refused = place.merge().apply(&id(1), &place.root(), &plan, &approval, &place.store, &[]);
        assert!(matches!(&refused, Err(MergeError::Privileged { path: at }) if *at == path("edited")));
        assert_eq!((fs::read(&edited).unwrap(), mode(&edited)), (b"old".to_vec(), 0o7000 & bits | 0o644));

        let place = Place::new();
        let gone = place.project().join("d/gone");
        fs::set_permissions(&gone, fs::Permissions::from_mode(bits)).unwrap();
        place.apply_all().unwrap();
        place.merge().undo(&id(1), &id(2), &place.root(), &place.store).unwrap();
        assert_eq!((fs::read(&gone).unwrap(), mode(&gone)), (b"gone".to_vec(), bits));
    }
}

#[test]
fn a_directory_comes_back_with_its_group_bit() {
    let place = Place::new();
    let dir = place.project().join("old/x");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o2755)).unwrap();
    place.apply_all().unwrap();
    place.merge().undo(&id(1), &id(2), &place.root(), &place.store).unwrap();
    assert_eq!(mode(&dir), 0o2755);
}

/// Runs as a user without privileges: root may give a file to any group.
fn as_nobody<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let nobody = rustix::fs::Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("as root");
            test()
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_group_that_cannot_be_kept_is_let_go_only_where_it_may_do_nothing_that_others_may_not() {
    for (mode, is_kept_out) in [(0o664, true), (0o640, true), (0o654, true), (0o644, false), (0o604, false)] {
        let place = Place::new();
        let edited = place.project().join("edited");
        let nobody = Some(65534);
        for at in walk(place.dir.path()) {
            let at = place.dir.path().join(OsStr::from_bytes(at.as_bytes()));
            std::os::unix::fs::lchown(at, nobody, nobody).unwrap();
        }
        std::os::unix::fs::chown(place.dir.path(), nobody, nobody).unwrap();
        std::os::unix::fs::chown(&edited, nobody, Some(4242)).unwrap();
        for side in ["project", "work"] {
            fs::set_permissions(place.path(side).join("edited"), fs::Permissions::from_mode(mode)).unwrap();
        }
        let old = place.nodes("project");
        let done = as_nobody(|| place.apply_all());
        let group = edited.metadata().unwrap().gid();
        if is_kept_out {
            let told = format!("{:?}", done.unwrap_err());
            assert!(told.contains("its group cannot be kept"), "{mode:o}: {told}");
            assert_eq!((place.nodes("project"), group), (old, 4242), "{mode:o}");
        } else {
            done.unwrap();
            assert_eq!(fs::read(&edited).unwrap(), b"new");
            assert_ne!(group, 4242);
        }
    }
}
