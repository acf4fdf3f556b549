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
    /// How it is started, when that is no program of its package.
    pub launcher: Option<Launcher>,
    /// What the image must have for it beside its package; empty when it needs nothing.
    pub needs: &'static str,
}

/// A file of our own that starts an agent.
#[derive(Clone, Copy, Debug)]
pub struct Launcher {
    /// Where, beneath the agent's directory.
    pub path: &'static str,
    /// What is in it.
    pub text: &'static str,
}

/// A package of the npm registry that holds all of an agent: nothing that it depends on is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// `amd64`, `arm64`.
    pub arch: &'static str,
    /// Where it lies in the registry.
    pub path: &'static str,
    /// Its hash, as the registry writes it.
    pub integrity: &'static str,
    /// The programs in it; the first is the agent, unless a launcher starts it.
    pub programs: &'static [&'static str],
}

/// All of them.
pub const PROGRAMS: [Program; 4] = [
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
        launcher: None,
        needs: "",
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
        launcher: None,
        needs: "",
    },
    Program {
        name: "gemini",
        version: "0.61.0",
        packages: &[
            Package { arch: "amd64", path: GEMINI.0, integrity: GEMINI.1, programs: &["bundle/gemini.js"] },
            Package { arch: "arm64", path: GEMINI.0, integrity: GEMINI.1, programs: &["bundle/gemini.js"] },
        ],
        launcher: Some(Launcher {
            path: "bin/gemini",
            text: "#!/bin/sh\nexec node /opt/agents/gemini/bundle/gemini.js \"$@\"\n",
        }),
        needs: "Node.js 20 or newer, and a shell",
    },
    // The newest version that the registry has for both kinds of processors. The first is the one without AVX2.
    Program {
        name: "opencode",
        version: "1.18.18",
        packages: &[
            Package {
                arch: "amd64",
                path: "opencode-linux-x64-baseline/-/opencode-linux-x64-baseline-1.18.18.tgz",
                integrity: "sha512-6GvFarhP0pDiXcE9Au8PWoqb9+ZLBIGKrhZxeVAmOJp/gJ8lLL1Eno8O1qpqRb1KjOfOaOD71jHu9xNaqmjEtw==",
                programs: &["bin/opencode"],
            },
            Package {
                arch: "arm64",
                path: "opencode-linux-arm64/-/opencode-linux-arm64-1.18.18.tgz",
                integrity: "sha512-e8D3g0qJEIzawEg2+ygW3vkZjAYL2ssyAx4GbihjwXwZFvlZZy5zRWWzdz5KLBoHSTl0FB73vNtnNeXONyHpVQ==",
                programs: &["bin/opencode"],
            },
        ],
        launcher: None,
        needs: "the GNU C library",
    },
];

/// The package of gemini, which is the same for every processor.
const GEMINI: (&str, &str) = (
    "@google/gemini-cli/-/gemini-cli-0.61.0.tgz",
    "sha512-dbQ9A0qBtFJNi6XBkHvfZ6Azpn6PNgH/P8h2MZ67RLlX8hSAVjup39CRWqdRxZv7YXIuhrFaytr8y0jKnkoxnQ==",
);

/// Agents that no package holds, each with the reason.
pub const NOT_PACKED: [(&str, &str); 2] = [
    (
        "aider",
        "it is a Python program of more than a hundred packages, many of them made for one version of Python",
    ),
    ("kiro", "no registry has it"),
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

    /// Its program in an image, for a kind of processor.
    #[must_use]
    pub fn program(&self, arch: &str) -> Option<String> {
        let package = self.package(arch)?;
        let path =
            self.launcher.map(|launcher| launcher.path).or_else(|| package.programs.first().copied())?;
        Some(format!("{}/{path}", self.dir()))
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
            // Sessions find an agent by its name in the directory of its program.
            let path = program.program("arm64").unwrap();
            let name = path.rsplit('/').next().unwrap();
            assert!(path.starts_with(&program.dir()) && program.name.starts_with(name), "{path}");
            let launched = program.launcher.is_none_or(|launcher| launcher.text.contains(&program.dir()));
            assert!(launched, "a launcher starts what is in the agent's directory");
        }
        assert!(Program::named("nothing").is_none());
    }
}
