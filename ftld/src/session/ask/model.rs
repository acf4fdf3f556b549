//! Which model is asked, and with which key.
//!
//! Owns where both are looked for. The human's configuration names the model, and a project's that is trusted
//! may name the reviewer; only the human's says where a provider is. The key is the human's: kept for the
//! project, kept for all, or in the daemon's environment, in this order. A project's own files have no say.

use std::sync::Arc;

use ftl_core::credential::CredentialName;
use ftl_core::credential::secret_value::Secret;
use ftl_core::llm::name::{Endpoint, ModelName, SIGNING_KEY};
use ftl_core::opinion::{Sameness, sameness};

use super::{ModelError, Purpose};
use crate::app::Parts;
use crate::llm::Signing;
use crate::session::record::Record;
use crate::session::{Error, driver, trust};
use crate::vault::{Scope, Source, VaultError};

/// A model with all that a call needs.
pub(in crate::session) struct Chosen {
    pub(in crate::session) name: ModelName,
    pub(in crate::session) endpoint: Endpoint,
    /// The key and its name, when the service wants one.
    pub(in crate::session) key: Option<(String, Secret)>,
    /// What requests are signed with beside it, where it is not sent.
    pub(in crate::session) signing: Option<Signing>,
}

/// The names of what belongs to a key that requests are signed with.
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// The model for a purpose.
pub(super) async fn choose(parts: &Arc<Parts>, record: &Record, purpose: Purpose) -> Result<Chosen, Error> {
    let name = named(parts, record, purpose)?;
    let user = crate::config::user(parts.home.root())?;
    let endpoint = name.endpoint(&user.models).map_err(ModelError::from)?;
    let (key, signing) = key(parts, record, &endpoint).await?;
    Ok(Chosen { name, endpoint, key, signing })
}

/// The model of the agent `builtin`, as its settings name it.
pub(in crate::session) async fn for_agent(
    parts: &Arc<Parts>,
    record: &Record,
    model: Option<&str>,
) -> Result<Chosen, Error> {
    let (name, endpoint) = of_agent(parts, model)?;
    let (key, signing) = key(parts, record, &endpoint).await?;
    Ok(Chosen { name, endpoint, key, signing })
}

/// The model of the agent `builtin`, and where it is.
pub(in crate::session) fn of_agent(
    parts: &Parts,
    model: Option<&str>,
) -> Result<(ModelName, Endpoint), Error> {
    let name = ModelName::parse(model.ok_or(ModelError::NoAgentModel)?).map_err(ModelError::from)?;
    let user = crate::config::user(parts.home.root())?;
    let endpoint = name.endpoint(&user.models).map_err(ModelError::from)?;
    Ok((name, endpoint))
}

/// That the reviewer is not the model that did the work.
pub(super) fn differs(parts: &Parts, record: &Record) -> Result<(), Error> {
    let name = named(parts, record, Purpose::Review)?;
    let agent = record.spec.agent.clone();
    let asked = trust::settings(parts, &driver::root(&record.project.root))?.agent_settings(&agent).model;
    match sameness(&name, &agent, asked.as_deref()) {
        Sameness::Different => Ok(()),
        Sameness::Same => Err(ModelError::Same { model: name.to_string() }.into()),
        Sameness::Unknown => Err(ModelError::MaybeSame { model: name.to_string(), agent }.into()),
    }
}

fn named(parts: &Parts, record: &Record, purpose: Purpose) -> Result<ModelName, Error> {
    let user = crate::config::user(parts.home.root())?;
    let reviewer = trust::settings(parts, &driver::root(&record.project.root))?.reviewer;
    let (name, setting) = match purpose {
        Purpose::Question => (user.ask.or(reviewer), "ask"),
        Purpose::Review => (reviewer, "reviewer"),
        // Which it is was settled when the session began.
        Purpose::Tests | Purpose::AdaptedTests => (None, "tester"),
    };
    let missing = || ModelError::NotConfigured { purpose: purpose.name(), setting };
    Ok(ModelName::parse(&name.ok_or_else(missing)?).map_err(ModelError::from)?)
}

/// Today's key with its name, and what belongs to it.
async fn key(
    parts: &Arc<Parts>,
    record: &Record,
    endpoint: &Endpoint,
) -> Result<(Option<(String, Secret)>, Option<Signing>), Error> {
    if endpoint.keys.is_empty() {
        return Ok((None, None));
    }
    for name in &endpoint.keys {
        let Some(value) = value(parts, record, name).await? else { continue };
        let signing = match name.as_str() {
            SIGNING_KEY => {
                let missing = || ModelError::NoKey {
                    provider: endpoint.provider.clone(),
                    names: vec![KEY_ID.to_owned()],
                };
                let clock = Arc::clone(&parts.clock);
                Some(Signing {
                    key_id: self::value(parts, record, KEY_ID).await?.ok_or_else(missing)?,
                    token: self::value(parts, record, SESSION_TOKEN).await?,
                    now: Arc::new(move || clock.now_us() / 1_000_000),
                })
            }
            _ => None,
        };
        return Ok((Some((name.clone(), value)), signing));
    }
    let (provider, names) = (endpoint.provider.clone(), endpoint.keys.clone());
    Err(ModelError::NoKey { provider, names }.into())
}

/// Today's value of one of the human's credentials, if there is one.
async fn value(parts: &Parts, record: &Record, name: &str) -> Result<Option<Secret>, Error> {
    let Ok(wanted) = CredentialName::parse(name) else { return Ok(None) };
    let mut kept = parts.vault.entries(&Scope::Project(driver::root(&record.project.root)))?;
    kept.extend(parts.vault.entries(&Scope::Global)?);
    let entry = kept.iter().find(|entry| entry.name == wanted && entry.source != Source::Environment);
    let source = entry.map_or(Source::Environment, |entry| entry.source.clone());
    match parts.vault.value(&wanted, &source).await {
        Ok(value) => Ok(Some(value)),
        Err(VaultError::Missing { .. } | VaultError::BadValue { .. }) if entry.is_none() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
