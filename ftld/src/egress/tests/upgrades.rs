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

/// From RFC 6455.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An unmasked frame with a short payload.
fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, u8::try_from(payload.len()).unwrap()], payload].concat()
}

/// A masked frame; the mask is zero, so that its payload can be read.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    match payload.len() {
        0..126 => [&[first, 0x80 | length as u8, 0, 0, 0, 0], payload].concat(),
        _ => [&[first, 0xfe], &length.to_be_bytes()[..], &[0; 4], payload].concat(),
    }
}

/// A host that opens a WebSocket for whoever has the real value, and sends back what it gets, unmasked.
async fn socket(world: &World) -> Site {
    socket_that(world, vec![("sec-websocket-accept", ACCEPT)], Vec::new()).await
}

/// The same with these headers in its answer; it first sends these bytes.
async fn socket_that(world: &World, lines: Vec<(&'static str, &'static str)>, first: Vec<u8>) -> Site {
    Site::serve(Some(world.good(HOST)), move |mut request, _| {
        let (lines, first) = (lines.clone(), first.clone());
        async move {
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
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                stream.write_all(&first).await.unwrap();
                stream.flush().await.unwrap();
                // The other side may break off.
                while let Ok(opcode) = stream.read_u8().await {
                    let short = usize::from(stream.read_u8().await.unwrap() & 0x7f);
                    let long = short == 126;
                    let length = if long { usize::from(stream.read_u16().await.unwrap()) } else { short };
                    let mut payload = vec![0; 4 + length];
                    stream.read_exact(&mut payload).await.unwrap();
                    let wide = u16::try_from(length).unwrap().to_be_bytes();
                    let head =
                        if long { [&[opcode, 126], &wide[..]].concat() } else { vec![opcode, short as u8] };
                    stream.write_all(&[&head, &payload[4..]].concat()).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
            let mut response = Response::builder()
                .status(101)
                .header("connection", "Upgrade")
                .header("upgrade", "websocket");
            for (name, value) in lines {
                response = response.header(name, value);
            }
            response.body(Empty::new().boxed_unsync()).unwrap()
        }
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
    let request = request.header("upgrade", "websocket").header("sec-websocket-key", KEY);
    let request = request.header("sec-websocket-version", "13");
    let request = request.header("sec-websocket-extensions", "permessage-deflate");
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
    assert_eq!(response.headers()["sec-websocket-accept"], ACCEPT);
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let mut expected = (0, 0);
    for size in [1, 125, 1000, 10_000] {
        let sent = masked(0x82, &vec![7; size]);
        stream.write_all(&sent).await.unwrap();
        stream.flush().await.unwrap();
        let mut back = vec![0; sent.len() - 4];
        stream.read_exact(&mut back).await.unwrap();
        assert!(back.ends_with(&vec![7; size]) && back[0] == 0x82);
        expected = (expected.0 + sent.len() as u64, expected.1 + back.len() as u64);
    }
    stream.shutdown().await.unwrap();
    assert_eq!(drain(&mut stream).await, "");
    until(|| !bench.told.outcomes.lock().unwrap().is_empty()).await;
    let (_, outcome) = bench.told.outcomes.lock().unwrap()[0];
    assert_eq!((outcome.status, outcome.up, outcome.down), (101, expected.0, expected.1));
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
        stream.write_all(&masked(0x81, b"x")).await.unwrap();
        let mut back = [0; 3];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, [0x81, 1, b'x']);
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
async fn no_value_comes_back_in_frames() {
    let world = World::new();
    let site = socket(&world).await;
    let bench = bench(&world, &site);
    let mut sender = bench.https(HOST).await;
    let mut response = sender.send_request(handshake(SHADOW)).await.unwrap();
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    // The host sends back what it gets, so the sandbox sends what the host would know.
    for at in 0..=REAL.len() {
        let (one, two) = REAL.as_bytes().split_at(at);
        stream.write_all(&[masked(1, one), masked(0x89, b"p"), masked(0x80, two)].concat()).await.unwrap();
        stream.flush().await.unwrap();
        let mut text = Vec::new();
        let mut whole = false;
        while !whole {
            let (first, length) = (stream.read_u8().await.unwrap(), stream.read_u8().await.unwrap());
            let mut payload = vec![0; usize::from(length)];
            stream.read_exact(&mut payload).await.unwrap();
            if first != 0x89 {
                text.extend(payload);
                whole = first & 0x80 != 0;
            }
        }
        assert_eq!(String::from_utf8(text).unwrap(), SHADOW, "{at}");
    }
    // A shadow stays what it is.
    stream.write_all(&masked(0x81, SHADOW.as_bytes())).await.unwrap();
    let mut back = vec![0; SHADOW.len() + 2];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back[2..], *SHADOW.as_bytes());
}

#[tokio::test]
async fn frames_that_are_not_in_order_close_it() {
    let world = World::new();
    for (host, client) in [
        (framed(0xc1, REAL.as_bytes()), Vec::new()),
        (masked(0x81, REAL.as_bytes()), Vec::new()),
        (vec![0x89, 126, 0, 200], Vec::new()),
        (Vec::new(), framed(0x81, b"x")),
        (Vec::new(), b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        let site = socket_that(&world, vec![("sec-websocket-accept", ACCEPT)], host).await;
        let bench = bench(&world, &site);
        let mut sender = bench.https(HOST).await;
        let mut response = sender.send_request(handshake(SHADOW)).await.unwrap();
        let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
        stream.write_all(&client).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(drain(&mut stream).await, "");
        until(|| !bench.told.outcomes.lock().unwrap().is_empty()).await;
        assert_eq!(bench.told.outcomes.lock().unwrap()[0].1.end, End::Broken);
    }
}

#[tokio::test]
async fn frames_count_as_what_leaves() {
    let world = World::new();
    let site = socket(&world).await;
    let grants = vec![(grant("KEY", SHADOW, HOST, bearer()), REAL)];
    let limits = Some(crate::egress::Limits { upload_per_minute: 600, ..Default::default() });
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules: RULES, grants, sites, limits, ..Setup::default() });
    let mut sender = bench.https(HOST).await;
    let mut response = sender.send_request(handshake(SHADOW)).await.unwrap();
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    stream.write_all(&masked(0x82, &[7; 700])).await.unwrap();
    assert_eq!(drain(&mut stream).await, "");
    until(|| !bench.told.outcomes.lock().unwrap().is_empty()).await;
    let outcome = bench.told.outcomes.lock().unwrap()[0].1;
    assert_eq!((outcome.end, outcome.down), (End::Broken, 0));
}

#[tokio::test]
async fn a_handshake_that_does_not_fit_opens_nothing() {
    let world = World::new();
    for lines in [
        vec![],
        vec![("sec-websocket-accept", "x")],
        vec![("sec-websocket-accept", ACCEPT), ("sec-websocket-accept", ACCEPT)],
        vec![("sec-websocket-accept", ACCEPT), ("sec-websocket-extensions", "permessage-deflate")],
        vec![("sec-websocket-accept", ACCEPT), ("upgrade", "h2c")],
    ] {
        let site = socket_that(&world, lines.clone(), REAL.into()).await;
        let bench = bench(&world, &site);
        let mut sender = bench.https(HOST).await;
        let (status, headers, text) = read(sender.send_request(handshake(SHADOW)).await.unwrap()).await;
        assert_eq!((status.as_u16(), reason(&headers)), (502, "unsupported"), "{lines:?}");
        assert!(!text.contains(REAL));
    }
    let site = socket(&world).await;
    let bench = bench(&world, &site);
    for (name, value) in [("sec-websocket-key", "x"), ("sec-websocket-version", "8")] {
        let mut request = handshake(SHADOW);
        request.headers_mut().insert(name, value.parse().unwrap());
        let mut sender = bench.https(HOST).await;
        let (status, headers, _) = read(sender.send_request(request).await.unwrap()).await;
        assert_eq!((status.as_u16(), reason(&headers)), (400, "bad_request"), "{name}");
    }
    assert_eq!(site.connections(), 0);
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
