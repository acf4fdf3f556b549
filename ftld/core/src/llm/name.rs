//! Which model is meant, and where it is served.
//!
//! Owns names of the form `provider/model`, the providers that are known, and what the human may say about one:
//! another address, another key, another protocol. Only the human's own configuration says any of that.
//! Without TLS only this machine is spoken to.

use std::collections::BTreeMap;
use std::fmt;

use super::Api;
use crate::egress::host::{Authority, Host};

/// A model's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelName {
    /// Who serves it.
    pub provider: String,
    /// What it is called there.
    pub model: String,
}

/// What the human says about a provider.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProviderSettings {
    /// Where it serves.
    pub base_url: Option<BaseUrl>,
    /// The name of its key among the human's credentials; empty means that it needs none.
    pub key: Option<String>,
    /// What it speaks.
    pub api: Option<Api>,
}

/// Where a service is: what stands before the protocol's own path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseUrl {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host and port.
    pub authority: Authority,
    /// The beginning of every path; empty, or with a slash in front and none behind.
    pub path: String,
}

/// A model with all that a request needs but the key's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The provider's name.
    pub provider: String,
    /// The model, as the service calls it.
    pub model: String,
    /// What it speaks.
    pub api: Api,
    /// Where it is.
    pub base: BaseUrl,
    /// Names under which its key is looked for, the first one before the others; none when it needs none.
    pub keys: Vec<String>,
    /// What the service calls the most tokens, in chat completions.
    pub limit_name: &'static str,
    /// Whether it is where the vendor serves it.
    pub is_usual: bool,
}

/// Why a name names no model.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// It is not of the form.
    #[error("{0:?} is not a model's name of the form provider/model")]
    Form(String),
    /// Nobody knows where it is served.
    #[error("the provider {0} is not known")]
    Provider(String),
}

/// A provider that is known.
struct Known {
    name: &'static str,
    api: Api,
    base: &'static str,
    keys: &'static [&'static str],
    limit_name: &'static str,
}

const PROVIDERS: [Known; 6] = [
    Known {
        name: "anthropic",
        api: Api::Anthropic,
        base: "https://api.anthropic.com",
        keys: &["ANTHROPIC_API_KEY"],
        limit_name: LIMIT,
    },
    Known {
        name: "bedrock",
        api: Api::Bedrock,
        base: "https://bedrock-runtime.us-east-1.amazonaws.com",
        // A key of Bedrock's own goes as it is; with the other, requests are signed.
        keys: &["AWS_BEARER_TOKEN_BEDROCK", SIGNING_KEY],
        limit_name: LIMIT,
    },
    Known {
        name: "gemini",
        api: Api::Chat,
        base: "https://generativelanguage.googleapis.com/v1beta/openai",
        keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        limit_name: LIMIT,
    },
    Known { name: "ollama", api: Api::Chat, base: "http://127.0.0.1:11434/v1", keys: &[], limit_name: LIMIT },
    Known {
        name: "openai",
        api: Api::Chat,
        base: "https://api.openai.com/v1",
        keys: &["OPENAI_API_KEY"],
        // The newer models refuse the older name, which is the only one that most others know.
        limit_name: "max_completion_tokens",
    },
    Known {
        name: "openrouter",
        api: Api::Chat,
        base: "https://openrouter.ai/api/v1",
        keys: &["OPENROUTER_API_KEY"],
        limit_name: LIMIT,
    },
];
const LIMIT: &str = "max_tokens";
/// The name of the key that is not sent: requests are signed with it.
pub const SIGNING_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// The region where the address does not say.
const REGION: &str = "us-east-1";
/// The longest name, characters.
const LONGEST: usize = 200;

impl ModelName {
    /// Reads a name.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Form(text.chars().take(80).collect());
        let (provider, model) = text.split_once('/').ok_or_else(wrong)?;
        let good = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\`".contains(&byte);
        let is_model = !model.is_empty() && model.len() <= LONGEST && model.bytes().all(good);
        if !is_provider(provider) || !is_model || model.starts_with('-') {
            return Err(wrong());
        }
        Ok(Self { provider: provider.to_owned(), model: model.to_owned() })
    }

    /// Where it is served, and with which key.
    ///
    /// # Errors
    /// When nobody says.
    pub fn endpoint(&self, said: &BTreeMap<String, ProviderSettings>) -> Result<Endpoint, NameError> {
        let unknown = || NameError::Provider(self.provider.clone());
        let known = PROVIDERS.iter().find(|known| known.name == self.provider);
        let said = said.get(&self.provider).cloned().unwrap_or_default();
        let usual = known.and_then(|known| BaseUrl::parse(known.base));
        let base = said.base_url.or_else(|| usual.clone()).ok_or_else(unknown)?;
        let keys = match (said.key, known) {
            (Some(key), _) => Some(key).into_iter().filter(|key| !key.is_empty()).collect(),
            (None, Some(known)) => known.keys.iter().map(|key| (*key).to_owned()).collect(),
            (None, None) => Vec::new(),
        };
        Ok(Endpoint {
            provider: self.provider.clone(),
            model: self.model.clone(),
            api: said.api.or(known.map(|known| known.api)).unwrap_or(Api::Chat),
            is_usual: usual.as_ref() == Some(&base),
            base,
            keys,
            limit_name: known.map_or(LIMIT, |known| known.limit_name),
        })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

impl Endpoint {
    /// A request's path.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}{}", self.base.path, self.api.path(&self.model))
    }

    /// The region of AWS that it is in, as the host's name says.
    #[must_use]
    pub fn region(&self) -> &str {
        let Host::Dns(host) = &self.base.authority.host else { return REGION };
        let mut labels = host.as_str().split('.').skip_while(|label| !label.starts_with("bedrock-runtime"));
        labels.nth(1).filter(|_| host.as_str().ends_with(".amazonaws.com")).unwrap_or(REGION)
    }
}

impl BaseUrl {
    /// The value of a request's `Host`.
    #[must_use]
    pub fn host(&self) -> String {
        match (self.tls, self.authority.port) {
            (true, 443) | (false, 80) => self.authority.host.to_string(),
            _ => self.authority.to_string(),
        }
    }

    /// Reads an address: `https://`, or `http://` on this machine; no user name, no query.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let authority = Authority::parse(authority, Some(if tls { 443 } else { 80 })).ok()?;
        let path = path.trim_end_matches('/');
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        let is_plain = path.bytes().all(good) && path.split('/').all(|part| part != "." && part != "..");
        (is_plain && (tls || is_here(&authority.host))).then(|| Self {
            tls,
            authority,
            path: path.to_owned(),
        })
    }
}

/// The names of the known providers.
#[must_use]
pub fn providers() -> Vec<&'static str> {
    PROVIDERS.iter().map(|known| known.name).collect()
}

/// Whether a text can be a provider's name.
#[must_use]
pub fn is_provider(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 40 && !text.starts_with('-') && text.bytes().all(good)
}

/// Whether a host can only be this machine; a name is looked up and looked at again before anything is sent.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Ip(address) => address.is_loopback(),
        Host::Dns(_) => host.is_sandbox(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_provider_and_a_model() {
        for good in
            ["anthropic/claude-x", "openrouter/meta/llama:free", "ollama/qwen2.5-coder:7b", "my-gate/a@b"]
        {
            assert_eq!(ModelName::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "gpt-4o",
            "/x",
            "openai/",
            "Openai/x",
            "openai/a b",
            "openai/-x",
            "openai/a\u{7}",
            "öpenai/x",
        ] {
            assert_eq!(ModelName::parse(bad), Err(NameError::Form(bad.to_owned())));
        }
    }

    #[test]
    fn an_address_is_tls_or_this_machine() {
        for good in [
            "https://api.example.com",
            "https://api.example.com:8443/v1/",
            "http://127.0.0.1:11434/v1",
            "http://[::1]:1/v1",
            "http://localhost:8000/v1",
        ] {
            assert!(BaseUrl::parse(good).is_some(), "{good}");
        }
        for bad in [
            "http://api.example.com/v1",
            "http://0.0.0.0/v1",
            "http://10.0.0.1/v1",
            "https://user:pw@api.example.com",
            "https://api.example.com/v1?key=x",
            "https://api.example.com/v1#x",
            "https://api.example.com/a/../b",
            "https://api.example.com/a%2fb",
            "https://api.example.com/a b",
            "ftp://api.example.com",
            "https://",
            "http://127.0.0.1.example.com/v1",
        ] {
            assert_eq!(BaseUrl::parse(bad), None, "{bad}");
        }
        let base = BaseUrl::parse("https://a.example.com/v1/").unwrap();
        assert_eq!((base.path.as_str(), base.host().as_str()), ("/v1", "a.example.com"));
        assert_eq!(BaseUrl::parse("http://[::1]:9").unwrap().host(), "[::1]:9");
    }

    #[test]
    fn known_providers_need_nothing_and_others_an_address() {
        for known in PROVIDERS {
            let name = ModelName::parse(&format!("{}/m", known.name)).unwrap();
            let endpoint = name.endpoint(&BTreeMap::new()).unwrap();
            assert!(endpoint.is_usual && endpoint.base.tls != (known.name == "ollama"), "{endpoint:?}");
            assert_eq!(endpoint.keys.is_empty(), known.name == "ollama");
        }
        let name = ModelName::parse("mine/m").unwrap();
        assert_eq!(name.endpoint(&BTreeMap::new()), Err(NameError::Provider("mine".into())));
        let base_url = BaseUrl::parse("https://llm.example.com/api");
        let said = ProviderSettings { base_url, key: Some("MINE".into()), api: Some(Api::Anthropic) };
        let endpoint = name.endpoint(&[("mine".to_owned(), said)].into()).unwrap();
        assert_eq!(endpoint.path(), "/api/v1/messages");
        assert_eq!((endpoint.keys, endpoint.is_usual), (vec!["MINE".to_owned()], false));
    }

    #[test]
    fn another_address_keeps_the_rest() {
        let base_url = BaseUrl::parse("http://127.0.0.1:9/v1");
        let said = [("openai".to_owned(), ProviderSettings { base_url, ..Default::default() })].into();
        let endpoint = ModelName::parse("openai/gpt-x").unwrap().endpoint(&said).unwrap();
        assert_eq!(
            (endpoint.keys.as_slice(), endpoint.is_usual),
            (["OPENAI_API_KEY".to_owned()].as_slice(), false)
        );
        assert_eq!(endpoint.path(), "/v1/chat/completions");
        let none = ProviderSettings { key: Some(String::new()), ..Default::default() };
        let endpoint = ModelName::parse("openai/x").unwrap().endpoint(&[("openai".to_owned(), none)].into());
        assert!(endpoint.unwrap().keys.is_empty());
    }
}
