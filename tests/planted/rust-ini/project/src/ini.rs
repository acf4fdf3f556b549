//! Files of settings.

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
