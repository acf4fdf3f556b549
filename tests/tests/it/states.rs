//! States side by side: what differs between them, and branches that are applied, taken back and removed.

use std::process::Stdio;

use ftl_tests::world::{Who, World};
use serde_json::Value;

use crate::branch::{id, say, written};

/// The path and kind of every entry of a diff.
fn kinds(diff: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    diff["entries"].as_array().unwrap().iter().map(|one| (text(&one["path"]), text(&one["kind"]))).collect()
}

fn expect(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(path, kind)| ((*path).to_owned(), (*kind).to_owned())).collect()
}

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.project().join(name)).unwrap()
}

fn approve(world: &World, session: &str) {
    let diff = world.json(0, ["diff", session]);
    world.approve_by_name(session, diff["digest"].as_str().unwrap());
}

#[test]
fn states_differ_in_all_that_a_review_shows() {
    let world = World::new(Who::Me);
    let files =
        [("a.txt", "0\n"), ("run.sh", "x\n"), ("gone", "g\n"), (".env", "PORT=1\n"), ("sub/.env", "A=1\n")];
    world.files(&files);
    let snapshot = world.json(0, ["snapshots", "create"])["snapshot"].as_str().unwrap().to_owned();
    let session = id(&world.shell("echo 1 >> a.txt; chmod 755 run.sh; mkfifo old"));
    let second = "rm gone; ln -s a.txt link; ln -s /etc/passwd out; echo PORT=2 > .env; mkfifo pipe; rm sub/.env; \
                  mkdir -p x/.git/hooks; echo e > x/.git/config; echo s > s; chmod u+s s; head -c 9 /dev/zero > bin; \
                  chmod 700 sub";
    say(&world, &session, second);
    let (first, last) = (format!("{session}@1"), format!("{session}@2"));
    let second = [
        (".env", "refused"),
        ("bin", "binary"),
        ("gone", "deleted"),
        ("link", "symlink"),
        ("out", "refused"),
        ("pipe", "refused"),
        ("s", "refused"),
        ("sub", "mode"),
        ("sub/.env", "refused"),
        ("x", "added"),
        ("x/.git", "refused"),
    ];
    let diff = world.json(0, ["snapshots", "diff", &first, &last]);
    assert_eq!(kinds(&diff), expect(&second));
    let reason = |path: &str| {
        let entries = diff["entries"].as_array().unwrap();
        entries.iter().find(|one| one["path"] == path).unwrap()["reason"].as_str().unwrap().to_owned()
    };
    assert!(reason(".env").contains("secret"), "{}", reason(".env"));
    assert!(reason("s").contains("set-user-id"), "{}", reason("s"));
    // From the snapshot on it is what a review shows.
    let shown = world.json(0, ["diff", &session]);
    assert_eq!(kinds(&world.json(0, ["snapshots", "diff", &snapshot, &session])), kinds(&shown));
    assert_eq!(kinds(&world.json(0, ["snapshots", "diff", &last, &session])), expect(&[]));
    // The way back is judged too.
    let back = kinds(&world.json(0, ["snapshots", "diff", &last, &first]));
    assert!(back.contains(&("link".to_owned(), "deleted".to_owned())), "{back:?}");
    assert!(!back.iter().any(|(path, _)| path.ends_with(".env")), "as it was shown: {back:?}");
    assert!(back.contains(&("gone".to_owned(), "added".to_owned())), "{back:?}");
    let change = |path: &str| {
        let entries = diff["entries"].as_array().unwrap();
        entries.iter().find(|one| one["path"] == path).unwrap()["change"].clone()
    };
    assert_eq!((change(".env"), change("sub/.env")), ("modified".into(), "deleted".into()));
    let plain = world.ok(["snapshots", "diff", "--stat", &first, &last]);
    assert!(plain.contains("modified .env (refused)") && !plain.contains("approve"), "{plain}");
    // Another session has other shadows, and nobody changed them.
    let other = id(&world.shell("echo 1 >> a.txt; chmod 755 run.sh"));
    assert_eq!(
        kinds(&world.json(0, ["snapshots", "diff", &format!("{other}@1"), &first])),
        expect(&[("old", "refused")])
    );
}

#[test]
fn a_branch_knows_what_its_origin_took_back() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "0\n"), ("b.txt", "b\n")]);
    let work = world.shell("echo 1 >> a.txt; echo n > new");
    let origin = id(&work);
    approve(&world, &origin);
    let branch = id(&world.json(0, ["snapshots", "branch", &origin]));
    let twig = id(&world.json(0, ["snapshots", "branch", &branch]));
    say(&world, &branch, "echo 2 >> b.txt");
    assert_eq!(kinds(&world.json(0, ["diff", &branch])), expect(&[("b.txt", "modified")]));
    world.json(0, ["undo", &origin]);
    let all = expect(&[("a.txt", "modified"), ("b.txt", "modified"), ("new", "added")]);
    assert_eq!(kinds(&world.json(0, ["diff", &branch])), all);
    // Also where nothing was left, and where nobody asks what is left.
    let listed = world.json_lines(0, ["sessions"]);
    let twig_now = listed.iter().find(|one| one["session"] == twig.as_str()).unwrap();
    assert_eq!(twig_now["state"], "awaiting_review", "{twig_now}");
    world.ok(["rm", &origin, "--discard"]);
    assert_eq!(kinds(&world.json(0, ["diff", &branch])), all, "although the origin is forgotten");
    approve(&world, &branch);
    assert_eq!((read(&world, "a.txt"), read(&world, "b.txt")), ("0\n1\n".into(), "b\n2\n".into()));
    assert_eq!(read(&world, "new"), "n\n");
    // The twig's own way is the same as what stands there by now, so nothing is written twice.
    approve(&world, &twig);
    assert_eq!(read(&world, "a.txt"), "0\n1\n");
}

#[test]
fn two_branches_are_applied_one_after_the_other_or_refused() {
    let world = World::new(Who::Me);
    let lines: String = (1..=20).map(|number| format!("{number}\n")).collect();
    world.files(&[("a.txt", &lines), ("b.txt", "b\n")]);
    let origin = id(&world.shell("echo origin > o"));
    let [one, two, three] = [(); 3].map(|()| id(&world.json(0, ["snapshots", "branch", &origin])));
    // At the same time.
    let edits = [
        (&one, "sed -i 's/^2$/two/' a.txt"),
        (&two, "sed -i 's/^19$/nineteen/' a.txt"),
        (&three, "sed -i 's/^2$/zwei/' a.txt"),
    ];
    let running = edits.map(|(session, script)| {
        let mut command = world.ftlctl(["code", "--no-review", "--session", session, script]);
        command.stdout(Stdio::null()).spawn().unwrap()
    });
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    let digest = |session: &str| world.json(0, ["diff", session])["digest"].as_str().unwrap().to_owned();
    let [first, second, third] = [&one, &two, &three].map(|session| digest(session));
    world.json(0, ["approve", &one, "--digest", &first]);
    assert_eq!(read(&world, "a.txt"), lines.replacen("\n2\n", "\ntwo\n", 1));
    let before = read(&world, "a.txt");
    // Both were reviewed; what was approved of the others is not what would stand there now.
    for (session, digest) in [(&two, &second), (&three, &third)] {
        let refused = world.run(["approve", session, "--digest", digest]);
        assert!(matches!(refused.code, 1 | 3 | 4), "{refused:#?}");
        assert!(refused.err.contains("a.txt"), "{refused:#?}");
        assert_eq!(read(&world, "a.txt"), before, "nothing is written");
        assert_eq!(world.json(0, ["diff", session])["digest"], digest.as_str(), "and the work is kept");
    }
    // What only one of them changed can still be had.
    world.ok(["rm", &three, "--discard"]);
    world.ok(["rm", &origin, "--discard"]);
    assert!(written(&world, &two).contains_key(b"o".as_slice()));
    say(&world, &two, "echo more >> b.txt");
    let now = digest(&two);
    world.json(0, ["approve", &two, "--digest", &now, "--path", "b.txt"]);
    assert_eq!(read(&world, "b.txt"), "b\nmore\n");
    world.ok(["rm", &one]);
    assert!(written(&world, &two).contains_key(b"o".as_slice()));
}

#[test]
fn going_back_is_asked_for_in_one_way_and_not_while_an_agent_works() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "0\n")]);
    let session = id(&world.shell("echo 1 >> a.txt"));
    say(&world, &session, "echo 2 >> a.txt");
    let at = |number: u32| format!("{session}@{number}");
    let no = |args: &[&str], code: i32, words: &str| {
        let said = world.run(args);
        assert_eq!(said.code, code, "{args:?}: {said:#?}");
        assert!(said.err.contains(words), "{args:?}: {said:#?}");
    };
    no(&["rewind", &at(1), "1"], 2, "not both");
    no(&["rewind", &session, "0"], 2, "TURNS");
    no(&["rewind", &session, "3"], 1, "cannot go back 3 turns");
    no(&["rewind", "s-nosuch"], 1, "there is no session s-nosuch");
    no(&["sessions", "--checkpoints", "s-nosuch"], 1, "there is no session s-nosuch");
    no(&["snapshots", "restore", "nosuch", "--session", &session], 2, "its own checkpoints only");
    no(&["snapshots", "restore", &at(7), "--into-project"], 1, "no checkpoint 7");
    no(&["snapshots", "branch", &at(7)], 1, "no checkpoint 7");
    assert_eq!(world.json(1, ["rewind", &at(9)])["error"]["code"], "no-checkpoint");
    let mut code = world
        .ftlctl(["--json", "code", "--no-review", "--session", &session, "echo 3 >> a.txt; sleep 45679"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let upper = world.ftl_home().join("sessions").join(&session).join("upper/a.txt");
    while !upper.exists() {
        std::thread::yield_now();
    }
    for args in [
        &["rewind", &session][..],
        &["snapshots", "branch", &session],
        // What it is by now is not known, and is not the same as no changes.
        &["snapshots", "diff", &at(2), &session],
        &["snapshots", "restore", &session, "--into-project"],
    ] {
        no(args, 3, "the session is busy: it is working");
    }
    // What it was is.
    assert_eq!(
        kinds(&world.json(0, ["snapshots", "diff", &at(1), &at(2)])),
        expect(&[("a.txt", "modified")])
    );
    world.ok(["stop", &session]);
    code.wait().unwrap();
    let back = world.json(0, ["rewind", &session, "2"]);
    assert_eq!(back["at"], 1);
}
