//! Which rule the human means by a few words.
//!
//! Owns the ways to name a rule: its number in the list, its text, its text without the verb, its host.
//! Must not know files.

use ftl_core::egress::policy::Source;
use ftl_core::egress::rule::Rule;

/// A rule with where it stands in the list that `policy show` prints, from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Numbered {
    /// Its place.
    pub number: usize,
    /// The rule.
    pub rule: Rule,
    /// Where it comes from.
    pub source: Source,
}

/// What words mean among rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Named {
    /// This one, which the human wrote.
    One(Numbered),
    /// More than one.
    Several(Vec<Numbered>),
    /// One that nobody wrote for FTL, so that it lies in no file of rules.
    Foreign(Numbered),
    /// None.
    Nothing,
}

/// The rule that `text` names. A number means any rule of the list; words mean a rule of `scope`, or one
/// that is not the human's.
#[must_use]
pub(super) fn named<'a>(
    rules: impl Iterator<Item = (&'a Rule, &'a Source)>,
    text: &str,
    scope: &Source,
) -> Named {
    let text = text.trim();
    let rules: Vec<Numbered> = (1..)
        .zip(rules)
        .map(|(number, (rule, source))| Numbered { number, rule: rule.clone(), source: source.clone() })
        .collect();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match rules.into_iter().find(|one| one.number.to_string() == text) {
            Some(one) if one.source.is_human() => Named::One(one),
            Some(one) => Named::Foreign(one),
            None => Named::Nothing,
        };
    }
    let means = |test: &dyn Fn(&Rule) -> bool| {
        let of = |own: bool| {
            let counts = |one: &&Numbered| match own {
                true => one.source == *scope,
                false => !one.source.is_human(),
            };
            let mut found: Vec<Numbered> =
                rules.iter().filter(counts).filter(|one| test(&one.rule)).cloned().collect();
            found.dedup_by(|one, other| one.rule == other.rule && one.source == other.source);
            found
        };
        (of(true), of(false))
    };
    let exact: Option<Rule> = text.parse().ok();
    let (own, foreign) = means(&|rule| exact.as_ref() == Some(rule));
    match one_of(own, foreign) {
        Named::Nothing => {
            let full = |verb: &str| format!("{verb} {text}").parse::<Rule>().ok();
            let fulls = [full("allow"), full("deny"), full("private")];
            let host = text.to_ascii_lowercase();
            let (own, foreign) =
                means(&|rule| fulls.iter().flatten().any(|full| full == rule) || is_of(rule, &host));
            one_of(own, foreign)
        }
        found => found,
    }
}

fn one_of(mut own: Vec<Numbered>, mut foreign: Vec<Numbered>) -> Named {
    match (own.len(), foreign.len()) {
        (1, _) => Named::One(own.swap_remove(0)),
        (0, 0) => Named::Nothing,
        (0, _) => Named::Foreign(foreign.swap_remove(0)),
        _ => Named::Several(own),
    }
}

/// Whether a rule is about this host, written with its port or without.
fn is_of(rule: &Rule, host: &str) -> bool {
    match rule {
        Rule::Allow(target) | Rule::Deny(target) => {
            let name = target.host.to_string();
            name == host || target.port.is_some_and(|port| format!("{name}:{port}") == host)
        }
        Rule::Private(authority) => authority.host.to_string() == host || authority.to_string() == host,
        Rule::Limit { host: of, .. } => of.to_string() == host,
        Rule::Alias { name, .. } => name.to_string() == host,
        Rule::Preset(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ftl_core::egress::preset::Preset;

    fn say(text: &str) -> String {
        let rules: Vec<(Rule, Source)> = [
            ("allow GET api.example.com/v1", Source::Project),
            ("allow POST api.example.com/v2", Source::Project),
            ("deny one.example.com", Source::Project),
            ("private db.corp.example:5432", Source::Project),
            ("allow one.example.com", Source::Global),
            ("allow GET registry.npmjs.org", Source::Preset(Preset::Balanced)),
        ]
        .map(|(text, source)| (text.parse().unwrap(), source))
        .to_vec();
        let list = rules.iter().map(|(rule, source)| (rule, source));
        match named(list, text, &Source::Project) {
            Named::One(one) => format!("{}", one.number),
            Named::Several(all) => all.iter().map(|one| format!("{}?", one.number)).collect(),
            Named::Foreign(one) => format!("{}!", one.number),
            Named::Nothing => "-".to_owned(),
        }
    }

    #[test]
    fn a_rule_has_many_names() {
        for (text, expected) in [
            ("1", "1"),
            ("5", "5"),
            ("6", "6!"),
            ("7", "-"),
            ("0", "-"),
            ("allow GET api.example.com/v1/", "1"),
            ("GET api.example.com/v1", "1"),
            ("api.example.com", "1?2?"),
            ("one.example.com", "3"),
            ("ONE.example.com", "3"),
            ("allow one.example.com", "-"),
            ("db.corp.example", "4"),
            ("db.corp.example:5432", "4"),
            ("registry.npmjs.org", "6!"),
            ("", "-"),
            ("other.example.com", "-"),
        ] {
            assert_eq!(say(text), expected, "{text:?}");
        }
    }
}
