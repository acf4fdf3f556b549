//! Reads programs, so that they are in memory when they are started.
//!
//! Owns which files those are. Runs none of them, and takes no time that anybody else wants. What cannot be read
//! is left: nothing depends on it.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Reads the programs that the arguments name, looked up as a shell would.
pub(crate) fn load() {
    // The other processes' turn comes first, for the disk too. It may be forbidden, and is then done as it is.
    let _ = rustix::process::nice(19);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut buffer = vec![0; CHUNK];
    for name in env::args_os().skip(2) {
        if let Some(program) = find(&name, &path) {
            let _ = read(&program, &mut buffer);
        }
    }
}

fn find(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    let name = Path::new(name);
    if name.is_absolute() {
        return Some(name.to_owned());
    }
    env::split_paths(path).map(|dir| dir.join(name)).find(|program| program.is_file())
}

fn read(program: &Path, buffer: &mut [u8]) -> io::Result<()> {
    let mut file = File::open(program)?;
    while file.read(buffer)? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_the_first_on_the_way() {
        let dir = std::env::temp_dir().join(format!("ftl-load-{}", std::process::id()));
        for part in ["a/x", "b", "c"] {
            std::fs::create_dir_all(dir.join(part)).unwrap();
        }
        for part in ["b/x", "c/x"] {
            std::fs::write(dir.join(part), "1").unwrap();
        }
        let path = std::env::join_paths(["a", "b", "c"].map(|part| dir.join(part))).unwrap();
        assert_eq!(find(OsStr::new("x"), &path), Some(dir.join("b/x")));
        assert_eq!(find(OsStr::new("y"), &path), None);
        assert_eq!(find(OsStr::new("/bin/z"), &path), Some("/bin/z".into()));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
