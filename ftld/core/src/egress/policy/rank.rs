//! Which rule decides when several mean a request.
//!
//! Owns the order. Must not know what is done with the first.

use super::Source;
use crate::egress::host::{Host, HostPattern};
use crate::egress::rule::{Facts, Rule, Target};

/// A rule in its layer.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) rule: Rule,
    pub(super) source: Source,
}

/// How narrow a rule is; the greater decides. The fields are compared in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank {
    /// Greater is higher.
    layer: u8,
    exact_host: bool,
    host_length: usize,
    segments: usize,
    port: bool,
    methods: bool,
    scheme: bool,
    denies: bool,
}

impl Entry {
    /// Whether it allows requests or denies them; none when it does something else.
    pub(super) fn allows(&self) -> Option<bool> {
        match self.rule {
            Rule::Allow(_) | Rule::Private(_) => Some(true),
            Rule::Deny(_) => Some(false),
            Rule::Limit { .. } | Rule::Alias { .. } | Rule::Preset(_) => None,
        }
    }

    /// Its rank when it means a request.
    pub(super) fn rank_for(&self, facts: &Facts<'_>) -> Option<Rank> {
        let means = match &self.rule {
            Rule::Allow(target) => target.allows(facts),
            Rule::Deny(target) => target.denies(facts),
            Rule::Private(authority) => authority == facts.authority,
            Rule::Limit { .. } | Rule::Alias { .. } | Rule::Preset(_) => false,
        };
        means.then(|| self.rank())
    }

    /// Whether it means anything at a host, or everything when it denies.
    pub(super) fn means_host(&self, host: &Host) -> bool {
        match &self.rule {
            Rule::Allow(target) => target.host.matches(host),
            Rule::Deny(target) => target.host.matches(host) && target.is_whole_host(),
            Rule::Private(authority) => authority.host == *host,
            Rule::Limit { host: pattern, .. } => pattern.matches(host),
            Rule::Alias { .. } | Rule::Preset(_) => false,
        }
    }

    /// Whether it names one host and no pattern.
    pub(super) fn names_exactly(&self) -> bool {
        match &self.rule {
            Rule::Allow(target) | Rule::Deny(target) => matches!(target.host, HostPattern::Exact(_)),
            Rule::Limit { host, .. } => matches!(host, HostPattern::Exact(_)),
            Rule::Private(_) | Rule::Alias { .. } => true,
            Rule::Preset(_) => false,
        }
    }

    /// Its rank among the rules that mean the same request.
    pub(super) fn rank(&self) -> Rank {
        let none = Rank {
            layer: u8::MAX - self.source.rank(),
            exact_host: self.names_exactly(),
            host_length: 0,
            segments: 0,
            port: false,
            methods: false,
            scheme: false,
            denies: self.allows() == Some(false),
        };
        match &self.rule {
            Rule::Allow(target) | Rule::Deny(target) => none.narrowed(target),
            Rule::Limit { host, .. } => Rank { host_length: host_length(host), ..none },
            Rule::Private(_) => Rank { port: true, ..none },
            Rule::Alias { .. } | Rule::Preset(_) => none,
        }
    }
}

impl Rank {
    fn narrowed(self, target: &Target) -> Self {
        Self {
            host_length: host_length(&target.host),
            segments: target.path.as_ref().map_or(0, |path| path.segments()),
            port: target.port.is_some(),
            methods: !target.methods.is_empty(),
            scheme: target.scheme.is_some(),
            ..self
        }
    }
}

/// The length of what a wildcard stands before; exact hosts that mean the same request are the same.
fn host_length(pattern: &HostPattern) -> usize {
    match pattern {
        HostPattern::Exact(_) => 0,
        HostPattern::Below(name) => name.as_str().len(),
    }
}
