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
use hyper::ext::ReasonPhrase;
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
    pub(super) form: Form,
}

/// In which form whoever asked reads an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Json,
    Grpc,
    /// A line for people.
    Text,
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

    /// One line: what was refused, why, and how the human can change that.
    fn message(&self, asked: &Asked) -> String {
        let to = asked.authority.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        let mut message = format!("FTL refused {}{to}: {}", asked.method, self.reason.sentence());
        if !self.detail.is_empty() {
            message = format!("{message} ({})", self.detail);
        }
        if let Some(hint) = &self.hint {
            message = format!("{message}; {hint}");
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
        let mut of_type = |kind| headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let (status, body) = match asked.form {
            Form::Grpc => {
                of_type("application/grpc");
                headers.insert("grpc-status", self.grpc_status());
                let text = utf8_percent_encode(&message, GRPC_MESSAGE).to_string();
                HeaderValue::try_from(text).into_iter().for_each(|text| {
                    headers.insert("grpc-message", text);
                });
                (StatusCode::OK, body::empty())
            }
            Form::Text => {
                of_type("text/plain");
                (self.status(), body::full(format!("{message}\n")))
            }
            Form::Json => {
                of_type("application/json");
                (self.status(), body::full(self.json(asked, &message)))
            }
        };
        let mut response = Response::new(body);
        // Many programs print the words behind an HTTP/1 status and nothing of the body.
        if let Ok(phrase) = ReasonPhrase::try_from(format!("Refused by FTL: {}", self.reason.sentence())) {
            response.extensions_mut().insert(phrase);
        }
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn json(&self, asked: &Asked, message: &str) -> String {
        let facts = json!({
            "code": "ftl_egress_refused",
            "reason": self.reason.code(),
            "host": asked.authority.as_ref().map(ToString::to_string),
            "method": asked.method,
            "path": asked.path,
            "rule": self.rule,
            "credential": self.credential.as_ref().map(CredentialName::as_str),
            "message": message,
            "hint": self.hint,
            "how_to_allow": self.would_allow.as_ref().map(|rule| rule.command()),
        });
        // npm prints `error` when it is a string; SDKs of models print `error` or `message`; container engines
        // and cargo read a list of errors with `message` or `detail`. `ftl` is for programs that know FTL.
        let errors = [json!({ "code": "DENIED", "message": message, "detail": message })];
        format!("{}\n", json!({ "error": message, "message": message, "errors": errors, "ftl": facts }))
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

    fn asked(form: Form) -> Asked {
        let authority = Authority::parse("api.example.com:443", None).ok();
        Asked { method: "GET".into(), authority, path: "/v1/x".into(), form }
    }

    #[tokio::test]
    async fn programs_can_read_it() {
        let would_allow = "allow GET api.example.com/v1".parse().ok().map(Box::new);
        let hint = Some("change the rules".into());
        let refusal = Refusal { would_allow, hint, ..Refusal::new(Reason::NotAllowed) };
        let response = refusal.response(&asked(Form::Json));
        assert_eq!(response.status(), 403);
        let phrase = response.extensions().get::<ReasonPhrase>().unwrap();
        assert_eq!(phrase.as_bytes(), b"Refused by FTL: no rule allows it");
        assert_eq!(response.headers()["x-ftl-refused"], "not_allowed");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["ftl"]["code"], "ftl_egress_refused");
        assert_eq!(read["ftl"]["reason"], "not_allowed");
        assert_eq!(read["ftl"]["host"], "api.example.com:443");
        assert_eq!(read["ftl"]["path"], "/v1/x");
        assert_eq!(read["ftl"]["how_to_allow"], "ftlctl policy allow 'GET api.example.com/v1'");
        let sentence = "FTL refused GET to api.example.com:443: no rule allows it; change the rules";
        for said in
            [&read["error"], &read["message"], &read["errors"][0]["message"], &read["errors"][0]["detail"]]
        {
            assert_eq!(said, sentence, "people read it whatever their program prints");
        }
    }

    #[tokio::test]
    async fn a_program_that_prints_plain_text_gets_a_line() {
        let response = Refusal::new(Reason::NotAllowed).response(&asked(Form::Text));
        assert_eq!(response.headers()["content-type"], "text/plain");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "FTL refused GET to api.example.com:443: no rule allows it\n");
    }

    #[tokio::test]
    async fn grpc_has_its_own_form() {
        let response = Refusal::because(Reason::Denied, "a % b").response(&asked(Form::Grpc));
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
