//! Rules that mean more than they seem to.
//!
//! Owns the list of hosts that many share and what is said about a rule for one of them, or about a path
//! behind which everything is. Must not know who wrote the rule.

use std::sync::LazyLock;

use super::{PathPattern, Rule, Target};
use crate::egress::host::{DnsName, HostPattern, suffix_kind};

/// The two parts of `tenants.txt`.
struct Tenants {
    names: Vec<&'static str>,
    paths: Vec<&'static str>,
}

static TENANTS: LazyLock<Tenants> = LazyLock::new(|| read(include_str!("tenants.txt")));

fn read(text: &'static str) -> Tenants {
    let mut tenants = Tenants { names: Vec::new(), paths: Vec::new() };
    let mut in_paths = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line {
            "[names]" => in_paths = false,
            "[paths]" => in_paths = true,
            host if in_paths => tenants.paths.push(host),
            host => tenants.names.push(host),
        }
    }
    tenants
}

/// Whether a pattern means hosts of many owners: a credential that goes to them goes to strangers.
#[must_use]
pub fn shared_by_many(pattern: &HostPattern) -> bool {
    let HostPattern::Below(name) = pattern else { return false };
    let inside = |host: &str| is_at_or_below(host, name.as_str());
    suffix_kind(name).is_some()
        || is_regional(name)
        || TENANTS.names.iter().any(|host| inside(host) || name.as_str() == *host)
}

/// Whether one name is another or below it.
fn is_at_or_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Buckets and functions of one region, such as `s3.eu-west-1.amazonaws.com`.
fn is_regional(name: &DnsName) -> bool {
    name.as_str().split_once('.').is_some_and(|(first, rest)| {
        ["s3", "execute-api", "lambda-url", "s3-website"].contains(&first)
            && (is_at_or_below(rest, "amazonaws.com") || is_at_or_below(rest, "on.aws"))
    })
}

/// What the human should know about a rule.
pub(super) fn warning(rule: &Rule) -> Option<String> {
    let Rule::Allow(target) = rule else { return None };
    let host = &target.host;
    if shared_by_many(host) {
        return Some(format!("anybody can have a name that {host} means, write the one that is yours"));
    }
    if target.path.is_none() && TENANTS.paths.iter().any(|shared| host.to_string() == *shared) {
        let example = Target { path: Some(PathPattern::Below("/YOURS".into())), ..target.clone() };
        return Some(format!("anybody can have a part of {host}, narrow it with a path: `allow {example}`"));
    }
    let path = target.path.as_ref().map(PathPattern::text)?;
    let last = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let all_powers = ["graphql", "$batch", "batch", "jsonrpc", "json-rpc", "rpc"];
    all_powers.contains(&last.as_str()).then(|| {
        format!(
            "requests to {path} say in their body what they do, so this allows everything the host can do"
        )
    })
}
