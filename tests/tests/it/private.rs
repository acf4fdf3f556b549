//! What the daemon keeps is nobody else's to read, and its care does not change anybody's files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ftl_tests::world::World;

/// Places whose contents have the project's modes or the agent's; what is above them is closed.
fn is_a_sandboxs(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    match parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>()[..] {
        ["sessions", _, "upper" | "work" | "home" | "tmp" | "seen", ..] => true,
        // One file for the store and the trees that sandboxes see.
        ["store", "trees" | "deltas", _, ..] | ["store", "objects", _, _] => true,
        // What turns left, frozen.
        ["layers", _, ..] => true,
        _ => false,
    }
}

/// Everything below a directory that others may use, in a way that is written down here alone.
fn open(root: &Path, at: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let beneath = path.strip_prefix(root).unwrap();
        let meta = path.symlink_metadata().unwrap();
        if meta.is_symlink() || is_a_sandboxs(beneath) {
            continue;
        }
        let mode = meta.permissions().mode() & 0o777;
        // A sandbox's user has to get through to its own places, and sees no names on the way.
        let is_session = meta.is_dir() && beneath.parent() == Some(Path::new("sessions"));
        if mode & if is_session { 0o067 } else { 0o077 } != 0 {
            found.push(format!("{mode:o} {}", beneath.display()));
        }
        if meta.is_dir() {
            open(root, &path, found);
        }
    }
}

#[test]
fn everything_that_the_daemon_keeps_is_private_and_modes_of_projects_are_their_own() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&[(".env", "API_KEY=hunter2hunter2\n"), ("old.txt", "one\n")]);
        let script = "umask > mask; echo two > new.txt; mkdir dir; echo x > dir/run; chmod 755 dir/run; echo y >> old.txt";
        let last = world.shell(script);
        world.approve_by_name(last["session"].as_str().unwrap(), last["digest"].as_str().unwrap());
        let mode =
            |path: &str| std::fs::metadata(world.project().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            [mode("new.txt"), mode("old.txt"), mode("dir"), mode("dir/run")],
            [0o644, 0o644, 0o755, 0o755]
        );
        assert_eq!(std::fs::read_to_string(world.project().join("mask")).unwrap(), "0022\n", "{who:?}");
        let mut found = Vec::new();
        let home = world.ftl_home();
        assert_eq!(std::fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
        open(&home, &home, &mut found);
        assert!(found.is_empty(), "{who:?}: {found:#?}");
        let db = std::fs::read_dir(home.join("db")).unwrap().count();
        assert!(db > 0, "there is a database to look at");
    }
}
