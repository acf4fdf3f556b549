//! Parts of the work: hunks and lines, joined with the human's own edits, taken back around them.

use std::path::Path;
use std::process::Command;

use ftl_tests::project::{self, Seen};
use ftl_tests::world::{Who, World};
use serde_json::Value;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn lines(from: u32, to: u32) -> String {
    (from..=to).map(|line| format!("line {line}\n")).collect()
}

/// A file of thirty lines of which the agent changes the third and the twenty-fifth.
fn two_hunks(world: &World) -> String {
    world.files(&[("f", &lines(1, 30)), ("g", "1\n")]);
    let last = world.shell("sed -i 's/^line 3$/agent 3/; s/^line 25$/agent 25/' f; echo 2 > g");
    text(&last, "session").to_owned()
}

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.project().join(name)).unwrap()
}

#[test]
fn a_hunk_of_a_file_lands_by_its_number_or_id_and_the_rest_waits() {
    let world = World::new(Who::Me);
    let session = two_hunks(&world);
    let diff = world.json(0, ["diff", &session]);
    let id = text(&diff["entries"][0]["hunks"][0], "id");
    let preview = world.json(0, ["diff", &session, "--hunk", "f:2"]);
    assert_ne!(preview["digest"], diff["digest"]);
    assert_eq!(preview["entries"].as_array().unwrap().len(), 1, "{preview}");
    assert_eq!(read(&world, "f"), lines(1, 30), "a preview writes nothing");

    let digest = text(&preview, "digest");
    let other = world.run(["approve", &session, "--digest", digest, "--hunk", "f:1"]);
    assert_eq!(other.code, 4, "the digest is that of another selection: {other:#?}");
    world.json(0, ["approve", &session, "--digest", digest, "--hunk", "f:2"]);
    assert_eq!(read(&world, "f"), lines(1, 30).replace("line 25", "agent 25"));

    let rest = world.json(0, ["diff", &session]);
    let left: Vec<_> = rest["entries"].as_array().unwrap().iter().map(|entry| text(entry, "path")).collect();
    assert_eq!(left, ["f", "g"]);
    assert_eq!(rest["entries"][0]["hunks"][0]["id"], id, "the same hunk has the same id");
    // The whole diff's digest approves a part that nothing was done to.
    let choice = format!("f:{id}");
    world.json(0, ["approve", &session, "--digest", text(&rest, "digest"), "--hunk", &choice]);
    assert_eq!(
        read(&world, "f"),
        lines(1, 30).replace("line 25", "agent 25").replace("line 3\n", "agent 3\n")
    );
    let rest = world.json(0, ["diff", &session]);
    assert_eq!(rest["entries"].as_array().unwrap().len(), 1);
    world.json(0, ["undo", &session]);
    assert_eq!(read(&world, "f"), lines(1, 30).replace("line 25", "agent 25"));
    world.json(0, ["undo", &session]);
    assert_eq!(read(&world, "f"), lines(1, 30));
}

#[test]
fn a_file_under_another_name_is_shown_as_that_with_what_changed_in_it() {
    let world = World::new(Who::Me);
    world.files(&[("old", &lines(1, 30))]);
    let last = world.shell("mv old new; sed -i 's/^line 3$/agent 3/' new");
    let session = text(&last, "session");
    let diff = world.json(0, ["diff", session]);
    let entry = &diff["entries"][0];
    assert_eq!(
        (text(entry, "path"), text(entry, "kind"), text(entry, "renamed_from")),
        ("new", "renamed", "old")
    );
    assert_eq!((&entry["added_lines"], &entry["removed_lines"]), (&1.into(), &1.into()));
    let copy = world.root().join("copy");
    std::fs::create_dir(&copy).unwrap();
    project::write(&copy, &[("old", &lines(1, 30))]);
    let patch = world.ftlctl(["diff", session]).output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&patch).contains("rename from old"));
    git_apply(&copy, &patch);
    world.json(0, ["approve", session, "--digest", text(&diff, "digest"), "--path", "new", "--path", "old"]);
    assert_eq!(project::see(&world.project()), project::see(&copy));
}

#[test]
fn accepting_one_name_of_a_file_accepts_the_other_and_shows_it() {
    for by in ["new", "old"] {
        let world = World::new(Who::Me);
        world.files(&[("old", &lines(1, 30)), ("more", "1\n")]);
        let last = world.shell("mv old new; echo 31 >> new; echo 2 > more");
        let session = text(&last, "session");
        let preview = world.json(0, ["diff", session, "--path", by]);
        let seen: Vec<_> =
            preview["entries"].as_array().unwrap().iter().map(|one| text(one, "path")).collect();
        assert_eq!(seen, ["new", "old"], "{preview}");
        let said = world.ok(["approve", session, "--digest", text(&preview, "digest"), "--path", by]);
        assert!(["  new\n", "  old\n", "applied 2 paths"].iter().all(|told| said.contains(told)), "{said}");
        assert_eq!(read(&world, "new"), lines(1, 30) + "31\n");
        assert!(!world.project().join("old").exists() && read(&world, "more") == "1\n");
    }
}

#[test]
fn the_patch_of_a_preview_carries_binary_contents_too() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    std::fs::write(world.project().join("b.bin"), b"\0before").unwrap();
    let last = world.shell("echo 2 > a; printf '\\000after' > b.bin; printf '\\000new' > n.bin");
    let session = text(&last, "session");
    let patch = world.run(["diff", session, "--patch", "--path", "b.bin", "--path", "n.bin"]);
    assert!(!patch.err.contains("not in this patch"), "{patch:#?}");
    let copy = world.root().join("copy");
    std::fs::create_dir(&copy).unwrap();
    project::write(&copy, &[("a", "1\n")]);
    std::fs::write(copy.join("b.bin"), b"\0before").unwrap();
    git_apply(&copy, patch.out.as_bytes());
    let made = ["a", "b.bin", "n.bin"].map(|name| std::fs::read(copy.join(name)).unwrap());
    assert_eq!(made, [b"1\n".to_vec(), b"\0after".to_vec(), b"\0new".to_vec()]);
}

#[test]
fn a_text_in_utf_16_is_named_where_its_lines_are_missing() {
    let world = World::new(Who::Me);
    world.files(&[("a.py", "a = 1\n")]);
    let last = world.shell("printf '\\377\\376a\\000 \\000=\\0002\\000\\n\\000' > a.py");
    let session = text(&last, "session");
    let page = world.ok(["diff", session, "--plain"]);
    assert!(page.contains("not shown: text in UTF-16"), "{page}");
    let diff = world.json(0, ["diff", session]);
    assert!(text(&diff["entries"][0], "elided").contains("UTF-16"), "{diff}");
}

#[test]
fn some_lines_of_a_hunk_land_and_a_hunk_can_be_written_anew() {
    let world = World::new(Who::Me);
    world.files(&[("f", "a\nb\nc\n")]);
    let last = world.shell("printf 'a\\nB\\nmore\\nc\\n' > f");
    let session = text(&last, "session");
    // The lines of the hunk are: a, -b, +B, +more, c.
    let choice = ["--hunk", "f:1:4"];
    let preview = world.json(0, [&["diff", session][..], &choice].concat());
    let digest = text(&preview, "digest").to_owned();
    world.json(0, [&["approve", session, "--digest", &digest][..], &choice].concat());
    assert_eq!(read(&world, "f"), "a\nb\nmore\nc\n");

    let mine = world.root().join("mine");
    std::fs::write(&mine, "a\nmine\nmore\nc\n").unwrap();
    let edited = format!("f:1={}", mine.display());
    let choice = ["--edited", edited.as_str()];
    let whole = text(&world.json(0, ["diff", session]), "digest").to_owned();
    let refused = world.run([&["approve", session, "--digest", &whole][..], &choice].concat());
    assert_eq!(refused.code, 4, "what is edited has a digest of its own: {refused:#?}");
    let preview = world.json(0, [&["diff", session][..], &choice].concat());
    let digest = text(&preview, "digest").to_owned();
    let merged = world.json(0, [&["approve", session, "--digest", &digest][..], &choice].concat());
    assert_eq!((read(&world, "f").as_str(), text(&merged, "state")), ("a\nmine\nmore\nc\n", "merged"));
}

#[test]
fn the_humans_edits_stay_and_conflicts_wait_for_a_decision() {
    let world = World::new(Who::Me);
    let session = two_hunks(&world);
    let whole = text(&world.json(0, ["diff", &session]), "digest").to_owned();
    let mine = lines(0, 30).replace("line 25\n", "human 25\n");
    world.files(&[("f", &mine)]);
    let said = world.run(["approve", &session, "--digest", &whole]);
    assert_eq!(said.code, 4, "{said:#?}");
    assert!(said.err.contains("f was edited") && said.err.contains("--preview"), "{said:#?}");
    assert_eq!((read(&world, "f"), read(&world, "g")), (mine.clone(), "1\n".to_owned()));

    let open = world.json(0, ["diff", &session, "--preview"]);
    assert_eq!((text(&open, "digest"), &open["conflicts"], &open["merged"]), ("", &1.into(), &1.into()));
    let conflict = &open["entries"][0]["conflicts"][0];
    assert_eq!((&conflict["line"], text(conflict, "ours")), (&26.into(), "human 25\n"));
    assert_eq!(text(conflict, "theirs"), "agent 25\n");
    let people = world.ok(["diff", &session, "--preview"]);
    assert!(people.contains("decide with --ours, --theirs or --both f:1"), "{people}");
    assert!(!people.contains("approve:"), "{people}");
    let said = world.run(["approve", &session, "--digest", &"0".repeat(64)]);
    assert_eq!(said.code, 4, "{said:#?}");

    let decide = ["--both", "f:1"];
    let preview = world.json(0, [&["diff", &session][..], &decide].concat());
    let digest = text(&preview, "digest").to_owned();
    // The human goes on working: what was shown is not what would be written.
    world.files(&[("f", &(mine.clone() + "end\n"))]);
    let said = world.run([&["approve", &session, "--digest", &digest][..], &decide].concat());
    assert_eq!(said.code, 4, "{said:#?}");
    assert!(said.err.contains("ftlctl diff"), "{said:#?}");
    world.files(&[("f", &mine)]);
    let merged = world.json(0, [&["approve", &session, "--digest", &digest][..], &decide].concat());
    assert_eq!(text(&merged, "state"), "merged");
    let both = mine.replace("line 3\n", "agent 3\n").replace("human 25\n", "human 25\nagent 25\n");
    assert_eq!(read(&world, "f"), both);
    world.json(0, ["undo", &session]);
    assert_eq!((read(&world, "f"), read(&world, "g")), (mine, "1\n".to_owned()));
}

#[test]
fn undo_goes_around_later_edits_only_when_that_was_shown() {
    let world = World::new(Who::Me);
    let session = two_hunks(&world);
    world.files(&[(".gitignore", "cache\n"), ("cache", "mine\n"), ("notes", "mine\n")]);
    let digest = text(&world.json(0, ["diff", &session]), "digest").to_owned();
    world.json(0, ["approve", &session, "--digest", &digest]);
    let before = project::identities(&world.project());
    let edited = read(&world, "f") + "human\n";
    world.files(&[("f", &edited)]);
    let said = world.run(["undo", &session]);
    assert_eq!(said.code, 4, "{said:#?}");
    assert!(said.err.contains(&format!("undo {session} --merge")), "{said:#?}");

    let shown = world.json(4, ["undo", &session, "--merge"]);
    assert_eq!(read(&world, "f"), edited, "showing writes nothing");
    let digest = text(&shown, "digest").to_owned();
    let wrong = world.run(["undo", &session, "--merge", "--digest", &"0".repeat(64)]);
    assert_eq!(wrong.code, 4, "{wrong:#?}");
    let undone = world.json(0, ["undo", &session, "--merge", "--digest", &digest]);
    assert_eq!(text(&undone, "state"), "awaiting_review");
    assert_eq!((read(&world, "f"), read(&world, "g")), (lines(1, 30) + "human\n", "1\n".to_owned()));
    let after = project::identities(&world.project());
    for name in [".gitignore", "cache", "notes"] {
        assert_eq!(before[name.as_bytes()], after[name.as_bytes()], "{name}");
    }

    // All of the work is there again, and can land beside the human's line.
    let preview = world.json(0, ["diff", &session, "--preview"]);
    world.json(0, ["approve", &session, "--digest", text(&preview, "digest")]);
    let same = read(&world, "f").replace("agent 3\n", "human 3\n");
    world.files(&[("f", &same)]);
    let said = world.run(["undo", &session, "--merge"]);
    assert_eq!(said.code, 3, "{said:#?}");
    assert!(said.err.contains("f (line 3)"), "{said:#?}");
    assert_eq!(read(&world, "f"), same);
}

#[test]
fn what_runs_later_must_be_named_and_the_rest_lands() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    let last =
        world.shell("echo 2 > a; mkdir -p tools; printf '#!/bin/sh\\n' > tools/run; chmod +x tools/run");
    let session = text(&last, "session");
    let diff = world.json(0, ["diff", session]);
    let run = diff["entries"].as_array().unwrap().iter().find(|entry| entry["path"] == "tools/run").unwrap();
    assert_eq!(run["needs_naming"], true, "{run}");
    let approved = world.json(0, ["approve", session, "--digest", text(&diff, "digest")]);
    assert_eq!(
        (text(&approved, "state"), &approved["left_alone"][0]["path"]),
        ("awaiting_review", &"tools/run".into())
    );
    assert_eq!(read(&world, "a"), "2\n");
    assert!(!world.project().join("tools").exists(), "no directory for what was left out");

    let rest = world.json(0, ["diff", session]);
    for options in [&[][..], &["--path", "tools"]] {
        let said =
            world.run([&["approve", session, "--digest", text(&rest, "digest")][..], options].concat());
        assert_eq!(said.code, 4, "{said:#?}");
        assert!(
            said.err.contains("--path tools/run") || said.err.contains("--path 'tools/run'"),
            "{said:#?}"
        );
    }
    let merged =
        world.json(0, ["approve", session, "--digest", text(&rest, "digest"), "--path", "tools/run"]);
    assert_eq!(text(&merged, "state"), "merged");
    assert_eq!(
        project::see(&world.project())[b"tools/run".as_slice()],
        Seen::File(0o755, b"#!/bin/sh\n".to_vec())
    );
}

#[test]
fn a_finding_holds_what_has_it_until_a_human_lets_it_pass() {
    let world = World::new(Who::Me);
    let value = "mwsjh4Kd93kfQz7Lp0aVbX";
    world.files(&[("a", "1\n"), (".env", &format!("PAYMENT_API_KEY={value}\n")), (".gitignore", ".env\n")]);
    // The agent cannot know the value; the human's own files can hold it.
    let last = world.shell(&format!("echo 'key = \"{value}\"' > config.ini; echo 2 > a"));
    let session = text(&last, "session");
    let diff = world.json(0, ["diff", session]);
    let entry =
        diff["entries"].as_array().unwrap().iter().find(|entry| entry["path"] == "config.ini").unwrap();
    let finding = &entry["findings"][0];
    assert_eq!((text(finding, "class"), &finding["holds"]), ("secret", &true.into()), "{entry}");
    assert!(!text(finding, "message").contains(value));
    let digest = text(&diff, "digest");
    let held = world.run(["approve", session, "--digest", digest]);
    assert_eq!(held.code, 4, "{held:#?}");
    assert!(held.err.contains(text(finding, "id")) && !held.err.contains(value), "{held:#?}");
    assert_eq!(read(&world, "a"), "1\n");
    // What does not hold it is not held.
    world.json(0, ["approve", session, "--digest", digest, "--path", "a"]);
    let rest = world.json(0, ["diff", session]);
    let accept = format!("{}=a test value of ours", text(finding, "id"));
    let bare = format!("{}= ", text(finding, "id"));
    assert_eq!(world.run(["approve", session, "--digest", text(&rest, "digest"), "--accept", &bare]).code, 2);
    let merged = world.json(0, ["approve", session, "--digest", text(&rest, "digest"), "--accept", &accept]);
    assert_eq!(text(&merged, "state"), "merged");
    let log = world.json_lines(0, ["logs", "--all"]);
    let accepted = log.iter().find(|entry| entry["action"] == "finding_accepted").expect("it is recorded");
    assert_eq!(accepted["detail"]["why"], "a test value of ours");
    for told in
        log.iter().filter(|entry| entry["action"] != "session_created" && entry["action"] != "turn_begun")
    {
        assert!(!told.to_string().contains(value), "{told}");
    }
}

#[test]
fn of_two_approvals_at_once_each_lands_as_it_was_shown_or_not_at_all() {
    let world = World::new(Who::Me);
    let session = two_hunks(&world);
    let digest = |options: [&str; 2]| {
        text(&world.json(0, [&["diff", &session][..], &options].concat()), "digest").to_owned()
    };
    let diff = world.json(0, ["diff", &session]);
    let hunk = |number: usize| format!("f:{}", text(&diff["entries"][0]["hunks"][number], "id"));
    let (top, bottom) = (hunk(0), hunk(1));
    let (one, two) = (digest(["--hunk", &top]), digest(["--hunk", &bottom]));
    let approve = |digest: &str, hunk: &str| {
        let mut command = world.ftlctl(["approve", &session, "--digest", digest, "--hunk", hunk]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut running = [approve(&one, &top), approve(&two, &bottom)];
    let mut codes: Vec<_> = running.iter_mut().map(|child| child.wait().unwrap().code()).collect();
    codes.sort_unstable();
    // Whichever comes second was shown over another text.
    assert_eq!(codes, [Some(0), Some(4)]);
    let (first, second) = (("line 3\n", "agent 3\n"), ("line 25\n", "agent 25\n"));
    let found = read(&world, "f");
    assert!([first, second].iter().any(|(was, is)| found == lines(1, 30).replace(was, is)), "{found}");
}

#[test]
fn what_was_applied_is_listed_with_who_and_when() {
    let world = World::new(Who::Me);
    let session = two_hunks(&world);
    assert!(world.ok(["applied"]).contains("nothing was applied"));
    let diff = world.json(0, ["diff", &session]);
    world.json(0, ["approve", &session, "--digest", text(&diff, "digest"), "--path", "g"]);
    let diff = world.json(0, ["diff", &session]);
    world.json(0, ["approve", &session, "--digest", text(&diff, "digest")]);
    world.json(0, ["undo"]);
    for of in [&["applied"][..], &["applied", &session], &["applied", "--all"]] {
        let listed = world.json_lines(0, of.iter().copied());
        let told: Vec<_> = listed.iter().map(|one| (&one["paths"][0], &one["undone"])).collect();
        assert_eq!(told, [(&"f".into(), &true.into()), (&"g".into(), &false.into())], "{listed:#?}");
        assert!(listed.iter().all(|one| one["session"] == session.as_str() && one["by"] != ""));
    }
    let table = world.ok(["applied"]);
    assert!(table.contains("taken back") && table.contains(&session), "{table}");
}

#[test]
fn what_a_removed_session_applied_is_still_listed_and_says_that_it_stays() {
    let world = World::new(Who::Me);
    let session = two_hunks(&world);
    let diff = world.json(0, ["diff", &session]);
    world.json(0, ["approve", &session, "--digest", text(&diff, "digest")]);
    let before = world.json_lines(0, ["applied"]);
    world.ok(["rm", &session]);
    for restarted in [false, true] {
        if restarted {
            world.ok(["daemon", "stop"]);
        }
        for of in
            [&["applied"][..], &["applied", &session], &["applied", &session[..8]], &["applied", "--all"]]
        {
            let listed = world.json_lines(0, of.iter().copied());
            let [one] = &listed[..] else { panic!("{listed:#?}") };
            assert_eq!((&one["removed"], &before[0]["removed"]), (&true.into(), &false.into()));
            for key in ["apply", "session", "time", "by", "digest", "paths", "paths_total", "undone"] {
                assert_eq!(one[key], before[0][key], "{key}");
            }
        }
    }
    let table = world.ok(["applied"]);
    assert!(table.contains("applied, session removed") && table.contains(&session), "{table}");
    for of in [&["undo"][..], &["undo", &session], &["diff", &session]] {
        let said = world.run(of.iter().copied());
        assert!(said.code != 0 && said.err.contains(&format!("session {session} was removed")), "{said:#?}");
        assert!(said.err.contains("cannot be taken back"), "{said:#?}");
    }
    assert_eq!(read(&world, "g"), "2\n");
}

#[test]
fn rejected_work_says_how_long_it_is_kept_and_comes_back() {
    let world = World::new(Who::Me);
    let session = two_hunks(&world);
    let said = world.ok(["reject", &session, "--why", "not now"]);
    let back = said.lines().find_map(|line| line.trim().strip_prefix("bring it back: ftlctl ")).expect(&said);
    assert!(said.contains("kept until 20"), "{said}");
    world.ok(back.split(' '));
    let diff = world.json(0, ["diff", &session]);
    world.json(0, ["approve", &session, "--digest", text(&diff, "digest")]);
    assert_eq!(read(&world, "g"), "2\n");
}

#[test]
fn a_rejection_with_a_reason_can_be_the_agents_next_instruction() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    let first = world.shell("echo 2 > a");
    let session = text(&first, "session");
    assert_eq!(world.run(["reject", session, "--go-on", "--why", " "]).code, 1, "there must be a reason");
    world.ok(["reject", session, "--go-on", "--why", "echo 3 > a"]);
    assert_eq!(world.run(["attach", session]).code, 4, "the new work waits");
    let diff = world.json(0, ["diff", session]);
    world.json(0, ["approve", session, "--digest", text(&diff, "digest")]);
    assert_eq!(read(&world, "a"), "3\n");
}

/// Applies a patch with git, in a copy of what a project was.
fn git_apply(dir: &Path, patch: &[u8]) {
    let at = dir.join("work.patch");
    std::fs::write(&at, patch).unwrap();
    let applied = Command::new("git")
        .args(["apply", "--whitespace=nowarn"])
        .arg(&at)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    std::fs::remove_file(&at).unwrap();
    assert!(
        applied.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&applied.stderr),
        String::from_utf8_lossy(patch)
    );
}

#[test]
fn a_diff_into_a_pipe_is_a_patch_that_git_applies_byte_by_byte() {
    let world = World::new(Who::Me);
    let base = [
        ("crlf", "one\r\ntwo\r\nthree\r\n"),
        ("no-end", "a\nb"),
        ("gone", "x\ny\n"),
        ("to-link", "x\n"),
        ("with space", "1\n"),
        ("odd\t\"name\\\u{fc}", "1\n"),
        ("mode", "x\n"),
        ("empty", ""),
    ];
    world.files(&base);
    std::os::unix::fs::symlink("gone", world.project().join("link")).unwrap();
    let script = r#"printf 'one\r\n2\r\nthree\r\n' > crlf; printf 'a\nb\nc' > no-end; rm gone
        rm to-link; ln -s mode to-link; echo 2 > 'with space'; echo 2 > odd*; chmod 755 mode
        rm empty; : > new-empty; printf 'caf\351\n' > latin; mkdir -p d/e; echo deep > d/e/f
        rm link; ln -s elsewhere link; printf '\0bin' > binary; ln -s crlf new-link"#;
    let last = world.shell(script);
    let session = text(&last, "session");
    let said = world.run(["diff", session]);
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(said.out.contains("GIT binary patch") && !said.err.contains("not in this patch"), "{said:#?}");

    let copy = world.root().join("copy");
    std::fs::create_dir(&copy).unwrap();
    project::write(&copy, &base);
    std::os::unix::fs::symlink("gone", copy.join("link")).unwrap();
    let patch = world.ftlctl(["diff", session]).output().unwrap().stdout;
    git_apply(&copy, &patch);

    let diff = world.json(0, ["diff", session]);
    let entries = diff["entries"].as_array().unwrap().iter();
    let paths = entries.map(|entry| entry["path"].as_str().unwrap().to_owned());
    let mut approve =
        vec!["approve".to_owned(), session.to_owned(), "--digest".into(), text(&diff, "digest").into()];
    for path in paths {
        approve.extend(["--path".to_owned(), path]);
    }
    let merged = world.json(0, &approve);
    assert_eq!(text(&merged, "state"), "merged", "{merged}");
    assert_eq!(project::see(&world.project()), project::see(&copy));
}
