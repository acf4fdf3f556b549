//! Which headers and parameters carry credentials, whoever's they are.
//!
//! Owns the list. Must not know which credentials a session has: the headers and parameters of its own
//! slots count as well, and are added where this is asked.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers that carry a credential and whose names do not end in one of [`ENDINGS`].
const HEADERS: [&str; 16] = [
    "authentication",
    "circle-token",
    "x-circleci-token",
    "x-consul-token",
    "x-figma-token",
    "x-github-token",
    "x-gitlab-token",
    "x-goog-iam-authorization-token",
    "x-honeycomb-team",
    "x-insert-key",
    "x-postmark-account-token",
    "x-postmark-server-token",
    "x-query-key",
    "x-token",
    "x-vault-token",
    "x-zotero-key",
];

/// Ends of header and parameter names that say credential, with `-` between words. `Idempotency-Key`,
/// `Sec-WebSocket-Key`, `X-CSRF-Token`, `page_token` and their like do not end so.
const ENDINGS: [&str; 27] = [
    "access-key",
    "access-token",
    "admin-key",
    "api-key",
    "api-secret",
    "api-token",
    "apikey",
    "apitoken",
    "app-key",
    "application-key",
    "auth-key",
    "auth-token",
    "authorization",
    "client-secret",
    "deploy-token",
    "id-token",
    "job-token",
    "license-key",
    "oauth-token",
    "password",
    "private-token",
    "refresh-token",
    "secret-key",
    "security-token",
    "session-token",
    "subscription-key",
    "subscription-token",
];

/// Parameters that carry a credential and whose names do not end so either.
const PARAMETERS: [&str; 3] = ["accesstoken", "authtoken", "awsaccesskeyid"];

/// Parameters that carry a credential on some hosts and other things on many: they count when the value
/// is long enough for one.
const DOUBTFUL: [&str; 6] = ["auth", "key", "secret", "sig", "signature", "token"];

/// Beginnings of the parameters of signed URLs.
const SIGNED: [&str; 2] = ["x-amz-", "x-goog-"];

/// Length from which the value of a doubtful parameter counts, bytes.
const LONG: usize = 16;

/// Whether a header carries a credential. The name is in lower case, as in every [`HeaderMap`].
#[must_use]
pub fn is_carrier(name: &str) -> bool {
    // Some servers read `_` as `-`.
    let name = name.replace('_', "-");
    HEADERS.contains(&name.as_str()) || ends_so(&name)
}

/// Whether a parameter of the query carries a credential; both are decoded.
#[must_use]
pub fn is_query_carrier(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if value.is_empty() {
        return false;
    }
    ends_so(&name.replace('_', "-"))
        || PARAMETERS.contains(&name.as_str())
        || (DOUBTFUL.contains(&name.as_str()) && value.len() >= LONG)
        || is_signed_url(&name)
}

fn ends_so(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether a parameter belongs to a signed URL.
#[must_use]
pub fn is_signed_url(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SIGNED.iter().any(|beginning| name.starts_with(beginning))
}

/// The subprotocols of a WebSocket that hold a credential, as browsers do that can send no other header:
/// `openai-insecure-api-key.…`, `base64url.bearer.authorization.k8s.io.…`.
pub(super) fn in_subprotocols(headers: &HeaderMap) -> Option<&HeaderValue> {
    let marks = ["api-key.", "apikey.", "bearer.", "token.", "authorization."];
    let mut values = headers.get_all(http::header::SEC_WEBSOCKET_PROTOCOL).iter();
    values.find(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        marks.iter().any(|mark| text.contains(mark))
    })
}

/// Takes out every header that carries a credential, and cookies, which are one as well.
pub(super) fn remove(headers: &mut HeaderMap, others: &[HeaderName]) {
    let carriers: Vec<HeaderName> =
        headers.keys().filter(|name| is_carrier(name.as_str()) || others.contains(name)).cloned().collect();
    for name in carriers.iter().chain([&http::header::COOKIE]) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_known_vendors_are_carriers() {
        for name in [
            "authorization",
            "proxy-authorization",
            "x-api-key",
            "api-key",
            "apikey",
            "x-goog-api-key",
            "x-auth-token",
            "private-token",
            "job-token",
            "deploy-token",
            "x-amz-security-token",
            "x-amz-s3session-token",
            "dd-api-key",
            "dd-application-key",
            "xi-api-key",
            "x-shopify-access-token",
            "x-algolia-api-key",
            "x_api_key",
            "ocp-apim-subscription-key",
            "x-subscription-token",
            "x-license-key",
            "x-forwarded-authorization",
        ] {
            assert!(is_carrier(name), "{name}");
        }
        for name in [
            "idempotency-key",
            "sec-websocket-key",
            "x-csrf-token",
            "content-type",
            "x-amz-server-side-encryption-customer-key",
            "x-amz-date",
            "user-agent",
            "anthropic-version",
            "openai-organization",
        ] {
            assert!(!is_carrier(name), "{name}");
        }
    }

    #[test]
    fn parameters_that_carry_a_credential_are_told_from_others() {
        let long = "AIzaSyA0123456789abcdef";
        for (name, value) in [
            ("key", long),
            ("API_KEY", "x"),
            ("access_token", "x"),
            ("X-Amz-Signature", "0a"),
            ("token", long),
        ] {
            assert!(is_query_carrier(name, value), "{name}");
        }
        for (name, value) in [("key", "PROJ-1"), ("api_key", ""), ("q", long), ("page_token", long)] {
            assert!(!is_query_carrier(name, value), "{name}");
        }
    }
}
