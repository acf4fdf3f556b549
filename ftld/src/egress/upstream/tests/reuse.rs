//! Which requests share a connection.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::egress::testing::until;

const NAME: &str = "a.example.com:443";

#[tokio::test]
async fn a_drained_connection_is_used_again() {
    let world = World::new();
    let site = numbered(&world, Alpn::Http1).await;
    let upstream = upstream(&world, &[(NAME, &site)]);
    for _ in 0..3 {
        assert_eq!(ask(&upstream, &https(NAME), get("/")).await.1, "1");
        until(|| upstream.pool.kept_now() == 1).await;
    }
}

#[tokio::test]
async fn a_connection_whose_response_was_not_read_is_not() {
    let world = World::new();
    let tls = world.config(&["a.example.com"], 4000, Alpn::Http1);
    let site = Site::serve(Some(tls), |_, _| async { text(vec![b'x'; 10_000_000]) }).await;
    let upstream = upstream(&world, &[(NAME, &site)]);
    let unread = upstream.exchange(&https(NAME), get("/"), PATIENT, &|| ()).await.unwrap();
    // In use: the second gets another one.
    assert_eq!(ask(&upstream, &https(NAME), get("/")).await.1.len(), 10_000_000);
    assert_eq!(site.connections(), 2);
    drop(unread);
    until(|| site.closed() == 1).await;
    until(|| upstream.pool.kept_now() == 1).await;
}

#[tokio::test]
async fn requests_at_once_share_one_http2_connection_from_the_first_on() {
    let world = World::new();
    let site = numbered(&world, Alpn::Any).await;
    let upstream = upstream(&world, &[(NAME, &site)]);
    let route = https(NAME);
    let all = futures_util::future::join_all((0..20).map(|_| ask(&upstream, &route, get("/")))).await;
    assert!(all.iter().all(|(_, number)| number == "1"), "{all:?}");
    assert_eq!(site.connections(), 1);
}

#[tokio::test]
async fn requests_at_once_do_not_wait_for_each_other_over_http1() {
    let world = World::new();
    let meet = Arc::new(tokio::sync::Barrier::new(5));
    let tls = world.config(&["a.example.com"], 4000, Alpn::Http1);
    let site = Site::serve(Some(tls), move |_, _| {
        let meet = Arc::clone(&meet);
        async move {
            meet.wait().await;
            text("met")
        }
    })
    .await;
    let upstream = upstream(&world, &[(NAME, &site)]);
    let route = https(NAME);
    let all = futures_util::future::join_all((0..5).map(|_| ask(&upstream, &route, get("/")))).await;
    assert_eq!((all.len(), site.connections()), (5, 5));
}

#[tokio::test]
async fn a_credential_a_session_and_a_scheme_each_have_their_own() {
    let world = World::new();
    for alpn in [Alpn::Any, Alpn::Http1] {
        let site = numbered(&world, alpn).await;
        let plain = Site::serve(None, |_, number| async move { text(format!("p{number}")) }).await;
        let of = || upstream(&world, &[(NAME, &site), ("a.example.com:80", &plain)]);
        let (one, other) = (of(), of());
        let (bare, bound) = (https(NAME), https(NAME).credentialed(true));
        let private = ["allow a.example.com", "private a.example.com:443"];
        let private = Route::new(&permit(RuleScheme::Https, NAME, &private), Alpn::Any);
        let mut numbers = Vec::new();
        for (upstream, route) in
            [(&one, &bare), (&one, &bound), (&other, &bare), (&other, &bound), (&one, &private)]
        {
            numbers.push(ask(upstream, route, get("/")).await.1);
        }
        numbers.sort();
        assert_eq!(numbers, ["1", "2", "3", "4", "5"], "{alpn:?}");
        assert_eq!(ask(&one, &http("a.example.com:80"), get("/")).await.1, "p1");
    }
}

#[tokio::test]
async fn two_hosts_at_one_address_share_nothing() {
    let world = World::new();
    let tls = world.config(&["a.example.com", "b.example.com"], 4000, Alpn::Any);
    let site = Site::serve(Some(tls), |_, number| async move { text(number.to_string()) }).await;
    let upstream = upstream(&world, &[(NAME, &site), ("b.example.com:443", &site)]);
    assert_eq!(ask(&upstream, &https(NAME), get("/")).await.1, "1");
    assert_eq!(ask(&upstream, &https("b.example.com:443"), get("/")).await.1, "2");
}

/// Reads a head and its body of a known length.
async fn read_request(stream: &mut (impl tokio::io::AsyncRead + Unpin), body: usize) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let mut rest = vec![0; body];
    stream.read_exact(&mut rest).await.ok()?;
    String::from_utf8(head).ok()
}

/// A host that answers the first request of its first connection, reads the second and breaks off; all
/// others it answers. It says what it read.
async fn fickle(body: usize) -> (std::net::SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = tokio::spawn(async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let mut read = Vec::new();
        let (mut first, _) = listener.accept().await.unwrap();
        read.extend(read_request(&mut first, body).await);
        first.write_all(answer).await.unwrap();
        read.extend(read_request(&mut first, body).await);
        drop(first);
        if body == 0 {
            let (mut second, _) = listener.accept().await.unwrap();
            read.extend(read_request(&mut second, body).await);
            second.write_all(answer).await.unwrap();
        }
        read
    });
    (address, host)
}

fn plain(address: std::net::SocketAddr) -> Upstream {
    let connect_to = vec![(authority("a.example.com:80"), address)];
    let config = DialConfig { roots: Vec::new(), connect_to };
    Upstream::new(Arc::new(Dialer::with_resolver(config, Script::new(&[], &[]))))
}

#[tokio::test]
async fn a_bare_request_that_met_a_dying_connection_is_sent_once_more() {
    let (address, host) = fickle(0).await;
    let upstream = plain(address);
    let route = http("a.example.com:80");
    let request = || {
        let mut request = get("/x");
        request.headers_mut().insert("x-mine", HeaderValue::from_static("1"));
        request
    };
    assert_eq!(ask(&upstream, &route, request()).await.1, "ok");
    until(|| upstream.pool.kept_now() == 1).await;
    assert_eq!(ask(&upstream, &route, request()).await.1, "ok");
    let read = host.await.unwrap();
    assert_eq!(read.len(), 3);
    assert!(read.iter().all(|head| *head == read[0] && head.contains("x-mine: 1")), "{read:?}");
}

#[tokio::test]
async fn a_request_that_may_have_had_an_effect_is_not() {
    let (address, host) = fickle(4).await;
    let upstream = plain(address);
    let route = http("a.example.com:80");
    assert_eq!(ask(&upstream, &route, post("/x", "body")).await.1, "ok");
    until(|| upstream.pool.kept_now() == 1).await;
    let failed = upstream.exchange(&route, post("/x", "body"), PATIENT, &|| ()).await.unwrap_err();
    assert_eq!(failed.reason(), Reason::UpstreamUnreachable);
    assert_eq!(host.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_connection_that_the_host_closed_is_not_used_again() {
    let world = World::new();
    let tls = world.config(&["a.example.com"], 4000, Alpn::Http1);
    let site = Site::serve(Some(tls), |_, number| async move {
        let mut answer = text(number.to_string());
        answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
        answer
    })
    .await;
    let upstream = upstream(&world, &[(NAME, &site)]);
    for number in ["1", "2", "3"] {
        assert_eq!(ask(&upstream, &https(NAME), post("/", "body")).await.1, number);
    }
}

#[tokio::test]
async fn there_are_never_more_idle_connections_than_the_limit() {
    let world = World::new();
    let many = pool::MOST_IDLE + 8;
    let meet = Arc::new(tokio::sync::Barrier::new(many));
    let site = Site::serve(None, move |_, _| {
        let meet = Arc::clone(&meet);
        async move {
            meet.wait().await;
            text("met")
        }
    })
    .await;
    let upstream = upstream(&world, &[("a.example.com:80", &site)]);
    let route = http("a.example.com:80");
    futures_util::future::join_all((0..many).map(|_| ask(&upstream, &route, get("/")))).await;
    until(|| site.closed() == 8).await;
    assert_eq!(upstream.pool.kept_now(), pool::MOST_IDLE);
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_never_the_next_ones() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                while read_request(&mut stream, 0).await.is_some() {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    let stray = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray";
                    let _ended = stream.write_all(&[&answer[..], &stray[..]].concat()).await;
                }
            });
        }
    });
    let upstream = plain(address);
    let route = http("a.example.com:80");
    for _ in 0..50 {
        assert_eq!(ask(&upstream, &route, get("/")).await.1, "ok");
        tokio::task::yield_now().await;
    }
    host.abort();
}
