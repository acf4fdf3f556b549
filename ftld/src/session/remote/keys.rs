//! The key pair for the human's bucket.
//!
//! Owns under which names it is looked for: FTL's own first, then AWS's, kept or in the daemon's environment.
//! A pair and its token come from one place. Nothing of a project counts.

use ftl_core::credential::CredentialName;
use ftl_core::credential::secret_value::Secret;

use crate::s3::KeyPair;
use crate::session::Error;
use crate::vault::{Entry, Scope, Source, Vault, VaultError};

/// Key id, secret key, session token.
const NAMES: [[&str; 3]; 2] = [
    ["FTL_S3_ACCESS_KEY_ID", "FTL_S3_SECRET_ACCESS_KEY", "FTL_S3_SESSION_TOKEN"],
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
];

/// The pair, and the name under which its id was found.
pub(super) async fn pair(vault: &Vault) -> Result<(KeyPair, &'static str), Error> {
    let kept = vault.entries(&Scope::Global)?;
    for [id, secret, token] in NAMES {
        for place in [Some(kept.as_slice()), None] {
            let Some(key) = value(vault, place, id).await? else { continue };
            let found = value(vault, place, secret).await?;
            let secret = found.ok_or_else(|| missing(secret, place.is_some()))?;
            let token = value(vault, place, token).await?;
            return Ok((KeyPair { id: key, secret, token }, id));
        }
    }
    Err(Error::NoRemoteKey)
}

/// A value among what is kept, or in the environment.
async fn value(vault: &Vault, kept: Option<&[Entry]>, name: &str) -> Result<Option<Secret>, VaultError> {
    let Ok(name) = CredentialName::parse(name) else { return Ok(None) };
    let source = match kept {
        Some(entries) => {
            let entry = entries.iter().find(|entry| entry.name == name);
            match entry.map(|entry| entry.source.clone()).filter(|source| *source != Source::Environment) {
                Some(source) => source,
                None => return Ok(None),
            }
        }
        None => Source::Environment,
    };
    match vault.value(&name, &source).await {
        Err(VaultError::Missing { .. } | VaultError::BadValue { .. }) if kept.is_none() => Ok(None),
        value => value.map(Some),
    }
}

fn missing(name: &str, kept: bool) -> VaultError {
    let place =
        if kept { "what FTL keeps for all projects" } else { "the environment in which ftld was started" };
    VaultError::Missing { name: name.to_owned(), place: place.to_owned() }
}
