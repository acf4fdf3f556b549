//! The log's segments: files of whole lines, one after the other.
//!
//! Owns their names and how their lines are read, forwards and backwards, in pieces. Must not know what a
//! line says.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{AuditError, io};

/// What is read backwards at a time, bytes.
const PIECE: u64 = 64 * 1024;

/// A segment as far as it is to be read.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) len: u64,
}

/// Where a segment lies.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log-{number:06}.jsonl"))
}

/// The segments that are there, the oldest first.
pub(super) fn all(dir: &Path) -> Result<Vec<Segment>, AuditError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io("list", dir))? {
        let entry = entry.map_err(io("list", dir))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("log-")?.strip_suffix(".jsonl"));
        let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
        let path = entry.path();
        if path != self::path(dir, number) {
            continue;
        }
        let meta = std::fs::symlink_metadata(&path).map_err(io("read", &path))?;
        if !meta.is_file() {
            return Err(AuditError::Damaged { path, what: "it is no plain file".to_owned() });
        }
        found.push(Segment { number, path, len: meta.len() });
    }
    found.sort_by_key(|segment| segment.number);
    Ok(found)
}

impl Segment {
    /// Every line that is not empty, without its end, the first one first.
    pub(super) fn forwards(
        &self,
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, AuditError> {
        let file = File::open(&self.path).map_err(io("open", &self.path))?;
        let mut lines = BufReader::with_capacity(64 * 1024, file.take(self.len));
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(io("read", &self.path))? == 0 {
                return Ok(ControlFlow::Continue(()));
            }
            let whole = line.strip_suffix(b"\n").unwrap_or(&line);
            if !whole.is_empty() && visit(whole).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// Every line that is not empty, without its end, the last one first.
    pub(super) fn backwards(
        &self,
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, AuditError> {
        let file = File::open(&self.path).map_err(io("open", &self.path))?;
        // The file from `start` on, as far as it was not shown yet.
        let (mut start, mut held, mut piece) = (self.len, Vec::new(), PIECE);
        loop {
            while let Some(end) = held.iter().rposition(|byte| *byte == b'\n') {
                if end + 1 < held.len() && visit(&held[end + 1..]).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                held.truncate(end);
            }
            if start == 0 {
                let shown = if held.is_empty() { ControlFlow::Continue(()) } else { visit(&held) };
                return Ok(shown);
            }
            let from = start.saturating_sub(piece);
            let mut more = vec![0; usize::try_from(start - from).unwrap_or_default()];
            file.read_exact_at(&mut more, from).map_err(io("read", &self.path))?;
            more.append(&mut held);
            (start, held) = (from, more);
            // A line that is longer than a piece is not copied once for each of its pieces.
            piece = (held.len() as u64).max(PIECE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_from_both_ends() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(3 * usize::try_from(PIECE).unwrap());
        let texts = [
            String::new(),
            "a\n".to_owned(),
            "a\n\nb\ncut".to_owned(),
            format!("a\n{long}\nb\n{long}"),
            "line\n".repeat(40_000),
        ];
        for text in texts {
            let path = path(dir.path(), 1);
            std::fs::write(&path, &text).unwrap();
            let segment = &all(dir.path()).unwrap()[0];
            let lines: Vec<&[u8]> =
                text.split('\n').map(str::as_bytes).filter(|line| !line.is_empty()).collect();
            let (mut there, mut back) = (Vec::new(), Vec::new());
            let _all = segment
                .forwards(|line| {
                    there.push(line.to_vec());
                    ControlFlow::Continue(())
                })
                .unwrap();
            let _all = segment
                .backwards(|line| {
                    back.push(line.to_vec());
                    ControlFlow::Continue(())
                })
                .unwrap();
            back.reverse();
            assert!(there == lines && back == lines, "{} bytes", text.len());
        }
    }

    #[test]
    fn reading_ends_where_the_visitor_breaks_off() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(dir.path(), 1), "a\nb\nc\n").unwrap();
        let segment = &all(dir.path()).unwrap()[0];
        let mut seen = 0;
        let mut visit = |_: &[u8]| {
            seen += 1;
            ControlFlow::Break(())
        };
        assert!(segment.backwards(&mut visit).unwrap().is_break());
        assert!(segment.forwards(&mut visit).unwrap().is_break());
        assert_eq!(seen, 2);
    }
}
