//! A policy as a text file.
//!
//! Owns lines and comments: one rule per line, `#` at the start of a word begins a comment. Must not know
//! where the file is.

use super::rule::{Rule, RuleError};

/// What is wrong with a policy file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PolicyError {
    /// Which line, from 1.
    pub line: usize,
    /// What.
    pub problem: RuleError,
}

/// Reads the rules of a file, in their order.
///
/// # Errors
/// The first line that is no rule.
pub fn parse(text: &str) -> Result<Vec<Rule>, PolicyError> {
    let mut rules = Vec::new();
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = without_comment(line);
        if !line.is_empty() {
            rules.push(line.parse().map_err(|problem| PolicyError { line: index + 1, problem })?);
        }
    }
    Ok(rules)
}

/// A line without its comment and the space around it. A `#` inside a word is part of it, so that a rule
/// with a `#` in its path is refused rather than cut short.
fn without_comment(line: &str) -> &str {
    let starts = |at: &usize| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    let end = line.match_indices('#').map(|(at, _)| at).find(starts).unwrap_or(line.len());
    line[..end].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rule_per_line_with_comments() {
        let text =
            "\u{feff}# mine\n\nallow GET api.example.com/v1 # the API\r\n\tdeny *.example.com\t#x\n  # end";
        let rules: Vec<String> = parse(text).unwrap().iter().map(Rule::to_string).collect();
        assert_eq!(rules, ["allow GET api.example.com/v1", "deny *.example.com"]);
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn the_line_that_is_wrong_is_named() {
        let problem = parse("allow a.example\n\nalow b.example\nallow").unwrap_err();
        assert_eq!(problem.line, 3);
        assert!(problem.to_string().starts_with("line 3: a rule begins with allow"), "{problem}");
        assert_eq!(parse("allow a.example/x#y").unwrap_err().problem, RuleError::Query);
    }
}
