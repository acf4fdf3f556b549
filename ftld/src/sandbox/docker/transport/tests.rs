//! An engine on the network: both sides show who they are, or nothing is said.

use bollard::body_full;
use http_body_util::BodyExt as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An authority that signs for both sides.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn leaf(&self, name: &str) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Leaf { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    /// The directory of a client that believes this authority and shows `client`.
    fn files(&self, client: &Leaf) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("ca.pem", &self.pem),
            ("cert.pem", &client.certificate.pem()),
            ("key.pem", &client.key.serialize_pem()),
        ];
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }
}

/// An engine that answers everybody whom `authority` has signed for with `pong`; its port.
async fn engine(authority: &Authority) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let leaf = authority.leaf("localhost");
    let key = PrivatePkcs8KeyDer::from(leaf.key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![leaf.certificate.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 1024];
            let _read = stream.read(&mut request).await;
            let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong").await;
        }
    });
    port
}

async fn ask(port: u16, files: &Path) -> Result<String, bollard::errors::Error> {
    let way = Way::Tls { host: "localhost".to_owned(), port, files: files.to_owned() };
    let transport = Transport::new(way, Duration::from_secs(10)).unwrap();
    let request = hyper::Request::get("/_ping").body(body_full("".into())).unwrap();
    let response = transport.speaking("1.41").send(request).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn an_engine_with_tls_answers_whom_it_knows_and_is_believed_when_it_is_known() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let port = engine(&ours).await;
    let known = ours.files(&ours.leaf("client"));
    assert_eq!(ask(port, known.path()).await.unwrap(), "pong");
    // Signed by somebody else: the engine does not answer.
    let unknown = ours.files(&theirs.leaf("client"));
    assert!(ask(port, unknown.path()).await.is_err());
    // Another authority is believed: the engine could be anybody.
    let misled = theirs.files(&ours.leaf("client"));
    let error = ask(port, misled.path()).await.unwrap_err();
    let bollard::errors::Error::IOError { err } = error else { panic!("{error:?}") };
    assert!(err.get_ref().unwrap().is::<Unreached>(), "{err:?}");
}

#[test]
fn certificates_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let way = Way::Tls { host: "localhost".to_owned(), port: 1, files: dir.path().to_owned() };
    let error = Transport::new(way, Duration::from_secs(1)).err().unwrap();
    assert!(error.to_string().contains("ca.pem"), "{error}");
}
