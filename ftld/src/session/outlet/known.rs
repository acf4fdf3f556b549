//! The values that a session's work is searched for: the human's real ones, and the session's shadows.
//!
//! Owns where they come from: what the session has seen, and what it would get today. Must not know what is
//! searched, or what is done about what is found.

use std::path::PathBuf;
use std::sync::Arc;

use ftl_core::config::effective;
use ftl_core::lint::Known;

use super::super::record::Record;
use super::super::{Error, prepare, trust};
use super::holdings::Holdings;
use super::project_of;
use crate::app::Parts;
use crate::vault::Wanted;

/// The values of a session.
///
/// # Errors
/// When the human's own files cannot be used.
pub(in crate::session) async fn known(parts: &Arc<Parts>, record: &Record) -> Result<Arc<Known>, Error> {
    let project = project_of(record);
    // A configuration that cannot be read names nothing more.
    let settings = trust::settings(parts, &project).unwrap_or_else(|_| effective(&Default::default(), None));
    let dotenv: Vec<PathBuf> = record.dotenv.iter().map(super::root).collect();
    let agent = prepare::adapter_named(&record.spec.agent, &settings);
    let keys = agent.as_ref().map(|agent| agent.keys()).unwrap_or_default();
    let wanted = Wanted { project: &project, dotenv: &dotenv, named: &settings.shadow_env, agent: keys };
    // What cannot be had is told where credentials are listed and when a session starts.
    let (today, _notices) = Holdings::gather(parts, &wanted, &record.shadows).await?;
    let mut reals = today.named_reals();
    if let Some(outlet) = parts.outlets.get(&record.id) {
        reals.extend(outlet.guard.named_reals());
    }
    let secrets: Vec<(&str, &str)> =
        reals.iter().map(|(name, real)| (name.as_str(), real.expose())).collect();
    let shadows: Vec<(&str, &str)> =
        record.shadows.iter().map(|(name, shadow)| (name.as_str(), shadow.as_str())).collect();
    Ok(Arc::new(Known::new(&secrets, &shadows)))
}
