//! The same trust for Java, which reads neither PEM nor the usual variables.
//!
//! Owns a writer for the one form of PKCS#12 that is needed: certificates that are trusted, without
//! encryption and without a password, as the JDK ships its own since version 18. Must not know whose
//! certificates they are.

use super::Places;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const BMP_TEXT: u8 = 0x1e;
/// Context tag 0, explicit.
const INNER: u8 = 0xa0;

/// 1.2.840.113549.1.7.1: plain data.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
/// 1.2.840.113549.1.12.10.1.3: a bag with a certificate.
const CERT_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 3];
/// 1.2.840.113549.1.9.22.1: an X.509 certificate.
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
/// 1.2.840.113549.1.9.20: the entry's name.
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
/// 2.16.840.1.113894.746875.1.1: what Java trusts the certificate for; without it the entry is no root.
const TRUSTED_USAGE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 1, 1];
/// 2.5.29.37.0: anything.
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0];

/// A trust store with these certificates, each DER.
pub(super) fn trust_store<'a>(certificates: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let bags: Vec<Vec<u8>> =
        certificates.enumerate().map(|(place, der)| bag(&format!("ftl-{place}"), der)).collect();
    let contents = data(&node(SEQUENCE, &[&bags.concat()]));
    let version = node(INTEGER, &[&[3]]);
    node(SEQUENCE, &[&version, &data(&node(SEQUENCE, &[&contents]))])
}

/// What a JVM needs to be told. Paths are quoted as the JVM reads them; the proxy is that of the sandbox.
pub(super) fn options(places: &Places<'_>) -> String {
    let (host, port) = (places.proxy.ip(), places.proxy.port());
    let store = places.java.display();
    let mut options = format!("\"-Djavax.net.ssl.trustStore={store}\" -Djavax.net.ssl.trustStoreType=PKCS12");
    for scheme in ["http", "https"] {
        options.push_str(&format!(" -D{scheme}.proxyHost={host} -D{scheme}.proxyPort={port}"));
    }
    options.push_str(" -Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]");
    options
}

fn bag(name: &str, der: &[u8]) -> Vec<u8> {
    let certificate = node(SEQUENCE, &[&object(X509), &node(INNER, &[&node(OCTETS, &[der])])]);
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let named = attribute(FRIENDLY_NAME, &node(BMP_TEXT, &[&name]));
    let trusted = attribute(TRUSTED_USAGE, &object(ANY_USAGE));
    let attributes = node(SET, &[&named, &trusted]);
    node(SEQUENCE, &[&object(CERT_BAG), &node(INNER, &[&certificate]), &attributes])
}

fn data(content: &[u8]) -> Vec<u8> {
    node(SEQUENCE, &[&object(DATA), &node(INNER, &[&node(OCTETS, &[content])])])
}

fn attribute(kind: &[u8], value: &[u8]) -> Vec<u8> {
    node(SEQUENCE, &[&object(kind), &node(SET, &[value])])
}

fn object(id: &[u8]) -> Vec<u8> {
    node(OBJECT, &[id])
}

/// A DER value: tag, length, content.
fn node(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = content.len().to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            // A length has at most eight bytes, so the cast is exact.
            out.push(0x80 | bytes.len() as u8);
            out.extend(bytes);
        }
    }
    out.extend(content);
    out
}
