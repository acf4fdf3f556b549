//! A project's Git history as an agent sees it.

use ftl_tests::project;
use ftl_tests::world::{Who, World};

fn git(world: &World, args: &[&str]) -> String {
    let mut command = world.command("git");
    command.current_dir(world.project());
    command.args(["-c", "user.name=A", "-c", "user.email=a@example.com"]).args(args);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().expect("git runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A project with two commits, a secret in the first, and something uncommitted.
fn repository(world: &World) {
    world.files(&[("a.txt", "one\n"), (".env", "TOKEN=hunter2hunter2\n"), ("b.txt", "b\n")]);
    git(world, &["init", "-q", "-b", "main"]);
    git(world, &["add", "-A", "-f"]);
    git(world, &["commit", "-q", "-m", "first"]);
    world.files(&[("a.txt", "one\ntwo\n")]);
    git(world, &["commit", "-q", "-a", "-m", "second"]);
    world.files(&[("b.txt", "changed\n")]);
}

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.project().join(name)).expect("an approved file")
}

#[test]
fn an_agent_sees_the_history_and_commits_and_nothing_of_it_comes_back() {
    for who in World::everybody() {
        let world = World::new(who);
        repository(&world);
        let project = world.project();
        let before = project::see(&project.join(".git"));
        let last = world.shell(
            "git log --format='%H %s' > log; git status --porcelain > status; git blame -s a.txt > blame; \
             git log -p > patches; git cat-file --batch-all-objects --batch > all; \
             echo three >> a.txt; git add a.txt; git commit -q -m third; git log --format=%s > after; \
             printf '#!/bin/sh\\n' > .git/hooks-post; mkdir .git/hooks; mkfifo .git/hooks/pipe; chmod 0 .git",
        );
        assert_eq!(last["state"], "awaiting_review", "{who:?} {last}");
        let session = last["session"].as_str().unwrap();
        let diff = world.json(0, ["diff", session]);
        assert!(!diff.to_string().contains(".git"), "{who:?} {diff}");
        world.json(0, ["approve", session, "--digest", last["digest"].as_str().unwrap()]);
        assert_eq!(read(&world, "log"), git(&world, &["log", "--format=%H %s"]) + "\n", "{who:?}");
        assert_eq!(read(&world, "status"), " M b.txt\n?? log\n?? status\n", "{who:?}");
        assert_eq!(read(&world, "after"), "third\nsecond\nfirst\n");
        assert!(read(&world, "blame").contains("two"));
        assert!(read(&world, "patches").contains("keeps the content"));
        let all = std::fs::read(project.join("all")).unwrap();
        assert!(!all.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(project::see(&project.join(".git")), before, "{who:?}");
        // A follow-up has the commits of the turn before.
        world.json(
            0,
            ["code", "--no-review", "--session", session, "chmod 755 .git; git log --format=%s > again"],
        );
        let diff = world.json(0, ["diff", session]);
        assert_eq!(diff["entries"].as_array().unwrap().len(), 1, "{diff}");
    }
}

#[test]
fn a_history_can_be_kept_out_and_a_broken_one_is_told() {
    let world = World::new(Who::Me);
    repository(&world);
    world.files(&[(".ftlconfig", "{\"history\": \"off\"}\n")]);
    let last = world.shell("test ! -e .git && echo none > found");
    assert_eq!(
        world.json(0, ["diff", last["session"].as_str().unwrap()])["entries"].as_array().unwrap().len(),
        1
    );
    std::fs::remove_file(world.project().join(".ftlconfig")).unwrap();
    std::fs::write(world.project().join(".git/HEAD"), "rubbish\n").unwrap();
    let script = "test ! -e .git && echo none > found";
    let lines = world.json_lines(0, ["code", "--no-review", "--agent", "shell", script]);
    let last = lines.last().unwrap();
    assert_eq!(last["state"], "awaiting_review", "a session never fails for want of a history: {last}");
    let told = lines.iter().any(|line| {
        line.to_string().contains("git history: the project's repository is not used: its HEAD names neither")
    });
    assert!(told, "{lines:#?}");
}

#[test]
fn turns_are_exported_from_wherever_the_repository_stands() {
    let world = World::new(Who::Me);
    repository(&world);
    let hooks = world.project().join(".git/hooks");
    for name in ["pre-commit", "post-commit", "reference-transaction", "post-checkout", "commit-msg"] {
        std::fs::create_dir_all(&hooks).unwrap();
        std::fs::write(hooks.join(name), "#!/bin/sh\ntouch \"$HOME/hook-ran\"\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(hooks.join(name), mode).unwrap();
    }
    let session =
        world.shell("echo 1 >> a.txt\necho second line > c.txt")["session"].as_str().unwrap().to_owned();
    world.json(0, ["code", "--no-review", "--session", &session, "echo 2 >> a.txt"]);
    // Something staged, something not, and no branch checked out.
    git(&world, &["-c", "core.hooksPath=/dev/null", "checkout", "-q", "--detach", "HEAD~0"]);
    world.files(&[("staged", "s\n"), ("loose", "l\n")]);
    git(&world, &["add", "staged"]);
    let (status, index) =
        (git(&world, &["status", "--porcelain"]), project::see(&world.project().join(".git")));
    let made = world.json(0, ["export", &session, "--git-branch", "ftl/one"]);
    assert_eq!(git(&world, &["rev-parse", "ftl/one"]), made["commit"].as_str().unwrap());
    assert_eq!(git(&world, &["rev-parse", "ftl/one~2"]), git(&world, &["rev-parse", "HEAD"]));
    let log = git(&world, &["log", "--format=%an <%ae> %cn|%s|%b", "-2", "ftl/one"]);
    let body = |turn: u32| format!("Turn {turn} of session {session}.");
    let expected = [
        format!("FTL <session@ftl.invalid> FTL|echo 2 >> a.txt|{}", body(2)),
        format!("FTL <session@ftl.invalid> FTL|echo 1 >> a.txt|echo second line > c.txt\n\n{}", body(1)),
    ];
    for one in expected {
        assert!(log.contains(&one), "{one} in {log}");
    }
    assert_eq!(git(&world, &["status", "--porcelain"]), status);
    assert_eq!(git(&world, &["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD", "still no branch");
    let after = project::see(&world.project().join(".git"));
    for name in ["index", "HEAD", "config"] {
        assert_eq!(after.get(name.as_bytes()), index.get(name.as_bytes()), "{name}");
    }
    assert!(!world.home().join("hook-ran").exists(), "a hook ran");
    // Again under another name: the same commits.
    let again = world.json(0, ["export", &session, "--git-branch", "ftl/two"]);
    assert_eq!(again["commit"], made["commit"]);
    let taken = world.run(["export", &session, "--git-branch", "ftl/one"]);
    assert_eq!(taken.code, 3, "{taken:#?}");
    assert!(taken.err.contains("there is a branch of that name"), "{taken:#?}");
}

#[test]
fn a_project_without_a_repository_exports_nothing() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let session = world.shell("echo 1 >> a.txt")["session"].as_str().unwrap().to_owned();
    let before = project::see(&world.project());
    let refused = world.run(["export", &session, "--git-branch", "x"]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.err.contains("the project has no repository"), "{refused:#?}");
    assert_eq!(project::see(&world.project()), before);
}
