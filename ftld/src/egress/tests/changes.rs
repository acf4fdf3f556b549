//! Rules and credentials that change while something is under way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::bench::{Bench, Setup, bearer, get, grant, read, reason};
use super::bodies::echo;
use crate::egress::guard::{Answer, End};
use crate::egress::testing::{Site, World, until};

const HOST: &str = "api.example.com";
const REAL: &str = "real-0123456789abcdef";
const SHADOW: &str = "shadow-0123456789abcdef";
const RULES: &[&str] = &["allow api.example.com"];

/// A host that begins to answer and never ends.
async fn endless(world: &World) -> Site {
    Site::serve(Some(world.good(HOST)), |_, _| async {
        let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"first")))]);
        let frames = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        http::Response::new(StreamBody::new(frames).boxed_unsync())
    })
    .await
}

fn setup<'a>(sites: &'a [(&'a str, &'a Site)]) -> Setup<'a> {
    let grants = vec![(grant("KEY", SHADOW, HOST, bearer()), REAL)];
    Setup { rules: RULES, grants, sites, ..Setup::default() }
}

#[tokio::test]
async fn a_kept_connection_is_judged_request_by_request() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, setup(sites));
    let mut sender = bench.https(HOST).await;
    let request = || get(HOST, "/", &[("authorization", &format!("Bearer {SHADOW}"))]);
    assert_eq!(read(sender.send_request(request()).await.unwrap()).await.0, 200);
    // The value rotates.
    bench.told.reals.lock().unwrap().insert("KEY".into(), "real-rotated-0123456789".into());
    assert_eq!(read(sender.send_request(request()).await.unwrap()).await.0, 200);
    assert_eq!(seen.lock().unwrap()[1].headers["authorization"], "Bearer real-rotated-0123456789");
    // The credential is revoked.
    bench.told.set_grants(Vec::new());
    bench.told.reals.lock().unwrap().clear();
    bench.gateway.policy_changed();
    let (status, _, text) = read(sender.send_request(request()).await.unwrap()).await;
    assert!(!text.contains("real-"), "{status} {text}");
    // The rule goes.
    bench.told.set_rules(&["deny api.example.com"]);
    bench.gateway.policy_changed();
    let (status, headers, _) = read(sender.send_request(request()).await.unwrap()).await;
    assert_eq!((status.as_u16(), reason(&headers)), (403, "denied"));
    assert!(seen.lock().unwrap().iter().skip(2).all(|saw| !format!("{:?}", saw.headers).contains("real-")));
}

#[tokio::test]
async fn what_is_under_way_is_cut_when_its_rule_or_credential_goes() {
    let world = World::new();
    for revoke in [false, true] {
        let site = endless(&world).await;
        let sites = &[("api.example.com:443", &site)];
        let bench = Bench::new(&world, setup(sites));
        let mut sender = bench.https(HOST).await;
        let request = get(HOST, "/", &[("authorization", &format!("Bearer {SHADOW}"))]);
        let mut body = sender.send_request(request).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        // What does not concern it leaves it alone.
        bench.told.set_rules(&["allow api.example.com", "allow other.example.com"]);
        bench.gateway.policy_changed();
        assert!(tokio::time::timeout(Duration::from_millis(50), body.frame()).await.is_err());
        if revoke {
            bench.told.set_grants(Vec::new());
        } else {
            bench.told.set_rules(&[]);
        }
        bench.gateway.policy_changed();
        assert!(body.frame().await.is_none_or(|frame| frame.is_err()));
        until(|| !bench.told.outcomes.lock().unwrap().is_empty()).await;
        assert_eq!(bench.told.outcomes.lock().unwrap()[0].1.end, End::Revoked);
        // A host that is still allowed keeps its connection, without this stream.
        until(|| revoke || site.closed() == 1).await;
    }
}

#[tokio::test]
async fn the_end_of_the_session_ends_everything() {
    let world = World::new();
    let site = endless(&world).await;
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, setup(sites));
    let mut bodies = Vec::new();
    let mut first = bench.https(HOST).await;
    bodies.push(first.send_request(get(HOST, "/", &[])).await.unwrap().into_body());
    let mut second = bench.http2(HOST).await;
    let request = http::Request::get("https://api.example.com/").body(super::bench::body("")).unwrap();
    bodies.push(second.send_request(request).await.unwrap().into_body());
    bench.cancel.cancel();
    bench.serving.await.unwrap();
    for body in bodies {
        assert!(body.collect().await.is_err());
    }
    until(|| site.closed() == site.connections()).await;
    assert_eq!(bench.told.outcomes.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn the_human_may_let_it_through() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { sites, ..Setup::default() });
    for (answer, rule, expected) in [
        (Answer::Nobody, None, 403),
        (Answer::No, None, 403),
        (Answer::Once, None, 200),
        (Answer::Nobody, None, 403),
        (Answer::Ruled, None, 403),
        (Answer::Ruled, Some("allow GET api.example.com/v1"), 200),
        (Answer::Nobody, None, 200),
    ] {
        *bench.told.answer.lock().unwrap() = answer;
        *bench.told.adds.lock().unwrap() = rule.into_iter().map(str::to_owned).collect();
        let (status, _, text) = bench.ask(get(HOST, "/v1/x", &[])).await;
        assert_eq!(status, expected, "{answer:?} {rule:?}");
        // Who has just said no is not told how to say yes.
        let hinted = text.contains("ftlctl policy allow");
        assert_eq!(hinted, expected == 403 && answer != Answer::No, "{answer:?} {rule:?} {text}");
    }
    let questions = bench.told.questions.lock().unwrap().clone();
    assert_eq!(questions.len(), 6);
    assert_eq!((questions[0].method.as_str(), questions[0].path.as_str()), ("GET", "/v1/x"));
    assert!(questions[0].would_allow.as_ref().unwrap().to_string().contains("api.example.com"));
    // What a rule denies, nobody is asked about.
    bench.told.set_rules(&["deny api.example.com"]);
    *bench.told.adds.lock().unwrap() = Vec::new();
    *bench.told.answer.lock().unwrap() = Answer::Once;
    assert_eq!(bench.ask(get(HOST, "/", &[])).await.0, 403);
    assert_eq!(bench.told.questions.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn too_many_requests_at_once_wait_for_nobody() {
    let world = World::new();
    let site = endless(&world).await;
    let sites = &[("api.example.com:443", &site)];
    let limits = crate::egress::Limits { requests: 2, connections: 3, ..crate::egress::Limits::default() };
    let bench = Bench::new(&world, Setup { limits: Some(limits), ..setup(sites) });
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut sender = bench.https(HOST).await;
        let body = sender.send_request(get(HOST, "/", &[])).await.unwrap().into_body();
        kept.push((sender, body));
    }
    let mut third = bench.https(HOST).await;
    let (status, headers, _) = read(third.send_request(get(HOST, "/", &[])).await.unwrap()).await;
    assert_eq!((status.as_u16(), reason(&headers)), (429, "too_many"));
    // One more connection is closed at once.
    assert_eq!(super::bench::drain(&mut bench.open()).await, "");
    drop(kept);
    let told = Arc::clone(&bench.told);
    until(|| told.outcomes.lock().unwrap().len() == 2).await;
    let response = third.send_request(get(HOST, "/", &[])).await.unwrap();
    assert_eq!(response.status(), 200);
}
