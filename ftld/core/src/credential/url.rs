//! URLs and connection strings with secrets in them.
//!
//! Owns which part of such a text is secret, and that the rest stays byte by byte as it was. Must not know
//! names of variables.

mod scan;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::catalogue::Catalogue;
use super::secret_value::Secret;
use super::shape::{Random, Shape};
use super::{Binding, CredentialName};

/// A text with shadows in the place of its secrets.
pub struct Shadowed {
    /// The text.
    pub text: String,
    /// What was replaced, in the order of the text.
    pub secrets: Vec<Part>,
}

/// A secret part of a text.
pub struct Part {
    /// What to put behind the variable's name to name the part: `_PASSWORD`. Unique within the text.
    pub label: String,
    /// The real value, decoded.
    pub real: Secret,
    /// What stands in its place; the same encoded and decoded.
    pub shadow: String,
    /// Where it may go: the host of an `https` URL, which the text itself names, and what the catalogue
    /// says when the part is a vendor's.
    pub bindings: Vec<Binding>,
    /// Name of the vendor as which the part was recognised, for humans.
    pub vendor: Option<&'static str>,
}

/// Longest label without a number, characters.
const LONGEST_LABEL: usize = 40;

/// Where a secret part stands.
struct Found {
    at: Range<usize>,
    label: String,
    /// Whether it is percent-encoded.
    encoded: bool,
    bindings: Vec<Binding>,
}

/// Whether a text is a URL or connection string with a secret part.
#[must_use]
pub fn has_secret(text: &str) -> bool {
    !scan::find(text).is_empty()
}

/// Replaces the secret parts of a URL or connection string; `None` when it is neither or has none.
#[must_use]
pub fn shadow(text: &str, random: &mut Random<'_>) -> Option<Shadowed> {
    let found = scan::find(text);
    if found.is_empty() {
        return None;
    }
    let mut shadowed = Shadowed { text: String::with_capacity(text.len()), secrets: Vec::new() };
    let mut at = 0;
    for part in found {
        let written = text.get(part.at.clone())?;
        let real = if part.encoded { decoded(written) } else { Secret::from(written) };
        let vendor = Catalogue::builtin().recognise("", real.expose()).ok();
        let label = unique(&shadowed.secrets, part.label);
        let mut bindings = part.bindings;
        if let (Some(vendor), Ok(name)) = (vendor, CredentialName::parse(&format!("URL{label}"))) {
            bindings.extend(vendor.bindings(&name, &[]));
        }
        let shadow = unescaped(Shape::of(real.expose(), vendor), real.expose(), part.encoded, random);
        shadowed.text.push_str(text.get(at..part.at.start)?);
        shadowed.text.push_str(&shadow);
        at = part.at.end;
        let vendor = vendor.map(|vendor| vendor.name.as_str());
        shadowed.secrets.push(Part { label, real, shadow, bindings, vendor });
    }
    shadowed.text.push_str(text.get(at..)?);
    Some(shadowed)
}

/// A shadow that needs no encoding where it stands.
fn unescaped(shape: Shape, real: &str, encoded: bool, random: &mut Random<'_>) -> String {
    let shadow = shape.mint(random);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    // A password of a connection string is read with its padding.
    let good = shadow.bytes().all(|byte| plain(byte) || (!encoded && byte == b'='));
    if good { shadow } else { Shape::flat(real).mint(random) }
}

fn decoded(written: &str) -> Secret {
    Secret::new(percent_encoding::percent_decode_str(written).decode_utf8_lossy().into_owned())
}

fn unique(earlier: &[Part], label: String) -> String {
    let label: String = label.chars().take(LONGEST_LABEL).collect();
    let taken = |label: &str| earlier.iter().any(|part| part.label == label);
    let mut unique = label.clone();
    let mut number = 2;
    while taken(&unique) {
        unique = format!("{label}_{number}");
        number += 1;
    }
    unique
}
