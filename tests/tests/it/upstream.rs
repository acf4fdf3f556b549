//! The tests' own server, without FTL: what it is meant to do to others it does to curl.

use std::process::Command;

use ftl_tests::leaks;
use ftl_tests::upstream::{ENCODINGS, Packages, Service, Upstream};
use ftl_tests::world::{Said, said};

const SECRET: &str = "tK9/wQ2+zR7-mX4_bN8.cV5vL3pJ6hG1fD0sAqY=";

fn curl(upstream: &Upstream, args: &[&str]) -> Said {
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail-with-body", "--noproxy", "*", "--cacert"]).arg(upstream.root_file());
    command.args(["--connect-to", &format!("::{}", upstream.tls())]).args(args);
    said(command.output().expect("curl runs"))
}

#[test]
fn what_arrives_is_recorded_and_comes_back() {
    let upstream = Upstream::start(vec![("api.example.com", Service::Test)]);
    for version in ["--http1.1", "--http2"] {
        upstream.forget();
        let header = format!("authorization: Bearer {SECRET}");
        let url = "https://api.example.com/echo?a=b";
        let said = curl(&upstream, &[version, "-H", &header, "-d", "some body", url]);
        assert_eq!(said.code, 0, "{said:#?}");
        assert!(said.out.contains(SECRET) && said.out.contains("some body"), "{said:#?}");
        let [seen] = &upstream.at("/echo")[..] else { panic!("{:#?}", upstream.seen()) };
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/echo?a=b"));
        assert_eq!((seen.body.as_slice(), seen.body_bytes), (b"some body".as_slice(), 9));
        assert_eq!((seen.sni.as_deref(), seen.host.as_str()), (Some("api.example.com"), "api.example.com"));
        assert_eq!(upstream.connections(), 1);
    }
    let said = curl(&upstream, &["https://other.example.com/"]);
    assert!(said.out.contains("no such host: other.example.com"), "{said:#?}");
}

#[test]
fn every_encoding_of_a_reflected_value_is_one_that_the_search_knows() {
    let upstream = Upstream::start(vec![("api.example.com", Service::Test)]);
    for encoding in ENCODINGS {
        for cut in ["", "?cut=each", "?cut=12"] {
            let url = format!("https://api.example.com/reflect/{encoding}{cut}");
            let said = curl(&upstream, &["-H", &format!("x-api-key: {SECRET}"), &url]);
            assert!(said.out.starts_with("before ") && said.out.ends_with(" after"), "{said:#?}");
            assert!(leaks::holds(said.out.as_bytes(), &[SECRET]), "{encoding}: {said:#?}");
        }
    }
    let said = curl(
        &upstream,
        &["-i", "-H", &format!("x-api-key: {SECRET}"), "https://api.example.com/reflect/header"],
    );
    assert_eq!(said.out.matches(SECRET).count(), 3, "{said:#?}");
    let gzip =
        ["--compressed", "-H", &format!("x-api-key: {SECRET}"), "https://api.example.com/reflect/gzip"];
    assert!(curl(&upstream, &gzip).out.contains(SECRET));
}

#[test]
fn long_bodies_and_packages_arrive_whole() {
    let upstream = Upstream::start(vec![
        ("api.example.com", Service::Test),
        (
            "npm.example.com",
            Service::Packages {
                packages: Packages::npm("npm.example.com"),
                authorization: format!("Bearer {SECRET}"),
            },
        ),
    ]);
    let said = curl(&upstream, &["https://api.example.com/bytes/1000001"]);
    assert_eq!(said.out.len(), 1_000_001);
    let refused = curl(&upstream, &["https://npm.example.com/ftl-test-left"]);
    assert_eq!((refused.code, refused.out.as_str()), (22, "a credential is needed"));
    let header = format!("authorization: Bearer {SECRET}");
    let said = curl(&upstream, &["-H", &header, "https://npm.example.com/ftl-test-left"]);
    assert!(said.out.contains("\"dist-tags\""), "{said:#?}");
}
