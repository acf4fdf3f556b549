//! Fetching from registries and through proxies of the tests' own.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::net::TcpListener;

use super::*;

/// A server that answers each connection with the next of these, and what it was asked.
struct Site {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Site {
    async fn new(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                seen.lock().unwrap().push(String::from_utf8(head).unwrap());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn moved(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

fn reach(pairs: &[(&str, String)]) -> Reach {
    let proxies: BTreeMap<_, _> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Reach { proxies, ..Reach::default() }
}

async fn get(reach: &Reach, address: &str) -> Result<Vec<u8>, FetchError> {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("package");
    let hash = fetch(reach, address, &to, &mut |_, _| {}).await?;
    let bytes = std::fs::read(to).unwrap();
    assert_eq!(hash, <[u8; 64]>::from(Sha512::digest(&bytes)));
    Ok(bytes)
}

#[tokio::test]
async fn a_package_comes_by_redirections_and_through_a_proxy() {
    let site = Site::new(vec![moved("/b"), ok("package")]).await;
    assert_eq!(get(&Reach::default(), &format!("http://{}/a", site.address)).await.unwrap(), b"package");
    assert!(site.heads()[0].starts_with("GET /a ") && site.heads()[1].starts_with("GET /b "));

    let proxy = Site::new(vec![ok("by proxy")]).await;
    let by_proxy = reach(&[("HTTP_PROXY", format!("http://{}", proxy.address))]);
    assert_eq!(get(&by_proxy, "http://registry.example/x").await.unwrap(), b"by proxy");
    assert!(proxy.heads()[0].starts_with("GET http://registry.example/x "), "{:?}", proxy.heads());
    // With TLS it is asked to connect, and to nothing else.
    let proxy = Site::new(vec!["HTTP/1.1 403 Forbidden\r\n\r\n".to_owned()]).await;
    let by_proxy = reach(&[("https_proxy", proxy.address.clone())]);
    let error = get(&by_proxy, "https://registry.example/x").await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
    assert_eq!(
        proxy.heads(),
        ["CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n"]
    );
}

#[tokio::test]
async fn what_is_no_package_is_an_error() {
    let site = Site::new(vec!["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned()]).await;
    let error = get(&Reach::default(), &format!("http://{}/a", site.address)).await.unwrap_err();
    assert!(error.to_string().contains("404 Not Found"), "{error}");
    let round: Vec<String> = (0..9).map(|_| moved("/again")).collect();
    let site = Site::new(round).await;
    let error = get(&Reach::default(), &format!("http://{}/a", site.address)).await.unwrap_err();
    assert!(error.to_string().contains("508"), "{error}");
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_owned();
    let site = Site::new(vec![cut]).await;
    let error = get(&Reach::default(), &format!("http://{}/a", site.address)).await.unwrap_err();
    assert!(matches!(error, FetchError::Broken { .. }), "{error:?}");
    // No registry speaks TLS there.
    let site = Site::new(vec![]).await;
    let error = get(&Reach::default(), &format!("https://{}/a", site.address)).await.unwrap_err();
    assert!(matches!(error, FetchError::Tls { .. } | FetchError::Unreachable { .. }), "{error:?}");
    for (proxy, is) in [("socks5://p:1", true), ("https://p:1", true)] {
        let error = get(&reach(&[("http_proxy", proxy.to_owned())]), "http://x/y").await.unwrap_err();
        assert_eq!(matches!(error, FetchError::Proxy { .. }), is, "{error:?}");
    }
}

#[test]
fn redirections_keep_tls_and_lists_are_read_as_elsewhere() {
    let target = Target::parse("https://registry.example:8443/a").unwrap();
    assert_eq!(target.redirected("/b").unwrap().uri.to_string(), "https://registry.example:8443/b");
    assert!(target.redirected("https://other.example/b").is_ok());
    assert!(target.redirected("http://registry.example/b").is_err());
    assert!(Target::parse("ftp://x/y").is_err() && Target::parse("/y").is_err());
    for (list, is) in [
        ("*", true),
        ("registry.example", true),
        (".example", true),
        ("*.example", true),
        ("example", true),
        ("gistry.example", false),
        ("registry.example:8443", true),
        ("registry.example:443", false),
        ("localhost, 127.0.0.1", false),
    ] {
        assert_eq!(is_listed(list, &target), is, "{list}");
    }
}
