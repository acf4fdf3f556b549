//! What the rules say about a request.
//!
//! Owns layers, ranks and the decision: a pure function from the rules and the facts of one request to a
//! verdict. Must not know files, sessions or connections.
//!
//! A rule of a higher layer outranks every rule of a lower one; [`Source`] has the order. Within a layer the
//! narrower rule wins: the exact host over a wildcard, the longer wildcard over the shorter, then the longer
//! path, then a port over none, then methods over none, then a scheme over none. At equal rank a denial
//! wins. What no rule means is refused.

mod hint;
mod rank;
mod reason;
mod verdict;

use std::cmp::Reverse;

use super::address::AddressRefusal;
use super::host::{Authority, Host};
use super::preset::{self, Preset};
use super::rate::Limit;
use super::rule::Rule;
use rank::{Entry, Rank};
use verdict::Terms;

pub use super::rule::Facts;
pub(super) use hint::{method_of, path_of, place};
pub use reason::Reason;
pub use verdict::{Denial, Explanation, HostVerdict, Permit, Source, Verdict};

/// All rules that count for a session.
#[derive(Clone, Debug)]
pub struct Policy {
    preset: Preset,
    /// In order of rank of their layers, as given within one.
    entries: Vec<Entry>,
    generation: u64,
}

impl Default for Policy {
    /// The policy that denies everything.
    fn default() -> Self {
        Self::new(Preset::Locked, Vec::new())
    }
}

impl Policy {
    /// A policy of these layers, in any order, over a preset. A `preset` rule counts instead of the
    /// argument: that of the highest layer, the last one within it. What an agent or a credential needs can
    /// neither choose a preset nor open a private address; such rules of theirs do not count. No layer and
    /// the preset `locked` deny everything.
    #[must_use]
    pub fn new(preset: Preset, layers: Vec<(Source, Vec<Rule>)>) -> Self {
        let mut entries = Vec::new();
        for (source, rules) in layers {
            let trusted = source.is_human() || source == Source::TrustedConfig;
            let counts = |rule: &Rule| trusted || !matches!(rule, Rule::Private(_) | Rule::Preset(_));
            entries
                .extend(rules.into_iter().filter(counts).map(|rule| Entry { rule, source: source.clone() }));
        }
        let chosen = entries.iter().filter_map(|entry| match entry.rule {
            Rule::Preset(preset) => Some((entry.source.rank(), preset)),
            _ => None,
        });
        // Of several equal ones, `min_by_key` takes the first: so the last stands first.
        let chosen: Vec<_> = chosen.collect();
        let preset = chosen.iter().rev().min_by_key(|(rank, _)| *rank).map_or(preset, |(_, preset)| *preset);
        let of_preset = |rule: &Rule| Entry { rule: rule.clone(), source: Source::Preset(preset) };
        entries.extend(preset.rules().iter().map(of_preset));
        entries.sort_by_key(|entry| entry.source.rank());
        Self { preset, entries, generation: 0 }
    }

    /// The same with a number, which every permit carries.
    #[must_use]
    pub fn with_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// The number given to [`Self::with_generation`], 0 without.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The preset that counts.
    #[must_use]
    pub fn preset(&self) -> Preset {
        self.preset
    }

    /// Every rule with where it comes from, the highest layer first and the preset's last.
    pub fn rules(&self) -> impl Iterator<Item = (&Rule, &Source)> {
        self.entries.iter().map(|entry| (&entry.rule, &entry.source))
    }

    /// What becomes of a request.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>) -> Verdict {
        self.judge(facts, &self.meaning(facts))
    }

    /// The same for a request that the human allowed once: it is forwarded although no rule allows it.
    /// Whatever is refused for another reason than [`Reason::NotAllowed`] stays refused.
    #[must_use]
    pub fn decide_once(&self, facts: &Facts<'_>) -> Verdict {
        match self.decide(facts) {
            Verdict::Deny(denial) if denial.reason == Reason::NotAllowed => {
                self.permit(facts, hint::narrowest(facts).to_string(), Source::Once)
            }
            verdict => verdict,
        }
    }

    /// What becomes of a request, and why.
    #[must_use]
    pub fn explain(&self, facts: &Facts<'_>) -> Explanation {
        let meaning = self.meaning(facts);
        let verdict = self.judge(facts, &meaning);
        let said = |entry: &&Entry| (entry.rule.to_string(), entry.source.clone());
        let decided = match &verdict {
            Verdict::Allow(permit) => Some((permit.rule().to_owned(), permit.source().clone())),
            Verdict::Deny(denial) => denial.rule.clone().zip(denial.source.clone()),
        };
        let by_rule = decided.is_some() && !meaning.is_empty();
        let runner_up = meaning.get(usize::from(by_rule)).map(said);
        let by = decided.as_ref().map(|(rule, source)| match source {
            Source::Credential(_) | Source::Agent(_) => format!("`{rule}`, because of {source}"),
            _ => format!("`{rule}` ({source})"),
        });
        let sentence = match (&verdict, by) {
            (Verdict::Allow(_), Some(by)) => format!("allowed by {by}"),
            (Verdict::Deny(denial), Some(by)) => format!("refused by {by}: {}", denial.reason.sentence()),
            (Verdict::Deny(denial), None) => format!("refused: {}", denial.reason.sentence()),
            (Verdict::Allow(_), None) => "allowed".to_owned(),
        };
        Explanation { verdict, decided, runner_up, sentence }
    }

    /// Whether any request to this host, on whatever port, with whatever method and path, could be allowed.
    /// It is never refused when [`Self::decide`] would allow one.
    #[must_use]
    pub fn could_reach(&self, host: &Host) -> HostVerdict {
        if let Some(target) = self.alias(host) {
            return self.could_reach(&target.host);
        }
        if host.is_sandbox() {
            return HostVerdict::Refused(hint::sandbox());
        }
        let guarded = preset::answers_name_queries(host);
        let opens = |entry: &&Entry| entry.allows() == Some(true) && (!guarded || opens_guarded(entry));
        let means = || self.entries.iter().filter(|entry| entry.means_host(host));
        let allowed = means().filter(opens).map(Entry::rank).max();
        let denying = means().filter(|entry| entry.allows() == Some(false)).max_by_key(|entry| entry.rank());
        match (allowed, denying) {
            (allowed, Some(denying)) if allowed < Some(denying.rank()) => {
                HostVerdict::Refused(hint::denied(&denying.rule, &denying.source))
            }
            (Some(_), _) => HostVerdict::Reachable,
            (None, _) if self.opens(host) && !guarded => HostVerdict::Reachable,
            (None, _) => HostVerdict::Refused(hint::missing(reason_for(host), hint::whole_host(host))),
        }
    }

    /// How often this host may be asked; none means as often as it likes. Of rules of equal rank the lower
    /// limit counts.
    #[must_use]
    pub fn limit_for(&self, authority: &Authority) -> Option<Limit> {
        let limits = self.entries.iter().filter_map(|entry| match entry.rule {
            Rule::Limit { limit, .. } if entry.means_host(&authority.host) => Some((entry.rank(), limit)),
            _ => None,
        });
        limits
            .max_by_key(|(rank, limit)| (*rank, Reverse((limit.per_minute(), limit.burst()))))
            .map(|(_, limit)| limit)
    }

    /// What this host stands for when it is an alias. That is decided about as any other host.
    #[must_use]
    pub fn alias(&self, host: &Host) -> Option<Authority> {
        let wanted = host.name()?;
        let aliases = self.entries.iter().filter_map(|entry| match &entry.rule {
            Rule::Alias { name, target } if name == wanted => Some((entry.source.rank(), target)),
            _ => None,
        });
        let aliases: Vec<_> = aliases.collect();
        aliases.iter().rev().min_by_key(|(rank, _)| *rank).map(|(_, target)| (*target).clone())
    }

    /// Whether a `private` rule names exactly this host and port.
    #[must_use]
    pub fn private_allowed(&self, authority: &Authority) -> bool {
        self.entries.iter().any(|entry| matches!(&entry.rule, Rule::Private(one) if one == authority))
    }

    /// The denial for a host whose addresses may not be dialled.
    #[must_use]
    pub fn address_denial(&self, authority: &Authority, refusal: AddressRefusal) -> Denial {
        hint::not_dialled(authority, refusal)
    }

    /// Every rule that means a request and counts for it, the one that decides first.
    fn meaning(&self, facts: &Facts<'_>) -> Vec<&Entry> {
        let guarded = preset::answers_name_queries(&facts.authority.host);
        let counts = |entry: &Entry| !guarded || entry.allows() != Some(true) || opens_guarded(entry);
        let mut meaning: Vec<(Rank, &Entry)> = self
            .entries
            .iter()
            .filter(|entry| counts(entry))
            .filter_map(|entry| Some((entry.rank_for(facts)?, entry)))
            .collect();
        meaning.sort_by_key(|(rank, _)| Reverse(*rank));
        meaning.into_iter().map(|(_, entry)| entry).collect()
    }

    fn judge(&self, facts: &Facts<'_>, meaning: &[&Entry]) -> Verdict {
        let host = &facts.authority.host;
        if host.is_sandbox() {
            return Verdict::Deny(hint::sandbox());
        }
        let literal = || hint::literal(facts.authority, self.private_allowed(facts.authority));
        match meaning.first() {
            Some(entry) if entry.allows() == Some(false) => {
                Verdict::Deny(hint::denied(&entry.rule, &entry.source))
            }
            first => match (literal(), first) {
                (Some(denial), _) => Verdict::Deny(denial),
                (None, Some(entry)) => self.permit(facts, entry.rule.to_string(), entry.source.clone()),
                (None, None) if self.opens_request(facts) => {
                    self.permit(facts, format!("preset {}", self.preset), Source::Preset(self.preset))
                }
                (None, None) => Verdict::Deny(hint::missing(reason_for(host), hint::narrowest(facts))),
            },
        }
    }

    /// Whether the preset alone allows a request.
    fn opens_request(&self, facts: &Facts<'_>) -> bool {
        let host = &facts.authority.host;
        self.opens(host) && facts.authority.port == facts.scheme.port() && !preset::answers_name_queries(host)
    }

    /// Whether the preset alone allows a host.
    fn opens(&self, host: &Host) -> bool {
        self.preset == Preset::Open && preset::is_public(host)
    }

    fn permit(&self, facts: &Facts<'_>, rule: String, source: Source) -> Verdict {
        Verdict::Allow(Permit::new(Terms {
            authority: facts.authority.clone(),
            scheme: facts.scheme,
            rule,
            source,
            private: self.private_allowed(facts.authority),
            generation: self.generation,
        }))
    }
}

/// Whether a rule opens even a host that answers name queries.
fn opens_guarded(entry: &Entry) -> bool {
    entry.names_exactly() && entry.source.is_human()
}

/// Why a host is refused that no rule allows.
fn reason_for(host: &Host) -> Reason {
    match host {
        Host::Ip(_) => Reason::IpLiteral,
        host if preset::answers_name_queries(host) => Reason::Doh,
        Host::Dns(_) => Reason::NotAllowed,
    }
}

#[cfg(test)]
mod tests;
