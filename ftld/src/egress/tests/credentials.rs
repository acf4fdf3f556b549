//! Credentials go where they belong and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ftl_core::credential::{CredentialName, Slot};
use http::{HeaderValue, Request};

use super::bench::{Bench, Setup, bearer, body, get, grant, read, reason};
use super::bodies::echo;
use crate::egress::Limits;
use crate::egress::guard::{End, Stage};

use crate::egress::testing::{Site, World, until};

const HOST: &str = "api.example.com";
const REAL: &str = "real-0123456789abcdef";
const SHADOW: &str = "shadow-0123456789abcdef";
const RULES: &[&str] = &[
    "allow api.example.com",
    "allow other.example.com",
    "allow nowhere.example.com",
    "allow api.example.com:8443",
];

fn bench(world: &World, site: &Site) -> Bench {
    let sites = &[
        ("api.example.com:443", site),
        ("other.example.com:443", site),
        ("api.example.com:80", site),
        ("api.example.com:8443", site),
    ];
    let grants = vec![(grant("KEY", SHADOW, HOST, bearer()), REAL)];
    Bench::new(world, Setup { rules: RULES, grants, sites, ..Setup::default() })
}

#[tokio::test]
async fn a_shadow_elsewhere_is_refused_and_told() {
    let world = World::new();
    let (site, seen) =
        echo(Some(world.config(&[HOST, "other.example.com"], 4000, crate::egress::alpn::Alpn::Any))).await;
    let bench = bench(&world, &site);
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{SHADOW}")));
    let with_bearer = format!("Bearer {SHADOW}");
    for (host, path, name, value) in [
        ("other.example.com", "/", "authorization", with_bearer.as_str()),
        ("other.example.com", "/", "x-anything", SHADOW),
        ("other.example.com", "/", "x-anything", &format!("a{SHADOW}b")),
        ("other.example.com", "/", "cookie", &format!("a=b; c={SHADOW}")),
        ("other.example.com", "/", "authorization", &basic),
        ("other.example.com", &format!("/?k={SHADOW}"), "x", "y"),
        ("other.example.com", &format!("/{SHADOW}"), "x", "y"),
        (HOST, "/", "x-api-key", SHADOW),
    ] {
        let (status, headers, text) = bench.ask(get(host, path, &[(name, value)])).await;
        assert_eq!((status.as_u16(), reason(&headers)), (403, "shadow_elsewhere"), "{host} {path} {name}");
        assert!(text.contains("KEY") && !text.contains(REAL), "{text}");
    }
    assert!(bench.told.refused.lock().unwrap().iter().all(|refused| refused.credential.is_some()));
    assert_eq!((site.connections(), seen.lock().unwrap().len()), (0, 0));
}

#[tokio::test]
async fn another_port_and_plain_http_get_nothing() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    let stream = bench.secure(bench.tunnel("api.example.com:8443").await, HOST, &[]).await.unwrap();
    let mut sender = super::bench::http1_over(stream).await;
    let request = get("api.example.com:8443", "/", &[("authorization", &format!("Bearer {SHADOW}"))]);
    let (_, headers, _) = read(sender.send_request(request).await.unwrap()).await;
    assert_eq!(reason(&headers), "shadow_elsewhere");
    let text = format!(
        "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {SHADOW}\r\n\
         Connection: close\r\n\r\n"
    );
    assert!(bench.say(text.as_bytes()).await.contains("shadow_elsewhere"));
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn a_shadow_in_a_body_is_text() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    let request = Request::post("/").header("host", HOST).header("authorization", format!("Bearer {SHADOW}"));
    let (status, _, text) = bench.ask(request.body(body(format!("history: {SHADOW}"))).unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(seen.lock().unwrap()[0].body, format!("history: {SHADOW}"));
    assert!(!text.contains(REAL));
}

#[tokio::test]
async fn foreign_and_doubled_credentials_are_refused() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    let good = format!("Bearer {SHADOW}");
    let basic = STANDARD.encode("me:mine");
    for lines in [
        &[("authorization", "Bearer sk-mine-0123456789")][..],
        &[("authorization", good.as_str()), ("authorization", good.as_str())],
        &[("authorization", good.as_str()), ("authorization", "Bearer mine")],
        &[("authorization", good.as_str()), ("x-api-key", "mine-0123456789")],
        &[("x-goog-api-key", "mine-0123456789")],
        &[("authorization", &format!("Basic {basic}"))],
    ] {
        let mut request = get(HOST, "/", &[]);
        for (name, value) in lines {
            request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
        }
        let (status, headers, _) = bench.ask(request).await;
        assert_eq!((status.as_u16(), reason(&headers)), (403, "foreign_credential"), "{lines:?}");
    }
    for path in ["/?access_token=mine-0123456789abcdef", "/?api_key=mine-0123456789abcdef"] {
        let (_, headers, _) = bench.ask(get(HOST, path, &[])).await;
        assert_eq!(reason(&headers), "foreign_credential", "{path}");
    }
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn a_host_without_credentials_gets_the_clients_own() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good("other.example.com"))).await;
    let bench = bench(&world, &site);
    let (status, _, _) = bench.ask(get("other.example.com", "/", &[("authorization", "Bearer mine")])).await;
    assert_eq!(status, 200);
    assert_eq!(seen.lock().unwrap()[0].headers["authorization"], "Bearer mine");
}

#[tokio::test]
async fn without_a_record_or_a_value_nothing_is_dialled() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    let request = || get(HOST, "/", &[("authorization", &format!("Bearer {SHADOW}"))]);
    bench.told.deaf.store(true, std::sync::atomic::Ordering::SeqCst);
    let (status, headers, _) = bench.ask(request()).await;
    assert_eq!((status.as_u16(), reason(&headers)), (503, "audit_failed"));
    bench.told.deaf.store(false, std::sync::atomic::Ordering::SeqCst);
    bench.told.reals.lock().unwrap().clear();
    let (status, headers, text) = bench.ask(request()).await;
    assert_eq!((status.as_u16(), reason(&headers)), (502, "credential_unavailable"));
    assert!(!text.contains("gone"), "{text}");
    assert_eq!(site.connections(), 0);
    until(|| !bench.told.outcomes.lock().unwrap().is_empty()).await;
    let (_, outcome) = bench.told.outcomes.lock().unwrap()[0];
    assert!(matches!(outcome.end, End::Refused(_)) && outcome.status == 0);
    let stages = || bench.told.refused.lock().unwrap().iter().map(|one| one.stage).collect::<Vec<_>>();
    assert_eq!(stages(), [Stage::Arrived, Stage::Recorded]);
    assert!(bench.told.left.lock().unwrap().is_empty());
    bench.told.reals.lock().unwrap().insert("KEY".into(), REAL.into());
    // A host that cannot be reached is sent nothing.
    let (status, headers, _) = bench.ask(get("nowhere.example.com", "/", &[])).await;
    assert_eq!((status.as_u16(), reason(&headers)), (502, "unresolvable"));
    assert_eq!(stages(), [Stage::Arrived, Stage::Recorded, Stage::Recorded]);
    assert!(bench.told.left.lock().unwrap().is_empty());
    assert_eq!(bench.ask(request()).await.0, 200);
    assert_eq!(*bench.told.left.lock().unwrap(), [3]);
}

#[tokio::test]
async fn git_and_queries_carry_them_too() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let grants = vec![
        (grant("GIT", "shadow-git-0123456789", HOST, Slot::BasicPassword), "real-git-0123456789"),
        (
            grant("MAP", "shadow-map-0123456789", HOST, Slot::Query { name: "key".into() }),
            "real/map+0123456789",
        ),
    ];
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules: RULES, grants, sites, ..Setup::default() });
    let basic = format!("basic   {}", STANDARD.encode("x-access-token:shadow-git-0123456789"));
    assert_eq!(bench.ask(get(HOST, "/o/r/info/refs", &[("authorization", &basic)])).await.0, 200);
    let (status, _, text) = bench.ask(get(HOST, "/m?a=1%20&key=shadow-map-0123456789&b", &[])).await;
    assert_eq!(status, 200);
    assert!(!text.contains("real"), "{text}");
    let seen = seen.lock().unwrap();
    let sent = seen[0].headers["authorization"].to_str().unwrap();
    let sent = STANDARD.decode(sent.trim_start_matches("Basic ")).unwrap();
    assert_eq!(String::from_utf8(sent).unwrap(), "x-access-token:real-git-0123456789");
    assert!(seen[1].target.starts_with("/m?a=1%20&key=real%2Fmap%2B0123456789"), "{}", seen[1].target);
}

#[tokio::test]
async fn aws_requests_are_signed_anew() {
    use ftl_core::sigv4::{Inbound, Unsigned, payload_hash};
    let world = World::new();
    let host = "s3.eu-central-1.amazonaws.com";
    let (site, seen) = echo(Some(world.good(host))).await;
    let name = |text: &str| CredentialName::parse(text).unwrap();
    let slot = Slot::SigV4 { key_id: name("AWS_ACCESS_KEY_ID"), token: None };
    let key_id = grant("AWS_ACCESS_KEY_ID", "AKIASHADOWSHADOW1234", host, slot.clone());
    let mut key_id_only = key_id.clone();
    key_id_only.bindings.clear();
    let secret = grant("AWS_SECRET_ACCESS_KEY", "shadowshadowshadowshadowshadowshadow1234", host, slot);
    let grants =
        vec![(key_id_only, "AKIAREALREALREALREAL"), (secret, "realrealrealrealrealrealrealrealreal1234")];
    let rules = &["allow s3.eu-central-1.amazonaws.com"];
    let sites = &[("s3.eu-central-1.amazonaws.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules, grants, sites, ..Setup::default() });
    // What an SDK sends: signed with what it holds.
    let mut headers = http::HeaderMap::new();
    let hash = payload_hash(b"content");
    headers.insert("x-amz-content-sha256", hash.parse().unwrap());
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    let now =
        i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
            .unwrap();
    let signer = Inbound {
        key_id: "AKIASHADOWSHADOW1234".into(),
        date: String::new(),
        region: "eu-central-1".into(),
        service: "s3".into(),
        signed_headers: ["content-type", "host", "x-amz-content-sha256", "x-amz-date"]
            .map(Into::into)
            .to_vec(),
        signature: String::new(),
    };
    let keys = ftl_core::sigv4::Keys {
        key_id: "AKIASHADOWSHADOW1234",
        secret: "shadowshadowshadowshadowshadowshadow1234",
        token: None,
    };
    let unsigned = Unsigned { method: "PUT", host, path: "/b/k", query: Some("x=y") };
    signer.sign(&unsigned, &mut headers, &hash, &keys, now).unwrap();
    headers.insert("host", host.parse().unwrap());
    let mut request = Request::put("/b/k?x=y").body(body("content")).unwrap();
    *request.headers_mut() = headers;
    let (status, headers, text) = bench.ask(request).await;
    assert_eq!(status, 200, "{headers:?} {text}");
    let saw = seen.lock().unwrap()[0].clone();
    let inbound = Inbound::parse(saw.headers["authorization"].to_str().unwrap()).unwrap();
    assert_eq!(inbound.key_id, "AKIAREALREALREALREAL");
    let real = "realrealrealrealrealrealrealrealreal1234";
    inbound.verify(&unsigned, &saw.headers, &hash, real, now).unwrap();
    assert!(!text.contains(real) && !text.contains("AKIAREALREALREALREAL"), "{text}");
    assert_eq!(bench.told.intents.lock().unwrap()[0].credentials.len(), 2);
}

#[tokio::test]
async fn refreshed_tokens_stay_outside() {
    use http_body_util::{BodyExt as _, Full};
    let world = World::new();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let saw = std::sync::Arc::clone(&seen);
    let site = Site::serve(Some(world.good(HOST)), move |request, _| {
        let saw = std::sync::Arc::clone(&saw);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            *saw.lock().unwrap() = String::from_utf8(body.to_vec()).unwrap();
            let text = r#"{"access_token":"real-access-0123456789","refresh_token":"real-refresh-0123456789","expires_in":60}"#;
            let mut response = http::Response::new(Full::from(text).boxed_unsync());
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
            response
        }
    })
    .await;
    let slot = Slot::OAuthRefresh { path: "/oauth/token".into() };
    let grants = vec![(grant("REFRESH", "shadow-refresh-0123456789", HOST, slot), "real-old-0123456789")];
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules: RULES, grants, sites, ..Setup::default() });
    let request = Request::post("/oauth/token")
        .header("host", HOST)
        .header("content-type", "application/x-www-form-urlencoded");
    let form = "grant_type=refresh_token&refresh_token=shadow-refresh-0123456789";
    let (status, _, text) = bench.ask(request.body(body(form)).unwrap()).await;
    assert_eq!(status, 200, "{text}");
    assert!(seen.lock().unwrap().contains("refresh_token=real-old-0123456789"), "{}", seen.lock().unwrap());
    assert!(!text.contains("real-"), "{text}");
    let learned = bench.told.learned.lock().unwrap();
    assert_eq!(learned.len(), 2);
    for (_, real, shadow) in learned.iter() {
        assert!(real.starts_with("real-") && text.contains(shadow.as_str()));
    }
}

#[tokio::test]
async fn a_body_that_has_to_be_read_as_a_whole_waits_for_room_and_then_says_that_there_is_none() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let slot = Slot::OAuthRefresh { path: "/oauth/token".into() };
    let token = "shadow-refresh-0123456789";
    let sites = &[("api.example.com:443", &site)];
    for (ahead, status) in [(0, 503), (1 << 20, 200)] {
        let grants = vec![(grant("REFRESH", token, HOST, slot.clone()), "real-old-0123456789")];
        let limits = Limits { ahead, opening: std::time::Duration::from_millis(200), ..Limits::default() };
        let limits = Some(limits);
        let bench = Bench::new(&world, Setup { rules: RULES, grants, sites, limits, ..Setup::default() });
        let text = format!("grant_type=refresh_token&refresh_token={token}");
        let request = Request::post("/oauth/token")
            .header("host", HOST)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body(text))
            .unwrap();
        let (answered, headers, text) = bench.ask(request).await;
        if status == 503 {
            assert_eq!((answered.as_u16(), reason(&headers)), (503, "busy"), "{text}");
            assert_eq!(headers["retry-after"], "1");
            assert!(seen.lock().unwrap().is_empty());
        } else {
            assert_eq!(seen.lock().unwrap().len(), 1, "{answered} {headers:?} {text}");
        }
    }
}
