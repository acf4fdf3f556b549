//! The measuring client, the same for every way to the server: directly, through FTL, through a peer.
//!
//! Owns the connections and the clock. Inside a sandbox it runs as a program of its own and prints what it
//! measured as one line of JSON.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The host that is measured.
pub(crate) const HOST: &str = "api.example.com";
/// Printed when the idle connections stand; the end of the input lets go of them.
pub(crate) const IDLE: &str = "IDLE";

const WARMUP: usize = 200;
const REQUESTS: usize = 3000;
const AT_ONCE: usize = 16;
const EACH: usize = 500;
const BODY: usize = 1 << 25;
const STREAMS: usize = 50;
const CONNECTIONS: usize = 1000;

/// How the server is reached.
#[derive(Clone)]
pub(crate) struct Way {
    /// Where the connection goes.
    pub(crate) address: SocketAddr,
    /// Whether a proxy is there, which is asked for the host.
    pub(crate) proxy: bool,
    /// Roots that the server's certificate must come from, PEM.
    pub(crate) roots: PathBuf,
    /// Whether only idle connections are made.
    pub(crate) idle: bool,
}

type Sender = SendRequest<Empty<Bytes>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs to its end on a runtime of its own.
pub(crate) fn run(way: Way) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let tls = config(&way)?;
        if way.idle { idle(&way, &tls).await } else { measure(&way, &tls).await }
    })
}

fn config(way: &Way) -> Result<Arc<rustls::ClientConfig>, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(&way.roots)? {
        // A system's bundle may hold what this library does not take.
        let _odd = roots.add(root?);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

async fn connect(way: &Way, tls: &Arc<rustls::ClientConfig>) -> Result<Sender, Failure> {
    let mut stream = TcpStream::connect(way.address).await?;
    stream.set_nodelay(true)?;
    if way.proxy {
        stream
            .write_all(format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n").as_bytes())
            .await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if !head.starts_with(b"HTTP/1.1 200") && !head.starts_with(b"HTTP/1.0 200") {
            return Err(String::from_utf8_lossy(&head).into_owned().into());
        }
    }
    let name = ServerName::try_from(HOST)?;
    let stream = tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn get(sender: &mut Sender, path: &str) -> Result<http::Response<hyper::body::Incoming>, Failure> {
    sender.ready().await?;
    let request = Request::get(path).header(http::header::HOST, HOST).body(Empty::new())?;
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        return Err(format!("{path}: {}", response.status()).into());
    }
    Ok(response)
}

async fn small(sender: &mut Sender) -> Result<(), Failure> {
    get(sender, "/status/200").await?.into_body().collect().await?;
    Ok(())
}

async fn measure(way: &Way, tls: &Arc<rustls::ClientConfig>) -> Result<(), Failure> {
    let mut sender = connect(way, tls).await?;
    for _ in 0..WARMUP {
        small(&mut sender).await?;
    }
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let from = Instant::now();
        small(&mut sender).await?;
        times.push(from.elapsed());
    }
    times.sort_unstable();

    let from = Instant::now();
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (way, tls) = (way.clone(), Arc::clone(tls));
            tokio::spawn(async move {
                let mut sender = connect(&way, &tls).await?;
                for _ in 0..EACH {
                    small(&mut sender).await?;
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    let rate = (AT_ONCE * EACH) as f64 / from.elapsed().as_secs_f64();

    let from = Instant::now();
    let mut body = get(&mut sender, &format!("/bytes/{BODY}")).await?.into_body();
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        count += frame?.data_ref().map_or(0, Bytes::len);
    }
    if count != BODY {
        return Err(format!("{count} bytes came").into());
    }
    let throughput = BODY as f64 / f64::from(1 << 20) / from.elapsed().as_secs_f64();

    let mut first = Vec::with_capacity(STREAMS);
    for number in 0..STREAMS {
        let mut sender = connect(way, tls).await?;
        let from = Instant::now();
        let mut body = get(&mut sender, &format!("/sse?n=2&key=bench{number}")).await?.into_body();
        let _event = body.frame().await.ok_or("no event came")??;
        first.push(from.elapsed());
    }
    first.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let line = json!({
        "p50_us": micros(times[REQUESTS / 2]), "p99_us": micros(times[REQUESTS * 99 / 100]),
        "per_second": rate, "mib_per_second": throughput, "event_us": micros(first[STREAMS / 2]),
    });
    println!("{line}");
    Ok(())
}

/// Connections that have served one request each and then do nothing.
async fn idle(way: &Way, tls: &Arc<rustls::ClientConfig>) -> Result<(), Failure> {
    let mut kept = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let mut sender = connect(way, tls).await.map_err(|error| format!("connection {number}: {error}"))?;
        small(&mut sender).await?;
        kept.push(sender);
    }
    println!("{IDLE}");
    std::io::stdout().flush()?;
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    Ok(())
}
