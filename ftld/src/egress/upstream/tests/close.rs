//! How connections end, and upgrades.

use hyper::upgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::egress::testing::until;

const NAME: &str = "a.example.com:443";

/// A host whose response begins and does not end.
async fn endless(world: &World, alpn: Alpn) -> Site {
    let tls = world.config(&["a.example.com"], 4000, alpn);
    Site::serve(Some(tls), |_, _| async {
        let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from("first")))]);
        let never = futures_util::stream::pending();
        let body = http_body_util::StreamBody::new(futures_util::StreamExt::chain(first, never));
        Response::new(body.boxed_unsync())
    })
    .await
}

/// A host that answers every upgrade and sends back what it gets.
async fn echo(world: &World) -> Site {
    Site::serve(Some(world.good("a.example.com")), |mut request, _| async move {
        tokio::spawn(async move {
            let mut line = TokioIo::new(upgrade::on(&mut request).await.unwrap());
            let mut bytes = [0; 4];
            while line.read_exact(&mut bytes).await.is_ok() {
                line.write_all(&bytes).await.unwrap();
            }
        });
        let mut answer = text("");
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        answer
    })
    .await
}

fn switch() -> Request<Outgoing> {
    let mut request = get("/socket");
    request.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    request
}

#[tokio::test]
async fn what_is_not_used_for_two_sweeps_is_closed() {
    let world = World::new();
    for alpn in [Alpn::Http1, Alpn::Any] {
        let site = numbered(&world, alpn).await;
        let upstream = upstream(&world, &[(NAME, &site)]);
        ask(&upstream, &https(NAME), get("/")).await;
        until(|| upstream.pool.kept_now() == 1).await;
        assert!(upstream.pool.sweep(), "one sweep lets it be");
        ask(&upstream, &https(NAME), get("/")).await;
        until(|| upstream.pool.kept_now() == 1).await;
        assert!(upstream.pool.sweep(), "it was used since");
        assert_eq!((upstream.pool.kept_now(), site.connections()), (1, 1));
        assert!(!upstream.pool.sweep());
        until(|| site.closed() == 1).await;
        until(|| upstream.pool.live_now() == 0).await;
    }
}

#[tokio::test]
async fn a_sweep_breaks_no_response_off() {
    let world = World::new();
    let (more, rest) = tokio::sync::oneshot::channel::<()>();
    let rest = Arc::new(Mutex::new(Some(rest)));
    let site = Site::serve(Some(world.good("a.example.com")), move |_, _| {
        let rest = rest.lock().unwrap().take().unwrap();
        async {
            let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from("first ")))]);
            let last = futures_util::stream::once(async {
                rest.await.unwrap();
                Ok(Frame::data(Bytes::from("last")))
            });
            let body = futures_util::StreamExt::chain(first, last);
            Response::new(http_body_util::StreamBody::new(body).boxed_unsync())
        }
    })
    .await;
    let upstream = upstream(&world, &[(NAME, &site)]);
    let response = upstream.exchange(&https(NAME), get("/"), PATIENT, &|| ()).await.unwrap();
    while upstream.pool.sweep() {}
    more.send(()).unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "first last");
    until(|| site.closed() == 1).await;
}

#[tokio::test]
async fn a_response_under_way_is_broken_off_with_its_route_and_no_other() {
    let world = World::new();
    for alpn in [Alpn::Http1, Alpn::Any] {
        let (site, other) = (endless(&world, alpn).await, numbered(&world, alpn).await);
        let upstream = upstream(&world, &[(NAME, &site), ("a.example.com:8443", &other)]);
        let mut body = upstream.exchange(&https(NAME), get("/"), PATIENT, &|| ()).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        ask(&upstream, &https("a.example.com:8443"), get("/")).await;
        until(|| upstream.pool.live_now() == 2).await;
        upstream.close_where(|route| route.authority().port == 443);
        assert!(body.frame().await.unwrap().is_err(), "{alpn:?}");
        until(|| site.closed() == 1 && upstream.pool.live_now() == 1).await;
        assert_eq!(ask(&upstream, &https("a.example.com:8443"), get("/")).await.1, "1");
    }
}

#[tokio::test]
async fn a_request_that_waits_is_told_that_it_was_closed() {
    let world = World::new();
    for alpn in [Alpn::Http1, Alpn::Any] {
        let tls = world.config(&["a.example.com"], 4000, alpn);
        let asked = Arc::new(tokio::sync::Notify::new());
        let told = Arc::clone(&asked);
        let site = Site::serve(Some(tls), move |_, _| {
            told.notify_one();
            std::future::pending()
        })
        .await;
        let upstream = upstream(&world, &[(NAME, &site)]);
        let route = https(NAME);
        let closing = async {
            asked.notified().await;
            upstream.clear();
        };
        let (failed, ()) = tokio::join!(upstream.exchange(&route, get("/"), PATIENT, &|| ()), closing);
        let failed = failed.unwrap_err();
        assert!(matches!(failed, UpstreamError::Closed), "{alpn:?}: {failed:?}");
        assert_eq!(failed.reason(), Reason::Revoked);
    }
}

#[tokio::test]
async fn a_session_that_ends_closes_everything() {
    let world = World::new();
    let (site, idle) = (endless(&world, Alpn::Any).await, numbered(&world, Alpn::Any).await);
    let upstream = upstream(&world, &[(NAME, &site), ("a.example.com:8443", &idle)]);
    let mut body = upstream.exchange(&https(NAME), get("/"), PATIENT, &|| ()).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    ask(&upstream, &https("a.example.com:8443"), get("/")).await;
    drop(upstream);
    assert!(body.frame().await.unwrap().is_err());
    until(|| site.closed() == 1 && idle.closed() == 1).await;
}

#[tokio::test]
async fn an_upgrade_goes_over_http1_and_both_ways_until_it_is_closed() {
    let world = World::new();
    let site = echo(&world).await;
    let upstream = upstream(&world, &[(NAME, &site)]);
    let mut response = upstream.exchange(&https(NAME), switch(), PATIENT, &|| ()).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::SWITCHING_PROTOCOLS, Version::HTTP_11));
    let mut line = TokioIo::new(upgrade::on(&mut response).await.unwrap());
    let mut bytes = [0; 4];
    for _ in 0..3 {
        line.write_all(b"ping").await.unwrap();
        line.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"ping");
    }
    assert_eq!((upstream.pool.kept_now(), upstream.pool.live_now()), (0, 1));
    let reading = tokio::spawn(async move { line.read_exact(&mut bytes).await.is_err() });
    upstream.clear();
    assert!(reading.await.unwrap());
    until(|| upstream.pool.live_now() == 0).await;
}

#[tokio::test]
async fn a_host_that_refuses_an_upgrade_is_an_answer() {
    let world = World::new();
    let site = numbered(&world, Alpn::Any).await;
    let upstream = upstream(&world, &[(NAME, &site)]);
    assert_eq!(ask(&upstream, &https(NAME), switch()).await, (StatusCode::OK, "1".to_owned()));
}

#[tokio::test]
async fn a_host_does_not_switch_protocols_unasked() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let connect_to = vec![(authority("a.example.com:80"), listener.local_addr().unwrap())];
    let config = DialConfig { roots: Vec::new(), connect_to };
    let upstream = Upstream::new(Arc::new(Dialer::with_resolver(config, Script::new(&[], &[]))));
    let host = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let switched = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello";
        stream.write_all(switched).await.unwrap();
        let mut rest = Vec::new();
        let _ended = stream.read_to_end(&mut rest).await;
    });
    let failed = upstream.exchange(&http("a.example.com:80"), get("/"), PATIENT, &|| ()).await.unwrap_err();
    assert!(matches!(failed, UpstreamError::Unsupported(_) | UpstreamError::Broken(_)), "{failed:?}");
    host.await.unwrap();
}
