//! Fetches a package: one GET by the daemon itself, into a file.
//!
//! Owns the way to a registry as the human's environment describes it: proxies, certificate authorities,
//! redirections. Must not know what is fetched; whoever asks compares the hash that is returned. No program
//! of an image has a part in it, so none needs a network.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, LOCATION};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest as _, Sha512};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::recipe::Reach;

/// How long a connection, a handshake, an answer or its next piece may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often an answer may send somewhere else.
const MOST_REDIRECTIONS: usize = 5;

/// The longest package, bytes.
const LONGEST: u64 = 1 << 30;

/// The longest answer of a proxy, bytes.
const LONGEST_HEAD: usize = 8 << 10;

/// Why a package did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none, or of another kind.
    #[error("{address:?} cannot be fetched")]
    Address {
        /// It.
        address: String,
    },
    /// The proxy is of a kind that is not spoken.
    #[error("the proxy {address:?} is no HTTP proxy")]
    Proxy {
        /// Its address.
        address: String,
    },
    /// Nobody takes the connection.
    #[error("cannot connect to {host}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// TLS fails; most often the certificate is one of an authority that nobody named.
    #[error("the TLS handshake with {host} fails")]
    Tls {
        /// Host.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer is no package.
    #[error("{host} answers {status}")]
    Status {
        /// Who.
        host: String,
        /// What.
        status: StatusCode,
    },
    /// The exchange breaks off.
    #[error("the exchange with {host} breaks off")]
    Broken {
        /// With whom.
        host: String,
        /// How.
        #[source]
        source: hyper::Error,
    },
    /// It takes too long.
    #[error("{host} did not answer for {} seconds", PATIENCE.as_secs())]
    Slow {
        /// Who.
        host: String,
    },
    /// It is longer than any package.
    #[error("{host} sends more than {} MiB", LONGEST >> 20)]
    Long {
        /// Who.
        host: String,
    },
    /// The certificates cannot be read.
    #[error("cannot read the certificates that SSL_CERT_FILE names, {}", path.display())]
    Authorities {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The package cannot be kept.
    #[error("cannot write {}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A connection of any kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where a request goes.
struct Target {
    uri: Uri,
    host: String,
    port: u16,
    is_tls: bool,
}

/// Fetches `address` into a new file and gives the SHA-512 of what came. `hear` is told how many bytes came, and
/// of how many; 0 when that is not known.
///
/// # Errors
/// When it does not come, or cannot be kept.
pub(super) async fn fetch(
    reach: &Reach,
    address: &str,
    to: &Path,
    hear: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<[u8; 64], FetchError> {
    let tls = connector(reach.authorities.as_deref())?;
    let mut target = Target::parse(address)?;
    for _ in 0..=MOST_REDIRECTIONS {
        let answer = patiently(&target.host, ask(reach, &tls, &target)).await??;
        let status = answer.status();
        if status.is_success() {
            return keep(answer, &target.host, to, hear).await;
        }
        let next = answer.headers().get(LOCATION).and_then(|next| next.to_str().ok());
        target = match next.filter(|_| status.is_redirection()) {
            Some(next) => target.redirected(next)?,
            None => return Err(FetchError::Status { host: target.host, status }),
        };
    }
    Err(FetchError::Status { host: target.host, status: StatusCode::LOOP_DETECTED })
}

async fn patiently<T>(host: &str, work: impl Future<Output = T>) -> Result<T, FetchError> {
    timeout(PATIENCE, work).await.map_err(|_| FetchError::Slow { host: host.to_owned() })
}

impl Target {
    fn parse(address: &str) -> Result<Self, FetchError> {
        let bad = || FetchError::Address { address: address.to_owned() };
        let uri: Uri = address.parse().map_err(|_| bad())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?.to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { uri, host, port, is_tls })
    }

    /// Where an answer sends; never from TLS to none.
    fn redirected(&self, next: &str) -> Result<Self, FetchError> {
        let scheme = if self.is_tls { "https" } else { "http" };
        let next = match next {
            path if path.starts_with('/') && !path.starts_with("//") => {
                format!("{scheme}://{}:{}{path}", self.host, self.port)
            }
            whole => whole.to_owned(),
        };
        match Self::parse(&next)? {
            target if self.is_tls && !target.is_tls => Err(FetchError::Address { address: next }),
            target => Ok(target),
        }
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

async fn ask(
    reach: &Reach,
    tls: &TlsConnector,
    target: &Target,
) -> Result<http::Response<Incoming>, FetchError> {
    let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
    let proxy = proxy(reach, target)?;
    let (stream, asked): (Box<dyn Stream>, String) = match (proxy, target.is_tls) {
        (None, false) => (Box::new(dial(&target.host, target.port).await?), path.to_owned()),
        (Some((host, port)), false) => (Box::new(dial(&host, port).await?), target.uri.to_string()),
        (proxy, true) => {
            let below = match proxy {
                None => dial(&target.host, target.port).await?,
                Some((host, port)) => tunnel(dial(&host, port).await?, &host, target).await?,
            };
            let failed = |source| FetchError::Tls { host: target.host.clone(), source };
            let name = target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(name).map_err(|error| failed(io::Error::other(error)))?;
            (Box::new(tls.connect(name, below).await.map_err(failed)?), path.to_owned())
        }
    };
    let broken = |source| FetchError::Broken { host: target.host.clone(), source };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        // What goes wrong is told to whoever waits for the answer.
        let _ended = connection.await;
    });
    let request = Request::get(asked)
        .header(HOST, target.authority())
        .header("user-agent", "ftl")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Address { address: target.uri.to_string() })?;
    sender.send_request(request).await.map_err(broken)
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, FetchError> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let failed = |source| FetchError::Unreachable { host: format!("{host}:{port}"), source };
    TcpStream::connect((name, port)).await.map_err(failed)
}

/// Has a proxy connect to the target.
async fn tunnel(mut proxy: TcpStream, host: &str, target: &Target) -> Result<TcpStream, FetchError> {
    let to = target.authority();
    let failed = |source| FetchError::Unreachable { host: format!("{to} by the proxy {host}"), source };
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    proxy.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_HEAD {
            return Err(failed(io::ErrorKind::InvalidData.into()));
        }
        // What follows the head is the target's already.
        head.push(proxy.read_u8().await.map_err(failed)?);
    }
    let head = String::from_utf8_lossy(&head);
    let first = head.lines().next().unwrap_or_default();
    match first.split(' ').nth(1) {
        Some("200") => Ok(proxy),
        _ => Err(failed(io::Error::other(format!("it answers {first:?}")))),
    }
}

/// The proxy that the environment names for a target.
fn proxy(reach: &Reach, target: &Target) -> Result<Option<(String, u16)>, FetchError> {
    let get = |name: &str| reach.proxies.get(name).or_else(|| reach.proxies.get(&name.to_uppercase()));
    let name = if target.is_tls { "https_proxy" } else { "http_proxy" };
    let Some(address) = get(name) else { return Ok(None) };
    if get("no_proxy").is_some_and(|list| is_listed(list, target)) {
        return Ok(None);
    }
    let bad = || FetchError::Proxy { address: address.clone() };
    let whole = if address.contains("://") { address.clone() } else { format!("http://{address}") };
    let uri: Uri = whole.parse().map_err(|_| bad())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(host)) => Ok(Some((host.to_owned(), uri.port_u16().unwrap_or(80)))),
        _ => Err(bad()),
    }
}

/// Whether a list of names without a proxy has the target: a name and all beneath it, or everything.
fn is_listed(list: &str, target: &Target) -> bool {
    let host = target.host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') => (name.to_owned(), port.parse::<u16>().ok()),
            _ => (entry.clone(), None),
        };
        let name = name.trim_start_matches("*.").trim_start_matches('.');
        let fits = entry == "*" || host == name || host.ends_with(&format!(".{name}"));
        fits && port.is_none_or(|port| port == target.port)
    })
}

async fn keep(
    mut answer: http::Response<Incoming>,
    host: &str,
    to: &Path,
    hear: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<[u8; 64], FetchError> {
    let failed = |source| FetchError::File { path: to.to_owned(), source };
    let length = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut file = tokio::fs::File::create_new(to).await.map_err(failed)?;
    let (mut hasher, mut came) = (Sha512::new(), 0_u64);
    while let Some(frame) = patiently(host, answer.body_mut().frame()).await? {
        let frame = frame.map_err(|source| FetchError::Broken { host: host.to_owned(), source })?;
        let Ok(data) = frame.into_data() else { continue };
        came += data.len() as u64;
        if came > LONGEST {
            return Err(FetchError::Long { host: host.to_owned() });
        }
        hasher.update(&data);
        file.write_all(&data).await.map_err(failed)?;
        hear(came, length.unwrap_or(0));
    }
    file.flush().await.map_err(failed)?;
    Ok(hasher.finalize().into())
}

/// What is believed: the authorities that the human names, else the machine's.
fn connector(authorities: Option<&Path>) -> Result<TlsConnector, FetchError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let failed = |error| FetchError::Authorities {
                path: path.to_owned(),
                source: io::Error::other(format!("{error}")),
            };
            let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect)
                .map_err(|error: rustls_pki_types::pem::Error| failed(error))?;
            roots.add_parsable_certificates(certificates);
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Tls { host: String::new(), source: io::Error::other(error) })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests;
