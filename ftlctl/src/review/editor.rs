//! The human's editor, for a few lines.
//!
//! Owns the temporary file and how the editor is started. Must not know what is edited. The file's name has
//! nothing of the session's but an ending of letters and digits.

use std::ffi::OsStr;
use std::io::{self, Write as _};

use tokio::process::Command;

use crate::context::Context;

/// Characters of an ending at most.
const ENDING: usize = 10;

/// Lets the human edit the bytes. Gives the new ones; nothing when they are the same or the editor failed.
pub(super) async fn edit(context: &Context, bytes: &[u8], path: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut file = tempfile::Builder::new()
        .prefix("ftl-hunk-")
        .suffix(&ending(path))
        .tempfile_in(&context.environment.temp)?;
    file.write_all(bytes)?;
    file.flush()?;
    let mut command = OsStr::new(&context.environment.editor).to_os_string();
    command.push(" \"$@\"");
    // As Git does: the variable may have options in it.
    let status = Command::new("/bin/sh").arg("-c").arg(command).arg("sh").arg(file.path()).status().await?;
    if !status.success() {
        return Err(io::Error::other(format!("the editor ended with {status}")));
    }
    // Many editors write another file and rename it, so it is read by its name.
    let after = std::fs::read(file.path())?;
    Ok((after != bytes).then_some(after))
}

/// What editors know a language by.
fn ending(path: &[u8]) -> String {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let ending = name.iter().rposition(|byte| *byte == b'.').map(|at| &name[at + 1..]).unwrap_or_default();
    let is_plain = ending.len() <= ENDING && ending.iter().all(u8::is_ascii_alphanumeric);
    if ending.is_empty() || !is_plain {
        return String::new();
    }
    format!(".{}", String::from_utf8_lossy(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_only_a_plain_ending() {
        let table: [(&[u8], &str); 6] = [
            (b"src/a.rs", ".rs"),
            (b"Makefile", ""),
            (b"a.b/c", ""),
            (b"x.$(id)", ""),
            (b"x.\x1b[2J", ""),
            (b"x.averylongending", ""),
        ];
        for (path, expected) in table {
            assert_eq!(ending(path), expected);
        }
    }
}
