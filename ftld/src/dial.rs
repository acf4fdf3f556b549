//! Connections of the daemon's own: to one host that the human has named.
//!
//! Owns how one is opened: over TLS with the host's roots and those that were given, or without it to this machine
//! only. Must not know what is spoken, or keys. What agents connect to is the proxy's (`egress`).

use std::io;
use std::sync::Arc;

use ftl_core::egress::host::{Authority, Host};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The way to one host.
pub struct Dialer {
    authority: Authority,
    tls: Option<TlsConnector>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody takes the connection.
    #[error("cannot connect to {host}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Without TLS, and not this machine.
    #[error("{host} is not this machine, and without TLS no other is spoken to")]
    Elsewhere {
        /// Host and port.
        host: String,
    },
    /// The certificate is not one for the host.
    #[error("the certificate of {host} is refused")]
    Certificate {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// TLS fails for another reason.
    #[error("the TLS handshake with {host} fails")]
    Handshake {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Dialer {
    /// Over TLS when there are `roots`, which count beside the host's own.
    ///
    /// # Errors
    /// When TLS cannot be prepared.
    pub fn new(authority: Authority, roots: Option<Vec<CertificateDer<'static>>>) -> Result<Self, DialError> {
        let tls = roots.map(|roots| connector(&authority, roots)).transpose()?;
        Ok(Self { authority, tls })
    }

    /// Whether a connection is to be secured by [`Self::secure`] before anything is said on it.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// A new connection.
    ///
    /// # Errors
    /// When nobody takes it, or it would leave this machine without TLS.
    pub async fn dial(&self) -> Result<TcpStream, DialError> {
        let host = || self.authority.to_string();
        let unreachable = |source| DialError::Unreachable { host: host(), source };
        let port = self.authority.port;
        let addresses: Vec<_> = match &self.authority.host {
            Host::Ip(address) => vec![(*address, port).into()],
            Host::Dns(name) => {
                tokio::net::lookup_host((name.as_str(), port)).await.map_err(unreachable)?.collect()
            }
        };
        let mut failed = DialError::Unreachable { host: host(), source: io::ErrorKind::NotFound.into() };
        for address in addresses {
            // What a name of this machine leads to is looked at, not believed.
            if self.tls.is_none() && !address.ip().is_loopback() {
                failed = DialError::Elsewhere { host: host() };
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

    /// TLS over a connection.
    ///
    /// # Errors
    /// When the certificate is not the host's, or the handshake fails.
    pub async fn secure(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, DialError> {
        let host = || self.authority.to_string();
        let fails = |source| DialError::Handshake { host: host(), source };
        let name = match &self.authority.host {
            Host::Ip(address) => Ok(ServerName::from(*address)),
            Host::Dns(name) => ServerName::try_from(name.as_str().to_owned()),
        };
        let name = name.map_err(|error| fails(io::Error::other(error)))?;
        let tls = self.tls.as_ref().ok_or_else(|| fails(io::ErrorKind::Unsupported.into()))?;
        tls.connect(name, stream).await.map_err(|source| refused(host(), source))
    }
}

fn connector(authority: &Authority, extra: Vec<CertificateDer<'static>>) -> Result<TlsConnector, DialError> {
    let mut roots = RootCertStore::empty();
    // What cannot be read is one less to trust; the others still count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs.into_iter().chain(extra));
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| DialError::Certificate { host: authority.to_string(), source })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn refused(host: String, source: io::Error) -> DialError {
    match source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(refused @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) => {
            DialError::Certificate { host, source: refused.clone() }
        }
        _ => DialError::Handshake { host, source },
    }
}
