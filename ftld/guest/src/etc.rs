//! What of the host's configuration a sandbox sees.
//!
//! Owns the list of what of `/etc` is shown; [`ftl_guest::made_up`] has what stands there instead of the
//! rest. Must not know how it gets into place. The list is of what programs cannot run without; whatever
//! may name a person, a host, a network or a secret is not on it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Files and directories of `/etc` that are shown when the host has them.
pub(crate) const SHOWN: &[&str] = &[
    "alternatives",
    "bash.bashrc",
    "bindresvport.blacklist",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "lsb-release",
    "magic",
    "magic.mime",
    "maven/logging",
    "maven/m2.conf",
    "mime.types",
    "os-release",
    "perl",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "redhat-release",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "vim",
    "xml",
];

/// Whether a name in `/etc` is that of a language's versioned directory, which is shown too.
pub(crate) fn is_versioned(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let java = name.strip_prefix(b"java-").is_some_and(|rest| rest.ends_with(b"-openjdk"));
    let python = name.strip_prefix(b"python3").is_some_and(|rest| rest.iter().all(is_version_byte));
    java || python
}

fn is_version_byte(byte: &u8) -> bool {
    byte.is_ascii_digit() || *byte == b'.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versioned_directories_of_languages_are_recognised() {
        for shown in ["java-17-openjdk", "python3", "python3.11"] {
            assert!(is_versioned(OsStr::new(shown)), "{shown}");
        }
        for hidden in ["python3-secrets", "java-17", "pip.conf", "python2", "passwd"] {
            assert!(!is_versioned(OsStr::new(hidden)), "{hidden}");
        }
    }

    #[test]
    fn nothing_that_names_secrets_or_networks_is_shown() {
        for hidden in [
            "passwd",
            "shadow",
            "hosts",
            "resolv.conf",
            "gitconfig",
            "pip.conf",
            "npmrc",
            "ssl",
            "pki",
            "maven",
        ] {
            assert!(!SHOWN.contains(&hidden), "{hidden}");
        }
    }
}
