//! What a session holds: a shadow for every credential that belongs to it.
//!
//! Owns which shadow stands for which source, and that a session's shadows stay the same from turn to
//! turn while the values behind them may change. Real values pass through here on their way out and are
//! kept only to be scrubbed from responses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::config::Settings;
use ftl_core::credential::secret_value::Secret;
use ftl_core::credential::shadow::{self, Minted, MintedValue};
use ftl_core::credential::slots::Held;
use ftl_core::credential::{Binding, CredentialName, Grant, Slot};
use ftl_core::oauth::NewToken;
use ftl_core::scrub::Scrubber;

use super::super::record::Record;
use super::unbound::{self, Unbound};
use super::{Error, project_of};
use crate::agent::AgentAdapter;
use crate::app::Parts;
use crate::vault::{self, Entry, Source, Vault, VaultError, Wanted};

/// The credentials of a session.
#[derive(Default)]
pub(super) struct Holdings {
    held: Arc<Held>,
    origins: BTreeMap<CredentialName, Origin>,
    /// Every variable with its value when the turn began: what stands beside a value says where it goes.
    values: Vec<(CredentialName, Secret)>,
    env: Vec<(String, String)>,
    /// Real values by credential, as last seen; what is scrubbed from responses. A value that was
    /// replaced stays: an answer that was asked for with it may still be on its way.
    seen: Mutex<Vec<(CredentialName, Secret)>>,
    /// What was made of [`Self::seen`] when it had so many entries.
    scrubber: Mutex<Option<(usize, Scrubber)>>,
    /// Values that came with a response and have no other source.
    learned: Mutex<BTreeMap<CredentialName, Secret>>,
}

/// Where a credential's real value comes from.
#[derive(Clone, Debug)]
struct Origin {
    /// The variable; a credential may be a part of its value.
    variable: CredentialName,
    source: Source,
    /// Whether the human has said where it may be used, or given it to FTL.
    by_human: bool,
    /// Whether the human has bound it, so that its value does not say where it goes.
    bound: bool,
    /// For which credential it was issued, when it came with a response.
    learned_for: Option<CredentialName>,
}

impl Holdings {
    /// Collects the credentials of a session for a turn, and sentences for the human.
    pub(super) async fn collect(
        parts: &Arc<Parts>,
        record: &Record,
        settings: &Settings,
        agent: &dyn AgentAdapter,
    ) -> Result<(Self, Vec<String>), Error> {
        let project = project_of(record);
        let dotenv: Vec<PathBuf> = record.dotenv.iter().map(super::root).collect();
        let wanted =
            Wanted { project: &project, dotenv: &dotenv, named: &settings.shadow_env, agent: agent.keys() };
        let (holdings, mut notices) = Self::gather(parts, &wanted, &record.shadows).await?;
        notices.extend(unbound::notices(parts, &project, &holdings.unbound()));
        Ok((holdings, notices))
    }

    /// Collects the credentials that are wanted; `known` are shadows that stay as they are, by name. Also
    /// sentences about what cannot be had.
    pub(super) async fn gather(
        parts: &Arc<Parts>,
        wanted: &Wanted<'_>,
        known: &BTreeMap<String, String>,
    ) -> Result<(Self, Vec<String>), Error> {
        let (entries, mut notices) = parts.vault.of_session(wanted)?;
        let mut values = Vec::new();
        let mut files = vault::Files::default();
        for entry in entries {
            match parts.vault.value_with(&entry.name, &entry.source, &mut files).await {
                Ok(value) => values.push((entry, value)),
                Err(error) => notices.push(super::super::told(&Error::from(error))),
            }
        }
        let mut holdings = Self::default();
        let mut grants = Vec::new();
        holdings.values = values.iter().map(|(entry, value)| (entry.name.clone(), value.clone())).collect();
        for (entry, value, minted) in mint(values) {
            holdings.take(entry, &value, minted, known, &mut grants);
        }
        holdings.held = Arc::new(Held::new(grants));
        Ok((holdings, notices))
    }

    /// Credentials that can go nowhere.
    fn unbound(&self) -> Vec<Unbound<'_>> {
        let variable = |grant: &Grant| self.origins.get(&grant.name).map(|origin| &origin.variable);
        let value = |name: &CredentialName| self.values.iter().find(|(variable, _)| variable == name);
        self.grants()
            .iter()
            .filter(|grant| !self.can_leave(grant))
            .map(|grant| {
                let of = variable(grant).and_then(value);
                let scheme = of.and_then(|(_, value)| unbound::other_scheme(value.expose()));
                Unbound { name: of.map_or(grant.name.as_str(), |(name, _)| name.as_str()), scheme }
            })
            .collect()
    }

    /// Takes up one variable: as it is when it is no secret, otherwise as shadows.
    fn take(
        &mut self,
        entry: Entry,
        value: &Secret,
        minted: Option<MintedValue>,
        known: &BTreeMap<String, String>,
        grants: &mut Vec<Grant>,
    ) {
        let Entry { name: variable, source, bindings, .. } = entry;
        let Some(minted) = minted else {
            self.env.push((variable.to_string(), value.expose().to_owned()));
            return;
        };
        let mut text = minted.text;
        for Minted { mut grant, real, .. } in minted.credentials {
            if let Some(before) = known.get(grant.name.as_str()) {
                text = text.replace(&grant.shadow, before);
                grant.shadow.clone_from(before);
            }
            if !bindings.is_empty() {
                grant.bindings.clone_from(&bindings);
            }
            let bound = !bindings.is_empty();
            let by_human = bound || !matches!(source, Source::DotEnv { .. });
            let (variable, source) = (variable.clone(), source.clone());
            let origin = Origin { variable, source, by_human, bound, learned_for: None };
            self.origins.insert(grant.name.clone(), origin);
            self.saw(&grant.name, &real);
            grants.push(grant);
        }
        self.env.push((variable.to_string(), text));
    }

    /// What a variable is in the sandbox when it is a secret outside, and the `.env` file that its value
    /// comes from, if it comes from one.
    pub(super) fn instead_of(&self, variable: &str) -> Option<(&str, Option<&Path>)> {
        let origin = self.origins.values().find(|origin| origin.variable.as_str() == variable)?;
        let (_, text) = self.env.iter().find(|(name, _)| name == variable)?;
        let file = match &origin.source {
            Source::DotEnv { file, .. } => Some(file.as_path()),
            _ => None,
        };
        Some((text, file))
    }

    /// The value of a variable when the turn began.
    pub(super) fn value(&self, variable: &str) -> Option<&Secret> {
        self.values.iter().find(|(name, _)| name.as_str() == variable).map(|(_, value)| value)
    }

    /// Every real value that was seen.
    pub(super) fn reals(&self) -> Vec<Secret> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|(_, real)| real.clone()).collect()
    }

    /// The same, each under the name of its credential.
    pub(super) fn named_reals(&self) -> Vec<(String, Secret)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|(name, real)| (name.to_string(), real.clone())).collect()
    }

    /// What the proxy looks for in requests.
    pub(super) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    /// Every credential, bound or not.
    pub(super) fn grants(&self) -> &[Grant] {
        self.held.grants()
    }

    /// Variables for the sandbox.
    pub(super) fn env(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Shadows by name.
    pub(super) fn shadows(&self) -> BTreeMap<String, String> {
        self.grants().iter().map(|grant| (grant.name.to_string(), grant.shadow.clone())).collect()
    }

    /// Whether a credential can travel: by itself, or as a part of another one's signature.
    fn can_leave(&self, grant: &Grant) -> bool {
        let slots = self.grants().iter().flat_map(|grant| &grant.bindings).flat_map(|binding| &binding.slots);
        let mut signs = slots.filter_map(|slot| match slot {
            Slot::SigV4 { key_id, token } => Some((key_id, token)),
            _ => None,
        });
        !grant.bindings.is_empty()
            || signs.any(|(key_id, token)| *key_id == grant.name || token.as_ref() == Some(&grant.name))
    }

    /// Today's real value of a credential.
    pub(super) async fn real(&self, vault: &Vault, name: &CredentialName) -> Result<Secret, VaultError> {
        let missing = || VaultError::Missing { name: name.to_string(), place: "this session".to_owned() };
        if let Some(learned) = self.learned.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(learned.clone());
        }
        let origin = self.origins.get(name).ok_or_else(missing)?;
        let value = vault.value(&origin.variable, &origin.source).await?;
        let real = self.part(origin, name, &value).ok_or_else(missing)?;
        self.saw(name, &real);
        Ok(real)
    }

    /// What of a variable's value today a credential is; none when the value now goes elsewhere than the
    /// session's shadow does.
    fn part(&self, origin: &Origin, name: &CredentialName, value: &Secret) -> Option<Secret> {
        let of = |text: &Secret| {
            let all = self.values.iter().map(|(variable, before)| {
                let today = if *variable == origin.variable { text } else { before };
                (variable.as_str(), today.expose())
            });
            let all: Vec<(&str, &str)> = all.collect();
            let at = self.values.iter().position(|(variable, _)| *variable == origin.variable)?;
            let minted = shadow::mint_all(&all, &mut random).swap_remove(at);
            let minted =
                minted.unwrap_or_else(|| shadow::mint_secret(all[at].0, all[at].1, &all, &mut random));
            minted.credentials.into_iter().find(|part| part.grant.name == *name)
        };
        let before = self.values.iter().find(|(variable, _)| *variable == origin.variable)?;
        if before.1.expose() == value.expose() && origin.variable == *name {
            return Some(Secret::from(value.expose().trim()));
        }
        let part = of(value)?;
        let granted = self.grants().iter().find(|grant| grant.name == *name)?;
        (origin.bound || part.grant.bindings == granted.bindings).then_some(part.real)
    }

    /// Credentials whose use the human has agreed to, by giving them to FTL or binding them; what stands in
    /// a file of the project is the project's word, which opens no host.
    pub(super) fn agreed(&self) -> Vec<Grant> {
        let agreed = |grant: &&Grant| self.origins.get(&grant.name).is_some_and(|origin| origin.by_human);
        self.grants().iter().filter(agreed).cloned().collect()
    }

    /// These holdings after the human has bound a variable anew, or forgotten it (`None`).
    pub(super) fn changed(&self, variable: &CredentialName, bindings: Option<&[Binding]>) -> Self {
        let of_variable =
            |name: &CredentialName| self.origins.get(name).is_some_and(|origin| origin.variable == *variable);
        let mut grants = self.grants().to_vec();
        let mut origins = self.origins.clone();
        match bindings {
            None => grants.retain(|grant| !of_variable(&grant.name)),
            Some(bindings) => {
                for grant in grants.iter_mut().filter(|grant| of_variable(&grant.name)) {
                    grant.bindings = bindings.to_vec();
                    if let Some(origin) = origins.get_mut(&grant.name) {
                        (origin.by_human, origin.bound) = (true, true);
                    }
                }
            }
        }
        self.with(grants, origins, Vec::new())
    }

    /// These holdings with other grants and further values that came with a response.
    fn with(
        &self,
        grants: Vec<Grant>,
        origins: BTreeMap<CredentialName, Origin>,
        more: Vec<(CredentialName, Secret)>,
    ) -> Self {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.extend(more.iter().cloned());
        learned.extend(more);
        Self {
            held: Arc::new(Held::new(grants)),
            origins,
            values: self.values.clone(),
            env: self.env.clone(),
            seen: Mutex::new(seen),
            scrubber: Mutex::default(),
            learned: Mutex::new(learned),
        }
    }

    /// Takes every value that was ever seen out of what a host answers.
    pub(super) fn scrubber(&self) -> Scrubber {
        let mut made = self.scrubber.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, scrubber)) = made.as_ref().filter(|(count, _)| *count == seen.len()) {
            return scrubber.fresh();
        }
        // A value that is bound to no host never leaves, so that none can answer with it; and such values
        // are often words, which would be replaced in texts that mean the word.
        let bound = self.grants().iter().filter(|grant| self.can_leave(grant));
        let shadows: BTreeMap<&CredentialName, &String> =
            bound.map(|grant| (&grant.name, &grant.shadow)).collect();
        let pairs: Vec<(&str, &str)> = seen
            .iter()
            .filter_map(|(name, real)| Some((real.expose(), shadows.get(name)?.as_str())))
            .collect();
        let scrubber = Scrubber::new(&pairs);
        let fresh = scrubber.fresh();
        *made = Some((seen.len(), scrubber));
        fresh
    }

    fn saw(&self, name: &CredentialName, real: &Secret) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.iter().any(|(known, value)| known == name && value.expose() == real.expose()) {
            seen.push((name.clone(), real.clone()));
        }
    }

    /// These holdings with tokens that a vendor has just issued. The new tokens may be used where the one
    /// that they were asked for with may be.
    pub(super) fn learn(&self, asked_with: &CredentialName, tokens: Vec<NewToken>) -> Self {
        let mut grants = self.grants().to_vec();
        let mut origins = self.origins.clone();
        let bindings = grants.iter().find(|grant| grant.name == *asked_with);
        let bindings = bindings.map(|grant| grant.bindings.clone()).unwrap_or_default();
        let mut learned = Vec::new();
        // A token that came for a token is named after what the first one came for: names do not grow.
        let root = self.origins.get(asked_with).and_then(|origin| origin.learned_for.as_ref());
        let root = root.unwrap_or(asked_with);
        for token in tokens {
            let name = root.part(&token.field.to_ascii_uppercase());
            grants.retain(|grant| grant.name != name);
            grants.push(Grant { name: name.clone(), shadow: token.shadow, bindings: bindings.clone() });
            // What the human agreed to for the one holds for the other, and no more.
            let learned_for = Some(root.clone());
            let origin = self.origins.get(asked_with);
            origins.extend(origin.map(|origin| (name.clone(), Origin { learned_for, ..origin.clone() })));
            learned.push((name, Secret::new(token.real)));
        }
        self.with(grants, origins, learned)
    }
}

/// Mints the shadows of all variables together: what stands beside a value says where it goes.
fn mint(values: Vec<(Entry, Secret)>) -> Vec<(Entry, Secret, Option<MintedValue>)> {
    let beside: Vec<(&str, &str)> =
        values.iter().map(|(entry, value)| (entry.name.as_str(), value.expose())).collect();
    let mut minted = shadow::mint_all(&beside, &mut random);
    for ((entry, value), minted) in values.iter().zip(&mut minted) {
        // What the human keeps with FTL, or has bound, is a secret whatever it looks like.
        let is_secret = !matches!(entry.source, Source::DotEnv { .. }) || !entry.bindings.is_empty();
        if minted.is_none() && is_secret {
            let secret = shadow::mint_secret(entry.name.as_str(), value.expose(), &beside, &mut random);
            *minted = Some(secret);
        }
    }
    drop(beside);
    values.into_iter().zip(minted).map(|((entry, value), minted)| (entry, value, minted)).collect()
}

/// Random bytes of the system. Without them there is no shadow: an all-zero one would be guessed, so the
/// process ends instead.
pub(super) fn random(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tokens_have_no_more_than_what_they_were_asked_for_with() {
        let name = CredentialName::parse("REFRESH_TOKEN").unwrap();
        let grant = Grant { name: name.clone(), shadow: "shadow".into(), bindings: Vec::new() };
        for by_human in [false, true] {
            let source = Source::Environment;
            let variable = name.clone();
            let origin = Origin { variable, source, by_human, bound: false, learned_for: None };
            let holdings = Holdings {
                held: Arc::new(Held::new(vec![grant.clone()])),
                origins: BTreeMap::from([(name.clone(), origin)]),
                ..Holdings::default()
            };
            let token =
                NewToken { field: "access_token".into(), real: "real".into(), shadow: "another".into() };
            let after = holdings.learn(&name, vec![token]);
            assert_eq!(after.grants().len(), 2);
            assert_eq!(after.agreed().len(), if by_human { 2 } else { 0 });
            // A rotated token's successors keep their names, however often it is rotated.
            let mut rotated = after.learn(&name, Vec::new());
            for round in 0..20 {
                let from = CredentialName::try_from("REFRESH_TOKEN.REFRESH".to_owned()).unwrap();
                let from = if round == 0 { &name } else { &from };
                let shadow = format!("shadow {round}");
                rotated = rotated
                    .learn(from, vec![NewToken { field: "refresh".into(), real: "real".into(), shadow }]);
            }
            let names: Vec<&str> = rotated.grants().iter().map(|grant| grant.name.as_str()).collect();
            assert_eq!(names, ["REFRESH_TOKEN", "REFRESH_TOKEN.ACCESS_TOKEN", "REFRESH_TOKEN.REFRESH"]);
            assert_eq!(rotated.grants()[2].shadow, "shadow 19");
            assert!(
                after.changed(&name, None).grants().is_empty(),
                "what is forgotten takes its tokens along"
            );
        }
    }
}
