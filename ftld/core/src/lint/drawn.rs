//! What a machine drew, and what a human wrote in its place.
//!
//! Owns the difference between random characters, words, and what stands in examples. Must not know names
//! or vendors.

/// Words that stand where a value should be filled in; compared without regard to case.
const PLACEHOLDERS: [&str; 38] = [
    "example",
    "sample",
    "placeholder",
    "your",
    "xxxx",
    "changeme",
    "change-me",
    "change_me",
    "dummy",
    "redacted",
    "replace",
    "insert",
    "foobar",
    "here",
    "****",
    "....",
    "0000000",
    "todo",
    "fake",
    "notreal",
    "not-real",
    "not_real",
    "invalid",
    "deadbeef",
    "hunter2",
    "secret",
    "passw",
    "p@ss",
    "test",
    "default",
    "admin",
    "lorem",
    "____",
    "----",
    "mykey",
    "mytoken",
    "abcd1234",
    "qwerty",
];
/// Those that no random characters are taken for by chance, however long.
const SURE: [&str; 19] = [
    "example",
    "sample",
    "placeholder",
    "xxxxx",
    "changeme",
    "change-me",
    "change_me",
    "redacted",
    "replace",
    "insert",
    "foobar",
    "*****",
    ".....",
    "0000000",
    "notreal",
    "not-real",
    "not_real",
    "deadbeef",
    "your",
];
/// Fewest different characters of what is drawn.
const DIFFERENT: usize = 8;

/// Whether a text says that it stands for a value; only such words count that chance does not make.
pub(super) fn is_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    SURE.iter().any(|word| lower.contains(word))
}

/// Whether a short text, such as a password, says so.
pub(super) fn is_weak_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    PLACEHOLDERS.iter().any(|word| lower.contains(word))
}

/// How many different bytes a text has.
pub(super) fn different(text: &[u8]) -> usize {
    let mut seen = [false; 256];
    text.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// Whether a text is mostly counted up or down, or one piece again and again.
pub(super) fn is_sequence(text: &[u8]) -> bool {
    let (mut covered, mut run, mut step) = (0, 1, 0_i16);
    for pair in text.windows(2) {
        let next = i16::from(pair[1].to_ascii_lowercase()) - i16::from(pair[0].to_ascii_lowercase());
        if (-1..=1).contains(&next) && (run == 1 || next == step) {
            (run, step) = (run + 1, next);
        } else {
            covered += if run >= 4 { run } else { 0 };
            run = 1;
        }
    }
    covered += if run >= 4 { run } else { 0 };
    let repeats = |period: usize| text.iter().zip(&text[period..]).all(|(one, other)| one == other);
    covered * 2 > text.len() || (1..=12.min(text.len() / 2)).any(repeats)
}

/// Whether a text is words with something between them, as names and identifiers are.
pub(super) fn is_wordy(text: &str) -> bool {
    let word = |part: &str| {
        let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = part.len() - letters.len();
        let same_case = letters.len() < 2
            || letters[1..].bytes().all(|byte| byte.is_ascii_lowercase())
            || letters.bytes().all(|byte| byte.is_ascii_uppercase());
        letters.bytes().all(|byte| byte.is_ascii_alphabetic())
            && same_case
            && digits <= 4
            && letters.len() <= 14
    };
    let mut parts = text.split(['-', '_', '.', '/', ':', ' ']).filter(|part| !part.is_empty());
    let several = parts.clone().nth(1).is_some();
    several && parts.all(word)
}

/// Whether a text looks drawn: many different characters, and sorts of characters that change often.
pub(super) fn is_drawn(text: &[u8]) -> bool {
    if text.len() < 12 || different(text) < DIFFERENT.min(text.len() / 2) || is_sequence(text) {
        return false;
    }
    let sort = |byte: &u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let plain: Vec<u8> = text.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
    if plain.len() * 4 < text.len() * 3 {
        return false;
    }
    let changes = plain.windows(2).filter(|pair| sort(&pair[0]) != sort(&pair[1])).count();
    let groups = plain.windows(2).filter(|pair| sort(&pair[0]) != 2 && sort(&pair[1]) == 2).count();
    let digits = plain.iter().filter(|byte| byte.is_ascii_digit()).count();
    changes * 100 >= plain.len() * 27 || (digits >= 3 && groups >= 3) || is_unpronounceable(&plain)
}

/// Whether letters without digits follow each other as in no word.
fn is_unpronounceable(text: &[u8]) -> bool {
    let consonant = |byte: &u8| !b"aeiouAEIOU".contains(byte);
    let longest = text.split(|byte| !consonant(byte)).map(<[u8]>::len).max().unwrap_or(0);
    text.len() >= 20 && different(text) >= 10 && longest >= 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_characters_are_told_from_words() {
        for drawn in [
            "q7Zk2mP9xW4vB8nL",
            "3f9a1c7e5b2d4860",
            "b7d9k2m4x1z8q5w3",
            "9hKfT2NpQwStRv4MxBz6",
            "UBTCMRFEKTBUBNQYURYGSCMJIDI",
        ] {
            assert!(is_drawn(drawn.as_bytes()), "{drawn}");
        }
        for other in [
            "my_service_token_name",
            "aaaaaaaaaaaaaaaaaaaa",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "abc123abc123abc123abc123",
            "configurationManagerToken",
            "short",
        ] {
            assert!(!is_drawn(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_to_be_filled_in_is_known() {
        for text in ["YOUR_API_KEY_HERE", "xxxxxxxxxxxx", "sk_EXAMPLE", "<redacted>", "changeme123"] {
            assert!(is_placeholder(text), "{text}");
        }
        assert!(is_weak_placeholder("Test1234!") && !is_placeholder("Test1234!"));
        assert!(is_wordy("config-service-token") && is_wordy("API_KEY_V2") && !is_wordy("a8f3-99zz-k2"));
    }

    #[test]
    fn sequences_are_known() {
        for text in
            ["1234567890", "abcdefghij", "0000000000", "deadbeefdeadbeef", "ab12ab12ab12", "987654321"]
        {
            assert!(is_sequence(text.as_bytes()), "{text}");
        }
        assert!(!is_sequence(b"q7Zk2mP9xW4vB8nL"));
    }
}
