//! Tests of the trust files and variables.

use std::collections::BTreeSet;

use rustls_pki_types::pem::PemObject as _;

use super::*;

const NOW_S: i64 = 1_800_000_000;

fn places() -> Places<'static> {
    Places {
        bundle: Path::new("/t/bundle.pem"),
        ca: Path::new("/t/ca.pem"),
        java: Path::new("/t/my roots.p12"),
        proxy: "127.0.0.1:3128".parse().unwrap(),
    }
}

fn value(name: &str) -> String {
    let found = environment(&places()).into_iter().find(|(found, _)| *found == name);
    found.unwrap_or_else(|| panic!("{name} is not set")).1
}

#[test]
fn the_bundle_is_the_authority_and_every_root_of_the_host() {
    let ca = SessionCa::new(NOW_S, "s").unwrap();
    let other = SessionCa::new(NOW_S, "other").unwrap();
    let roots = HostRoots::of(vec![other.der().clone(), CertificateDer::from(vec![7; 1000])]);
    let trust = Trust::new(&roots, &ca);
    let read = |text: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(read(&trust.bundle), [&[ca.der().clone()], roots.certificates()].concat());
    assert_eq!(read(&trust.ca), [ca.der().clone()]);
    assert!(trust.bundle.lines().all(|line| line.len() <= 64));
    assert!(!trust.bundle.contains("PRIVATE"));
}

#[test]
fn the_java_store_is_the_form_that_java_reads() {
    let store = java::trust_store([[1, 2, 3].as_slice()].into_iter());
    let hex: String = store.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, JAVA_STORE);
    // Lengths beyond one and two bytes.
    for length in [200, 70_000] {
        let long = vec![9; length];
        let store = java::trust_store([long.as_slice()].into_iter());
        assert!(store.windows(length).any(|window| window == long));
        assert_eq!(store[1], if length < 65_000 { 0x82 } else { 0x83 });
    }
}

/// One entry `ftl-0` with the three bytes 1, 2, 3 in the place of a certificate.
const JAVA_STORE: &str = "308184020103307f06092a864886f70d010701a0720470306e306c06092a864886f70d010701a05f045d305b3059060b\
    2a864886f70d010c0a0103a0153013060a2a864886f70d01091601a00504030102033133301906092a864886f70d0109\
    14310c1e0a00660074006c002d00303016060c6086480186f966adca7b010131060604551d2500";

#[test]
fn every_program_is_led_to_the_files_and_the_proxy() {
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "CODEX_CA_CERTIFICATE"] {
        assert_eq!(value(name), "/t/bundle.pem", "{name}");
    }
    for name in ["NODE_EXTRA_CA_CERTS", "DENO_CERT"] {
        assert_eq!(value(name), "/t/ca.pem", "{name}");
    }
    for name in ["http_proxy", "HTTPS_PROXY", "all_proxy", "CARGO_HTTP_PROXY"] {
        assert_eq!(value(name), "http://127.0.0.1:3128", "{name}");
    }
    for name in ["no_proxy", "NO_PROXY"] {
        assert_eq!(value(name), "localhost,127.0.0.1,::1", "{name}");
    }
    assert_eq!(value("NODE_USE_ENV_PROXY"), "1");
    assert_eq!(
        value("JAVA_TOOL_OPTIONS"),
        "\"-Djavax.net.ssl.trustStore=/t/my roots.p12\" -Djavax.net.ssl.trustStoreType=PKCS12 \
         -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=3128 \
         -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128 \
         -Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]"
    );
}

#[test]
fn no_variable_is_set_twice_or_against_what_is_unset() {
    let all = environment(&places());
    let names: BTreeSet<&str> = all.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), all.len());
    assert!(UNSET.iter().all(|name| !names.contains(name)));
}

#[test]
fn the_host_has_roots() {
    // A host without any would verify nothing; this machine's own programs need them too.
    assert!(HostRoots::load().certificates().iter().all(|root| !root.is_empty()));
}
