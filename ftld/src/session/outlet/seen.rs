//! A project's `.env` files as a session's sandbox may see them.
//!
//! Owns which shadow stands for which value in which file, that no real value is in what is shown, and what
//! the human is told of the rest. Must not know how the files come into the sandbox.

use std::path::{Path, PathBuf};

use ftl_core::credential::classify::{Class, classify};
use ftl_core::credential::dotenv::{self, mask};
use ftl_core::credential::secret_value::Secret;
use ftl_core::credential::shadow;
use ftl_core::tree::{RelPath, Tree};

use super::super::record::Record;
use super::holdings::{Holdings, random};
use super::project_of;
use crate::app::Parts;
use crate::snapshot::SeenFile;
use crate::vault::{self, Subject, Text, VaultError};

/// The files that can be shown, and a sentence about what is withheld when it is news.
pub(super) fn of(parts: &Parts, record: &Record, holdings: &Holdings) -> (Vec<SeenFile>, Option<String>) {
    let project = project_of(record);
    let files: Vec<PathBuf> = record.dotenv.iter().map(super::root).collect();
    let base = record.base.and_then(|id| parts.store.tree(id).ok()).unwrap_or_default();
    let (mut seen, mut withheld) = (Vec::new(), Vec::new());
    // Values of every file, since what one of them holds may stand in a comment of another one.
    let (mut reals, mut texts) = (holdings.reals(), Vec::new());
    let most = reals.len() + MOST;
    for file in &files {
        match read(&project, file) {
            Ok(None) => {}
            Ok(Some((text, more))) if reals.len() + more.len() <= most => {
                reals.extend(more);
                texts.push((file, text));
            }
            Ok(Some(_)) => withheld.push(format!("{} (too many secrets)", file.display())),
            Err(why) => withheld.push(format!("{} ({why})", file.display())),
        }
    }
    let reals: Vec<&str> = reals.iter().map(Secret::expose).collect();
    for (file, text) in texts {
        let name = file.display();
        let Some(path) = place(&base, file) else {
            withheld.push(format!("{name} (its directory is not in the sandbox)"));
            continue;
        };
        let bytes = mask::mask(&text.bytes, &reals, &mut |name, value| shown(holdings, file, name, value));
        // What the mask promises, looked at once more where it counts.
        if mask::holds(&bytes, &reals) {
            withheld.push(format!("{name} (all of it)"));
            continue;
        }
        match bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(MARK)).count() {
            0 => {}
            1 => withheld.push(format!("{name} (in 1 place)")),
            places => withheld.push(format!("{name} (in {places} places)")),
        }
        seen.push(SeenFile { path, bytes, mode: text.mode, mtime_ns: text.mtime_ns });
    }
    let sentence = sentence(&withheld);
    let told = parts.vault.has_told(&project, Subject::Withheld, sentence.as_deref().unwrap_or_default());
    (seen, sentence.filter(|_| !told))
}

/// A file of the project and the secret values in it, also those that the session has no shadow for; none when
/// it is gone. The error is a sentence's part.
fn read(project: &Path, file: &Path) -> Result<Option<(Text, Vec<Secret>)>, &'static str> {
    match vault::dotenv_text(project, file) {
        Ok(text) if text.bytes.len() > LONGEST => Err("it is longer than 64 KiB"),
        Ok(text) => {
            let reals = reals_of(&text.bytes);
            Ok(Some((text, reals)))
        }
        Err(VaultError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(_) => Err("it cannot be read"),
    }
}

/// Bytes of a file that is shown, and secret values of all files together: every line is searched for every
/// value, in every turn.
const LONGEST: usize = 64 << 10;
const MOST: usize = 1000;
/// How a line begins that stands for something withheld.
const MARK: &[u8] = mask::WITHHELD.as_bytes();
/// Files that are named.
const NAMED: usize = 8;

/// Where a file stands, when the base has its directory and nothing in its place.
fn place(base: &Tree, file: &Path) -> Option<RelPath> {
    let path = RelPath::new(std::os::unix::ffi::OsStrExt::as_bytes(file.as_os_str())).ok()?;
    (base.dir(path.parent().as_ref()).is_some() && !base.contains_key(&path)).then_some(path)
}

/// What a sandbox sees of a variable of a file.
fn shown(holdings: &Holdings, file: &Path, name: &str, value: &str) -> mask::Shown {
    let is_plain = classify(name, value) == Class::Plain;
    match holdings.instead_of(name) {
        // Of several files one counts. The shadow stands for what that one holds, or for what the human has
        // given to FTL; another file's other value would be sent elsewhere as that.
        Some((text, source)) => {
            let same = holdings.value(name).is_some_and(|held| held.expose() == value);
            match same || source.is_none_or(|source| source == file) {
                true => mask::Shown::Instead(text.to_owned()),
                false if is_plain => mask::Shown::Plain,
                false => mask::Shown::Withheld,
            }
        }
        None if is_plain => mask::Shown::Plain,
        None => mask::Shown::Withheld,
    }
}

/// The secret values of a text.
fn reals_of(bytes: &[u8]) -> Vec<Secret> {
    let (entries, _problems) = dotenv::parse(bytes);
    let minted =
        entries.iter().filter_map(|entry| shadow::mint_value(&entry.name, entry.value.expose(), &mut random));
    minted.flat_map(|minted| minted.credentials).map(|credential| credential.real).collect()
}

fn sentence(withheld: &[String]) -> Option<String> {
    let named = withheld.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = match withheld.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!withheld.is_empty()).then(|| {
        format!(
            "not in the sandbox's copies of .env files: {named}{more}; FTL shows only what it can read with \
             certainty and has a shadow for. This is told once for this project"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_are_one_sentence() {
        assert_eq!(sentence(&[]), None);
        let one = sentence(&["a/.env (in 1 place)".to_owned()]).unwrap();
        assert!(
            one.starts_with("not in the sandbox's copies of .env files: a/.env (in 1 place); FTL"),
            "{one}"
        );
        let many = sentence(&(0..10).map(|number| format!("{number}/.env (all of it)")).collect::<Vec<_>>());
        assert!(many.unwrap().contains("7/.env (all of it) and 2 more; FTL"));
    }

    #[test]
    fn what_is_too_large_to_be_searched_is_not_read_as_secrets() {
        let project = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(project.path().join(name), text).unwrap();
        write(".env", "API_TOKEN=hunter2/Hunter+3x9\nPORT=1\n");
        write("large.env", &"# x\n".repeat(LONGEST / 4 + 1));
        let read = |name: &str| {
            read(project.path(), Path::new(name)).map(|found| found.map(|(_, reals)| reals.len()))
        };
        assert_eq!(read(".env"), Ok(Some(1)));
        assert_eq!(read("gone.env"), Ok(None));
        assert_eq!(read("large.env"), Err("it is longer than 64 KiB"));
    }

    #[test]
    fn a_file_has_a_place_where_the_base_has_its_directory() {
        use ftl_core::tree::{Entry, Node};
        let node = |node| Entry { node, mtime_ns: 0 };
        let base: Tree = [
            (RelPath::new("a").unwrap(), node(Node::Dir { mode: 0o755 })),
            (RelPath::new("f").unwrap(), node(Node::Symlink { target: b"a".to_vec() })),
        ]
        .into();
        for (file, has) in
            [(".env", true), ("a/.env", true), ("b/.env", false), ("f/.env", false), ("f", false)]
        {
            assert_eq!(place(&base, Path::new(file)).is_some(), has, "{file}");
        }
    }
}
