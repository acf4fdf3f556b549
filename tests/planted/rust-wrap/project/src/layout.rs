//! Text in lines.

/// Every line of a text with spaces before it.
pub fn indent(text: &str, by: usize) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("{:by$}{line}", "")).collect();
    lines.join("\n")
}
