//! Copies of what a project has installed: what comes, what stays, and when it is the same.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use ftl_core::tree::RelPath;

use super::*;
use crate::snapshot::{Installed, Most, Target};

const ALL: Most = Most { paths: 1000, bytes: 1 << 20 };

fn dirs(names: &[&str]) -> Vec<RelPath> {
    names.iter().map(|name| RelPath::new(*name).unwrap()).collect()
}

fn copied(place: &Place, names: &[&str]) -> PathBuf {
    let target = place.path("copy");
    let installed = Installed::look(&place.project(), &dirs(names), ALL).unwrap();
    let to = Target { dir: &target, owner: None, workspace: Path::new("/workspace") };
    installed.copy(&place.project(), to).unwrap();
    target
}

#[test]
fn what_is_installed_comes_with_its_times_and_modes_and_the_project_is_as_it_was() {
    let place = Place::new();
    let project = place.project();
    write(&project, "web/node_modules/a/index.js", "a");
    write(&project, "web/node_modules/.bin/a", "#!/bin/sh\n");
    write(&project, "web/other", "not installed");
    let program = project.join("web/node_modules/.bin/a");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../a", project.join("web/node_modules/.bin/b")).unwrap();
    let before = program.symlink_metadata().unwrap();
    let copy = copied(&place, &["web/node_modules"]);
    let meta = copy.join("web/node_modules/.bin/a").symlink_metadata().unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o755);
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
    assert_eq!(fs::read_link(copy.join("web/node_modules/.bin/b")).unwrap(), Path::new("../a"));
    assert_eq!(fs::read_to_string(copy.join("web/node_modules/a/index.js")).unwrap(), "a");
    assert!(!copy.join("web/other").exists());
    let after = program.symlink_metadata().unwrap();
    let told = |meta: &fs::Metadata| (meta.nlink(), meta.ctime(), meta.ctime_nsec());
    assert_eq!(told(&after), told(&before));
}

#[test]
fn secrets_keys_links_out_and_repositories_do_not_come() {
    let place = Place::new();
    let project = place.project();
    for (name, text) in [
        ("node_modules/a/.env", "TOKEN=1"),
        ("node_modules/a/id_rsa", "x"),
        ("node_modules/a/test.txt", "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n"),
        ("node_modules/a/.git/config", "[core]"),
        ("node_modules/a/fine", "x"),
    ] {
        write(&project, name, text);
    }
    write(&place.path("outside"), "x", "outside");
    symlink(place.path("outside"), project.join("vendor")).unwrap();
    let copy = copied(&place, &["node_modules", "vendor", "absent"]);
    let left: Vec<String> = fs::read_dir(copy.join("node_modules/a"))
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, ["fine"]);
    // A link is a link, and nothing behind it was read.
    assert!(copy.join("vendor").symlink_metadata().unwrap().is_symlink());
    assert!(!copy.join("absent").exists());
}

#[test]
fn an_environments_programs_name_the_project_where_the_sandbox_has_it() {
    let place = Place::new();
    let project = place.project();
    let here = project.display().to_string();
    let program = format!("#!{here}/.venv/bin/python\nprint('{here}/data')\n");
    write(&project, ".venv/bin/pytest", &program);
    write(&project, ".venv/lib/own.pth", format!("{here}/src\n{here}-other\nimport x\n"));
    write(&project, ".venv/lib/text.py", &program);
    symlink(project.join("src"), project.join(".venv/src")).unwrap();
    fs::set_permissions(project.join(".venv/bin/pytest"), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = copied(&place, &[".venv"]);
    let read = |name: &str| fs::read_to_string(copy.join(name)).unwrap();
    let expected = format!("#!/workspace/.venv/bin/python\nprint('{here}/data')\n");
    assert_eq!(read(".venv/bin/pytest"), expected, "only the first line says what runs it");
    assert_eq!(read(".venv/lib/own.pth"), format!("/workspace/src\n{here}-other\nimport x\n"));
    assert_eq!(read(".venv/lib/text.py"), program);
    assert_eq!(fs::read_link(copy.join(".venv/src")).unwrap(), Path::new("/workspace/src"));
}

#[test]
fn what_is_too_large_is_left_out_as_a_whole_and_a_change_is_noticed() {
    let place = Place::new();
    let project = place.project();
    write(&project, "node_modules/a", "0123456789");
    write(&project, "target/b", "x");
    let names = dirs(&["node_modules", "target"]);
    let look = |most| Installed::look(&project, &names, most).unwrap();
    let some = look(Most { paths: 10, bytes: 5 });
    assert_eq!(some.left_out, [(names[0].clone(), "it is too large")]);
    assert!(some.has(&names[1]) && !some.has(&names[0]));
    assert_eq!(look(Most { paths: 1, bytes: 100 }).left_out.len(), 2);

    let first = look(ALL);
    assert_eq!((first.bytes(), first.digest()), (11, look(ALL).digest()));
    fs::write(project.join("node_modules/a"), "9876543210").unwrap();
    assert_ne!(look(ALL).digest(), first.digest(), "as long as before, and another");
}
