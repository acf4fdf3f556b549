//! Tests of dialling.

use std::sync::Mutex;
use std::time::SystemTime;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::egress::ca::SessionCa;
use crate::egress::testing::{Answer, Script, Site, World, authority, permit};

/// Records which addresses are opened, and leads all of them to one place.
struct Recorder {
    opened: Mutex<Vec<SocketAddr>>,
    to: Option<SocketAddr>,
}

#[async_trait]
impl Wire for Recorder {
    async fn open(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        self.opened.lock().unwrap().push(address);
        match self.to {
            Some(to) => Tcp.open(to).await,
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

impl Recorder {
    fn opened(&self) -> Vec<String> {
        self.opened.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

/// A dialler whose connections are recorded and end at `to`.
fn recorded(config: DialConfig, script: &Arc<Script>, to: Option<SocketAddr>) -> (Dialer, Arc<Recorder>) {
    let wire = Arc::new(Recorder { opened: Mutex::default(), to });
    let mut dialer = Dialer::with_resolver(config, Arc::<Script>::clone(script));
    dialer.wire = Arc::<Recorder>::clone(&wire);
    (dialer, wire)
}

fn https(to: &str) -> Route {
    Route::new(&permit(Scheme::Https, to, &[&format!("allow {to}")]), Alpn::Any)
}

fn trusting(world: &World) -> DialConfig {
    DialConfig { roots: vec![world.root.clone()], connect_to: Vec::new() }
}

/// A host that shakes hands as `tls` says, and the dialler whose every connection ends there.
async fn site(world: &World, tls: Option<Arc<ServerConfig>>) -> (Site, Dialer, Arc<Recorder>) {
    let site = Site::serve(tls, |_, _| async { Answer::default() }).await;
    let (dialer, wire) = recorded(trusting(world), &Script::new(&[&["8.8.8.8"]], &[]), Some(site.address));
    (site, dialer, wire)
}

fn reason(dialed: Result<Dialed, DialError>) -> Reason {
    dialed.err().expect("a connection where there must be none").reason()
}

#[tokio::test]
async fn one_bad_answer_refuses_all_and_nothing_is_opened() {
    let answers: [&[&str]; 11] = [
        &["127.0.0.1"],
        &["8.8.8.8", "127.0.0.1"],
        &["10.0.0.7", "8.8.8.8"],
        &["8.8.8.8", "169.254.169.254"],
        &["8.8.8.8", "::1"],
        &["2606:4700::1", "fe80::1"],
        &["8.8.8.8", "::ffff:192.168.0.1"],
        &["64:ff9b::a00:1"],
        &["0.0.0.0"],
        &["100.64.0.1"],
        &["9.9.9.9"],
    ];
    for answers in answers {
        let script = Script::new(&[answers], &["9.9.9.9"]);
        let (dialer, wire) = recorded(DialConfig::default(), &script, None);
        assert_eq!(reason(dialer.connect(&https("a.example.com:443")).await), Reason::PrivateAddress);
        assert!(wire.opened().is_empty(), "{answers:?}");
        assert_eq!(script.asked(), 1);
    }
}

#[tokio::test]
async fn what_does_not_resolve_is_not_dialled() {
    for script in [Script::new(&[], &[]), Script::new(&[&[]], &[])] {
        let (dialer, wire) = recorded(DialConfig::default(), &script, None);
        assert_eq!(reason(dialer.connect(&https("a.example.com:443")).await), Reason::Unresolvable);
        assert!(wire.opened().is_empty());
    }
}

#[tokio::test]
async fn a_name_that_changes_its_answer_is_judged_each_time() {
    let world = World::new();
    let site = Site::serve(Some(world.good("a.example.com")), |_, _| async { Answer::default() }).await;
    let script = Script::new(&[&["8.8.8.8"], &["127.0.0.1"]], &[]);
    let (dialer, wire) = recorded(trusting(&world), &script, Some(site.address));
    let route = https("a.example.com:443");
    assert!(dialer.connect(&route).await.is_ok());
    // The address that was judged was dialled, without asking a second time.
    assert_eq!((wire.opened(), script.asked()), (vec!["8.8.8.8:443".to_owned()], 1));
    assert_eq!(reason(dialer.connect(&route).await), Reason::PrivateAddress);
    assert_eq!((wire.opened().len(), script.asked(), site.connections()), (1, 2, 1));
}

#[tokio::test]
async fn a_private_rule_opens_private_addresses_and_never_this_machine() {
    let rules = ["allow db.example.com:8443", "private db.example.com:8443"];
    let route = Route::new(&permit(Scheme::Https, "db.example.com:8443", &rules), Alpn::Any);
    assert!(route.private());
    for (answer, opened) in [
        ("10.0.0.7", true),
        ("192.168.3.4", true),
        ("10.0.0.8", false),
        ("127.0.0.1", false),
        ("169.254.169.254", false),
        ("fe80::1", false),
    ] {
        let (dialer, wire) = recorded(DialConfig::default(), &Script::new(&[&[answer]], &["10.0.0.8"]), None);
        let wanted = if opened { Reason::UpstreamUnreachable } else { Reason::PrivateAddress };
        assert_eq!(reason(dialer.connect(&route).await), wanted, "{answer}");
        assert_eq!(wire.opened().len(), usize::from(opened), "{answer}");
    }
}

#[tokio::test]
async fn an_address_is_judged_without_a_question() {
    let script = Script::new(&[], &["9.9.9.9"]);
    for (target, opened) in [("127.0.0.1:443", false), ("9.9.9.9:443", false), ("8.8.8.8:443", true)] {
        let (dialer, wire) = recorded(DialConfig::default(), &script, None);
        // No policy gives such a permit; it is judged here all the same.
        let route = Route { authority: authority(target), ..https("a.example.com:443") };
        assert!(dialer.connect(&route).await.is_err());
        assert_eq!(wire.opened().len(), usize::from(opened), "{target}");
    }
    assert_eq!(script.asked(), 0);
}

#[tokio::test]
async fn the_daemons_option_leads_one_host_and_port_elsewhere() {
    let world = World::new();
    let site = Site::serve(Some(world.good("a.example.com")), |_, _| async { Answer::default() }).await;
    let mut config = trusting(&world);
    config.connect_to = vec![(authority("a.example.com:443"), site.address)];
    let script = Script::new(&[&["127.0.0.1"]], &[]);
    let dialer = Dialer::with_resolver(config, Arc::<Script>::clone(&script));
    assert!(dialer.connect(&https("a.example.com:443")).await.is_ok());
    assert_eq!(script.asked(), 0);
    for other in ["a.example.com:8443", "b.example.com:443"] {
        assert_eq!(reason(dialer.connect(&https(other)).await), Reason::PrivateAddress, "{other}");
    }
    assert_eq!(site.connections(), 1);
}

#[tokio::test]
async fn only_the_hosts_own_valid_certificate_is_accepted() {
    let (world, stranger) = (World::new(), World::new());
    let name = "a.example.com";
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now_s = i64::try_from(since.as_secs()).unwrap();
    let session = SessionCa::new(now_s, "s").unwrap();
    let shown = session.server_config(&Host::parse(name).unwrap(), Alpn::Any, now_s).unwrap();
    for (what, tls) in [
        ("another authority", stranger.good(name)),
        ("expired", world.config(&[name], 2001, Alpn::Any)),
        ("another name", world.good("b.example.com")),
        ("the name above", world.good("example.com")),
        ("the name below", world.good("x.a.example.com")),
        ("a session's authority", shown),
    ] {
        let (site, dialer, _) = site(&world, Some(tls)).await;
        let refused = dialer.connect(&https("a.example.com:443")).await;
        assert_eq!(reason(refused), Reason::UpstreamCertificate, "{what}");
        assert!(site.names().is_empty(), "{what}");
    }
    let (_site, dialer, _) = site(&world, Some(world.good(name))).await;
    assert!(dialer.connect(&https("a.example.com:443")).await.is_ok());
}

#[tokio::test]
async fn a_host_without_tls_is_not_spoken_to() {
    let world = World::new();
    let (_site, dialer, _) = site(&world, None).await;
    assert_eq!(reason(dialer.connect(&https("a.example.com:443")).await), Reason::UpstreamUnreachable);
}

#[tokio::test]
async fn old_tls_is_refused() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let to = listener.local_addr().unwrap();
    let host = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        // A ServerHello of TLS 1.1.
        let mut hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
        hello.extend([7; 32]);
        hello.extend([0, 0xc0, 0x13, 0]);
        stream.write_all(&hello).await.unwrap();
        let mut rest = Vec::new();
        let _ended = stream.read_to_end(&mut rest).await;
    });
    let script = Script::new(&[&["8.8.8.8"]], &[]);
    let (dialer, _) = recorded(DialConfig::default(), &script, Some(to));
    assert_eq!(reason(dialer.connect(&https("a.example.com:443")).await), Reason::UpstreamUnreachable);
    host.await.unwrap();
}

#[tokio::test]
async fn the_handshake_names_the_canonical_host_and_no_address() {
    let world = World::new();
    let tls = world.config(&["a.example.com", "8.8.4.4"], 4000, Alpn::Any);
    let (site, dialer, wire) = site(&world, Some(tls)).await;
    assert!(dialer.connect(&https("A.Example.COM.:443")).await.is_ok());
    assert!(dialer.connect(&https("8.8.4.4:443")).await.is_ok());
    crate::egress::testing::until(|| site.names().len() == 2).await;
    assert_eq!(site.names(), [Some("a.example.com".to_owned()), None]);
    assert_eq!(wire.opened(), ["8.8.8.8:443", "8.8.4.4:443"]);
}

#[tokio::test]
async fn the_host_chooses_among_what_is_offered() {
    let world = World::new();
    for (offered, spoken, http2) in
        [(Alpn::Any, Alpn::Any, true), (Alpn::Any, Alpn::Http1, false), (Alpn::Http1, Alpn::Any, false)]
    {
        let tls = world.config(&["a.example.com"], 4000, spoken);
        let (_site, dialer, _) = site(&world, Some(tls)).await;
        let permit = permit(Scheme::Https, "a.example.com:443", &["allow a.example.com"]);
        let dialed = dialer.connect(&Route::new(&permit, offered)).await.unwrap();
        assert_eq!(dialed.http2, http2, "{offered:?} {spoken:?}");
    }
    // A host that chooses none speaks HTTP/1.1.
    let mut tls = ServerConfig::clone(&world.good("a.example.com"));
    tls.alpn_protocols.clear();
    let (_site, dialer, _) = site(&world, Some(Arc::new(tls))).await;
    assert!(!dialer.connect(&https("a.example.com:443")).await.unwrap().http2);
}

#[tokio::test]
async fn no_handshake_is_resumed() {
    let world = World::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let to = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(world.good("a.example.com"));
    let host = tokio::spawn(async move {
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind());
            stream.write_all(b"x").await.unwrap();
        }
        kinds
    });
    let script = Script::new(&[&["8.8.8.8"]], &[]);
    let (dialer, _) = recorded(trusting(&world), &script, Some(to));
    for _ in 0..3 {
        let mut dialed = dialer.connect(&https("a.example.com:443")).await.unwrap();
        // With the first byte the tickets have arrived too.
        assert_eq!(dialed.stream.read_u8().await.unwrap(), b'x');
    }
    assert_eq!(host.await.unwrap(), [Some(rustls::HandshakeKind::Full); 3]);
}
