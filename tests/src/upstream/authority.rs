//! The test's own certificate authority.
//!
//! Owns the root's key and a leaf for every name that a client asks for. Must not know what is served.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A root and the leaves below it.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    leaf_key: KeyPair,
    leaves: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new root.
    ///
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "FTL test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a root").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
            leaf_key: KeyPair::generate().expect("a key"),
            leaves: Mutex::default(),
        }
    }

    /// The root's certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Leaf for one name or address, and its key, as PEM.
    ///
    /// # Panics
    /// When it is no name.
    #[must_use]
    pub fn leaf_pem(&self, name: &str) -> (String, String) {
        (self.leaf(name).pem(), self.leaf_key.serialize_pem())
    }

    fn leaf(&self, name: &str) -> rcgen::Certificate {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.signed_by(&self.leaf_key, &self.issuer).expect("a leaf")
    }

    fn certified(&self, name: &str) -> Arc<CertifiedKey> {
        let mut leaves = self.leaves.lock().expect("never poisoned");
        let make = || {
            let chain = vec![CertificateDer::from(self.leaf(name))];
            let key = PrivateKeyDer::try_from(self.leaf_key.serialize_der()).expect("a key");
            let provider = rustls::crypto::ring::default_provider();
            Arc::new(CertifiedKey::from_der(chain, key, &provider).expect("a key that fits"))
        };
        Arc::clone(leaves.entry(name.to_owned()).or_insert_with(make))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl ResolvesServerCert for Authority {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Who names nobody gets the certificate for the address it connected to.
        Some(self.certified(hello.server_name().unwrap_or("127.0.0.1")))
    }
}
