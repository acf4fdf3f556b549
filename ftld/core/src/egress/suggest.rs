//! Rules that would have let through what was refused.
//!
//! Owns how refusals become the narrowest useful rules. Must not know who would write them.

use std::collections::{BTreeMap, BTreeSet};

use super::host::Authority;
use super::path::CanonicalPath;
use super::policy::{method_of, path_of, place};
use super::rule::{PathPattern, Rule, Scheme, Target};

/// A request that was refused, and how often.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Method.
    pub method: String,
    /// TLS or not; none when that is no longer known: then TLS except on port 80.
    pub scheme: Option<Scheme>,
    /// Host and port.
    pub authority: Authority,
    /// Path; none when that is no longer known.
    pub path: Option<CanonicalPath>,
    /// How often.
    pub count: u64,
}

/// More rules than this for one host and port are one rule for the whole of it: nobody reads them all.
const MOST_RULES: usize = 4;

/// What becomes one rule.
#[derive(Default)]
struct Group {
    /// None among them means every method.
    methods: BTreeSet<Option<String>>,
    /// The segments that all have in common; none before the first.
    common: Option<Vec<String>>,
    count: u64,
}

/// The narrowest useful rules, each with how many of these requests it would have let through, the most
/// wanted first. Never a wildcard.
///
/// Requests to one host become one rule per first segment of their paths, with all methods that were used
/// and the segments that the paths have in common. A path that no rule may have, and more than four first
/// segments, become a rule for the host.
#[must_use]
pub fn suggest(refused: &[Refused]) -> Vec<(Rule, u64)> {
    let mut places: BTreeMap<(Authority, Scheme), BTreeMap<Option<String>, Group>> = BTreeMap::new();
    for one in refused {
        let plain = if one.authority.port == Scheme::Http.port() { Scheme::Http } else { Scheme::Https };
        let path = one.path.as_ref().and_then(path_of);
        let segments: Vec<String> =
            path.iter().flat_map(|path| path.text().split('/').skip(1)).map(str::to_owned).collect();
        let groups = places.entry((one.authority.clone(), one.scheme.unwrap_or(plain))).or_default();
        let group = groups.entry(segments.first().cloned()).or_default();
        group.add([method_of(&one.method)], segments, one.count);
    }
    let mut rules = Vec::new();
    for ((authority, scheme), groups) in places {
        let mut groups: Vec<Group> = groups.into_values().collect();
        if groups.len() > MOST_RULES {
            groups = vec![Group::merged(groups)];
        }
        for group in groups {
            let count = group.count;
            rules.push((Rule::Allow(group.into_target(place(scheme, &authority))), count));
        }
    }
    // Equal ones stay in the order of their hosts.
    rules.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    rules
}

impl Group {
    fn merged(groups: Vec<Self>) -> Self {
        let mut all = Self::default();
        for group in groups {
            all.add(group.methods, Vec::new(), group.count);
        }
        all
    }

    fn add(&mut self, methods: impl IntoIterator<Item = Option<String>>, segments: Vec<String>, count: u64) {
        self.methods.extend(methods);
        self.count = self.count.saturating_add(count);
        match &mut self.common {
            None => self.common = Some(segments),
            Some(common) => {
                let same = common.iter().zip(&segments).take_while(|(one, other)| one == other).count();
                common.truncate(same);
            }
        }
    }

    fn into_target(self, place: Target) -> Target {
        let methods: Option<Vec<String>> = self.methods.into_iter().collect();
        let common = self.common.filter(|segments| !segments.is_empty());
        let path = common.map(|segments| PathPattern::Below(format!("/{}", segments.join("/"))));
        Target { methods: methods.unwrap_or_default(), path, ..place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: &str, authority: &str, path: &str, count: u64) -> Refused {
        Refused {
            method: method.into(),
            scheme: None,
            authority: Authority::parse(authority, None).unwrap(),
            path: CanonicalPath::parse(path).ok(),
            count,
        }
    }

    fn suggested(refused: &[Refused]) -> Vec<(String, u64)> {
        suggest(refused).into_iter().map(|(rule, count)| (rule.to_string(), count)).collect()
    }

    #[test]
    fn requests_with_something_in_common_become_one_rule() {
        let rules = suggested(&[
            refused("GET", "api.example.com:443", "/v1/users/1", 2),
            refused("POST", "api.example.com:443", "/v1/users/2", 1),
            refused("GET", "api.example.com:443", "/status", 4),
            refused("GET", "other.example.com:443", "/", 1),
        ]);
        assert_eq!(
            rules,
            [
                ("allow GET api.example.com/status".to_owned(), 4),
                ("allow GET,POST api.example.com/v1/users".to_owned(), 3),
                ("allow GET other.example.com".to_owned(), 1),
            ]
        );
    }

    #[test]
    fn ports_schemes_and_odd_requests_have_their_rule() {
        let rules = suggested(&[
            refused("GET", "a.example.com:80", "/x", 6),
            refused("GET", "a.example.com:8443", "/x/", 5),
            refused("GET", "b.example.com:443", "/@s%2fn", 4),
            refused("get", "c.example.com:443", "/x", 3),
            refused("GET", "c.example.com:443", "/x", 2),
            refused("GET", "d.example.com:443", &format!("/x/{}", "y".repeat(500)), 1),
        ]);
        assert_eq!(
            rules,
            [
                ("allow GET http://a.example.com/x".to_owned(), 6),
                ("allow GET a.example.com:8443/x".to_owned(), 5),
                ("allow c.example.com/x".to_owned(), 5),
                ("allow GET b.example.com".to_owned(), 4),
                ("allow GET d.example.com".to_owned(), 1),
            ]
        );
        assert_eq!(suggest(&[]), []);
    }

    #[test]
    fn many_paths_of_one_host_become_one_rule() {
        let packages = ["a", "b", "c", "d", "e"].map(|name| format!("/{name}"));
        let mut all: Vec<_> =
            packages.iter().map(|path| refused("GET", "registry.example.com:443", path, 1)).collect();
        assert_eq!(suggested(&all[..4]).len(), 4);
        all.push(refused("POST", "registry.example.com:443", "/a", 1));
        assert_eq!(suggested(&all), [("allow GET,POST registry.example.com".to_owned(), 6)]);
    }
}
