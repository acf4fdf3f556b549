//! What a tool call is about, in a few words.
//!
//! Owns the choice of the argument that tells a human most. Must not know which tools exist.

use serde_json::Value;

use super::MAX_DETAIL;

/// Argument names, the most telling first.
const TELLING: [&str; 12] = [
    "file_path",
    "filePath",
    "path",
    "notebook_path",
    "command",
    "cmd",
    "query",
    "pattern",
    "url",
    "description",
    "prompt",
    "name",
];

/// The most telling argument of a tool's input, cut to [`MAX_DETAIL`] characters.
pub(crate) fn detail(input: &Value) -> String {
    let telling = TELLING.iter().find_map(|name| match input.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Array(words) => {
            words.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|w| w.join(" "))
        }
        _ => None,
    });
    match (telling, input) {
        (Some(text), _) => cut(&text),
        (None, Value::Null) => String::new(),
        (None, Value::Object(members)) if members.is_empty() => String::new(),
        (None, other) => cut(&other.to_string()),
    }
}

/// A text cut to [`MAX_DETAIL`] characters.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_DETAIL) {
        None => text.to_owned(),
        Some(_) => text.chars().take(MAX_DETAIL - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_most_telling_argument_is_shown() {
        for (input, shown) in [
            (json!({"content": "x", "file_path": "/workspace/a"}), "/workspace/a"),
            (json!({"description": "List", "command": "ls -la"}), "ls -la"),
            (json!({"command": ["sh", "-c", "ls"]}), "sh -c ls"),
            (json!({"pattern": "fn .*", "glob": "*.rs"}), "fn .*"),
            (json!({"todos": [1]}), r#"{"todos":[1]}"#),
            (json!({"path": "", "query": 7}), r#"{"path":"","query":7}"#),
            (json!({}), ""),
            (json!(null), ""),
            (json!("plain"), r#""plain""#),
        ] {
            assert_eq!(detail(&input), shown, "{input}");
        }
    }

    #[test]
    fn a_long_argument_is_cut_between_characters() {
        assert_eq!(cut(&"é".repeat(MAX_DETAIL)).chars().count(), MAX_DETAIL);
        let long = cut(&"é".repeat(MAX_DETAIL + 1));
        assert_eq!(long.chars().count(), MAX_DETAIL);
        assert!(long.ends_with("é…"));
    }
}
