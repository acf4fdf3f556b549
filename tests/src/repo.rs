//! Where this repository's files are.

use std::path::{Path, PathBuf};

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The directory that cargo built this test's programs into.
///
/// # Panics
/// When the running program is not where cargo puts tests.
#[must_use]
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("the running program has a path");
    let deps = test.parent().expect("it lies in a directory");
    let dir = if deps.ends_with("deps") {
        deps.parent().expect("deps lies in the profile's directory")
    } else {
        deps
    };
    for program in ["ftld", "ftlctl"] {
        let path = dir.join(program);
        assert!(path.exists(), "{} is not built: run `cargo build --workspace` first", path.display());
    }
    dir.to_owned()
}

/// What `tests/run` fetched: agents and tools.
#[must_use]
pub fn tools() -> PathBuf {
    std::env::var_os("FTL_TEST_TOOLS").map_or_else(|| root().join("target/test-tools"), PathBuf::from)
}

/// Every file that git tracks or would track.
///
/// # Panics
/// When git cannot list them.
#[must_use]
pub fn files() -> Vec<PathBuf> {
    let out = std::process::Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(out.status.success(), "git ls-files: {}", String::from_utf8_lossy(&out.stderr));
    let names = out.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let paths = names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()));
    paths.filter(|path| root().join(path).is_file()).collect()
}
