//! What is known about vendors: how their credentials look, what variables hold them, where they go.
//!
//! Owns the reading of `catalogue.toml`, which is the data and says what its fields mean, and the question
//! which vendor a value belongs to. Must not know any value longer than the question lasts.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde::Deserialize;

use super::shape::Alphabet;
use super::{Binding, CredentialName, Slot, slot_text};
use crate::egress::host::{Authority, Host, HostPattern};

/// Every vendor that is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Catalogue {
    vendors: Vec<Vendor>,
}

/// One kind of credential of one vendor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vendor {
    /// Unique, lower case: `anthropic-oauth`.
    pub id: String,
    /// For humans: `Anthropic`.
    pub name: String,
    /// Something to know before use, one sentence; may be empty.
    pub note: String,
    variables: Vec<String>,
    forms: Vec<Form>,
    templates: Vec<Template>,
}

/// How a vendor's values look.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Form {
    pub(crate) prefix: String,
    #[serde(default)]
    rest: Alphabet,
    #[serde(default = "short")]
    min: usize,
    #[serde(default = "endless")]
    max: usize,
    #[serde(default)]
    pub(crate) contains: String,
    /// Other vendors' values begin so, too.
    #[serde(default)]
    pub(crate) shared: bool,
    /// The last six characters are a checksum of the others behind the prefix.
    #[serde(default)]
    pub(crate) crc32: bool,
}

/// A binding, and what narrows it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Template {
    binding: Binding,
    beside: Vec<String>,
    must_narrow: bool,
}

/// Why no vendor is named.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unrecognised {
    /// Neither the name nor the value is any vendor's.
    #[error("no vendor in the catalogue has such a name or value")]
    Unknown,
    /// Several vendors fit.
    #[error("several vendors fit: {}", .0.join(", "))]
    Ambiguous(Vec<String>),
}

/// Why a catalogue cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the catalogue cannot be read: {0}")]
pub struct CatalogueError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    vendor: Vec<RawVendor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVendor {
    id: String,
    name: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    variables: Vec<String>,
    #[serde(default)]
    forms: Vec<Form>,
    #[serde(default)]
    bind: Vec<RawBinding>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBinding {
    hosts: Vec<HostPattern>,
    #[serde(default = "super::https")]
    port: u16,
    #[serde(default)]
    methods: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    slots: Vec<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    beside: Vec<String>,
    #[serde(default)]
    must_narrow: bool,
}

static BUILTIN: LazyLock<Result<Catalogue, CatalogueError>> =
    LazyLock::new(|| Catalogue::parse(include_str!("catalogue.toml")));

/// What projects put behind a variable's name to have several of a kind.
const ENDINGS: [&str; 11] = [
    "_PROD",
    "_PRODUCTION",
    "_DEV",
    "_DEVELOPMENT",
    "_TEST",
    "_TESTING",
    "_STAGING",
    "_STAGE",
    "_LIVE",
    "_LOCAL",
    "_SANDBOX",
];

/// A prefix so short may begin a word; the rest must fit too before it says anything.
const SAYING_NOTHING: usize = 4;

impl Catalogue {
    /// The catalogue that FTL comes with; empty when it cannot be read, which a test rules out. Nothing is
    /// bound by an empty catalogue.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static EMPTY: Catalogue = Catalogue { vendors: Vec::new() };
        BUILTIN.as_ref().unwrap_or(&EMPTY)
    }

    /// Why [`Self::builtin`] is empty; `None` when it is not.
    #[must_use]
    pub fn builtin_fault() -> Option<&'static CatalogueError> {
        BUILTIN.as_ref().err()
    }

    /// Reads a catalogue.
    ///
    /// # Errors
    /// When it is no TOML, or an entry is not as it should be.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let file: File = toml::from_str(text).map_err(|error| CatalogueError(error.to_string()))?;
        let vendors: Vec<Vendor> = file.vendor.into_iter().map(Vendor::read).collect::<Result<_, _>>()?;
        for (number, vendor) in vendors.iter().enumerate() {
            if vendors[..number].iter().any(|other| other.id == vendor.id) {
                return Err(CatalogueError(format!("`{}` stands there twice", vendor.id)));
            }
        }
        Ok(Self { vendors })
    }

    /// Every entry, in the order of the file.
    #[must_use]
    pub fn vendors(&self) -> &[Vendor] {
        &self.vendors
    }

    /// Every slot of every entry, such as to know which headers carry credentials.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        let templates = self.vendors.iter().flat_map(|vendor| &vendor.templates);
        templates.flat_map(|template| &template.binding.slots)
    }

    /// How the values of every entry look, such as to find them in a text.
    pub(crate) fn forms(&self) -> impl Iterator<Item = (&Vendor, &Form)> {
        self.vendors.iter().flat_map(|vendor| vendor.forms.iter().map(move |form| (vendor, form)))
    }

    /// The vendor whose credential a variable holds. How the value begins counts for more than the name.
    ///
    /// # Errors
    /// When none fits, or several do.
    pub fn recognise(&self, name: &str, value: &str) -> Result<&Vendor, Unrecognised> {
        let named = self.by_name(name);
        let formed = self.by_value(value);
        let both = formed.iter().find(|(vendor, _)| named.iter().any(|other| other.id == vendor.id));
        if let Some((vendor, _)) = both {
            return Ok(vendor);
        }
        let own: Vec<&Vendor> =
            formed.iter().filter(|(_, form)| !form.shared).map(|(vendor, _)| *vendor).collect();
        match (own.as_slice(), named.as_slice()) {
            ([vendor], _) | ([], [vendor]) => Ok(vendor),
            ([], []) => Err(Unrecognised::Unknown),
            ([], several) | (several, _) => {
                Err(Unrecognised::Ambiguous(several.iter().map(|vendor| vendor.name.clone()).collect()))
            }
        }
    }

    /// The vendors whose variables are named so, by the longest name that fits.
    fn by_name(&self, name: &str) -> Vec<&Vendor> {
        let name = bare_name(name);
        let fit = |vendor: &Vendor| {
            let fitting = vendor.variables.iter().filter(|variable| ends_in_words(&name, variable));
            fitting.map(String::len).max()
        };
        let fitting: Vec<_> =
            self.vendors.iter().filter_map(|vendor| fit(vendor).map(|length| (vendor, length))).collect();
        let longest = fitting.iter().map(|(_, length)| *length).max();
        fitting.into_iter().filter(|(_, length)| Some(*length) == longest).map(|(vendor, _)| vendor).collect()
    }

    /// The vendors whose values look so, by the longest prefix that fits.
    fn by_value(&self, value: &str) -> Vec<(&Vendor, &Form)> {
        let fitting: Vec<_> =
            self.vendors.iter().filter_map(|vendor| vendor.form(value).map(|form| (vendor, form))).collect();
        let longest = fitting.iter().map(|(_, form)| form.prefix.len()).max();
        fitting.into_iter().filter(|(_, form)| Some(form.prefix.len()) == longest).collect()
    }

    /// Whether a value begins as those of some vendor do that share their prefix with nobody.
    pub(super) fn begins_secret(&self, value: &str) -> bool {
        self.vendors.iter().flat_map(|vendor| &vendor.forms).any(|form| {
            let long = form.prefix.len() > SAYING_NOTHING && value.contains(&form.contains);
            let begins = !form.shared && value.len() > 8 && value.starts_with(&form.prefix);
            begins && (long || form.fits(value))
        })
    }
}

impl Vendor {
    fn read(raw: RawVendor) -> Result<Self, CatalogueError> {
        let fault = |what: &str| CatalogueError(format!("`{}`: {what}", raw.id));
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if raw.id.is_empty() || !raw.id.bytes().all(word) || raw.name.is_empty() {
            return Err(fault("an id and a name are needed"));
        }
        if raw.variables.is_empty() && raw.forms.is_empty() {
            return Err(fault("neither variables nor forms"));
        }
        let bare = |name: &String| CredentialName::parse(name).is_ok() && *name == bare_name(name);
        if !raw.variables.iter().all(bare) {
            return Err(fault(
                "a variable's name is malformed, not upper case or ends as several of a kind do",
            ));
        }
        if raw.forms.iter().any(|form| form.prefix.len() + form.contains.len() < 2 || form.min > form.max) {
            return Err(fault("a form is malformed"));
        }
        let templates =
            raw.bind.into_iter().map(|bind| Template::read(bind, &raw.id)).collect::<Result<_, _>>()?;
        Ok(Self {
            id: raw.id,
            name: raw.name,
            note: raw.note,
            variables: raw.variables,
            forms: raw.forms,
            templates,
        })
    }

    /// Where a credential of this kind goes when it is called `name`.
    ///
    /// `beside` are the variables that stand with it. A signature's other parts are meant to be beside it:
    /// `BACKUP_AWS_SECRET_ACCESS_KEY` goes with `BACKUP_AWS_ACCESS_KEY_ID`. Where every tenant of the vendor
    /// has a host, a variable with the tenant's own narrows the binding to that one; what would hand the
    /// credential to other tenants is left out when there is no such variable.
    #[must_use]
    pub fn bindings(&self, name: &CredentialName, beside: &[(&str, &str)]) -> Vec<Binding> {
        self.templates.iter().filter_map(|template| template.fill(self, name, beside)).collect()
    }

    /// Whether it can be bound at all, if only beside another variable.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        !self.templates.is_empty()
    }

    /// The form that a value has, by the longest prefix.
    pub(super) fn form(&self, value: &str) -> Option<&Form> {
        let fitting = self.forms.iter().filter(|form| form.fits(value));
        fitting.max_by_key(|form| (form.prefix.len(), !form.shared))
    }

    /// What a variable's name has in front of and behind the name in the catalogue.
    fn decoration<'n>(&self, name: &'n str) -> Option<(&'n str, &'n str)> {
        let upper = name.to_ascii_uppercase();
        let bare = bare_name(&upper);
        let variable =
            self.variables.iter().filter(|it| ends_in_words(&bare, it)).max_by_key(|it| it.len())?;
        Some((name.get(..bare.len() - variable.len())?, name.get(bare.len()..)?))
    }
}

impl Form {
    /// Whether a byte may stand behind the prefix.
    pub(crate) fn has(&self, byte: u8) -> bool {
        self.rest.has(byte)
    }

    /// Fewest and most bytes behind the prefix.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        (self.min, self.max)
    }

    fn fits(&self, value: &str) -> bool {
        value.strip_prefix(&self.prefix).is_some_and(|rest| {
            (self.min..=self.max).contains(&rest.len())
                && rest.contains(&self.contains)
                && rest.bytes().all(|byte| self.rest.has(byte))
        })
    }
}

impl Template {
    fn read(raw: RawBinding, id: &str) -> Result<Self, CatalogueError> {
        let fault = |what: &str| CatalogueError(format!("`{id}`: {what}"));
        if raw.hosts.is_empty() || raw.slots.is_empty() || raw.port == 0 {
            return Err(fault("a binding needs hosts, a port and slots"));
        }
        let method = |method: &String| !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
        let path = |path: &String| path.starts_with('/') && !path.ends_with('/') && !path.contains("//");
        if !raw.methods.iter().all(method) || !raw.paths.iter().all(path) {
            return Err(fault("methods are upper case, paths begin with `/` and do not end with it"));
        }
        if raw.must_narrow && raw.beside.is_empty() {
            return Err(fault("nothing narrows the binding"));
        }
        let slots =
            raw.slots.iter().map(|slot| slot_text::parse(slot).map_err(|error| fault(&error.to_string())));
        let binding = Binding {
            slots: slots.collect::<Result<_, _>>()?,
            hosts: raw.hosts,
            port: raw.port,
            methods: raw.methods,
            paths: raw.paths,
            optional: raw.optional,
        };
        Ok(Self { binding, beside: raw.beside, must_narrow: raw.must_narrow })
    }

    fn fill(&self, vendor: &Vendor, name: &CredentialName, beside: &[(&str, &str)]) -> Option<Binding> {
        let mut binding = self.binding.clone();
        let own: Vec<HostPattern> = beside
            .iter()
            .filter(|(name, _)| {
                let bare = bare_name(name);
                self.beside.iter().any(|wanted| ends_in_words(&bare, wanted))
            })
            .filter_map(|(_, value)| host_in(value, binding.port))
            .filter(|host| binding.hosts.iter().any(|pattern| pattern.matches(host)))
            .map(HostPattern::Exact)
            .collect();
        if !own.is_empty() {
            binding.hosts = own;
        } else if self.must_narrow {
            return None;
        }
        let (front, behind) = vendor.decoration(name.as_str()).unwrap_or_default();
        for slot in &mut binding.slots {
            if let Slot::SigV4 { key_id, token } = slot {
                *key_id = decorated(front, key_id, behind)?;
                *token = match token {
                    Some(token) => Some(decorated(front, token, behind)?),
                    None => None,
                };
            }
        }
        Some(binding)
    }
}

fn decorated(front: &str, name: &CredentialName, behind: &str) -> Option<CredentialName> {
    CredentialName::parse(&format!("{front}{name}{behind}")).ok()
}

/// The host that a variable names, as a URL or bare, when its port is the one that is meant.
fn host_in(value: &str, port: u16) -> Option<Host> {
    let value = value.trim();
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let authority = Authority::parse(authority, Some(port)).ok()?;
    (authority.port == port).then_some(authority.host)
}

/// A name in upper case without what tells several of a kind apart: `OPENAI_API_KEY_2`, `…_PROD`.
fn bare_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let less = upper.trim_end_matches(|c: char| c.is_ascii_digit());
    let less = less.strip_suffix('_').unwrap_or(less);
    ENDINGS.iter().find_map(|ending| less.strip_suffix(ending)).unwrap_or(less).to_owned()
}

/// Whether a name is another, or ends in it behind a `_`.
fn ends_in_words(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|front| front.is_empty() || front.ends_with('_'))
}

fn short() -> usize {
    8
}

fn endless() -> usize {
    usize::MAX
}
