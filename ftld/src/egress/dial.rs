//! Connections to the real hosts.
//!
//! Owns the only place where the daemon opens a connection for a sandbox: one resolution, the judgement
//! over every answer, one connection to the address that was judged, and TLS that is verified against the
//! host's roots. Must not know sessions, their authorities or what is sent.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ftl_core::egress::address::{self, AddressRefusal};
use ftl_core::egress::host::{Authority, Host};
use ftl_core::egress::policy::{Permit, Reason};
use ftl_core::egress::rule::Scheme;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::alpn::{self, Alpn};
use super::resolve::{Resolver, SystemResolver};
use super::trust::HostRoots;
use crate::pipe::Stream;

/// How long a connection may take, and again its handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the daemon's own options say about dialling. Nothing of a project comes in here.
#[derive(Clone, Default, Debug)]
pub struct DialConfig {
    /// Roots beside the host's own.
    pub roots: Vec<CertificateDer<'static>>,
    /// Addresses to dial instead of what the name resolves to, which are not judged: whoever starts the
    /// daemon says where the host is.
    pub connect_to: Vec<(Authority, SocketAddr)>,
}

/// Where a request goes and how. It is made of a permit, so the policy was asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Route {
    authority: Authority,
    tls: bool,
    private: bool,
    credentialed: bool,
    alpn: Alpn,
}

/// Opens connections. One is enough for the daemon.
pub struct Dialer {
    connect_to: HashMap<Authority, SocketAddr>,
    resolver: Arc<dyn Resolver>,
    wire: Arc<dyn Wire>,
    roots: Vec<CertificateDer<'static>>,
    /// The roots are read when the first connection needs them.
    tls: OnceCell<Tls>,
}

/// A connection.
pub struct Dialed {
    /// Its bytes.
    pub stream: Box<dyn Stream>,
    /// Whether it carries HTTP/2.
    pub http2: bool,
}

/// Why there is no connection. The details are for the daemon's log alone.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no answer.
    #[error("the name does not resolve: {0}")]
    Unresolvable(#[source] io::Error),
    /// An address may not be dialled.
    #[error(transparent)]
    Address(#[from] AddressRefusal),
    /// This machine's own addresses cannot be read, so none can be judged.
    #[error("cannot read the addresses of this machine: {0}")]
    Own(#[source] io::Error),
    /// Nobody takes the connection.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The certificate is not one for this host.
    #[error("the certificate is refused: {0}")]
    Certificate(#[source] rustls::Error),
    /// TLS fails for another reason.
    #[error("the handshake fails: {0}")]
    Handshake(#[source] io::Error),
    /// It takes too long.
    #[error("{0} takes too long")]
    Timeout(&'static str),
}

/// Opens a connection to an address that was judged.
#[async_trait]
trait Wire: Send + Sync {
    async fn open(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>>;
}

struct Tcp;

struct Tls {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl Route {
    /// The way that this permit allows. Without TLS it is always HTTP/1.1.
    #[must_use]
    pub fn new(permit: &Permit, alpn: Alpn) -> Self {
        let tls = permit.scheme() == Scheme::Https;
        Self {
            authority: permit.authority().clone(),
            tls,
            private: permit.private_allowed(),
            credentialed: false,
            alpn: if tls { alpn } else { Alpn::Http1 },
        }
    }

    /// The same for a request that carries a credential or not: the two share no connection.
    #[must_use]
    pub fn credentialed(mut self, credentialed: bool) -> Self {
        self.credentialed = credentialed;
        self
    }

    /// The same over HTTP/1.1 alone.
    #[must_use]
    pub fn without_http2(mut self) -> Self {
        self.alpn = Alpn::Http1;
        self
    }

    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether over TLS.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Whether a rule names exactly this host and port as private.
    #[must_use]
    pub fn private(&self) -> bool {
        self.private
    }

    /// What the handshake offers.
    #[must_use]
    pub fn alpn(&self) -> Alpn {
        self.alpn
    }
}

impl Dialer {
    /// A dialler that asks the host's own resolver.
    #[must_use]
    pub fn new(config: DialConfig) -> Self {
        Self::with_resolver(config, Arc::new(SystemResolver))
    }

    /// The same with another resolver.
    #[must_use]
    pub fn with_resolver(config: DialConfig, resolver: Arc<dyn Resolver>) -> Self {
        Self {
            connect_to: config.connect_to.into_iter().collect(),
            roots: config.roots,
            resolver,
            wire: Arc::new(Tcp),
            tls: OnceCell::new(),
        }
    }

    /// Opens a connection. The name is resolved once; when any of its addresses may not be dialled, none
    /// is.
    ///
    /// # Errors
    /// When there is no address to dial, nobody answers there, or the certificate is not the host's.
    pub async fn connect(&self, route: &Route) -> Result<Dialed, DialError> {
        let address = self.address(route).await?;
        let opened = timeout(PATIENCE, self.wire.open(address));
        let stream = opened.await.map_err(|_| DialError::Timeout("the connection"))?;
        let stream = stream.map_err(DialError::Connect)?;
        if route.tls { self.secure(route, stream).await } else { Ok(Dialed { stream, http2: false }) }
    }

    /// The one address to dial.
    pub(super) async fn address(&self, route: &Route) -> Result<SocketAddr, DialError> {
        if let Some(address) = self.connect_to.get(&route.authority) {
            return Ok(*address);
        }
        let answers = match &route.authority.host {
            Host::Ip(address) => vec![*address],
            Host::Dns(name) => self.resolver.resolve(name).await.map_err(DialError::Unresolvable)?,
        };
        let own = self.resolver.own().map_err(DialError::Own)?;
        let address = address::check(&answers, route.private, &own)?;
        Ok(SocketAddr::new(address, route.authority.port))
    }

    async fn secure(&self, route: &Route, stream: Box<dyn Stream>) -> Result<Dialed, DialError> {
        let tls = self.tls.get_or_try_init(|| load(&self.roots)).await?;
        let config = match route.alpn {
            Alpn::Any => &tls.any,
            Alpn::Http1 => &tls.http1,
        };
        let shaken = TlsConnector::from(Arc::clone(config)).connect(server_name(&route.authority)?, stream);
        let stream = match timeout(PATIENCE, shaken).await {
            Err(_) => return Err(DialError::Timeout("the handshake")),
            Ok(stream) => stream.map_err(refused_by_tls)?,
        };
        let http2 = alpn::is_http2(stream.get_ref().1.alpn_protocol());
        Ok(Dialed { stream: Box::new(stream), http2 })
    }
}

#[async_trait]
impl Wire for Tcp {
    async fn open(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// Who the certificate must be for. An address is not sent as a name.
fn server_name(authority: &Authority) -> Result<ServerName<'static>, DialError> {
    match &authority.host {
        Host::Ip(address) => Ok(ServerName::from(*address)),
        Host::Dns(name) => ServerName::try_from(name.as_str().to_owned())
            .map_err(|error| DialError::Handshake(io::Error::new(io::ErrorKind::InvalidInput, error))),
    }
}

fn refused_by_tls(error: io::Error) -> DialError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(refused @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) => {
            DialError::Certificate(refused.clone())
        }
        _ => DialError::Handshake(error),
    }
}

/// Reads the host's roots and makes the two configurations. Nothing is resumed: a ticket would tie the
/// connections of two sessions together.
async fn load(extra: &[CertificateDer<'static>]) -> Result<Tls, DialError> {
    let host = tokio::task::spawn_blocking(HostRoots::load).await.map_err(io::Error::from);
    let mut roots = RootCertStore::empty();
    let found = host.map_err(DialError::Handshake)?;
    // A root that cannot be read is one less to trust; the others still count.
    roots.add_parsable_certificates(found.certificates().iter().chain(extra).cloned());
    let roots = Arc::new(roots);
    let config = |alpn: Alpn| {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        config.alpn_protocols = alpn.protocols();
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    };
    let failed = |error: rustls::Error| DialError::Handshake(io::Error::other(error));
    Ok(Tls { any: config(Alpn::Any).map_err(failed)?, http1: config(Alpn::Http1).map_err(failed)? })
}

impl DialError {
    /// The code that the sandbox is told.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unresolvable(_) | Self::Address(AddressRefusal::None) => Reason::Unresolvable,
            Self::Address(_) | Self::Own(_) => Reason::PrivateAddress,
            Self::Connect(_) | Self::Handshake(_) => Reason::UpstreamUnreachable,
            Self::Certificate(_) => Reason::UpstreamCertificate,
            Self::Timeout(_) => Reason::Timeout,
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("connect_to", &self.connect_to).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
