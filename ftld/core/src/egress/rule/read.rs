//! Reading a rule.
//!
//! Owns the grammar of [`super`] and what is said about a text that does not follow it. Must not know
//! files or layers.

use std::fmt;
use std::str::FromStr;

use super::{PathPattern, Rule, Scheme, Target, method};
use crate::egress::address;
use crate::egress::host::{self, Authority, DnsName, Host, HostError, HostPattern};
use crate::egress::path::{CanonicalPath, PathError};
use crate::egress::preset::Preset;
use crate::egress::rate::Limit;

/// The end of every alias.
const ALIAS_END: &str = ".ftl.local";
/// Most characters of a text that are said again in an error.
const SHOWN: usize = 80;

/// A word of a rule as an error says it: in quotes, escaped, cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word(String);

/// Why a text is no rule, and how it would be one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// There is nothing.
    #[error("the rule is empty, write for example `allow GET api.example.com/v1`")]
    Empty,
    /// Another first word.
    #[error("a rule begins with allow, deny, private, limit, alias or preset, not with {0}")]
    Verb(Word),
    /// No host behind the verb or the methods.
    #[error("the rule names no host, write for example `allow GET api.example.com/v1`")]
    NoHost,
    /// A word too many.
    #[error("{0} is one word too many, methods are joined by commas without spaces: `GET,HEAD`")]
    TooMany(Word),
    /// A method that is none.
    #[error("{0} is no method, write for example `GET,HEAD`")]
    Method(Word),
    /// A method that is never forwarded.
    #[error("{0} is never forwarded, name the methods of the requests inside, or none for all")]
    Tunnel(Word),
    /// A method that neither HTTP nor WebDAV has.
    #[error("{given} is no known method, the nearest is {nearest}; write `method:NAME` for one of its own")]
    UnknownMethod {
        /// What was given.
        given: Word,
        /// The known one that is most like it.
        nearest: &'static str,
    },
    /// A scheme other than the two.
    #[error("{0} is no scheme of a rule, write `https://`, `http://` or none for both")]
    Scheme(Word),
    /// A host that is none.
    #[error("{given} is no host: {problem}")]
    Host {
        /// What was given.
        given: Word,
        /// What is wrong with it.
        problem: HostError,
    },
    /// The whole internet.
    #[error("`*` alone is no host, `preset open` opens every public host")]
    Everything,
    /// A user name.
    #[error("a rule has no user name, leave out what is before the `@`")]
    User,
    /// A query or fragment.
    #[error("a rule cannot look at the query, leave out what begins with `?` or `#`")]
    Query,
    /// A path that is none.
    #[error("{given} is no path: {problem}")]
    Path {
        /// What was given.
        given: Word,
        /// What is wrong with it.
        problem: PathError,
    },
    /// A path that servers read in different ways.
    #[error("{0} cannot be a rule's path: servers read `//`, `;` and encoded slashes in different ways")]
    OddPath(Word),
    /// A `*` in a path.
    #[error("a path has a `*` only as `/**/` in front, `/v1` means everything below it already")]
    PathWildcard,
    /// A private rule for more than one host and port.
    #[error("`private` opens exactly one host and port, write `private HOST:PORT`")]
    PrivateForm,
    /// A private rule for an address that nothing opens.
    #[error("{0} cannot be opened: loopback, link-local and metadata addresses never are")]
    Never(Word),
    /// The sandbox itself.
    #[error(
        "{0} inside a sandbox is the sandbox itself and needs no rule; a server of this machine is reached \
         by no rule, start it inside the sandbox"
    )]
    Sandbox(Word),
    /// A limit in another form.
    #[error("a limit is `limit HOST N/min` or `limit HOST N/min burst M`, with numbers above 0")]
    LimitForm,
    /// An alias in another form.
    #[error("an alias is `alias NAME{ALIAS_END} HOST` or `alias NAME{ALIAS_END} HOST:PORT`")]
    AliasForm,
    /// An alias of an alias.
    #[error("an alias stands for a host, not for another alias")]
    AliasChain,
    /// Another preset.
    #[error("a preset is `preset locked`, `preset balanced` or `preset open`")]
    PresetForm,
}

impl Word {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.chars().take(SHOWN).collect();
        let more = if shown.len() < self.0.len() { "…" } else { "" };
        write!(f, "{shown:?}{more}")
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        let (verb, rest) = words.split_first().ok_or(RuleError::Empty)?;
        match (*verb, rest) {
            // What a program makes of `policy allow 'private …'`.
            ("allow", ["private", rest @ ..]) | ("private", rest) => private(rest),
            ("allow", rest) => target(rest).and_then(elsewhere).map(Self::Allow),
            ("deny", rest) => target(rest).map(Self::Deny),
            ("limit", rest) => limit(rest),
            ("alias", rest) => alias(rest),
            ("preset", [name]) => Preset::named(name).map(Self::Preset).ok_or(RuleError::PresetForm),
            ("preset", _) => Err(RuleError::PresetForm),
            _ => Err(RuleError::Verb(Word::new(verb))),
        }
    }
}

fn target(words: &[&str]) -> Result<Target, RuleError> {
    let (methods, place) = match words {
        [] => return Err(RuleError::NoHost),
        [one] if method::is_list(one) => return Err(RuleError::NoHost),
        [one] => (Vec::new(), one),
        [methods, place] => (method::read(methods)?, place),
        [_, _, more, ..] => return Err(RuleError::TooMany(Word::new(more))),
    };
    let (scheme, place) = read_scheme(place)?;
    if place.contains(['?', '#']) {
        return Err(RuleError::Query);
    }
    let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    if host.contains('@') {
        return Err(RuleError::User);
    }
    let (host, port) = read_host(host)?;
    Ok(Target { methods, scheme, host, port, path: read_path(path)? })
}

/// The same unless it is the sandbox itself.
fn elsewhere(target: Target) -> Result<Target, RuleError> {
    match target.host.is_sandbox() {
        true => Err(RuleError::Sandbox(Word::new(&target.host.to_string()))),
        false => Ok(target),
    }
}

fn read_scheme(place: &str) -> Result<(Option<Scheme>, &str), RuleError> {
    let Some((scheme, rest)) = place.split_once("://") else { return Ok((None, place)) };
    if scheme.contains('/') {
        return Ok((None, place));
    }
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Ok((Some(Scheme::Https), rest)),
        "http" => Ok((Some(Scheme::Http), rest)),
        _ => Err(RuleError::Scheme(Word::new(scheme))),
    }
}

fn read_host(text: &str) -> Result<(HostPattern, Option<u16>), RuleError> {
    let wrong = |problem| RuleError::Host { given: Word::new(text), problem };
    if text.is_empty() {
        return Err(RuleError::NoHost);
    }
    let (host, port) = host::split_port(text).map_err(wrong)?;
    if host == "*" || host == "*." {
        return Err(RuleError::Everything);
    }
    Ok((HostPattern::parse(host).map_err(wrong)?, port))
}

fn read_path(text: &str) -> Result<Option<PathPattern>, RuleError> {
    let (text, ending) = match text.strip_prefix("/**") {
        Some(rest) if rest.len() > 1 && rest.starts_with('/') => (rest, true),
        Some(_) => return Err(RuleError::PathWildcard),
        None => (text, false),
    };
    if text.contains('*') {
        return Err(RuleError::PathWildcard);
    }
    let path =
        CanonicalPath::parse(text).map_err(|problem| RuleError::Path { given: Word::new(text), problem })?;
    if path.is_odd() {
        return Err(RuleError::OddPath(Word::new(text)));
    }
    let path = path.as_str().trim_end_matches('/');
    Ok(match (path.is_empty(), ending) {
        (true, _) => None,
        (false, true) => Some(PathPattern::Ending(path.to_owned())),
        (false, false) => Some(PathPattern::Below(path.to_owned())),
    })
}

fn private(words: &[&str]) -> Result<Rule, RuleError> {
    let [word] = words else { return Err(RuleError::PrivateForm) };
    let (pattern, port) = read_host(word)?;
    let (HostPattern::Exact(host), Some(port)) = (pattern, port) else {
        return Err(RuleError::PrivateForm);
    };
    match host {
        host if host.is_sandbox() => Err(RuleError::Sandbox(Word::new(word))),
        Host::Ip(address) if address::never(address) => Err(RuleError::Never(Word::new(word))),
        host => Ok(Rule::Private(Authority { host, port })),
    }
}

fn limit(words: &[&str]) -> Result<Rule, RuleError> {
    let (host, rate, burst) = match words {
        [host, rate] => (host, rate, None),
        [host, rate, "burst", burst] => (host, rate, Some(number(burst)?)),
        _ => return Err(RuleError::LimitForm),
    };
    let per_minute = number(rate.strip_suffix("/min").ok_or(RuleError::LimitForm)?)?;
    let (host, port) = read_host(host)?;
    if port.is_some() {
        return Err(RuleError::LimitForm);
    }
    Limit::new(per_minute, burst).map(|limit| Rule::Limit { host, limit }).ok_or(RuleError::LimitForm)
}

fn number(word: &str) -> Result<u32, RuleError> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| digits).ok_or(RuleError::LimitForm)
}

fn alias(words: &[&str]) -> Result<Rule, RuleError> {
    let [name, target] = words else { return Err(RuleError::AliasForm) };
    let wrong = |word: &str| {
        let given = Word::new(word);
        move |problem| RuleError::Host { given, problem }
    };
    let name = DnsName::parse(name).map_err(wrong(name))?;
    if !is_alias_name(&name) {
        return Err(RuleError::AliasForm);
    }
    let place = target.strip_prefix("https://").unwrap_or(target);
    let target = Authority::parse(place, Some(443)).map_err(wrong(target))?;
    if target.host.is_sandbox() {
        return Err(RuleError::Sandbox(Word::new(place)));
    }
    match target.host.name().is_some_and(is_alias_name) {
        true => Err(RuleError::AliasChain),
        false => Ok(Rule::Alias { name, target }),
    }
}

/// Aliases have names of their own, so that none can take the place of a real host.
fn is_alias_name(name: &DnsName) -> bool {
    name.as_str().ends_with(ALIAS_END)
}
