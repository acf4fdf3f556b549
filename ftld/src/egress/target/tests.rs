//! Tests of the agreement between everything that names a host.

use http::{Request, Version};

use super::*;

fn parts(method: &str, uri: &str, version: Version, hosts: &[&str]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri).version(version);
    for host in hosts {
        request = request.header(HOST, *host);
    }
    request.body(()).unwrap().into_parts().0
}

fn tied(authority: &str, scheme: Scheme) -> Entry {
    let authority = Authority::parse(authority, None).unwrap();
    Entry::Tied(Tie { authority, scheme, spoilt: None })
}

#[test]
fn everything_that_names_the_host_agrees() {
    let tls = tied("api.example.com:443", Scheme::Https);
    let odd = tied("api.example.com:8443", Scheme::Https);
    let address = tied("1.2.3.4:443", Scheme::Https);
    let (v1, v2) = (Version::HTTP_11, Version::HTTP_2);
    let good = [
        (&tls, "/x", v1, &["api.example.com"][..]),
        (&tls, "/x", v1, &["API.Example.com.:443"]),
        (&tls, "https://api.example.com/x", v1, &["api.example.com"]),
        (&tls, "https://api.example.com/x", v2, &[]),
        (&tls, "https://api.example.com:443/x", v2, &["api.example.com"]),
        (&odd, "/x", v1, &["api.example.com:8443"]),
        (&address, "/x", v1, &["1.2.3.4"]),
    ];
    for (entry, uri, version, hosts) in good {
        let target = of_request(entry, &parts("GET", uri, version, hosts));
        let Entry::Tied(tie) = entry else { panic!() };
        assert_eq!(target.map(|target| target.authority), Ok(tie.authority.clone()), "{uri} {hosts:?}");
    }
    let bad = [
        (&tls, "/x", v1, &[][..], Reason::BadRequest),
        (&tls, "/x", v1, &["api.example.com", "api.example.com"], Reason::BadRequest),
        (&tls, "/x", v1, &["api.example.com", "evil.example"], Reason::BadRequest),
        (&tls, "/x", v1, &[""], Reason::BadRequest),
        (&tls, "/x", v1, &["user@api.example.com"], Reason::BadRequest),
        (&tls, "/x", v1, &["api.example.com:"], Reason::BadRequest),
        (&tls, "/x", v1, &["api.example.com:443:443"], Reason::BadRequest),
        (&tls, "/x", v1, &["evil.example"], Reason::HostMismatch),
        (&tls, "/x", v1, &["api.example.com:8443"], Reason::HostMismatch),
        (&odd, "/x", v1, &["api.example.com"], Reason::HostMismatch),
        (&tls, "https://evil.example/x", v1, &["api.example.com"], Reason::HostMismatch),
        (&tls, "https://api.example.com/x", v1, &["evil.example"], Reason::HostMismatch),
        (&tls, "https://api.example.com/x", v1, &[], Reason::BadRequest),
        (&tls, "http://api.example.com/x", v1, &["api.example.com"], Reason::BadRequest),
        (&tls, "https://u:p@api.example.com/x", v1, &["api.example.com"], Reason::BadRequest),
        (&tls, "https://evil.example/x", v2, &[], Reason::HostMismatch),
        (&tls, "https://evil.example/x", v2, &["api.example.com"], Reason::HostMismatch),
        (&tls, "https://api.example.com/x", v2, &["evil.example"], Reason::HostMismatch),
        (&tls, "/x", v2, &[], Reason::BadRequest),
        (&address, "/x", v1, &["api.example.com"], Reason::HostMismatch),
        (&tls, "*", v1, &["api.example.com"], Reason::BadRequest),
        (&tls, "/../x", v1, &["api.example.com"], Reason::BadRequest),
    ];
    for (entry, uri, version, hosts, reason) in bad {
        let target = of_request(entry, &parts("GET", uri, version, hosts));
        assert_eq!(target.map_err(|refusal| refusal.reason), Err(reason), "{uri} {version:?} {hosts:?}");
    }
}

#[test]
fn methods_that_are_never_forwarded() {
    let entry = tied("a.example:443", Scheme::Https);
    for (method, uri) in [("TRACE", "/"), ("CONNECT", "a.example:443")] {
        let target = of_request(&entry, &parts(method, uri, Version::HTTP_11, &["a.example"]));
        assert_eq!(target.map_err(|refusal| refusal.reason), Err(Reason::Unsupported), "{method}");
    }
}

#[test]
fn the_proxy_takes_whole_urls() {
    let of = |uri: &str, host: &str| {
        of_request(&Entry::Proxy, &parts("GET", uri, Version::HTTP_11, &[host]))
            .map(|target| (target.authority.to_string(), target.scheme))
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(of("http://A.example/x", "a.example"), Ok(("a.example:80".into(), Scheme::Http)));
    assert_eq!(of("http://a.example:81/x", "a.example:81"), Ok(("a.example:81".into(), Scheme::Http)));
    assert_eq!(of("http://a.example/x", "b.example"), Err(Reason::HostMismatch));
    assert_eq!(of("http://a.example:81/x", "a.example"), Err(Reason::HostMismatch));
    assert_eq!(of("https://a.example/x", "a.example"), Err(Reason::Unsupported));
    assert_eq!(of("ftp://a.example/x", "a.example"), Err(Reason::BadRequest));
    assert_eq!(of("/x", "a.example"), Err(Reason::BadRequest));
    assert_eq!(of("http://127.1/x", "127.1"), Err(Reason::BadRequest));
    assert_eq!(of("http://u@a.example/x", "a.example"), Err(Reason::BadRequest));
}

#[test]
fn connect_names_a_host_and_a_port() {
    let of = |uri: &str, hosts: &[&str]| {
        of_connect(&parts("CONNECT", uri, Version::HTTP_11, hosts))
            .map(|authority| authority.to_string())
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(of("A.example:443", &["a.example:443"]), Ok("a.example:443".into()));
    assert_eq!(of("a.example:8443", &["a.example"]), Ok("a.example:8443".into()));
    assert_eq!(of("a.example:443", &[]), Ok("a.example:443".into()));
    assert_eq!(of("a.example:443", &["b.example:443"]), Err(Reason::HostMismatch));
    for uri in
        ["a.example", "a.example:0", "u@a.example:443", "0x7f.1:443", "127.1:443", "https://a.example/"]
    {
        assert_eq!(of(uri, &[]), Err(Reason::BadRequest), "{uri}");
    }
}

#[test]
fn the_handshake_names_the_host() {
    let authority = |text: &str| Authority::parse(text, None).unwrap();
    let host = |text: &str| Host::parse(text).unwrap();
    let spoilt =
        |to: &str, sni: Option<&str>| Tie::over_tls(authority(to), sni.map(host).as_ref()).spoilt.is_some();
    assert!(!spoilt("a.example:443", Some("A.example")));
    assert!(spoilt("a.example:443", Some("b.example")));
    assert!(spoilt("a.example:443", None));
    assert!(!spoilt("1.2.3.4:443", None));
    assert!(spoilt("1.2.3.4:443", Some("a.example")));
}
