//! The canonical request, the text that is signed, and its signature.
//!
//! Owns these forms as AWS documents them. Must not know which headers ought to be signed.

use hmac::{Hmac, KeyInit as _, Mac};
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest as _, Sha256};

use super::{ALGORITHM, Inbound, SigV4Error, Unsigned};

/// Everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is signed, beside the request itself.
pub(super) struct Signed<'a> {
    /// `date/region/service/aws4_request`.
    pub(super) scope: String,
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) date: &'a str,
    /// Headers, lower case, in the order in which they are signed.
    pub(super) names: &'a [&'a str],
    /// Hash of the body, or the word that stands for it.
    pub(super) payload: &'a str,
}

impl Signed<'_> {
    /// The signature as hex.
    pub(super) fn signature(
        &self,
        scope: &Inbound,
        request: &Unsigned<'_>,
        headers: &HeaderMap,
        secret: &str,
    ) -> Result<String, SigV4Error> {
        let canonical = self.request(&scope.service, request, headers)?;
        let text = self.text(&canonical);
        let day = self.scope.split('/').next().unwrap_or_default();
        let key = [day, &scope.region, &scope.service, "aws4_request"]
            .iter()
            .try_fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part.as_bytes()))?;
        mac(&key, text.as_bytes()).map(|signature| hex(&signature))
    }

    /// The canonical request.
    pub(super) fn request(
        &self,
        service: &str,
        request: &Unsigned<'_>,
        headers: &HeaderMap,
    ) -> Result<String, SigV4Error> {
        let mut lines = String::new();
        for name in self.names {
            let value = match *name {
                "host" => request.host.to_owned(),
                name => values(headers, name)?,
            };
            lines.push_str(&format!("{name}:{value}\n"));
        }
        Ok([
            request.method,
            &path(request.path, is_s3(service)),
            &query(request.query.unwrap_or_default()),
            &lines,
            &self.names.join(";"),
            self.payload,
        ]
        .join("\n"))
    }

    /// The text that is signed.
    pub(super) fn text(&self, canonical: &str) -> String {
        let digest = hex(&Sha256::digest(canonical));
        format!("{ALGORITHM}\n{}\n{}\n{digest}", self.date, self.scope)
    }
}

/// Whether a service's paths are signed as they are sent.
pub(super) fn is_s3(service: &str) -> bool {
    matches!(service, "s3" | "s3-object-lambda" | "s3-outposts" | "s3express")
}

/// All values of a header, spaces in a row as one.
fn values(headers: &HeaderMap, name: &str) -> Result<String, SigV4Error> {
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| SigV4Error::BadHeader)?;
        all.push(text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "));
    }
    match all.is_empty() {
        true => Err(SigV4Error::BadHeader),
        false => Ok(all.join(",")),
    }
}

/// The canonical path. S3 encodes each segment once and leaves the segments alone; everything else removes
/// dots and empty segments and encodes what is sent once more.
fn path(sent: &str, s3: bool) -> String {
    let sent = if sent.is_empty() { "/" } else { sent };
    if s3 {
        let encode = |segment: &str| {
            percent_encode(&percent_decode_str(segment).collect::<Vec<_>>(), ENCODED).to_string()
        };
        return sent.split('/').map(encode).collect::<Vec<_>>().join("/");
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in sent.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let below = segments.iter().map(|segment| percent_encode(segment.as_bytes(), ENCODED).to_string());
    let mut path = below.fold(String::new(), |path, segment| path + "/" + &segment);
    let folder = ["/", "/.", "/.."].iter().any(|end| sent.ends_with(end));
    if path.is_empty() || folder {
        path.push('/');
    }
    path
}

/// The canonical query: sorted by encoded name, then value.
fn query(sent: &str) -> String {
    let encode = |text: &str| {
        let decoded: Vec<u8> = percent_decode_str(text).collect();
        percent_encode(&decoded, ENCODED).to_string()
    };
    let parts = sent.split('&').filter(|part| !part.is_empty());
    let mut pairs: Vec<(String, String)> = parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn mac(key: &[u8], text: &[u8]) -> Result<Vec<u8>, SigV4Error> {
    // HMAC takes keys of every length; the error has no other way to be.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| SigV4Error::BadHeader)?;
    mac.update(text);
    Ok(mac.finalize().into_bytes().to_vec())
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970 as `YYYYMMDDTHHMMSSZ`.
pub(super) fn write_date(seconds: i64) -> String {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The opposite of [`write_date`].
pub(super) fn read_date(text: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| {
        let part = text.get(from..to)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok()).flatten()
    };
    if text.len() != 16 || text.get(8..9) != Some("T") || !text.ends_with('Z') {
        return None;
    }
    let days = days(digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
    let seconds = days * 86_400 + digits(9, 11)? * 3600 + digits(11, 13)? * 60 + digits(13, 15)?;
    // What is no date, such as the 31st of April, is written differently.
    (write_date(seconds) == text).then_some(seconds)
}

/// Days from 1970 to a date of the Gregorian calendar. Years begin in March, so that the leap day is the
/// last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The opposite of [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}
