//! The vault's own files.
//!
//! Owns that they are private, and replaced whole or not at all. Must not know what a value is for.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ftl_core::credential::CredentialName;
use ftl_core::credential::dotenv;
use ftl_core::credential::secret_value::Secret;

use super::{Bound, VaultError};
use crate::private;

/// The most that a file may hold, bytes.
const LONGEST: u64 = 1 << 20;

/// The values of a credentials file; none when it is not there.
pub(super) fn credentials(path: &Path) -> Result<BTreeMap<CredentialName, Secret>, VaultError> {
    let Some(bytes) = read(path)? else { return Ok(BTreeMap::new()) };
    let (entries, problems) = dotenv::parse(&bytes);
    if let Some(problem) = problems.first() {
        return Err(VaultError::Damaged {
            path: path.to_owned(),
            what: format!("line {}: {}", problem.line, problem.fault),
        });
    }
    let named = entries.into_iter().filter_map(|entry| {
        let name = CredentialName::parse(&entry.name).ok()?;
        Some((name, entry.value))
    });
    Ok(named.collect())
}

/// Writes a credentials file.
pub(super) fn keep_credentials(
    path: &Path,
    values: &BTreeMap<CredentialName, Secret>,
) -> Result<(), VaultError> {
    let text = dotenv::render(values.iter().map(|(name, value)| (name.as_str(), value.expose())));
    write(path, text.as_bytes())
}

/// What a bindings file says; nothing when it is not there.
pub(super) fn bound(path: &Path) -> Result<BTreeMap<CredentialName, Bound>, VaultError> {
    let Some(bytes) = read(path)? else { return Ok(BTreeMap::new()) };
    serde_json::from_slice(&bytes)
        .map_err(|error| VaultError::Damaged { path: path.to_owned(), what: error.to_string() })
}

/// Writes a bindings file.
pub(super) fn keep_bound(path: &Path, all: &BTreeMap<CredentialName, Bound>) -> Result<(), VaultError> {
    let mut text = serde_json::to_vec_pretty(all)
        .map_err(|error| VaultError::Damaged { path: path.to_owned(), what: error.to_string() })?;
    text.push(b'\n');
    write(path, &text)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, VaultError> {
    let io = |source| VaultError::Io { act: "read", path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(VaultError::Damaged { path: path.to_owned(), what: "it is not a plain file".to_owned() });
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(VaultError::NotPrivate { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() as u64 > LONGEST {
        true => {
            Err(VaultError::Damaged { path: path.to_owned(), what: "it is longer than 1 MiB".to_owned() })
        }
        false => Ok(Some(bytes)),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), VaultError> {
    private::replace(path, bytes).map_err(|source| VaultError::Io {
        act: "write",
        path: path.to_owned(),
        source,
    })
}
