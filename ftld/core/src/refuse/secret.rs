//! What secrets are kept in.
//!
//! Owns the question whether a name or the start of a file speaks of a secret. A copy that an editor or a
//! backup left beside a secret holds the same bytes, so its name is asked about without its decoration too.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::name::folded_stem;
use super::pattern::{Pattern, Patterns};
use crate::tree::RelPath;

static SECRET: LazyLock<Patterns> = LazyLock::new(|| Patterns::parse(include_str!("secret.txt")));

/// The class of patterns that mean no directory.
const FILE: &str = "file";
/// What backups, editors and encryption put behind a name.
const SUFFIXES: [&str; 10] = ["~", "#", ".bak", ".old", ".orig", ".save", ".tmp", ".copy", ".gpg", ".asc"];

/// How much of a file's start [`holds_private_key`] needs to see.
pub const KEY_WINDOW: usize = 4096 + 256;
const BEGIN: &[u8] = b"-----BEGIN ";
/// Characters of a key without which its first line is only an example.
const SHORTEST_BODY: usize = 8;

/// The pattern by which the last component of a path names a place for secrets. For walks: what stands
/// beneath a named directory is not asked about.
#[must_use]
pub fn secret_at_end(path: &RelPath, is_dir: bool) -> Option<&'static str> {
    // No pattern has more than three components.
    let mut folded: Vec<_> = path.components().rev().take(3).map(folded_stem).collect();
    folded.reverse();
    at_end(&folded, |pattern| !is_dir || pattern.class != FILE).map(|pattern| pattern.text)
}

/// Whether a path names a place for secrets, or something in one.
#[must_use]
pub(super) fn keeps_secrets(path: &RelPath, is_dir: bool) -> bool {
    let folded: Vec<_> = path.components().map(folded_stem).collect();
    (1..=folded.len()).any(|length| {
        let whole = length == folded.len();
        let accept = |pattern: &Pattern| pattern.tree || (whole && (!is_dir || pattern.class != FILE));
        at_end(&folded[..length], accept).is_some()
    })
}

/// Whether a file that starts so holds a private key: the line that begins one, and then the key. The line
/// alone, as programs that read keys have it, is none.
#[must_use]
pub fn holds_private_key(start: &[u8]) -> bool {
    let mut rest = start;
    while let Some(at) = rest.iter().position(|byte| *byte == b'-') {
        rest = &rest[at..];
        match rest.strip_prefix(BEGIN) {
            Some(after) if begins_key(after) => return true,
            Some(after) => rest = after,
            None => rest = &rest[1..],
        }
    }
    false
}

fn begins_key(after_begin: &[u8]) -> bool {
    let in_label = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    let length = after_begin.iter().take_while(|byte| in_label(byte)).count();
    let (label, rest) = after_begin.split_at(length);
    let private = label.ends_with(b"PRIVATE KEY") || label.ends_with(b"PRIVATE KEY BLOCK");
    let Some(mut body) = rest.strip_prefix(b"-----").filter(|_| private) else { return false };
    // In JSON and the like the line's end is written out.
    while let Some(after) =
        [&b"\\r"[..], b"\\n", b"\r", b"\n", b" ", b"\t"].iter().find_map(|space| body.strip_prefix(*space))
    {
        body = after;
    }
    let headers = [&b"Proc-Type:"[..], b"DEK-Info:", b"Version:", b"Comment:"];
    let in_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    headers.iter().any(|header| body.starts_with(header))
        || body.iter().take_while(|byte| in_key(byte)).count() >= SHORTEST_BODY
}

fn at_end(path: &[Cow<'_, str>], accept: impl Fn(&Pattern) -> bool) -> Option<&'static Pattern> {
    let (last, above) = path.split_last()?;
    let names = undecorated(last);
    if names.iter().any(|name| SECRET.excepts(name)) {
        return None;
    }
    names.into_iter().find_map(|name| SECRET.ending(above, name, &accept))
}

/// A name, and what is left when decoration is taken off piece by piece.
fn undecorated(name: &str) -> Vec<&str> {
    let (mut names, mut rest, mut swap) = (vec![name], name, false);
    while let Some(less) = less(rest) {
        // `.name.swp` is the swap file of `name` as well as of `.name`.
        swap |= is_swap(rest);
        names.push(less);
        names.extend(less.strip_prefix('.').filter(|_| swap));
        rest = less;
    }
    names
}

/// A name without one piece of decoration.
fn less(name: &str) -> Option<&str> {
    let suffix = || SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    let prefix = || name.strip_prefix(".#").or_else(|| name.strip_prefix('#'));
    let swap = || is_swap(name).then(|| &name[..name.len() - ".swp".len()]);
    let number = || {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let before = stem.strip_suffix(".~").or_else(|| stem.strip_suffix('.'));
        before.filter(|_| stem.len() < name.len())
    };
    suffix().or_else(swap).or_else(number).or_else(prefix).filter(|less| !less.is_empty())
}

/// Whether a name ends as Vim's swap files do: `.swp`, then `.swo` and so on.
fn is_swap(name: &str) -> bool {
    matches!(name.as_bytes(), [.., b'.', b's', b'w', last] if last.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> bool {
        let (text, is_dir) = text.strip_suffix('/').map_or((text, false), |text| (text, true));
        let path = RelPath::new(text).unwrap();
        let at_end = secret_at_end(&path, is_dir).is_some();
        assert!(!at_end || keeps_secrets(&path, is_dir), "{text}");
        at_end
    }

    #[test]
    fn secret_names_are_found_at_any_depth_and_in_any_case() {
        for name in [
            ".env",
            "a/b/.env.production",
            "prod.env",
            "KEY.PEM",
            "a/.NPMRC",
            ".docker/config.json",
            "x/.aws",
            "terraform.tfstate.backup",
            "a/.config/gcloud",
            "service-account-7.json",
            ".ENV.",
            "id_ed25519",
            "id_rsa_work",
            "id_rsa-github",
            "ID_RSA",
            "id_ecdsa.txt",
            "id_dsa.2024",
            "deploy_rsa",
            "keys/github_ed25519",
            "host_ecdsa",
            "ssh_host_rsa_key",
            ".authinfo",
            ".authinfo.gpg",
            "rclone.conf",
            ".databrickscfg",
            ".kaggle/kaggle.json",
            "home.ovpn",
            "wg0.conf",
            "local.settings.json",
            ".sentryclirc",
            "secret.yml",
            "k8s/secret.yaml",
            "secret.json",
            "secrets.json",
            "sa-key.json",
            "credentials",
            "a/aws_credentials",
            ".token",
            "cookies.txt",
            ".claude/settings.local.json",
            ".cache/huggingface/token",
            ".bash_history",
            ".zsh_history",
            ".python_history",
            ".psql_history",
            ".mysql_history",
            ".node_repl_history",
            ".ssh/",
            ".aws/",
        ] {
            assert!(secret(name), "{name}");
        }
    }

    #[test]
    fn neighbours_of_secret_names_are_not() {
        for name in [
            "env",
            "src/environment.rs",
            "config.json",
            "id_rsa.pub",
            "id_rsa_work.pub",
            "id_ed25519.pub~",
            "id_rsa_test.go",
            "host_rsa.pub",
            "keys.rs",
            "monkey",
            "pem",
            "gcloud",
            "README.md",
            "secrets.py",
            "credentials.rs",
            "src/credentials/",
            "src/credentials/mod.rs",
            "crypto_rsa/",
            "token.rs",
            "token",
            "tokens.txt",
            "rsa",
            "src/rsa.c",
            "test_rsa.py",
            "settings.json",
            ".claude/settings.json",
            "secret.rs",
            "history",
            "cookies.js",
            "x.conf",
            "libfoo.so.1",
            "notes.bak",
            "#notes#",
            ".#a",
            ".notes.swp",
            "~",
            "#",
            ".1",
            "1",
            ".swp",
            "secrets.yml.enc",
        ] {
            assert!(!secret(name), "{name}");
        }
    }

    #[test]
    fn a_copy_of_a_secret_is_one_whatever_its_name_was_decorated_with() {
        for name in [
            "server.key~",
            "server.key.bak",
            "#server.key#",
            ".#server.key",
            ".server.key.swp",
            ".server.key.swo",
            ".netrc.swp",
            ".netrc.swx",
            "id_rsa.old",
            "deploy_rsa.bak.2",
            ".netrc.orig~",
            "auth.json.save",
            "server.pem.1",
            ".pgpass.tmp",
            "credentials.copy",
            ".npmrc.gpg",
            "x.p12.asc",
            "server.key.~3~",
            "SERVER.KEY.BAK",
            ".credentials.bak.swp",
            ".ssh.old/",
            ".aws.bak/",
            ".docker/config.json.bak",
        ] {
            assert!(secret(name), "{name}");
        }
    }

    #[test]
    fn what_stands_in_a_place_for_secrets_keeps_secrets() {
        let keeps = |text: &str| keeps_secrets(&RelPath::new(text).unwrap(), false);
        assert!(keeps(".ssh/known") && keeps("a/.aws.bak/x/y") && keeps(".ssh/id_rsa.pub"));
        assert!(!keeps("credentials/x") && !keeps("ssh/x"));
    }

    #[test]
    fn a_private_key_is_known_by_its_beginning() {
        let begin = |label: &str, after: &str| format!("x\n-----BEGIN {label}-----{after}").into_bytes();
        for (label, after, expected) in [
            ("PRIVATE KEY", "\nMIIEvQIBADANBgkq\n", true),
            ("RSA PRIVATE KEY", "\r\nMIIEvQIBADANBgkq", true),
            ("RSA PRIVATE KEY", "\nProc-Type: 4,ENCRYPTED\n", true),
            ("OPENSSH PRIVATE KEY", "\n    b3BlbnNzaC1rZXktdjE", true),
            ("PRIVATE KEY", "\\nMIIEvQIBADANBgkq\\n", true),
            ("PGP PRIVATE KEY BLOCK", "\n\nlQOYBF4x", true),
            ("PUBLIC KEY", "\nMIIEvQIBADANBgkq", false),
            ("CERTIFICATE", "\nMIIEvQIBADANBgkq", false),
            ("PRIVATE KEY", "\")", false),
            ("PRIVATE KEY", "\n...\n", false),
            ("PRIVATE KEY", "", false),
            ("no PRIVATE KEY", "\nMIIEvQIBADANBgkq", false),
        ] {
            assert_eq!(holds_private_key(&begin(label, after)), expected, "{label} {after}");
        }
        let second = [begin("CERTIFICATE", "\nMIIE"), begin("EC PRIVATE KEY", "\nMHcCAQEEIA")].concat();
        assert!(holds_private_key(&second));
        assert!(!holds_private_key(&[b'-'; 300]));
    }
}
