//! What variables' names say.
//!
//! Owns the words that mean a secret, and those that take the meaning away. Must not know values.

/// Words of a name that mean a secret. Names are compared word by word, so that `MONKEY` is none.
const SECRET: [&str; 42] = [
    "KEY",
    "KEYS",
    "APIKEY",
    "TOKEN",
    "TOKENS",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWORDS",
    "PASSWD",
    "PW",
    "MNEMONIC",
    "SEED",
    "PASS",
    "PWD",
    "PASSPHRASE",
    "PASSCODE",
    "PIN",
    "PSW",
    "OTP",
    "TOTP",
    "HMAC",
    "CREDENTIAL",
    "CREDENTIALS",
    "CRED",
    "CREDS",
    "AUTH",
    "AUTHORIZATION",
    "COOKIE",
    "COOKIES",
    "SESSION",
    "BEARER",
    "JWT",
    "PAT",
    "DSN",
    "SAS",
    "PRIVATE",
    "SIGNATURE",
    "CERT",
    "NETRC",
    "SALT",
    "WEBHOOK",
];

/// Words for these few are commonly run together with others.
const RUN_TOGETHER: [&str; 6] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "CREDENTIAL"];

/// Words after which any value is secret, be it short, a word or a number.
const PASSWORD: [&str; 13] = [
    "PASSWORD",
    "PASSWORDS",
    "PASSWD",
    "PASS",
    "PASSPHRASE",
    "PASSCODE",
    "PIN",
    "PWD",
    "PW",
    "PSW",
    "OTP",
    "SECRET",
    "SECRETS",
];

/// Ends of words that are commonly run together with others, `DBPASS` and `SIGNINGKEY`.
const SECRET_ENDS: [&str; 3] = ["PASS", "PWD", "KEY"];
/// Words that only end so.
const ONLY_END_SO: [&str; 16] = [
    "BYPASS",
    "COMPASS",
    "DONKEY",
    "ENCOMPASS",
    "HOCKEY",
    "HOTKEY",
    "JOCKEY",
    "MICKEY",
    "MONKEY",
    "OLDPWD",
    "OVERPASS",
    "PUBKEY",
    "SURPASS",
    "TURKEY",
    "UNDERPASS",
    "WHISKEY",
];

/// Last words of names that may mean a user or a password: the value tells.
const ACCOUNT: [&str; 9] =
    ["LOGIN", "LOGON", "SIGNIN", "ADMIN", "ADMINISTRATOR", "ROOT", "SUPERUSER", "UNLOCK", "RECOVERY"];

/// Last words of a name that make it speak about a secret rather than hold one.
const DESCRIBING: [&str; 51] = [
    "ALG",
    "ALGO",
    "ALGORITHM",
    "AUDIENCE",
    "BACKEND",
    "CLASS",
    "COUNT",
    "DIR",
    "DOMAIN",
    "DRIVER",
    "ENABLED",
    "ENDPOINT",
    "EXPIRATION",
    "EXPIRES",
    "EXPIRY",
    "FIELD",
    "FILE",
    "FORMAT",
    "HEADER",
    "HOST",
    "INTERVAL",
    "ISSUER",
    "LENGTH",
    "LIFETIME",
    "LIMIT",
    "MAX",
    "METHOD",
    "MIN",
    "MODE",
    "NAME",
    "PATH",
    "POLICY",
    "PORT",
    "PREFIX",
    "PROVIDER",
    "REGION",
    "REQUIRED",
    "ROUNDS",
    "SCHEME",
    "SCOPE",
    "SCOPES",
    "SERVER",
    "SIZE",
    "STORE",
    "STRATEGY",
    "TIMEOUT",
    "TTL",
    "TYPE",
    "URI",
    "URL",
    "VERSION",
];

/// Last words of names whose values tell things apart and open nothing.
const IDENTIFYING: [&str; 10] =
    ["ID", "IDS", "SHA", "SHA256", "HASH", "CHECKSUM", "DIGEST", "COMMIT", "FINGERPRINT", "UUID"];

/// Ends of names of keys that are no secret.
const PUBLIC_ENDS: [&str; 9] = [
    "PUBLIC_KEY",
    "PUBLISHABLE_KEY",
    "PUB_KEY",
    "PUBKEY",
    "SITE_KEY",
    "PRIMARY_KEY",
    "FOREIGN_KEY",
    "PARTITION_KEY",
    "SORT_KEY",
];

/// Beginnings of names that web frameworks build into pages for everybody.
const PUBLIC_STARTS: [&str; 10] = [
    "NEXT_PUBLIC_",
    "VITE_",
    "REACT_APP_",
    "EXPO_PUBLIC_",
    "NUXT_PUBLIC_",
    "VUE_APP_",
    "GATSBY_",
    "PUBLIC_",
    "STORYBOOK_",
    "SNOWPACK_PUBLIC_",
];

/// Words that are stronger than such a beginning: whoever named it so made a mistake.
const NEVER_PUBLIC: [&str; 5] = ["PASSWORD", "PASSWD", "SECRET", "PRIVATE", "SERVICE_ROLE"];

/// Words of names whose numbers are amounts.
const COUNTING: [&str; 12] = [
    "MAX", "MIN", "TOKENS", "KEYS", "COUNT", "LIMIT", "EXPIRE", "EXPIRES", "TTL", "TIMEOUT", "AGE", "RETRIES",
];

/// Whether a name says that it holds a secret.
#[must_use]
pub fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    RUN_TOGETHER.iter().any(|word| name.contains(word))
        || words(&name).any(|word| SECRET.contains(&word) || ends_secret(word))
}

/// Whether a name says that any value at all is secret.
pub(super) fn is_password(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let run_together = ["PASSWORD", "PASSWD", "SECRET"].iter().any(|word| name.contains(word));
    let ends = |word: &str| ends_secret(word) && !word.ends_with("KEY");
    let says = run_together || words(&name).any(|word| PASSWORD.contains(&word) || ends(word));
    says && !describes(&name) && !identifies(&name)
}

/// Whether a word is a word for a secret with another one in front of it.
fn ends_secret(word: &str) -> bool {
    let ends = SECRET_ENDS.iter().any(|end| word.len() > end.len() && word.ends_with(end));
    ends && !ONLY_END_SO.contains(&word)
}

/// Whether a name may as well mean an account as what opens it.
pub(super) fn opens_account(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    words(&name).last().is_some_and(|word| ACCOUNT.contains(&word))
}

/// Whether a name is about a secret, such as how long it is.
pub(super) fn describes(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    words(&name).last().is_some_and(|word| DESCRIBING.contains(&word)) && !name.ends_with("WEBHOOK_URL")
}

/// Whether a name says that its value is a connection string, of which only a part is secret.
pub(super) fn connects(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    words(&name).any(|word| matches!(word, "DSN" | "CONN" | "CONNECTION" | "CONNECTIONSTRING" | "CONNSTR"))
}

/// Whether a name says that its value tells something apart: a client, a commit, a public key.
pub(super) fn identifies(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let last = name.rsplit('_').next().unwrap_or_default();
    let public = PUBLIC_ENDS.iter().any(|end| name.ends_with(end));
    let front = name.rsplit_once('_').map_or("", |(front, _)| front);
    public || (IDENTIFYING.contains(&last) && !names_secret(front))
}

/// Whether a name's number is an amount. Without a word for a secret every number is.
pub(super) fn counts(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    !names_secret(name)
        || describes(name)
        || (words(&upper).any(|word| COUNTING.contains(&word)) && !is_password(name))
}

/// Whether everybody may see the value anyway.
pub(super) fn is_public(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let start = PUBLIC_STARTS.iter().any(|start| name.starts_with(start));
    start && !NEVER_PUBLIC.iter().any(|word| name.contains(word))
}

/// Whether a parameter of a query or a connection string is named as secrets are.
pub(crate) fn parameter_names_secret(name: &str) -> bool {
    let mut folded = name.to_ascii_lowercase();
    folded.retain(|c| c.is_ascii_alphanumeric());
    let whole =
        ["key", "auth", "pass", "pwd", "sig", "sas", "code", "jwt", "credential", "credentials", "psw"];
    let within = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "accountkey",
        "authkey",
        "privatekey",
        "licensekey",
        "sharedaccesskey",
        "signature",
        "sessionid",
    ];
    let about =
        ["name", "type", "method", "file", "path", "url", "uri", "endpoint", "mode", "version", "length"];
    (whole.contains(&folded.as_str()) || within.iter().any(|word| folded.contains(word)))
        && !about.iter().any(|end| folded.ends_with(end))
}

/// The words of a name in upper case, without numbers behind them.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()))
        .filter(|word| !word.is_empty())
}
