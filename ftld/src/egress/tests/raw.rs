//! Bytes as attackers send them: cut anywhere, of other protocols, ambiguous.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::bench::{Bench, Setup, drain, get, http1_over, read, read_head};
use super::bodies::echo;
use crate::egress::Limits;
use crate::egress::testing::{Site, World};

const HOST: &str = "api.example.com";
const RULES: &[&str] = &["allow api.example.com"];

fn bench(world: &World, site: &Site) -> Bench {
    let sites = &[("api.example.com:443", site), ("api.example.com:80", site)];
    Bench::new(world, Setup { rules: RULES, sites, ..Setup::default() })
}

#[tokio::test]
async fn byte_by_byte_is_the_same() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    // Through CONNECT, the handshake and the request.
    for (host, expected) in [(HOST, 200), ("evil.example", 403)] {
        let mut stream = bench.open_slow();
        let head = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
        let mut sender = http1_over(bench.secure(stream, host, &[]).await.unwrap()).await;
        let (status, _, _) = read(sender.send_request(get(host, "/", &[])).await.unwrap()).await;
        assert_eq!(status, expected, "{host}");
    }
    assert_eq!((site.connections(), seen.lock().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn every_cut_is_the_same() {
    let world = World::new();
    let (site, seen) = echo(None).await;
    let bench = bench(&world, &site);
    let good = "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    let bad = "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let connect = "CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n\r\n";
    let tunnelled = format!("{connect}GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    for (text, expected) in [(good, "HTTP/1.1 200"), (bad, "HTTP/1.1 403"), (&tunnelled, "HTTP/1.1 403")] {
        for cut in 1..text.len() {
            let mut stream = bench.open();
            stream.write_all(&text.as_bytes()[..cut]).await.unwrap();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            stream.write_all(&text.as_bytes()[cut..]).await.unwrap();
            let answer = drain(&mut stream).await;
            assert!(answer.contains(expected), "{cut} {text}: {answer}");
        }
    }
    let asked = seen.lock().unwrap().len();
    assert_eq!(asked, good.len() - 1);
    assert!(site.connections() <= asked);
}

#[tokio::test]
async fn what_is_neither_tls_nor_http_is_closed() {
    let world = World::new();
    let (site, _) = echo(None).await;
    let bench = bench(&world, &site);
    let all: [&[u8]; 8] = [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0",
        b"\x05\x01\x00",
        b"\x16\x03\x03\x00\x00",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x80\x2e\x01\x03\x01",
        b"get / HTTP/1.1\r\n\r\n",
    ];
    for bytes in all {
        assert_eq!(bench.say(bytes).await, "", "{bytes:?}");
        let mut tunnel = bench.tunnel("api.example.com:443").await;
        tunnel.write_all(bytes).await.unwrap();
        assert_eq!(drain(&mut tunnel).await, "", "{bytes:?}");
    }
    // A record whose inside is no handshake that opens a connection.
    let mut hello = vec![0x16, 3, 1, 0, 0x20, 1, 0, 0, 0x1c];
    hello.extend([0xff; 0x1c]);
    let mut tunnel = bench.tunnel("api.example.com:443").await;
    tunnel.write_all(&hello).await.unwrap();
    assert!(!drain(&mut tunnel).await.contains("HTTP"));
    assert_eq!(site.connections(), 0);
    assert!(bench.told.reasons().iter().all(|reason| *reason == "unclassified"));
}

#[tokio::test]
async fn whoever_dawdles_is_closed() {
    let world = World::new();
    let (site, _) = echo(None).await;
    let limits = Limits { opening: Duration::from_millis(50), ..Limits::default() };
    let sites = &[("api.example.com:80", &site)];
    let bench = Bench::new(&world, Setup { rules: RULES, sites, limits: Some(limits), ..Setup::default() });
    for bytes in ["", "G", "\x16\x03\x01", "GET http://api.example.com/ HTTP/1.1\r\nHost: api"] {
        assert_eq!(bench.say(bytes.as_bytes()).await, "", "{bytes}");
    }
    // An idle connection between two requests is not dawdling.
    let mut sender = http1_over(bench.open_to_host(HOST).await).await;
    for _ in 0..2 {
        assert_eq!(read(sender.send_request(get(HOST, "/", &[])).await.unwrap()).await.0, 200);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

#[tokio::test]
async fn no_second_request_hides_in_the_first() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    let length = hidden.len();
    for lines in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: xchunked\r\n\r\n{hidden}"),
        format!("Transfer-Encoding:\tchunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n x\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("Content-Length: +{length}\r\n\r\n{hidden}"),
        format!("Content-Length: 0, {length}\r\n\r\n{hidden}"),
        format!("A: b\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("A: b\rContent-Length: {length}\r\n\r\n{hidden}"),
        format!("A: b\n\n{hidden}"),
        "A\0: b\r\n\r\n".to_owned(),
        "Host: api.example.com\r\n\r\n".to_owned(),
    ] {
        let mut stream = bench.secure(bench.tunnel("api.example.com:443").await, HOST, &[]).await.unwrap();
        let text = format!("POST / HTTP/1.1\r\nHost: api.example.com\r\n{lines}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let answer = drain(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{lines:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{lines:?}: {answer}");
    }
    assert_eq!(site.connections(), 0);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn several_requests_at_once_are_each_decided() {
    let world = World::new();
    let (site, seen) = echo(None).await;
    let bench = bench(&world, &site);
    let text = "POST http://api.example.com/1 HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 3\r\n\r\nabc\
                GET http://evil.example/2 HTTP/1.1\r\nHost: evil.example\r\n\r\n\
                POST http://api.example.com/3 HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\
                Connection: close\r\n\r\n3\r\nxyz\r\n0\r\n\r\n";
    let answer = bench.say(text.as_bytes()).await;
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect();
    assert_eq!(statuses, ["200", "403", "200"], "{answer}");
    let bodies: Vec<_> = seen.lock().unwrap().iter().map(|saw| saw.body.clone()).collect();
    assert_eq!(bodies, ["abc", "xyz"]);
}

#[tokio::test]
async fn a_host_that_breaks_off_breaks_off_the_answer() {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _read = stream.read(&mut request).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                .await
                .unwrap();
        }
    });
    let site = Site::at(address);
    let bench = bench(&world, &site);
    let text = "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    let answer = bench.say(text.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("0\r\n\r\n"), "{answer}");
}
