//! AWS Signature Version 4: reading the signature that a sandbox made with its shadow, and making the
//! real one.
//!
//! Owns the canonical form of a request, the scope and whether it fits the host, and the signature. Must
//! not know the clock (it is an argument) or where keys come from.

mod canonical;
mod read;
mod scope;
#[cfg(test)]
mod tests;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};

use crate::egress::host::Authority;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// A signature as it arrived in `Authorization`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inbound {
    /// Access key id; the sandbox has a shadow.
    pub key_id: String,
    /// Date of the scope, `YYYYMMDD`.
    pub date: String,
    /// Region of the scope.
    pub region: String,
    /// Service of the scope.
    pub service: String,
    /// Names of the signed headers, lower case.
    pub signed_headers: Vec<String>,
    /// Hex.
    pub signature: String,
}

/// The parts of a request that are signed, beside its headers.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// Method.
    pub method: &'a str,
    /// Value of `Host` as it is sent.
    pub host: &'a str,
    /// Path as it is sent.
    pub path: &'a str,
    /// Query as it is sent, without the `?`.
    pub query: Option<&'a str>,
}

/// A key pair. Without `Debug`: the secret would be in it.
pub struct Keys<'a> {
    /// Access key id.
    pub key_id: &'a str,
    /// Secret key.
    pub secret: &'a str,
    /// Session token.
    pub token: Option<&'a str>,
}

/// What the signature says about the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PayloadMode {
    /// Its SHA-256 as 64 hex digits, as the client announced it; the service checks it.
    Hash(String),
    /// Nothing: the caller has to read it, at most this many bytes, and hash it (see [`payload_hash`]).
    NeedsBody(usize),
    /// It is not signed.
    Unsigned,
    /// It comes in chunks that are not signed, with a checksum behind.
    StreamingUnsignedTrailer,
}

/// Why a signature cannot be made anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SigV4Error {
    /// It cannot be read.
    #[error("the AWS signature cannot be read")]
    Malformed,
    /// A signed URL.
    #[error("signed URLs are not supported: sign with the Authorization header")]
    Presigned,
    /// Signature Version 4A.
    #[error("AWS Signature Version 4A is not supported")]
    Asymmetric,
    /// Every chunk of the body has its own signature.
    #[error(
        "bodies with signed chunks are not supported: use UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    )]
    SignedChunks,
    /// Another kind of body.
    #[error("the AWS signature speaks of a kind of body that is not known")]
    UnknownPayload,
    /// The scope is for another service or region than the host.
    #[error("the AWS signature is for another service or region than the host")]
    WrongScope,
    /// The signature is not that of the shadow over this request.
    #[error("the AWS signature does not fit the request")]
    BadSignature,
    /// The date is too far from the clock.
    #[error("the date of the AWS signature is more than five minutes off")]
    Skewed,
    /// A header to be signed is not text, or a key cannot stand in a header.
    #[error("a header or key cannot be signed")]
    BadHeader,
}

/// Largest body that is read in order to sign it, bytes.
pub const LARGEST_BODY: usize = 16 << 20;

/// Furthest that a request's date may be off, seconds.
const LARGEST_SKEW: i64 = 300;

// === impl Inbound ===

impl Inbound {
    /// Reads the signature of a request from `Authorization`.
    ///
    /// # Errors
    /// When it is none, or of a kind that is not supported.
    pub fn parse(authorization: &str) -> Result<Self, SigV4Error> {
        read::inbound(authorization)
    }

    /// Checks that the scope's service and region are the host's. A host outside `amazonaws.com` fits
    /// every scope: the user bound it.
    ///
    /// # Errors
    /// When they are not.
    pub fn fits(&self, authority: &Authority) -> Result<(), SigV4Error> {
        match scope::fits(&self.service, &self.region, &authority.host) {
            true => Ok(()),
            false => Err(SigV4Error::WrongScope),
        }
    }

    /// What the caller has to do about the body.
    ///
    /// # Errors
    /// When it is of a kind that is not supported.
    pub fn payload(&self, headers: &HeaderMap) -> Result<PayloadMode, SigV4Error> {
        let mut values = headers.get_all(CONTENT).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(PayloadMode::NeedsBody(LARGEST_BODY)),
            (Some(value), None) => value.to_str().map_err(|_| SigV4Error::UnknownPayload)?,
            (Some(_), Some(_)) => return Err(SigV4Error::UnknownPayload),
        };
        let is_hash =
            value.len() == 64 && value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match value {
            _ if is_hash => Ok(PayloadMode::Hash(value.to_owned())),
            UNSIGNED => Ok(PayloadMode::Unsigned),
            STREAMING_UNSIGNED => Ok(PayloadMode::StreamingUnsignedTrailer),
            _ if value.starts_with("STREAMING-AWS4-HMAC-SHA256-") => Err(SigV4Error::SignedChunks),
            _ if value.starts_with("STREAMING-AWS4-ECDSA-") => Err(SigV4Error::Asymmetric),
            _ => Err(SigV4Error::UnknownPayload),
        }
    }

    /// Checks the signature with the shadow of the secret key, over the request as it arrived, and its
    /// date against `now` (seconds since 1970). `payload` is as for [`Inbound::sign`].
    ///
    /// # Errors
    /// When it does not fit.
    pub fn verify(
        &self,
        request: &Unsigned<'_>,
        headers: &HeaderMap,
        payload: &str,
        shadow_secret: &str,
        now: i64,
    ) -> Result<(), SigV4Error> {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok()).ok_or(SigV4Error::Malformed)?;
        let seconds = canonical::read_date(date).ok_or(SigV4Error::Malformed)?;
        if !date.starts_with(&self.date) {
            return Err(SigV4Error::Malformed);
        }
        if now.saturating_sub(seconds).saturating_abs() > LARGEST_SKEW {
            return Err(SigV4Error::Skewed);
        }
        let names: Vec<&str> = self.signed_headers.iter().map(String::as_str).collect();
        let signed = canonical::Signed { scope: self.scope(&self.date), date, names: &names, payload };
        let expected = signed.signature(self, request, headers, shadow_secret)?;
        // The sandbox knows the shadow; there is nothing to learn from the time that this takes.
        match expected == self.signature {
            true => Ok(()),
            false => Err(SigV4Error::BadSignature),
        }
    }

    /// Signs the request anew: sets `Authorization`, `X-Amz-Date`, `X-Amz-Security-Token` and, for S3 or
    /// where it was, `X-Amz-Content-Sha256`. `payload` is [`PayloadMode::announced`] or [`payload_hash`].
    /// Comes after everything else that changes the request. Signed are `Host`, `Content-Type` and every
    /// `X-Amz-` header, and of the others those that the sandbox signed and no proxy changes.
    ///
    /// # Errors
    /// When a header or key cannot be signed.
    pub fn sign(
        &self,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
        payload: &str,
        keys: &Keys<'_>,
        now: i64,
    ) -> Result<(), SigV4Error> {
        let date = canonical::write_date(now);
        let had_content = headers.contains_key(CONTENT);
        for name in [AUTHORIZATION, http::header::DATE, DATE, TOKEN, CONTENT] {
            headers.remove(name);
        }
        headers.insert(DATE, header(&date)?);
        if let Some(token) = keys.token {
            headers.insert(TOKEN, secret_header(token)?);
        }
        if had_content || canonical::is_s3(&self.service) {
            headers.insert(CONTENT, header(payload)?);
        }
        let names = self.names_to_sign(headers);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let scope = self.scope(date.get(..8).unwrap_or_default());
        let signed = canonical::Signed { scope: scope.clone(), date: &date, names: &names, payload };
        let signature = signed.signature(self, request, headers, keys.secret)?;
        let key_id = keys.key_id;
        let names = names.join(";");
        let value =
            format!("{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}");
        headers.insert(AUTHORIZATION, secret_header(&value)?);
        Ok(())
    }

    /// Names of the headers that are signed, sorted.
    fn names_to_sign(&self, headers: &HeaderMap) -> Vec<String> {
        let ours = |name: &str| name.starts_with("x-amz-") || matches!(name, "content-type" | "content-md5");
        let theirs = |name: &str| {
            self.signed_headers.iter().any(|signed| signed == name) && !CHANGED_ON_THE_WAY.contains(&name)
        };
        let names = headers.keys().map(HeaderName::as_str).filter(|name| ours(name) || theirs(name));
        let mut names: Vec<String> = names.filter(|name| *name != "host").map(str::to_owned).collect();
        names.push("host".to_owned());
        names.sort_unstable();
        names
    }

    fn scope(&self, date: &str) -> String {
        format!("{date}/{}/{}/aws4_request", self.region, self.service)
    }
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const STREAMING_UNSIGNED: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// Headers that a proxy adds, removes or rewrites, so that no signature may cover them.
const CHANGED_ON_THE_WAY: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-length",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "keep-alive",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

fn header(text: &str) -> Result<HeaderValue, SigV4Error> {
    HeaderValue::from_str(text).map_err(|_| SigV4Error::BadHeader)
}

fn secret_header(text: &str) -> Result<HeaderValue, SigV4Error> {
    let mut value = header(text)?;
    value.set_sensitive(true);
    Ok(value)
}

impl PayloadMode {
    /// What is signed about the body; `None` when it has to be read first.
    #[must_use]
    pub fn announced(&self) -> Option<&str> {
        match self {
            Self::Hash(hash) => Some(hash),
            Self::NeedsBody(_) => None,
            Self::Unsigned => Some(UNSIGNED),
            Self::StreamingUnsignedTrailer => Some(STREAMING_UNSIGNED),
        }
    }
}

impl SigV4Error {
    /// The reason as a word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "sigv4_malformed",
            Self::Presigned => "sigv4_presigned",
            Self::Asymmetric => "sigv4a",
            Self::SignedChunks => "sigv4_signed_chunks",
            Self::UnknownPayload => "sigv4_payload",
            Self::WrongScope => "sigv4_scope",
            Self::BadSignature => "sigv4_signature",
            Self::Skewed => "sigv4_date",
            Self::BadHeader => "sigv4_header",
        }
    }
}

/// The SHA-256 of a body as hex.
#[must_use]
pub fn payload_hash(body: &[u8]) -> String {
    canonical::hex(&Sha256::digest(body))
}
