//! The letters that credentials are made of.
//!
//! Owns sets of letters, which set a text is from, and drawing from one. Must not know what a text means.

use serde::Deserialize;

use super::Random;

/// A set of letters, as the catalogue names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::credential) enum Alphabet {
    /// Anything.
    Any,
    /// Whatever a token is made of: all that is visible, without quotes and brackets.
    #[default]
    Token,
    /// `0-9a-f` in either case.
    Hex,
    /// `0-9A-Za-z`.
    Base62,
    /// Base 64 with `+` and `/`, and its padding.
    Base64,
    /// Base 64 with `-` and `_`.
    Base64url,
    /// `A-Z2-7`.
    Base32,
    /// `0-9A-Z`.
    Upper,
    /// `0-9`.
    Digits,
}

/// Letters to draw from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Letters(&'static [u8]);

pub(super) const BASE62: Letters = Letters(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
pub(super) const BASE64URL: Letters =
    Letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
const DIGITS: Letters = Letters(b"0123456789");
const HEX_LOWER: Letters = Letters(b"0123456789abcdef");
const HEX_UPPER: Letters = Letters(b"0123456789ABCDEF");
const BASE32: Letters = Letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
const LOWER: Letters = Letters(b"0123456789abcdefghijklmnopqrstuvwxyz");
const UPPER: Letters = Letters(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
/// The last letter before `==`, of which only two bits count, and before `=`, of which four do.
const LAST_OF_TWO: Letters = Letters(b"AQgw");
const LAST_OF_THREE: Letters = Letters(b"AEIMQUYcgkosw048");

/// A text shorter than this may be hexadecimal by chance.
const SURELY_HEX: usize = 12;
/// A text shorter than this may be in base 32 by chance.
const SURELY_BASE32: usize = 16;

impl Alphabet {
    /// Whether a byte is one of the letters.
    pub(in crate::credential) fn has(self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Token => byte.is_ascii_graphic() && !b"\"'`\\{}[]()<>".contains(&byte),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Base62 => byte.is_ascii_alphanumeric(),
            Self::Base64 => byte.is_ascii_alphanumeric() || b"+/=".contains(&byte),
            Self::Base64url => byte.is_ascii_alphanumeric() || b"-_".contains(&byte),
            Self::Base32 => byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Digits => byte.is_ascii_digit(),
        }
    }
}

impl Letters {
    /// The smallest set that a text of letters and digits is surely from.
    pub(super) fn of(text: &str) -> Self {
        let all = |letters: Self| text.bytes().all(|byte| letters.0.contains(&byte));
        let fitting = [
            (DIGITS, 1),
            (HEX_LOWER, SURELY_HEX),
            (HEX_UPPER, SURELY_HEX),
            (BASE32, SURELY_BASE32),
            (LOWER, 1),
            (UPPER, 1),
        ];
        let fits = |(letters, shortest): &(Self, usize)| text.len() >= *shortest && all(*letters);
        fitting.into_iter().find(fits).map_or(BASE62, |(letters, _)| letters)
    }

    /// Random bits of one letter, in hundredths, rounded down.
    pub(super) fn bits(self) -> usize {
        match self.0.len() {
            64.. => 600,
            62.. => 595,
            36.. => 516,
            32.. => 500,
            16.. => 400,
            10.. => 332,
            4.. => 200,
            _ => 0,
        }
    }

    pub(super) fn is_hex(self) -> bool {
        self == HEX_LOWER || self == HEX_UPPER
    }

    /// Whether it is only for the last letter of a base 64 text.
    pub(super) fn ends_base64(self) -> bool {
        self == LAST_OF_TWO || self == LAST_OF_THREE
    }

    /// Appends so many letters.
    pub(super) fn draw(self, length: usize, random: &mut Random<'_>, to: &mut String) {
        for _ in 0..length {
            let mut bytes = [0; 8];
            random(&mut bytes);
            // 64 bits over at most 64 letters: no letter is likelier than another by more than 2^-58.
            let at = u64::from_le_bytes(bytes) % self.0.len() as u64;
            to.push(char::from(self.0[at as usize]));
        }
    }
}

/// Letters for the end of a base 64 text with so many letters, padding not counted; any others would not
/// be what an encoder writes.
pub(super) fn last_of_base64(length: usize) -> Letters {
    match length % 4 {
        2 => LAST_OF_TWO,
        3 => LAST_OF_THREE,
        _ => BASE62,
    }
}

/// Whether a text is base 64 with letters that base 62 does not have.
pub(super) fn in_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    !body.is_empty() && text.len() - body.len() <= 2 && body.bytes().all(letter)
}

/// The CRC-32 of a text in six letters, as GitHub and npm end their tokens.
pub(crate) fn crc32_base62(text: &[u8]) -> String {
    let mut crc = u32::MAX;
    for byte in text {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let mut rest = !crc;
    let mut letters = [b'0'; 6];
    for letter in letters.iter_mut().rev() {
        *letter = BASE62.0[(rest % 62) as usize];
        rest /= 62;
    }
    letters.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_vendors() {
        // From the description of the scheme, a token that was never in use.
        assert_eq!(crc32_base62(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"), "0mLq17");
        assert_eq!(crc32_base62(b""), "000000");
    }

    #[test]
    fn the_smallest_sure_set_is_taken() {
        for (text, letters) in [
            ("123456", DIGITS),
            ("deadbeef0123", HEX_LOWER),
            ("DEADBEEF0123", HEX_UPPER),
            ("added", LOWER),
            ("MFRGGZDFMZTWQ2LK", BASE32),
            ("ABC189", UPPER),
            ("abCD12", BASE62),
            ("", BASE62),
        ] {
            assert_eq!(Letters::of(text), letters, "{text}");
        }
    }
}
