//! Reading `Authorization` as AWS clients write it.
//!
//! Owns the form of the header's value. Must not know keys.

use super::{ALGORITHM, Inbound, SigV4Error};

/// Longest value that is read, bytes.
const LONGEST: usize = 8192;

/// Reads the value.
pub(super) fn inbound(value: &str) -> Result<Inbound, SigV4Error> {
    if value.len() > LONGEST {
        return Err(SigV4Error::Malformed);
    }
    let (algorithm, rest) = value.trim().split_once(' ').ok_or(SigV4Error::Malformed)?;
    match algorithm {
        ALGORITHM => {}
        "AWS4-ECDSA-P256-SHA256" => return Err(SigV4Error::Asymmetric),
        "AWS4-HMAC-SHA256-PAYLOAD" => return Err(SigV4Error::SignedChunks),
        _ => return Err(SigV4Error::Malformed),
    }
    let [mut credential, mut headers, mut signature] = [None; 3];
    for part in rest.split(',') {
        let (name, value) = part.trim().split_once('=').ok_or(SigV4Error::Malformed)?;
        let place = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut headers,
            "Signature" => &mut signature,
            _ => return Err(SigV4Error::Malformed),
        };
        if place.replace(value).is_some() {
            return Err(SigV4Error::Malformed);
        }
    }
    let (Some(credential), Some(headers), Some(signature)) = (credential, headers, signature) else {
        return Err(SigV4Error::Malformed);
    };
    let parts: Vec<&str> = credential.split('/').collect();
    let [key_id, date, region, service, "aws4_request"] = parts[..] else {
        return Err(SigV4Error::Malformed);
    };
    let is_date = date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex = signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_label = |text: &str| {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !text.is_empty() && text.len() <= 64 && text.bytes().all(good)
    };
    let signed_headers: Vec<String> = headers.split(';').map(str::to_owned).collect();
    let is_host_signed = signed_headers.iter().any(|name| name == "host");
    if key_id.is_empty() || !is_date || !is_hex || !is_label(region) || !is_label(service) || !is_host_signed
    {
        return Err(SigV4Error::Malformed);
    }
    Ok(Inbound {
        key_id: key_id.to_owned(),
        date: date.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        signed_headers,
        signature: signature.to_owned(),
    })
}
