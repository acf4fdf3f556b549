//! Every way to arrive ends in the same pipeline.

use ftl_core::egress::rule::Scheme;

use super::bench::{Bench, Setup, bearer, body, drain, get, grant, http1_over, read, read_head, reason};
use super::bodies::echo;
use crate::egress::guard::End;
use crate::egress::testing::{Site, World, until};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncWriteExt as _;

const HOST: &str = "api.example.com";
const ALLOW: &[&str] = &["allow api.example.com"];

#[tokio::test]
async fn https_in_a_tunnel_carries_the_real_value_and_answers_with_the_shadow() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let grants = vec![(grant("KEY", "shadow-0123456789abcdef", HOST, bearer()), "real-0123456789abcdef")];
    let setup = Setup { rules: ALLOW, grants, sites: &[("api.example.com:443", &site)], ..Setup::default() };
    let bench = Bench::new(&world, setup);
    let request = get(HOST, "/v1/x?q=1", &[("authorization", "Bearer shadow-0123456789abcdef")]);
    let (status, headers, text) = bench.ask(request).await;
    assert_eq!(status, 200);
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen[0].headers["authorization"], "Bearer real-0123456789abcdef");
    assert_eq!(seen[0].target, "/v1/x?q=1");
    assert!(text.contains("Bearer shadow-0123456789abcdef") && !text.contains("real-"), "{text}");
    assert_eq!(headers["x-echo-authorization"], "Bearer shadow-0123456789abcdef");
    let intent = bench.told.intents.lock().unwrap()[0].clone();
    assert_eq!(
        (intent.method.as_str(), intent.path.as_str(), intent.scheme),
        ("GET", "/v1/x", Scheme::Https)
    );
    assert_eq!(intent.credentials.len(), 1);
    until(|| !bench.told.outcomes.lock().unwrap().is_empty()).await;
    let (id, outcome) = bench.told.outcomes.lock().unwrap()[0];
    assert_eq!((id, outcome.status, outcome.end), (1, 200, End::Whole));
    assert_eq!(outcome.down, text.len() as u64);
}

#[tokio::test]
async fn plain_http_has_whole_urls_and_tunnels() {
    let world = World::new();
    let (site, seen) = echo(None).await;
    let sites = &[("api.example.com:80", &site), ("api.example.com:8080", &site)];
    let rules = &["allow api.example.com", "allow api.example.com:8080"];
    let bench = Bench::new(&world, Setup { rules, sites, ..Setup::default() });
    let head = "GET http://API.example.com/a HTTP/1.1\r\nHost: api.example.com\r\n\
                Proxy-Authorization: Basic eA==\r\nProxy-Connection: close\r\nConnection: close\r\n\r\n";
    assert!(bench.say(head.as_bytes()).await.starts_with("HTTP/1.1 200"));
    let mut tunnel = bench.tunnel("api.example.com:8080").await;
    tunnel
        .write_all(b"GET /b HTTP/1.1\r\nHost: api.example.com:8080\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(drain(&mut tunnel).await.starts_with("HTTP/1.1 200"));
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].target, "/a");
    assert!(!seen[0].headers.keys().any(|name| name.as_str().starts_with("proxy-")));
    assert_eq!(seen[1].headers["host"], "api.example.com:8080");
}

#[tokio::test]
async fn redirected_connections_are_for_the_name_behind_their_address() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let (plain, _) = echo(None).await;
    let sites = &[("api.example.com:443", &site), ("api.example.com:80", &plain)];
    let bench = Bench::new(&world, Setup { rules: ALLOW, sites, ..Setup::default() });
    let answer = bench.look_up("API.example.com").await.unwrap();
    let [.., a, b, c, d] = answer[..] else { panic!() };
    let address = format!("{a}.{b}.{c}.{d}");
    assert!(address.starts_with("198.18."), "{address}");
    let stream = bench.secure(bench.open_to(&format!("{address}:443")), HOST, &[]).await.unwrap();
    let mut sender = http1_over(stream).await;
    assert_eq!(read(sender.send_request(get(HOST, "/t", &[])).await.unwrap()).await.0, 200);
    assert_eq!(seen.lock().unwrap()[0].target, "/t");
    let mut sender = http1_over(bench.open_to(&format!("{address}:80"))).await;
    assert_eq!(read(sender.send_request(get(HOST, "/", &[])).await.unwrap()).await.0, 200);
    // Another name on that connection goes nowhere.
    let mut sender = http1_over(bench.open_to(&format!("{address}:80"))).await;
    let (status, headers, _) = read(sender.send_request(get("evil.example", "/", &[])).await.unwrap()).await;
    assert_eq!((status.as_u16(), reason(&headers)), (421, "host_mismatch"));
    assert_eq!((site.connections(), plain.connections()), (1, 1));
}

#[tokio::test]
async fn an_address_is_an_address_whatever_the_handshake_says() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let sites = &[("api.example.com:443", &site), ("9.9.9.9:443", &site)];
    let bench = Bench::new(&world, Setup { rules: ALLOW, sites, ..Setup::default() });
    for (sni, host) in [(HOST, HOST), (HOST, "9.9.9.9"), ("9.9.9.9", "9.9.9.9"), ("9.9.9.9", HOST)] {
        let stream = bench.secure(bench.open_to("9.9.9.9:443"), sni, &[]).await.unwrap();
        let mut sender = http1_over(stream).await;
        let (_, headers, _) = read(sender.send_request(get(host, "/", &[])).await.unwrap()).await;
        let expected = if (sni, host) == ("9.9.9.9", "9.9.9.9") { "ip_literal" } else { "host_mismatch" };
        assert_eq!(reason(&headers), expected, "{sni} {host}");
    }
    // A synthetic address that was never given out is nobody's.
    assert_eq!(drain(&mut bench.open_to("198.18.9.9:443")).await, "");
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn tls_to_the_proxys_own_port_is_for_the_host_that_it_names() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules: ALLOW, sites, ..Setup::default() });
    let mut sender = http1_over(bench.secure(bench.open(), HOST, &[]).await.unwrap()).await;
    assert_eq!(read(sender.send_request(get(HOST, "/", &[])).await.unwrap()).await.0, 200);
    assert!(bench.secure(bench.open(), "1.2.3.4", &[]).await.is_err());
}

#[tokio::test]
async fn http2_goes_through_with_trailers_both_ways() {
    let world = World::new();
    let site = Site::serve(Some(world.good(HOST)), |request, _| async move {
        let body = request.into_body().collect().await.unwrap();
        let mut trailers = body.trailers().cloned().unwrap_or_default();
        trailers.insert("grpc-status", 0.into());
        trailers.insert("set-cookie", "a=b".parse().unwrap());
        let frames = [Ok(Frame::data(body.to_bytes())), Ok(Frame::trailers(trailers))];
        http::Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
    })
    .await;
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules: ALLOW, sites, ..Setup::default() });
    let mut sender = bench.http2(HOST).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-mine", 1.into());
    trailers.insert("authorization", "Bearer x".parse().unwrap());
    let frames = [Ok(Frame::data("message".into())), Ok(Frame::trailers(trailers))];
    let sent = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let request = Request::post("https://api.example.com/pkg.Service/Method")
        .header("te", "trailers")
        .header("content-type", "application/grpc");
    let response = sender.send_request(request.body(sent).unwrap()).await.unwrap();
    let back = response.into_body().collect().await.unwrap();
    let trailers = back.trailers().cloned().unwrap();
    assert_eq!(back.to_bytes(), "message");
    assert_eq!(
        (&trailers["grpc-status"], &trailers["x-mine"]),
        (&"0".parse().unwrap(), &"1".parse().unwrap())
    );
    assert!(!trailers.contains_key("authorization") && !trailers.contains_key("set-cookie"));
}

#[tokio::test]
async fn many_streams_share_a_connection_and_each_is_decided() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let sites = &[("api.example.com:443", &site)];
    let rules = &["allow GET api.example.com/v1"];
    let bench = Bench::new(&world, Setup { rules, sites, ..Setup::default() });
    let sender = bench.http2(HOST).await;
    let all = (0..50).map(|number| {
        let mut sender = sender.clone();
        async move {
            let path = if number % 2 == 0 { "v1" } else { "v2" };
            let request = Request::get(format!("https://api.example.com/{path}/{number}"));
            let response = sender.send_request(request.body(body("")).unwrap()).await.unwrap();
            assert_eq!(response.status(), if number % 2 == 0 { 200 } else { 403 }, "{number}");
        }
    });
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn an_alias_is_plain_inside_and_tls_outside() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let grants = vec![(grant("KEY", "shadow-0123456789abcdef", HOST, bearer()), "real-0123456789abcdef")];
    let rules = &["allow api.example.com", "alias openai.ftl.local api.example.com"];
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules, grants, sites, ..Setup::default() });
    let head = "GET http://openai.ftl.local/v1 HTTP/1.1\r\nHost: openai.ftl.local\r\n\
                Authorization: Bearer shadow-0123456789abcdef\r\nConnection: close\r\n\r\n";
    assert!(bench.say(head.as_bytes()).await.starts_with("HTTP/1.1 200"));
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen[0].headers["authorization"], "Bearer real-0123456789abcdef");
    let answer = bench.look_up("openai.ftl.local").await.unwrap();
    let [.., a, b, c, d] = answer[..] else { panic!() };
    let mut stream = bench.open_to(&format!("{a}.{b}.{c}.{d}:80"));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: openai.ftl.local\r\n\r\n").await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
}
