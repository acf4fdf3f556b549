//! The lines that were typed, from one shell to the next.
//!
//! Owns the file in `FTL_HOME` and what is not kept in it: lines that begin with a space, and lines with what looks
//! like a key. Only the human may read it. Must not know the editor or what a line means.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The file's name in `FTL_HOME`.
const FILE: &str = "shell_history";

/// Lines that are offered.
pub(super) const KEPT: usize = 1000;

/// Lines that the file may have before the old ones go.
const MOST: usize = 2 * KEPT;

/// Bytes of a line that are kept at most.
const LONGEST: usize = 16 * 1024;

/// Characters of a word from which on it may be a key.
const KEY: usize = 16;

/// Beginnings of vendors' keys.
const PREFIXES: [&str; 16] = [
    "sk-",
    "sk_",
    "rk_",
    "pk_live",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "AKIA",
    "ASIA",
    "AIza",
    "eyJ",
];

/// The history's file.
pub(super) struct History {
    path: PathBuf,
}

// === impl History ===

impl History {
    /// The history in this `FTL_HOME`.
    pub(super) fn new(ftl_home: &Path) -> Self {
        Self { path: ftl_home.join(FILE) }
    }

    /// The newest lines, oldest first; none when there is no file that can be read.
    pub(super) fn load(&self) -> Vec<String> {
        let Ok(file) = self.open(OpenOptions::new().read(true)) else { return Vec::new() };
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        let mut lines: Vec<String> = lines.filter_map(|line| serde_json::from_str(&line).ok()).collect();
        let is_long = lines.len() > MOST;
        lines.drain(..lines.len().saturating_sub(KEPT));
        if is_long {
            // What is not shortened now is at the next start.
            let _ = self.replace(&lines);
        }
        lines
    }

    /// Keeps a line, if it is one to keep, and says whether it did.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, line: &str) -> io::Result<bool> {
        if !is_kept(line) {
            return Ok(false);
        }
        let mut file = self.open(OpenOptions::new().append(true).create(true))?;
        // A file of another program, or from before, may have been open to others.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all((serde_json::to_string(line)? + "\n").as_bytes())?;
        Ok(true)
    }

    fn open(&self, options: &mut OpenOptions) -> io::Result<File> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = options.mode(0o600).custom_flags(flags).open(&self.path)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn replace(&self, lines: &[String]) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        // A temporary file is the human's own from its first moment.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        for line in lines {
            file.write_all((serde_json::to_string(line)? + "\n").as_bytes())?;
        }
        file.persist(&self.path)?;
        Ok(())
    }
}

/// Whether a line is kept.
pub(super) fn is_kept(line: &str) -> bool {
    let is_hidden = line.starts_with(char::is_whitespace);
    let ends = |char: char| char.is_whitespace() || "'\"=:,;()<>[]{}".contains(char);
    !is_hidden && !line.trim().is_empty() && line.len() <= LONGEST && !line.split(ends).any(is_like_a_key)
}

/// Whether a word looks like a credential: a vendor's beginning, or a long mixture that nobody types by hand.
fn is_like_a_key(word: &str) -> bool {
    if word.len() < KEY || word.contains(['/', '.']) && !word.starts_with("eyJ") {
        return false;
    }
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    PREFIXES.iter().any(|prefix| word.starts_with(prefix)) || is_mixed && word.len() >= 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_are_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        assert_eq!(history.load(), [""; 0]);
        assert!(history.keep("fix it").unwrap());
        assert!(history.keep("two\nrows").unwrap());
        assert!(!history.keep(" hidden").unwrap());
        assert_eq!(history.load(), ["fix it", "two\nrows"]);
        let path = dir.path().join(FILE);
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        history.keep("again").unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn an_old_history_is_shortened() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        let lines: Vec<String> = (0..=MOST).map(|number| format!("line {number}")).collect();
        history.replace(&lines).unwrap();
        assert_eq!(history.load(), lines[lines.len() - KEPT..]);
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(text.lines().count(), KEPT);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, dir.path().join(FILE)).unwrap();
        assert!(History::new(dir.path()).keep("x").is_err());
        assert_eq!(std::fs::read(&target).unwrap(), b"");
    }

    #[test]
    fn what_looks_like_a_key_is_not_kept() {
        for line in [
            concat!("use sk-", "ant-api03-abcdef"),
            concat!("KEY='gh", "p_0123456789abcdefghij'"),
            " x",
            "",
            "  ",
        ] {
            assert!(!is_kept(line), "{line}");
        }
        assert!(!is_kept("token Zx9Qw8Er7Ty6Ui5Op4As3Df2Gh1Jk0Lz"));
        for line in
            ["fix the skeleton", "rename is_like_a_key_of_a_vendor_in_the_history", "look at 3f1a9c0d22b7"]
        {
            assert!(is_kept(line), "{line}");
        }
    }
}
