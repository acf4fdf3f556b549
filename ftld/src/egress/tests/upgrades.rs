//! WebSockets, and what else a connection could become.

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::bench::{Bench, Out, Setup, bearer, body, drain, grant, read, reason};
use super::bodies::echo;
use crate::egress::guard::End;
use crate::egress::testing::{Site, World, until};

const HOST: &str = "api.example.com";
const RULES: &[&str] = &["allow api.example.com"];
const SHADOW: &str = "shadow-0123456789abcdef";
const REAL: &str = "real-0123456789abcdef";

/// A host that opens a WebSocket for whoever has the real value, and sends back what it gets.
async fn socket(world: &World) -> Site {
    Site::serve(Some(world.good(HOST)), |mut request, _| async move {
        let known = request
            .headers()
            .get("authorization")
            .is_some_and(|value| value == "Bearer real-0123456789abcdef");
        if !known || request.headers()["upgrade"] != "websocket" {
            let mut response = Response::new(Full::from("who is there").boxed_unsync());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            return response;
        }
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            // The other side may break off.
            let _ended = tokio::io::copy(&mut read, &mut write).await;
        });
        let response =
            Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "websocket");
        response.header("sec-websocket-accept", "x").body(Empty::new().boxed_unsync()).unwrap()
    })
    .await
}

fn bench(world: &World, site: &Site) -> Bench {
    let grants = vec![(grant("KEY", SHADOW, HOST, bearer()), REAL)];
    let sites = &[("api.example.com:443", site)];
    Bench::new(world, Setup { rules: RULES, grants, sites, ..Setup::default() })
}

fn handshake(key: &str) -> Request<Out> {
    let request = Request::get("/ws").header("host", HOST).header("connection", "keep-alive, Upgrade");
    let request = request.header("upgrade", "websocket").header("sec-websocket-key", "x");
    request.header("authorization", format!("Bearer {key}")).body(body("")).unwrap()
}

#[tokio::test]
async fn a_websocket_opens_and_is_counted() {
    let world = World::new();
    let site = socket(&world).await;
    let bench = bench(&world, &site);
    let mut sender = bench.https(HOST).await;
    let mut response = sender.send_request(handshake(SHADOW)).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-accept"], "x");
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    for size in [1, 1000, 100_000] {
        let sent = vec![7; size];
        stream.write_all(&sent).await.unwrap();
        stream.flush().await.unwrap();
        let mut back = vec![0; size];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, sent);
    }
    stream.shutdown().await.unwrap();
    assert_eq!(drain(&mut stream).await, "");
    until(|| !bench.told.outcomes.lock().unwrap().is_empty()).await;
    let (_, outcome) = bench.told.outcomes.lock().unwrap()[0];
    assert_eq!((outcome.status, outcome.up, outcome.down), (101, 101_001, 101_001));
    assert_eq!(outcome.end, End::Whole);
}

#[tokio::test]
async fn a_hosts_no_is_passed_on() {
    let world = World::new();
    let site = socket(&world).await;
    let bench = bench(&world, &site);
    bench.told.reals.lock().unwrap().insert("KEY".into(), "real-another-0123456789".into());
    let mut sender = bench.https(HOST).await;
    let (status, _, text) = read(sender.send_request(handshake(SHADOW)).await.unwrap()).await;
    assert_eq!((status.as_u16(), text.as_str()), (401, "who is there"));
    // The connection goes on with requests.
    let (status, _, _) = read(sender.send_request(handshake(SHADOW)).await.unwrap()).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn a_websocket_is_closed_when_it_is_no_longer_allowed() {
    let world = World::new();
    for revoke in [false, true] {
        let site = socket(&world).await;
        let bench = bench(&world, &site);
        let mut sender = bench.https(HOST).await;
        let mut response = sender.send_request(handshake(SHADOW)).await.unwrap();
        let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
        stream.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        if revoke {
            bench.told.set_grants(Vec::new());
        } else {
            bench.told.set_rules(&[]);
        }
        bench.gateway.policy_changed();
        assert_eq!(drain(&mut stream).await, "");
        until(|| site.closed() == 1 || !bench.told.outcomes.lock().unwrap().is_empty()).await;
        assert_eq!(bench.told.outcomes.lock().unwrap()[0].1.end, End::Revoked);
    }
}

#[tokio::test]
async fn nothing_else_is_an_upgrade() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    for (connection, upgrade) in [
        ("Upgrade, HTTP2-Settings", "h2c"),
        ("upgrade", "websocket, h2c"),
        ("upgrade", "TLS/1.3"),
        ("close", "websocket"),
    ] {
        let request = Request::get("/").header("host", HOST).header("connection", connection);
        let request = request.header("upgrade", upgrade).header("http2-settings", "AAMAAABkAAQ");
        let mut sender = bench.https(HOST).await;
        let response = sender.send_request(request.body(body("")).unwrap()).await.unwrap();
        let (status, headers, _) = read(response).await;
        assert_eq!((status.as_u16(), reason(&headers)), (400, "unsupported"), "{upgrade}");
    }
    assert_eq!(site.connections(), 0);
}
