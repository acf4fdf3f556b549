//! Connections to a model's service.
//!
//! Owns how one is opened: to the one host of the endpoint, over TLS, or without it to this machine only. One
//! connection serves one attempt. Must not know keys or what is asked for.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ftl_core::egress::host::{Authority, Host};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::LlmError;

/// The way to one host.
pub(super) struct Wire {
    authority: Authority,
    tls: Option<TlsConnector>,
}

/// The most bytes of an answer's head.
const LONGEST_HEAD: usize = 64 * 1024;

impl Wire {
    /// Over TLS when there are `roots`, which count beside the host's own.
    pub(super) fn new(
        authority: Authority,
        roots: Option<Vec<CertificateDer<'static>>>,
    ) -> Result<Self, LlmError> {
        let tls = roots.map(|roots| connector(&authority, roots)).transpose()?;
        Ok(Self { authority, tls })
    }

    /// A new connection.
    pub(super) async fn open(&self) -> Result<SendRequest<Full<Bytes>>, LlmError> {
        let stream = self.dial().await?;
        let Some(tls) = &self.tls else { return shake(stream).await };
        let host = || self.authority.to_string();
        let name = match &self.authority.host {
            Host::Ip(address) => Ok(ServerName::from(*address)),
            Host::Dns(name) => ServerName::try_from(name.as_str().to_owned()),
        };
        let name =
            name.map_err(|error| LlmError::Handshake { host: host(), source: io::Error::other(error) })?;
        let stream = tls.connect(name, stream).await.map_err(|source| refused_by_tls(host(), source))?;
        shake(stream).await
    }

    async fn dial(&self) -> Result<TcpStream, LlmError> {
        let host = || self.authority.to_string();
        let unreachable = |source| LlmError::Unreachable { host: host(), source };
        let port = self.authority.port;
        let addresses: Vec<_> = match &self.authority.host {
            Host::Ip(address) => vec![(*address, port).into()],
            Host::Dns(name) => {
                tokio::net::lookup_host((name.as_str(), port)).await.map_err(unreachable)?.collect()
            }
        };
        let mut failed = LlmError::Unreachable { host: host(), source: io::ErrorKind::NotFound.into() };
        for address in addresses {
            // What a name of this machine leads to is looked at, not believed.
            if self.tls.is_none() && !address.ip().is_loopback() {
                failed = LlmError::Elsewhere { host: host() };
                continue;
            }
            match TcpStream::connect(address)
                .await
                .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            {
                Ok(stream) => return Ok(stream),
                Err(source) => failed = unreachable(source),
            }
        }
        Err(failed)
    }
}

async fn shake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<SendRequest<Full<Bytes>>, LlmError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LONGEST_HEAD);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(LlmError::Broken)?;
    tokio::spawn(async move {
        // What goes wrong is told to whoever waits for an answer; when nobody does any more, it ends.
        let _ended = connection.await;
    });
    Ok(sender)
}

fn connector(authority: &Authority, extra: Vec<CertificateDer<'static>>) -> Result<TlsConnector, LlmError> {
    let mut roots = RootCertStore::empty();
    // What cannot be read is one less to trust; the others still count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs.into_iter().chain(extra));
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| LlmError::Certificate { host: authority.to_string(), source })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn refused_by_tls(host: String, source: io::Error) -> LlmError {
    match source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(refused @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) => {
            LlmError::Certificate { host, source: refused.clone() }
        }
        _ => LlmError::Handshake { host, source },
    }
}
