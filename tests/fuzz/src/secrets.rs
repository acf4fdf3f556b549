//! Files of variables, and the shadows of what is secret in them.
//!
//! Owns what must hold for them. Must not know requests.

use std::collections::BTreeSet;

use ftl_core::credential::dotenv;
use ftl_core::credential::shadow::mint_all;

/// A file that is read is written as one that means the same, and without a fault.
pub(crate) fn dotenv(bytes: &[u8]) {
    let (entries, problems) = dotenv::parse(bytes);
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    let numbers = entries.iter().map(|entry| entry.line);
    assert!(
        numbers
            .clone()
            .chain(problems.iter().map(|problem| problem.line))
            .all(|line| (1..=lines).contains(&line))
    );
    assert!(numbers.clone().is_sorted() && numbers.collect::<BTreeSet<_>>().len() == entries.len());
    let pairs: Vec<(&str, &str)> =
        entries.iter().map(|entry| (entry.name.as_str(), entry.value.expose())).collect();
    for (name, value) in &pairs {
        assert!(!value.contains('\0') && !name.is_empty());
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !b"='\"#$\\".contains(&byte)), "{name}");
    }
    let written = dotenv::render(pairs.iter().copied());
    let (again, problems) = dotenv::parse(written.as_bytes());
    assert!(problems.is_empty(), "{problems:?} in {written:?}");
    let again: Vec<(&str, &str)> =
        again.iter().map(|entry| (entry.name.as_str(), entry.value.expose())).collect();
    assert_eq!(again, pairs);
}

/// No secret is in what the sandbox gets, and every shadow has a name of its own.
pub(crate) fn shadow(bytes: &[u8]) {
    let (entries, _) = dotenv::parse(bytes);
    let pairs: Vec<(&str, &str)> =
        entries.iter().map(|entry| (entry.name.as_str(), entry.value.expose())).collect();
    // Not random, but different for each draw; the same input gives the same shadows.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes.len() as u64;
    let mut random = |buffer: &mut [u8]| {
        for byte in buffer {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 32) as u8;
        }
    };
    let minted = mint_all(&pairs, &mut random);
    assert_eq!(minted.len(), pairs.len());
    let mut names = BTreeSet::new();
    for (value, (name, given)) in minted.iter().zip(&pairs) {
        let Some(value) = value else { continue };
        assert!(!value.credentials.is_empty(), "{name} has a shadow of nothing");
        for credential in &value.credentials {
            let (real, shadow) = (credential.real.expose(), credential.grant.shadow.as_str());
            assert!(names.insert(credential.grant.name.clone()), "{:?} twice", credential.grant.name);
            assert!(!real.is_empty() && real != shadow, "{name} is its own shadow");
            assert!(!shadow.bytes().any(|byte| byte < b' ' && byte != b'\n'), "{shadow:?}");
            // Shorter ones may come again by chance, or stand elsewhere in a URL.
            if real.len() >= 16 && given.matches(real).count() == 1 {
                assert!(!value.text.contains(real), "{name}: {:?}", value.text);
            }
        }
    }
}
