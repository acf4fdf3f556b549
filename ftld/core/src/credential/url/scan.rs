//! Where secrets stand in URLs and connection strings.
//!
//! Owns the reading of these texts. It repairs nothing: a password that should have been encoded and was
//! not is found by where it must end. Must not make values.

use super::Found;
use crate::credential::classify::{is_setting, is_switch, parameter_names_secret, part_is_secret};
use crate::credential::{Binding, Slot};
use crate::egress::host::{Authority, Host, HostPattern};

/// Passwords that mean that the user's name is the secret.
const NO_PASSWORDS: [&str; 3] = ["x-oauth-basic", "x", "X"];
/// What a digest begins with, behind the `@` of an image's name.
const DIGESTS: [&str; 2] = ["sha256:", "sha512:"];

/// Schemes that have parameters at once behind the host, and no user in front of it.
const PARAMETERS_FOLLOW: [&str; 2] = ["sqlserver", "jtds"];

/// A URL's parts, as places in the text.
struct Url<'t> {
    scheme: &'t str,
    /// Where the authority begins and ends.
    authority: (usize, usize),
    /// Where the URL ends.
    end: usize,
}

/// Every secret part, in the order of the text, without overlaps.
pub(super) fn find(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let urls = urls(text);
    if is_connection_string(text, &urls) {
        let separator = if text.contains(';') { b';' } else { b' ' };
        keyed(text, (0, text.len()), &[separator], None, &mut found);
    } else if urls.is_empty() {
        without_scheme(text, &mut found);
    }
    for url in &urls {
        let own = user_info(text, url, &mut found);
        path(text, url, &mut found);
        let query = text[url.authority.1..url.end].find(['?', ';']);
        if let Some(query) = query {
            let query = (url.authority.1 + query + 1, url.end);
            keyed(text, query, b"&;", own.as_ref(), &mut found);
        }
    }
    found.sort_by_key(|part| part.at.start);
    let mut end = 0;
    found.retain(|part| {
        let apart = part.at.start >= end && !part.at.is_empty();
        end = if apart { part.at.end } else { end };
        apart
    });
    found
}

/// Every URL of a text. Several may follow each other behind commas or spaces.
fn urls(text: &str) -> Vec<Url<'_>> {
    let mut urls = Vec::new();
    for (at, _) in text.match_indices("://") {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-');
        let start = text[..at]
            .rfind(|c| !word(c))
            .map_or(0, |before| before + text[before..].chars().next().map_or(1, char::len_utf8));
        let scheme = &text[start..at];
        if scheme.is_empty() {
            continue;
        }
        let begin = at + 3;
        let rest = &text[begin..];
        let mut end = begin + stop(rest);
        if !text[begin..end].contains('@') && !ends_in_port(&text[begin..end]) {
            // A password with spaces or quotes in it.
            let at = rest[..rest.find("://").unwrap_or(rest.len())].rfind('@');
            end = at.map_or(end, |at| begin + at + stop(&rest[at..]));
        }
        // The next URL of a list ends this one.
        if let Some(next) = text[begin..end].find("://") {
            let comma = text[begin..begin + next].rfind([',', ';']);
            end = comma.map_or(end, |comma| begin + comma);
        }
        let authority = (begin, authority_end(text, scheme, begin, end));
        urls.push(Url { scheme, authority, end });
    }
    urls
}

/// Length of what can be in a URL.
fn stop(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
    text.find(ends).unwrap_or(text.len())
}

/// Whether an authority, up to the first of `/?#`, is hosts with ports or without them.
fn ends_in_port(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.split(',').all(|host| {
        // Colons in brackets are an address's.
        let behind = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(_, port)| port);
        let (name, port) = behind.unwrap_or(host).split_once(':').unwrap_or((host, "0"));
        let port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        port && (behind.is_none() || name.is_empty() || name == host)
    })
}

/// Where the authority ends: at the first of `/?#`, unless these are in a password, where they should have
/// been encoded. That is so when what would be the port is none, and in doubt when there is an `@` behind.
fn authority_end(text: &str, scheme: &str, begin: usize, end: usize) -> usize {
    let rest = &text[begin..end];
    if PARAMETERS_FOLLOW.contains(&scheme) {
        return begin + rest.find(';').unwrap_or(rest.len());
    }
    let first = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..first];
    let bad_port = !authority.contains('@') && !ends_in_port(authority);
    let in_query = |at: &usize| {
        let query = rest.find('?').filter(|query| query < at);
        query.is_some_and(|query| rest[query..*at].contains('='))
    };
    let last = match bad_port {
        true => rest.rfind('@'),
        false => rest.match_indices('@').map(|(at, _)| at).rfind(|at| !in_query(at)),
    };
    let Some(last) = last.filter(|last| *last > first) else { return begin + first };
    // Paths of the web have an `@` in them; a database's do not.
    let web = scheme.starts_with("http") || scheme.starts_with("ws");
    let host = authority.split(':').next().unwrap_or_default();
    let in_path = match authority.contains('@') || !authority.contains(':') {
        true => web || !authority.contains('@'),
        false => web && !bad_port && (host.contains('.') || host == "localhost" || host.starts_with('[')),
    };
    if in_path {
        return begin + first;
    }
    let behind = rest[last..].find(['/', '?', '#']).unwrap_or(rest.len() - last);
    begin + last + behind
}

/// Finds the secrets before the `@`; gives back the `https` host that the URL names.
fn user_info(text: &str, url: &Url<'_>, found: &mut Vec<Found>) -> Option<Authority> {
    let (begin, end) = url.authority;
    let authority = &text[begin..end];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let own = (url.scheme == "https").then(|| Authority::parse(host, Some(443)).ok()).flatten();
    let Some(at) = authority.rfind('@') else { return own };
    let info = &authority[..at];
    let (user, password) = info.split_once(':').map_or((info, ""), |(user, password)| (user, password));
    let user_is_secret = match password {
        "" => url.scheme.starts_with("http") && !is_human(user),
        _ => part_is_secret(user),
    };
    if user_is_secret && !user.is_empty() {
        let slots = match own.as_ref().map(|own| &own.host) {
            Some(Host::Dns(name)) if name.as_str().ends_with(".sentry.io") => {
                vec![Slot::Query { name: "sentry_key".to_owned() }]
            }
            _ => vec![Slot::BasicUser],
        };
        let bindings = bindings(own.as_ref(), slots);
        found.push(Found {
            at: begin..begin + user.len(),
            label: "_USER".to_owned(),
            encoded: true,
            bindings,
        });
    }
    let empty = user_is_secret && NO_PASSWORDS.contains(&password);
    if !password.is_empty() && !empty {
        let start = begin + user.len() + 1;
        let bindings = bindings(own.as_ref(), vec![Slot::BasicPassword]);
        let at = start..start + password.len();
        found.push(Found { at, label: "_PASSWORD".to_owned(), encoded: true, bindings });
    }
    own
}

/// Whether a user's name before an `@` without a password is a name: `git`, `ada.lovelace`, `oauth2`.
fn is_human(user: &str) -> bool {
    let digits = user.bytes().filter(u8::is_ascii_digit).count();
    user.len() < 20 && digits <= 2 && !part_is_secret(user)
}

/// Finds secret segments of a path, as those of web hooks are.
fn path(text: &str, url: &Url<'_>, found: &mut Vec<Found>) {
    if !url.scheme.starts_with("http") {
        return;
    }
    let whole = &text[url.authority.0..url.end];
    let hook = whole.to_ascii_lowercase().contains("hook");
    let from = url.authority.1;
    let length = text[from..url.end].find(['?', '#', ';']).unwrap_or(url.end - from);
    let mut at = from;
    for segment in text[from..from + length].split('/') {
        let long = hook && segment.len() >= 20 && segment.bytes().any(|byte| byte.is_ascii_digit());
        if long || part_is_secret(segment) {
            let label = "_PATH".to_owned();
            found.push(Found { at: at..at + segment.len(), label, encoded: true, bindings: Vec::new() });
        }
        at += segment.len() + 1;
    }
}

/// Finds secret values of `name=value` pairs. With `own`, they are a query's.
fn keyed(
    text: &str,
    range: (usize, usize),
    separators: &[u8],
    own: Option<&Authority>,
    found: &mut Vec<Found>,
) {
    let (mut at, end) = range;
    let query = separators.contains(&b'&');
    while at < end {
        let pair = pair_end(text, at, end, separators);
        if let Some((name, value)) = text[at..pair].split_once('=') {
            let start = at + name.len() + 1;
            let (start, value) = unquoted(start, value);
            let name = name.trim();
            let named = parameter_names_secret(name) && !is_switch(value) && !is_setting(value);
            let identifies = name.to_ascii_lowercase().ends_with("id");
            if named || (part_is_secret(value) && !identifies) {
                let bindings = match query {
                    true => bindings(own, vec![Slot::Query { name: name.to_owned() }]),
                    false => Vec::new(),
                };
                let at = start..start + value.len();
                found.push(Found { at, label: label(name), encoded: query, bindings });
            }
        }
        at = pair + 1;
    }
}

/// Where a pair ends: at the next separator that is not inside quotes.
fn pair_end(text: &str, from: usize, end: usize, separators: &[u8]) -> usize {
    let bytes = &text.as_bytes()[from..end];
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate() {
        match quote {
            Some(closing) if *byte == closing => quote = None,
            Some(_) => {}
            None if at > 0 && bytes[at - 1] == b'=' && b"'\"{".contains(byte) => {
                let closing = if *byte == b'{' { b'}' } else { *byte };
                quote = bytes[at + 1..].contains(&closing).then_some(closing);
            }
            None if separators.contains(byte) || *byte == b'#' && separators.contains(&b'&') => {
                return from + at;
            }
            None => {}
        }
    }
    end
}

/// A value without the quotes or braces around it, and without spaces.
fn unquoted(start: usize, value: &str) -> (usize, &str) {
    let trimmed = value.trim_start();
    let start = start + value.len() - trimmed.len();
    let trimmed = trimmed.trim_end();
    for (open, close) in [('\'', '\''), ('"', '"'), ('{', '}')] {
        let inner = trimmed.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        if let Some(inner) = inner {
            return (start + 1, inner);
        }
    }
    (start, trimmed)
}

/// `Name=value;Name=value`, or libpq's `name=value name=value` when one of the names means a password.
fn is_connection_string(text: &str, urls: &[Url<'_>]) -> bool {
    let name = |pair: &str| {
        let name = pair.split_once('=').map(|(name, _)| name.trim());
        name.is_some_and(|name| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _-".contains(&byte))
        })
    };
    if !name(text) || urls.first().is_some_and(|url| !text[..url.authority.0].contains('=')) {
        return false;
    }
    let pairs = |separator: char| text.split(separator).filter(|pair| !pair.trim().is_empty());
    let secret =
        |pair: &str| pair.split_once('=').is_some_and(|(name, _)| parameter_names_secret(name.trim()));
    let semicolons = text.contains(';') && pairs(';').filter(|pair| name(pair)).count() >= 2;
    semicolons || (pairs(' ').count() >= 2 && pairs(' ').all(name) && pairs(' ').any(secret))
}

/// `user:password@host/…` and Go's `user:password@tcp(host)/…`.
fn without_scheme(text: &str, found: &mut Vec<Found>) {
    let Some(at) = text.rfind('@') else { return };
    let (info, host) = (&text[..at], &text[at + 1..]);
    let Some((user, password)) = info.split_once(':') else { return };
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let named = user.chars().all(word) && !user.eq_ignore_ascii_case("mailto");
    let host_like = host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '(' || c == '[' || c == '/');
    let spaced = text.contains(char::is_whitespace);
    if !named || password.is_empty() || !host_like || spaced || DIGESTS.iter().any(|it| host.starts_with(it))
    {
        return;
    }
    let start = user.len() + 1;
    let at = start..start + password.len();
    found.push(Found { at, label: "_PASSWORD".to_owned(), encoded: false, bindings: Vec::new() });
    let behind = text.len() - host.len();
    if let Some(query) = host.find('?') {
        keyed(text, (behind + query + 1, text.len()), b"&", None, found);
    }
}

/// The URL's own host is where a human wrote that the secret goes.
fn bindings(own: Option<&Authority>, slots: Vec<Slot>) -> Vec<Binding> {
    own.map(|own| Binding {
        hosts: vec![HostPattern::Exact(own.host.clone())],
        port: own.port,
        methods: Vec::new(),
        paths: Vec::new(),
        slots,
        optional: true,
    })
    .into_iter()
    .collect()
}

/// `AccountKey` is `_ACCOUNT_KEY`, `api-key` is `_API_KEY`.
fn label(name: &str) -> String {
    let mut label = String::new();
    let mut lower = false;
    for c in name.chars() {
        if !label.ends_with('_')
            && (!c.is_ascii_alphanumeric() || (c.is_ascii_uppercase() && lower) || label.is_empty())
        {
            label.push('_');
        }
        if c.is_ascii_alphanumeric() {
            label.push(c.to_ascii_uppercase());
        }
        lower = c.is_ascii_lowercase();
    }
    label
}
