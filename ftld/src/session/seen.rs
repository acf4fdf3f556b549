//! A session's own lower layer.
//!
//! Owns where it lies and that it is made anew for each turn. Must not know what stands in its files.

use std::path::PathBuf;
use std::sync::Arc;

use super::Error;
use super::decide::blocking;
use super::record::Record;
use crate::app::Parts;
use crate::snapshot::{Base, SeenFile};

/// The directories below the workspace, the one on top first: the session's own, made anew for each turn, and
/// the base's.
pub(super) async fn layers(
    parts: &Arc<Parts>,
    record: &Record,
    base: &Base,
    seen: Vec<SeenFile>,
) -> Result<Vec<PathBuf>, Error> {
    let is_empty = seen.is_empty();
    write(parts, record, seen).await?;
    // Lookups pass through every layer.
    Ok((!is_empty).then(|| dir(parts, record)).into_iter().chain(base.layers()).collect())
}

/// Makes it anew.
pub(super) async fn write(parts: &Arc<Parts>, record: &Record, seen: Vec<SeenFile>) -> Result<(), Error> {
    let (target, parts, id) = (dir(parts, record), Arc::clone(parts), record.base.ok_or(Error::Interrupted)?);
    blocking(move || Ok(parts.store.write_seen(id, &seen, &target, parts.owner)?)).await
}

/// Where it is.
pub(super) fn dir(parts: &Parts, record: &Record) -> PathBuf {
    parts.home.sessions().join(record.id.as_str()).join("seen")
}
