//! What the sandbox is told.

use http::Request;
use tokio::io::AsyncWriteExt as _;

use super::bench::{Bench, Setup, body, drain, get, read, read_head};
use super::bodies::echo;
use crate::egress::testing::{Script, World};

const HOST: &str = "api.example.com";

#[tokio::test]
async fn a_refusal_names_the_rule_and_the_way_out() {
    let world = World::new();
    let rules = &["allow GET api.example.com", "deny api.example.com/admin"];
    let (site, _) = echo(Some(world.good(HOST))).await;
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules, sites, ..Setup::default() });
    let error = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["ftl"].clone();
    let (status, headers, text) = bench.ask(get(HOST, "/admin/x?secret=1", &[])).await;
    assert_eq!(status, 403);
    assert_eq!(headers["x-ftl-refused"], "denied");
    let read = error(&text);
    assert_eq!(read["reason"], "denied");
    assert_eq!(read["path"], "/admin/x");
    assert!(read["rule"].as_str().unwrap().contains("deny"), "{read}");
    assert!(!text.contains("secret"));
    let (_, _, text) = bench.ask(get("new.example.org", "/v1/x", &[])).await;
    let read = error(&text);
    assert_eq!((&read["code"], &read["reason"]), (&"ftl_egress_refused".into(), &"not_allowed".into()));
    let how = read["how_to_allow"].as_str().unwrap();
    assert!(how.starts_with("ftlctl policy allow '") && how.contains("new.example.org"), "{how}");
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn grpc_programs_get_a_grpc_status() {
    let world = World::new();
    let bench = Bench::new(&world, Setup::default());
    let mut sender = bench.http2(HOST).await;
    let request =
        Request::post("https://api.example.com/pkg.S/M").header("content-type", "application/grpc+proto");
    let (status, headers, _) =
        read(sender.send_request(request.body(body("x")).unwrap()).await.unwrap()).await;
    assert_eq!((status.as_u16(), &headers["grpc-status"]), (200, &"7".parse().unwrap()));
    assert!(headers["grpc-message"].to_str().unwrap().contains("api.example.com"));
}

#[tokio::test]
async fn limits_say_when_to_come_back() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let rules = &["allow api.example.com", "limit api.example.com 2/min burst 2"];
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules, sites, ..Setup::default() });
    for _ in 0..2 {
        assert_eq!(bench.ask(get(HOST, "/", &[])).await.0, 200);
    }
    let (status, headers, _) = bench.ask(get(HOST, "/", &[])).await;
    assert_eq!(status, 429);
    let after: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&after), "{after}");
    assert_eq!(site.connections(), 1);
}

#[tokio::test]
async fn whoever_waits_before_a_body_is_told_first() {
    let world = World::new();
    let (site, seen) = echo(None).await;
    let sites = &[("api.example.com:80", &site)];
    let bench = Bench::new(&world, Setup { rules: &["allow api.example.com"], sites, ..Setup::default() });
    for (host, first) in [(HOST, "HTTP/1.1 100"), ("evil.example", "HTTP/1.1 403")] {
        let mut stream = bench.open();
        let head = format!(
            "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with(first), "{answer}");
    }
    let mut stream = bench.open();
    let head = "POST http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 4\r\n\
                Expect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    read_head(&mut stream).await;
    stream.write_all(b"body").await.unwrap();
    assert!(drain(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(seen.lock().unwrap().last().unwrap().body, "body");
}

#[tokio::test]
async fn a_refusal_is_read_although_the_body_is_not() {
    let world = World::new();
    let bench = Bench::new(&world, Setup::default());
    let request = Request::post("/").header("host", HOST).body(body(vec![7; 8 << 20])).unwrap();
    assert_eq!(bench.ask(request).await.0, 403);
    let mut sender = bench.http2(HOST).await;
    let request = Request::post("https://api.example.com/").body(body(vec![7; 8 << 20])).unwrap();
    assert_eq!(read(sender.send_request(request).await.unwrap()).await.0, 403);
}

#[tokio::test]
async fn a_hosts_own_trouble_is_told_as_a_code() {
    let world = World::new();
    let (site, _) = echo(Some(world.good("another.example.com"))).await;
    let rules = &["allow api.example.com", "allow gone.example.com", "allow none.example.com"];
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let gone = crate::egress::testing::Site::at(listener.local_addr().unwrap());
    drop(listener);
    let sites = &[("api.example.com:443", &site), ("gone.example.com:443", &gone)];
    let resolver = Some(Script::new(&[&[]], &[]));
    let bench = Bench::new(&world, Setup { rules, sites, resolver, ..Setup::default() });
    for (host, status, reason) in [
        (HOST, 502, "upstream_certificate"),
        ("gone.example.com", 502, "upstream_unreachable"),
        ("none.example.com", 502, "unresolvable"),
    ] {
        let (found, headers, text) = bench.ask(get(host, "/path?token=x", &[])).await;
        assert_eq!((found.as_u16(), super::bench::reason(&headers)), (status, reason), "{host}");
        assert!(!text.contains("token") && !text.contains("127.0.0.1"), "{text}");
    }
}
