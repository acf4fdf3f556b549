//! Views of real repositories, looked at with the real Git.

mod export;
mod hostile;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ftl_core::history::Depth;
use ftl_core::id::Hash;
use ftl_core::tree::{Entry, Node, RelPath, Tree};

use super::*;

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n";

struct Bed {
    dir: tempfile::TempDir,
    history: History,
}

/// A session's directory of Git over an empty or filled working tree.
struct Seeded {
    dir: PathBuf,
    objects: PathBuf,
}

fn program() -> PathBuf {
    find_program(&std::env::var_os("PATH").unwrap_or_default()).expect("git is installed")
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.current_dir(dir).args(args).env_clear().env("PATH", "/usr/bin:/bin");
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "A"),
        ("GIT_AUTHOR_EMAIL", "a@example.com"),
        ("GIT_COMMITTER_NAME", "A"),
        ("GIT_COMMITTER_EMAIL", "a@example.com"),
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C"),
    ] {
        command.env(name, value);
    }
    command
}

fn text(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn git(dir: &Path, args: &[&str]) -> String {
    text(&command(dir, args).output().unwrap())
}

impl Bed {
    fn new() -> Self {
        Self::with(&["init", "-q", "-b", "main"])
    }

    fn with(init: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("project")).unwrap();
        git(&root.join("project"), init);
        let history = History::new(root.join("history"), Some(program()), None);
        Self { dir, history }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn project(&self) -> PathBuf {
        self.root().join("project")
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.project(), args)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.project().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Commits these files beside what is there.
    fn commit(&self, files: &[(&str, &str)]) -> String {
        files.iter().for_each(|(path, content)| self.write(path, content));
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Many commits at once.
    fn commits(&self, count: usize) {
        let mut stream = String::from("reset refs/heads/main\n\n");
        for number in 0..count {
            stream.push_str(&format!(
                "commit refs/heads/main\ncommitter A <a@example.com> {} +0000\ndata 1\nx\n\
                 M 100644 inline f\ndata {}\n{number}\n",
                1_700_000_000 + number,
                number.to_string().len()
            ));
        }
        let input = self.root().join("stream");
        fs::write(&input, stream).unwrap();
        let mut import = command(&self.project(), &["fast-import", "--quiet", "--force"]);
        text(&import.stdin(fs::File::open(input).unwrap()).output().unwrap());
        self.git(&["reset", "-q", "--hard"]);
    }

    fn advance_with(&self, project: &Path, depth: Depth) -> Result<Option<Advanced>, HistoryError> {
        let keep = Keep { rule: &|_, _| false, digest: Hash::of(b"none") };
        self.history.advance(project, depth, &keep)
    }

    fn advance(&self) -> Advanced {
        self.advance_with(&self.project(), Depth::Recent).unwrap().unwrap()
    }

    fn view(&self) -> View {
        self.history.view(&self.project()).unwrap()
    }

    fn seed(&self) -> Seeded {
        self.seed_from(&self.project())
    }

    /// A session over a copy of what FTL would take of the project.
    fn seed_from(&self, project: &Path) -> Seeded {
        let view = self.history.view(project).unwrap();
        let dir = self.root().join(format!("session{}", fs::read_dir(self.root()).unwrap().count()));
        fs::create_dir(&dir).unwrap();
        let mut base = Tree::new();
        copy(project, &dir, None, &mut base);
        self.history.seed(&view, project, &base, &dir.join(".git")).unwrap();
        Seeded { dir, objects: view.objects() }
    }

    /// Whether a text is anywhere in the view, looked for in every object.
    fn holds(&self, text: &str) -> bool {
        let seeded = self.seed();
        let all = seeded.git(&["cat-file", "--batch-all-objects", "--batch-check", "--unordered"]);
        all.lines().any(|line| {
            let id = line.split(' ').next().unwrap();
            let mut show = seeded.command(&["cat-file", "--batch"]);
            let input = seeded.dir.join("id");
            fs::write(&input, format!("{id}\n")).unwrap();
            let shown = show.stdin(fs::File::open(input).unwrap()).env("GIT_NO_REPLACE_OBJECTS", "1");
            String::from_utf8_lossy(&shown.output().unwrap().stdout).contains(text)
        })
    }
}

/// Copies files as a base tree has them: content, mode and time, without `.git` and `.env`.
fn copy(from: &Path, to: &Path, at: Option<&RelPath>, base: &mut Tree) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        let name = entry.file_name();
        let path = RelPath::under(at, name.as_encoded_bytes()).unwrap();
        let (source, target) = (entry.path(), to.join(&name));
        let meta = source.symlink_metadata().unwrap();
        if name == ".git" || name == ".env" {
            continue;
        }
        let mtime_ns = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
        let node = if meta.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&source, &target, Some(&path), base);
            Node::Dir { mode: meta.mode() & 0o777 }
        } else {
            fs::copy(&source, &target).unwrap();
            fs::File::open(&target).unwrap().set_modified(meta.modified().unwrap()).unwrap();
            Node::File { mode: meta.mode() & 0o777, size: meta.len(), hash: Hash::of(b"") }
        };
        base.insert(&path, Entry { node, mtime_ns });
    }
}

impl Seeded {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(&self.dir, args);
        // In a sandbox the alternate is at its own place.
        command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &self.objects);
        command
    }

    fn git(&self, args: &[&str]) -> String {
        text(&self.command(args).output().unwrap())
    }
}

#[test]
fn a_session_sees_the_history_as_it_is() {
    for init in [&["init", "-q", "-b", "main"][..], &["init", "-q", "-b", "main", "--object-format=sha256"]] {
        let bed = Bed::with(init);
        bed.commit(&[("a.txt", "one\n"), ("src/b.rs", "fn b() {}\n"), ("large", &"large\n".repeat(500_000))]);
        bed.git(&["tag", "-a", "v1", "-m", "first"]);
        bed.git(&["tag", "light"]);
        bed.git(&["branch", "side"]);
        bed.commit(&[("a.txt", "one\ntwo\n")]);
        bed.git(&["checkout", "-q", "side"]);
        bed.commit(&[("c.txt", "side\n")]);
        bed.git(&["checkout", "-q", "main"]);
        bed.git(&["merge", "-q", "--no-ff", "-m", "merge", "side"]);
        bed.git(&["pack-refs", "--all"]);
        bed.git(&["config", "remote.origin.url", "https://ada:hunter2@example.com/x.git"]);
        assert_eq!(bed.advance(), Advanced { done: true, notices: vec![] });
        let session = bed.seed();
        for args in [
            &["log", "--format=%H %s %an", "--all", "--date-order"][..],
            &["log", "-p", "--format=%H"],
            &["blame", "-l", "a.txt"],
            &["show-ref", "--head", "--dereference"],
            &["status", "--porcelain=v2", "--branch"],
            &["diff", "v1", "HEAD"],
            &["describe", "--always", "--tags"],
        ] {
            assert_eq!(session.git(args), bed.git(args), "{args:?}");
        }
        assert_eq!(session.git(&["status", "--porcelain"]), "");
        session.git(&["fsck", "--full", "--strict"]);
        let config = fs::read_to_string(session.dir.join(".git/config")).unwrap();
        assert!(!config.contains("hunter2") && !session.dir.join(".git/hooks").exists());
    }
}

#[test]
fn what_is_uncommitted_shows_and_the_rest_is_known_without_reading() {
    let bed = Bed::new();
    bed.write("b.txt", "two\n");
    // Long ago: what was written a moment ago Git reads in any case.
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(bed.project().join("b.txt")).unwrap().set_modified(long_ago).unwrap();
    bed.commit(&[("a.txt", "one\n"), ("c.txt", "three\n")]);
    bed.write("a.txt", "changed\n");
    bed.write("new.txt", "new\n");
    fs::remove_file(bed.project().join("c.txt")).unwrap();
    bed.advance();
    let session = bed.seed();
    assert_eq!(session.git(&["status", "--porcelain"]), " M a.txt\n D c.txt\n?? new.txt");
    // A content that nobody looked at: the index says that it is as before.
    let b = session.dir.join("b.txt");
    let time = b.metadata().unwrap().modified().unwrap();
    fs::write(&b, "TWO\n").unwrap();
    fs::File::open(&b).unwrap().set_modified(time).unwrap();
    assert_eq!(session.git(&["diff-files", "--name-only", "b.txt"]), "");
    fs::write(&b, "TWO and more\n").unwrap();
    assert_eq!(session.git(&["diff-files", "--name-only", "b.txt"]), "b.txt");
}

#[test]
fn contents_that_are_kept_out_are_not_in_any_object_and_git_goes_on() {
    let bed = Bed::new();
    bed.commit(&[(".env", "TOKEN=hunter2\n"), ("a.txt", "one\n"), ("key.txt", KEY)]);
    bed.commit(&[(".env", "TOKEN=hunter3\n"), ("a.txt", "two\n"), ("deploy/x.pem", "hunter4\n")]);
    bed.git(&["rm", "-q", "key.txt", "deploy/x.pem"]);
    bed.commit(&[("a.txt", "three\n"), ("doc/copied.md", "TOKEN=hunter2\n")]);
    bed.advance();
    for secret in ["hunter2", "hunter3", "hunter4", "MIIEvQ"] {
        assert!(!bed.holds(secret), "{secret}");
    }
    assert!(bed.holds("three"));
    let session = bed.seed();
    assert_eq!(session.git(&["log", "--format=%H"]), bed.git(&["log", "--format=%H"]));
    let patches = session.git(&["log", "-p", "--stat"]);
    assert!(patches.contains("keeps the content") && patches.contains("+three"), "{patches}");
    assert!(session.git(&["blame", "a.txt"]).contains("three"));
    assert!(session.git(&["blame", "HEAD", "--", ".env"]).contains("keeps the content"));
    assert_eq!(session.git(&["status", "--porcelain"]), "");
    assert!(!session.git(&["grep", "-h", "-e", "keeps", "-e", "hunter", "HEAD"]).contains("hunter"));
    // The agent may commit; the file that it does not see stays as it is.
    fs::write(session.dir.join("a.txt"), "four\n").unwrap();
    session.git(&["commit", "-q", "-a", "-m", "mine"]);
    assert_eq!(
        session.git(&["rev-parse", "HEAD:.env"]),
        bed.git(&["rev-parse", "HEAD:.env"]),
        "the commit keeps what is withheld"
    );
    session.git(&["gc", "-q"]);
    session.git(&["stash", "list"]);
    // Nor does a file in its place, with other content, show up or get lost.
    fs::write(session.dir.join(".env"), "TOKEN=shadow\n").unwrap();
    assert_eq!(session.git(&["status", "--porcelain"]), "");
    assert!(bed.git(&["log", "--format=%s"]).lines().all(|subject| subject == "change"));
}

#[test]
fn a_projects_own_rules_count_and_other_rules_make_another_view() {
    let bed = Bed::new();
    bed.commit(&[("internal/plan.md", "hunter2\n"), ("a.txt", "one\n")]);
    bed.advance();
    assert!(bed.holds("hunter2"));
    let rule = |path: &RelPath, _: bool| path.as_bytes() == b"internal";
    let keep = Keep { rule: &rule, digest: Hash::of(b"internal") };
    bed.history.advance(&bed.project(), Depth::Recent, &keep).unwrap();
    assert!(!bed.holds("hunter2"));
    assert_eq!(bed.view().withheld(), 1);
}

#[test]
fn a_view_follows_the_project_and_takes_back_what_turns_out_to_be_secret() {
    let bed = Bed::new();
    bed.commit(&[("prod.txt", "TOKEN=hunter2\n")]);
    bed.advance();
    let packs = || fs::read_dir(bed.view().objects().join("pack")).unwrap().count();
    let before = packs();
    bed.advance();
    assert_eq!(packs(), before, "nothing new, nothing done");
    for number in 0..20 {
        let tip = bed.commit(&[("a.txt", &number.to_string())]);
        bed.advance();
        assert_eq!(bed.seed().git(&["rev-parse", "HEAD"]), tip);
    }
    assert!(packs() < 20 * 3, "packs become one");
    bed.seed().git(&["fsck"]);
    assert!(bed.holds("hunter2"));
    bed.git(&["mv", "prod.txt", ".env"]);
    bed.commit(&[]);
    bed.advance();
    assert!(!bed.holds("hunter2"));
}

#[test]
fn a_long_history_is_cut_first_and_completed_later() {
    let bed = Bed::new();
    bed.commits(2500);
    assert!(bed.advance().done && bed.view().is_cut());
    let session = bed.seed();
    assert_eq!(session.git(&["rev-list", "--count", "HEAD"]), "1000");
    assert_eq!(session.git(&["log", "-1", "--format=%H"]), bed.git(&["log", "-1", "--format=%H"]));
    session.git(&["fsck"]);
    let full = bed.advance_with(&bed.project(), Depth::Full).unwrap().unwrap();
    assert!(full.done && !bed.view().is_cut());
    let session = bed.seed();
    assert_eq!(session.git(&["rev-list", "--count", "HEAD"]), "2500");
    session.git(&["fsck"]);
}

#[test]
fn worktrees_shallow_clones_and_heads_of_every_kind_are_seen() {
    let bed = Bed::new();
    // Nothing committed yet.
    bed.advance();
    assert!(bed.seed().git(&["status"]).contains("No commits yet"));
    for number in 0..4 {
        bed.commit(&[("a.txt", &number.to_string())]);
    }
    // A worktree, on a branch of its own.
    let tree = bed.root().join("tree");
    bed.git(&["worktree", "add", "-q", "-b", "other", tree.to_str().unwrap()]);
    bed.advance_with(&tree, Depth::Recent).unwrap().unwrap();
    let session = bed.seed_from(&tree);
    assert_eq!(session.git(&["branch", "--show-current"]), "other");
    assert_eq!(session.git(&["status", "--porcelain"]), "");
    // A shallow clone, complete as far as it goes.
    let url = format!("file://{}", bed.project().display());
    git(&bed.root(), &["clone", "-q", "--depth", "2", &url, "shallow"]);
    let shallow = bed.root().join("shallow");
    assert!(bed.advance_with(&shallow, Depth::Full).unwrap().unwrap().done);
    assert_eq!(bed.seed_from(&shallow).git(&["rev-list", "--count", "HEAD"]), "2");
    // One that borrows its objects.
    git(&bed.root(), &["clone", "-q", "--shared", "project", "shared"]);
    let shared = bed.root().join("shared");
    assert_eq!(bed.advance_with(&shared, Depth::Recent).unwrap().unwrap().notices, [""; 0]);
    assert_eq!(bed.seed_from(&shared).git(&["rev-list", "--count", "HEAD"]), "4");
    // A commit that is on no branch.
    bed.git(&["checkout", "-q", "--detach", "HEAD~1"]);
    bed.advance();
    assert_eq!(bed.seed().git(&["rev-parse", "HEAD"]), bed.git(&["rev-parse", "HEAD"]));
}

#[test]
fn without_git_or_a_repository_there_is_a_reason() {
    let bed = Bed::new();
    let without = History::new(bed.root().join("other"), None, None);
    let keep = Keep { rule: &|_, _| false, digest: Hash::of(b"") };
    let error = without.advance(&bed.project(), Depth::Recent, &keep).unwrap_err();
    assert!(matches!(error, HistoryError::NoGit));
    fs::remove_dir_all(bed.project().join(".git")).unwrap();
    assert!(bed.advance_with(&bed.project(), Depth::Recent).unwrap().is_none());
    assert_eq!(
        find_program(&OsString::from("relative")).is_some(),
        USUAL.iter().any(|dir| { Path::new(dir).join("git").is_file() })
    );
}

#[test]
fn the_view_of_a_project_that_is_gone_goes_unless_somebody_uses_it() {
    let bed = Bed::new();
    bed.commit(&[("a", "1")]);
    bed.advance();
    let (project, none) = (bed.project(), BTreeSet::new());
    assert_eq!(bed.history.orphans(&none).unwrap(), Vec::<PathBuf>::new());
    fs::rename(&project, bed.root().join("moved")).unwrap();
    assert_eq!(bed.history.orphans(&BTreeSet::from([project.clone()])).unwrap(), Vec::<PathBuf>::new());
    assert_eq!(bed.history.orphans(&none).unwrap(), std::slice::from_ref(&project));
    bed.history.forget(&project).unwrap();
    assert!(bed.history.view(&project).is_none());
    assert_eq!(fs::read_dir(bed.root().join("history")).unwrap().count(), 0);
    // One that comes back is read again.
    fs::rename(bed.root().join("moved"), &project).unwrap();
    bed.advance();
    // A view that does not say whose it is learns it.
    fs::remove_file(bed.history.place(&project).join(PROJECT)).unwrap();
    bed.advance();
    fs::remove_dir_all(&project).unwrap();
    assert_eq!(bed.history.orphans(&none).unwrap(), [project]);
}
