//! How a slot is written: `authorization: Bearer {}`, `basic-password`, `query: key`.
//!
//! Owns that notation, which the catalogue and the human's own bindings share. Must not know hosts.

use std::fmt;

use super::{CredentialName, Slot};

/// Why a text is no slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SlotTextError {
    /// It is no way for a credential to travel.
    #[error(
        "a slot is `Header-Name: format with {{}}`, `basic-user`, `basic-password`, `query: NAME`, \
         `sigv4: KEY_ID_NAME [TOKEN_NAME]` or `oauth-refresh: /path`"
    )]
    Unknown,
    /// The header's name has characters that no header has, or names a header that is the proxy's own.
    #[error("that is no header that can carry a credential")]
    BadHeader,
    /// The format has no `{}`, more than one, or characters that no header value has.
    #[error("the format needs `{{}}` exactly once, in place of the value")]
    BadFormat,
    /// The parameter, path or other credential's name is empty or malformed.
    #[error("the name or path behind the colon is malformed")]
    BadArgument,
}

/// Headers that say where a request goes, how long it is or who is asked on the way.
const NOT_CARRIERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads a slot.
///
/// # Errors
/// When it is none.
pub fn parse(text: &str) -> Result<Slot, SlotTextError> {
    let text = text.trim();
    match text {
        "basic-user" => return Ok(Slot::BasicUser),
        "basic-password" => return Ok(Slot::BasicPassword),
        _ => {}
    }
    let (head, rest) = text.split_once(':').ok_or(SlotTextError::Unknown)?;
    let rest = rest.trim();
    match head {
        "query" => query(rest),
        "sigv4" => sigv4(rest),
        "oauth-refresh" => oauth(rest),
        _ => header(head, rest),
    }
}

fn query(name: &str) -> Result<Slot, SlotTextError> {
    let good =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"&=#{}".contains(&byte));
    good.then(|| Slot::Query { name: name.to_owned() }).ok_or(SlotTextError::BadArgument)
}

fn sigv4(rest: &str) -> Result<Slot, SlotTextError> {
    let mut names = rest.split_ascii_whitespace().map(CredentialName::parse);
    let key_id = names.next().and_then(Result::ok).ok_or(SlotTextError::BadArgument)?;
    let token = names.next().transpose().map_err(|_| SlotTextError::BadArgument)?;
    names.next().is_none().then_some(Slot::SigV4 { key_id, token }).ok_or(SlotTextError::BadArgument)
}

fn oauth(path: &str) -> Result<Slot, SlotTextError> {
    let good =
        path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    good.then(|| Slot::OAuthRefresh { path: path.to_owned() }).ok_or(SlotTextError::BadArgument)
}

fn header(name: &str, format: &str) -> Result<Slot, SlotTextError> {
    let name = name.to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || !name.bytes().all(token) || NOT_CARRIERS.contains(&name.as_str()) {
        return Err(SlotTextError::BadHeader);
    }
    let visible = format.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if format.matches("{}").count() != 1 || !visible {
        return Err(SlotTextError::BadFormat);
    }
    Ok(Slot::Header { name, format: format.to_owned() })
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, format } => write!(f, "{name}: {format}"),
            Self::BasicPassword => f.write_str("basic-password"),
            Self::BasicUser => f.write_str("basic-user"),
            Self::Query { name } => write!(f, "query: {name}"),
            Self::SigV4 { key_id, token: None } => write!(f, "sigv4: {key_id}"),
            Self::SigV4 { key_id, token: Some(token) } => write!(f, "sigv4: {key_id} {token}"),
            Self::OAuthRefresh { path } => write!(f, "oauth-refresh: {path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for text in [
            "authorization: Bearer {}",
            "x-api-key: {}",
            "authorization: Token token={}",
            "basic-user",
            "basic-password",
            "query: api_key",
            "sigv4: AWS_ACCESS_KEY_ID",
            "sigv4: AWS_ACCESS_KEY_ID AWS_SESSION_TOKEN",
            "oauth-refresh: /v1/oauth/token",
        ] {
            assert_eq!(parse(text).map(|slot| slot.to_string()), Ok(text.to_owned()));
        }
        let slot = Slot::Header { name: "authorization".to_owned(), format: "Bearer {}".to_owned() };
        assert_eq!(parse("Authorization: Bearer {}"), Ok(slot));
    }

    #[test]
    fn what_is_no_slot_is_refused() {
        for (text, error) in [
            ("", SlotTextError::Unknown),
            ("basic", SlotTextError::Unknown),
            ("authorization: Bearer", SlotTextError::BadFormat),
            ("authorization: {}{}", SlotTextError::BadFormat),
            ("x-key: {}\r\nhost: evil", SlotTextError::BadFormat),
            ("x key: {}", SlotTextError::BadHeader),
            ("Host: {}", SlotTextError::BadHeader),
            ("Proxy-Authorization: {}", SlotTextError::BadHeader),
            ("query:", SlotTextError::BadArgument),
            ("query: a&b", SlotTextError::BadArgument),
            ("sigv4:", SlotTextError::BadArgument),
            ("sigv4: A B C", SlotTextError::BadArgument),
            ("oauth-refresh: token", SlotTextError::BadArgument),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }
}
