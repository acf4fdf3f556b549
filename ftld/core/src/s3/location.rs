//! Where objects are.
//!
//! Owns the reading of the human's configuration of a bucket, and the host, path and query of a request.
//! Without TLS only this machine is spoken to.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::egress::host::{Authority, Host};

/// Everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The region when nobody says one.
const REGION: &str = "us-east-1";
/// The longest prefix, bytes: a key has 1024, and what is kept beneath it needs some.
const LONGEST_PREFIX: usize = 512;

/// A bucket as the human configured it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Remote {
    /// `s3://BUCKET` or `s3://BUCKET/PREFIX`.
    pub url: String,
    /// Where the service is, for one that is not AWS: `https://HOST[:PORT]`, or `http://` on this machine.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: Option<String>,
    /// Whether the bucket stands in the path and not in the host's name.
    pub path_style: Option<bool>,
}

/// A bucket and a prefix in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    bucket: String,
    /// Without a slash at either end; may be empty.
    prefix: String,
    region: String,
    authority: Authority,
    tls: bool,
    path_style: bool,
}

/// A request's address in the form in which it is signed and sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Value of `Host`.
    pub host: String,
    /// Path, encoded.
    pub path: String,
    /// Query, encoded, without the `?`; may be empty.
    pub query: String,
}

/// What is wrong with a configured bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the bucket's configuration {}", self.why())]
pub enum LocationError {
    /// The URL.
    Url,
    /// The bucket's name.
    Bucket,
    /// The prefix.
    Prefix,
    /// The endpoint.
    Endpoint,
    /// An endpoint elsewhere without TLS.
    Plain,
    /// The region.
    Region,
}

impl Location {
    /// Reads a configuration.
    ///
    /// # Errors
    /// When a part of it makes no sense.
    pub fn read(remote: &Remote) -> Result<Self, LocationError> {
        let rest = remote.url.strip_prefix("s3://").ok_or(LocationError::Url)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !is_bucket(bucket) {
            return Err(LocationError::Bucket);
        }
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
        if prefix.len() > LONGEST_PREFIX || (!prefix.is_empty() && prefix.split('/').any(bad)) {
            return Err(LocationError::Prefix);
        }
        let region = remote.region.clone().unwrap_or_else(|| REGION.to_owned());
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || region.len() > 64 || !region.bytes().all(good) {
            return Err(LocationError::Region);
        }
        let (authority, tls) = match &remote.endpoint {
            Some(endpoint) => endpoint_of(endpoint)?,
            None => {
                let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                (authority(&format!("s3.{region}.{domain}"), 443)?, true)
            }
        };
        // A certificate for `*.HOST` fits no bucket with a dot in its name.
        let usual = remote.endpoint.is_some() || bucket.contains('.');
        let path_style = remote.path_style.unwrap_or(usual);
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        Ok(Self { bucket, prefix, region, authority, tls, path_style })
    }

    /// Host and port to connect to.
    ///
    /// # Errors
    /// When the bucket's name cannot stand before the host's.
    pub fn authority(&self) -> Result<Authority, LocationError> {
        match self.path_style {
            true => Ok(self.authority.clone()),
            false => authority(&format!("{}.{}", self.bucket, self.authority.host), self.authority.port),
        }
    }

    /// Whether over TLS.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The region that requests are signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The bucket and the prefix, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket, self.prefix)
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key of a name beneath the prefix.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// The address of a key, or of the bucket where the key is empty.
    ///
    /// # Errors
    /// Those of [`Location::authority`].
    pub fn target(&self, key: &str, query: &[(&str, &str)]) -> Result<Target, LocationError> {
        let authority = self.authority()?;
        let usual = if self.tls { 443 } else { 80 };
        let host = if authority.port == usual { authority.host.to_string() } else { authority.to_string() };
        let encode = |part: &str| utf8_percent_encode(part, ENCODED).to_string();
        let key = key.split('/').map(encode).collect::<Vec<_>>().join("/");
        let path = if self.path_style { format!("/{}/{key}", self.bucket) } else { format!("/{key}") };
        let pair = |(name, value): &(&str, &str)| format!("{}={}", encode(name), encode(value));
        Ok(Target { host, path, query: query.iter().map(pair).collect::<Vec<_>>().join("&") })
    }
}

impl LocationError {
    /// What the setting must be.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::Url => "must be `s3://BUCKET` or `s3://BUCKET/PREFIX`",
            Self::Bucket => "must name a bucket: 3 to 63 lower-case letters, digits, `-` and `.`",
            Self::Prefix => {
                "must have a prefix of at most 512 bytes without empty parts, `.`, `..` and control characters"
            }
            Self::Endpoint => "must be `https://HOST` or `https://HOST:PORT`",
            Self::Plain => "must begin with `https://`: without TLS only this machine is spoken to",
            Self::Region => "must be a region's name, such as `eu-central-1`",
        }
    }
}

fn authority(host: &str, port: u16) -> Result<Authority, LocationError> {
    Authority::parse(host, Some(port)).map_err(|_| LocationError::Endpoint)
}

fn endpoint_of(text: &str) -> Result<(Authority, bool), LocationError> {
    let (rest, port, tls) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, 443, true),
        (None, Some(rest)) => (rest, 80, false),
        (None, None) => return Err(LocationError::Endpoint),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let authority = authority(rest, port)?;
    let here = match &authority.host {
        Host::Ip(address) => address.is_loopback(),
        Host::Dns(name) => name.as_str() == "localhost",
    };
    if tls || here { Ok((authority, tls)) } else { Err(LocationError::Plain) }
}

fn is_bucket(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    (3..=63).contains(&name.len())
        && name.bytes().all(good)
        && edge(name.as_bytes().first())
        && edge(name.as_bytes().last())
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str, endpoint: Option<&str>) -> Remote {
        Remote { url: url.into(), endpoint: endpoint.map(str::to_owned), ..Remote::default() }
    }

    #[test]
    fn a_bucket_stands_in_the_host_at_aws_and_in_the_path_elsewhere() {
        let aws =
            Location::read(&Remote { region: Some("eu-west-3".into()), ..remote("s3://one/a b/c/", None) });
        let aws = aws.unwrap();
        let target = aws.target(&aws.key("x+y"), &[("list-type", "2"), ("prefix", "a/b")]).unwrap();
        let wanted = ("one.s3.eu-west-3.amazonaws.com", "/a%20b/c/x%2By", "list-type=2&prefix=a%2Fb");
        assert_eq!((target.host.as_str(), target.path.as_str(), target.query.as_str()), wanted);
        assert_eq!((aws.tls(), aws.region(), aws.shown().as_str()), (true, "eu-west-3", "s3://one/a b/c"));
        let here = Location::read(&remote("s3://one", Some("http://127.0.0.1:9000/"))).unwrap();
        let target = here.target(&here.key("x"), &[]).unwrap();
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:9000", "/one/x"));
        let dotted = Location::read(&remote("s3://one.two", None)).unwrap();
        assert_eq!(dotted.target("", &[]).unwrap().path, "/one.two/");
        let named = Remote { path_style: Some(false), ..remote("s3://one", Some("https://s3.example.com")) };
        let named = Location::read(&named).unwrap();
        assert_eq!(named.target("", &[]).unwrap().host, "one.s3.example.com");
        assert!(Location::read(&remote("s3://one", Some("http://localhost:1"))).is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        use LocationError as E;
        for (url, endpoint, wanted) in [
            ("https://one", None, E::Url),
            ("s3://", None, E::Bucket),
            ("s3://One", None, E::Bucket),
            ("s3://a_b", None, E::Bucket),
            ("s3://one/a//b", None, E::Prefix),
            ("s3://one/../b", None, E::Prefix),
            ("s3://one/\n", None, E::Prefix),
            ("s3://one", Some("minio.example.com"), E::Endpoint),
            ("s3://one", Some("https://user:pw@example.com"), E::Endpoint),
            ("s3://one", Some("https://example.com/path"), E::Endpoint),
            ("s3://one", Some("http://example.com"), E::Plain),
            ("s3://one", Some("http://192.168.0.1:9000"), E::Plain),
        ] {
            assert_eq!(Location::read(&remote(url, endpoint)), Err(wanted), "{url} {endpoint:?}");
        }
        let wrong = Remote { region: Some("EU".into()), ..remote("s3://one", None) };
        assert_eq!(Location::read(&wrong), Err(E::Region));
    }
}
