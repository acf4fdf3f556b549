//! Which snapshots and sessions are kept.
//!
//! Owns the decision, by age, by number and by a budget. Must not know how anything is removed. What a session
//! or an unreviewed result needs is kept in any case: it is handed in.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::SnapshotId;
use crate::lifecycle::State;

/// A listed snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its id.
    pub id: SnapshotId,
    /// Project directory, absolute.
    pub project: Vec<u8>,
    /// When it was taken, microseconds since the Unix epoch.
    pub time_us: i64,
    /// When it was fetched from elsewhere, in the same way; 0 when it was taken here.
    pub pulled_us: i64,
}

impl Listed {
    /// Since when it is here.
    fn here_us(&self) -> i64 {
        self.time_us.max(self.pulled_us)
    }
}

/// What may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// All but the newest so many of each project.
    Last(usize),
    /// What is older than so many microseconds.
    OlderThan(i64),
    /// Everything.
    All,
    /// Kept are the newest so many of each project, and whatever is not older than so many microseconds;
    /// the newest of each project in any case.
    Usual {
        /// So many.
        last: usize,
        /// Microseconds.
        older_than_us: i64,
    },
}

/// What is kept when nobody says otherwise: 20 of each project, and 30 days.
pub const USUAL: Policy = Policy::Usual { last: 20, older_than_us: 30 * 24 * 3600 * 1_000_000 };

/// How long a session stays that has ended, when nobody says otherwise: 30 days.
pub const ENDED_US: i64 = 30 * 24 * 3600 * 1_000_000;

/// Whether a session goes that stands in `state` since `since_us`: it has ended, and was left alone for longer
/// than `kept_us`. One that waits for a decision never does.
#[must_use]
pub fn is_over(state: State, since_us: i64, kept_us: i64, now_us: i64) -> bool {
    state.has_ended() && now_us.saturating_sub(since_us) > kept_us
}

/// What a session has on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its last change, microseconds since the Unix epoch.
    pub updated_us: i64,
    /// Bytes.
    pub bytes: u64,
    /// Whether it may go: it has ended.
    pub has_ended: bool,
}

/// The sessions that go to make room, as indexes into `held`: of those that have ended the ones that were left alone
/// for the longest, until all that are left take no more than `budget` bytes.
#[must_use]
pub fn to_make_room(held: &[Held], budget: u64) -> Vec<usize> {
    let mut sum = held.iter().fold(0_u64, |sum, one| sum.saturating_add(one.bytes));
    let mut oldest_first: Vec<(usize, &Held)> =
        held.iter().enumerate().filter(|(_, one)| one.has_ended).collect();
    oldest_first.sort_by_key(|(at, one)| (one.updated_us, *at));
    let mut gone = Vec::new();
    for (at, one) in oldest_first {
        if sum <= budget {
            break;
        }
        sum = sum.saturating_sub(one.bytes);
        gone.push(at);
    }
    gone
}

/// The rows that go, as indexes into `rows`. Rows of a snapshot in `needed` never do. One that was fetched is
/// as old as its being here, and none that was taken here goes in its place.
#[must_use]
pub fn to_drop(
    rows: &[Listed],
    policy: Policy,
    needed: &BTreeSet<SnapshotId>,
    now_us: i64,
) -> BTreeSet<usize> {
    let mut projects: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        projects.entry(&row.project).or_default().push(at);
    }
    let mut gone = BTreeSet::new();
    for of_project in projects.values_mut() {
        of_project.sort_by_key(|at| rows.get(*at).map(|row| std::cmp::Reverse((row.time_us, row.id))));
        let (mut all, mut taken) = (0, 0);
        for at in of_project.iter() {
            let Some(row) = rows.get(*at) else { continue };
            let is_taken = row.pulled_us == 0;
            let rank = if is_taken { taken } else { all };
            all += 1;
            taken += usize::from(is_taken);
            let age = now_us.saturating_sub(row.here_us());
            let goes = match policy {
                Policy::Last(last) => rank >= last,
                Policy::OlderThan(limit) => age > limit,
                Policy::All => true,
                Policy::Usual { last, older_than_us } => rank >= last.max(1) && age > older_than_us,
            };
            if goes && !needed.contains(&row.id) {
                gone.insert(*at);
            }
        }
    }
    gone
}

/// The rows that may go to make room, the oldest first: the newest of each project and those of `needed` stay.
#[must_use]
pub fn oldest_first(rows: &[Listed], needed: &BTreeSet<SnapshotId>) -> Vec<usize> {
    let newest = to_drop(rows, Policy::Last(1), needed, 0);
    let mut order: Vec<usize> = newest.into_iter().collect();
    order.sort_by_key(|at| rows.get(*at).map(|row| (row.here_us(), row.id)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Hash;

    fn row(project: &str, time_us: i64) -> Listed {
        let id = SnapshotId(Hash::of(format!("{project}{time_us}").as_bytes()));
        Listed { id, project: project.into(), time_us, pulled_us: 0 }
    }

    fn left(policy: Policy, needed: &[usize]) -> Vec<usize> {
        let rows = [row("a", 10), row("a", 30), row("b", 5), row("a", 20), row("b", 40)];
        let needed = needed.iter().map(|at| rows[*at].id).collect();
        let gone = to_drop(&rows, policy, &needed, 50);
        (0..rows.len()).filter(|at| !gone.contains(at)).collect()
    }

    #[test]
    fn each_policy_keeps_what_it_says_of_each_project() {
        assert_eq!(left(Policy::Last(1), &[]), [1, 4]);
        assert_eq!(left(Policy::Last(2), &[]), [1, 2, 3, 4]);
        assert_eq!(left(Policy::Last(0), &[]), [0_usize; 0]);
        assert_eq!(left(Policy::OlderThan(25), &[]), [1, 4]);
        assert_eq!(left(Policy::All, &[]), [0_usize; 0]);
        assert_eq!(left(Policy::Usual { last: 1, older_than_us: 35 }, &[]), [1, 3, 4]);
        // The newest of a project that nobody has touched for long.
        assert_eq!(left(Policy::Usual { last: 0, older_than_us: 0 }, &[]), [1, 4]);
    }

    #[test]
    fn what_was_fetched_is_as_old_as_its_being_here_and_drives_nothing_out() {
        let pulled = |time_us, pulled_us| Listed { pulled_us, ..row("a", time_us) };
        let gone = |rows: &[Listed], policy, now_us| to_drop(rows, policy, &BTreeSet::new(), now_us);
        let usual = Policy::Usual { last: 1, older_than_us: 20 };
        // Newer than what was taken here, and then older.
        let rows = [row("a", 10), pulled(30, 90), pulled(5, 90)];
        assert_eq!(gone(&rows, usual, 100), BTreeSet::new());
        assert_eq!(gone(&rows, usual, 111), BTreeSet::from([2]));
        assert_eq!(gone(&rows, Policy::OlderThan(20), 100), BTreeSet::from([0]));
        assert_eq!(gone(&rows, Policy::Last(1), 100), BTreeSet::from([2]));
        assert_eq!(oldest_first(&[row("a", 10), row("a", 40), pulled(5, 90)], &BTreeSet::new()), [0, 2]);
    }

    #[test]
    fn a_session_goes_when_it_has_ended_for_long_enough_and_never_before_its_review() {
        for state in State::ALL {
            let waits = state == State::AwaitingReview || !state.is_idle();
            assert_eq!(is_over(state, 100, 50, 151), !waits, "{state:?}");
            assert!(!is_over(state, 100, 50, 150), "{state:?}");
            // A clock that was put back.
            assert!(!is_over(state, 100, 50, 0), "{state:?}");
        }
    }

    #[test]
    fn the_longest_ended_sessions_make_room_and_no_other() {
        let one = |updated_us, bytes, has_ended| Held { updated_us, bytes, has_ended };
        for (held, budget, gone) in [
            (vec![], 0, vec![]),
            (vec![one(1, 50, true), one(2, 50, true)], 100, vec![]),
            (vec![one(2, 50, true), one(1, 51, true)], 100, vec![1]),
            (vec![one(1, 60, false), one(2, 30, true), one(3, 30, true)], 70, vec![1, 2]),
            // What waits for its human stays, however much it is.
            (vec![one(1, u64::MAX, false), one(2, u64::MAX, false)], 1, vec![]),
        ] {
            assert_eq!(to_make_room(&held, budget), gone, "{held:?}");
        }
    }

    #[test]
    fn what_is_needed_stays_whatever_is_asked() {
        for policy in [Policy::Last(0), Policy::OlderThan(0), Policy::All] {
            assert_eq!(left(policy, &[0, 2]), [0, 2]);
        }
    }

    #[test]
    fn room_is_made_from_the_oldest_and_the_newest_stays() {
        let rows = [row("a", 10), row("a", 30), row("b", 5), row("a", 20), row("b", 40)];
        assert_eq!(oldest_first(&rows, &BTreeSet::new()), [2, 0, 3]);
        assert_eq!(oldest_first(&rows, &BTreeSet::from([rows[0].id])), [2, 3]);
    }
}
