//! Which variables of the human's environment may enter a sandbox.
//!
//! Owns which variables are refused: those with secrets, as [`crate::credential::classify`] tells them by
//! name and by value, and those that steer programs. It refuses too much rather than too little: a secret
//! that is needed belongs into the daemon's care, not into the sandbox. Must not read the environment: a
//! look-up arrives as an argument.

use std::ffi::OsString;

use crate::credential::classify::{looks_secret, names_secret};

/// The human's variables after the judgement.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Forwarded {
    /// Those that may enter a sandbox, with their values.
    pub env: Vec<(String, OsString)>,
    /// Those that stay outside.
    pub refused: Vec<(String, Refusal)>,
}

/// Why a variable stays outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is not set.
    Unset,
    /// The sandbox sets it itself, or it would change how programs there are found, loaded or connected.
    Reserved,
    /// Its name says that it holds a secret, or the way to one.
    SecretName,
    /// Its value looks like a secret.
    SecretValue,
}

/// Names that steer programs rather than tell them something.
const RESERVED: [&str; 24] = [
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "SHELL",
    "PWD",
    "OLDPWD",
    "TMPDIR",
    "ENV",
    "BASH_ENV",
    "IFS",
    "CDPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PERL5OPT",
    "RUBYOPT",
    "NODE_OPTIONS",
    "GCONV_PATH",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "DISPLAY",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "PROMPT_COMMAND",
];

/// Beginnings and ends of such names.
const RESERVED_PARTS: [(&str, &str); 8] = [
    ("GIT_CONFIG", ""),
    ("LD_", ""),
    ("DYLD_", ""),
    ("FTL_", ""),
    ("XDG_", ""),
    ("", "_PROXY"),
    ("", "_BASE_URL"),
    ("", "_CA_BUNDLE"),
];

/// Names that hold a secret, or the way to one, without saying so.
const SECRET_NAMES: [&str; 11] = [
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "GPG_AGENT_INFO",
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_HOST",
    "KUBECONFIG",
    "PGSERVICEFILE",
    "DATABASE_URL",
    "REDIS_URL",
    "MONGODB_URI",
    "SLACK_WEBHOOK_URL",
];

/// Judges each variable of `names`.
pub fn forwardable(names: &[String], lookup: impl Fn(&str) -> Option<OsString>) -> Forwarded {
    let mut forwarded = Forwarded::default();
    for name in names {
        let judged = match lookup(name) {
            None => Err(Refusal::Unset),
            Some(value) => refusal(name, &value.to_string_lossy()).map_or(Ok(value), Err),
        };
        match judged {
            Ok(value) => forwarded.env.push((name.clone(), value)),
            Err(why) => forwarded.refused.push((name.clone(), why)),
        }
    }
    forwarded
}

impl Refusal {
    /// The reason, as the end of a sentence that begins with the variable's name.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unset => {
                "is not set where ftld was started (`ftlctl daemon stop`, and the next command starts it anew)"
            }
            Self::Reserved => "would change how programs in the sandbox run",
            Self::SecretName => "is the name of a secret",
            Self::SecretValue => "holds what looks like a secret",
        }
    }
}

/// Whether a name steers programs in the sandbox, and is therefore the sandbox's own to set.
#[must_use]
pub fn reserved(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    RESERVED.contains(&name.as_str())
        || RESERVED_PARTS.iter().any(|(start, end)| name.starts_with(start) && name.ends_with(end))
}

fn refusal(name: &str, value: &str) -> Option<Refusal> {
    let upper = name.to_ascii_uppercase();
    match () {
        () if reserved(name) => Some(Refusal::Reserved),
        () if SECRET_NAMES.contains(&upper.as_str()) || names_secret(&upper) => Some(Refusal::SecretName),
        () if looks_secret(value) => Some(Refusal::SecretValue),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_settings_may_enter() {
        for (name, value) in [
            ("LANG", "en_GB.UTF-8"),
            ("TZ", "Europe/Berlin"),
            ("EDITOR", "/usr/bin/vim"),
            ("MONKEY", "banana"),
            ("COMPASS", "north"),
            ("AUTHOR", "Ada Lovelace <ada@example.com>"),
            ("RUST_LOG", "ftld=debug,hyper=warn"),
            ("RUSTFLAGS", "-C target-cpu=native -C link-arg=-fuse-ld=lld"),
            ("JAVA_HOME", "/usr/lib/jvm/java-17-openjdk-amd64"),
            ("REGISTRY_URL", "https://registry.example.com/a/b"),
            ("FEATURES", "one-long-feature-name,another_long_feature_name"),
            ("CLASSPATH", "/opt/lib/some-library-1.2.3.jar:/opt/lib/other-4.5.6.jar"),
            ("BUILD_NUMBER", "20261121"),
            ("MODEL", "us.anthropic.claude-sonnet-4-6"),
            ("EMPTY", ""),
        ] {
            assert_eq!(refusal(name, value), None, "{name}={value}");
        }
    }

    #[test]
    fn names_of_secrets_stay_outside_whatever_they_hold() {
        for name in [
            "ANTHROPIC_API_KEY",
            "OPENAI_API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "GITHUB_TOKEN",
            "github_token",
            "DB_PASSWORD",
            "PGPASSWORD",
            "MYSQL_PWD",
            "KEY",
            "SIGNING_KEY_2",
            "SENTRY_DSN",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "SSH_AUTH_SOCK",
            "KUBECONFIG",
            "DATABASE_URL",
            "MYTOKEN",
            "NPM_AUTH",
            "AZURE_PAT",
            "BROWSER_COOKIES",
            "DOCKER_HOST",
        ] {
            assert_eq!(refusal(name, "x"), Some(Refusal::SecretName), "{name}");
        }
    }

    #[test]
    fn values_of_secrets_stay_outside_whatever_they_are_called() {
        for value in [
            "sk-ant-REDACTED",
            "sk_live_abcdefgh",
            "ghp_abcdefghijkl",
            "github_pat_11ABCDEFG",
            "AKIAIOSFODNN7EXAMPLE",
            "xoxb-1234-5678-abc",
            "Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
            "postgres://user:hunter2@db.example.com/x",
            "https://ghp@example.com/x.git",
            "https://hooks.slack.com/services/T/B/x",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "123e4567-e89b-12d3-a456-426614174000",
            "url=https://example.com/?token=a8f5f167f44f4964e6c998dee827110c",
            "AbCdEfGhIjKlMnOpQrStUvWxYz",
        ] {
            assert_eq!(refusal("SETTING", value), Some(Refusal::SecretValue), "{value}");
        }
    }

    #[test]
    fn what_steers_programs_stays_outside() {
        for name in [
            "PATH",
            "LD_PRELOAD",
            "https_proxy",
            "NO_PROXY",
            "ANTHROPIC_BASE_URL",
            "FTL_HOME",
            "NODE_OPTIONS",
        ] {
            assert_eq!(refusal(name, "x"), Some(Refusal::Reserved), "{name}");
        }
    }

    #[test]
    fn each_variable_is_forwarded_or_refused() {
        let names = ["LANG", "GITHUB_TOKEN", "NOWHERE"].map(str::to_owned);
        let lookup = |name: &str| (name != "NOWHERE").then(|| OsString::from("C"));
        let forwarded = forwardable(&names, lookup);
        assert_eq!(forwarded.env, [("LANG".to_owned(), OsString::from("C"))]);
        assert_eq!(
            forwarded.refused,
            [("GITHUB_TOKEN".to_owned(), Refusal::SecretName), ("NOWHERE".to_owned(), Refusal::Unset)]
        );
    }
}
