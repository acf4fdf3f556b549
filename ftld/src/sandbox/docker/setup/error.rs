//! Why there is no image, and what a person can do about it.
//!
//! Owns the sentences and the hints. What an engine, a builder or a registry says stands in the causes.

use std::io;
use std::path::PathBuf;

use super::fetch::FetchError;
use super::programs::PROGRAMS;
use crate::sandbox::docker::engine::EngineError;

/// The lines of a failed build that are quoted.
pub(super) const QUOTED: usize = 12;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The engine cannot be had or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A build failed.
    #[error("building the image failed")]
    Build {
        /// The builder's last lines.
        lines: Vec<String>,
        /// What the engine said.
        #[source]
        source: Box<EngineError>,
    },
    /// No agent of that name can be installed.
    #[error("there is no agent {name:?} that can be installed")]
    Unknown {
        /// Which.
        name: String,
    },
    /// There is an agent of that name, and it cannot be installed.
    #[error("setup cannot install {name}: {why}")]
    NotPacked {
        /// Which.
        name: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// There is no package of it for this kind of processor.
    #[error("{name} has no package for {arch} processors")]
    NoPackage {
        /// Which.
        name: &'static str,
        /// The kind.
        arch: String,
    },
    /// An agent's package did not come.
    #[error("cannot fetch {name} from {address}")]
    Fetch {
        /// Which agent.
        name: &'static str,
        /// Where from.
        address: String,
        /// Why not.
        #[source]
        source: FetchError,
    },
    /// What came is not the package that this program knows.
    #[error("{address} is not the package of {name} that this version of FTL knows, and was not unpacked")]
    Altered {
        /// Which agent.
        name: &'static str,
        /// Where from.
        address: String,
    },
    /// A package cannot be unpacked.
    #[error("cannot unpack the package of {name}")]
    Unpack {
        /// Which agent.
        name: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The usual base cannot be had from its registry.
    #[error("the engine cannot fetch the base image {image}")]
    Pull {
        /// Which.
        image: &'static str,
        /// What the engine said.
        #[source]
        source: Box<EngineError>,
    },
    /// The root file system cannot be read.
    #[error("cannot read the root file system {}", path.display())]
    Rootfs {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A proxy's address that would be shown to the image's programs.
    #[error("{name} has a name and password in it, which the programs of the image would see")]
    Proxy {
        /// The variable.
        name: &'static str,
    },
    /// The registry's address cannot be used.
    #[error("the registry's address in NPM_CONFIG_REGISTRY cannot be used: {address:?}")]
    Registry {
        /// It, without what may be a password.
        address: String,
    },
    /// An installed agent does not start.
    #[error("{name} was installed and does not start")]
    Program {
        /// Which.
        name: &'static str,
        /// Its program in the image.
        path: String,
        /// What the image must have for it; empty when it needs nothing.
        needs: &'static str,
        /// What it said.
        said: String,
    },
    /// There is no such image.
    #[error("the engine has no image {image}")]
    NoImage {
        /// Which.
        image: String,
    },
    /// The root file system of the last setup is gone.
    #[error("the engine no longer has {image}, the root file system of the last setup")]
    NoBase {
        /// Its name.
        image: String,
    },
    /// An image asks for things that a sandbox must not have.
    #[error("the image {image} cannot be used: {why}")]
    Image {
        /// Which.
        image: String,
        /// Why not.
        why: &'static str,
    },
    /// What was set up cannot be kept or read.
    #[error("cannot use {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The daemon itself could not go on.
    #[error("the daemon could not go on: {reason}")]
    Interrupted {
        /// Why not.
        reason: String,
    },
}

impl SetupError {
    /// What a person can do about it; empty when nothing is known.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Engine(error) => error.remedy(),
            Self::Build { source, lines } => {
                reach_remedy(&format!("{source} {}", lines.join(" "))).unwrap_or_else(|| source.remedy())
            }
            Self::Pull { source, .. } => reach_remedy(&whole(&**source)).unwrap_or_else(|| match source.remedy() {
                remedy if remedy.is_empty() => {
                    "see that the engine reaches its registry, or use `ftlctl setup --rootfs TAR`".to_owned()
                }
                remedy => remedy,
            }),
            Self::Fetch { source, .. } => fetch_remedy(source),
            Self::Altered { .. } => {
                "see what NPM_CONFIG_REGISTRY and the proxy on the way give out; nothing was installed".to_owned()
            }
            Self::Unpack { .. } => "see that the disk has space; otherwise update FTL".to_owned(),
            Self::Unknown { .. } => {
                format!("there is: {}", PROGRAMS.map(|program| program.name).join(", "))
            }
            Self::Proxy { .. } => "start the daemon with a proxy that needs no password: `ftlctl daemon stop` first".to_owned(),
            Self::Registry { .. } => {
                "write it as https://host/path, without a name and password".to_owned()
            }
            Self::NotPacked { .. } => {
                "make an image of your own that has it on its PATH, and name that in `docker.image` of ~/.ftl/config; or \
                 use the native sandbox, which has this machine's programs"
                    .to_owned()
            }
            Self::Program { name, needs, .. } if !needs.is_empty() => format!(
                "{name} needs {needs}: the usual base has that, `ftlctl setup --usual-base`, or put it into the root \
                 file system"
            ),
            Self::Program { .. } => "try it again with `ftlctl setup --rebuild`".to_owned(),
            Self::NoBase { .. } => {
                "name the archive again, `ftlctl setup --rootfs TAR`, or use the usual base, `ftlctl setup --usual-base`"
                    .to_owned()
            }
            Self::NoImage { .. } => "make it again: `ftlctl setup`".to_owned(),
            Self::Rootfs { .. } => {
                "name a tar archive, for instance from `mmdebstrap --variant=essential --include=ca-certificates,git bookworm root.tar`".to_owned()
            }
            Self::Record { .. } => "see that the disk has space, then `ftlctl setup`".to_owned(),
            Self::NoPackage { .. } | Self::Image { .. } | Self::Interrupted { .. } => {
                String::new()
            }
        }
    }

    /// What programs said that explains it, line by line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Build { lines, .. } => lines.clone(),
            Self::Program { said, .. } => said.lines().take(QUOTED).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

/// What the words of a failure to reach a registry tell about a way out.
fn reach_remedy(said: &str) -> Option<String> {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["certificate", "SSL", "x509", "UnknownIssuer"]) {
        return Some(
            "name your certificate authorities in SSL_CERT_FILE, then restart the daemon: `ftlctl daemon stop`"
                .to_owned(),
        );
    }
    has(&[
        "Could not resolve host",
        "pulling image",
        "dial tcp",
        "no such host",
        "manifest unknown",
        "proxyconnect",
        "Client.Timeout",
        "Temporary failure resolving",
    ])
    .then(|| {
        "the engine's machine needs the network for this; without a registry use `ftlctl setup --rootfs TAR`"
            .to_owned()
    })
}

/// An error and its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(|error| format!("{error:?} {error}")).collect::<Vec<_>>().join(" ")
}

fn fetch_remedy(error: &FetchError) -> String {
    match error {
        FetchError::Tls { .. } => reach_remedy("certificate"),
        FetchError::Proxy { .. } => Some("name an HTTP proxy, `http://host:port`, in HTTPS_PROXY".to_owned()),
        FetchError::Address { .. } | FetchError::Status { .. } | FetchError::Long { .. } => {
            Some("see that NPM_CONFIG_REGISTRY names an npm registry".to_owned())
        }
        FetchError::Unreachable { .. } | FetchError::Broken { .. } | FetchError::Slow { .. } => Some(
            "this machine needs the network for this, or a mirror in NPM_CONFIG_REGISTRY; a root file system may \
             have agents of its own: `ftlctl setup --rootfs TAR`"
                .to_owned(),
        ),
        FetchError::Authorities { .. } => Some("correct SSL_CERT_FILE, then restart the daemon".to_owned()),
        FetchError::File { .. } => Some("see that the disk has space".to_owned()),
    }
    .unwrap_or_default()
}
