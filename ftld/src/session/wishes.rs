//! What the human wants of every client, as the configuration says it now.
//!
//! Owns that a configuration that cannot be read takes nothing away from a client: sessions say what is wrong with
//! it. Must not know clients.

use ftl_core::config::UserConfig;

use crate::app::Parts;

/// Seconds that a session runs before the human wants to be told on the desktop that it waits; nothing means
/// never.
#[must_use]
pub fn notify_after_s(parts: &Parts) -> Option<u64> {
    let user = crate::config::user(parts.home.root()).unwrap_or_else(|_| UserConfig::default());
    user.notify_after_s()
}
