//! The recipe of an image with agents: a Dockerfile and what goes with it.
//!
//! Owns the text, which is a value of the choice alone, so that the same choice is the same image. Must not
//! ask an engine. What changes most comes last: each agent is fetched in a stage of its own and copied into
//! the image as one layer, so a new version of one fetches nothing else again. What a stage needs to reach
//! a registry stays in that stage.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use base64::Engine as _;
use ftl_core::id::Hash;

use super::SetupError;
use super::archive::Archive;
use super::programs::{AGENTS, Program};
use crate::sandbox::docker::images::Build;

/// The base when nobody brings one.
const BASE: &str = include_str!("Dockerfile");

/// How an agent is fetched.
const FETCH: &str = include_str!("fetch.sh");

/// Where packages are fetched from when the human's environment names no other place.
const REGISTRY: &str = "https://registry.npmjs.org";

/// The longest bundle of certificates that is passed on, in bytes.
const MAX_BUNDLE: u64 = 4 << 20;

/// How the human reaches registries, as their environment says. It is used while agents are fetched and is
/// in no layer of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// A mirror of the npm registry.
    pub registry: Option<String>,
    /// Certificate authorities in place of the image's, PEM.
    pub authorities: Option<PathBuf>,
    /// Proxy variables, which builders keep out of an image's history.
    pub proxies: BTreeMap<String, String>,
}

impl Reach {
    /// Reads the settings that the human has made; without any, nothing is passed on.
    ///
    /// # Errors
    /// When the registry's address or a proxy's has a name and password in it, or the first is none.
    pub fn from_env(env: &BTreeMap<OsString, OsString>) -> Result<Self, SetupError> {
        let get = |name: &str| {
            let value = env.get(&OsString::from(name))?.to_string_lossy().into_owned();
            (!value.is_empty()).then_some(value)
        };
        let registry = get("NPM_CONFIG_REGISTRY").or_else(|| get("npm_config_registry"));
        if let Some(address) = registry.as_ref().filter(|address| !is_plain(address)) {
            // It would be seen by whoever may look at the builder's intermediate images.
            let address = address.rsplit('@').next().unwrap_or_default().to_owned();
            return Err(SetupError::Registry { address });
        }
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];
        if let Some(name) = proxies.iter().find(|name| get(name).is_some_and(|value| value.contains('@'))) {
            // The programs of the image that is built upon would have it.
            return Err(SetupError::Proxy { name });
        }
        Ok(Self {
            registry: registry.map(|address| address.trim_end_matches('/').to_owned()),
            authorities: get("SSL_CERT_FILE").map(PathBuf::from),
            proxies: proxies.iter().filter_map(|name| Some(((*name).to_owned(), get(name)?))).collect(),
        })
    }
}

/// An address without a user, a query or anything that a shell would read.
fn is_plain(address: &str) -> bool {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/');
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(fits))
}

/// What an image consists of, and its name.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// The Dockerfile.
    pub(super) text: String,
    /// The image's name, made of the text.
    pub(super) tag: String,
    programs: Vec<Program>,
}

/// Writes the recipe. `base` is an image of the engine in place of the usual base.
///
/// # Errors
/// When an agent has no package for this kind of processor.
pub(super) fn recipe(base: Option<&str>, programs: &[Program], arch: &str) -> Result<Recipe, SetupError> {
    let mut programs = programs.to_vec();
    programs.sort_by_key(|program| program.name);
    programs.dedup_by_key(|program| program.name);
    let mut text = match base {
        Some(image) => format!("FROM {image} AS base\nUSER 0\n"),
        None => BASE.to_owned(),
    };
    for program in &programs {
        text += &stage(program, arch)?;
    }
    text += "\nFROM base\n";
    for Program { name, .. } in &programs {
        text += &format!("COPY --from={name} {AGENTS}/{name}/ {AGENTS}/{name}/\n");
    }
    let tag = format!("ftl-agents:{}", &Hash::of(format!("{text}{FETCH}").as_bytes()).to_hex()[..16]);
    Ok(Recipe { text, tag, programs })
}

/// The stage that fetches one agent. Everything in it is this program's own text.
fn stage(program: &Program, arch: &str) -> Result<String, SetupError> {
    let none = || SetupError::NoPackage { name: program.name, arch: arch.to_owned() };
    let package = program.package(arch).ok_or_else(none)?;
    let hash = package.integrity.strip_prefix("sha512-").ok_or_else(none)?;
    let hash = base64::engine::general_purpose::STANDARD.decode(hash).map_err(|_| none())?;
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!(
        "\nFROM base AS {name}\n\
         ARG REGISTRY={REGISTRY}\n\
         COPY reach/ /tmp/ftl-reach/\n\
         RUN sh /tmp/ftl-reach/fetch.sh {dir} \"$REGISTRY/{path}\" \\\n\
         \x20   {hash} \\\n\
         \x20   {programs}\n",
        name = program.name,
        dir = program.dir(),
        path = package.path,
        programs = package.programs.join(" "),
    ))
}

impl Recipe {
    /// The agents, in the order of their names.
    pub(super) fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// What the builder is given.
    ///
    /// # Errors
    /// When the bundle of certificates cannot be read.
    pub(super) fn build(&self, reach: &Reach, fresh: bool) -> Result<Build, SetupError> {
        let authorities = match &reach.authorities {
            Some(path) => {
                read_bundle(path).map_err(|source| SetupError::Authorities { path: path.clone(), source })?
            }
            None => Vec::new(),
        };
        let context = Archive::default()
            .file("Dockerfile", 0o644, self.text.as_bytes())
            .file("reach/authorities.pem", 0o644, &authorities)
            .file("reach/fetch.sh", 0o644, FETCH.as_bytes())
            .finish();
        let mut args = reach.proxies.clone();
        args.extend(reach.registry.iter().map(|address| ("REGISTRY".to_owned(), address.clone())));
        let labels = BTreeMap::from([("dev.ftl.role".to_owned(), "agents".to_owned())]);
        Ok(Build { context, tag: self.tag.clone(), args, labels, network: true, fresh })
    }
}

fn read_bundle(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BUNDLE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(base: Option<&str>, names: &[&str]) -> String {
        let programs: Vec<_> = names.iter().map(|name| Program::named(name).unwrap()).collect();
        recipe(base, &programs, "amd64").unwrap().text
    }

    #[test]
    fn every_base_is_pinned_and_every_agent_is_checked_before_it_is_unpacked() {
        let usual = text(None, &["codex", "claude-code", "codex"]);
        assert!(usual.lines().any(|line| line.starts_with("FROM ") && line.contains("@sha256:")));
        assert_eq!(usual.matches("RUN sh /tmp/ftl-reach/fetch.sh /opt/agents/").count(), 2);
        assert!(FETCH.contains("set -eu") && FETCH.find("sha512sum -c") < FETCH.find("tar -xzf"));
        // The hash in the form that `sha512sum` reads.
        assert!(usual.contains("\n    fa7e25bb5b9b600a74d98d17fcc0149f1c3dc98e921c767bec5f88a16f95d305"));
        let own = text(Some("ftl-rootfs:1"), &[]);
        assert_eq!(own, "FROM ftl-rootfs:1 AS base\nUSER 0\n\nFROM base\n");
    }

    #[test]
    fn one_agent_changes_only_its_own_stage() {
        let (one, two) = (text(None, &["claude-code"]), text(None, &["claude-code", "codex"]));
        let shared = one.split("\nFROM base\n").next().unwrap();
        assert!(two.starts_with(shared), "{two}");
        assert!(one.ends_with(
            "FROM base\nCOPY --from=claude-code /opt/agents/claude-code/ /opt/agents/claude-code/\n"
        ));
        let unknown = recipe(None, &[Program::named("codex").unwrap()], "s390x");
        assert!(matches!(unknown, Err(SetupError::NoPackage { .. })));
    }

    #[test]
    fn only_what_the_human_has_set_is_passed_on_and_no_password() {
        let env = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
            Reach::from_env(&pairs)
        };
        assert_eq!(env(&[("PATH", "/bin"), ("HTTPS_PROXY", "")]).unwrap(), Reach::default());
        let reach = env(&[("npm_config_registry", "https://npm.example/x/"), ("https_proxy", "http://p:1")]);
        let build = recipe(None, &[], "amd64").unwrap().build(&reach.unwrap(), false).unwrap();
        assert_eq!(build.args["REGISTRY"], "https://npm.example/x");
        assert_eq!(build.args["https_proxy"], "http://p:1");
        let error = env(&[("NPM_CONFIG_REGISTRY", "https://me:hunter2@npm.example")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(env(&[("NPM_CONFIG_REGISTRY", "https://x/$(id)")]).is_err());
        let error = env(&[("https_proxy", "http://me:hunter2@proxy:1")]).unwrap_err();
        assert!(matches!(error, SetupError::Proxy { name: "https_proxy" }), "{error}");
        assert!(!error.remedy().is_empty() && !error.to_string().contains("hunter2"), "{error}");
    }
}
