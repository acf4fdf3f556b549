//! What a model says, and what it was asked, for people and for scripts.
//!
//! Owns that a model's words are told from FTL's own: each of its lines stands behind a bar, escaped, and is
//! called an opinion. Must not know how a model is asked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ftl_proto::v1;
use serde_json::{Value, json};

use crate::args::Show;
use crate::failure::Failure;
use crate::project;
use crate::render::measure::{self, plural};
use crate::render::style::{Style, Tone};
use crate::render::{escape, json as fields};

/// What stands before every line of a model's.
const BAR: &str = "│ ";
/// Paths that are not shown to the model and named here at most.
const NAMED: usize = 10;

/// A model's text as it comes, line by line behind a bar.
#[derive(Default)]
pub(crate) struct Quoted {
    /// What may still be a part of a word.
    pending: String,
    /// Whether a line is begun.
    in_line: bool,
}

impl Quoted {
    /// What can be shown after some more text.
    pub(crate) fn push(&mut self, text: &str) -> String {
        self.pending.push_str(text);
        // Words are shown whole: what is alike in them is only seen then.
        let end = self.pending.rfind([' ', '\n']).map_or(0, |at| at + 1);
        let ready: String = self.pending.drain(..end).collect();
        self.quote(&ready)
    }

    /// What is left at the end, with the last line's end.
    pub(crate) fn rest(&mut self) -> String {
        let ready = std::mem::take(&mut self.pending);
        let mut shown = self.quote(&ready);
        if std::mem::take(&mut self.in_line) {
            shown.push('\n');
        }
        shown
    }

    fn quote(&mut self, text: &str) -> String {
        let mut shown = String::new();
        for line in escape::text(&text.replace("\r\n", "\n")).split_inclusive('\n') {
            if !self.in_line {
                shown.push_str(BAR);
            }
            shown.push_str(line);
            self.in_line = !line.ends_with('\n');
        }
        shown
    }
}

/// What a model is to be shown, in the API's form.
pub(crate) fn scope(show: &Show, session: &v1::Session, cwd: &Path) -> Result<v1::AskScope, Failure> {
    let root = project::path(&session.project);
    let beneath = |path: &OsStr| project::beneath(Path::new(path), root, cwd);
    let mut scope = v1::AskScope::default();
    for file in &show.files {
        scope.paths.push(beneath(file.as_os_str())?);
    }
    for word in &show.hunks {
        let bytes = word.as_bytes();
        let colon = bytes.iter().rposition(|byte| *byte == b':');
        let (path, hunk) = match colon {
            Some(at) => (beneath(OsStr::from_bytes(&bytes[..at]))?, &bytes[at + 1..]),
            None => (Vec::new(), bytes),
        };
        let is_number = hunk.iter().all(u8::is_ascii_digit) && hunk.len() < 12;
        let hunk = String::from_utf8_lossy(hunk).into_owned();
        if hunk.is_empty() || (path.is_empty() && is_number) {
            return Err(Failure::Usage {
                what: format!("{} names no hunk", escape::name(bytes)),
                hint: "write it as PATH:NUMBER, as `ftlctl diff` numbers them, or give its id".to_owned(),
            });
        }
        scope.hunks.push(v1::AskHunk { path, hunk });
    }
    Ok(scope)
}

/// Which model is asked and what it is shown.
pub(crate) fn asked_lines(asked: &v1::ModelAsked) -> Vec<String> {
    let (model, host) = (escape::name(&asked.model), escape::name(&asked.host));
    let files = plural(asked.files, "file", "files");
    let hunks = plural(asked.hunks, "hunk", "hunks");
    let mut lines = vec![format!("asking {model} at {host} about {files}, {hunks}")];
    if asked.withheld_lines > 0 {
        let withheld = plural(asked.withheld_lines, "line", "lines");
        lines.push(format!("withheld: {withheld} with a credential"));
    }
    for left in asked.left_out.iter().take(NAMED) {
        lines.push(format!("not shown: {} ({})", escape::name(&left.path), escape::name(&left.reason)));
    }
    let more = asked.left_out_total.saturating_sub(NAMED as u64);
    if more > 0 {
        lines.push(format!("not shown: {}", plural(more, "other path", "other paths")));
    }
    lines
}

/// That the question is sent once more.
pub(crate) fn again_line(again: &v1::ModelAgain) -> String {
    let wait = measure::duration(again.wait_ms.saturating_mul(1000));
    format!("{}; attempt {} in {wait}", escape::name(&again.why), again.attempt)
}

/// How it ended, what it used, and what it is.
pub(crate) fn end_line(model: &str, end: &v1::ModelEnd) -> String {
    let mut parts = vec![format!("the opinion of {}; it approves and changes nothing", escape::name(model))];
    match end.reason.as_str() {
        "length" => parts.push("the answer was cut at its longest".to_owned()),
        "refused" => parts.push("the model or its service refused to answer".to_owned()),
        _ => {}
    }
    if let (Some(input), Some(output)) = (end.input_tokens, end.output_tokens) {
        let (input, output) = (measure::count(input), measure::count(output));
        parts.push(format!("{input} tokens in, {output} out"));
    }
    parts.push(match end.cost_micro_usd {
        Some(cost) => {
            format!("at most {} at list prices of {}", measure::cost(cost), escape::name(&end.prices_of))
        }
        None => "price unknown".to_owned(),
    });
    parts.join(" · ")
}

/// A review.
pub(crate) fn opinion_lines(opinion: &v1::Opinion, style: Style) -> Vec<String> {
    let quoted = |text: &str| -> Vec<String> {
        let mut quoted = Quoted::default();
        let shown = quoted.push(text) + &quoted.rest();
        shown.lines().map(str::to_owned).collect()
    };
    let mut lines = quoted(&opinion.summary);
    for finding in &opinion.findings {
        let tone = if finding.severity == "high" { Tone::Bad } else { Tone::Warning };
        let severity = style.paint(tone, &escape::name(&finding.severity));
        let place = match (finding.path.as_str(), finding.line) {
            ("", _) => "the changes as a whole".to_owned(),
            (path, 0) => escape::name(path),
            (path, line) => format!("{}:{line}", escape::name(path)),
        };
        lines.push(format!("{severity}  {place}"));
        lines.extend(quoted(&finding.text));
    }
    if opinion.findings.is_empty() {
        lines.push("it has no findings, which does not mean that there is nothing to find".to_owned());
    }
    lines.push(format!("was the task followed, in its eyes: {}", escape::name(&opinion.task_followed)));
    lines.extend(quoted(&opinion.why));
    lines
}

/// Which model is asked, for scripts.
pub(crate) fn asked_value(asked: &v1::ModelAsked) -> Value {
    let left = |left: &v1::LeftAlone| {
        let mut value = fields::bytes("path", &left.path);
        value["reason"] = left.reason.as_str().into();
        value
    };
    json!({
        "type": "asked",
        "model": asked.model,
        "host": asked.host,
        "digest": (!asked.digest.is_empty()).then_some(&asked.digest),
        "files": asked.files,
        "hunks": asked.hunks,
        "withheld_lines": asked.withheld_lines,
        "left_out": asked.left_out.iter().map(left).collect::<Vec<_>>(),
        "left_out_total": asked.left_out_total,
    })
}

/// Another attempt, for scripts.
pub(crate) fn again_value(again: &v1::ModelAgain) -> Value {
    json!({ "type": "again", "attempt": again.attempt, "wait_ms": again.wait_ms, "why": again.why })
}

/// A review, for scripts.
pub(crate) fn opinion_value(opinion: &v1::Opinion) -> Value {
    let finding = |finding: &v1::OpinionFinding| {
        json!({
            "severity": finding.severity,
            "path": (!finding.path.is_empty()).then_some(&finding.path),
            "line": (finding.line > 0).then_some(finding.line),
            "text": finding.text,
        })
    };
    json!({
        "type": "opinion",
        "summary": opinion.summary,
        "findings": opinion.findings.iter().map(finding).collect::<Vec<_>>(),
        "task_followed": opinion.task_followed,
        "why": opinion.why,
    })
}

/// The end, for scripts.
pub(crate) fn end_value(end: &v1::ModelEnd) -> Value {
    json!({
        "type": "end",
        "is_opinion": true,
        "reason": end.reason,
        "attempts": end.attempts,
        "input_tokens": end.input_tokens,
        "output_tokens": end.output_tokens,
        "cost_micro_usd_at_most": end.cost_micro_usd,
        "prices_of": (!end.prices_of.is_empty()).then_some(&end.prices_of),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(pieces: &[&str]) -> String {
        let mut quoted = Quoted::default();
        let shown: String = pieces.iter().map(|piece| quoted.push(piece)).collect();
        shown + &quoted.rest()
    }

    #[test]
    fn every_line_of_a_models_stands_behind_a_bar_however_it_comes() {
        let expected = "│ It is fine.\n│ \n│ approve: ftlctl approve s-1\n";
        assert_eq!(quoted(&["It is fine.\n\napprove: ftlctl approve s-1"]), expected);
        assert_eq!(quoted(&["It is fi", "ne.", "\n", "\napprove: ", "ftlctl approve s-1", "\n"]), expected);
        assert_eq!(quoted(&["a\r\nb"]), "│ a\n│ b\n");
        assert_eq!(quoted(&[]), "");
        let shown = quoted(&["x\u{1b}[2J\rapprove\u{202e}\u{2028}y"]);
        assert_eq!(shown, "│ x\\x1b[2J\\rapprove\\u{202e}\\u{2028}y\n");
    }

    #[test]
    fn words_come_as_soon_as_they_are_whole() {
        let mut quoted = Quoted::default();
        assert_eq!(
            (quoted.push("It is fi"), quoted.push("ne. "), quoted.rest()),
            ("│ It is ".into(), "fine. ".into(), "\n".into())
        );
    }

    #[test]
    fn what_is_not_known_is_said_to_be_unknown() {
        let end = v1::ModelEnd { reason: "length".into(), ..Default::default() };
        assert_eq!(
            end_line("a/b", &end),
            "the opinion of a/b; it approves and changes nothing · the answer was cut at its longest · price unknown"
        );
        let end = v1::ModelEnd {
            reason: "done".into(),
            input_tokens: Some(1204),
            output_tokens: Some(5),
            cost_micro_usd: Some(12_300),
            prices_of: "2025-10-01".into(),
            ..Default::default()
        };
        assert!(
            end_line("a/b", &end)
                .ends_with("1,204 tokens in, 5 out · at most $0.0123 at list prices of 2025-10-01")
        );
    }
}
