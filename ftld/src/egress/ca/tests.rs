//! Tests of the session authority.

use std::net::IpAddr;

use rustls::client::Resumption;
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConnection,
};
use rustls_pki_types::{ServerName, UnixTime};

use super::*;

const NOW_S: i64 = 1_800_000_000;

#[derive(Debug)]
struct At(i64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(self.0).unwrap())))
    }
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

/// A client that trusts this authority and nothing else.
fn client(ca: &SessionCa, at_s: i64, alpn: Alpn) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let mut config =
        ClientConfig::builder_with_details(Arc::new(ring::default_provider()), Arc::new(At(at_s)))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = alpn.protocols();
    config.resumption = Resumption::in_memory_sessions(8);
    config
}

/// Shakes hands in memory and says what the client has of it.
fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<ClientConnection, rustls::Error> {
    let name = match name.parse::<IpAddr>() {
        Ok(address) => ServerName::from(address),
        Err(_) => ServerName::try_from(name.to_owned()).unwrap(),
    };
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    for _ in 0..8 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking());
    Ok(client)
}

fn holds(der: &[u8], bytes: &[u8]) -> bool {
    der.windows(bytes.len()).any(|window| window == bytes)
}

/// basicConstraints, critical: an authority with a path length of 0.
const IS_CA: &[u8] = &[6, 3, 0x55, 0x1d, 0x13, 1, 1, 0xff, 4, 8, 0x30, 6, 1, 1, 0xff, 2, 1, 0];
/// keyUsage, critical: keyCertSign and cRLSign.
const SIGNS: &[u8] = &[6, 3, 0x55, 0x1d, 0x0f, 1, 1, 0xff, 4, 4, 3, 2, 1, 6];
/// basicConstraints, critical: no authority.
const IS_NO_CA: &[u8] = &[6, 3, 0x55, 0x1d, 0x13, 1, 1, 0xff, 4, 2, 0x30, 0];
/// extKeyUsage: serverAuth.
const SERVES: &[u8] = &[6, 3, 0x55, 0x1d, 0x25, 4, 12, 0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];
/// P-256 as the curve of a public key.
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// The public key's own header in front of an uncompressed point.
const POINT: &[u8] = &[3, 0x42, 0, 4];

fn point(der: &[u8]) -> &[u8] {
    let at = der.windows(POINT.len()).position(|window| window == POINT).unwrap() + POINT.len();
    &der[at..at + 64]
}

#[test]
fn certificates_say_what_they_are_for() {
    let ca = SessionCa::new(NOW_S, "s-1234").unwrap();
    for wanted in [IS_CA, SIGNS, P256, b"FTL session s-1234"] {
        assert!(holds(ca.der(), wanted), "{wanted:?}");
    }
    let leaf = ca.sign(&host("api.example.com"), NOW_S, NOW_S + 60).unwrap();
    for wanted in [IS_NO_CA, SERVES, P256] {
        assert!(holds(&leaf, wanted), "{wanted:?}");
    }
    assert_ne!(point(ca.der()), point(&leaf), "one key for both");
    assert!(ca.pem().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(!ca.pem().contains("KEY") && !format!("{ca:?}").contains("KeyPair"));
    assert_ne!(ca.der(), SessionCa::new(NOW_S, "s-1234").unwrap().der());
}

#[test]
fn a_leaf_is_good_for_its_own_host_alone() {
    let ca = SessionCa::new(NOW_S, "s").unwrap();
    let client = Arc::new(client(&ca, NOW_S, Alpn::Any));
    let long = format!("{}.example.com", "a".repeat(60));
    for name in ["api.example.com", "_x.example.com", "8.8.8.8", "2001:db8::1", &long] {
        let shown = Host::parse(name).or_else(|_| Host::parse(&format!("[{name}]"))).unwrap();
        let server = ca.server_config(&shown, Alpn::Any, NOW_S).unwrap();
        let shaken = shake(&client, &server, name).unwrap();
        assert_eq!(shaken.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(shaken.peer_certificates().unwrap().len(), 1, "the authority is not sent along");
        for other in ["other.example.com", "example.com", "8.8.4.4"] {
            assert!(shake(&client, &server, other).is_err(), "{name} as {other}");
        }
    }
    let other = SessionCa::new(NOW_S, "s").unwrap();
    let server = other.server_config(&host("a.b"), Alpn::Any, NOW_S).unwrap();
    assert!(shake(&client, &server, "a.b").is_err(), "another session's authority");
}

#[test]
fn a_leaf_lasts_half_a_day_to_both_sides_and_is_made_anew_before_it_ends() {
    let ca = SessionCa::new(NOW_S, "s").unwrap();
    let name = host("a.example.com");
    let first = ca.server_config(&name, Alpn::Any, NOW_S).unwrap();
    let good = |server: &Arc<ServerConfig>, at_s: i64| {
        shake(&Arc::new(client(&ca, at_s, Alpn::Any)), server, "a.example.com").is_ok()
    };
    for (off_h, is_good) in [(-13, false), (-11, true), (0, true), (11, true), (13, false)] {
        assert_eq!(good(&first, NOW_S + off_h * HOUR_S), is_good, "{off_h}");
    }
    let again = |off_s: i64| ca.server_config(&name, Alpn::Any, NOW_S + off_s).unwrap();
    assert!(Arc::ptr_eq(&first, &again(11 * HOUR_S)));
    let second = again(11 * HOUR_S + 1);
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(good(&second, NOW_S + 20 * HOUR_S));
    // A clock that was set back gets one that is valid there.
    let back = again(-12 * HOUR_S);
    assert!(good(&back, NOW_S - 13 * HOUR_S));
}

#[test]
fn the_authority_ends_and_says_so() {
    let ca = SessionCa::new(NOW_S, "s").unwrap();
    let name = host("a.example.com");
    let late_s = NOW_S + LIFETIME_S - LEAF_LEAST_S;
    let last = ca.server_config(&name, Alpn::Any, late_s).unwrap();
    let good = |at_s| shake(&Arc::new(client(&ca, at_s, Alpn::Any)), &last, "a.example.com").is_ok();
    assert!(good(late_s) && !good(NOW_S + LIFETIME_S + 1));
    assert!(matches!(ca.server_config(&name, Alpn::Any, late_s + 1), Err(CaError::Expired)));
    for absurd in [i64::MIN, -1, 0, 300_000_000_000, i64::MAX] {
        assert!(matches!(SessionCa::new(absurd, "s"), Err(CaError::Clock)), "{absurd}");
    }
}

#[test]
fn the_offer_is_the_one_asked_for() {
    let ca = SessionCa::new(NOW_S, "s").unwrap();
    let name = host("a.example.com");
    let client = Arc::new(client(&ca, NOW_S, Alpn::Any));
    for (alpn, agreed) in [(Alpn::Any, b"h2".as_slice()), (Alpn::Http1, b"http/1.1")] {
        let server = ca.server_config(&name, alpn, NOW_S).unwrap();
        assert_eq!(shake(&client, &server, "a.example.com").unwrap().alpn_protocol(), Some(agreed));
    }
}

#[test]
fn nothing_is_resumed() {
    let ca = SessionCa::new(NOW_S, "s").unwrap();
    let server = ca.server_config(&host("a.example.com"), Alpn::Any, NOW_S).unwrap();
    let client = Arc::new(client(&ca, NOW_S, Alpn::Any));
    for _ in 0..3 {
        let shaken = shake(&client, &server, "a.example.com").unwrap();
        assert_eq!(shaken.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(shaken.tls13_tickets_received(), 0);
    }
}

#[test]
fn what_was_served_longest_ago_is_forgotten_first() {
    let ca = SessionCa::new(NOW_S, "s").unwrap();
    let serve = |name: &str| ca.server_config(&host(name), Alpn::Any, NOW_S).unwrap();
    let kept = serve("kept.example.com");
    let lost = serve("lost.example.com");
    for place in 0..MOST_LEAVES {
        serve(&format!("h{place}.example.com"));
        serve("kept.example.com");
    }
    assert_eq!(ca.leaves.lock().unwrap().made.len(), MOST_LEAVES);
    assert!(Arc::ptr_eq(&kept, &serve("kept.example.com")));
    assert!(!Arc::ptr_eq(&lost, &serve("lost.example.com")));
}
