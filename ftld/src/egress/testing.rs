//! Hosts that tests reach: an authority of their own, TLS servers in process, a resolver with a script.
//!
//! Owns what several tests of the proxy need to stand for the outside. Must not know the proxy.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ftl_core::egress::host::{Authority, DnsName};
use ftl_core::egress::path::CanonicalPath;
use ftl_core::egress::policy::{Facts, Permit, Policy, Source};
use ftl_core::egress::preset::Preset;
use ftl_core::egress::rule::Scheme;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::alpn::{self, Alpn};
use super::resolve::Resolver;

/// What a host of a test answers.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// An authority that upstream hosts of a test have their certificates from.
pub(super) struct World {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(super) root: CertificateDer<'static>,
}

/// A host of a test.
pub(super) struct Site {
    /// Where it listens.
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
}

/// What a host of a test saw.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    closed: AtomicUsize,
    names: Mutex<Vec<Option<String>>>,
}

impl World {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// TLS as these names, valid until the end of a year.
    pub(super) fn config(&self, names: &[&str], year: i32, alpn: Alpn) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(year, 12, 31);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.protocols();
        Arc::new(config)
    }

    /// The same, valid for long.
    pub(super) fn good(&self, name: &str) -> Arc<ServerConfig> {
        self.config(&[name], 4000, Alpn::Any)
    }
}

impl Site {
    /// A host that answers HTTP, over TLS when there is a configuration. The service is also told the
    /// number of the connection, from 1.
    pub(super) async fn serve<F>(
        tls: Option<Arc<ServerConfig>>,
        service: impl Fn(Request<Incoming>, usize) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let site = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = Arc::clone(&site.seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = seen.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let (seen, tls, service) = (Arc::clone(&seen), tls.clone(), service.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let answer = service(request, number);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    // Clients that break off are part of the tests.
                    let _ended = answer(stream, tls, &seen, service).await;
                    seen.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        site
    }

    /// Something that a test runs itself, at this address.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self { address, seen: Arc::default() }
    }

    /// Connections that it took.
    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that ended.
    pub(super) fn closed(&self) -> usize {
        self.seen.closed.load(Ordering::SeqCst)
    }

    /// The names that handshakes asked for.
    pub(super) fn names(&self) -> Vec<Option<String>> {
        self.seen.names.lock().unwrap().clone()
    }
}

/// Answers the requests of one connection.
async fn answer<S, F>(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    seen: &Seen,
    service: S,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible, Future = F> + Send + 'static,
    F: Future<Output = Result<Answer, Infallible>> + Send + 'static,
{
    let http1 = hyper::server::conn::http1::Builder::new();
    let Some(tls) = tls else {
        return Ok(http1.serve_connection(TokioIo::new(stream), service).with_upgrades().await?);
    };
    let stream = TlsAcceptor::from(tls).accept(stream).await?;
    let state = stream.get_ref().1;
    seen.names.lock().unwrap().push(state.server_name().map(str::to_owned));
    if alpn::is_http2(state.alpn_protocol()) {
        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        return Ok(http2.serve_connection(TokioIo::new(stream), service).await?);
    }
    Ok(http1.serve_connection(TokioIo::new(stream), service).with_upgrades().await?)
}

/// Answers in the order of a script, the last one for ever.
pub(super) struct Script {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    own: Vec<IpAddr>,
    asked: AtomicUsize,
}

impl Script {
    pub(super) fn new(answers: &[&[&str]], own: &[&str]) -> Arc<Self> {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self {
            answers: Mutex::new(answers.iter().map(|texts| read(texts)).collect()),
            own: read(own),
            asked: AtomicUsize::new(0),
        })
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolver for Script {
    async fn resolve(&self, _name: &DnsName) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 {
            return Ok(answers.pop_front().unwrap());
        }
        answers.front().cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn own(&self) -> io::Result<Vec<IpAddr>> {
        Ok(self.own.clone())
    }
}

/// An authority as text.
pub(super) fn authority(text: &str) -> Authority {
    Authority::parse(text, None).unwrap()
}

/// A permit for this host and port that the rules give.
pub(super) fn permit(scheme: Scheme, to: &str, rules: &[&str]) -> Permit {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let policy = Policy::new(Preset::Locked, vec![(Source::Session, rules)]);
    let (authority, path) = (authority(to), CanonicalPath::parse("/").unwrap());
    policy.decide(&Facts { scheme, authority: &authority, method: "GET", path: &path }).permit().unwrap()
}

/// Waits until something is so, which other tasks bring about.
pub(super) async fn until(so: impl Fn() -> bool) {
    let waited = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), waited).await.expect("it never was so");
}
