//! What the human can do about a refusal.
//!
//! Owns the sentences and the rules that they propose. Must not know how a refusal came about.
//!
//! The sandbox chooses the host and the path that stand here, so both are canonical, which leaves them
//! without quotes and control characters, and a long path is left out.

use super::{Denial, Reason, Source};
use crate::egress::address::{self, AddressRefusal};
use crate::egress::host::{Authority, Host, HostPattern};
use crate::egress::path::CanonicalPath;
use crate::egress::rule::{Facts, PathPattern, Rule, Scheme, Target};

/// A path of more characters is not proposed: nobody would read it to its end.
const LONGEST_PATH: usize = 120;

/// The host and port of a request as a rule has them: the scheme and port that are usual stay unsaid.
pub(in crate::egress) fn place(scheme: Scheme, authority: &Authority) -> Target {
    let usual = scheme.port() == authority.port;
    Target {
        methods: Vec::new(),
        scheme: (usual && scheme == Scheme::Http).then_some(scheme),
        host: HostPattern::Exact(authority.host.clone()),
        port: (!usual).then_some(authority.port),
        path: None,
    }
}

/// A path as a rule has it; none when no rule should.
pub(in crate::egress) fn path_of(path: &CanonicalPath) -> Option<PathPattern> {
    let text = path.as_str().trim_end_matches('/');
    let usable = path.is_plain() && !text.is_empty() && text.len() <= LONGEST_PATH;
    usable.then(|| PathPattern::Below(text.to_owned()))
}

/// A method as a rule has it; none when it is no usual one.
pub(in crate::egress) fn method_of(method: &str) -> Option<String> {
    let usable =
        !method.is_empty() && method.len() <= 20 && method.bytes().all(|byte| byte.is_ascii_uppercase());
    usable.then(|| method.to_owned())
}

/// The narrowest rule that means a request.
pub(super) fn narrowest(facts: &Facts<'_>) -> Rule {
    Rule::Allow(Target {
        methods: method_of(facts.method).into_iter().collect(),
        path: path_of(facts.path),
        ..place(facts.scheme, facts.authority)
    })
}

/// A rule that means everything of a host on the usual ports.
pub(super) fn whole_host(host: &Host) -> Rule {
    Rule::Allow(place(Scheme::Https, &Authority { host: host.clone(), port: Scheme::Https.port() }))
}

/// Nothing allows it; this rule would.
pub(super) fn missing(reason: Reason, rule: Rule) -> Denial {
    let hint = match reason {
        Reason::IpLiteral => format!("a rule that names exactly this address allows it: {}", rule.command()),
        Reason::Doh => format!("a rule that names exactly this host allows it: {}", rule.command()),
        _ => format!("this allows it: {}", rule.command()),
    };
    Denial { reason, rule: None, source: None, hint, would_allow: Some(Box::new(rule)) }
}

/// A rule denies it.
pub(super) fn denied(rule: &Rule, source: &Source) -> Denial {
    let hint = match source {
        Source::TrustedConfig => "the project's .ftlconfig denies it".to_owned(),
        Source::Once | Source::Session | Source::Project | Source::Global => {
            format!("a rule of the {source} denies it, this takes it away: ftlctl policy rm '{rule}'")
        }
        Source::Agent(_) | Source::Credential(_) | Source::Preset(_) => format!("{source} denies it"),
    };
    Denial {
        reason: Reason::Denied,
        rule: Some(rule.to_string()),
        source: Some(source.clone()),
        hint,
        would_allow: None,
    }
}

/// What a sandbox means by it is the sandbox.
pub(super) fn sandbox() -> Denial {
    Denial::of(
        Reason::PrivateAddress,
        "localhost inside a sandbox is the sandbox itself: what listens there is reached without the proxy, \
         and a server of this machine is reached by no rule, start it inside the sandbox",
    )
}

/// The host's address may not be dialled.
pub(super) fn not_dialled(authority: &Authority, refusal: AddressRefusal) -> Denial {
    let refused =
        |reason, hint: String, would_allow| Denial { reason, rule: None, source: None, hint, would_allow };
    match refusal {
        AddressRefusal::None => refused(Reason::Unresolvable, "the name may be misspelt".to_owned(), None),
        AddressRefusal::Own => refused(
            Reason::PrivateAddress,
            "it is an address of this machine, and no rule opens these".to_owned(),
            None,
        ),
        AddressRefusal::Forbidden { range, never: true } => {
            refused(Reason::PrivateAddress, format!("its range is {range}, and no rule opens that"), None)
        }
        AddressRefusal::Forbidden { range, never: false } => {
            let rule = Rule::Private(authority.clone());
            let hint =
                format!("its range is {range}, a rule opens exactly this host and port: {}", rule.command());
            refused(Reason::PrivateAddress, hint, Some(Box::new(rule)))
        }
    }
}

/// Why an address as a host is not dialled, before anything is resolved.
pub(super) fn literal(authority: &Authority, private_allowed: bool) -> Option<Denial> {
    let Host::Ip(ip) = authority.host else { return None };
    let range = address::forbidden(ip)?;
    let never = address::never(ip);
    let refused = never || !private_allowed;
    refused.then(|| not_dialled(authority, AddressRefusal::Forbidden { range, never }))
}
