//! What merges, what conflicts, and what decisions make. Git is compared with in the integration tests.

use proptest::prelude::*;

use super::*;

fn merged(base: &str, ours: &str, theirs: &str) -> Merged {
    merge(base.as_bytes(), ours.as_bytes(), theirs.as_bytes(), Limits::default()).unwrap()
}

/// Words as lines.
fn text(words: &str) -> String {
    words.split_whitespace().map(|word| format!("{word}\n")).collect()
}

/// The regions of a merge of words: `=` nobody's, `<` ours, `>` theirs, `*` both, `!` a conflict.
fn shown(base: &str, ours: &str, theirs: &str) -> String {
    let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(",");
    let of = |region: &Region| match region {
        Region::Same(text) => format!("={}", word(text)),
        Region::Ours(text) => format!("<{}", word(text)),
        Region::Theirs(text) => format!(">{}", word(text)),
        Region::Both(text) => format!("*{}", word(text)),
        Region::Conflict(Conflict { base, ours, theirs, line }) => {
            format!("!{line}({}|{}|{})", word(ours), word(base), word(theirs))
        }
    };
    let merged = merged(&text(base), &text(ours), &text(theirs));
    merged.regions.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[test]
fn apart_merges_and_touching_conflicts() {
    for (base, ours, theirs, wanted) in [
        ("a b c d e", "A b c d e", "a b c d E", "<A =b,c,d >E"),
        ("a b c", "A b c", "a b C", "<A =b >C"),
        ("a b c", "b c", "a b", "< =b >"),
        ("a b", "x a b", "a b y", "<x =a,b >y"),
        // Touching: nobody knows in which order.
        ("a b", "A b", "a B", "!1(A,b|a,b|a,B)"),
        ("a b", "a x b", "a y b", "=a !2(x||y) =b"),
        ("a b c", "a x b c", "a B c", "=a !2(x,b|b|B) =c"),
        // Alike.
        ("a b c d", "a X c d", "a X c D", "=a *X =c >D"),
        ("a b c", "a c", "a c", "*a,c"),
        ("a b c d", "a c d", "a c D", "=a =c >D"),
        // Alike in part: only the rest is a conflict.
        ("a b c", "a new x c", "a new y c", "=a *new !3(x|b|y) =c"),
        ("a b c", "a x new c", "a y new c", "=a !2(x|b|y) *new =c"),
        ("a b c", "a x c", "a x y c", "=a *x !3(|b|y) =c"),
        // Deleted and changed.
        ("a b c", "a c", "a B c", "=a !2(|b|B) =c"),
        // A long edit of one side holds several of the other.
        ("a b c d e f", "a X f", "a B c D e f", "=a !2(X|b,c,d,e|B,c,D,e) =f"),
        ("", "x", "y", "!1(x||y)"),
    ] {
        assert_eq!(shown(base, ours, theirs), wanted, "{base} | {ours} | {theirs}");
    }
}

#[test]
fn a_side_that_did_not_change_gives_way_whatever_the_contents_are() {
    let large = vec![b'x'; 10 << 20];
    let merge = |base: &[u8], ours: &[u8], theirs: &[u8]| merge(base, ours, theirs, Limits::default());
    for (base, ours, theirs, wanted) in [
        (&b"a\0"[..], &b"a\0"[..], &large[..], Region::Theirs(large.clone())),
        (b"a\0", &large, b"a\0", Region::Ours(large.clone())),
        (b"a\0", &large, &large, Region::Both(large.clone())),
        (&large, &large, &large, Region::Same(large.clone())),
    ] {
        let merged = merge(base, ours, theirs).unwrap();
        assert_eq!(merged.clean(), Some(large.clone()));
        assert!(merged.regions == [wanted]);
    }
    let why = |result: Result<Merged, NotMergeable>| result.unwrap_err().0;
    assert_eq!(why(merge(b"a", b"b", b"c\0")), Elided::Binary);
    assert_eq!(why(merge(b"a", &large, b"b")), Elided::TooLarge);
    let many = "\n".repeat(Limits::default().lines - 1);
    assert_eq!(why(merge(b"a\n", many.as_bytes(), b"b\nc\n")), Elided::TooManyLines);
}

#[test]
fn decisions_make_the_text() {
    use Decision::{Both, Edited, Ours, Theirs};
    let merged = merged("a\nb\nc\nd\n", "a\nB\nc\nx\n", "a\nBB\nc\ny\n");
    assert_eq!(merged.clean(), None);
    for (decisions, wanted) in [
        ([Ours, Theirs], "a\nB\nc\ny\n"),
        ([Both, Ours], "a\nB\nBB\nc\nx\n"),
        ([Edited(b"".into()), Edited(b"no end".into())], "a\nc\nno end"),
    ] {
        assert_eq!(merged.resolve(&decisions), Ok(wanted.as_bytes().to_vec()), "{decisions:?}");
    }
    for given in [0, 1, 3] {
        let error = ResolveError::Count { conflicts: 2, given };
        assert_eq!(merged.resolve(&vec![Ours; given]), Err(error));
    }
    let joined = ResolveError::Joined { conflict: 1 };
    assert_eq!(merged.resolve(&[Edited(b"no end".into()), Ours]), Err(joined));
}

#[test]
fn a_missing_line_end_never_joins_two_lines() {
    // The conflict is the last line in each.
    let both = |base, ours, theirs| merged(base, ours, theirs).resolve(&[Decision::Both]).unwrap();
    assert_eq!(both("a\nb", "a\nours", "a\ntheirs"), b"a\nours\ntheirs");
    assert_eq!(both("a\r\nb", "a\r\nours", "a\r\ntheirs"), b"a\r\nours\r\ntheirs");
    assert_eq!(both("a\nb", "x\r\nours", "a\ntheirs"), b"x\r\nours\r\na\ntheirs");
    assert_eq!(both("b", "ours", "theirs"), b"ours\ntheirs");
    assert_eq!(both("a\nb", "a\nours", "a\n"), b"a\nours");
    // Only one side ends the last line.
    assert_eq!(merged("a\nb\nc", "a\nb\nc\n", "A\nb\nc").clean().unwrap(), b"A\nb\nc\n");
    assert_eq!(merged("a\nb\nc\n", "a\nb\nc", "A\nb\nc\n").clean().unwrap(), b"A\nb\nc");
}

#[test]
fn hostile_texts_of_the_largest_size_merge_in_bounded_work() {
    let text = |step: u32| -> Vec<u8> {
        (0..19_000u32).flat_map(|n| [b'a' + ((n * n / 7 + n * step) % 5) as u8, b'\n']).collect()
    };
    let merged = merge(&text(3), &text(11), &text(5), Limits::default()).unwrap();
    assert!(merged.conflicts().count() > 0);
}

fn any_text() -> impl Strategy<Value = String> {
    ("[abc\n]{0,40}", prop::bool::ANY).prop_map(|(text, spread)| {
        // Lines of one character repeat and are the hardest to tell apart.
        if spread { text.chars().map(|c| format!("{c}\n")).collect() } else { text }
    })
}

proptest! {
    #[test]
    fn edits_make_the_side_of_the_base_and_stand_as_far_down_as_they_can(base in any_text(), side in any_text()) {
        let (base, side) = (hunk::lines(base.as_bytes()), hunk::lines(side.as_bytes()));
        let edits = edits(&base, &side);
        let (mut made, mut at): (Vec<&[u8]>, usize) = (Vec::new(), 0);
        for (place, edit) in edits.iter().enumerate() {
            prop_assert!(place == 0 || edit.base.start > at, "they do not touch");
            made.extend(&base[at..edit.base.start]);
            prop_assert_eq!(made.len(), edit.side.start);
            made.extend(&side[edit.side.clone()]);
            at = edit.base.end;
            let (range, text) = if edit.base.is_empty() { (&edit.side, &side) } else { (&edit.base, &base) };
            if edit.base.is_empty() || edit.side.is_empty() {
                prop_assert!(edit.base.end == base.len() || text.get(range.end) != text.get(range.start));
            }
        }
        made.extend(&base[at..]);
        prop_assert_eq!(made, side);
    }

    #[test]
    fn every_line_of_a_side_is_in_its_regions_and_the_sides_are_alike(
        base in any_text(), ours in any_text(), theirs in any_text()
    ) {
        let found = merged(&base, &ours, &theirs);
        let count = found.conflicts().count();
        // Deciding for one side everywhere, and taking the other's clean changes back, gives that side.
        let side = |mine: bool| -> Vec<u8> {
            found.regions.iter().flat_map(|region| match region {
                Region::Same(text) | Region::Both(text) => text.clone(),
                Region::Ours(text) if mine => text.clone(),
                Region::Theirs(text) if !mine => text.clone(),
                Region::Ours(_) | Region::Theirs(_) => b"?".to_vec(),
                Region::Conflict(conflict) => if mine { conflict.ours.clone() } else { conflict.theirs.clone() },
            }).collect()
        };
        if !side(true).contains(&b'?') {
            prop_assert_eq!(side(true), ours.as_bytes());
        }
        if !side(false).contains(&b'?') {
            prop_assert_eq!(side(false), theirs.as_bytes());
        }
        // Each conflict says where it is in ours.
        for conflict in found.conflicts() {
            let lines = hunk::lines(ours.as_bytes());
            let start = conflict.line as usize - 1;
            let mine = hunk::lines(&conflict.ours);
            prop_assert_eq!(&lines[start..start + mine.len()], &mine[..]);
        }
        // The other way round it is the same with the sides exchanged.
        let turned = merged(&base, &theirs, &ours);
        prop_assert_eq!(turned.clean(), found.clean());
        prop_assert_eq!(turned.conflicts().count(), count);
        let (all_ours, all_theirs) = (vec![Decision::Ours; count], vec![Decision::Theirs; count]);
        prop_assert_eq!(turned.resolve(&all_ours).unwrap(), found.resolve(&all_theirs).unwrap());
    }
}
