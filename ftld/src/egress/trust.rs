//! How the programs of a sandbox come to accept the session's certificates.
//!
//! Owns the files that lie in the sandbox (the host's roots with the session's authority, that authority
//! alone, the same for Java) and the variables that lead each kind of program to them and to the proxy.
//! Must not know where in the sandbox they are mounted, nor verify anything itself.

mod java;

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

use super::ca::SessionCa;

/// The roots that the host trusts.
#[derive(Clone, Default, Debug)]
pub struct HostRoots(Vec<CertificateDer<'static>>);

/// The contents of the files that a sandbox gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    /// The host's roots and the session's authority as PEM, for programs that read one file and nothing
    /// else.
    pub bundle: String,
    /// The session's authority alone as PEM, for programs that add to what they have.
    pub ca: String,
    /// The same as [`Self::bundle`] as a PKCS#12 trust store without a password.
    pub java: Vec<u8>,
}

/// Where a sandbox has those files and the proxy.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Where [`Trust::bundle`] lies.
    pub bundle: &'a Path,
    /// Where [`Trust::ca`] lies.
    pub ca: &'a Path,
    /// Where [`Trust::java`] lies.
    pub java: &'a Path,
    /// Where the proxy listens, inside.
    pub proxy: SocketAddr,
}

/// Where distributions keep the roots of all programs as one PEM file: [`Trust::bundle`] belongs over each
/// that is there.
pub const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Variables that must not be set in a sandbox: they would lead past what [`environment`] sets.
pub const UNSET: [&str; 6] =
    ["SSL_CERT_DIR", "GIT_SSL_CAPATH", "GIT_SSL_NO_VERIFY", "grpc_proxy", "no_grpc_proxy", "_JAVA_OPTIONS"];

/// What reads the whole bundle instead of its own roots.
const BUNDLE: [&str; 17] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CODEX_CA_CERTIFICATE",
    "npm_config_cafile",
    "BUNDLE_SSL_CA_CERT",
    "COMPOSER_CAFILE",
    "NIX_SSL_CERT_FILE",
    "HEX_CACERTS_PATH",
    "CONAN_CACERT_PATH",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "PERL_LWP_SSL_CA_FILE",
];

/// What adds a file to its own roots.
const ADDED: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// What leads to the proxy. curl and wget read only the lower case of the first, others only the upper.
const PROXY: [&str; 9] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "CARGO_HTTP_PROXY",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
];

/// What is inside of the sandbox and stays there.
const DIRECT: [(&str, &str); 2] =
    [("no_proxy", "localhost,127.0.0.1,::1"), ("NO_PROXY", "localhost,127.0.0.1,::1")];

/// What turns on that a program reads the system's roots, or the proxy's variables.
const SWITCHES: [(&str, &str); 5] = [
    ("NODE_USE_ENV_PROXY", "1"),
    ("NODE_USE_SYSTEM_CA", "1"),
    ("DENO_TLS_CA_STORE", "system"),
    ("UV_NATIVE_TLS", "1"),
    ("UV_SYSTEM_CERTS", "1"),
];

impl HostRoots {
    /// Reads the roots as the host's own programs find them. What cannot be read is left out: fewer roots
    /// make nothing trusted that was not.
    #[must_use]
    pub fn load() -> Self {
        Self(rustls_native_certs::load_native_certs().certs)
    }

    /// These roots.
    #[must_use]
    pub fn of(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self(certificates)
    }

    /// Each of them as DER.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }
}

impl Trust {
    /// The files for one session.
    #[must_use]
    pub fn new(roots: &HostRoots, ca: &SessionCa) -> Self {
        let all = || std::iter::once(ca.der()).chain(roots.certificates());
        Self {
            // The authority stands first: some programs read no more of a file than they must.
            bundle: all().map(|certificate| pem(certificate)).collect(),
            ca: pem(ca.der()),
            java: java::trust_store(all().map(AsRef::as_ref)),
        }
    }
}

/// One certificate as PEM.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// The variables for a sandbox, in no particular order; each name occurs once.
#[must_use]
pub fn environment(places: &Places<'_>) -> Vec<(&'static str, String)> {
    let path = |path: &Path| path.display().to_string();
    let url = format!("http://{}", places.proxy);
    let mut all = Vec::new();
    all.extend(BUNDLE.map(|name| (name, path(places.bundle))));
    all.extend(ADDED.map(|name| (name, path(places.ca))));
    all.extend(PROXY.map(|name| (name, url.clone())));
    all.extend(DIRECT.map(|(name, value)| (name, value.to_owned())));
    all.extend(SWITCHES.map(|(name, value)| (name, value.to_owned())));
    all.push(("JAVA_TOOL_OPTIONS", java::options(places)));
    all
}

#[cfg(test)]
mod tests;
