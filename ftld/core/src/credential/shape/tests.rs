//! Tests of shapes and of what is minted from them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;
use crate::credential::catalogue::Catalogue;

/// Bytes that differ from each other, the same ones for the same seed.
fn bytes(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |to: &mut [u8]| {
        for byte in to {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            *byte = (mixed >> 56) as u8;
        }
    }
}

fn minted(value: &str, seed: u64) -> String {
    let vendor = Catalogue::builtin().recognise("", value).ok();
    Shape::of(value, vendor).mint(&mut bytes(seed))
}

fn entropy(shape: &Shape) -> usize {
    let bits = |piece: &Piece| match piece {
        Piece::Random(letters, length) => letters.bits() * length,
        Piece::Fixed(_) | Piece::Crc32 => 0,
    };
    shape.pieces.iter().map(bits).sum()
}

#[test]
fn shadows_have_the_form_of_their_originals() {
    let letters = |text: &str| {
        text.chars()
            .map(|c| match c {
                '0'..='9' => '9',
                'a'..='z' => 'a',
                'A'..='Z' => 'A',
                other => other,
            })
            .collect::<String>()
    };
    for (value, prefix, same_length) in [
        ("sk-ant-api03-aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3-AA", "sk-ant-api03-", true),
        ("sk-proj-aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3", "sk-proj-", true),
        ("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", "ghp_", true),
        (
            "github_pat_11ABCDEFG0abcdefghijkl_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVW",
            "github_pat_",
            true,
        ),
        ("glpat-aB1cD2eF3gH4iJ5kL6mN", "glpat-", false),
        ("AKIAIOSFODNN7EXAMPLE", "AKIA", false),
        ("xoxb-123456789012-1234567890123-aB1cD2eF3gH4iJ5kL6mN7oP8", "xoxb-", true),
        ("sk_live_aB1cD2eF3gH4iJ5kL6mN7oP8", "sk_live_", true),
        ("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", "SG.", true),
        ("123e4567-e89b-12d3-a456-426614174000", "", true),
        ("da39a3ee5e6b4b0d3255bfef95601890afd80709", "", true),
        ("npm_aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2", "npm_", true),
        ("hunter2", "", false),
    ] {
        let shadow = minted(value, 7);
        assert!(shadow.starts_with(prefix), "{value} {shadow}");
        assert_eq!(shadow.len() == value.len(), same_length, "{value} {shadow}");
        assert!(shadow.len() >= value.len(), "{value} {shadow}");
        let separators = |text: &str| text.replace(|c: char| c.is_ascii_alphanumeric(), "");
        assert_eq!(separators(&shadow), separators(value), "{value} {shadow}");
    }
    assert_eq!(letters(&minted("xoxb-123456789012-1234567890123-aB1cD2eF3gH4", 1))[5..18], *"999999999999-");
    let uuid = minted("123E4567-E89B-12D3-A456-426614174000", 3);
    assert!(uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)));
    let digits = minted("4111111111111111", 3);
    assert!(digits.len() >= 39 && digits.bytes().all(|byte| byte.is_ascii_digit()));
}

#[test]
fn checksums_are_right() {
    for (value, prefix) in [
        ("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", "ghp_"),
        ("npm_aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2", "npm_"),
    ] {
        let shadow = minted(value, 5);
        let (body, checksum) = shadow[prefix.len()..].split_at(30);
        assert_eq!(alphabet::crc32_base62(body.as_bytes()), checksum);
    }
}

#[test]
fn base64_stays_what_a_decoder_reads() {
    for length in [20, 31, 32, 33, 64, 65] {
        let real = STANDARD.encode(vec![0xFB_u8; length]);
        let shadow = minted(&real, 11);
        let decoded = STANDARD.decode(&shadow).unwrap_or_else(|error| panic!("{real} {shadow}: {error}"));
        assert_eq!(decoded.len(), length, "{real} {shadow}");
    }
}

#[test]
fn web_tokens_keep_what_clients_act_on_and_nobodys_name() {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let header = encode("{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"tenant-7\"}");
    let payload = encode(
        "{\"sub\":\"ada\",\"email\":\"ada@example.com\",\"exp\":1900000000,\"aud\":[\"a\"],\"role\":\"anon\"}",
    );
    let signature = URL_SAFE_NO_PAD.encode([7_u8; 32]);
    let real = format!("{header}.{payload}.{signature}");
    let shadow = minted(&real, 13);
    let parts: Vec<&str> = shadow.split('.').collect();
    let json = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(json(parts[0]), "{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
    assert_eq!(json(parts[1]), "{\"aud\":[\"a\"],\"exp\":1900000000,\"role\":\"anon\"}");
    assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 32);
    assert_ne!(parts[2], signature);
    for odd in ["a.b.c", "eyJhbGciOiJub25lIn0.e30", "eyJhbGciOiJub25lIn0.e30.a.b.c", "bm8.e30.abc"] {
        assert!(jwt::shape(odd).is_none(), "{odd}");
    }
    assert!(entropy(&Shape::of("eyJhbGciOiJub25lIn0.e30.", None)) >= ENOUGH);
}

#[test]
fn keys_in_lines_keep_their_lines() {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    for end in ["\n", "\\n"] {
        let real = ["-----BEGIN PRIVATE KEY-----", body, "AbCd1234", "-----END PRIVATE KEY-----"].join(end);
        let shadow = minted(&real, 17);
        let lines: Vec<&str> = shadow.split(end).collect();
        assert_eq!((lines[0], lines[3]), ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"));
        assert_eq!((lines[1].len(), lines[2].len()), (64, 8));
        assert!(!shadow.contains("MIIEvQIB") && !shadow.contains("AbCd1234"));
    }
    // In one line nothing says where the key begins, so that nothing is kept.
    let shadow = minted(&format!("-----BEGIN PRIVATE KEY-----{body}-----END PRIVATE KEY-----"), 17);
    assert!(!shadow.contains("MIIEvQIB") && !shadow.contains("BEGIN"));
}

#[test]
fn a_source_that_repeats_itself_does_not_keep_minting_for_ever() {
    let mut zeros = |to: &mut [u8]| to.fill(0);
    let shadow = Shape::of("00000000000000000000000000000000", None).mint(&mut zeros);
    assert!(shadow.len() >= 32);
}

#[test]
fn a_shadow_that_repeats_some_of_the_value_is_thrown_away() {
    let real = "ZZZZZZZZZZZZZZZZZZZZZZZZ";
    let mut calls = 0_u32;
    // The first draw repeats the value's first letters.
    let mut random = |to: &mut [u8]| {
        calls += 1;
        to.fill(0);
        to[0] = if calls <= 24 { 25 } else { (calls % 32) as u8 };
    };
    let shadow = Shape::of(real, None).mint(&mut random);
    assert!(!shadow.contains("ZZZZZZZZ"), "{shadow}");
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{4,80}",
        "\\PC{4,40}",
        "[0-9a-f]{4,64}",
        "[0-9]{4,40}",
        "[A-Z2-7]{4,64}",
        "[A-Za-z0-9]{4,100}",
        "[A-Za-z0-9_-]{4,100}",
        "[A-Za-z0-9+/]{4,60}={0,2}",
        "(sk-|sk-ant-api03-|ghp_|xoxb-|AKIA|SG\\.|sk_live_|glpat-|hf_|FlyV1 )[A-Za-z0-9_-]{4,60}",
        "ghp_[A-Za-z0-9]{36}",
        "eyJhbGciOiJIUzI1NiJ9\\.e30\\.[A-Za-z0-9_-]{4,60}",
        "-----BEGIN PRIVATE KEY-----\n[A-Za-z0-9+/]{4,64}\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----[A-Za-z0-9+/\n]{4,64}",
        "-----BEGIN PRIVATE KEY-----\n?",
        "[a-z.:~-]{4,40}",
    ]
}

proptest! {
    #[test]
    fn shadows_are_random_enough_and_repeat_nothing(value in value(), seed: u64) {
        let vendor = Catalogue::builtin().recognise("", &value).ok();
        let shape = Shape::of(&value, vendor);
        prop_assert!(entropy(&shape) >= ENOUGH);
        let mut random = bytes(seed);
        let (shadow, other) = (shape.mint(&mut random), shape.mint(&mut random));
        prop_assert_ne!(&shadow, &other);
        prop_assert!(!shadow.contains(&value));
        prop_assert!(!shape.repeats(&shadow));
        let clean = |c: char| c.is_ascii_graphic() || c == '\n' || c == ' ' && value.starts_with("FlyV1 ");
        prop_assert!(shadow.chars().all(clean) || value.starts_with("-----BEGIN"), "{}", shadow);
        prop_assert!(!shadow.contains(['"', '\'', '`', '$', '&', '%', '@', '/', '?', '#', '\\']));
        if let Some(form) = vendor.and_then(|vendor| vendor.form(&value)) {
            prop_assert!(shadow.starts_with(&form.prefix));
        }
        let secret = |at: usize| shape.secrets.iter().any(|it| it.expose().contains(&value[at..at + 8]));
        let ascii = value.is_ascii() && value.len() >= 8;
        for at in 0..if ascii { value.len() - 7 } else { 0 } {
            let fixed = shape.pieces.iter().any(|it| matches!(it, Piece::Fixed(text) if text.contains(&value[at..at + 8])));
            prop_assert!(!secret(at) || fixed || !shadow.contains(&value[at..at + 8]), "{} {}", value, shadow);
        }
    }

    #[test]
    fn simple_values_keep_their_length_when_it_is_enough(value in "[A-Za-z0-9]{40,80}", seed: u64) {
        let shadow = Shape::of(&value, None).mint(&mut bytes(seed));
        prop_assert_eq!(shadow.len(), value.len());
        let letters = Letters::of(&value);
        prop_assert_eq!(Letters::of(&shadow).bits() <= letters.bits(), true);
    }
}
