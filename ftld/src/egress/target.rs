//! Where a request really goes.
//!
//! Owns the one reading of everything in a request that names its host: the connection it came on, the
//! target, `Host` and `:authority`. They agree, or the request goes nowhere. Must not know rules.

use ftl_core::egress::host::{Authority, Host};
use ftl_core::egress::path::CanonicalPath;
use ftl_core::egress::policy::Reason;
use ftl_core::egress::rule::Scheme;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::refusal::{Asked, Form, Refusal};

/// What is known about a connection before its first request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// It came to the proxy's own address: each request says where it goes.
    Proxy,
    /// It is for one host.
    Tied(Tie),
}

/// A connection that is for one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tie {
    /// Which.
    pub(super) authority: Authority,
    /// Whether the sandbox speaks TLS on it.
    pub(super) scheme: Scheme,
    /// Why no request on it is forwarded.
    pub(super) spoilt: Option<&'static str>,
}

/// Where a request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) method: Method,
    pub(super) path: CanonicalPath,
    /// The path as it was sent.
    pub(super) raw_path: String,
    /// Without the `?`.
    pub(super) query: Option<String>,
}

/// What can be said about a request before it is judged, for the refusal.
pub(super) fn asked(entry: &Entry, parts: &Parts) -> Asked {
    let authority = match entry {
        Entry::Tied(tie) => Some(tie.authority.clone()),
        Entry::Proxy => named(&parts.uri, scheme_of(&parts.uri).map(Scheme::port)).ok().flatten(),
    };
    let path = CanonicalPath::parse(parts.uri.path());
    let path = path.map_or_else(|_| "/".to_owned(), |path| path.as_str().to_owned());
    let kind = parts.headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let agent = parts.headers.get(USER_AGENT).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let form = match () {
        () if kind.starts_with(b"application/grpc") => Form::Grpc,
        // git shows people an answer of this type and no other.
        () if agent.starts_with(b"git/") => Form::Text,
        () => Form::Json,
    };
    let method: String = parts.method.as_str().chars().take(32).collect();
    Asked { method, authority, path, form }
}

/// The host and port that a `CONNECT` asks for.
pub(super) fn of_connect(parts: &Parts) -> Result<Authority, Refusal> {
    if parts.uri.scheme().is_some() || parts.uri.path_and_query().is_some() {
        return Err(bad("CONNECT takes a host and a port"));
    }
    let asked = named(&parts.uri, None)?.ok_or_else(|| bad("CONNECT takes a host and a port"))?;
    // A missing port in `Host` means the same one: many clients leave it out here.
    match host_header(parts, asked.port)? {
        Some(host) if host != asked => Err(mismatch("Host and the target of CONNECT differ")),
        _ => Ok(asked),
    }
}

/// Where a request goes.
pub(super) fn of_request(entry: &Entry, parts: &Parts) -> Result<Target, Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal::because(
            Reason::Unsupported,
            "CONNECT within a connection that is for one host",
        ));
    }
    if parts.method == Method::TRACE {
        return Err(Refusal::because(Reason::Unsupported, "TRACE would send credentials back"));
    }
    let (scheme, authority) = match entry {
        Entry::Proxy => {
            let scheme = scheme_of(&parts.uri);
            let scheme = scheme.ok_or_else(|| bad("a request to a proxy needs a whole URL as its target"))?;
            if scheme == Scheme::Https {
                return Err(Refusal::because(Reason::Unsupported, "https goes through CONNECT"));
            }
            let authority = agreed(parts, scheme)?;
            (scheme, authority)
        }
        Entry::Tied(tie) => {
            if let Some(why) = tie.spoilt {
                return Err(mismatch(why));
            }
            if parts.uri.scheme().is_some() && scheme_of(&parts.uri) != Some(tie.scheme) {
                return Err(bad("the target's scheme is not the connection's"));
            }
            if agreed(parts, tie.scheme)? != tie.authority {
                return Err(mismatch("the request names another host or port than its connection is for"));
            }
            (tie.scheme, tie.authority.clone())
        }
    };
    let raw_path = parts.uri.path().to_owned();
    let path = CanonicalPath::parse(&raw_path).map_err(|error| bad(error.to_string()))?;
    let query = parts.uri.query().map(str::to_owned);
    Ok(Target { scheme, authority, method: parts.method.clone(), path, raw_path, query })
}

/// The one host that the target and `Host` name; at least one of them does.
fn agreed(parts: &Parts, scheme: Scheme) -> Result<Authority, Refusal> {
    let target = named(&parts.uri, Some(scheme.port()))?;
    let header = host_header(parts, scheme.port())?;
    match (target, header) {
        (Some(target), Some(header)) if target != header => {
            Err(mismatch("Host and the request's target differ"))
        }
        (Some(target), None) if parts.version < http::Version::HTTP_2 => {
            Err(bad(format!("Host is missing beside the target {target}")))
        }
        (Some(one), _) | (None, Some(one)) => Ok(one),
        (None, None) => Err(bad("Host is missing")),
    }
}

/// The host that the request's target names.
fn named(uri: &Uri, default_port: Option<u16>) -> Result<Option<Authority>, Refusal> {
    let Some(authority) = uri.authority() else { return Ok(None) };
    Authority::parse(authority.as_str(), default_port).map(Some).map_err(|error| bad(error.to_string()))
}

/// The host that `Host` names.
fn host_header(parts: &Parts, default_port: u16) -> Result<Option<Authority>, Refusal> {
    let mut values = parts.headers.get_all(HOST).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("Host is there more than once"));
    }
    let text = value.to_str().map_err(|_| bad("Host is not text"))?;
    Authority::parse(text, Some(default_port)).map(Some).map_err(|error| bad(error.to_string()))
}

fn scheme_of(uri: &Uri) -> Option<Scheme> {
    match uri.scheme_str()? {
        text if text.eq_ignore_ascii_case("http") => Some(Scheme::Http),
        text if text.eq_ignore_ascii_case("https") => Some(Scheme::Https),
        _ => None,
    }
}

fn bad(detail: impl Into<String>) -> Refusal {
    Refusal::because(Reason::BadRequest, detail)
}

fn mismatch(detail: &str) -> Refusal {
    Refusal::because(Reason::HostMismatch, detail)
}

impl Target {
    /// What an alias stands for. Aliases are spoken to plainly, inside of the sandbox; what they stand for
    /// is always spoken to over TLS.
    pub(super) fn resolved(mut self, alias: Authority) -> Self {
        self.authority = alias;
        self.scheme = Scheme::Https;
        self
    }

    /// The target as it is sent, with another query or none.
    pub(super) fn path_and_query(&self, query: Option<&str>) -> Result<PathAndQuery, Refusal> {
        let text = match query {
            Some(query) => format!("{}?{query}", self.raw_path),
            None => self.raw_path.clone(),
        };
        text.parse().map_err(|_| bad("the request's target has a character that no target has"))
    }

    /// The value of `Host` as it is sent.
    pub(super) fn host(&self) -> String {
        match self.authority.port == self.scheme.port() {
            true => self.authority.host.to_string(),
            false => self.authority.to_string(),
        }
    }
}

impl Tie {
    /// A connection for this host, over TLS, whose client named `sni` in its handshake. Only for an
    /// address is there none.
    pub(super) fn over_tls(authority: Authority, sni: Option<&Host>) -> Self {
        let spoilt = match (sni, &authority.host) {
            (Some(sni), host) if sni == host => None,
            (None, Host::Ip(_)) => None,
            (None, Host::Dns(_)) => Some("the handshake names no host"),
            (Some(_), _) => Some("the handshake names another host than its connection is for"),
        };
        Self { authority, scheme: Scheme::Https, spoilt }
    }
}

#[cfg(test)]
mod tests;
