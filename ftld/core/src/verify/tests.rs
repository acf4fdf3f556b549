//! The verdicts as tables, and what holds of all of them.

use proptest::prelude::*;

use super::*;

fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::Passed,
        Outcome::Empty { why: "no test" },
        Outcome::Code(1),
        Outcome::Signal(9),
        Outcome::Time { seconds: 5 },
        Outcome::Output { bytes: 1 << 20 },
        Outcome::Lost { why: "x".into() },
        Outcome::NotStarted { why: "y".into() },
    ]
}

/// The name and since when.
fn shown(after: &Outcome, before: Option<&Outcome>) -> (&'static str, Option<&'static str>) {
    let verdict = judge(after, before);
    (verdict.name(), verdict.since().map(Since::name))
}

#[test]
fn a_regression_is_told_from_what_failed_before() {
    let (passed, failed) = (Outcome::Passed, Outcome::Code(101));
    let started = Outcome::NotStarted { why: "no cargo".into() };
    let table = [
        (&passed, None, ("passed", None)),
        (&passed, Some(&failed), ("passed", None)),
        (&failed, Some(&passed), ("failed", Some("regression"))),
        (&failed, Some(&failed), ("failed", Some("before"))),
        (&failed, Some(&Outcome::Time { seconds: 1 }), ("failed", Some("before"))),
        (&failed, Some(&started), ("failed", Some("unknown"))),
        (&failed, Some(&Outcome::Empty { why: "none" }), ("failed", Some("unknown"))),
        (&failed, None, ("failed", Some("unknown"))),
        (&started, Some(&passed), ("could_not_run", None)),
        (&Outcome::Empty { why: "none" }, None, ("nothing_ran", None)),
    ];
    for (after, before, expected) in table {
        assert_eq!(shown(after, before), expected, "{after:?} {before:?}");
    }
}

#[test]
fn ready_is_only_what_ran_and_passed() {
    let none: [(&str, &Verdict); 0] = [];
    assert_eq!(word(none), Word { ready: false, why: "nothing ran: no check is known".into() });
    let empty = Verdict::NothingRan { why: "x".into() };
    assert!(!word([("a", &empty)]).ready);
    assert!(!word([("a", &Verdict::Passed), ("b", &empty)]).ready);
    assert_eq!(word([("a", &Verdict::Passed)]), Word { ready: true, why: "the check passed".into() });
    let failed = Verdict::Failed { why: "x".into(), since: Since::Before { why: "x".into() } };
    let why = word([("a", &Verdict::Passed), ("b", &failed)]).why;
    assert_eq!(why, "b fails, and did before");
}

#[test]
fn a_status_is_read_together_with_what_was_printed() {
    let of = |status, text: &str| {
        let mut tally = Tally::default();
        tally.feed(text.as_bytes());
        Outcome::of_exit(status, &tally)
    };
    assert_eq!(of(0, "fine\n"), Outcome::Passed);
    assert!(matches!(of(0, "test result: ok. 0 passed; 0 failed;\n"), Outcome::Empty { .. }));
    assert!(matches!(of(5, "no tests ran in 0.1s\n"), Outcome::Empty { .. }));
    assert_eq!(of(1, "1 failed\n"), Outcome::Code(1));
    assert!(matches!(of(127, "sh: cargo: not found\n"), Outcome::NotStarted { .. }));
    assert_eq!(of(127, "3 passed\n"), Outcome::Code(127), "tests ran, so it was started");
    assert!(matches!(of(1, "python3: No module named pytest\n"), Outcome::NotStarted { .. }));
}

#[test]
fn the_configured_checks_go_before_a_guess() {
    struct One(&'static str);
    impl Files for One {
        fn has(&self, name: &str) -> bool {
            name == self.0
        }
        fn text(&self, name: &str) -> Option<String> {
            self.has(name).then(String::new)
        }
    }
    let configured = BTreeMap::from([("lint".to_owned(), "make lint".to_owned())]);
    let checks = plan(&configured, &One("go.mod"), &One("go.mod"));
    assert_eq!((checks.len(), &checks[0].source), (1, &Source::Configured));
    // The project's own files go before those that the changes bring.
    let checks = plan(&BTreeMap::new(), &One("go.mod"), &One("Cargo.toml"));
    assert_eq!(checks[0].source, Source::Guessed { file: "go.mod", is_new: false });
    let checks = plan(&BTreeMap::new(), &One("README"), &One("Cargo.toml"));
    assert_eq!(checks[0].source, Source::Guessed { file: "Cargo.toml", is_new: true });
    assert!(plan(&BTreeMap::new(), &One("README"), &One("README")).is_empty());
}

fn outcome() -> impl Strategy<Value = Outcome> {
    proptest::sample::select(outcomes())
}

proptest! {
    #[test]
    fn nothing_is_ready_unless_every_run_with_the_changes_passed(
        runs in proptest::collection::vec((outcome(), proptest::option::of(outcome())), 0..5),
    ) {
        let verdicts: Vec<Verdict> =
            runs.iter().map(|(after, before)| judge(after, before.as_ref())).collect();
        let ready = word(verdicts.iter().map(|verdict| ("check", verdict))).ready;
        let all = !runs.is_empty() && runs.iter().all(|(after, _)| *after == Outcome::Passed);
        prop_assert_eq!(ready, all);
    }

    #[test]
    fn only_what_failed_has_a_since(after in outcome(), before in proptest::option::of(outcome())) {
        let verdict = judge(&after, before.as_ref());
        prop_assert_eq!(verdict.since().is_some(), after.has_failed());
        prop_assert_eq!(verdict.why().is_empty(), after == Outcome::Passed);
        let regression = verdict.since() == Some(&Since::Regression);
        prop_assert_eq!(regression, after.has_failed() && before == Some(Outcome::Passed));
    }
}
