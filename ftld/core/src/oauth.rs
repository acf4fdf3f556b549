//! The bodies of a token endpoint: a shadow goes out as the real refresh token, and the tokens that come
//! back stay outside.
//!
//! Owns which fields of a request and of an answer are tokens. Must not know how shadows are minted or
//! where new tokens are kept. Login flows are not here: they run on the host.

#[cfg(test)]
mod tests;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::credential::CredentialName;
use crate::credential::slots::TokenEndpoint;

/// Largest body that is rewritten, bytes.
pub const LARGEST: usize = 1 << 20;

/// Fields of a request in which a shadow becomes a real value.
const OURS: [&str; 2] = ["refresh_token", "client_secret"];
/// Fields of a request that begin a login or speak for somebody. A login in a sandbox would make the
/// agent's own account out of the session's credential.
const LOGIN: [&str; 8] = [
    "assertion",
    "client_assertion",
    "code",
    "device_code",
    "password",
    "actor_token",
    "subject_token",
    "token",
];
/// Fields of an answer that are tokens.
const TOKENS: [&str; 3] = ["access_token", "refresh_token", "id_token"];
/// What is encoded in a form: everything but the unreserved characters of RFC 3986.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request's body with the real values in it. Without `Debug`: they would be in it.
pub struct Rewritten {
    /// The new body.
    pub body: Vec<u8>,
    /// Credentials that are in it.
    pub names: Vec<CredentialName>,
}

/// A token that an answer brought. Without `Debug`: the real value would be in it.
pub struct NewToken {
    /// The answer's field: `access_token`, `refresh_token` or `id_token`.
    pub field: String,
    /// What the host sent.
    pub real: String,
    /// What the sandbox gets.
    pub shadow: String,
}

/// Why a body cannot be rewritten; nothing of it may then be forwarded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OAuthError {
    /// It is neither a form nor JSON, by its type or by what is in it.
    #[error("the body of the token endpoint is neither a form nor JSON")]
    Unreadable,
    /// It is larger than [`LARGEST`].
    #[error("the body of the token endpoint is too large")]
    TooLarge,
    /// A field of a form is there twice.
    #[error("{field} is there more than once")]
    Duplicate {
        /// Which.
        field: &'static str,
    },
    /// A token or secret that is not the session's own.
    #[error("{field} holds a credential that is not the session's own")]
    Foreign {
        /// Which field.
        field: &'static str,
    },
    /// No credential of the session is in it.
    #[error("the request to the token endpoint carries no credential of the session")]
    Missing,
    /// There is no real value at the moment.
    #[error("{name} has no value at the moment")]
    Unavailable {
        /// Which credential.
        name: CredentialName,
    },
}

/// Fields in their order.
type Fields = Vec<(String, Value)>;

/// How a body is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Form,
    Json,
}

/// Puts real values in the place of shadows in a request to a token endpoint, in the fields
/// `refresh_token` and `client_secret`, whole fields only. A `client_secret` that is not the session's own
/// may stand beside a refresh token that is: those of programs that everybody has are no secrets.
///
/// # Errors
/// When the body cannot be read, or holds another's credential or none.
pub fn rewrite_request<R: AsRef<str>>(
    content_type: Option<&str>,
    body: &[u8],
    endpoint: &TokenEndpoint,
    real: &dyn Fn(&CredentialName) -> Option<R>,
) -> Result<Rewritten, OAuthError> {
    let (kind, mut fields) = read(content_type, body)?;
    if let Some(field) = LOGIN.into_iter().find(|field| fields.iter().any(|(name, _)| name == field)) {
        return Err(OAuthError::Foreign { field });
    }
    let mut names = Vec::new();
    let mut stranger = None;
    for field in OURS {
        let mut places = fields.iter_mut().filter(|(name, _)| name == field);
        let Some((_, value)) = places.next() else { continue };
        if places.next().is_some() {
            return Err(OAuthError::Duplicate { field });
        }
        let sent = value.as_str().unwrap_or_default();
        match endpoint.credentials.iter().find(|(_, shadow)| !shadow.is_empty() && shadow == sent) {
            Some((name, _)) => {
                let real = real(name).ok_or_else(|| OAuthError::Unavailable { name: name.clone() })?;
                *value = Value::String(real.as_ref().to_owned());
                names.push(name.clone());
            }
            None if *value == Value::String(String::new()) => {}
            None => stranger = Some(field),
        }
    }
    match stranger {
        Some(field) if names.is_empty() || field == "refresh_token" => Err(OAuthError::Foreign { field }),
        _ if names.is_empty() => Err(OAuthError::Missing),
        _ => Ok(Rewritten { body: write(kind, fields), names }),
    }
}

/// Puts new shadows in the place of the tokens in a token endpoint's answer, however deep they are. `mint`
/// makes a shadow for a field and its real value. An answer without any token, such as an error, keeps its
/// meaning.
///
/// # Errors
/// When the body cannot be read or is too large, or a token is there that is no text; the sandbox must
/// then get nothing of it.
pub fn rewrite_response(
    content_type: Option<&str>,
    body: &[u8],
    mint: &mut dyn FnMut(&str, &str) -> String,
) -> Result<(Vec<u8>, Vec<NewToken>), OAuthError> {
    let (kind, mut fields) = read(content_type, body)?;
    let mut tokens = Vec::new();
    for (name, value) in &mut fields {
        replace_tokens(name, value, mint, &mut tokens)?;
    }
    Ok((write(kind, fields), tokens))
}

/// Replaces the tokens in a field, by its name and below it.
fn replace_tokens(
    name: &str,
    value: &mut Value,
    mint: &mut dyn FnMut(&str, &str) -> String,
    tokens: &mut Vec<NewToken>,
) -> Result<(), OAuthError> {
    let field = TOKENS.into_iter().find(|field| name.eq_ignore_ascii_case(field));
    match (field, value) {
        (Some(field), Value::String(real)) if !real.is_empty() => {
            let shadow = mint(field, real);
            let real = std::mem::replace(real, shadow.clone());
            tokens.push(NewToken { field: field.to_owned(), real, shadow });
            Ok(())
        }
        (Some(_), Value::Null | Value::String(_)) => Ok(()),
        (Some(_), _) => Err(OAuthError::Unreadable),
        (None, Value::Object(fields)) => {
            fields.iter_mut().try_for_each(|(name, value)| replace_tokens(name, value, mint, tokens))
        }
        (None, Value::Array(values)) => {
            values.iter_mut().try_for_each(|value| replace_tokens("", value, mint, tokens))
        }
        (None, _) => Ok(()),
    }
}

/// Reads a body by its type, or by its first character where there is none.
fn read(content_type: Option<&str>, body: &[u8]) -> Result<(Kind, Fields), OAuthError> {
    if body.len() > LARGEST {
        return Err(OAuthError::TooLarge);
    }
    let essence =
        content_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let kind = match essence.as_deref() {
        Some("application/x-www-form-urlencoded") => Kind::Form,
        Some(json) if json == "application/json" || json.ends_with("+json") => Kind::Json,
        None if body.trim_ascii_start().starts_with(b"{") => Kind::Json,
        None => Kind::Form,
        Some(_) => return Err(OAuthError::Unreadable),
    };
    match kind {
        Kind::Json => {
            // Of a name that is there twice, one is read here and only that one is written again.
            let fields: Map<String, Value> =
                serde_json::from_slice(body).map_err(|_| OAuthError::Unreadable)?;
            Ok((kind, fields.into_iter().collect()))
        }
        Kind::Form => Ok((kind, read_form(body)?)),
    }
}

fn read_form(body: &[u8]) -> Result<Fields, OAuthError> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode(spaced.as_bytes()).decode_utf8().map(std::borrow::Cow::into_owned);
        decoded.map_err(|_| OAuthError::Unreadable)
    };
    let text = std::str::from_utf8(body).map_err(|_| OAuthError::Unreadable)?;
    let mut fields = Fields::new();
    for part in text.trim_end().split('&').filter(|part| !part.is_empty()) {
        // Some servers split at `;` as well; encoded, it is no doubt.
        let (name, value) =
            part.split_once('=').filter(|_| !part.contains(';')).ok_or(OAuthError::Unreadable)?;
        fields.push((decode(name)?, Value::String(decode(value)?)));
    }
    Ok(fields)
}

/// Writes fields as they were.
fn write(kind: Kind, fields: Fields) -> Vec<u8> {
    match kind {
        Kind::Json => Value::Object(fields.into_iter().collect()).to_string().into_bytes(),
        Kind::Form => {
            let encode = |text: &str| utf8_percent_encode(text, FORM).to_string();
            let pair = |(name, value): &(String, Value)| {
                format!("{}={}", encode(name), encode(value.as_str().unwrap_or_default()))
            };
            fields.iter().map(pair).collect::<Vec<_>>().join("&").into_bytes()
        }
    }
}
