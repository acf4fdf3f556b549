//! Tests of upstream HTTP.

mod close;
mod reuse;

use std::convert::Infallible;
use std::sync::Mutex;

use ftl_core::egress::rule::Scheme as RuleScheme;
use http::{HeaderMap, StatusCode};
use http_body_util::Full;

use super::*;
use crate::egress::alpn::Alpn;
use crate::egress::dial::DialConfig;
use crate::egress::testing::{Answer, Script, Site, World, authority, permit};

/// Longer than any test takes.
const PATIENT: Duration = Duration::from_secs(20);

/// The connections of one session, whose hosts these sites are.
fn upstream(world: &World, sites: &[(&str, &Site)]) -> Upstream {
    let connect_to = sites.iter().map(|(name, site)| (authority(name), site.address)).collect();
    let config = DialConfig { roots: vec![world.root.clone()], connect_to };
    Upstream::new(Arc::new(Dialer::with_resolver(config, Script::new(&[], &[]))))
}

fn https(to: &str) -> Route {
    Route::new(&permit(RuleScheme::Https, to, &[&format!("allow {to}")]), Alpn::Any)
}

fn http(to: &str) -> Route {
    Route::new(&permit(RuleScheme::Http, to, &[&format!("allow {to}")]), Alpn::Any)
}

fn get(uri: &str) -> Request<Outgoing> {
    Request::get(uri).body(empty()).unwrap()
}

fn post(uri: &str, body: &'static str) -> Request<Outgoing> {
    Request::post(uri).body(Full::from(body).map_err(|never| match never {}).boxed_unsync()).unwrap()
}

fn text(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).boxed_unsync())
}

/// Sends, and reads the response to its end.
async fn ask(upstream: &Upstream, route: &Route, request: Request<Outgoing>) -> (StatusCode, String) {
    let response = upstream.exchange(route, request, PATIENT, &|| ()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// A host that says over which connection it was asked.
async fn numbered(world: &World, alpn: Alpn) -> Site {
    let tls = world.config(&["a.example.com"], 4000, alpn);
    Site::serve(Some(tls), |_, number| async move { text(number.to_string()) }).await
}

type Heads = Arc<Mutex<Vec<(Version, String, HeaderMap)>>>;

/// A host that records the heads of what it is asked.
async fn recording(tls: Option<Arc<rustls::ServerConfig>>) -> (Site, Heads) {
    let heads = Heads::default();
    let recorded = Arc::clone(&heads);
    let site = Site::serve(tls, move |request, _| {
        let head = (request.version(), request.uri().to_string(), request.headers().clone());
        recorded.lock().unwrap().push(head);
        async {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            text(body)
        }
    });
    (site.await, heads)
}

#[tokio::test]
async fn a_request_is_addressed_to_the_routes_host_whatever_it_says() {
    let world = World::new();
    for (alpn, version, uri, host) in [
        (Alpn::Any, Version::HTTP_2, "https://a.example.com:8443/p?q=1", None),
        (Alpn::Http1, Version::HTTP_11, "/p?q=1", Some("a.example.com:8443")),
    ] {
        let (site, heads) = recording(Some(world.config(&["a.example.com"], 4000, alpn))).await;
        let upstream = upstream(&world, &[("a.example.com:8443", &site)]);
        let mut request = post("http://evil.example.org:99/p?q=1", "body");
        request.headers_mut().insert("host", HeaderValue::from_static("evil.example.org"));
        request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
        request.headers_mut().insert("x-kept", HeaderValue::from_static("1"));
        let answer = ask(&upstream, &https("a.example.com:8443"), request).await;
        assert_eq!(answer, (StatusCode::OK, "body".to_owned()));
        let heads = heads.lock().unwrap();
        let (seen_version, seen_uri, headers) = &heads[0];
        assert_eq!((*seen_version, seen_uri.as_str()), (version, uri));
        assert_eq!(headers.get("host").map(|host| host.to_str().unwrap()), host);
        assert_eq!(headers.get("content-length").map(|length| length.to_str().unwrap()), Some("4"));
        assert!(!headers.contains_key("expect") && headers.contains_key("x-kept"));
    }
}

#[tokio::test]
async fn the_usual_port_is_not_named() {
    let world = World::new();
    let (plain, heads) = recording(None).await;
    let upstream = upstream(&world, &[("a.example.com:80", &plain)]);
    ask(&upstream, &http("a.example.com:80"), get("/")).await;
    assert_eq!(heads.lock().unwrap()[0].2.get("host").unwrap(), "a.example.com");
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let world = World::new();
    let site = Site::serve(Some(world.good("a.example.com")), |_, _| async {
        Response::builder()
            .status(302)
            .header("location", "https://a.example.com/b")
            .body(text("").into_body())
            .unwrap()
    })
    .await;
    let upstream = upstream(&world, &[("a.example.com:443", &site)]);
    let response = upstream.exchange(&https("a.example.com:443"), get("/a"), PATIENT, &|| ()).await.unwrap();
    assert_eq!(response.status(), 302);
    assert_eq!(response.headers().get("location").unwrap(), "https://a.example.com/b");
}

#[tokio::test]
async fn a_tunnel_is_refused_before_anything_is_dialled() {
    let world = World::new();
    let site = numbered(&world, Alpn::Any).await;
    let upstream = upstream(&world, &[("a.example.com:443", &site)]);
    let request = Request::connect("a.example.com:443").body(empty()).unwrap();
    let refused = upstream.exchange(&https("a.example.com:443"), request, PATIENT, &|| ()).await.unwrap_err();
    assert_eq!((refused.reason(), site.connections()), (Reason::Unsupported, 0));
}

#[tokio::test]
async fn trailers_arrive() {
    let world = World::new();
    let site = Site::serve(Some(world.good("a.example.com")), |request, _| async {
        let sent = request.into_body().collect().await.unwrap();
        let trailers = sent.trailers().cloned().unwrap_or_default();
        Response::new(Full::from("x").with_trailers(async { Some(Ok(trailers)) }).boxed_unsync())
    })
    .await;
    let upstream = upstream(&world, &[("a.example.com:443", &site)]);
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), "0".parse().unwrap())]);
    let sent = trailers.clone();
    let body = Full::from("x").with_trailers(async { Some(Ok::<_, Infallible>(sent)) });
    let body = body.map_err(|never| match never {}).boxed_unsync();
    let request = Request::post("/").body(body).unwrap();
    let response = upstream.exchange(&https("a.example.com:443"), request, PATIENT, &|| ()).await.unwrap();
    let got = response.into_body().collect().await.unwrap();
    assert_eq!(got.trailers(), Some(&trailers));
}

#[tokio::test]
async fn the_head_of_a_response_has_a_limit() {
    let world = World::new();
    for (alpn, headers, length) in [(Alpn::Any, 3, 40_000), (Alpn::Http1, 3, 40_000), (Alpn::Http1, 200, 1)] {
        let tls = world.config(&["a.example.com"], 4000, alpn);
        let site = Site::serve(Some(tls), move |_, _| async move {
            let mut answer = text("");
            for place in 0..headers {
                let name = http::HeaderName::try_from(format!("x-{place}")).unwrap();
                answer.headers_mut().insert(name, "v".repeat(length).parse().unwrap());
            }
            answer
        })
        .await;
        let upstream = upstream(&world, &[("a.example.com:443", &site)]);
        let failed = upstream.exchange(&https("a.example.com:443"), get("/"), PATIENT, &|| ()).await;
        assert!(matches!(failed, Err(UpstreamError::Broken(_))), "{alpn:?} {headers}: {failed:?}");
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_given_up() {
    let world = World::new();
    for alpn in [Alpn::Any, Alpn::Http1] {
        let tls = world.config(&["a.example.com"], 4000, alpn);
        let site = Site::serve(Some(tls), |_, _| std::future::pending()).await;
        let upstream = upstream(&world, &[("a.example.com:443", &site)]);
        let patience = Duration::from_millis(20);
        let failed = upstream.exchange(&https("a.example.com:443"), get("/"), patience, &|| ()).await;
        assert_eq!(failed.unwrap_err().reason(), Reason::Timeout, "{alpn:?}");
    }
}

#[tokio::test]
async fn patience_begins_anew_with_every_piece_of_the_body() {
    let taken = AtomicU64::new(0);
    let patience = Duration::from_millis(1);
    // Nothing wakes this but the end of a wait, so it lasts for more than one of them.
    let mut polls = 0;
    let uploading = std::future::poll_fn(|_| {
        taken.fetch_add(1, Ordering::Relaxed);
        polls += 1;
        if polls < 9 { Poll::Pending } else { Poll::Ready(()) }
    });
    assert!(patiently(patience, &taken, uploading).await.is_ok());
    let stuck = patiently(patience, &taken, std::future::pending::<()>()).await;
    assert!(matches!(stuck, Err(UpstreamError::Timeout)));
}

#[tokio::test]
async fn no_certificate_no_request() {
    let (world, stranger) = (World::new(), World::new());
    let (site, heads) = recording(Some(stranger.good("a.example.com"))).await;
    let upstream = upstream(&world, &[("a.example.com:443", &site)]);
    let failed = upstream.exchange(&https("a.example.com:443"), get("/"), PATIENT, &|| ()).await.unwrap_err();
    assert_eq!(failed.reason(), Reason::UpstreamCertificate);
    assert!(heads.lock().unwrap().is_empty());
}
