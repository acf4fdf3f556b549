//! Basic authentication, read and written.
//!
//! Owns the form of the header's value. Must not know which half is a credential.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest value that is read, bytes.
const LONGEST: usize = 8192;

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Basic {
    /// Without any `:`.
    pub(super) user: String,
    pub(super) password: String,
}

/// With or without padding, as clients write it.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Basic {
    /// Reads a header's value; `None` when it is none, too long or not text.
    pub(super) fn read(value: &str) -> Option<Self> {
        let encoded = after_scheme(value, "basic").filter(|_| value.len() <= LONGEST)?;
        let text = String::from_utf8(ENGINE.decode(encoded).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Self { user: user.to_owned(), password: password.to_owned() })
    }

    /// The header's value; `None` when no reader would get the same two halves from it.
    pub(super) fn write(&self) -> Option<String> {
        let unclear =
            self.user.contains(':') || [&self.user, &self.password].iter().any(|half| is_broken(half));
        (!unclear).then(|| format!("Basic {}", ENGINE.encode(format!("{}:{}", self.user, self.password))))
    }
}

/// What follows an authentication scheme and at least one space, without the spaces at either end.
pub(super) fn after_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = value.trim_matches(' ').split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim_start_matches(' '))
}

/// Whether a text has a character that would end a header's line, or that no credential has.
pub(super) fn is_broken(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' || byte == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_write_is_read() {
        for value in
            ["Basic dTpwOnE=", "basic dTpwOnE=", "BASIC   dTpwOnE=", "Basic dTpwOnE", " Basic dTpwOnE= "]
        {
            let basic = Basic::read(value).unwrap();
            assert_eq!((basic.user.as_str(), basic.password.as_str()), ("u", "p:q"), "{value}");
        }
        for value in
            ["", "Basic", "Basic ", "Bearer dTpwOnE=", "Basic d:", "Basic dXA=", "Basic /w==", "Basicx dTpw"]
        {
            assert!(Basic::read(value).is_none(), "{value}");
        }
        assert!(Basic::read(&format!("Basic {}", "dTpw".repeat(2048))).is_none());
    }

    #[test]
    fn what_would_be_read_differently_is_not_written() {
        let write = |user: &str, password: &str| {
            Basic { user: user.to_owned(), password: password.to_owned() }.write()
        };
        assert_eq!(write("u", "p:q").as_deref(), Some("Basic dTpwOnE="));
        assert_eq!(write("u:x", "p"), None);
        assert_eq!(write("u", "p\r\nx"), None);
        assert_eq!(write("u\0", "p"), None);
    }
}
