//! What the sandbox is told when something is refused.
//!
//! Owns the answer's form: a status, a header and JSON that programs can read, or a gRPC status. Must not
//! know why something is refused. No text of a host's or of the operating system is in it, only codes and
//! sentences of our own: theirs could hold a value.

use ftl_core::credential::CredentialName;
use ftl_core::credential::slots::SlotRefusal;
use ftl_core::egress::host::Authority;
use ftl_core::egress::policy::{Denial, Reason};
use ftl_core::egress::rule::Rule;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;

use super::body::{self, Reply};
use super::guard::{Refused, Stage, What};

/// A refusal, before it is told anybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// What the reason's sentence does not say; may be empty.
    pub(super) detail: String,
    /// The rule that denies it.
    pub(super) rule: Option<Box<str>>,
    /// How the human can change that.
    pub(super) hint: Option<Box<str>>,
    pub(super) would_allow: Option<Box<Rule>>,
    pub(super) credential: Option<CredentialName>,
    /// Seconds.
    pub(super) retry_after: Option<u64>,
    /// Whether it is the host's answer that is refused.
    pub(super) answered: bool,
    /// How far the request had come.
    pub(super) stage: Stage,
}

/// What was asked for, as far as it could be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) authority: Option<Authority>,
    /// Canonical, without the query.
    pub(super) path: String,
    pub(super) grpc: bool,
}

/// Says the reason in a header, for programs that do not read bodies.
const REFUSED: HeaderName = HeaderName::from_static("x-ftl-refused");

/// What a gRPC message spells with `%`.
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

impl Refusal {
    pub(super) fn new(reason: Reason) -> Self {
        Self {
            reason,
            detail: String::new(),
            rule: None,
            hint: None,
            would_allow: None,
            credential: None,
            retry_after: None,
            answered: false,
            stage: Stage::Arrived,
        }
    }

    /// The same with a sentence: lower case, without a full stop.
    pub(super) fn because(reason: Reason, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..Self::new(reason) }
    }

    /// The same for an answer of the host that is kept back.
    pub(super) fn of_answer(reason: Reason, detail: &str) -> Self {
        Self { answered: true, ..Self::because(reason, detail) }
    }

    fn status(&self) -> StatusCode {
        match self.reason {
            _ if self.answered => StatusCode::BAD_GATEWAY,
            Reason::Unclassified | Reason::BadRequest | Reason::Unsupported => StatusCode::BAD_REQUEST,
            Reason::HostMismatch => StatusCode::MISDIRECTED_REQUEST,
            Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::RateLimited | Reason::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Reason::AuditFailed | Reason::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Reason::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Reason::Unresolvable
            | Reason::UpstreamUnreachable
            | Reason::UpstreamCertificate
            | Reason::CredentialUnavailable => StatusCode::BAD_GATEWAY,
            Reason::NotAllowed
            | Reason::Denied
            | Reason::IpLiteral
            | Reason::PrivateAddress
            | Reason::Doh
            | Reason::ForeignCredential
            | Reason::ShadowElsewhere
            | Reason::CredentialMissing
            | Reason::Revoked => StatusCode::FORBIDDEN,
        }
    }

    /// The status that gRPC has for it.
    fn grpc_status(&self) -> HeaderValue {
        HeaderValue::from_static(match self.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => "8",
            StatusCode::BAD_REQUEST => "3",
            StatusCode::GATEWAY_TIMEOUT => "4",
            StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "7",
            _ => "14",
        })
    }

    /// One sentence.
    fn message(&self, asked: &Asked) -> String {
        let to = asked.authority.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        let mut message = format!("FTL refused {}{to}: {}", asked.method, self.reason.sentence());
        if !self.detail.is_empty() {
            message = format!("{message} ({})", self.detail);
        }
        message
    }

    /// The answer to a request.
    pub(super) fn response(&self, asked: &Asked) -> Response<Reply> {
        let message = self.message(asked);
        let mut headers = HeaderMap::new();
        headers.insert(REFUSED, HeaderValue::from_static(self.reason.code()));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        let (status, body) = if asked.grpc {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", self.grpc_status());
            let text = utf8_percent_encode(&message, GRPC_MESSAGE).to_string();
            HeaderValue::try_from(text).into_iter().for_each(|text| {
                headers.insert("grpc-message", text);
            });
            (StatusCode::OK, body::empty())
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (self.status(), body::full(self.json(asked, &message)))
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn json(&self, asked: &Asked, message: &str) -> String {
        let how = self.would_allow.as_ref().map(|rule| {
            let text = rule.to_string();
            // A path is canonical and has no quote, so the text can stand between two.
            format!("ftlctl policy allow '{}'", text.strip_prefix("allow ").unwrap_or(&text))
        });
        let error = json!({
            "code": "ftl_egress_refused",
            "reason": self.reason.code(),
            "host": asked.authority.as_ref().map(ToString::to_string),
            "method": asked.method,
            "path": asked.path,
            "rule": self.rule,
            "credential": self.credential.as_ref().map(CredentialName::as_str),
            "message": message,
            "hint": self.hint,
            "how_to_allow": how,
        });
        format!("{}\n", json!({ "error": error }))
    }

    /// What the guard is told about a request.
    pub(super) fn of_request(&self, asked: &Asked) -> Refused {
        let what = What::Request { method: asked.method.clone(), path: asked.path.clone() };
        self.of(what, asked.authority.clone())
    }

    /// What the guard is told.
    pub(super) fn of(&self, what: What, authority: Option<Authority>) -> Refused {
        Refused {
            what,
            authority,
            reason: self.reason,
            rule: self.rule.as_deref().map(str::to_owned),
            detail: self.detail.clone(),
            credential: self.credential.clone(),
            would_allow: self.would_allow.as_deref().cloned(),
            stage: self.stage,
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let Denial { reason, rule, source: _, hint, would_allow } = denial;
        let hint = Some(hint).filter(|hint| !hint.is_empty()).map(Into::into);
        Self { rule: rule.map(Into::into), hint, would_allow, ..Self::new(reason) }
    }
}

impl From<SlotRefusal> for Refusal {
    fn from(refusal: SlotRefusal) -> Self {
        let detail = refusal.to_string();
        let (reason, credential) = match refusal {
            SlotRefusal::ForeignCredential { .. } | SlotRefusal::Duplicate { .. } => {
                (Reason::ForeignCredential, None)
            }
            SlotRefusal::ShadowElsewhere { name, .. }
            | SlotRefusal::WrongSlot { name, .. }
            | SlotRefusal::OutsideBinding { name }
            | SlotRefusal::PlainHttp { name } => (Reason::ShadowElsewhere, Some(name)),
            SlotRefusal::CredentialMissing { name } => (Reason::CredentialMissing, Some(name)),
            SlotRefusal::Signature(error) => (signature(error), None),
        };
        Self { credential, ..Self::because(reason, detail) }
    }
}

/// Whether an answer says that the request was malformed.
pub(super) fn is_malformed(response: &Response<Reply>) -> bool {
    response.headers().get(REFUSED).is_some_and(|reason| reason == Reason::BadRequest.code())
}

/// The reason for a signature that cannot be made anew.
pub(super) fn signature(error: ftl_core::sigv4::SigV4Error) -> Reason {
    use ftl_core::sigv4::SigV4Error;
    match error {
        SigV4Error::WrongScope | SigV4Error::BadSignature | SigV4Error::Skewed => Reason::ForeignCredential,
        SigV4Error::Malformed | SigV4Error::BadHeader => Reason::BadRequest,
        _ => Reason::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn asked(grpc: bool) -> Asked {
        let authority = Authority::parse("api.example.com:443", None).ok();
        Asked { method: "GET".into(), authority, path: "/v1/x".into(), grpc }
    }

    #[tokio::test]
    async fn programs_can_read_it() {
        let would_allow = "allow GET api.example.com/v1".parse().ok().map(Box::new);
        let refusal = Refusal { would_allow, ..Refusal::new(Reason::NotAllowed) };
        let response = refusal.response(&asked(false));
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()["x-ftl-refused"], "not_allowed");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["error"]["code"], "ftl_egress_refused");
        assert_eq!(read["error"]["reason"], "not_allowed");
        assert_eq!(read["error"]["host"], "api.example.com:443");
        assert_eq!(read["error"]["path"], "/v1/x");
        assert_eq!(read["error"]["how_to_allow"], "ftlctl policy allow 'GET api.example.com/v1'");
    }

    #[tokio::test]
    async fn grpc_has_its_own_form() {
        let response = Refusal::because(Reason::Denied, "a % b").response(&asked(true));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "7");
        assert!(response.headers()["grpc-message"].to_str().unwrap().contains("a %25 b"));
        assert!(http_body::Body::is_end_stream(response.body()));
    }

    #[test]
    fn every_reason_has_a_status_that_clients_do_not_take_for_success() {
        for reason in Reason::ALL {
            assert!(Refusal::new(reason).status().as_u16() >= 400, "{reason}");
        }
    }
}
