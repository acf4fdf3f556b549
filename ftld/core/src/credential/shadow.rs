//! From the human's variables to the sandbox's.
//!
//! Owns that every secret value gets a shadow, and what the shadow may be used for by what the catalogue
//! and the value itself say. Must not know where values are kept.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::catalogue::{Catalogue, Vendor};
use super::classify::{Class, classify};
use super::secret_value::Secret;
use super::shape::{Random, Shape};
use super::{CredentialName, Grant, LONGEST, Slot, url};

/// A variable as the sandbox sees it.
pub struct MintedValue {
    /// The value for the sandbox's environment.
    pub text: String,
    /// The credentials that its shadows stand for; several when a URL has several secrets.
    pub credentials: Vec<Minted>,
}

/// A credential with its shadow and its real value.
pub struct Minted {
    /// What the session may do with it.
    pub grant: Grant,
    /// The real value.
    pub real: Secret,
    /// Name of the vendor as which it was recognised, for humans.
    pub vendor: Option<&'static str>,
}

/// Mints the shadow of one variable; `None` when it is plain. Where several variables stand together use
/// [`mint_all`]: it binds more, and more narrowly.
#[must_use]
pub fn mint_value(name: &str, value: &str, random: &mut Random<'_>) -> Option<MintedValue> {
    mint(name, value, &[], random)
}

/// Mints the shadow of a variable that the human says is a secret, whatever it looks like.
#[must_use]
pub fn mint_secret(name: &str, value: &str, beside: &[(&str, &str)], random: &mut Random<'_>) -> MintedValue {
    mint(name, value, beside, random).unwrap_or_else(|| {
        let vendor = Catalogue::builtin().recognise(name, value).ok();
        whole(name, value, vendor, beside, random)
    })
}

/// Mints the shadows of variables that belong together, in their order; `None` for plain ones. Unlike
/// [`mint_value`] it knows whether an AWS key comes with a session token and which host is a tenant's own,
/// and keeps names apart.
#[must_use]
pub fn mint_all(variables: &[(&str, &str)], random: &mut Random<'_>) -> Vec<Option<MintedValue>> {
    let mut minted: Vec<_> =
        variables.iter().map(|(name, value)| mint(name, value, variables, random)).collect();
    let mut names = BTreeSet::new();
    for credential in minted.iter_mut().flatten().flat_map(|value| &mut value.credentials) {
        let name = &mut credential.grant.name;
        let mut number = 2;
        let whole = name.clone();
        while !names.insert(name.clone()) {
            *name = whole.part(&number.to_string());
            number += 1;
        }
    }
    for credential in minted.iter_mut().flatten().flat_map(|value| &mut value.credentials) {
        let slots = credential.grant.bindings.iter_mut().flat_map(|binding| &mut binding.slots);
        for slot in slots {
            if let Slot::SigV4 { key_id, token } = slot {
                let written = |wanted: &CredentialName| {
                    let same = |name: &&CredentialName| name.as_str().eq_ignore_ascii_case(wanted.as_str());
                    names.get(wanted).or_else(|| names.iter().find(same)).cloned()
                };
                *token = token.as_ref().and_then(written);
                *key_id = written(key_id).unwrap_or_else(|| key_id.clone());
            }
        }
    }
    minted
}

fn mint(name: &str, value: &str, beside: &[(&str, &str)], random: &mut Random<'_>) -> Option<MintedValue> {
    match classify(name, value) {
        Class::Plain => None,
        Class::Secret { vendor } => Some(whole(name, value, vendor, beside, random)),
        Class::UrlWithPassword => {
            let shadowed = url::shadow(value, random)?;
            let credentials = shadowed.secrets.into_iter().map(|part| {
                let name = credential_name(name).part(&part.label);
                let grant = Grant { name, shadow: part.shadow, bindings: part.bindings };
                Minted { grant, real: part.real, vendor: part.vendor }
            });
            Some(MintedValue { text: shadowed.text, credentials: credentials.collect() })
        }
    }
}

/// A value that is a secret from its first character to its last.
fn whole(
    name: &str,
    value: &str,
    vendor: Option<&'static Vendor>,
    beside: &[(&str, &str)],
    random: &mut Random<'_>,
) -> MintedValue {
    // What stands around a value is not sent with it.
    let value = value.trim();
    let shadow = Shape::of(value, vendor).mint(random);
    let name = credential_name(name);
    let bindings = vendor.map(|vendor| vendor.bindings(&name, beside)).unwrap_or_default();
    let grant = Grant { name, shadow: shadow.clone(), bindings };
    let vendor = vendor.map(|vendor| vendor.name.as_str());
    MintedValue { text: shadow, credentials: vec![Minted { grant, real: value.into(), vendor }] }
}

/// The credential's name for a variable; what no credential's name has is a `_`.
#[must_use]
pub fn credential_name(variable: &str) -> CredentialName {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let front =
        if variable.starts_with(|c: char| c.is_ascii_digit()) || variable.is_empty() { "_" } else { "" };
    let rest: String = variable.chars().map(fold).take(LONGEST - front.len()).collect();
    CredentialName(format!("{front}{rest}"))
}
