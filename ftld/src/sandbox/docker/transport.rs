//! Reaches an engine: one connection for each request, with a limit for how long connecting may take.
//!
//! Owns sockets and TLS. Must not know what is asked. A connection for each request costs little on a
//! socket, and an engine that was started again is found without anything to be mended.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::BollardRequest;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::{Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::endpoint::Way;

/// No connection was made: the engine has heard nothing.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
pub(super) struct Unreached(#[source] pub(super) io::Error);

/// The way to one engine, ready to be used.
#[derive(Clone)]
pub(super) struct Transport {
    way: Arc<Way>,
    tls: Option<TlsConnector>,
    patience: Duration,
}

/// A connection of any kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Transport {
    /// Prepares the way; `patience` is how long connecting may take.
    ///
    /// # Errors
    /// When the certificates of a TLS engine cannot be used.
    pub(super) fn new(way: Way, patience: Duration) -> io::Result<Self> {
        let tls = match &way {
            Way::Tls { files, .. } => Some(TlsConnector::from(Arc::new(client(files)?))),
            Way::Unix(_) | Way::Plain { .. } => None,
        };
        Ok(Self { way: Arc::new(way), tls, patience })
    }

    /// Sends a request over a connection of its own.
    ///
    /// # Errors
    /// `IOError` with [`Unreached`] in it when no connection is made, hyper's otherwise.
    pub(super) async fn send(
        self,
        mut request: BollardRequest,
    ) -> Result<Response<Incoming>, bollard::errors::Error> {
        let connecting = tokio::time::timeout(self.patience, self.connect()).await;
        let stream = connecting
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| io::Error::new(error.kind(), Unreached(error)))?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        *request.uri_mut() = path.parse::<Uri>()?;
        request.headers_mut().insert(HOST, HeaderValue::from_static("engine"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer's body, or when an upgraded stream is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the container engine broke");
            }
        });
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &*self.way {
            Way::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Way::Plain { host, port } => Box::new(tcp(host, *port).await?),
            Way::Tls { host, port, .. } => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let none = || io::Error::other("no certificates");
                let tls = self.tls.as_ref().ok_or_else(none)?;
                Box::new(tls.connect(name, tcp(host, *port).await?).await?)
            }
        })
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The TLS client of a directory with `ca.pem`, `cert.pem` and `key.pem`. Only that authority is believed.
fn client(files: &Path) -> io::Result<ClientConfig> {
    let wrong = |name: &str| {
        let path = files.join(name);
        move |error: rustls_pki_types::pem::Error| io::Error::other(format!("{}: {error}", path.display()))
    };
    let certificates = |name: &str| {
        CertificateDer::pem_file_iter(files.join(name))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(wrong(name))
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca.pem")? {
        roots.add(certificate).map_err(io::Error::other)?;
    }
    let key = PrivateKeyDer::from_pem_file(files.join("key.pem")).map_err(wrong("key.pem"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates("cert.pem")?, key)
        .map_err(io::Error::other)
}
