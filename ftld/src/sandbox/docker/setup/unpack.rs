//! An agent's package, from what a registry gave to what a builder is given.
//!
//! Owns the reading of the archive, and what becomes of its entries: files and directories of root's beneath
//! one directory, programs that can be started. Must not know where it came from; its bytes have the hash
//! that this program knows. Links and whatever else an archive can hold are errors: no package has them.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::read::GzDecoder;

use super::archive::{self, BLOCK};
use super::programs::Launcher;

/// The most that a package unpacks to, bytes.
const LONGEST: u64 = 4 << 30;

/// The longest record about a name, bytes.
const LONGEST_RECORD: u64 = 64 << 10;

/// Where an agent's files lie in its image.
pub(super) const DIR: &str = "agent";

/// Writes a builder's context to `to`: `Dockerfile`, and beneath [`DIR`] what the package at `from` has
/// below its first directory. `programs` are made executable, and the launcher stands beside them.
///
/// # Errors
/// When the package cannot be read, has something that no package has, or lacks a program.
pub(super) fn context(
    from: &Path,
    to: &Path,
    dockerfile: &str,
    (programs, launcher): (&[&str], Option<Launcher>),
) -> io::Result<()> {
    let mut input = GzDecoder::new(BufReader::new(File::open(from)?)).take(LONGEST);
    let mut out = BufWriter::new(File::create_new(to)?);
    put(&mut out, "Dockerfile", 0o644, dockerfile.as_bytes())?;
    let mut missing = programs.to_vec();
    let mut long_name = None;
    while let Some(entry) = Entry::read(&mut input)? {
        let after = padding(entry.size);
        match entry.kind {
            b'x' | b'L' => {
                let record = bytes(&mut input, entry.size)?;
                skip(&mut input, after)?;
                long_name =
                    if entry.kind == b'x' { pax_path(&record)? } else { Some(text(&record)?) }.or(long_name);
                continue;
            }
            // What counts for all entries says nothing about names.
            b'g' | b'5' => skip(&mut input, entry.size + after)?,
            b'0' | 0 => {
                let name = long_name.take().unwrap_or(entry.name);
                let path = below(&name)?;
                if launcher.is_some_and(|launcher| launcher.path == path) {
                    return Err(odd(&format!("its own {path}")));
                }
                let is_program = entry.mode & 0o111 != 0 || programs.contains(&path);
                missing.retain(|program| *program != path);
                let mode = if is_program { 0o755 } else { 0o644 };
                out.write_all(&archive::header(&format!("{DIR}/{path}"), mode, entry.size, b'0')?)?;
                let copied = io::copy(&mut (&mut input).take(entry.size), &mut out)?;
                if copied != entry.size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                out.write_all(&[0; BLOCK][..usize::try_from(after).unwrap_or(0)])?;
                skip(&mut input, after)?;
            }
            kind => return Err(odd(&format!("an entry of the kind {:?}", char::from(kind)))),
        }
        long_name = None;
    }
    if let Some(program) = missing.first() {
        return Err(odd(&format!("no {program}")));
    }
    if let Some(Launcher { path, text }) = launcher {
        put(&mut out, &format!("{DIR}/{path}"), 0o755, text.as_bytes())?;
    }
    out.write_all(&[0; 2 * BLOCK])?;
    out.flush()
}

/// Adds a whole file.
fn put(out: &mut impl Write, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let size = content.len() as u64;
    out.write_all(&archive::header(path, mode, size, b'0')?)?;
    out.write_all(content)?;
    out.write_all(&[0; BLOCK][..usize::try_from(padding(size)).unwrap_or(0)])
}

/// What a header says.
struct Entry {
    name: String,
    mode: u32,
    size: u64,
    kind: u8,
}

impl Entry {
    /// The next; `None` at the end.
    fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut block = [0; BLOCK];
        input.read_exact(&mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte }))
            .sum();
        if octal(&block[148..156])? != sum {
            return Err(odd("a damaged header"));
        }
        let name = text(&block[..100])?;
        let prefix =
            if block[257..].starts_with(b"ustar\0") { text(&block[345..500])? } else { String::new() };
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let mode = u32::try_from(octal(&block[100..108])?).unwrap_or(0);
        Ok(Some(Self { name, mode, size: octal(&block[124..136])?, kind: block[156] }))
    }
}

/// The path below the first directory.
fn below(name: &str) -> io::Result<&str> {
    let rest = name.trim_start_matches("./").split_once('/').map(|(_, rest)| rest).unwrap_or_default();
    let is_plain = !rest.is_empty() && rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if is_plain { Ok(rest) } else { Err(odd(&format!("the name {name:?}"))) }
}

/// The path in a record of names and values, each with its length in front.
fn pax_path(mut record: &[u8]) -> io::Result<Option<String>> {
    let mut path = None;
    while !record.is_empty() {
        let bad = || odd("a damaged record");
        let space = record.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
        let length: usize = text(&record[..space])?.parse().map_err(|_| bad())?;
        let line = record.get(space + 1..length.checked_sub(1).ok_or_else(bad)?).ok_or_else(bad)?;
        if let Some(value) = line.strip_prefix(b"path=") {
            path = Some(text(value)?);
        } else if line.starts_with(b"size=") {
            return Err(odd("a length beside its header"));
        }
        record = &record[length..];
    }
    Ok(path)
}

fn text(bytes: &[u8]) -> io::Result<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8(bytes[..end].to_vec()).map_err(|_| odd("a name that is no text"))
}

fn octal(bytes: &[u8]) -> io::Result<u64> {
    let digits = text(bytes)?;
    match digits.trim() {
        "" => Ok(0),
        digits => u64::from_str_radix(digits, 8).map_err(|_| odd("a number that is none")),
    }
}

fn bytes(input: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > LONGEST_RECORD {
        return Err(odd("a name without end"));
    }
    let mut bytes = Vec::new();
    input.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn skip(input: &mut impl Read, size: u64) -> io::Result<()> {
    match io::copy(&mut input.take(size), &mut io::sink())? {
        skipped if skipped == size => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What fills the last block.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the package has {what}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::process::Command;

    use super::*;

    /// A package of what is in a directory, as `tar` writes it.
    fn pack(dir: &Path) -> std::path::PathBuf {
        let to = dir.join("x.tgz");
        let made =
            Command::new("tar").arg("-czf").arg(&to).arg("-C").arg(dir).arg("package").status().unwrap();
        assert!(made.success());
        to
    }

    #[test]
    fn a_packages_files_are_roots_and_its_programs_can_be_started() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("vendor/{}/{}/{}", "a".repeat(60), "b".repeat(60), "c".repeat(60));
        for (name, content) in [("agent", "run"), (long.as_str(), "deep"), ("empty", "")] {
            let path = dir.path().join("package").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let packed = pack(dir.path());
        let (to, out) = (dir.path().join("context.tar"), dir.path().join("out"));
        let launcher = Launcher { path: "bin/start", text: "#!/bin/sh\n" };
        context(&packed, &to, "FROM scratch\n", (&["agent"], Some(launcher))).unwrap();
        std::fs::create_dir(&out).unwrap();
        let unpacked = Command::new("tar").arg("-xpf").arg(&to).arg("-C").arg(&out).status().unwrap();
        assert!(unpacked.success());
        let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        assert_eq!((read("Dockerfile"), read("agent/agent")), ("FROM scratch\n".into(), "run".into()));
        assert_eq!((read(&format!("agent/{long}")), read("agent/empty")), ("deep".into(), String::new()));
        let mode = |name: &str| out.join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("agent/agent"), mode("agent/empty")), (0o755, 0o644));
        assert_eq!((mode("agent/bin/start"), read("agent/bin/start")), (0o755, "#!/bin/sh\n".into()));
        let taken = Launcher { path: "agent", text: "" };
        let error = context(&packed, &dir.path().join("taken"), "", (&[], Some(taken))).unwrap_err();
        assert!(error.to_string().contains("its own agent"), "{error}");
        let error = context(&packed, &dir.path().join("other"), "", (&["absent"], None)).unwrap_err();
        assert!(error.to_string().contains("no absent"), "{error}");
    }

    #[test]
    fn what_no_package_has_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("package")).unwrap();
        symlink("/etc", dir.path().join("package/link")).unwrap();
        let to = dir.path().join("context.tar");
        let error = context(&pack(dir.path()), &to, "", (&[], None)).unwrap_err();
        assert!(error.to_string().contains("kind '2'"), "{error}");
        for name in ["package/../x", "package//x", "package", "/x/.."] {
            assert!(below(name).is_err(), "{name}");
        }
        assert_eq!((below("package/a/b").unwrap(), below("./p/a").unwrap()), ("a/b", "a"));
        std::fs::write(dir.path().join("cut"), &std::fs::read(pack(dir.path())).unwrap()[..40]).unwrap();
        std::fs::remove_file(&to).unwrap();
        assert!(context(&dir.path().join("cut"), &to, "", (&[], None)).is_err());
    }
}
