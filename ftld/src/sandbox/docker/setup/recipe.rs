//! The recipes: Dockerfiles, and how the human reaches registries.
//!
//! Owns the texts, which are values of the choice alone, so that the same choice is the same image. Must not
//! ask an engine. What changes most comes last: each agent is an image of its own and copied into the whole
//! as one layer, so a new version of one fetches nothing else again. No program of a base runs while agents
//! are installed: the daemon fetches them, and the builder only copies.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use base64::Engine as _;
use ftl_core::id::Hash;

use super::SetupError;
use super::archive::Archive;
use super::programs::{Package, Program};
use super::unpack::DIR;
use crate::sandbox::docker::images::{Build, Context};

/// The base when nobody brings one.
const BASE: &str = include_str!("Dockerfile");

/// Where packages are fetched from when the human's environment names no other place.
const REGISTRY: &str = "https://registry.npmjs.org";

/// How the human reaches registries, as their environment says. It is in no layer of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// A mirror of the npm registry.
    pub registry: Option<String>,
    /// Certificate authorities in place of the machine's, PEM.
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

    /// Where a package lies.
    pub(super) fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.registry.as_deref().unwrap_or(REGISTRY))
    }
}

/// An address without a user, a query or anything that a shell would read.
fn is_plain(address: &str) -> bool {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/');
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(fits))
}

/// What an image is built from, and what tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    /// The Dockerfile.
    pub(super) text: String,
    /// The version of its name: equal choices have the same.
    pub(super) version: String,
}

/// The usual base. Its steps are this program's own text on an image that is named by its digest; they are the
/// only ones of any recipe that have a network.
pub(super) fn usual_base() -> Recipe {
    Recipe { text: BASE.to_owned(), version: version(BASE) }
}

/// The image that the usual base is made of, which comes from a registry.
pub(super) fn usual_image() -> &'static str {
    let from = BASE.lines().find_map(|line| line.strip_prefix("FROM "));
    from.and_then(|line| line.split(' ').next()).unwrap_or_default()
}

/// The image of one agent, which holds nothing else. It is copied from and never run.
///
/// # Errors
/// When it has no package for this kind of processor.
pub(super) fn agent(program: &Program, arch: &str) -> Result<(Recipe, Package), SetupError> {
    let none = || SetupError::NoPackage { name: program.name, arch: arch.to_owned() };
    let package = program.package(arch).ok_or_else(none)?;
    let text = format!("FROM scratch\nCOPY {DIR}/ /{DIR}/\n");
    let launcher =
        program.launcher.map_or(String::new(), |launcher| format!("{}\n{}", launcher.path, launcher.text));
    let whole = [&text, package.path, package.integrity, &package.programs.join(" "), &launcher].join("\n");
    Ok((Recipe { text, version: version(&whole) }, package))
}

/// The image with agents: a base and, on top of it, each agent in one layer. `base` and the agents' images are
/// an engine's ids; nothing runs while it is built.
pub(super) fn with_agents(base: &Named, agents: &[(Program, Named)]) -> Recipe {
    let mut text = format!("FROM {}\nUSER 0\n", base.id);
    let mut whole = base.version.clone();
    for (program, image) in agents {
        text += &format!("COPY --from={} /{DIR}/ {}/\n", image.id, program.dir());
        whole += &format!("\n{} {}", program.name, image.version);
    }
    // Ids differ where the contents do not, as when an archive was given to the engine again.
    Recipe { text, version: version(&whole) }
}

/// An image that an engine has.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// Its id.
    pub(super) id: String,
    /// Its name.
    pub(super) tag: String,
    /// What tells it from others of its kind.
    pub(super) version: String,
}

fn version(text: &str) -> String {
    Hash::of(text.as_bytes()).to_hex()[..16].to_owned()
}

impl Recipe {
    /// What the builder is given, where a recipe copies nothing of a context.
    pub(super) fn build(&self, tag: String, (network, fresh): (bool, bool), reach: &Reach) -> Build {
        let context = Archive::default().file("Dockerfile", 0o644, self.text.as_bytes()).finish();
        let args = if network { reach.proxies.clone() } else { BTreeMap::new() };
        Build { context: Context::Bytes(context), tag, args, labels: labels(), network, fresh }
    }

    /// What the builder is given, with a context that lies in a file.
    pub(super) fn build_from(&self, context: PathBuf, tag: String) -> Build {
        Build { context: Context::File(context), tag, labels: labels(), fresh: true, ..Build::default() }
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("dev.ftl.role".to_owned(), "agents".to_owned())])
}

/// The SHA-512 of a package.
pub(super) fn hash(package: &Package) -> Option<[u8; 64]> {
    let text = package.integrity.strip_prefix("sha512-")?;
    base64::engine::general_purpose::STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::super::programs::PROGRAMS;
    use super::*;

    fn named(id: &str) -> Named {
        Named { id: id.to_owned(), tag: format!("{id}:1"), version: format!("{id} 1") }
    }

    #[test]
    fn every_base_is_pinned_and_only_the_usual_one_has_steps_and_a_network() {
        assert!(usual_image().contains("@sha256:"), "{}", usual_image());
        let agents = PROGRAMS.map(|program| (program, named(program.name)));
        let whole = with_agents(&named("base"), &agents).text;
        let (one, package) = agent(&PROGRAMS[0], "amd64").unwrap();
        assert!(!whole.contains("RUN") && !one.text.contains("RUN"), "{whole}{}", one.text);
        let build =
            |recipe: Recipe, network| recipe.build("t:1".to_owned(), (network, false), &Reach::default());
        assert!(!build(with_agents(&named("base"), &agents), false).network);
        assert!(!one.build_from("x".into(), "t:1".to_owned()).network);
        assert!(hash(&package).is_some_and(|hash| hash[..4] == [0xfa, 0x7e, 0x25, 0xbb]));
        assert!(PROGRAMS.iter().flat_map(|program| program.packages).all(|package| hash(package).is_some()));
    }

    #[test]
    fn an_image_is_named_by_what_is_in_it_and_not_by_ids() {
        let [claude, codex, ..] = PROGRAMS.map(|program| (program, named(program.name)));
        let one = with_agents(&named("base"), std::slice::from_ref(&claude));
        let two = with_agents(&named("base"), &[claude.clone(), codex]);
        assert!(two.text.starts_with(&one.text) && two.version != one.version, "{}", two.text);
        assert!(
            one.text.ends_with("COPY --from=claude-code /agent/ /opt/agents/claude-code/\n"),
            "{}",
            one.text
        );
        let again = Named { id: "sha256:other".to_owned(), ..claude.1 };
        let again = with_agents(&named("base"), &[(claude.0, again)]);
        assert!(again.text != one.text && again.version == one.version);
        let unknown = agent(&PROGRAMS[1], "s390x");
        assert!(matches!(unknown, Err(SetupError::NoPackage { .. })));
    }

    #[test]
    fn only_what_the_human_has_set_is_passed_on_and_no_password() {
        let env = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
            Reach::from_env(&pairs)
        };
        let none = env(&[("PATH", "/bin"), ("HTTPS_PROXY", "")]).unwrap();
        assert_eq!((&none, none.address("a/b")), (&Reach::default(), format!("{REGISTRY}/a/b")));
        let reach = env(&[("npm_config_registry", "https://npm.example/x/"), ("https_proxy", "http://p:1")]);
        let reach = reach.unwrap();
        assert_eq!(reach.address("a/b"), "https://npm.example/x/a/b");
        // The steps of the usual base need the proxy; what has no network is told of none.
        let base = usual_base().build("t:1".to_owned(), (true, false), &reach);
        assert_eq!(base.args["https_proxy"], "http://p:1");
        let agents = with_agents(&named("base"), &[]).build("t:1".to_owned(), (false, false), &reach);
        assert!(agents.args.is_empty());
        let error = env(&[("NPM_CONFIG_REGISTRY", "https://me:hunter2@npm.example")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(env(&[("NPM_CONFIG_REGISTRY", "https://x/$(id)")]).is_err());
        let error = env(&[("https_proxy", "http://me:hunter2@proxy:1")]).unwrap_err();
        assert!(matches!(error, SetupError::Proxy { name: "https_proxy" }), "{error}");
        assert!(!error.remedy().is_empty() && !error.to_string().contains("hunter2"), "{error}");
    }
}
