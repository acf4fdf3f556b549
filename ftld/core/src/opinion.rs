//! What a model is asked about a session's work, and what counts of its answer.
//!
//! Owns the prompts of a question and of a review, in which everything that comes from the repository or the
//! agent is data that cannot be taken for anything else, and the strict reading of a review. What a model
//! answers is an opinion: nothing in it approves, refuses or changes anything, and what cannot be read is no
//! opinion at all, never a good one. Must not know models, or how the answer is shown.
//!
//! Reading order: [`material`] makes data of changes, [`prompt`] puts it where it is data, [`differs`] says
//! which models may review an agent's work.

mod differs;
mod material;
mod prompt;

use std::fmt;

use serde::Deserialize;

pub use differs::{Sameness, sameness};
pub use material::{File, LeftOut, Material, WITHHELD, Why, shown};
pub use prompt::{Prompt, question, review};

/// What a model thinks of a session's work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opinion {
    /// What the changes do, in its words.
    pub summary: String,
    /// What it would look at.
    pub findings: Vec<Finding>,
    /// Whether the task was followed.
    pub task: Followed,
    /// Why it thinks so.
    pub why: String,
}

/// Something that a model would look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How grave it is, in its eyes.
    pub severity: Severity,
    /// The path, as the material shows it; `None` for the changes as a whole.
    pub path: Option<String>,
    /// Line after the change, from 1.
    pub line: Option<u64>,
    /// What it is.
    pub text: String,
}

/// How grave something is; the gravest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It breaks or endangers something.
    High,
    /// It may.
    Medium,
    /// It could be better.
    Low,
}

/// Whether the task was followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Followed {
    /// Yes.
    Yes,
    /// In part, or more was done than was asked for.
    Partly,
    /// No.
    No,
    /// The model cannot say.
    Unclear,
}

/// Why an answer is no opinion.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoOpinion {
    /// It is not the one JSON object that was asked for.
    #[error("the model's answer is not the JSON object that was asked for")]
    Form,
    /// A finding is about a path that is not among those that were shown.
    #[error("the model's answer has a finding about a path that it was not shown")]
    Path,
    /// There is more of something than an opinion has, or nothing where there must be something.
    #[error("the model's answer has {0}")]
    Size(&'static str),
    /// The answer was not finished.
    #[error("the model's answer was cut at its longest")]
    Cut,
    /// The model did not answer.
    #[error("the model or its service refuses to answer")]
    Refused,
}

/// The longest answer that is read, bytes.
pub const LONGEST_ANSWER: usize = 64 * 1024;
/// Findings at most.
const MOST_FINDINGS: usize = 100;
/// Characters of a summary, a reason or a finding at most.
const LONGEST_TEXT: usize = 4000;

/// An answer as it is asked for. A field that was not asked for makes it something else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    summary: String,
    findings: Vec<RawFinding>,
    task: Followed,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFinding {
    severity: Severity,
    path: Option<String>,
    line: Option<u64>,
    text: String,
}

/// Reads an answer; `knows` says whether a path was shown. A fence around the object is the one liberty that
/// is granted.
///
/// # Errors
/// When it is no opinion.
pub fn read(answer: &str, knows: impl Fn(&str) -> bool) -> Result<Opinion, NoOpinion> {
    if answer.len() > LONGEST_ANSWER {
        return Err(NoOpinion::Size("more text than was asked for"));
    }
    let raw: Raw = serde_json::from_str(unfenced(answer.trim())).map_err(|_| NoOpinion::Form)?;
    let texts = [&raw.summary, &raw.why].into_iter().chain(raw.findings.iter().map(|finding| &finding.text));
    for text in texts {
        match text.trim().is_empty() {
            true => return Err(NoOpinion::Size("an empty text")),
            false if text.chars().count() > LONGEST_TEXT => {
                return Err(NoOpinion::Size("a text without end"));
            }
            false => {}
        }
    }
    if raw.findings.len() > MOST_FINDINGS {
        return Err(NoOpinion::Size("more findings than anybody reads"));
    }
    let mut findings = Vec::new();
    for RawFinding { severity, path, line, text } in raw.findings {
        let path = path.filter(|path| !path.is_empty());
        if path.as_deref().is_some_and(|path| !knows(path)) {
            return Err(NoOpinion::Path);
        }
        findings.push(Finding {
            severity,
            line: line.filter(|line| *line > 0 && path.is_some()),
            path,
            text,
        });
    }
    findings.sort_by_key(|finding| finding.severity);
    Ok(Opinion { summary: raw.summary, findings, task: raw.task, why: raw.why })
}

/// A text without the fence that models like to put around JSON.
fn unfenced(text: &str) -> &str {
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    inner.and_then(|inner| inner.trim().strip_suffix("```")).map_or(text, str::trim)
}

impl Severity {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

impl Followed {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
            Self::Unclear => "unclear",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"summary": "renames a", "findings": [
        {"severity": "low", "path": null, "line": null, "text": "no test"},
        {"severity": "high", "path": "src/a.rs", "line": 3, "text": "overflows"}],
        "task": "partly", "why": "b is not renamed"}"#;

    fn read_it(text: &str) -> Result<Opinion, NoOpinion> {
        read(text, |path| path == "src/a.rs")
    }

    #[test]
    fn an_opinion_is_read_with_the_gravest_first() {
        for text in [GOOD.to_owned(), format!("\n```json\n{GOOD}\n```\n"), format!("```\n{GOOD}```")] {
            let opinion = read_it(&text).unwrap();
            assert_eq!((opinion.task, opinion.findings.len()), (Followed::Partly, 2));
            assert_eq!(opinion.findings[0].severity, Severity::High);
            assert_eq!(opinion.findings[0].path.as_deref(), Some("src/a.rs"));
        }
    }

    #[test]
    fn everything_else_is_no_opinion() {
        let change = |from: &str, to: &str| {
            assert!(GOOD.contains(from));
            GOOD.replace(from, to)
        };
        for text in [
            String::new(),
            "Looks good to me!".to_owned(),
            format!("Sure: {GOOD}"),
            format!("{GOOD}{GOOD}"),
            format!("[{GOOD}]"),
            change("\"why\"", "\"approve\": true, \"why\""),
            change("\"severity\": \"low\"", "\"severity\": \"none\""),
            change("\"partly\"", "\"approved\""),
            change("\"line\": 3", "\"line\": -3"),
            change("\"line\": 3", "\"line\": 3, \"approve\": true"),
            change(", \"why\": \"b is not renamed\"", ""),
            change("\"why\"", "\"summary\": \"again\", \"why\""),
        ] {
            assert_eq!(read_it(&text), Err(NoOpinion::Form), "{text}");
        }
        assert_eq!(read_it(&change("src/a.rs", "src/b.rs")), Err(NoOpinion::Path));
        assert_eq!(read_it(&change("renames a", " ")), Err(NoOpinion::Size("an empty text")));
        let long = change("overflows", &"x".repeat(LONGEST_TEXT + 1));
        assert_eq!(read_it(&long), Err(NoOpinion::Size("a text without end")));
        let much = GOOD.to_owned() + &" ".repeat(LONGEST_ANSWER);
        assert!(matches!(read_it(&much), Err(NoOpinion::Size(_))));
        let many = r#"{"severity":"low","path":null,"line":null,"text":"x"},"#.repeat(MOST_FINDINGS);
        let many = change("\"findings\": [", &format!("\"findings\": [{many}"));
        assert_eq!(read_it(&many), Err(NoOpinion::Size("more findings than anybody reads")));
    }
}
