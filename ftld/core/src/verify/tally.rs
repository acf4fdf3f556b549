//! Whether a test runner says that it ran anything.
//!
//! Owns the lines by which well-known runners say so. A run that ends with status 0 and tried nothing must not be
//! called a pass. What is read was printed by the code that is judged: it can make a run look empty, or look
//! like one that did something, and a run of a runner that is not known is taken by its status alone.

/// What the lines so far say.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    line: Vec<u8>,
    /// Whether the present line is longer than anything that is looked for.
    is_long: bool,
    something: bool,
    nothing: Option<&'static str>,
    missing: Option<&'static str>,
}

/// What a runner says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Tests ran.
    Something,
    /// It found none; why, as a part of a sentence.
    Nothing(&'static str),
    /// The runner is not there; why, as a part of a sentence.
    Missing(&'static str),
    /// Nothing that is understood.
    Unknown,
}

/// Bytes of a line that are looked at.
const LINE: usize = 512;

impl Tally {
    /// Reads more of what was printed.
    pub fn feed(&mut self, data: &[u8]) {
        for byte in data {
            match byte {
                b'\n' => self.end(),
                _ if self.line.len() < LINE => self.line.push(*byte),
                _ => self.is_long = true,
            }
        }
    }

    /// What all of it says.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let mut whole = self.clone();
        whole.end();
        match (whole.something, whole.nothing, whole.missing) {
            (true, ..) => Counted::Something,
            (false, _, Some(why)) => Counted::Missing(why),
            (false, Some(why), None) => Counted::Nothing(why),
            (false, None, None) => Counted::Unknown,
        }
    }

    fn end(&mut self) {
        let text = plain(&self.line);
        if !self.is_long {
            match said(text.trim()) {
                Counted::Something => self.something = true,
                Counted::Nothing(why) => self.nothing = Some(why),
                Counted::Missing(why) => self.missing = Some(why),
                Counted::Unknown => {}
            }
        }
        self.line.clear();
        self.is_long = false;
    }
}

/// What one line says.
fn said(line: &str) -> Counted {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let Some(rest) = line.strip_prefix("test result: ") {
        // cargo test
        let ran = ["passed", "failed"].iter().any(|what| number_before(rest, what) > Some(0));
        return if ran { Counted::Something } else { Counted::Nothing("`cargo test` found no test") };
    }
    if line.contains("no tests ran") {
        return Counted::Nothing("pytest found no test");
    }
    if line.ends_with("No module named pytest") {
        return Counted::Missing("pytest is not in the sandbox");
    }
    match words.as_slice() {
        ["ok" | "FAIL" | "---", ..] if line.ends_with("[no tests to run]") => {
            Counted::Nothing("`go test` found no test")
        }
        ["?", .., "[no", "test", "files]"] => Counted::Nothing("`go test` found no test"),
        ["ok", _, time, ..] if time.ends_with('s') || *time == "(cached)" => Counted::Something,
        ["Ran", "0", "tests", ..] => Counted::Nothing("unittest found no test"),
        ["Ran", _, "test" | "tests", ..] => Counted::Something,
        ["No", "tests", "were", "found!!!"] => Counted::Nothing("ctest found no test"),
        ["No", "tests", "found,", ..] | ["No", "test", "files", "found,", ..] => {
            Counted::Nothing("the test runner found no test")
        }
        _ if line.contains(" passed") || line.contains(" failed") => {
            let ran = ["passed", "failed"].iter().any(|what| number_before(line, what) > Some(0));
            if ran { Counted::Something } else { Counted::Unknown }
        }
        _ => Counted::Unknown,
    }
}

/// The number that stands before a word.
fn number_before(text: &str, word: &str) -> Option<u64> {
    let words: Vec<&str> = text.split([' ', ';', ',', '.']).filter(|one| !one.is_empty()).collect();
    words.windows(2).find(|pair| pair[1] == word).and_then(|pair| pair[0].parse().ok())
}

/// A line without its colours.
fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // `ESC [ … letter`; anything else is left as it is.
            if chars.next() == Some('[') {
                let _end = chars.find(char::is_ascii_alphabetic);
            }
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(text: &str) -> Counted {
        let mut tally = Tally::default();
        tally.feed(text.as_bytes());
        tally.counted()
    }

    #[test]
    fn runners_that_found_no_test_are_understood() {
        for empty in [
            "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            "test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out",
            "collected 0 items\n\n\u{1b}[33m============ no tests ran in 0.01s ============\u{1b}[0m\n",
            "?   \texample.com/shop\t[no test files]\n",
            "ok  \texample.com/shop\t0.002s [no tests to run]\n",
            "No tests were found!!!\n",
            "Ran 0 tests in 0.000s\n\nOK\n",
            "No tests found, exiting with code 1\n",
        ] {
            assert!(matches!(counted(empty), Counted::Nothing(_)), "{empty:?}: {:?}", counted(empty));
        }
    }

    #[test]
    fn runners_that_ran_something_are_understood() {
        for some in [
            "test result: ok. 0 passed; 0 failed; 0 ignored\n\ntest result: ok. 7 passed; 0 failed; 0 ignored\n",
            "test result: \u{1b}[31mFAILED\u{1b}[m. 0 passed; 1 failed; 0 ignored\n",
            "========= 1 failed, 2 passed in 0.03s =========\n",
            "?   \ta\t[no test files]\nok  \tb\t0.002s\n",
            "ok  \tb\t(cached)\n",
            "Ran 3 tests in 0.001s\n",
            "Tests:       2 passed, 2 total\n",
        ] {
            assert_eq!(counted(some), Counted::Something, "{some:?}");
        }
        for unknown in ["", "all good\n", "0 passed\n", "passed\n"] {
            assert_eq!(counted(unknown), Counted::Unknown, "{unknown:?}");
        }
        let missing = counted("/usr/bin/python3: No module named pytest\n");
        assert_eq!(missing, Counted::Missing("pytest is not in the sandbox"));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_output_is_cut(
            text in "(ok|Ran 0 tests|\n|test result: ok. |[0-9] passed; |[a-z ]{0,5}|\u{1b}\\[1m){0,20}",
            cuts in proptest::collection::vec(1_usize..7, 0..40),
        ) {
            let mut tally = Tally::default();
            let mut rest = text.as_bytes();
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                tally.feed(head);
                rest = tail;
            }
            tally.feed(rest);
            prop_assert_eq!(tally.counted(), counted(&text));
        }

        #[test]
        fn no_output_panics_or_is_kept(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let mut tally = Tally::default();
            tally.feed(&bytes);
            let _counted = tally.counted();
            prop_assert!(tally.line.len() <= LINE);
        }
    }
}
