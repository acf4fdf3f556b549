//! Rules that would have let through what was refused.
//!
//! Owns how refusals become the narrowest useful rules. Must not know who would write them.

use std::collections::{BTreeMap, BTreeSet};

use super::host::{Authority, Host};
use super::path::CanonicalPath;
use super::policy::{method_of, path_of, place};
use super::rule::{PathPattern, Rule, Scheme, Target};

/// A request, or a question for a name, that was refused, and how often.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Method; empty when only the name was asked for.
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

/// A rule that would have helped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suggestion {
    /// The rule.
    pub rule: Rule,
    /// How many requests, or questions for the name, it would have let through.
    pub count: u64,
    /// Whether only the host's name is known, so that the rule means all of the host.
    pub name_only: bool,
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

/// The narrowest useful rules, the most wanted first. Never a wildcard.
///
/// Requests to one host become one rule per first segment of their paths, with all methods that were used
/// and the segments that the paths have in common. A path that no rule may have, and more than four first
/// segments, become a rule for the host. What git asks for becomes rules for the repository: reading it, and
/// writing only where a push was seen. A name that was asked for becomes a rule for the host only where no
/// request to it is known; what means the sandbox itself becomes none.
#[must_use]
pub fn suggest(refused: &[Refused]) -> Vec<Suggestion> {
    let wanted = |one: &&Refused| !one.authority.host.is_sandbox();
    let (names, requests): (Vec<_>, Vec<_>) =
        refused.iter().filter(wanted).partition(|one| one.method.is_empty());
    let mut places: BTreeMap<(Authority, Scheme), Place> = BTreeMap::new();
    for one in &requests {
        let plain = if one.authority.port == Scheme::Http.port() { Scheme::Http } else { Scheme::Https };
        places.entry((one.authority.clone(), one.scheme.unwrap_or(plain))).or_default().add(one);
    }
    let mut rules = Vec::new();
    for ((authority, scheme), of) in places {
        rules.extend(of.into_rules(&place(scheme, &authority)));
    }
    let known: BTreeSet<&Host> = requests.iter().map(|one| &one.authority.host).collect();
    let mut unknown: BTreeMap<&Authority, u64> = BTreeMap::new();
    for one in names.iter().filter(|one| !known.contains(&one.authority.host)) {
        let count = unknown.entry(&one.authority).or_default();
        *count = count.saturating_add(one.count);
    }
    for (authority, count) in unknown {
        let rule = Rule::Allow(place(Scheme::Https, authority));
        rules.push(Suggestion { rule, count, name_only: true });
    }
    // Equal ones stay in the order of their hosts.
    rules.sort_by_key(|one| std::cmp::Reverse(one.count));
    rules
}

/// What was asked of one host and port.
#[derive(Default)]
struct Place {
    /// By the first segment of the path.
    groups: BTreeMap<Option<String>, Group>,
    /// By the path of the repository.
    repositories: BTreeMap<String, Repository>,
}

/// What git asked of one repository.
#[derive(Default)]
struct Repository {
    count: u64,
    pushed: bool,
}

impl Place {
    fn add(&mut self, one: &Refused) {
        let path = one.path.as_ref().and_then(path_of);
        let text = path.as_ref().map_or("", PathPattern::text);
        if let Some((repository, pushed)) = of_git(&one.method, text) {
            let repository = self.repositories.entry(repository.to_owned()).or_default();
            repository.count = repository.count.saturating_add(one.count);
            repository.pushed |= pushed;
            return;
        }
        let segments: Vec<String> = text.split('/').skip(1).map(str::to_owned).collect();
        let group = self.groups.entry(segments.first().cloned()).or_default();
        group.add([method_of(&one.method)], segments, one.count);
    }

    fn into_rules(self, place: &Target) -> Vec<Suggestion> {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        if groups.len() > MOST_RULES {
            groups = vec![Group::merged(groups)];
        }
        let rule = |target, count| Suggestion { rule: Rule::Allow(target), count, name_only: false };
        let mut rules: Vec<Suggestion> = groups
            .into_iter()
            .map(|group| {
                let count = group.count;
                rule(group.into_target(place.clone()), count)
            })
            .collect();
        for (path, Repository { count, pushed }) in self.repositories {
            let of = |methods: &[&str], path: String| Target {
                methods: methods.iter().map(|&method| method.to_owned()).collect(),
                path: Some(PathPattern::Below(path)),
                ..place.clone()
            };
            if pushed {
                rules.push(rule(of(&["GET", "POST"], path), count));
            } else {
                // Reading is a GET and a POST; one rule for both would allow the POST that writes.
                rules.push(rule(of(&["GET"], format!("{path}{REFS}")), count));
                rules.push(rule(of(&["POST"], format!("{path}{READ}")), count));
            }
        }
        rules
    }
}

/// The ends of the paths that git asks for: what there is, reading it, writing it.
const REFS: &str = "/info/refs";
const READ: &str = "/git-upload-pack";
const WRITE: &str = "/git-receive-pack";

/// The repository's path when git asks for something of it, and whether it writes.
fn of_git<'a>(method: &str, path: &'a str) -> Option<(&'a str, bool)> {
    let (repository, pushed) = match method {
        "GET" => (path.strip_suffix(REFS)?, false),
        "POST" => match path.strip_suffix(READ) {
            Some(repository) => (repository, false),
            None => (path.strip_suffix(WRITE)?, true),
        },
        _ => return None,
    };
    (!repository.is_empty()).then_some((repository, pushed))
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
        suggest(refused).into_iter().map(|one| (one.rule.to_string(), one.count)).collect()
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
    #[test]
    fn a_name_counts_only_where_no_request_is_known() {
        let name = |host: &str, count| {
            let authority = Authority::parse(host, Some(443)).unwrap();
            Refused { method: String::new(), scheme: None, authority, path: None, count }
        };
        let all = suggest(&[
            name("api.example.com", 9),
            refused("GET", "api.example.com:8443", "/v1", 2),
            name("only.example.com", 1),
            name("only.example.com", 3),
            name("app.localhost", 9),
            refused("GET", "127.0.0.1:80", "/", 9),
        ]);
        let all: Vec<_> = all.iter().map(|one| (one.rule.to_string(), one.count, one.name_only)).collect();
        assert_eq!(
            all,
            [
                ("allow only.example.com".to_owned(), 4, true),
                ("allow GET api.example.com:8443/v1".to_owned(), 2, false),
            ]
        );
    }

    #[test]
    fn what_git_asks_for_becomes_reading_the_repository_and_writing_where_a_push_was_seen() {
        let mut all = vec![
            refused("GET", "git.example.com:443", "/x/y.git/info/refs", 2),
            refused("GET", "git.example.com:443", "/x/z/info/refs", 1),
            refused("POST", "git.example.com:443", "/x/z/git-upload-pack", 1),
        ];
        let read = |path: &str, count| {
            [
                (format!("allow GET git.example.com/x/{path}/info/refs"), count),
                (format!("allow POST git.example.com/x/{path}/git-upload-pack"), count),
            ]
        };
        assert_eq!(suggested(&all), [read("y.git", 2), read("z", 2)].concat());
        all.push(refused("POST", "git.example.com:443", "/x/y.git/git-receive-pack", 1));
        assert_eq!(suggested(&all)[0], ("allow GET,POST git.example.com/x/y.git".to_owned(), 3));
        let other = refused("PUT", "git.example.com:443", "/x/y.git/info/refs", 1);
        assert_eq!(suggested(&[other]), [("allow PUT git.example.com/x/y.git/info/refs".to_owned(), 1)]);
    }
}
