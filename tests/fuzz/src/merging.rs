//! Parts of a change, and two changes of one text.
//!
//! Owns what must hold for them. Texts in an input are apart by NUL, which no text has. Must not know paths.

use ftl_core::hunk::{self, Limits, Tag};
use ftl_core::select::{self, Choice, HunkName, SelectError};
use ftl_core::three::{self, Decision, Merged, Region};

/// Whatever is chosen makes the text or says why not; none is the text before, all is the text after, and what
/// is left of a part leads there. Behind the two texts, three bytes are a choice: hunk, first line, lines.
pub(crate) fn select(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let [before, after, chosen] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let limits = Limits::default();
    let found = hunk::hunks(before, after, limits);
    let all = |count: usize| {
        let whole = |number| Choice::whole(HunkName::Number(number));
        (1..=count as u32).map(whole).collect::<Vec<_>>()
    };
    assert_eq!(select::select(before, after, limits, &[]).as_deref(), Ok(before));
    if found.elided.is_some() {
        assert!(matches!(select::select(before, after, limits, &all(1)), Err(SelectError::Whole(_))));
        return;
    }
    assert_eq!(select::select(before, after, limits, &all(found.hunks.len())).as_deref(), Ok(after));
    for hunk in &found.hunks {
        for (line, words) in hunk.lines.iter().zip(hunk::changed_words(&hunk.lines)) {
            assert!(line.tag != Tag::Same || words.is_empty());
            let ends: Vec<_> = words.iter().flat_map(|words| [words.start, words.end]).collect();
            assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "{ends:?}");
            assert!(ends.last().is_none_or(|end| *end as usize <= line.text.len()));
        }
    }
    let choice = |bytes: &[u8]| {
        let [number, first, lines] = [0, 1, 2].map(|at| u32::from(bytes[at]));
        let lines = (lines > 0).then(|| first..first + lines % 16).into_iter().collect();
        Choice { lines, ..Choice::whole(HunkName::Number(number % 8)) }
    };
    let choices: Vec<_> = chosen.chunks_exact(3).map(choice).collect();
    match select::select(before, after, limits, &choices) {
        Ok(part) => {
            let left = hunk::hunks(&part, after, limits);
            // With some of another encoding's characters gone, what is left may be no text.
            if left.elided.is_none() {
                assert_eq!(
                    select::select(&part, after, limits, &all(left.hunks.len())).as_deref(),
                    Ok(after)
                );
            }
        }
        Err(SelectError::Joined { .. }) => assert!(!before.ends_with(b"\n") || !after.ends_with(b"\n")),
        Err(SelectError::Unknown { .. } | SelectError::Lines { .. } | SelectError::Nothing { .. }) => {
            assert!(!choices.is_empty());
        }
        Err(other) => panic!("{other}"),
    }
}

/// The sides are alike, a decision for one of them everywhere is that side but for the other's own changes, and
/// nothing but a written text can join two lines.
pub(crate) fn three(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let [base, ours, theirs] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let merge = |ours, theirs| three::merge(base, ours, theirs, Limits::default());
    let (Ok(merged), Ok(turned)) = (merge(ours, theirs), merge(theirs, ours)) else {
        assert!(merge(ours, theirs).is_err() && merge(theirs, ours).is_err());
        return;
    };
    let count = merged.conflicts().count();
    assert_eq!(turned.conflicts().count(), count);
    let resolved =
        |merged: &Merged, decision: Decision| merged.resolve(&vec![decision; count]).expect("it fits");
    assert_eq!(resolved(&merged, Decision::Ours), resolved(&turned, Decision::Theirs));
    assert_eq!(resolved(&merged, Decision::Theirs), resolved(&turned, Decision::Ours));
    assert!(resolved(&merged, Decision::Both).len() >= resolved(&merged, Decision::Ours).len());
    assert_eq!(merged.clean().is_some(), count == 0);
    if !merged.regions.iter().any(|region| matches!(region, Region::Theirs(_))) {
        assert_eq!(resolved(&merged, Decision::Ours), ours);
    }
    if !merged.regions.iter().any(|region| matches!(region, Region::Ours(_))) {
        assert_eq!(resolved(&merged, Decision::Theirs), theirs);
    }
    assert!(merged.conflicts().all(|conflict| conflict.ours != conflict.theirs));
}
