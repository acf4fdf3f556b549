//! Which values are secret.
//!
//! Owns the judgement by name and by value. In doubt a value is secret: a shadow where none was needed is a
//! nuisance, a real value in a sandbox is a leak. Must not know where a value came from.

mod passwords;
mod random;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use passwords::is_password;
pub(crate) use random::{is_random, is_uuid};
pub use words::names_secret;
pub(crate) use words::parameter_names_secret;

use super::catalogue::{Catalogue, Vendor};
use super::url;

/// What a variable's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Nothing secret; it may enter a sandbox as it is.
    Plain,
    /// All of it is secret.
    Secret {
        /// Whose it is, when that is known.
        vendor: Option<&'static Vendor>,
    },
    /// A URL or connection string of which parts are secret; [`super::url::shadow`] finds them.
    UrlWithPassword,
}

/// How secrets begin that the catalogue does not have, or has by their names only.
const SECRET_PREFIXES: [&str; 28] = [
    "sk-",
    "sk_",
    "rk_live_",
    "rk_test_",
    "whsec_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "npm_",
    "SG.",
    "xoxa-",
    "xoxs-",
    "AKIA",
    "ASIA",
    "ABSK",
    "AIza",
    "ya29.",
    "sq0",
    "eyJ",
    "vault:",
    "hvs.",
    "hvb.",
    "age-secret-key-",
    "AGE-SECRET-KEY-",
    "glrt-",
    "glptt-",
];

/// Values that switch something, under any name.
const SWITCHES: [&str; 16] = [
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "0",
    "1",
    "none",
    "null",
    "nil",
    "undefined",
    "enabled",
    "disabled",
    "auto",
    "default",
];

/// Values that say how something is done, under names such as `AUTH` or `SESSION`.
const MODES: [&str; 24] = [
    "anonymous",
    "apikey",
    "basic",
    "bearer",
    "cookie",
    "database",
    "db",
    "file",
    "header",
    "jwt",
    "keycloak",
    "ldap",
    "local",
    "md5",
    "memory",
    "oauth",
    "oauth2",
    "oidc",
    "redis",
    "saml",
    "scram-sha-256",
    "session",
    "token",
    "trust",
];

/// Where paths begin. A text that only begins with a slash may be base 64.
const ROOTS: [&str; 20] = [
    "./",
    "../",
    "~/",
    "$HOME/",
    "/app/",
    "/data/",
    "/dev/",
    "/etc/",
    "/home/",
    "/mnt/",
    "/opt/",
    "/private/",
    "/root/",
    "/run/",
    "/srv/",
    "/tmp/",
    "/usr/",
    "/Users/",
    "/var/",
    "/workspace/",
];

/// How values begin that their vendors mean for everybody.
const PUBLIC_PREFIXES: [&str; 5] = ["pk_live_", "pk_test_", "pk.eyJ", "phc_", "sb_publishable_"];

/// Judges a variable.
#[must_use]
pub fn classify(name: &str, value: &str) -> Class {
    let value = value.trim();
    if is_switch(value) && !(words::is_password(name) && is_word(value)) {
        return Class::Plain;
    }
    let catalogue = Catalogue::builtin();
    // Firebase's key tells projects apart; the same form opens other services of the vendor.
    let harmless = |value| !catalogue.begins_secret(value) || name.to_ascii_uppercase().contains("FIREBASE");
    let public = words::is_public(name) && harmless(value);
    if public || PUBLIC_PREFIXES.iter().any(|prefix| value.starts_with(prefix)) {
        return Class::Plain;
    }
    let holds = names_secret(name) && !words::describes(name);
    // Under a name for a secret, `a:b@c` is one and not a user with a password.
    let whole = holds && !words::connects(name) && !value.contains("://");
    if !whole && url::has_secret(value) {
        return Class::UrlWithPassword;
    }
    let vendor = catalogue.recognise(name, value).ok();
    if catalogue.begins_secret(value) {
        return Class::Secret { vendor };
    }
    if is_setting(value) || (is_number(value) && words::counts(name)) {
        return Class::Plain;
    }
    let secret = match () {
        () if vendor.is_some() || words::is_password(name) => true,
        () if is_public_pem(value) => false,
        () if words::identifies(name) => begins_secret(value),
        () if holds => !is_mode(value),
        () if words::opens_account(name) && passwords::is_no_name(value) => true,
        () => looks_secret(value) || passwords::is_password(value),
    };
    if secret { Class::Secret { vendor } } else { Class::Plain }
}

/// Whether a value looks like a secret, or has one in it, whatever it is called.
#[must_use]
pub fn looks_secret(value: &str) -> bool {
    value.contains("-----BEGIN ")
        || value.contains("hooks.slack.com/")
        || has_user_info(value)
        || parts(value).any(|part| begins_secret(part) || random::is_random(part))
}

/// Whether a URL in the value names a user or password.
fn has_user_info(value: &str) -> bool {
    value
        .split("://")
        .skip(1)
        .any(|rest| rest.split(['/', '?', '#', ' ']).next().is_some_and(|authority| authority.contains('@')))
}

/// Whether a part of a URL is secret although nothing says so.
pub(super) fn part_is_secret(part: &str) -> bool {
    begins_secret(part) || part.split(':').any(|part| random::is_random(part) && !random::is_uuid(part))
}

fn begins_secret(part: &str) -> bool {
    let known = SECRET_PREFIXES.iter().any(|prefix| part.len() > 8 && part.starts_with(prefix));
    known || Catalogue::builtin().begins_secret(part)
}

fn parts(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|c: char| c.is_whitespace() || "\"'=,;:&?".contains(c))
        .map(|part| part.strip_prefix("//").unwrap_or(part))
}

pub(super) fn is_switch(value: &str) -> bool {
    value.is_empty() || SWITCHES.contains(&value.to_ascii_lowercase().as_str())
}

/// Whether a switch's value could be somebody's password.
fn is_word(value: &str) -> bool {
    ["default", "auto", "enabled", "disabled", "undefined"].contains(&value.to_ascii_lowercase().as_str())
}

fn is_mode(value: &str) -> bool {
    MODES.contains(&value.to_ascii_lowercase().as_str()) || is_number(value) && value.len() <= 2
}

fn is_number(value: &str) -> bool {
    let digits = value.trim_start_matches(['-', '+']);
    let digits = digits.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = value.len() - value.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
    unit <= 2
        && digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'_')
        && digits.len() <= 15
}

/// Whether a value is a path, or a URL without anything secret: nothing by itself, under any name.
pub(super) fn is_setting(value: &str) -> bool {
    is_path(value) || is_bare_url(value)
}

fn is_path(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~$ @+".contains(&byte);
    ROOTS.iter().any(|root| value.starts_with(root))
        && value.bytes().all(plain)
        && !value.split('/').any(random::is_random)
}

fn is_bare_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Some schemes have nothing but a secret behind them.
    !scheme.is_empty()
        && scheme.bytes().all(word)
        && !rest.is_empty()
        && !value.contains(char::is_whitespace)
        && (scheme.starts_with("http") || !random::is_random(authority))
}

fn is_public_pem(value: &str) -> bool {
    let begins = |label: &str| value.starts_with(&format!("-----BEGIN {label}"));
    let public = begins("PUBLIC KEY-----") || begins("CERTIFICATE-----") || begins("RSA PUBLIC KEY-----");
    public && !value.contains("PRIVATE")
}
