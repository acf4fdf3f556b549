//! What services, and whoever answers in their place, can do to a client.

use std::sync::Mutex;

use ftl_core::s3::{PART, Remote};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::dial::DialError;

/// What the server does with the next request.
#[derive(Clone)]
enum Next {
    /// Answers.
    Say(String),
    /// Writes this and closes the connection, without reading the request's body.
    Cut(String),
    /// Reads and says nothing.
    Hang,
}

/// A server that does what it is told, one request for each connection.
struct Site {
    endpoint: String,
    /// First lines of requests, with the length of the body.
    seen: Arc<Mutex<Vec<String>>>,
    /// Heads of requests.
    heads: Arc<Mutex<Vec<String>>>,
}

fn ok(body: &str) -> Next {
    with("200 OK", "", body)
}

fn with(status: &str, headers: &str, body: &str) -> Next {
    let length = body.len();
    Next::Say(format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, next: Next) -> (String, usize) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return (String::new(), 0);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    if let Next::Cut(text) = next {
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        return (head, 0);
    }
    let length =
        head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = bytes.len() - end;
    while body < length.unwrap_or(0) {
        bytes.clear();
        body += stream.read_buf(&mut bytes).await.unwrap();
    }
    match next {
        Next::Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
        _ => std::future::pending().await,
    }
    // The end of the stream says goodbye; whoever closes with bytes unread resets the connection.
    let _closed = stream.shutdown().await;
    (head, body)
}

impl Site {
    async fn serve(script: Vec<Next>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let site = Self { endpoint, seen: Arc::default(), heads: Arc::default() };
        let (seen, heads) = (Arc::clone(&site.seen), Arc::clone(&site.heads));
        tokio::spawn(async move {
            for next in script {
                let (stream, _) = listener.accept().await.unwrap();
                if matches!(next, Next::Hang) {
                    tokio::spawn(answer(stream, next));
                    seen.lock().unwrap().push("hang".into());
                    continue;
                }
                let (head, body) = answer(stream, next).await;
                seen.lock().unwrap().push(format!("{} {body}", head.lines().next().unwrap_or_default()));
                heads.lock().unwrap().push(head);
            }
        });
        site
    }

    fn client(&self) -> Arc<Client> {
        client(&self.endpoint, Vec::new(), Duration::from_secs(20))
    }

    /// A client that does not wait for long.
    fn hasty(&self) -> Arc<Client> {
        client(&self.endpoint, Vec::new(), Duration::from_millis(500))
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn client(endpoint: &str, roots: Vec<CertificateDer<'static>>, answer: Duration) -> Arc<Client> {
    let remote = Remote { url: "s3://one/p".into(), endpoint: Some(endpoint.into()), ..Remote::default() };
    let keys = KeyPair { id: "AKIATEST".into(), secret: "secret".into(), token: Some("token".into()) };
    let patience = Patience {
        connect: Duration::from_secs(20),
        answer,
        first: Duration::from_millis(1),
        share: Duration::from_secs(20),
    };
    let location = Location::read(&remote).unwrap();
    let now = Arc::new(|| 1_700_000_000);
    Arc::new(Client::new(Settings { location, keys, roots, patience, now }).unwrap())
}

fn busy() -> Next {
    with("503 Slow Down", "", "<Error><Code>SlowDown</Code><Message>wait</Message></Error>")
}

#[tokio::test]
async fn a_request_is_signed_and_sent_again_while_that_may_help() {
    let site = Site::serve(vec![busy(), Next::Cut(String::new()), ok("")]).await;
    site.client().put("p/a b", "body".into()).await.unwrap();
    let wanted = "PUT /one/p/a%20b HTTP/1.1 4";
    assert_eq!(site.seen()[2], wanted);
    let head = site.heads.lock().unwrap()[2].to_lowercase();
    for part in [
        "authorization: aws4-hmac-sha256 credential=akiatest/20231114/us-east-1/s3/aws4_request",
        "signedheaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token",
        "x-amz-security-token: token",
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }
    assert!(!head.contains("secret\r") && !head.contains("=secret"));

    let site = Site::serve(vec![busy(); 9]).await;
    let error = site.client().put("p/a", "body".into()).await.unwrap_err();
    assert_eq!((error.status(), site.seen().len()), (Some(StatusCode::SERVICE_UNAVAILABLE), 4));
    assert!(error.hint().contains("try again later"), "{}", error.hint());
}

#[tokio::test]
async fn a_service_that_says_nothing_is_given_up() {
    let site = Site::serve(vec![Next::Hang; 9]).await;
    let error = site.hasty().has("p/a").await.unwrap_err();
    assert!(matches!(error, S3Error::Slow(_)), "{error}");
    assert_eq!(site.seen().len(), 4);
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_owned();
    let site = Site::serve(vec![Next::Cut(head), Next::Hang, Next::Hang, Next::Hang, Next::Hang]).await;
    let mut download = site.hasty().get("p/a").await.unwrap().unwrap();
    assert_eq!(download.next().await.unwrap().unwrap(), "half");
    assert!(matches!(download.next().await, Err(S3Error::Slow(_))));
}

#[tokio::test]
async fn refusals_are_told_with_what_to_do_and_not_repeated() {
    let error = |code: &str| {
        format!("<Error><Code>{code}</Code><Message>a\u{1b}[2Jb</Message><Region>eu-west-9</Region></Error>")
    };
    for (status, code, hint) in [
        ("404 Not Found", "NoSuchBucket", "make the bucket"),
        ("403 Forbidden", "AccessDenied", "s3:ListBucket"),
        ("403 Forbidden", "SignatureDoesNotMatch", "secret set --global FTL_S3_ACCESS_KEY_ID"),
        ("403 Forbidden", "RequestTimeTooSkewed", "clock"),
        ("301 Moved Permanently", "PermanentRedirect", "the bucket is in eu-west-9"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "the bucket is in eu-west-9"),
    ] {
        let site = Site::serve(vec![with(status, "", &error(code)), ok("")]).await;
        let said = site.client().list("p/", "", 9).await.unwrap_err();
        assert!(said.hint().contains(hint), "{code}: {}", said.hint());
        let text = said.to_string();
        assert!(text.contains(code) && !text.contains('\u{1b}'), "{text}");
        assert_eq!(site.seen().len(), 1);
        let missing = Site::serve(vec![with(status, "", &error(code))]).await.client().get("p/a").await;
        assert!(missing.is_err(), "{code}");
    }
    let site = Site::serve(vec![with("404 Not Found", "", &error("NoSuchKey"))]).await;
    assert!(site.client().get("p/a").await.unwrap().is_none());
    let nobody =
        client("http://127.0.0.1:1", Vec::new(), Duration::from_secs(20)).has("p/a").await.unwrap_err();
    assert!(
        matches!(nobody, S3Error::Dial(DialError::Unreachable { .. })) && nobody.hint().contains("endpoint"),
        "{nobody}"
    );
}

#[tokio::test]
async fn listings_that_nobody_asked_for_are_refused() {
    let page = |keys: &[&str], more: bool| {
        let keys: String = keys.iter().map(|key| format!("<Contents><Key>{key}</Key></Contents>")).collect();
        ok(&format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{keys}</ListBucketResult>"))
    };
    let site = Site::serve(vec![page(&["p/b", "p/c"], true)]).await;
    let found = site.client().list("p/", "p/a", 2).await.unwrap();
    assert_eq!((found.keys.as_slice(), found.more), (&["p/b".to_owned(), "p/c".to_owned()][..], true));
    assert_eq!(site.seen(), ["GET /one/?list-type=2&max-keys=2&prefix=p%2F&start-after=p%2Fa HTTP/1.1 0"]);
    let huge = "x".repeat(LONGEST_ANSWER + 1);
    for bad in [
        page(&["p/c", "p/b"], false),
        page(&["p/a"], false),
        page(&["p/b", "p/b"], false),
        page(&["q/b"], false),
        page(&[], true),
        ok("<html>welcome to the hotel</html>"),
        ok(&huge),
        with("200 OK", "content-encoding: gzip\r\n", "\u{1f}"),
    ] {
        let site = Site::serve(vec![bad]).await;
        let error = site.client().list("p/", "p/a", 9).await.unwrap_err();
        assert!(matches!(error, S3Error::Nonsense(_) | S3Error::Xml(_)), "{error}");
    }
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let head = "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-length: 9\r\n\r\nfirst".to_owned();
    let rest = with("206 Partial Content", "content-range: bytes 5-8/9\r\n", "last");
    let site = Site::serve(vec![Next::Cut(head.clone()), busy(), rest]).await;
    let mut download = site.client().get("p/a").await.unwrap().unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = download.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes, b"firstlast");
    let second = site.heads.lock().unwrap()[2].to_lowercase();
    assert!(second.contains("range: bytes=5-\r") && second.contains("if-match: \"v1\""), "{second}");
    // From the beginning, or another version: neither is what was asked for.
    for wrong in [ok("firstlast"), with("412 Precondition Failed", "", "")] {
        let site = Site::serve(vec![Next::Cut(head.clone()), wrong]).await;
        let mut download = site.client().get("p/a").await.unwrap().unwrap();
        download.next().await.unwrap();
        assert!(download.next().await.is_err());
    }
}

#[tokio::test]
async fn an_object_that_comes_too_slowly_is_given_up() {
    let head = "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-length: 9\r\n\r\nfirst".to_owned();
    let site = Site::serve(vec![Next::Cut(head), Next::Hang]).await;
    let mut client = site.client();
    Arc::get_mut(&mut client).unwrap().patience.share = Duration::from_millis(100);
    let mut download = client.get("p/a").await.unwrap().unwrap();
    let error = loop {
        match download.next().await {
            Ok(piece) => assert!(piece.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, S3Error::Slow("the object")), "{error}");
}

#[tokio::test]
async fn an_upload_survives_a_cut_part_and_a_lost_answer() {
    let begun =
        ok("<InitiateMultipartUploadResult><UploadId>u&amp;1</UploadId></InitiateMultipartUploadResult>");
    let part = with("200 OK", "etag: \"t1\"\r\n", "");
    let gone = with("404 Not Found", "", "<Error><Code>NoSuchUpload</Code></Error>");
    let failing = ok("<Error><Code>InternalError</Code><Message>try again</Message></Error>");
    let script = vec![begun, Next::Cut(String::new()), part, failing, Next::Cut(String::new()), gone, ok("")];
    let site = Site::serve(script).await;
    let client = site.client();
    let mut upload = client.upload("p/a").await.unwrap();
    upload.part(vec![7; PART].into()).await.unwrap();
    upload.complete().await.unwrap();
    let seen = site.seen();
    assert_eq!(seen[2], format!("PUT /one/p/a?partNumber=1&uploadId=u%261 HTTP/1.1 {PART}"));
    assert!(seen[5].starts_with("POST /one/p/a?uploadId=u%261 ") && seen[6].starts_with("HEAD "), "{seen:?}");

    let begun = ok("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>");
    let site = Site::serve(vec![begun, ok(""), with("204 No Content", "", "")]).await;
    let client = site.client();
    let mut upload = client.upload("p/a").await.unwrap();
    assert!(matches!(upload.part("x".into()).await, Err(S3Error::Nonsense(_))));
    upload.abort().await.unwrap();
    assert!(site.seen()[2].starts_with("DELETE /one/p/a?uploadId=u "));
}

#[tokio::test]
async fn over_tls_only_a_trusted_certificate_counts() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![der.clone()], key)
            .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, ok("")).await;
            }
        }
    });
    assert!(client(&endpoint, vec![der], Duration::from_secs(20)).has("p/a").await.unwrap());
    let error = client(&endpoint, Vec::new(), Duration::from_secs(20)).has("p/a").await.unwrap_err();
    assert!(
        matches!(error, S3Error::Dial(DialError::Certificate { .. })) && error.hint().contains("authority"),
        "{error}"
    );
}
