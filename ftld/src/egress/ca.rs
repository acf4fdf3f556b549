//! The certificates that a session's programs see.
//!
//! Owns one authority per session and the certificates it signs, one host each, all in memory only. Must
//! not know which hosts are allowed, nor be known to whatever verifies the real hosts.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ftl_core::egress::host::Host;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::alpn::Alpn;

/// The authority of one session.
pub struct SessionCa {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
    ends_s: i64,
    leaf_public: KeyPair,
    leaf_key: Arc<dyn SigningKey>,
    leaves: Mutex<Leaves>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The authority itself is no longer valid, or nearly.
    #[error("the session's certificate authority has expired")]
    Expired,
    /// A time that no certificate can say.
    #[error("the clock shows a time that no certificate can have")]
    Clock,
    /// A name that no certificate can say.
    #[error("no certificate can be made for this name")]
    Name,
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// A certificate cannot be served.
    #[error("cannot serve a certificate")]
    Serve(#[from] rustls::Error),
}

/// How long an authority lasts, seconds. Sessions have no end that is known beforehand, so this is more
/// than any turn takes; whoever keeps a session for longer makes a new one.
pub const LIFETIME_S: i64 = 7 * DAY_S;

const DAY_S: i64 = 86_400;
const HOUR_S: i64 = 3_600;
/// How far a leaf reaches to both sides of now, seconds: a sandbox's clock may be off.
const LEAF_REACH_S: i64 = 12 * HOUR_S;
/// What a leaf must still have before it to be served, seconds.
const LEAF_LEAST_S: i64 = HOUR_S;
/// Leaves that are kept.
const MOST_LEAVES: usize = 256;
/// Longest common name, characters; longer ones are refused by some programs.
const LONGEST_NAME: usize = 64;

/// Leaves that were made, and when each was last served.
#[derive(Default)]
struct Leaves {
    made: HashMap<(Host, Alpn), Leaf>,
    served: u64,
}

struct Leaf {
    config: Arc<ServerConfig>,
    ends_s: i64,
    served: u64,
}

impl SessionCa {
    /// A new authority, named after the session, that lasts for [`LIFETIME_S`] from `now_s`, seconds since
    /// the Unix epoch.
    ///
    /// # Errors
    /// When the clock is absurd or there is no randomness.
    pub fn new(now_s: i64, session: &str) -> Result<Self, CaError> {
        Self::lasting(now_s, session, LIFETIME_S)
    }

    /// The same with a lifetime in seconds.
    ///
    /// # Errors
    /// When the clock is absurd or there is no randomness.
    pub fn lasting(now_s: i64, session: &str, lifetime_s: i64) -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf_public = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf_der = PrivatePkcs8KeyDer::from(leaf_public.serialize_der());
        let ends_s = now_s.saturating_add(lifetime_s);
        let mut params = valid(now_s.saturating_sub(DAY_S), ends_s)?;
        let name: String = format!("FTL session {session}").chars().take(LONGEST_NAME).collect();
        params.distinguished_name = named(&name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            ends_s,
            leaf_public,
            leaf_key: ring::sign::any_ecdsa_type(&leaf_der.into())?,
            leaves: Mutex::default(),
        })
    }

    /// The authority's certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The authority's certificate as DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// What serves TLS as this host and no other: a certificate with this one name, TLS 1.2 and 1.3, and
    /// no resumption, so that nothing is shared between two hosts. It is made at most once in 11 hours.
    ///
    /// # Errors
    /// When the authority has expired, or no certificate can have this name.
    pub fn server_config(&self, host: &Host, alpn: Alpn, now_s: i64) -> Result<Arc<ServerConfig>, CaError> {
        if self.ends_s - now_s < LEAF_LEAST_S {
            return Err(CaError::Expired);
        }
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        leaves.served += 1;
        let served = leaves.served;
        let wanted = (host.clone(), alpn);
        if let Some(leaf) = leaves.made.get_mut(&wanted)
            && leaf.ends_s - now_s >= LEAF_LEAST_S
            && now_s > leaf.ends_s - 2 * LEAF_REACH_S
        {
            leaf.served = served;
            return Ok(Arc::clone(&leaf.config));
        }
        let ends_s = now_s.saturating_add(LEAF_REACH_S).min(self.ends_s);
        let config = Arc::new(self.serve(self.sign(host, now_s, ends_s)?, alpn)?);
        leaves.keep(wanted, Leaf { config: Arc::clone(&config), ends_s, served });
        Ok(config)
    }

    fn sign(&self, host: &Host, now_s: i64, ends_s: i64) -> Result<CertificateDer<'static>, CaError> {
        let mut params = valid(now_s.saturating_sub(LEAF_REACH_S), ends_s)?;
        let text = host.to_string();
        params.subject_alt_names = vec![match host {
            Host::Dns(name) => {
                SanType::DnsName(name.as_str().to_owned().try_into().map_err(|_| CaError::Name)?)
            }
            Host::Ip(address) => SanType::IpAddress(*address),
        }];
        // Programs look at the other field; a long name merely must not make this one invalid.
        params.distinguished_name = named(if text.len() > LONGEST_NAME { "FTL" } else { &text });
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&self.leaf_public, &self.issuer)?.into())
    }

    fn serve(&self, leaf: CertificateDer<'static>, alpn: Alpn) -> Result<ServerConfig, CaError> {
        let key = CertifiedKey::new(vec![leaf], Arc::clone(&self.leaf_key));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = alpn.protocols();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(config)
    }
}

impl Leaves {
    /// Keeps a leaf, instead of the one that was served longest ago when there are too many.
    fn keep(&mut self, wanted: (Host, Alpn), leaf: Leaf) {
        if self.made.len() >= MOST_LEAVES && !self.made.contains_key(&wanted) {
            let oldest = self.made.iter().min_by_key(|(_, leaf)| leaf.served);
            if let Some(oldest) = oldest.map(|(wanted, _)| wanted.clone()) {
                self.made.remove(&oldest);
            }
        }
        self.made.insert(wanted, leaf);
    }
}

impl fmt::Debug for SessionCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCa").field("ends_s", &self.ends_s).finish_non_exhaustive()
    }
}

/// A certificate for this time, seconds since the Unix epoch.
fn valid(begins_s: i64, ends_s: i64) -> Result<CertificateParams, CaError> {
    let epoch = date_time_ymd(1970, 1, 1);
    let at = |seconds: i64| {
        // Beyond the year 9999 the addition would panic.
        let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds < 250_000_000_000);
        seconds.map(|seconds| epoch + Duration::from_secs(seconds)).ok_or(CaError::Clock)
    };
    let mut params = CertificateParams::default();
    params.not_before = at(begins_s)?;
    params.not_after = at(ends_s)?;
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

#[cfg(test)]
mod tests;
