//! A request that a human asks about.
//!
//! Owns the reading of a URL into the facts that a policy decides on. Must not know policies; the requests
//! of a sandbox do not come this way.

use super::host::{Authority, HostError};
use super::path::{CanonicalPath, PathError};
use super::rule::{Facts, Scheme};

/// A method and a URL, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// TLS or not.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// Method, upper case.
    pub method: String,
    /// Path.
    pub path: CanonicalPath,
}

/// Why a text is no URL of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AskedError {
    /// Another scheme.
    #[error("a URL begins with `https://` or `http://`")]
    Scheme,
    /// A user name.
    #[error("the URL has a user name, leave out what is before the `@`")]
    User,
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The path.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl Asked {
    /// Reads a URL; without a scheme it is that of TLS, without a method the method is GET. Query and
    /// fragment are left out.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(method: &str, url: &str) -> Result<Self, AskedError> {
        let url = url.trim();
        let end = url.find(['?', '#']).unwrap_or(url.len());
        let (scheme, rest) = match url[..end].split_once("://") {
            Some((scheme, rest)) => (read_scheme(scheme)?, rest),
            None => (Scheme::Https, &url[..end]),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(AskedError::User);
        }
        Ok(Self {
            scheme,
            authority: Authority::parse(authority, Some(scheme.port()))?,
            method: if method.is_empty() { "GET".into() } else { method.to_ascii_uppercase() },
            path: CanonicalPath::parse(path)?,
        })
    }

    /// What a policy decides on.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        let Self { scheme, authority, method, path } = self;
        Facts { scheme: *scheme, authority, method, path }
    }
}

/// The scheme of a URL; a WebSocket begins as a request over the same.
fn read_scheme(text: &str) -> Result<Scheme, AskedError> {
    match text.to_ascii_lowercase().as_str() {
        "https" | "wss" => Ok(Scheme::Https),
        "http" | "ws" => Ok(Scheme::Http),
        _ => Err(AskedError::Scheme),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_requests() {
        let read = |method, url| {
            Asked::parse(method, url)
                .map(|Asked { scheme, authority, method, path }| {
                    format!("{method} {} {authority} {path}", scheme.name())
                })
                .map_err(|problem| problem.to_string())
        };
        for (method, url, expected) in [
            ("", "https://A.example/v1?x=/../#y", "GET https a.example:443 /v1"),
            ("post", "http://a.example:8080", "POST http a.example:8080 /"),
            ("", "a.example/x#y", "GET https a.example:443 /x"),
            ("", "wss://a.example?x", "GET https a.example:443 /"),
            ("", "[::1]:80/", "GET https [::1]:80 /"),
        ] {
            assert_eq!(read(method, url), Ok(expected.to_owned()), "{url}");
        }
        for url in
            ["", "https://", "ftp://a.example", "https://u:p@a.example/", "https://a.example/..", "a b"]
        {
            assert!(read("", url).is_err(), "{url}");
        }
    }
}
