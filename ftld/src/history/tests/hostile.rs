//! Repositories that somebody made to hurt whoever reads them.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// A program that leaves a trace when it is run.
fn trap(bed: &Bed) -> (String, PathBuf) {
    let (trap, trace) = (bed.root().join("trap"), bed.root().join("trace"));
    fs::write(&trap, format!("#!/bin/sh\ntouch {}\ncat\n", trace.display())).unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
    (trap.to_str().unwrap().to_owned(), trace)
}

#[test]
fn nothing_that_a_repository_names_is_run() {
    let bed = Bed::new();
    bed.commit(&[("a.txt", "one\n"), (".gitattributes", "* filter=f diff=d\n")]);
    let (trap, trace) = trap(&bed);
    let config = format!(
        "[core]\n\tfsmonitor = {trap}\n\thooksPath = {0}\n\tpager = {trap}\n\tsshCommand = {trap}\n\
         \talternateRefsCommand = {trap}\n\teditor = {trap}\n\
         [alias]\n\tcat-file = !{trap}\n\tpack-objects = !{trap}\n[filter \"f\"]\n\tclean = {trap}\n\
         \tsmudge = {trap}\n\tprocess = {trap}\n[diff \"d\"]\n\ttextconv = {trap}\n\tcommand = {trap}\n\
         [uploadpack]\n\tpackObjectsHook = {trap}\n[credential]\n\thelper = !{trap}\n\
         [remote \"o\"]\n\turl = ext::{trap}\n\tpromisor = true\n[include]\n\tpath = /etc/passwd\n",
        bed.root().display()
    );
    fs::write(bed.project().join(".git/config"), config).unwrap();
    let hooks = bed.project().join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for hook in ["post-index-change", "reference-transaction", "pre-commit", "fsmonitor-watchman"] {
        symlink(&trap, hooks.join(hook)).unwrap();
        symlink(&trap, bed.root().join(hook)).unwrap();
    }
    bed.advance();
    let session = bed.seed();
    session.git(&["log", "-p"]);
    session.git(&["status"]);
    assert!(!trace.exists());
}

#[test]
fn other_repositories_are_not_reached_through_this_one() {
    let bed = Bed::new();
    bed.commit(&[("a.txt", "one\n")]);
    let other = bed.root().join("other");
    git(&bed.root(), &["init", "-q", "-b", "main", "other"]);
    fs::write(other.join("x"), "hunter2\n").unwrap();
    git(&other, &["add", "x"]);
    git(&other, &["commit", "-q", "-m", "x"]);
    git(&other, &["worktree", "add", "-q", "../tree"]);
    let project = bed.project();
    let own = project.join(".git");
    let refused = || match bed.advance_with(&project, Depth::Recent) {
        Err(HistoryError::Refused { why }) => why,
        other => panic!("{other:?}"),
    };
    let aside = bed.root().join("aside");
    fs::rename(&own, &aside).unwrap();
    for target in [other.join(".git"), other.join(".git/worktrees/tree"), "/etc".into()] {
        fs::write(&own, format!("gitdir: {}\n", target.display())).unwrap();
        assert_eq!(refused(), "its .git names a directory that does not name this project in turn");
    }
    fs::write(&own, "gitdir: ../nowhere\n").unwrap();
    refused();
    fs::remove_file(&own).unwrap();
    symlink(other.join(".git"), &own).unwrap();
    assert_eq!(refused(), "its .git is a link");
    fs::remove_file(&own).unwrap();
    fs::rename(&aside, &own).unwrap();
    fs::rename(own.join("objects"), own.join("real")).unwrap();
    symlink(other.join(".git/objects"), own.join("objects")).unwrap();
    assert_eq!(refused(), "its directory of objects is a link");
    fs::remove_file(own.join("objects")).unwrap();
    fs::rename(own.join("real"), own.join("objects")).unwrap();
    // What it borrows from must be a repository's; a project's other links lead nowhere.
    fs::create_dir_all(own.join("objects/info")).unwrap();
    let fake = bed.root().join("fake/objects");
    fs::create_dir_all(&fake).unwrap();
    let lenders = format!("/etc\n../../../../../etc\n{}\n/nowhere/objects\n# note\n", fake.display());
    fs::write(own.join("objects/info/alternates"), lenders).unwrap();
    symlink(other.join(".git/refs/heads"), own.join("refs/heads/linked")).unwrap();
    symlink("/etc/passwd", own.join("refs/heads/file")).unwrap();
    let advanced = bed.advance();
    assert_eq!(advanced.notices.len(), 4, "{advanced:?}");
    let session = bed.seed();
    assert_eq!(session.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    assert!(!bed.holds("hunter2"));
}

#[test]
fn references_with_odd_names_and_odd_files_are_left_out() {
    let bed = Bed::new();
    let tip = bed.commit(&[("a.txt", "one\n")]);
    let own = bed.project().join(".git");
    let blob = bed.git(&["rev-parse", "HEAD:a.txt"]);
    let missing = "1".repeat(40);
    let packed = format!(
        "# pack-refs with: peeled fully-peeled sorted\n{tip} refs/heads/../../evil\n{tip} refs/heads/good\n\
         {tip} refs/heads/a b\n{tip} refs/stash\n{tip} refs/remotes/o/x\n{blob} refs/tags/blob\n\
         {missing} refs/heads/missing\n{tip} ../../../etc/x\nrubbish\n"
    );
    fs::write(own.join("packed-refs"), packed).unwrap();
    fs::write(own.join("refs/heads/-x"), format!("{tip}\n")).unwrap();
    fs::write(own.join("refs/heads/sym"), "ref: refs/heads/../../../etc/passwd\n").unwrap();
    fs::write(own.join("refs/heads/long"), "x".repeat(100_000)).unwrap();
    let fifo = own.join("refs/heads/fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    bed.advance();
    let session = bed.seed();
    assert_eq!(session.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/good\nrefs/heads/main");
    // `HEAD` as a link, as it once was, and as one that leads away.
    fs::remove_file(own.join("HEAD")).unwrap();
    symlink("refs/heads/good", own.join("HEAD")).unwrap();
    bed.advance();
    assert_eq!(bed.seed().git(&["branch", "--show-current"]), "good");
    fs::remove_file(own.join("HEAD")).unwrap();
    symlink("/etc/passwd", own.join("HEAD")).unwrap();
    assert!(matches!(
        bed.advance_with(&bed.project(), Depth::Recent),
        Err(HistoryError::Refused { why: "its HEAD names neither a branch nor a commit" })
    ));
}

#[test]
fn a_flood_of_references_is_bounded_and_told() {
    let bed = Bed::new();
    let tip = bed.commit(&[("a.txt", "one\n")]);
    let lines: String = (0..30_000).map(|number| format!("{tip} refs/tags/t{number:05}\n")).collect();
    fs::write(bed.project().join(".git/packed-refs"), lines).unwrap();
    let advanced = bed.advance();
    assert_eq!(advanced.notices, ["it has more than 20000 references; some are left out"]);
    assert_eq!(bed.seed().git(&["rev-parse", "HEAD"]), tip);
}

#[test]
fn a_damaged_repository_is_an_error_and_the_view_stays() {
    let bed = Bed::new();
    bed.commit(&[("a.txt", "one\n")]);
    bed.advance();
    let before = bed.seed().git(&["rev-parse", "HEAD"]);
    let blob = bed.commit(&[("a.txt", "two\n")]);
    let object = bed.project().join(".git/objects").join(&blob[..2]).join(&blob[2..]);
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, "rubbish").unwrap();
    let _error_or_nothing_new = bed.advance_with(&bed.project(), Depth::Recent);
    assert!(bed.history.view(&bed.project()).is_some());
    let session = bed.seed();
    assert_eq!(session.git(&["log", "--all", "--format=%H", &before]).lines().last(), Some(before.as_str()));
}

#[test]
fn git_is_stopped_when_its_time_is_up() {
    let bed = Bed::new();
    bed.commit(&[("a.txt", "one\n")]);
    let slow = bed.root().join("slow");
    fs::write(&slow, "#!/bin/sh\nexec /bin/sleep 600\n").unwrap();
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    let mut history = History::new(bed.root().join("other"), Some(slow), None);
    history.limit = Duration::from_millis(50);
    let keep = Keep { rule: &|_, _| false, digest: Hash::of(b"") };
    let error = history.advance(&bed.project(), Depth::Recent, &keep).unwrap_err();
    assert!(matches!(error, HistoryError::TooLong), "{error}");
}
