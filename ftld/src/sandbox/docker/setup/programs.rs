//! The agents that can be put into an image, each at one version with the hash of what is fetched.
//!
//! Owns that list, as data. Must not know how an image is built. A mirror of the registry, a proxy or a
//! thief of the registry can at most make a build fail: what does not have the hash is not unpacked.

/// An agent that can be installed.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The agent's name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// One package for each kind of processor, in an engine's words.
    pub packages: &'static [Package],
}

/// A package of the npm registry that holds programs of the platform's own, which need no Node.js.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// `amd64`, `arm64`.
    pub arch: &'static str,
    /// Where it lies in the registry.
    pub path: &'static str,
    /// Its hash, as the registry writes it.
    pub integrity: &'static str,
    /// The programs in it; the first is the agent.
    pub programs: &'static [&'static str],
}

/// All of them.
pub const PROGRAMS: [Program; 2] = [
    Program {
        name: "claude-code",
        version: "2.1.329",
        packages: &[
            Package {
                arch: "amd64",
                path: "@anthropic-ai/claude-code-linux-x64/-/claude-code-linux-x64-2.1.329.tgz",
                integrity: "sha512-+n4lu1ubYAp02Y0X/MAUnxw9yY6SHHZ77F+IoW+V0wVoFuiI9opdH6gofjf14gXJCEYMTNpks7Gn1i8XZTKAWA==",
                programs: &["claude"],
            },
            Package {
                arch: "arm64",
                path: "@anthropic-ai/claude-code-linux-arm64/-/claude-code-linux-arm64-2.1.329.tgz",
                integrity: "sha512-IiG5umFToSCVWqB1lEsxxwIxKgxPXyZ3DRU915v8J4Bz5Q3JpslM0ew1m5yaT+lFXBPvYxmsEgi0XI68XHND0A==",
                programs: &["claude"],
            },
        ],
    },
    Program {
        name: "codex",
        version: "0.169.0",
        packages: &[
            Package {
                arch: "amd64",
                path: "@openai/codex/-/codex-0.169.0-linux-x64.tgz",
                integrity: "sha512-o05NyAOCDygSPRo1yinzxvkRSdmsZyBD9E7mbpmjRanSfM8lypqWtQgEo4XfNkwhuCR2aFu8mlGOsQGFXVbVww==",
                programs: &[
                    "vendor/x86_64-unknown-linux-musl/bin/codex",
                    "vendor/x86_64-unknown-linux-musl/bin/codex-code-mode-host",
                    "vendor/x86_64-unknown-linux-musl/codex-path/rg",
                ],
            },
            Package {
                arch: "arm64",
                path: "@openai/codex/-/codex-0.169.0-linux-arm64.tgz",
                integrity: "sha512-NZ/DaQUpcQmxmqee7Z9uC1rzw3GhSbooawcaTe1LN5Yk+WlinUKGdTXJgClRT/9ogQEEM9TWxYzvxPfj5G/xFg==",
                programs: &[
                    "vendor/aarch64-unknown-linux-musl/bin/codex",
                    "vendor/aarch64-unknown-linux-musl/bin/codex-code-mode-host",
                    "vendor/aarch64-unknown-linux-musl/codex-path/rg",
                ],
            },
        ],
    },
];

/// Where agents lie in an image, each in a directory of its name.
pub const AGENTS: &str = "/opt/agents";

impl Program {
    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        PROGRAMS.into_iter().find(|program| program.name == name)
    }

    /// Its package for a kind of processor.
    #[must_use]
    pub fn package(&self, arch: &str) -> Option<Package> {
        self.packages.iter().copied().find(|package| package.arch == arch)
    }

    /// The directory in an image that holds it.
    #[must_use]
    pub fn dir(&self) -> String {
        format!("{AGENTS}/{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_is_pinned_for_every_processor() {
        for program in PROGRAMS {
            for arch in ["amd64", "arm64"] {
                let package = program.package(arch).unwrap();
                assert!(package.path.contains(program.version) && package.path.ends_with(".tgz"));
                assert!(package.integrity.starts_with("sha512-") && !package.programs.is_empty());
            }
            assert!(program.package("riscv64").is_none());
        }
        assert!(Program::named("nothing").is_none());
    }
}
