//! What the human is told about credentials that can go nowhere.
//!
//! Owns the sentences, and that the one about databases is told once for a project. Must not know values.

use std::collections::BTreeSet;
use std::path::Path;

use crate::app::Parts;
use crate::vault::Subject;

/// A credential that is bound to no host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Unbound<'a> {
    /// The variable.
    pub(super) name: &'a str,
    /// The scheme of its value, when that is a URL that no HTTP goes to.
    pub(super) scheme: Option<&'a str>,
}

/// The scheme of a URL that is neither HTTP's nor WebSocket's; none when the text is no such URL.
pub(super) fn other_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(good);
    let http = ["http", "https", "ws", "wss"].iter().any(|http| scheme.eq_ignore_ascii_case(http));
    (is_scheme && !http && !rest.is_empty()).then_some(scheme)
}

/// Sentences for the start of a turn.
pub(super) fn notices(parts: &Parts, project: &Path, unbound: &[Unbound<'_>]) -> Vec<String> {
    let (bindable, elsewhere) = sentences(unbound);
    let told = parts.vault.has_told(project, Subject::Unreachable, elsewhere.as_deref().unwrap_or_default());
    bindable.into_iter().chain(elsewhere.filter(|_| !told)).collect()
}

/// What can be bound, and what could never be used.
fn sentences(unbound: &[Unbound<'_>]) -> (Option<String>, Option<String>) {
    let names = |of: BTreeSet<String>| of.into_iter().collect::<Vec<_>>().join(", ");
    let bindable = unbound.iter().filter(|one| one.scheme.is_none()).map(|one| one.name.to_owned());
    let elsewhere = unbound.iter().filter_map(|one| Some(format!("{} ({}://)", one.name, one.scheme?)));
    let (bindable, elsewhere) = (names(bindable.collect()), names(elsewhere.collect()));
    let bindable = (!bindable.is_empty()).then(|| {
        format!(
            "bound to no host, so that its shadow is worth nothing anywhere: {bindable}; `ftlctl secret bind NAME \
             --host HOST` changes that"
        )
    });
    let elsewhere = (!elsewhere.is_empty()).then(|| {
        format!(
            "not reachable from the sandbox: {elsewhere}; FTL carries HTTP and HTTPS only, and the password inside \
             is a shadow. Start what the tests need inside the sandbox. This is told once for this project"
        )
    });
    (bindable, elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_no_http_goes_to_have_another_scheme() {
        for (text, scheme) in [
            ("postgres://u:p@db:5432/x", Some("postgres")),
            ("postgresql+asyncpg://u:p@db/x", Some("postgresql+asyncpg")),
            ("redis://:p@cache:6379", Some("redis")),
            ("mongodb+srv://u:p@h/x", Some("mongodb+srv")),
            ("https://u:p@h/x", None),
            ("WSS://h", None),
            ("sk-123", None),
            ("://x", None),
            ("a b://x", None),
        ] {
            assert_eq!(other_scheme(text), scheme, "{text}");
        }
    }

    #[test]
    fn a_database_is_not_said_to_need_a_binding() {
        let database = Unbound { name: "DATABASE_URL", scheme: Some("postgres") };
        let (bindable, elsewhere) = sentences(&[database, database]);
        assert_eq!(bindable, None);
        let elsewhere = elsewhere.unwrap();
        assert!(
            elsewhere.starts_with("not reachable from the sandbox: DATABASE_URL (postgres://);"),
            "{elsewhere}"
        );
        let (bindable, elsewhere) = sentences(&[Unbound { name: "TOKEN", scheme: None }]);
        assert!(bindable.unwrap().contains("TOKEN; `ftlctl secret bind"));
        assert_eq!(elsewhere, None);
    }
}
