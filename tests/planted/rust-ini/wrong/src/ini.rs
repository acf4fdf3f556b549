//! Files of settings.

use std::collections::BTreeMap;

/// What is wrong with a file of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The line, counted from 1.
    pub number: usize,
}

/// All settings of a text.
pub fn read_settings(text: &str) -> Result<BTreeMap<String, String>, BadLine> {
    let mut settings = BTreeMap::new();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for (index, line) in lines.enumerate() {
        let bad = BadLine { number: index + 1 };
        let (key, value) = line.split_once('=').ok_or(bad)?;
        if key.trim().is_empty() {
            return Err(bad);
        }
        settings.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(settings)
}

/// The first value of a key, if the text has one.
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.find(|(found, _)| found.trim() == key).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn a_value() {
        assert_eq!(value("a = 1\nb=2", "b"), Some("2"));
        assert_eq!(value("a = 1", "c"), None);
    }
}
