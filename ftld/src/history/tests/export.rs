//! Branches made from trees, looked at with the real Git.

use ftl_core::history::object::Id;
use ftl_core::history::stream::{Author, Step};

use super::*;

struct Texts(BTreeMap<Hash, Vec<u8>>);

impl Contents for Texts {
    fn copy(&self, hash: Hash, to: &mut dyn io::Write) -> io::Result<u64> {
        let bytes = self.0.get(&hash).ok_or_else(|| io::Error::other("missing"))?;
        to.write_all(bytes).map(|()| bytes.len() as u64)
    }
}

impl Texts {
    fn tree(&mut self, files: &[(&str, u32, &str)]) -> Tree {
        let node = |text: &str, mode: u32| Entry {
            node: Node::File { mode, size: text.len() as u64, hash: Hash::of(text.as_bytes()) },
            mtime_ns: 0,
        };
        self.0.extend(files.iter().map(|(_, _, text)| (Hash::of(text.as_bytes()), text.as_bytes().to_vec())));
        files.iter().map(|(path, mode, text)| (RelPath::new(*path).unwrap(), node(text, *mode))).collect()
    }
}

/// All files of a project with their contents, but one directory of Git's.
fn everything(bed: &Bed, but: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![bed.project()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(bed.project()).unwrap();
            if but.iter().any(|but| name.starts_with(but)) {
                continue;
            }
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_branch_has_a_commit_per_step_and_nothing_else_is_touched() {
    for format in ["sha1", "sha256"] {
        let bed = Bed::with(&["init", "-q", "-b", "main", &format!("--object-format={format}")]);
        let base = bed.commit(&[("a.txt", "one\n"), ("gone.txt", "x\n"), (".env", "TOKEN=1\n")]);
        bed.write("a.txt", "the user's own change\n");
        let mut texts = Texts(BTreeMap::new());
        let start = texts.tree(&[("a.txt", 0o644, "one\n"), ("gone.txt", 0o644, "x\n")]);
        let first = texts.tree(&[("a.txt", 0o644, "two\n"), ("gone.txt", 0o644, "x\n")]);
        let second = texts.tree(&[
            ("a.txt", 0o755, "two\n"),
            ("odd \"name\n\u{fc}", 0o644, "z\ndone\n"),
            (".env", 0o644, "SECRET=2\n"),
            ("x/.git/hooks/post-checkout", 0o755, "evil\n"),
        ]);
        let step = |before, after, message, seconds| Step { before, after, message, seconds };
        let steps = [
            step(&start, &first, "First turn", 1_700_000_000),
            step(&first, &second, "Second turn\n\nD a.txt\n", 1_700_000_100),
        ];
        let author = Author { name: "FTL".into(), email: "session@ftl.invalid".into() };
        let base_id = Id::from_hex(base.as_bytes());
        let wanted = Export { branch: "ftl/try", base: base_id, steps: &steps, author: &author };
        let but = [".git/objects", ".git/refs/heads/ftl"];
        let before = everything(&bed, &but);
        let exported = bed.history.export(&bed.project(), &wanted, &texts).unwrap();
        assert_eq!(everything(&bed, &but), before);
        bed.git(&["fsck", "--full", "--strict"]);
        assert_eq!(bed.git(&["rev-parse", "ftl/try"]), exported.tip.to_string());
        assert_eq!(
            bed.git(&["log", "--format=%s|%an|%ct", "main..ftl/try"]),
            "Second turn|FTL|1700000100\nFirst turn|FTL|1700000000"
        );
        assert_eq!(
            bed.git(&[
                "-c",
                "core.quotePath=true",
                "ls-tree",
                "-r",
                "--format=%(objectmode) %(path)",
                "ftl/try"
            ]),
            "100644 .env\n100755 a.txt\n100644 \"odd \\\"name\\n\\303\\274\""
        );
        assert_eq!(bed.git(&["show", "ftl/try:.env"]), "TOKEN=1");
        // Never twice, never over anything.
        for branch in ["ftl/try", "ftl", "ftl/try/x", "main", "HEAD", "../x", "-x", "a b", ""] {
            let error = bed.history.export(&bed.project(), &Export { branch, ..wanted }, &texts).unwrap_err();
            assert!(matches!(error, HistoryError::Branch { .. }), "{branch}: {error}");
        }
        assert_eq!(everything(&bed, &but), before);
        bed.git(&["pack-refs", "--all"]);
        assert!(bed.history.export(&bed.project(), &wanted, &texts).is_err());
    }
}

#[test]
fn a_content_that_is_missing_leaves_no_branch_and_no_hook_runs() {
    let bed = Bed::new();
    let base = bed.commit(&[("a.txt", "one\n")]);
    let hook = bed.project().join(".git/hooks/reference-transaction");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let trace = bed.root().join("trace");
    fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", trace.display())).unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut texts = Texts(BTreeMap::new());
    let (start, after) = (Tree::new(), texts.tree(&[("b.txt", 0o644, "two\n")]));
    let steps = [Step { before: &start, after: &after, message: "m", seconds: 1 }];
    let author = Author { name: "F".into(), email: "f@ftl.invalid".into() };
    let base = Id::from_hex(base.as_bytes());
    let wanted = Export { branch: "x", base, steps: &steps, author: &author };
    assert!(bed.history.export(&bed.project(), &wanted, &Texts(BTreeMap::new())).is_err());
    assert_eq!(bed.git(&["branch", "--format=%(refname)"]), "refs/heads/main");
    bed.history.export(&bed.project(), &wanted, &texts).unwrap();
    assert_eq!(bed.git(&["ls-tree", "-r", "--name-only", "x"]), "a.txt\nb.txt");
    assert!(!trace.exists());
}
