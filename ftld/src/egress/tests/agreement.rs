//! Everything that names a host agrees, or nothing is dialled.

use http::Request;
use tokio::io::AsyncWriteExt as _;

use ftl_core::egress::policy::{Policy, Reason, Source};
use ftl_core::egress::preset::Preset;

use super::bench::{Bench, Setup, body, get, http1_over, read, read_head, reason};
use super::bodies::echo;
use crate::egress::testing::{Script, Site, World};

const HOST: &str = "api.example.com";
const RULES: &[&str] = &["allow api.example.com", "allow other.example.com"];

fn bench(world: &World, site: &Site) -> Bench {
    let sites =
        &[("api.example.com:443", site), ("other.example.com:443", site), ("api.example.com:80", site)];
    Bench::new(world, Setup { rules: RULES, sites, ..Setup::default() })
}

#[tokio::test]
async fn an_http2_authority_is_the_tunnels() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    let mut sender = bench.http2(HOST).await;
    // One is refused by name, one is allowed by the rules and still not this connection's.
    for uri in [
        "https://evil.example/",
        "https://other.example.com/",
        "https://api.example.com:8443/",
        "https://api.example.com.evil.example/",
    ] {
        let request = Request::get(uri).body(body("")).unwrap();
        let (status, headers, _) = read(sender.send_request(request).await.unwrap()).await;
        assert_eq!((status.as_u16(), reason(&headers)), (421, "host_mismatch"), "{uri}");
    }
    let request = Request::get("https://api.example.com/").header("host", "evil.example");
    let (status, _, _) = read(sender.send_request(request.body(body("")).unwrap()).await.unwrap()).await;
    assert_eq!(status, 421);
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn a_host_header_is_the_tunnels() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    for host in ["evil.example", "other.example.com", "api.example.com:8443", "api.example.com:80"] {
        let mut sender = bench.https(HOST).await;
        let (status, headers, _) = read(sender.send_request(get(host, "/", &[])).await.unwrap()).await;
        assert_eq!((status.as_u16(), reason(&headers)), (421, "host_mismatch"), "{host}");
    }
    let mut sender = bench.https(HOST).await;
    let request = Request::get("https://other.example.com/").header("host", HOST).body(body("")).unwrap();
    assert_eq!(read(sender.send_request(request).await.unwrap()).await.0, 421);
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn the_handshakes_name_is_the_tunnels() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    for (tunnel, sni) in [
        ("api.example.com:443", "other.example.com"),
        ("evil.example:443", HOST),
        ("api.example.com:443", "1.2.3.4"),
    ] {
        for host in [HOST, "other.example.com", "evil.example"] {
            // Where the handshake names nobody, the certificate is the tunnel's, which the client refuses.
            let Ok(stream) = bench.secure(bench.tunnel(tunnel).await, sni, &[]).await else { continue };
            let mut sender = http1_over(stream).await;
            let (status, _, _) = read(sender.send_request(get(host, "/", &[])).await.unwrap()).await;
            assert_eq!(status, 421, "{tunnel} {sni} {host}");
        }
    }
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn odd_hosts_are_not_repaired() {
    let world = World::new();
    let (site, _) = echo(None).await;
    let bench = bench(&world, &site);
    for to in [
        "api.example.com",
        "api.example.com:0",
        "api.example.com:443:443",
        "user@api.example.com:443",
        "api.example.com%00.evil.example:443",
        "0x7f.1:443",
        "2130706433:443",
        "0177.0.0.1:443",
        "127.1:443",
        "[::1%25lo]:443",
        "*.example.com:443",
        "api_example\\.com:443",
    ] {
        let answer = bench.say(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{to}: {answer}");
    }
    for target in
        ["http://127.1/", "http://0x7f.1/", "http://user@api.example.com/", "http://api.example.com:0/"]
    {
        let host = target.trim_start_matches("http://").trim_end_matches('/');
        let text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = bench.say(text.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
    }
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn no_tunnel_within_a_tunnel_and_no_echo() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    let bench = bench(&world, &site);
    for head in [
        "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
    ] {
        let mut stream = bench.secure(bench.tunnel("api.example.com:443").await, HOST, &[]).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 400"), "{head}");
    }
    let mut sender = bench.http2(HOST).await;
    let connect = Request::connect("api.example.com:443").body(body("")).unwrap();
    let (status, headers, _) = read(sender.send_request(connect).await.unwrap()).await;
    assert_eq!((status.as_u16(), reason(&headers)), (400, "unsupported"));
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn paths_do_not_climb_out_of_a_rule() {
    let world = World::new();
    let (site, seen) = echo(Some(world.good(HOST))).await;
    let sites = &[("api.example.com:443", &site)];
    let bench = Bench::new(&world, Setup { rules: &["allow api.example.com/v1"], sites, ..Setup::default() });
    for path in [
        "/admin",
        "/v10",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/.%2E/admin",
        "/v1%2f..%2fadmin",
        "/v1/..;/admin",
        "/v1;x/../admin",
        "//v1/admin",
        "/v1//admin",
        "/v1/%5c..%5cadmin",
        "/v1/x%252e%252e/",
        "/%76%31%2e%2e/",
    ] {
        let (status, _, _) = bench.ask(get(HOST, path, &[])).await;
        assert!(status == 403 || status == 400, "{path}: {status}");
    }
    assert_eq!(site.connections(), 0);
    assert_eq!(bench.ask(get(HOST, "/%76%31/x", &[])).await.0, 200);
    assert_eq!(seen.lock().unwrap()[0].target, "/%76%31/x");
}

#[tokio::test]
async fn a_name_that_points_inside_is_not_dialled() {
    let world = World::new();
    let (site, _) = echo(Some(world.good(HOST))).await;
    for answers in [
        &["127.0.0.1"][..],
        &["93.184.216.34", "127.0.0.1"],
        &["93.184.216.34", "10.0.0.1"],
        &["169.254.169.254"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["203.0.114.9"],
    ] {
        let resolver = Some(Script::new(&[answers], &["203.0.114.9"]));
        let bench = Bench::new(&world, Setup { rules: RULES, resolver, ..Setup::default() });
        let (status, headers, text) = bench.ask(get(HOST, "/", &[])).await;
        assert_eq!((status.as_u16(), reason(&headers)), (403, "private_address"), "{answers:?}");
        assert!(!answers.iter().any(|answer| text.contains(answer)), "{text}");
        // What a rule can open says which rule does, inside and to the human.
        let opens = answers.contains(&"10.0.0.1");
        assert_eq!(text.contains(&format!("ftlctl policy private {HOST}:443")), opens, "{answers:?} {text}");
    }
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn a_permit_is_followed_to_its_address_without_a_connection() {
    let address = async |answers: &[&[&str]]| {
        let resolver: std::sync::Arc<dyn crate::egress::resolve::Resolver> = Script::new(answers, &[]);
        let egress = crate::egress::Egress::new(crate::egress::EgressConfig {
            dial: crate::egress::dial::DialConfig::default(),
            resolver: Some(resolver),
            limits: crate::egress::Limits::default(),
            now_us: std::sync::Arc::new(|| 0),
        });
        let rules = vec![(Source::Session, vec![format!("allow {HOST}").parse().unwrap()])];
        let asked = ftl_core::egress::asked::Asked::parse("GET", HOST).unwrap();
        let permit = Policy::new(Preset::Locked, rules).decide(&asked.facts()).permit().unwrap();
        egress.address(&permit).await.map_err(|error| error.reason())
    };
    assert_eq!(address(&[&["93.184.216.34"]]).await, Ok("93.184.216.34".parse().unwrap()));
    assert_eq!(address(&[&["10.0.0.1"]]).await, Err(Reason::PrivateAddress));
    assert_eq!(address(&[]).await, Err(Reason::Unresolvable));
}

#[tokio::test]
async fn a_denied_name_is_never_looked_up() {
    let world = World::new();
    let resolver = Script::new(&[&["93.184.216.34"]], &[]);
    let setup = Setup { rules: RULES, resolver: Some(std::sync::Arc::clone(&resolver)), ..Setup::default() };
    let bench = Bench::new(&world, setup);
    assert_eq!(bench.ask(get("secret.evil.example", "/", &[])).await.0, 403);
    let answer = bench.look_up("secret.evil.example").await.unwrap();
    assert_eq!(answer[3] & 0xf, 3, "not NXDOMAIN");
    assert_eq!(resolver.asked(), 0);
    assert_eq!(bench.told.reasons(), ["not_allowed", "not_allowed"]);
}

#[tokio::test]
async fn a_flood_of_names_is_held_back() {
    let world = World::new();
    let limits = crate::egress::Limits {
        names: ftl_core::egress::rate::Limit::new(1, Some(3)),
        ..crate::egress::Limits::default()
    };
    let bench = Bench::new(&world, Setup { rules: RULES, limits: Some(limits), ..Setup::default() });
    for number in 0..6 {
        let answer = bench.look_up(HOST).await.unwrap();
        assert_eq!(answer[3] & 0xf == 0, number < 3, "{number}");
    }
    assert_eq!(bench.told.reasons(), ["rate_limited"; 3]);
}
