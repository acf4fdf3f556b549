//! Sandboxes that are made ahead: which launch may take one, and which go.
//!
//! Owns both decisions. Must not know how a sandbox is made, or by whom: a sandbox is what was asked for when it
//! was made, and a time since which nobody has wanted it.

/// What a sandbox was made of, each part with its name. Two that are equal in all of them are the same to
/// whoever runs in them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Traits(Vec<(&'static str, String)>);

/// A sandbox that stands ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// For whom: no two of the same are kept.
    pub purpose: Purpose,
    /// Since when nobody has wanted it, microseconds since the Unix epoch.
    pub since_us: i64,
}

/// What a sandbox is kept for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Purpose {
    /// The project's root.
    pub project: Vec<u8>,
    /// The agent's name.
    pub agent: String,
}

/// How many sandboxes stand ready, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// So many in all; with 0 none is made.
    pub most: usize,
    /// How long one stays that nobody wants, microseconds.
    pub idle_us: i64,
}

impl Traits {
    /// Adds a part.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.0.push((name, value));
        self
    }

    /// The first part in which a sandbox is not what is wanted now; `None` when it is that in everything.
    #[must_use]
    pub fn differs_from(&self, wanted: &Self) -> Option<&'static str> {
        let other = |name| wanted.0.iter().find(|(of, _)| *of == name).map(|(_, value)| value);
        let mine = self.0.iter().find(|(name, value)| other(*name) != Some(value)).map(|(name, _)| *name);
        let only_theirs = || wanted.0.iter().map(|(name, _)| *name).find(|name| !self.names(name));
        mine.or_else(only_theirs)
    }

    fn names(&self, name: &str) -> bool {
        self.0.iter().any(|(of, _)| *of == name)
    }
}

/// The sandboxes that go, as indexes into `ready`: those that nobody has wanted for too long, all but the newest
/// of each purpose, and of the rest the longest unwanted beyond the budget.
#[must_use]
pub fn to_end(ready: &[Ready], budget: Budget, now_us: i64) -> Vec<usize> {
    let mut newest_first: Vec<(usize, &Ready)> = ready.iter().enumerate().collect();
    // Of equals the one that was made last.
    newest_first.sort_by_key(|(at, one)| std::cmp::Reverse((one.since_us, *at)));
    let mut kept: Vec<&Purpose> = Vec::new();
    let mut gone = Vec::new();
    for (at, one) in newest_first {
        let is_idle = now_us.saturating_sub(one.since_us) > budget.idle_us;
        if is_idle || kept.len() >= budget.most || kept.contains(&&one.purpose) {
            gone.push(at);
        } else {
            kept.push(&one.purpose);
        }
    }
    gone.sort_unstable();
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(of: &[(&'static str, &str)]) -> Traits {
        of.iter().fold(Traits::default(), |traits, (name, value)| traits.with(name, (*value).to_owned()))
    }

    #[test]
    fn only_what_is_equal_in_everything_is_taken() {
        let made = traits(&[("layers", "a:b"), ("image", "1"), ("owner", "7")]);
        for (wanted, differs) in [
            (traits(&[("layers", "a:b"), ("image", "1"), ("owner", "7")]), None),
            (traits(&[("owner", "7"), ("image", "1"), ("layers", "a:b")]), None),
            (traits(&[("layers", "a"), ("image", "1"), ("owner", "7")]), Some("layers")),
            (traits(&[("layers", "a:b"), ("image", "2"), ("owner", "7")]), Some("image")),
            (traits(&[("layers", "a:b"), ("image", "1")]), Some("owner")),
            (traits(&[("layers", "a:b"), ("image", "1"), ("owner", "7"), ("runtime", "x")]), Some("runtime")),
        ] {
            assert_eq!(made.differs_from(&wanted), differs, "{wanted:?}");
        }
    }

    #[test]
    fn the_idle_the_doubled_and_the_too_many_go() {
        const BUDGET: Budget = Budget { most: 2, idle_us: 100 };
        let one = |project: &str, agent: &str, since_us| Ready {
            purpose: Purpose { project: project.into(), agent: agent.into() },
            since_us,
        };
        for (ready, gone) in [
            (vec![], vec![]),
            (vec![one("a", "x", 950)], vec![]),
            // The last moment of being wanted again, and the one after it.
            (vec![one("a", "x", 900)], vec![]),
            (vec![one("a", "x", 899)], vec![0]),
            // One for each project and agent, the newest.
            (vec![one("a", "x", 950), one("a", "x", 960), one("a", "y", 955)], vec![0]),
            (vec![one("a", "x", 950), one("a", "x", 950)], vec![0]),
            // As many as there may be, the newest.
            (vec![one("a", "x", 950), one("b", "x", 940), one("c", "x", 960)], vec![1]),
            (vec![one("a", "x", 950), one("b", "x", 800), one("c", "x", 960)], vec![1]),
            // A clock that was put back.
            (vec![one("a", "x", 2000)], vec![]),
        ] {
            assert_eq!(to_end(&ready, BUDGET, 1000), gone, "{ready:?}");
        }
        let none = Budget { most: 0, ..BUDGET };
        assert_eq!(to_end(&[one("a", "x", 1000)], none, 1000), [0]);
    }
}
