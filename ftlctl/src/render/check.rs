//! Checks of a selection, for people and for scripts.
//!
//! Owns the lines that tell of runs, verdicts and the gate's word. What a check printed is not told here: it stands
//! behind a bar like everything that a sandboxed program says.

use ftl_proto::v1;
use serde_json::{Value, json};

use crate::render::event::short;
use crate::render::measure::duration;
use crate::render::style::{Style, Tone};
use crate::render::{escape, json as shared};

/// A verdict that nothing ran for now.
const BEFORE: &str = "known from before; --again runs it again";

/// What is tried.
pub(crate) fn begun(begun: &v1::ChecksBegun) -> String {
    let over = format!("over the project as it is (snapshot {})", short(&begun.base));
    format!("testing {} {over}", short(&begun.digest))
}

/// A run that begins.
pub(crate) fn started(started: &v1::CheckStarted, style: Style) -> String {
    let (name, command) = (escape::name(&started.name), escape::name(&started.command));
    let guessed = match (started.guessed_from.as_str(), started.guessed_from_new) {
        ("", _) => String::new(),
        (file, false) => format!(" (guessed from {})", escape::name(file)),
        (file, true) => format!(" (guessed from {}, which the selected changes bring)", escape::name(file)),
    };
    let run = match started.without_changes {
        false => format!("{name}: {command}{guessed}"),
        true => format!("{name}, without the selected changes: {command}"),
    };
    let mut line = style.paint(Tone::Heading, &run);
    for what in &started.unenforced {
        line +=
            &format!("\n{}", style.paint(Tone::Warning, &format!("not enforced: {}", escape::name(what))));
    }
    line
}

/// Something to know of the sandboxes.
pub(crate) fn notice(notice: &v1::CheckNotice, style: Style) -> String {
    style.paint(Tone::Faint, &escape::name(&notice.text))
}

/// A verdict.
pub(crate) fn ended(ended: &v1::CheckEnded, style: Style) -> String {
    use v1::{CheckSince as Since, CheckVerdict as Verdict};
    let (name, why) = (escape::name(&ended.name), escape::name(&ended.why));
    let since = escape::name(&ended.since_why);
    let time = match (ended.remembered, ended.guessed_from.as_str()) {
        (false, _) => duration(ended.elapsed_us),
        (true, "") => format!("{}, {BEFORE}", escape::name(&ended.command)),
        (true, file) => {
            format!("{}, guessed from {}, {BEFORE}", escape::name(&ended.command), escape::name(file))
        }
    };
    let (tone, line) = match (ended.verdict(), ended.since()) {
        (Verdict::Passed, _) => (Tone::Good, format!("{name} passed ({time})")),
        (Verdict::Failed, Since::Regression) => {
            (Tone::Bad, format!("{name} failed ({time}): {why}; without the selected changes it passes"))
        }
        (Verdict::Failed, _) if !ended.covers.is_empty() => {
            let covers = escape::name(&ended.covers);
            (Tone::Bad, format!("{name} failed ({time}): {why}; it checks: {covers}"))
        }
        (Verdict::Failed, Since::Before) => {
            (Tone::Bad, format!("{name} failed ({time}): {why}; it failed before too: {since}"))
        }
        (Verdict::Failed, _) => {
            (Tone::Bad, format!("{name} failed ({time}): {why}; whether it did before is not known: {since}"))
        }
        (Verdict::CouldNotRun, _) => (Tone::Warning, format!("{name} could not run: {why}")),
        (Verdict::NothingRan, _) => (Tone::Warning, format!("nothing ran in {name}: {why}")),
        (Verdict::Unspecified, _) => (Tone::Warning, format!("{name} ended in a way that is not known")),
    };
    style.paint(tone, &line)
}

/// The gate's word.
pub(crate) fn word(word: &v1::ChecksEnded, style: Style) -> String {
    let why = escape::name(&word.why);
    match word.ready {
        true => style.paint(Tone::Good, &format!("ready: {why}")),
        false => style.paint(Tone::Bad, &format!("not ready: {why}")),
    }
}

/// What has become of generated tests.
pub(crate) fn generated(kind: &v1::event::Kind, style: Style) -> Option<String> {
    use v1::event::Kind;
    Some(match kind {
        Kind::TestsAsked(e) => {
            let (model, framework) = (escape::name(&e.model), escape::name(&e.framework));
            style.paint(Tone::Faint, &format!("{model} writes tests ({framework}) while the agent works"))
        }
        Kind::TestsWritten(e) => {
            let paths: Vec<String> = e.paths.iter().map(escape::name).collect();
            let what = if e.adapted { "wrote again, for the names that are there" } else { "wrote tests" };
            style.paint(Tone::Faint, &format!("{} {what}: {}", escape::name(&e.model), paths.join(", ")))
        }
        Kind::TestsNotWritten(e) => style.paint(
            Tone::Warning,
            &format!("{} wrote no tests that can be used: {}", escape::name(&e.model), escape::name(&e.why)),
        ),
        Kind::FixAsked(e) => style
            .paint(Tone::Heading, &format!("the agent is told what fails (round {} of {})", e.round, e.of)),
        _ => return None,
    })
}

/// The same without its kind.
pub(crate) fn generated_json(kind: &v1::event::Kind) -> Option<(&'static str, Value)> {
    use v1::event::Kind;
    Some(match kind {
        Kind::TestsAsked(e) => ("tests_asked", json!({"model": e.model, "framework": e.framework})),
        Kind::TestsWritten(e) => {
            ("tests_written", json!({"model": e.model, "paths": e.paths, "adapted": e.adapted}))
        }
        Kind::TestsNotWritten(e) => ("tests_not_written", json!({"model": e.model, "why": e.why})),
        Kind::FixAsked(e) => ("fix_asked", json!({"round": e.round, "of": e.of})),
        _ => return None,
    })
}

/// A verdict's name.
fn verdict(ended: &v1::CheckEnded) -> &'static str {
    named(ended.verdict())
}

/// The name of a verdict.
pub(crate) fn named(verdict: v1::CheckVerdict) -> &'static str {
    match verdict {
        v1::CheckVerdict::Unspecified => "unknown",
        v1::CheckVerdict::Passed => "passed",
        v1::CheckVerdict::Failed => "failed",
        v1::CheckVerdict::CouldNotRun => "could_not_run",
        v1::CheckVerdict::NothingRan => "nothing_ran",
    }
}

/// What checks begin with, without its kind.
pub(crate) fn begun_json(begun: &v1::ChecksBegun) -> Value {
    json!({"digest": begun.digest, "base": begun.base, "checks": begun.checks})
}

/// A verdict, without its kind.
pub(crate) fn ended_json(ended: &v1::CheckEnded) -> Value {
    let since = match ended.since() {
        v1::CheckSince::Unspecified => Value::Null,
        v1::CheckSince::Regression => "regression".into(),
        v1::CheckSince::Before => "before".into(),
        v1::CheckSince::Unknown => "unknown".into(),
    };
    let mut value = shared::bytes("tail", &ended.tail);
    let said = json!({
        "digest": ended.digest, "check": ended.name, "command": ended.command,
        "guessed_from": (!ended.guessed_from.is_empty()).then_some(&ended.guessed_from),
        "verdict": verdict(ended), "why": ended.why, "since": since, "since_why": ended.since_why,
        "elapsed_us": ended.elapsed_us, "remembered": ended.remembered,
        "generated": (!ended.covers.is_empty()).then_some(&ended.covers),
    });
    if let (Value::Object(value), Value::Object(said)) = (&mut value, said) {
        value.extend(said);
    }
    value
}

/// The gate's word, without its kind.
pub(crate) fn word_json(word: &v1::ChecksEnded) -> Value {
    json!({"digest": word.digest, "ready": word.ready, "why": word.why})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(since: v1::CheckSince) -> v1::CheckEnded {
        v1::CheckEnded {
            name: "test".into(),
            verdict: v1::CheckVerdict::Failed.into(),
            why: "it ended with status 1".into(),
            since: since.into(),
            since_why: "it ended with status 2".into(),
            elapsed_us: 1_200_000,
            ..Default::default()
        }
    }

    #[test]
    fn a_verdict_says_since_when() {
        let line = |since| ended(&failed(since), Style::Plain);
        assert_eq!(
            line(v1::CheckSince::Regression),
            "test failed (1.2 s): it ended with status 1; without the selected changes it passes"
        );
        assert!(line(v1::CheckSince::Before).ends_with("it failed before too: it ended with status 2"));
        assert!(line(v1::CheckSince::Unknown).contains("is not known"));
        let passed = v1::CheckEnded {
            verdict: v1::CheckVerdict::Passed.into(),
            remembered: true,
            command: "make test".into(),
            ..failed(v1::CheckSince::Unspecified)
        };
        let line = ended(&passed, Style::Plain);
        assert_eq!(line, "test passed (make test, known from before; --again runs it again)");
        let guessed = v1::CheckEnded { guessed_from: "Makefile".into(), ..passed };
        let line = ended(&guessed, Style::Plain);
        assert!(line.contains("(make test, guessed from Makefile, known from before"), "{line}");
    }

    #[test]
    fn what_comes_from_the_project_moves_no_cursor() {
        let run = v1::CheckStarted {
            name: "test".into(),
            command: "make\u{1b}[2J\ntest".into(),
            guessed_from: "Makefile".into(),
            ..Default::default()
        };
        let line = started(&run, Style::Plain);
        assert!(!line.contains('\u{1b}') && !line.contains('\n'), "{line:?}");
        assert!(line.ends_with("(guessed from Makefile)"));
        let new = v1::CheckStarted { guessed_from_new: true, ..run };
        assert!(started(&new, Style::Plain).contains("which the selected changes bring"));
    }

    #[test]
    fn scripts_get_words_and_not_numbers() {
        let value = ended_json(&failed(v1::CheckSince::Regression));
        assert_eq!((&value["verdict"], &value["since"]), (&"failed".into(), &"regression".into()));
        assert_eq!(value["guessed_from"], Value::Null);
        let word = word_json(&v1::ChecksEnded { digest: "d".into(), ready: true, why: "w".into() });
        assert_eq!(word, json!({"digest": "d", "ready": true, "why": "w"}));
    }
}
