//! The planted bugs: that every case is what it says, by the languages' own tools and without the gate.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ftl_tests::planted::{Case, Side, Verdict};

/// What each case must say of a solution.
type Verdicts = BTreeMap<String, String>;

/// Calls `look` for every case, two at a time, each with a directory of its thread's own, and fails with all that
/// it found.
fn each(cases: &[Case], look: impl Fn(&Case, &Path) -> Vec<String> + Sync) {
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let scratch = tempfile::tempdir().expect("a directory");
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = look(case, scratch.path());
                    let found = found.into_iter().map(|fault| format!("{}: {fault}", case.name));
                    faults.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// The project with a solution in a fresh directory, of which its own checks must think well.
fn laid(case: &Case, side: Side, scratch: &Path, faults: &mut Vec<String>) -> tempfile::TempDir {
    let project = tempfile::tempdir_in(scratch).expect("a directory");
    case.lay(side, project.path());
    let checked = case.check(project.path(), scratch);
    if !checked.well {
        faults.push(format!("the project's own checks fail {side:?}:\n{}", checked.output));
    }
    project
}

/// What comes of the model's files, after its second answer where it has one, and what was printed.
fn tried(case: &Case, side: Side, scratch: &Path, faults: &mut Vec<String>) -> (Verdicts, String) {
    let project = laid(case, side, scratch, faults);
    let (mut verdicts, mut printed) = (Verdicts::new(), String::new());
    for reply in 0..case.replies.len() {
        if reply > 0 {
            let before = verdicts.len();
            verdicts.retain(|_, word| word != Verdict::CouldNotRun.word());
            if verdicts.len() == before {
                faults.push(format!("nothing of the first answer needs the second {side:?}"));
            }
        }
        for test in case.generated(reply) {
            let (verdict, ended) = case.attempt(&test, project.path(), scratch);
            printed += &format!("{}:\n{}\n", test.path, ended.output);
            verdicts.insert(test.path, verdict.word().to_owned());
        }
    }
    (verdicts, printed)
}

#[test]
fn every_case_is_sound_by_the_languages_own_tools() {
    each(&Case::all(), |case, scratch| {
        let mut faults = Vec::new();
        laid(case, Side::Before, scratch, &mut faults);
        for side in [Side::Right, Side::Wrong] {
            let (verdicts, printed) = tried(case, side, scratch, &mut faults);
            let good = !verdicts.is_empty() && verdicts.values().all(|word| word == Verdict::Passed.word());
            if good != case.ready(side) || case.verdicts(side).is_some_and(|said| said != verdicts) {
                faults.push(format!("{side:?}: {verdicts:?}\n{printed}"));
            }
            if side == Side::Wrong && !verdicts.values().any(|word| word == Verdict::Failed.word()) {
                faults.push("no test sees the bug".to_owned());
            }
        }
        faults
    });
}

/// Where this fails, a trick has become a plain wrong solution and shows nothing about the gate any more.
#[test]
fn every_hostile_solution_deceives_whoever_believes_the_framework() {
    each(&Case::hostile(), |case, scratch| {
        let mut faults = Vec::new();
        let project = laid(case, Side::Wrong, scratch, &mut faults);
        for test in case.generated(case.replies.len() - 1) {
            let taken = project.path().join(&test.path);
            if taken.exists() {
                continue;
            }
            let (verdict, ended) = case.attempt(&test, project.path(), scratch);
            if verdict != Verdict::Passed {
                faults.push(format!("{} is not deceived: {}\n{}", test.path, verdict.word(), ended.output));
            }
        }
        faults
    });
}

#[test]
fn the_set_is_as_large_as_it_says() {
    let cases = Case::all();
    let mut languages: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        *languages.entry(&case.language).or_default() += 1;
        assert!(case.name.starts_with(&format!("{}-", case.language)), "{}", case.name);
        assert!(case.bug.ends_with('.') && !case.task.contains(&case.bug), "{}", case.name);
    }
    assert!(cases.len() >= 36 && languages.len() >= 5, "{languages:?}");
    assert!(languages.values().all(|count| *count >= 6), "{languages:?}");
    assert!(cases.iter().filter(|case| case.replies.len() == 2).count() >= 5);
    assert!(cases.iter().filter(|case| case.faulty.is_some()).count() >= 4);
    let hostile = Case::hostile();
    assert!(hostile.len() >= 15);
    assert_eq!(hostile.iter().filter(|case| case.ready(Side::Wrong)).count(), 1, "one gap is known");
}
