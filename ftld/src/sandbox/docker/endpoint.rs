//! Where an engine may be: the places that people and programs know, in the order of their weight.
//!
//! Owns the reading of `DOCKER_HOST`, of contexts and of the well-known sockets, and the refusal of ways
//! that would hand the machine to whoever is on the network. Must not connect.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What the daemon's user and environment say about engines. Nothing of it comes from a project.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The human's configuration: `unix:///…` or `tcp://host:port`.
    pub configured: Option<String>,
    /// `DOCKER_HOST`.
    pub docker_host: Option<OsString>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<OsString>,
    /// `DOCKER_CONFIG`, the directory of Docker's own settings; `~/.docker` when absent.
    pub docker_config: Option<OsString>,
    /// `DOCKER_CERT_PATH`.
    pub docker_cert_path: Option<OsString>,
    /// `DOCKER_TLS_VERIFY`.
    pub docker_tls_verify: Option<OsString>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<OsString>,
    /// Where the system keeps sockets: `/var/run`; another place for tests.
    pub system: PathBuf,
}

/// One place where an engine may answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The way to it.
    pub way: Way,
    /// How it was found: `DOCKER_HOST`, a context, a well-known socket.
    pub found: String,
}

/// The way to an engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// A socket of this machine.
    Unix(PathBuf),
    /// TCP without protection, to this machine or by the human's explicit word.
    Plain {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// TCP with TLS; the client proves who it is.
    Tls {
        /// Host name or address, which the certificate must be for.
        host: String,
        /// Port.
        port: u16,
        /// The directory with `ca.pem`, `cert.pem` and `key.pem`.
        files: PathBuf,
    },
}

/// Where to look for an engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Places {
    /// Somebody has said where; nothing else is tried.
    Named(Endpoint),
    /// Nobody has: the sockets that exist, the best first.
    Known {
        /// Those that exist.
        there: Vec<Endpoint>,
        /// All that were looked at.
        looked: Vec<PathBuf>,
    },
}

/// Why what was said about an engine cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address is of a kind that is not spoken.
    #[error("{found} names {address:?}, which is no socket or TCP address")]
    Scheme {
        /// Who said so.
        found: String,
        /// What was said.
        address: String,
    },
    /// It is reached by SSH.
    #[error("{found} names {address:?}; engines are not reached by SSH from here")]
    Ssh {
        /// Who said so.
        found: String,
        /// What was said.
        address: String,
    },
    /// Anybody on the way could be the engine, or use it.
    #[error("{found} names {address:?}, which is TCP without TLS on another machine")]
    Unprotected {
        /// Who said so.
        found: String,
        /// What was said.
        address: String,
    },
    /// The context switches the check of the engine's certificate off.
    #[error("the context {name:?} does not check the engine's certificate")]
    Unchecked {
        /// Which.
        name: String,
    },
    /// There is no such context.
    #[error("there is no Docker context {name:?} in {}", dir.display())]
    NoContext {
        /// Which.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// A file of Docker's settings cannot be read.
    #[error("cannot read {}", path.display())]
    Settings {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl EndpointError {
    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Scheme { .. } => "write it as unix:///path/of/the.sock or tcp://host:2376".to_owned(),
            Self::Ssh { address, .. } => {
                let host = address.trim_start_matches("ssh://");
                format!(
                    "forward its socket, `ssh -nNT -L /run/user/UID/engine.sock:/var/run/docker.sock {host}`, and set DOCKER_HOST=unix:///run/user/UID/engine.sock"
                )
            }
            Self::Unprotected { .. } => {
                "give the engine TLS and set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH; or, where the network is yours alone, say `plain://host:port` in ~/.ftl/config".to_owned()
            }
            Self::Unchecked { name } => {
                format!("make the context again with its CA: `docker context update {name} --docker host=…,ca=…,cert=…,key=…`")
            }
            Self::NoContext { .. } => "list them with `docker context ls`, or set DOCKER_HOST".to_owned(),
            Self::Settings { path, .. } => format!("see {}, or set DOCKER_HOST", path.display()),
        }
    }
}

/// The most of a settings file that is read, in bytes.
const MAX_SETTINGS: u64 = 1 << 20;

/// The port of an engine with TLS.
const TLS_PORT: u16 = 2376;

/// The port of an engine without.
const PLAIN_PORT: u16 = 2375;

/// Says where to look for an engine: the human's configuration, `DOCKER_HOST`, a context, and only then
/// the sockets that engines have by default.
///
/// # Errors
/// When somebody has said where, and that cannot be followed.
pub fn places(around: &Surroundings) -> Result<Places, EndpointError> {
    if let Some(address) = &around.configured {
        return named(address, "the configuration", around).map(Places::Named);
    }
    if let Some(address) = text(around.docker_host.as_deref()) {
        return named(&address, "DOCKER_HOST", around).map(Places::Named);
    }
    let settings = match (&around.docker_config, &around.home) {
        (Some(dir), _) if !dir.is_empty() => Some(PathBuf::from(dir)),
        (_, home) => home.as_ref().map(|home| home.join(".docker")),
    };
    if let Some(settings) = settings {
        let chosen = match text(around.docker_context.as_deref()) {
            Some(name) => Some(name),
            None => current_context(&settings)?,
        };
        if let Some(name) = chosen.filter(|name| name != "default") {
            return context(&name, &settings).map(Places::Named);
        }
    }
    let looked = known(around);
    let there = looked.iter().filter(|path| path.exists());
    let there = there.map(|path| Endpoint { way: Way::Unix(path.clone()), found: "its usual place".into() });
    Ok(Places::Known { there: there.collect(), looked: looked.clone() })
}

/// The sockets that engines have by default: Docker's, a rootless one's, Docker Desktop's, Podman's.
fn known(around: &Surroundings) -> Vec<PathBuf> {
    let mut paths = vec![around.system.join("docker.sock")];
    let runtime = around.runtime_dir.as_ref().map(PathBuf::from).filter(|dir| dir.is_absolute());
    paths.extend(runtime.iter().map(|dir| dir.join("docker.sock")));
    for place in [".docker/run/docker.sock", ".docker/desktop/docker.sock"] {
        paths.extend(around.home.iter().map(|home| home.join(place)));
    }
    paths.extend(runtime.iter().map(|dir| dir.join("podman/podman.sock")));
    paths.push(around.system.join("podman/podman.sock"));
    paths
}

fn text(value: Option<&OsStr>) -> Option<String> {
    value.map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

/// An address that somebody has written down.
fn named(address: &str, found: &str, around: &Surroundings) -> Result<Endpoint, EndpointError> {
    let verify = around.docker_tls_verify.as_ref().is_some_and(|value| !value.is_empty());
    let certificates = text(around.docker_cert_path.as_deref()).map(PathBuf::from);
    let files = match (certificates, verify) {
        (Some(dir), _) => Some(dir),
        (None, true) => around.home.as_ref().map(|home| home.join(".docker")),
        (None, false) => None,
    };
    // Only the human's own configuration may give the protection up.
    let plain = found == "the configuration";
    address_of(address, found, files, plain)
}

fn address_of(
    address: &str,
    found: &str,
    files: Option<PathBuf>,
    plain: bool,
) -> Result<Endpoint, EndpointError> {
    let (address_text, found_text) = (address.to_owned(), found.to_owned());
    let scheme = || EndpointError::Scheme { found: found_text.clone(), address: address_text.clone() };
    let (kind, rest) = address.split_once("://").ok_or_else(scheme)?;
    let way = match kind {
        "unix" if rest.starts_with('/') => Way::Unix(rest.into()),
        "ssh" => return Err(EndpointError::Ssh { found: found_text, address: address_text }),
        "tcp" | "https" | "http" | "plain" => {
            let encrypted = files.filter(|_| kind == "tcp" || kind == "https");
            let usual = if encrypted.is_some() { TLS_PORT } else { PLAIN_PORT };
            let (host, port) = host_and_port(rest, usual).ok_or_else(scheme)?;
            match encrypted {
                Some(files) => Way::Tls { host, port, files },
                None if is_loopback(&host) || (kind == "plain" && plain) => Way::Plain { host, port },
                None => return Err(EndpointError::Unprotected { found: found_text, address: address_text }),
            }
        }
        _ => return Err(scheme()),
    };
    Ok(Endpoint { way, found: found_text })
}

/// `host:port`, `[address]:port` or a host alone; nothing else may follow.
fn host_and_port(text: &str, usual: u16) -> Option<(String, u16)> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok()?,
        None if port.is_empty() => usual,
        None => return None,
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    (!host.is_empty() && host.chars().all(fits)).then(|| (host.to_owned(), port))
}

/// Whether a host is this machine whatever a name server says.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    name: String,
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Option<DockerEndpoint>,
}

#[derive(Deserialize)]
struct DockerEndpoint {
    #[serde(rename = "Host")]
    host: Option<String>,
    #[serde(rename = "SkipTLSVerify", default)]
    unchecked: bool,
}

/// The context that Docker's own client would use.
fn current_context(settings: &Path) -> Result<Option<String>, EndpointError> {
    let path = settings.join("config.json");
    let Some(bytes) = read(&path)? else { return Ok(None) };
    let parsed: Settings = serde_json::from_slice(&bytes)
        .map_err(|error| EndpointError::Settings { path, source: error.into() })?;
    Ok(parsed.current_context.filter(|name| !name.is_empty()))
}

/// Where a context leads.
fn context(name: &str, settings: &Path) -> Result<Endpoint, EndpointError> {
    let dir = settings.join("contexts/meta");
    let none = || EndpointError::NoContext { name: name.to_owned(), dir: dir.clone() };
    for entry in std::fs::read_dir(&dir).map_err(|_| none())?.flatten() {
        let path = entry.path().join("meta.json");
        let Some(bytes) = read(&path)? else { continue };
        // Another context's damage is not this one's.
        let Ok(meta) = serde_json::from_slice::<Meta>(&bytes) else { continue };
        if meta.name != name {
            continue;
        }
        let docker = meta.endpoints.docker.ok_or_else(none)?;
        if docker.unchecked {
            return Err(EndpointError::Unchecked { name: name.to_owned() });
        }
        let files = settings.join("contexts/tls").join(entry.file_name()).join("docker");
        let found = format!("the Docker context {name:?}");
        return address_of(&docker.host.ok_or_else(none)?, &found, files.is_dir().then_some(files), false);
    }
    Err(none())
}

/// What a settings file holds; nothing when it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, EndpointError> {
    let failed = |source| EndpointError::Settings { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_SETTINGS).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

impl Way {
    /// Whether it leads to this machine as far as the address tells; a forwarded socket is seen elsewhere.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Plain { host, .. } | Self::Tls { host, .. } => is_loopback(host),
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, host, port) = match self {
            Self::Unix(path) => return write!(f, "unix://{}", path.display()),
            Self::Plain { host, port } => ("tcp", host, port),
            Self::Tls { host, port, .. } => ("tcp+tls", host, port),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Around {
        dir: tempfile::TempDir,
        around: Surroundings,
    }

    fn around() -> Around {
        let dir = tempfile::tempdir().unwrap();
        let around = Surroundings {
            home: Some(dir.path().join("home")),
            runtime_dir: Some(dir.path().join("run").into()),
            system: dir.path().join("var"),
            ..Surroundings::default()
        };
        for made in ["home/.docker", "run/podman", "var"] {
            std::fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        Around { dir, around }
    }

    fn named_way(around: &Surroundings) -> Result<Way, EndpointError> {
        match places(around)? {
            Places::Named(endpoint) => Ok(endpoint.way),
            known @ Places::Known { .. } => panic!("{known:?}"),
        }
    }

    #[test]
    fn the_usual_sockets_are_looked_at_in_order() {
        let Around { dir, around } = around();
        let Places::Known { there, looked } = places(&around).unwrap() else { panic!() };
        assert!(there.is_empty());
        assert_eq!((looked.len(), &looked[0]), (6, &dir.path().join("var/docker.sock")));
        for socket in ["run/podman/podman.sock", "run/docker.sock"] {
            std::fs::write(dir.path().join(socket), "").unwrap();
        }
        let Places::Known { there, .. } = places(&around).unwrap() else { panic!() };
        let ways: Vec<_> = there.into_iter().map(|endpoint| endpoint.way).collect();
        let at = |path: &str| Way::Unix(dir.path().join(path));
        assert_eq!(ways, [at("run/docker.sock"), at("run/podman/podman.sock")]);
    }

    #[test]
    fn the_human_goes_before_the_environment_and_the_environment_before_contexts() {
        let Around { dir, mut around } = around();
        write_context(dir.path(), "far", r#"{"Host":"unix:///context.sock","SkipTLSVerify":false}"#);
        std::fs::write(dir.path().join("home/.docker/config.json"), r#"{"currentContext":"far"}"#).unwrap();
        assert_eq!(named_way(&around).unwrap(), Way::Unix("/context.sock".into()));
        around.docker_host = Some("unix:///env.sock".into());
        assert_eq!(named_way(&around).unwrap(), Way::Unix("/env.sock".into()));
        around.configured = Some("unix:///config.sock".into());
        assert_eq!(named_way(&around).unwrap(), Way::Unix("/config.sock".into()));
    }

    fn write_context(root: &Path, name: &str, docker: &str) {
        let meta = root.join("home/.docker/contexts/meta").join(format!("id-{name}"));
        std::fs::create_dir_all(&meta).unwrap();
        let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{docker}}}}}"#);
        std::fs::write(meta.join("meta.json"), text).unwrap();
    }

    #[test]
    fn contexts_are_followed_with_their_certificates() {
        let Around { dir, mut around } = around();
        around.docker_context = Some("far".into());
        assert!(matches!(named_way(&around), Err(EndpointError::NoContext { .. })));
        write_context(dir.path(), "far", r#"{"Host":"tcp://far.example:2376"}"#);
        assert!(matches!(named_way(&around), Err(EndpointError::Unprotected { .. })));
        let files = dir.path().join("home/.docker/contexts/tls/id-far/docker");
        std::fs::create_dir_all(&files).unwrap();
        let tls = Way::Tls { host: "far.example".into(), port: 2376, files };
        assert_eq!(named_way(&around).unwrap(), tls);
        write_context(dir.path(), "far", r#"{"Host":"tcp://far.example:2376","SkipTLSVerify":true}"#);
        assert!(matches!(named_way(&around), Err(EndpointError::Unchecked { .. })));
        around.docker_context = Some("default".into());
        assert!(matches!(places(&around), Ok(Places::Known { .. })));
    }

    #[test]
    fn nothing_is_spoken_in_the_clear_to_another_machine() {
        let Around { mut around, .. } = around();
        for address in ["tcp://10.0.0.1:2375", "http://10.0.0.1", "tcp://[::]:2375", "plain://10.0.0.1:1"] {
            around.docker_host = Some(address.into());
            assert!(matches!(named_way(&around), Err(EndpointError::Unprotected { .. })), "{address}");
        }
        for (address, host, port) in [
            ("tcp://127.0.0.1:1", "127.0.0.1", 1),
            ("tcp://[::1]:2", "::1", 2),
            ("http://localhost/", "localhost", 2375),
        ] {
            around.docker_host = Some(address.into());
            assert_eq!(named_way(&around).unwrap(), Way::Plain { host: host.into(), port });
        }
        around.docker_host = Some("tcp://far.example".into());
        around.docker_tls_verify = Some("1".into());
        let tls = named_way(&around).unwrap();
        assert!(matches!(&tls, Way::Tls { port: 2376, .. }), "{tls:?}");
        around.configured = Some("plain://10.0.0.1:2375".into());
        assert_eq!(named_way(&around).unwrap().to_string(), "tcp://10.0.0.1:2375");
    }

    #[test]
    fn what_is_not_spoken_says_what_to_do() {
        let Around { mut around, .. } = around();
        for address in
            ["ssh://me@far", "npipe:////./pipe/x", "far:2375", "unix://relative", "tcp://a b:1", "fd://"]
        {
            around.docker_host = Some(address.into());
            let error = named_way(&around).unwrap_err();
            assert!(error.to_string().contains("DOCKER_HOST") && !error.remedy().is_empty(), "{error}");
        }
    }
}
