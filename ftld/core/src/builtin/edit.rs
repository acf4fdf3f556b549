//! Replacing a piece of a file's text by another.
//!
//! Owns that the piece stands there exactly once, and what the model is told when it does not.

/// Why nothing was replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EditError {
    /// There is nothing to look for.
    #[error("old_text is empty; use write to make a file")]
    Empty,
    /// Both texts are the same.
    #[error("old_text and new_text are the same")]
    Same,
    /// The piece is not there.
    #[error(
        "old_text does not occur in the file; read the file and give the text exactly as it stands there"
    )]
    Absent,
    /// It is there, with other spaces.
    #[error("old_text does not occur in the file; it does with other white space: give the text exactly")]
    OtherSpace,
    /// It is there more than once.
    #[error(
        "old_text occurs {0} times in the file; give more of the lines around it, so that it occurs once"
    )]
    Several(usize),
    /// The file is no text.
    #[error("the file is not UTF-8 text; change it with bash")]
    NotText,
}

/// The file's text with the one occurrence of `old` replaced.
///
/// # Errors
/// When `old` does not occur exactly once, also overlapping, or the file is no text.
pub fn replace(content: &[u8], old: &str, new: &str) -> Result<String, EditError> {
    if old.is_empty() {
        return Err(EditError::Empty);
    }
    if old == new {
        return Err(EditError::Same);
    }
    let text = std::str::from_utf8(content).map_err(|_| EditError::NotText)?;
    let Some(at) = text.find(old) else {
        return Err(if squeezed(text).contains(&squeezed(old)) {
            EditError::OtherSpace
        } else {
            EditError::Absent
        });
    };
    let more = further(text, old, at);
    if more > 0 {
        return Err(EditError::Several(more + 1));
    }
    let (before, rest) = text.split_at(at);
    let after = rest.strip_prefix(old).unwrap_or_default();
    Ok([before, new, after].concat())
}

/// How many times `old` occurs after `at`, overlaps included; counting ends at a hundred.
fn further(text: &str, old: &str, at: usize) -> usize {
    let step = old.chars().next().map_or(1, char::len_utf8);
    let next = |from: usize| text.get(from + step..)?.find(old).map(|found| from + step + found);
    std::iter::successors(next(at), |at| next(*at)).take(99).count()
}

/// The text with every run of white space as one space.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_piece_that_stands_there_once_is_replaced() {
        let table: [(&str, &str, &str, Result<&str, EditError>); 9] = [
            ("a b c", "b", "x", Ok("a x c")),
            ("a b c", "a b c", "", Ok("")),
            ("é\r\nü\n", "é\r\n", "e\n", Ok("e\nü\n")),
            ("a b c", "d", "x", Err(EditError::Absent)),
            ("fn a() {\n\tb();\n}", "fn a() {\n    b();\n}", "x", Err(EditError::OtherSpace)),
            ("a a", "a", "x", Err(EditError::Several(2))),
            ("aaa", "aa", "x", Err(EditError::Several(2))),
            ("a", "", "x", Err(EditError::Empty)),
            ("a", "a", "a", Err(EditError::Same)),
        ];
        for (text, old, new, expected) in table {
            assert_eq!(replace(text.as_bytes(), old, new), expected.map(str::to_owned), "{text:?} {old:?}");
        }
        assert_eq!(replace(b"a\xff", "a", "b"), Err(EditError::NotText));
        assert_eq!(replace("é".repeat(500).as_bytes(), "é", "e"), Err(EditError::Several(100)));
    }

    proptest! {
        #[test]
        fn what_was_replaced_can_be_put_back(before in "[a-c\n]{0,12}", old in "[d-f]{1,4}", after in "[a-c\n]{0,12}") {
            let text = [&before[..], &old, &after].concat();
            let edited = replace(text.as_bytes(), &old, "XYZ").unwrap();
            prop_assert_eq!(&edited, &[&before[..], "XYZ", &after].concat());
            prop_assert_eq!(replace(edited.as_bytes(), "XYZ", &old).unwrap(), text);
        }

        #[test]
        fn no_bytes_panic(content in proptest::collection::vec(any::<u8>(), 0..60), old in ".{0,4}", new in ".{0,4}") {
            let _any = replace(&content, &old, &new);
        }
    }
}
