//! Bodies of every size and speed, and hosts that send back what they got.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;

use super::bench::{Bench, Setup, bearer, body, drain, get, grant, read, reason};
use crate::egress::Limits;
use crate::egress::testing::{Site, World, until};

const HOST: &str = "api.example.com";
const ALLOW: &[&str] = &["allow api.example.com"];
const REAL: &str = "real-0123456789abcdef/+XYZ";
const SHADOW: &str = "shadow-0123456789abcdefXYZ";

/// What a host saw.
#[derive(Clone, Debug)]
pub(super) struct Saw {
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A host that answers with everything that it got: headers under other names, and all of it in the body.
pub(super) async fn echo(tls: Option<Arc<ServerConfig>>) -> (Site, Arc<Mutex<Vec<Saw>>>) {
    let seen = Arc::<Mutex<Vec<Saw>>>::default();
    let saw = Arc::clone(&seen);
    let site = Site::serve(tls, move |request, _| {
        let saw = Arc::clone(&saw);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let mut text = format!("{} {}\n", parts.method, parts.uri);
            let mut response = Response::builder();
            for (name, value) in &parts.headers {
                text += &format!("{name}: {}\n", value.to_str().unwrap());
                response = response.header(format!("x-echo-{name}"), value);
            }
            text += &String::from_utf8_lossy(&body);
            let target = parts.uri.path_and_query().unwrap().to_string();
            saw.lock().unwrap().push(Saw { target, headers: parts.headers, body });
            response.body(Full::from(text).boxed_unsync()).unwrap()
        }
    });
    (site.await, seen)
}

/// A host that answers with these chunks, one by one.
async fn chunks(world: &World, chunks: Vec<Bytes>, headers: &'static [(&'static str, &'static str)]) -> Site {
    Site::serve(Some(world.good(HOST)), move |_, _| {
        let frames: Vec<_> = chunks.iter().cloned().map(|chunk| Ok(Frame::data(chunk))).collect();
        async move {
            let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
            let mut response = Response::new(body);
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            response
        }
    })
    .await
}

fn credentialed<'a>(sites: &'a [(&'a str, &'a Site)]) -> Setup<'a> {
    let grants = vec![(grant("KEY", SHADOW, HOST, bearer()), REAL)];
    Setup { rules: ALLOW, grants, sites, ..Setup::default() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn no_encoding_of_a_value_comes_back_however_it_is_cut() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let world = World::new();
    let forms = [
        REAL.to_owned(),
        format!("Bearer {REAL}"),
        STANDARD.encode(REAL),
        STANDARD.encode(format!("u:{REAL}")),
        STANDARD.encode(format!("us:{REAL}")),
        URL_SAFE_NO_PAD.encode(format!("usr:{REAL}")),
        hex(REAL.as_bytes()),
        hex(REAL.as_bytes()).to_uppercase(),
        REAL.replace('/', "%2F").replace('+', "%2B"),
        REAL.replace('/', "%2f").replace('+', "%2b"),
        REAL.replace('/', "\\/"),
    ];
    for form in forms {
        for size in [1, 2, 3, 7, 1000] {
            let text = format!("before {form} after");
            let pieces = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
            let site = chunks(&world, pieces, &[]).await;
            let bench = Bench::new(&world, credentialed(&[("api.example.com:443", &site)]));
            let (_, _, back) = bench.ask(get(HOST, "/", &[])).await;
            assert!(!back.contains(&form), "{form} in {back}");
            assert!(back.starts_with("before ") && back.ends_with(" after"), "{back}");
        }
    }
}

#[tokio::test]
async fn headers_that_send_it_back_are_searched_and_cookies_stay_outside() {
    let world = World::new();
    let headers = &[
        ("location", "https://x.example/?k=real-0123456789abcdef/+XYZ"),
        ("www-authenticate", "Bearer real-0123456789abcdef/+XYZ"),
        ("set-cookie", "session=real"),
        ("alt-svc", "h3=\":443\""),
    ];
    let site = chunks(&world, vec![Bytes::from_static(b"x")], headers).await;
    let bench = Bench::new(&world, credentialed(&[("api.example.com:443", &site)]));
    let (_, headers, _) = bench.ask(get(HOST, "/", &[])).await;
    assert_eq!(headers["location"], format!("https://x.example/?k={SHADOW}"));
    assert_eq!(headers["www-authenticate"], format!("Bearer {SHADOW}"));
    assert!(!headers.contains_key("set-cookie") && !headers.contains_key("alt-svc"));
}

#[tokio::test]
async fn an_encoded_answer_of_a_credentialed_host_is_kept_back() {
    let world = World::new();
    let headers = &[("content-encoding", "gzip")];
    let site = chunks(&world, vec![Bytes::from_static(b"\x1f\x8b")], headers).await;
    let bench = Bench::new(&world, credentialed(&[("api.example.com:443", &site)]));
    let (status, headers, _) = bench.ask(get(HOST, "/", &[("accept-encoding", "gzip")])).await;
    assert_eq!((status.as_u16(), reason(&headers)), (502, "unsupported"));
    // A host without credentials may encode as it likes.
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules: ALLOW, sites, ..Setup::default() });
    assert_eq!(bench.ask(get(HOST, "/", &[("accept-encoding", "gzip")])).await.0, 200);
}

#[tokio::test]
async fn a_text_that_is_compressed_in_silence_is_cut_and_an_archive_passes() {
    let world = World::new();
    for (headers, passes) in [
        (&[][..], false),
        (&[("content-type", "application/json")], false),
        (&[("content-type", "text/html; charset=utf-8")], false),
        (&[("content-type", "application/octet-stream")], true),
        (&[("content-type", "application/gzip")], true),
    ] {
        let pieces = [&b"\x1f"[..], b"\x8b\x08", b"body"].map(Bytes::from_static).to_vec();
        let site = chunks(&world, pieces, headers).await;
        let bench = Bench::new(&world, credentialed(&[("api.example.com:443", &site)]));
        let mut sender = bench.http2(HOST).await;
        let request = Request::get("https://api.example.com/").body(body("")).unwrap();
        // The reset may come before the head of the answer.
        let whole = match sender.send_request(request).await {
            Ok(response) => response.into_body().collect().await.ok(),
            Err(_) => None,
        };
        let whole = whole.is_some_and(|whole| whole.to_bytes().ends_with(b"body"));
        assert_eq!(whole, passes, "{headers:?}");
    }
}

#[tokio::test]
async fn names_trailers_and_the_status_text_hold_no_value() {
    let world = World::new();
    let site = Site::serve(Some(world.good(HOST)), |_, _| async {
        let name = hex(REAL.as_bytes());
        let mut trailers = HeaderMap::new();
        trailers.insert(http::HeaderName::try_from(&name).unwrap(), "1".parse().unwrap());
        trailers.insert("x-plain", format!("it is {REAL}").parse().unwrap());
        let frames = [Ok(Frame::data(Bytes::from_static(b"body"))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let mut response = Response::builder().header(format!("x-{name}"), "1").header("trailer", "x-plain");
        let reason = hyper::ext::ReasonPhrase::try_from(REAL.as_bytes()).unwrap();
        response.extensions_mut().unwrap().insert(reason);
        response.body(body).unwrap()
    });
    let site = site.await;
    let bench = Bench::new(&world, credentialed(&[("api.example.com:443", &site)]));
    let mut sender = bench.http2(HOST).await;
    let request = Request::get("https://api.example.com/").header("te", "trailers").body(body("")).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let said = format!("{:?}", response.headers());
    assert!(!said.contains(&hex(REAL.as_bytes())), "{said}");
    let whole = response.into_body().collect().await.unwrap();
    let trailers = whole.trailers().unwrap();
    assert_eq!((trailers.len(), &trailers["x-plain"]), (1, &format!("it is {SHADOW}").parse().unwrap()));
    let stream = bench.tunnel("api.example.com:443").await;
    let mut stream = bench.secure(stream, HOST, &["http/1.1"]).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n").await.unwrap();
    let said = drain(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && !said.contains(REAL), "{said}");
}

#[tokio::test]
async fn a_searched_answer_comes_whole_and_plain() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let bench = Bench::new(&world, credentialed(&[("api.example.com:443", &site)]));
    let lines = [("accept-encoding", "br, gzip"), ("range", "bytes=0-3"), ("expect", "100-continue")];
    assert_eq!(bench.ask(get(HOST, "/", &lines)).await.0, 200);
    let headers = seen.lock().unwrap()[0].headers.clone();
    assert_eq!(headers["accept-encoding"], "identity");
    assert!(!headers.contains_key("range") && !headers.contains_key("expect"));
}

#[tokio::test]
async fn an_event_arrives_before_the_next_one_is_sent() {
    let world = World::new();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let site = Site::serve(Some(world.good(HOST)), move |_, _| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        let frames = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let body = StreamBody::new(futures_util::StreamExt::map(frames, |event| Ok(Frame::data(event))));
        async move { Response::new(body.boxed_unsync()) }
    })
    .await;
    let bench = Bench::new(&world, credentialed(&[("api.example.com:443", &site)]));
    let mut client = bench.https(HOST).await;
    let mut events = client.send_request(get(HOST, "/", &[])).await.unwrap().into_body();
    // Each is sent only after the one before was read; one that was held back would end the test.
    for number in 0..20 {
        let event = format!("data: {{\"delta\":\"token {number}\"}}\n\n");
        sender.send(event.clone().into()).await.unwrap();
        let read = tokio::time::timeout(Duration::from_secs(10), events.frame()).await;
        assert_eq!(read.expect("the event is held back").unwrap().unwrap().into_data().unwrap(), event);
    }
    drop(sender);
    assert!(events.frame().await.is_none());
}

#[tokio::test]
async fn whoever_is_slower_sets_the_pace() {
    const PIECE: usize = 64 << 10;
    const COUNT: usize = 1024;
    let world = World::new();
    let given = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&given);
    let site = Site::serve(Some(world.good(HOST)), move |request, _| {
        let counter = Arc::clone(&counter);
        async move {
            let sent = request.into_body().collect().await.unwrap().to_bytes();
            let frames = futures_util::stream::iter((0..COUNT).map(move |number| {
                *counter.lock().unwrap() = number + 1;
                Ok(Frame::data(Bytes::from(vec![u8::try_from(number % 251).unwrap(); PIECE])))
            }));
            let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
            response.headers_mut().insert("x-got", sent.len().into());
            response
        }
    })
    .await;
    let bench = Bench::new(&world, credentialed(&[("api.example.com:443", &site)]));
    let mut client = bench.https(HOST).await;
    let upload = vec![7; 20 << 20];
    let request = Request::post("/").header("host", HOST).body(body(upload)).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.headers()["x-got"], (20 << 20).to_string());
    // Nobody reads, so the host is not let to send it all.
    let so_far = || *given.lock().unwrap();
    let mut last = usize::MAX;
    while last != so_far() {
        last = so_far();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }
    assert!(so_far() < COUNT, "everything was taken");
    let back = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(back.len(), PIECE * COUNT);
    assert!(
        back.chunks(PIECE)
            .enumerate()
            .all(|(at, piece)| piece.iter().all(|byte| usize::from(*byte) == at % 251))
    );
    until(|| !bench.told.outcomes.lock().unwrap().is_empty()).await;
    let (_, outcome) = bench.told.outcomes.lock().unwrap()[0];
    assert_eq!((outcome.up, outcome.down), (20 << 20, (PIECE * COUNT) as u64));
}

#[tokio::test]
async fn a_session_sends_no_more_than_it_may() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let limits = Limits { upload_per_minute: 100_000, ..Limits::default() };
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules: ALLOW, sites, limits: Some(limits), ..Setup::default() });
    let mut client = bench.https(HOST).await;
    let request = Request::post("/").header("host", HOST).body(body(vec![0; 1 << 20])).unwrap();
    match client.send_request(request).await {
        Ok(response) => assert!(response.status().is_server_error(), "{}", response.status()),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    assert!(seen.lock().unwrap().iter().all(|saw| saw.body.len() <= 100_000));
}

#[tokio::test]
async fn a_body_that_stands_still_is_cut() {
    let world = World::new();
    let site = Site::serve(Some(world.good(HOST)), |_, _| async {
        let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"first")))]);
        let frames = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        Response::new(StreamBody::new(frames).boxed_unsync())
    })
    .await;
    let limits = Limits { idle: Duration::from_millis(50), ..Limits::default() };
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules: ALLOW, sites, limits: Some(limits), ..Setup::default() });
    let mut client = bench.https(HOST).await;
    let response = client.send_request(get(HOST, "/", &[])).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    // A head has the same answer, before there is a status.
    let silent = Site::serve(Some(world.good(HOST)), |_, _| std::future::pending()).await;
    let limits = Limits { response: Duration::from_millis(50), ..Limits::default() };
    let sites = &[("api.example.com:443", &silent)];
    let bench = Bench::new(&world, Setup { rules: ALLOW, sites, limits: Some(limits), ..Setup::default() });
    let (status, headers, _) = bench.ask(get(HOST, "/", &[])).await;
    assert_eq!((status.as_u16(), reason(&headers)), (504, "timeout"));
}

#[tokio::test]
async fn answers_without_a_body_keep_their_length() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let bench = Bench::new(&world, credentialed(&[("api.example.com:443", &site)]));
    let mut client = bench.https(HOST).await;
    let head = Request::head("/").header("host", HOST).body(body("")).unwrap();
    let (status, headers, text) = read(client.send_request(head).await.unwrap()).await;
    assert_eq!((status.as_u16(), text.as_str()), (200, ""));
    assert!(headers.contains_key("content-length"));
    // The connection goes on.
    assert_eq!(read(client.send_request(get(HOST, "/", &[])).await.unwrap()).await.0, 200);
}
