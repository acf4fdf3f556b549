//! The demo's project: its files, the script that changes them, and what stands there afterwards.
//!
//! Owns a fresh temporary directory. Must not know the daemon.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A file of the project.
pub(super) struct SampleFile {
    /// Its name.
    pub(super) name: &'static str,
    /// What it is, in a few words.
    pub(super) about: &'static str,
    content: &'static str,
}

/// The files, all with mode 0644.
pub(super) const FILES: [SampleFile; 5] = [
    SampleFile {
        name: "average.sh",
        about: "divides by two, however many numbers there are",
        content: AVERAGE,
    },
    SampleFile { name: "check.sh", about: "a test that fails, and is not executable", content: CHECK },
    SampleFile { name: "README.md", about: "how to use it", content: README },
    SampleFile { name: "TODO.txt", about: "what there is to do", content: "Find out why check.sh fails.\n" },
    SampleFile { name: "LICENSE", about: "public domain", content: "Do with it what you like.\n" },
];

/// The file with the bug.
pub(super) const FIXED: &str = "average.sh";

const AVERAGE: &str = r#"#!/bin/sh
# Prints the average of the whole numbers it is given.
sum=0
for number in "$@"; do
    sum=$((sum + number))
done
echo $((sum / 2))
"#;

const CHECK: &str = r#"#!/bin/sh
# Says whether average.sh is right.
test "$(sh average.sh 1 2 3 4 5)" = 3 && echo "right" || { echo "wrong"; exit 1; }
"#;

const README: &str = "# average\n\n    sh average.sh 1 2 3\n\nprints the average of the numbers.\n";

/// What the scripted agent does: repairs a file, changes a mode, adds a file and deletes one.
pub(super) const SCRIPT: &str = r#"set -eu
echo "Before: $(sh check.sh || true)"

sed 's|sum / 2|sum / $#|' average.sh > average.new
cat average.new > average.sh
rm average.new

chmod 755 check.sh
echo "After: $(./check.sh)"

cat > CHANGELOG.md <<'END'
# Changes

- The average of more or less than two numbers is right.
END
rm TODO.txt
"#;

/// The project on disk; removed when dropped.
pub(super) struct Sample {
    root: PathBuf,
}

/// What stands at every path.
pub(super) type Tree = BTreeMap<String, Found>;

/// What stands at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Kind and permission bits.
    mode: u32,
    /// The content, of files.
    pub(super) content: Vec<u8>,
}

// === impl Sample ===

impl Sample {
    /// Writes the project into a new directory below `temp`.
    pub(super) fn create(temp: &Path) -> io::Result<Self> {
        // The daemon is told a path without symbolic links.
        let temp = fs::canonicalize(temp)?;
        let sample = Self { root: fresh(&temp)? };
        for file in &FILES {
            let path = sample.root.join(file.name);
            fs::write(&path, file.content)?;
            // Set, not only asked for: the umask must not decide what the demo shows.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        }
        Ok(sample)
    }

    /// The project's directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Every path with its mode and content.
    pub(super) fn read(&self) -> io::Result<Tree> {
        let mut tree = Tree::new();
        read_into(&self.root, "", &mut tree)?;
        Ok(tree)
    }

    /// Removes the project and says so when that fails.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.root)
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // Fails after `remove`, and then there is nothing left to do.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A directory that did not exist and that only its owner can read.
fn fresh(temp: &Path) -> io::Result<PathBuf> {
    for number in 0..1000 {
        let root = temp.join(format!("ftl-demo-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&root) {
            Ok(()) => return Ok(root),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn read_into(dir: &Path, prefix: &str, tree: &mut Tree) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let found = entry.metadata()?;
        let content = if found.is_file() {
            fs::read(entry.path())?
        } else if found.is_symlink() {
            crate::project::bytes(&fs::read_link(entry.path())?)
        } else {
            Vec::new()
        };
        if found.is_dir() {
            read_into(&entry.path(), &format!("{name}/"), tree)?;
        }
        tree.insert(name, Found { mode: found.permissions().mode(), content });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_script_does_what_the_story_says() {
        let temp = tempfile::tempdir().unwrap();
        let sample = Sample::create(temp.path()).unwrap();
        let before = sample.read().unwrap();
        assert_eq!(before.len(), FILES.len());
        let run = Command::new("/bin/sh").arg("-c").arg(SCRIPT).current_dir(sample.root()).output().unwrap();
        assert!(run.status.success(), "{run:?}");
        assert_eq!(String::from_utf8(run.stdout).unwrap(), "Before: wrong\nAfter: right\n");
        let after = sample.read().unwrap();
        let names: Vec<&str> = after.keys().map(String::as_str).collect();
        assert_eq!(names, ["CHANGELOG.md", "LICENSE", "README.md", "average.sh", "check.sh"]);
        assert_ne!(after[FIXED].content, before[FIXED].content);
        assert_eq!(after["check.sh"].content, before["check.sh"].content);
        assert_eq!((before["check.sh"].mode & 0o777, after["check.sh"].mode & 0o777), (0o644, 0o755));
    }

    #[test]
    fn nothing_is_left_behind() {
        let temp = tempfile::tempdir().unwrap();
        let first = Sample::create(temp.path()).unwrap();
        let second = Sample::create(temp.path()).unwrap();
        assert_ne!(first.root(), second.root());
        first.remove().unwrap();
        drop(second);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
