//! Approving, applying, undoing: exactly the bytes that were shown, and nothing else.

use std::os::unix::fs::symlink;

use ftl_tests::project::{self, Seen};
use ftl_tests::world::{Who, World};

fn digest(diff: &serde_json::Value) -> &str {
    diff["digest"].as_str().unwrap()
}

#[test]
fn an_approval_names_the_digest_and_no_other_digest_will_do() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    let before = project::see(&world.project());
    let last = world.shell("echo 2 > a");
    let session = last["session"].as_str().unwrap();
    let wrong = "0".repeat(64);
    assert_eq!(world.run(["approve", session, "--digest", &wrong]).code, 4);
    assert_eq!(world.run(["approve", session, "--digest", &digest(&last)[..4]]).code, 1);
    assert_eq!(world.run(["approve", session]).code, 4, "without a terminal the digest must be named");
    assert_eq!(project::see(&world.project()), before);
    world.json(0, ["approve", session, "--digest", &digest(&last)[..12]]);
    assert_eq!(std::fs::read_to_string(world.project().join("a")).unwrap(), "2\n");
}

#[test]
fn paths_can_be_approved_one_by_one_and_the_rest_still_waits() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n"), ("b", "1\n")]);
    let last = world.shell("echo 2 > a; echo 2 > b; mkdir -p d/e; echo 2 > d/e/f");
    let session = last["session"].as_str().unwrap();
    let approved =
        world.json(0, ["approve", session, "--digest", digest(&last), "--path", "a", "--path", "d/e/f"]);
    assert_eq!(approved["state"], "awaiting_review", "{approved}");
    let seen = project::see(&world.project());
    assert_eq!(seen[b"a".as_slice()], Seen::File(0o644, b"2\n".to_vec()));
    assert_eq!(seen[b"b".as_slice()], Seen::File(0o644, b"1\n".to_vec()));
    assert_eq!(seen[b"d/e/f".as_slice()], Seen::File(0o644, b"2\n".to_vec()));
    let rest = world.json(0, ["diff", session]);
    assert_eq!(rest["entries"].as_array().unwrap().len(), 1);
    assert_eq!(
        world.run(["approve", session, "--digest", digest(&last)]).code,
        4,
        "the first digest is spent"
    );
    let merged = world.json(0, ["approve", session, "--digest", digest(&rest)]);
    assert_eq!(merged["state"], "merged");
    world.json(0, ["undo"]);
    world.json(0, ["undo", session]);
    assert_eq!(project::see(&world.project())[b"a".as_slice()], Seen::File(0o644, b"1\n".to_vec()));
    assert!(!world.project().join("d").exists());
}

#[test]
fn a_project_that_changed_meanwhile_is_not_overwritten() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n"), ("b", "1\n")]);
    let last = world.shell("echo agent > a; echo agent > b; echo agent > c");
    let session = last["session"].as_str().unwrap();
    world.files(&[("a", "human\n"), ("c", "human\n")]);
    let said = world.run(["approve", session, "--digest", digest(&last)]);
    assert_eq!(said.code, 4, "{said:#?}");
    assert!(said.err.contains("a was edited") && said.err.contains('c'), "{said:#?}");
    assert_eq!(std::fs::read_to_string(world.project().join("a")).unwrap(), "human\n");
    assert_eq!(std::fs::read_to_string(world.project().join("b")).unwrap(), "1\n");
    world.json(0, ["approve", session, "--digest", digest(&last), "--path", "b"]);
    assert_eq!(std::fs::read_to_string(world.project().join("b")).unwrap(), "agent\n");
}

#[test]
fn a_directory_that_became_a_link_is_not_written_through() {
    let world = World::new(Who::Me);
    world.files(&[("dir/a", "1\n")]);
    let outside = world.root().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("a"), "1\n").unwrap();
    let last = world.shell("echo agent > dir/a");
    std::fs::remove_dir_all(world.project().join("dir")).unwrap();
    symlink(&outside, world.project().join("dir")).unwrap();
    let said = world.run(["approve", last["session"].as_str().unwrap(), "--digest", digest(&last)]);
    assert_ne!(said.code, 0, "{said:#?}");
    assert_eq!(std::fs::read_to_string(outside.join("a")).unwrap(), "1\n");
}

#[test]
fn a_project_directory_that_was_replaced_is_not_written_to() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    let last = world.shell("echo agent > a");
    std::fs::rename(world.project(), world.root().join("moved")).unwrap();
    std::fs::create_dir(world.project()).unwrap();
    world.files(&[("a", "1\n")]);
    let said = world.run(["approve", last["session"].as_str().unwrap(), "--digest", digest(&last)]);
    assert_eq!(said.code, 3, "{said:#?}");
    assert_eq!(std::fs::read_to_string(world.project().join("a")).unwrap(), "1\n");
}

#[test]
fn undo_refuses_where_the_human_has_worked_since() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n"), ("b", "1\n")]);
    let last = world.shell("echo agent > a; echo agent > b");
    let session = last["session"].as_str().unwrap();
    world.json(0, ["approve", session, "--digest", digest(&last)]);
    world.files(&[("a", "human\n")]);
    let said = world.run(["undo", session]);
    assert_ne!(said.code, 0, "{said:#?}");
    assert_eq!(std::fs::read_to_string(world.project().join("a")).unwrap(), "human\n");
    assert_eq!(std::fs::read_to_string(world.project().join("b")).unwrap(), "agent\n", "all or nothing");
}

#[test]
fn untouched_files_keep_inode_and_time_and_ignored_ones_are_never_touched() {
    let world = World::new(Who::Me);
    world.files(&[
        ("a", "1\n"),
        ("b", "1\n"),
        (".gitignore", "cache/\n"),
        ("cache/x", "mine\n"),
        (".env", "KEY=secret-value-of-mine\n"),
        (".npmrc", "key=secret-value-of-mine\n"),
    ]);
    let before = project::identities(&world.project());
    let theirs = "echo theirs > cache/x; echo KEY=theirs > .env; echo key=theirs > .npmrc";
    let last = world.shell(&format!("echo agent > a; mkdir -p cache; {theirs}"));
    let session = last["session"].as_str().unwrap();
    let diff = world.json(0, ["diff", session]);
    assert_eq!(diff["ignored"], 1, "{diff}");
    let said = world.run(["approve", session, "--digest", digest(&last), "--path", "a"]);
    assert_eq!(said.code, 0, "{said:#?}");
    let after = project::identities(&world.project());
    for name in ["b", ".gitignore", "cache", "cache/x", ".env", ".npmrc"] {
        assert_eq!(before[name.as_bytes()], after[name.as_bytes()], "{name}");
    }
    // The whole cannot be approved: the project has an .npmrc that the session never saw.
    let rest = world.json(0, ["diff", session]);
    assert_eq!(
        (&rest["entries"][0]["path"], &rest["entries"][0]["kind"]),
        (&".env".into(), &"refused".into())
    );
    assert_eq!(world.run(["approve", session, "--digest", digest(&rest)]).code, 4);
    let mine = |name: &str| std::fs::read_to_string(world.project().join(name)).unwrap().to_lowercase();
    assert_eq!([mine(".env"), mine(".npmrc")], ["key=secret-value-of-mine\n", "key=secret-value-of-mine\n"]);
}

#[test]
fn rejected_work_is_kept_until_the_session_is_removed() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    let last = world.shell("echo agent > a");
    let session = last["session"].as_str().unwrap();
    assert_eq!(world.run(["rm", session]).code, 3, "work that waits is not forgotten by accident");
    let rejected = world.json(0, ["reject", session, "--why", "not like this"]);
    assert_eq!(rejected["state"], "rejected");
    assert_eq!(world.json(0, ["diff", session])["entries"][0]["path"], "a");
    assert_eq!(world.run(["approve", session, "--digest", digest(&last)]).code, 3);
    world.ok(["rm", session]);
    assert_eq!(world.run(["diff", session]).code, 1);
    assert!(!world.ftl_home().join("sessions").join(session).exists());
}
