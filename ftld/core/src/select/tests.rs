//! What chosen hunks and lines make, and choices that mean nothing.

#![expect(clippy::single_range_in_vec_init, reason = "a list of ranges, of which one test has one")]

use proptest::prelude::*;

use super::*;
use crate::hunk::hunks;

fn number(number: u32) -> Choice {
    Choice::whole(HunkName::Number(number))
}

fn lines(hunk: u32, ranges: &[Range<u32>]) -> Choice {
    Choice { lines: ranges.to_vec(), ..number(hunk) }
}

fn edited(hunk: u32, bytes: &[u8]) -> Choice {
    Choice { edited: Some(bytes.to_vec()), ..number(hunk) }
}

fn made(before: &[u8], after: &[u8], choices: &[Choice]) -> Result<Vec<u8>, SelectError> {
    select(before, after, Limits::default(), choices)
}

/// Numbers one per line, those of `changed` with a mark.
fn numbers(changed: &[usize]) -> Vec<u8> {
    (0..40)
        .flat_map(|n| format!("{n}{}\r\n", if changed.contains(&n) { "!" } else { "" }).into_bytes())
        .collect()
}

#[test]
fn a_hunk_alone_changes_its_own_lines_alone() {
    let after = numbers(&[3, 20, 37]);
    let cases: [(&[u32], &[usize]); 6] = [
        (&[], &[]),
        (&[1], &[3]),
        (&[2], &[20]),
        (&[3, 1], &[3, 37]),
        (&[2, 2], &[20]),
        (&[1, 2, 3], &[3, 20, 37]),
    ];
    for (chosen, changed) in cases {
        let choices: Vec<_> = chosen.iter().map(|chosen| number(*chosen)).collect();
        assert_eq!(made(&numbers(&[]), &after, &choices), Ok(numbers(changed)), "{chosen:?}");
    }
}

#[test]
fn an_id_names_the_hunk_that_was_shown() {
    let (before, after) = (numbers(&[]), numbers(&[3, 20]));
    let shown = hunks(&before, &after, Limits::default()).hunks;
    for (hunk, changed) in shown.iter().zip([3, 20]) {
        let name = HunkName::parse(&hunk.id).unwrap();
        assert_eq!(made(&before, &after, &[Choice::whole(name)]), Ok(numbers(&[changed])));
    }
}

#[test]
fn lines_that_are_not_chosen_stay_as_they_were() {
    // The hunk is: a, -b, -c, +B, +C, +D, e.
    let (before, after) = (b"a\nb\nc\ne\n", b"a\nB\nC\nD\ne\n");
    let cases: [(&[Range<u32>], &[u8]); 8] = [
        (&[1..2], b"a\nc\ne\n"),
        (&[3..4], b"a\nb\nc\nB\ne\n"),
        (&[1..2, 3..4], b"a\nc\nB\ne\n"),
        (&[4..6, 1..3], b"a\nC\nD\ne\n"),
        (&[0..4], b"a\nB\ne\n"),
        (&[2..5, 3..6], b"a\nb\nB\nC\nD\ne\n"),
        (&[0..7], after),
        (&[], after),
    ];
    for (ranges, wanted) in cases {
        assert_eq!(made(before, after, &[lines(1, ranges)]), Ok(wanted.to_vec()), "{ranges:?}");
        let one_by_one: Vec<_> = ranges.iter().map(|range| lines(1, std::slice::from_ref(range))).collect();
        if !ranges.is_empty() && ranges.iter().all(|range| *range != (0..1)) {
            assert_eq!(made(before, after, &one_by_one), Ok(wanted.to_vec()), "{ranges:?} one by one");
        }
    }
    assert_eq!(made(before, after, &[lines(1, &[1..2]), number(1)]), Ok(after.to_vec()));
}

#[test]
fn an_edited_hunk_is_what_was_written_in_its_place() {
    let (before, after) = (numbers(&[]), numbers(&[3, 20]));
    let text = String::from_utf8(numbers(&[3])).unwrap();
    // Three lines around the change are the hunk's.
    let (start, end) = (text.find("17\r\n").unwrap(), text.find("24\r\n").unwrap());
    let wanted = format!("{}mine\n\n{}", &text[..start], &text[end..]);
    assert_eq!(made(&before, &after, &[number(1), edited(2, b"mine\n\n")]), Ok(wanted.into_bytes()));
    let wanted = format!("{}{}", &text[..start], &text[end..]);
    assert_eq!(made(&before, &after, &[number(1), edited(2, b"")]), Ok(wanted.into_bytes()));
    assert_eq!(made(b"a\nb", b"a\nc", &[edited(1, b"\xff\r\nend")]), Ok(b"\xff\r\nend".to_vec()));
}

#[test]
fn a_missing_line_end_is_kept_and_never_joins_two_lines() {
    // -a, +a with its end, +b: the first without the others, and so on.
    let (before, after) = (b"a", b"a\nb");
    assert_eq!(made(before, after, &[number(1)]), Ok(after.to_vec()));
    assert_eq!(made(before, after, &[lines(1, &[0..2])]), Ok(b"a\n".to_vec()));
    assert_eq!(made(before, after, &[lines(1, &[0..1])]), Ok(Vec::new()));
    for joined in [1..2, 2..3, 1..3] {
        let error = SelectError::Joined { hunk: 1 };
        assert_eq!(made(before, after, &[lines(1, std::slice::from_ref(&joined))]), Err(error), "{joined:?}");
    }
    let long = numbers(&[]);
    let error = Err(SelectError::Joined { hunk: 1 });
    assert_eq!(made(&long, &numbers(&[3, 30]), &[edited(1, b"no end"), number(2)]), error);
    assert_eq!(made(&long, &numbers(&[3]), &[edited(1, b"no end")]), error);
}

#[test]
fn choices_that_mean_nothing_are_errors() {
    let (before, after) = (b"a\nb\n", b"a\nc\n");
    let id = HunkName::parse("0123456789ab").unwrap();
    let unknown = |name: HunkName| SelectError::Unknown { name, count: 1 };
    let range = |first, end| SelectError::Lines { hunk: 1, last: 2, first, end };
    #[expect(clippy::reversed_empty_ranges, reason = "one of the things that mean nothing")]
    let backwards = 2..1;
    let cases = [
        (vec![number(0)], unknown(HunkName::Number(0))),
        (vec![number(2)], unknown(HunkName::Number(2))),
        (vec![Choice::whole(id.clone())], unknown(id)),
        (vec![lines(1, &[1..1])], range(1, 1)),
        (vec![lines(1, &[backwards])], range(2, 1)),
        (vec![lines(1, &[1..4])], range(1, 4)),
        (vec![lines(1, &[3..4])], range(3, 4)),
        (vec![lines(1, &[0..1])], SelectError::Nothing { hunk: 1 }),
        (vec![Choice { lines: vec![1..2], ..edited(1, b"") }], SelectError::Edited { hunk: 1 }),
        (vec![edited(1, b"x\n"), edited(1, b"x\n")], SelectError::Edited { hunk: 1 }),
        (vec![edited(1, b"x\n"), number(1)], SelectError::Edited { hunk: 1 }),
        (vec![number(1), edited(1, b"x\n")], SelectError::Edited { hunk: 1 }),
    ];
    for (choices, error) in cases {
        assert_eq!(made(before, after, &choices), Err(error), "{choices:?}");
    }
    let error = SelectError::Whole(Elided::Binary);
    assert_eq!(made(b"\0", b"a", &[number(1)]), Err(error));
    assert_eq!(made(b"\0", b"a", &[]), Ok(b"\0".to_vec()));
    let small = Limits { bytes: 3, lines: 9 };
    assert_eq!(select(before, after, small, &[number(1)]), Err(SelectError::Whole(Elided::TooLarge)));
}

#[test]
fn hunks_of_one_id_are_told_apart_by_their_numbers() {
    let hunk = |id: &str| Hunk {
        id: id.to_owned(),
        old_start: 1,
        old_lines: 0,
        new_start: 1,
        new_lines: 1,
        lines: vec![hunk::Line { tag: Tag::Added, text: b"x\n".to_vec() }],
    };
    let hunks = [hunk("0123456789ab"), hunk("ba9876543210"), hunk("0123456789ab")];
    let by_id = |id| taken(&hunks, &[Choice::whole(HunkName::parse(id).unwrap())]).map(|taken| taken.len());
    assert_eq!(by_id("0123456789ab"), Err(SelectError::Ambiguous { first: 1, second: 3 }));
    assert_eq!(by_id("ba9876543210"), Ok(1));
    assert!(taken(&hunks, &[number(3)]).unwrap().contains_key(&2));
}

#[test]
fn a_name_is_a_number_or_an_id() {
    assert_eq!(HunkName::parse("12"), Ok(HunkName::Number(12)));
    // As many digits as an id has are one.
    assert_eq!(HunkName::parse("123456789012"), Ok(HunkName::Id("123456789012".into())));
    assert_eq!(HunkName::parse("0123456789ab"), Ok(HunkName::Id("0123456789ab".into())));
    for wrong in
        ["", "0", "01", "-1", "+1", "1 ", "0123456789AB", "0123456789a", "1234567890", "\u{661}", "all"]
    {
        assert_eq!(HunkName::parse(wrong), Err(SelectError::Name { given: wrong.to_owned() }), "{wrong:?}");
    }
}

/// Lines of few kinds, some without their end, some with a carriage return, some no UTF-8.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let line =
        prop::sample::select(vec![&b"a\n"[..], b"b\n", b"c\r\n", b"\n", b"\xe9t\xe9 et plus\n", b"dd\n"]);
    let end = prop::sample::select(vec![&b""[..], b"", b"a", b"end", b"\r"]);
    (prop::collection::vec(line, 0..40), end).prop_map(|(lines, end)| [lines.concat(), end.to_vec()].concat())
}

proptest! {
    #[test]
    fn all_hunks_make_the_whole_and_the_rest_of_some_leads_there(
        before in any_text(), after in any_text(), some in any::<u64>(), cuts in any::<u64>()
    ) {
        let limits = Limits::default();
        let found = hunks(&before, &after, limits);
        prop_assume!(found.elided.is_none());
        let count = found.hunks.len() as u32;
        let all: Vec<_> = (1..=count).map(number).collect();
        prop_assert_eq!(made(&before, &after, &all).unwrap(), if count == 0 { before.clone() } else { after.clone() });
        let by_id = found.hunks.iter().map(|hunk| Choice::whole(HunkName::Id(hunk.id.clone())));
        prop_assert_eq!(made(&before, &after, &by_id.collect::<Vec<_>>()), made(&before, &after, &all));

        // Some hunks now, and all that is still to be chosen afterwards.
        let some: Vec<_> = (1..=count).filter(|n| some >> (n % 64) & 1 == 1).map(number).collect();
        let between = made(&before, &after, &some).unwrap();
        let left = hunks(&between, &after, limits).hunks.len() as u32;
        prop_assert_eq!(made(&between, &after, &(1..=left).map(number).collect::<Vec<_>>()).unwrap(), after.clone());

        // A choice of lines has exactly the lines that were chosen, and is refused only where it would
        // join two; what of it is left leads to the whole.
        let Some(hunk) = found.hunks.first() else { return Ok(()) };
        let places: Vec<u32> = (0..hunk.lines.len() as u32).filter(|n| cuts >> (n % 64) & 1 == 1).collect();
        let changed = places.iter().filter(|place| hunk.lines[**place as usize].tag != Tag::Same).count();
        prop_assume!(changed > 0);
        let ranges: Vec<_> = places.iter().map(|place| *place..place + 1).collect();
        let count = |text: &[u8]| text.split_inclusive(|byte| *byte == b'\n').count();
        let added = |place: &&u32| hunk.lines[**place as usize].tag == Tag::Added;
        let growth = places.iter().filter(added).count() * 2;
        match made(&before, &after, &[lines(1, &ranges)]) {
            Ok(partial) => {
                prop_assert_eq!(count(&partial) + changed, count(&before) + growth);
                let left = hunks(&partial, &after, limits).hunks.len() as u32;
                let rest: Vec<_> = (1..=left).map(number).collect();
                prop_assert_eq!(made(&partial, &after, &rest).unwrap(), after);
            }
            Err(error) => {
                prop_assert_eq!(error, SelectError::Joined { hunk: 1 });
                prop_assert!(!before.ends_with(b"\n") || !after.ends_with(b"\n"));
            }
        }
    }
}
