//! `ftl.v1.SecretService`: credentials and what they are bound to. No reply carries a value.

use std::path::PathBuf;
use std::sync::Arc;

use ftl_core::credential::secret_value::Secret;
use ftl_core::credential::{Binding, CredentialName, Slot};
use ftl_core::egress::host::{Authority, HostPattern};
use ftl_proto::v1;
use ftl_proto::v1::secret_service_server::SecretService;
use tonic::{Request, Response, Status};

use super::convert;
use super::status::status;
use crate::session::Sessions;
use crate::session::secrets::Listed;
use crate::vault::{Bound, Elsewhere, Scope};

/// The service over the vault.
pub(super) struct SecretApi(pub(super) Arc<Sessions>);

impl SecretApi {
    fn scope(&self, project: Vec<u8>) -> Result<Scope, Status> {
        Ok(match convert::optional_project(project)? {
            project if project.is_empty() => Scope::Global,
            project => Scope::Project(self.root(project)?),
        })
    }

    fn root(&self, project: Vec<u8>) -> Result<PathBuf, Status> {
        let path = convert::absolute(project, "project")?;
        self.0.project_root(&path).map_err(|error| status(&error))
    }
}

#[tonic::async_trait]
impl SecretService for SecretApi {
    async fn set(
        &self,
        request: Request<v1::SetSecretRequest>,
    ) -> Result<Response<v1::SetSecretReply>, Status> {
        let v1::SetSecretRequest { name, value, project } = request.into_inner();
        let value = Secret::new(value);
        let (name, scope) = (variable(&name)?, self.scope(project)?);
        let kept = self.0.keep_secret(&scope, &name, &value).map_err(|error| status(&error))?;
        Ok(Response::new(v1::SetSecretReply {
            replaced: kept.replaced,
            vendor: kept.vendor,
            hosts: kept.hosts,
        }))
    }

    async fn bind(
        &self,
        request: Request<v1::BindSecretRequest>,
    ) -> Result<Response<v1::BindSecretReply>, Status> {
        let request = request.into_inner();
        let name = variable(&request.name)?;
        let scope = self.scope(request.project.clone())?;
        let source = match &request.source {
            Some(source) => elsewhere(source)?,
            None => None,
        };
        let bindings = bindings(&request)?;
        if bindings.is_empty() && source.is_none() {
            return Err(Status::invalid_argument(
                "neither a host nor a source is named, so there is nothing to bind",
            ));
        }
        let warnings: Vec<String> = bindings
            .iter()
            .flat_map(|binding| &binding.hosts)
            .filter(|host| ftl_core::egress::rule::shared_by_many(host))
            .map(|host| format!("anybody can have a name that {host} means"))
            .collect();
        let bound =
            self.0.bind_secret(&scope, &name, Bound { bindings, source }).map_err(|error| status(&error))?;
        Ok(Response::new(v1::BindSecretReply {
            bindings: bound.bindings.iter().flat_map(Binding::sentences).collect(),
            warning: warnings.join("; "),
        }))
    }

    async fn list(
        &self,
        request: Request<v1::ListSecretsRequest>,
    ) -> Result<Response<v1::ListSecretsReply>, Status> {
        let project = convert::optional_project(request.into_inner().project)?;
        let project = match project.is_empty() {
            true => None,
            false => Some(self.root(project)?),
        };
        let listed = self.0.list_secrets(project.as_deref()).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::ListSecretsReply { secrets: listed.into_iter().map(wire).collect() }))
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveSecretRequest>,
    ) -> Result<Response<v1::RemoveSecretReply>, Status> {
        let v1::RemoveSecretRequest { name, project } = request.into_inner();
        let (name, scope) = (named(&name)?, self.scope(project)?);
        let removed = self.0.forget_secret(&scope, &name).map_err(|error| status(&error))?;
        Ok(Response::new(v1::RemoveSecretReply { removed }))
    }
}

/// A name under which a value can be kept and bound.
fn variable(name: &str) -> Result<CredentialName, Status> {
    let parsed = CredentialName::parse(name);
    parsed.map_err(|error| match (CredentialName::try_from(name.to_owned()), name.split_once('.')) {
        (Ok(_), Some((whole, _))) => {
            Status::invalid_argument(format!("{name} is a part of {whole}'s value; name {whole} itself"))
        }
        _ => Status::invalid_argument(error.to_string()),
    })
}

/// A variable's name, or that of a part of one as lists show it.
fn named(name: &str) -> Result<CredentialName, Status> {
    let name = CredentialName::try_from(name.to_owned());
    name.map_err(|error| Status::invalid_argument(error.to_string()))
}

/// The one binding that a request describes; none when it names no host.
fn bindings(request: &v1::BindSecretRequest) -> Result<Vec<Binding>, Status> {
    let bad = |what: String| Status::invalid_argument(what);
    if request.hosts.is_empty() {
        return Ok(Vec::new());
    }
    let mut by_port: Vec<(u16, Vec<HostPattern>)> = Vec::new();
    for text in &request.hosts {
        let (pattern, port) = host(text).map_err(|error| bad(format!("{text:?}: {error}")))?;
        match by_port.iter_mut().find(|(known, _)| *known == port) {
            Some((_, hosts)) => hosts.push(pattern),
            None => by_port.push((port, vec![pattern])),
        }
    }
    let slots = slots(request)?;
    let methods: Vec<String> = request.methods.iter().map(|method| method.to_ascii_uppercase()).collect();
    if methods.iter().any(|method| method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        return Err(bad("a method has letters only".to_owned()));
    }
    if request.paths.iter().any(|path| !path.starts_with('/')) {
        return Err(bad("a path begins with `/`".to_owned()));
    }
    let bind = |(port, hosts)| Binding {
        hosts,
        port,
        methods: methods.clone(),
        paths: request.paths.clone(),
        slots: slots.clone(),
        optional: request.optional,
    };
    Ok(by_port.into_iter().map(bind).collect())
}

/// `host`, `*.host`, `host:port`.
fn host(text: &str) -> Result<(HostPattern, u16), ftl_core::egress::host::HostError> {
    if let Some(rest) = text.strip_prefix("*.") {
        let authority = Authority::parse(rest, Some(443))?;
        return Ok((HostPattern::parse(&format!("*.{}", authority.host))?, authority.port));
    }
    let authority = Authority::parse(text, Some(443))?;
    Ok((HostPattern::Exact(authority.host), authority.port))
}

fn slots(request: &v1::BindSecretRequest) -> Result<Vec<Slot>, Status> {
    let bad = |what: &str| Status::invalid_argument(what);
    let mut slots = Vec::new();
    if !request.header.is_empty() {
        let Some((name, format)) = request.header.split_once(':') else {
            return Err(bad("a header is written as `Name: format with {}`"));
        };
        let (name, format) = (name.trim().to_ascii_lowercase(), format.trim());
        let format = if format.is_empty() { "{}" } else { format };
        if format.matches("{}").count() != 1 || !format.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(bad("a header's format has `{}` exactly once, where the value goes"));
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || !name.bytes().all(good) || name == "host" || name == "cookie" {
            return Err(bad("the header's name cannot carry a credential"));
        }
        slots.push(Slot::Header { name, format: format.to_owned() });
    }
    match request.basic.as_str() {
        "" => {}
        "user" => slots.push(Slot::BasicUser),
        "password" => slots.push(Slot::BasicPassword),
        _ => return Err(bad("`basic` is `user` or `password`")),
    }
    if !request.query.is_empty() {
        slots.push(Slot::Query { name: request.query.clone() });
    }
    if slots.is_empty() {
        // What most services take.
        slots.push(Slot::Header { name: "authorization".to_owned(), format: "Bearer {}".to_owned() });
    }
    Ok(slots)
}

fn elsewhere(source: &v1::SecretSource) -> Result<Option<Elsewhere>, Status> {
    use v1::secret_source::From;
    let bad = |what: &str| Status::invalid_argument(what);
    Ok(Some(match &source.from {
        None => return Ok(None),
        Some(From::Env(name)) => Elsewhere::Env(named(name)?.to_string()),
        Some(From::Command(command)) => {
            let argv: Result<Vec<String>, _> =
                command.argv.iter().map(|word| String::from_utf8(word.clone())).collect();
            let argv = argv.map_err(|_| bad("the command is not UTF-8"))?;
            if argv.first().is_none_or(String::is_empty) {
                return Err(bad("the command names no program"));
            }
            Elsewhere::Command(argv)
        }
        Some(From::Keyring(entry)) => match entry.split_once('/') {
            Some((service, account)) if !service.is_empty() && !account.is_empty() => {
                Elsewhere::Keyring { service: service.to_owned(), account: account.to_owned() }
            }
            _ => return Err(bad("an entry of the keyring is written as `service/account`")),
        },
    }))
}

fn wire(listed: Listed) -> v1::Secret {
    let mut hosts = Vec::new();
    for binding in &listed.bindings {
        let usual = |host: &HostPattern| match binding.port {
            443 => host.to_string(),
            port => format!("{host}:{port}"),
        };
        hosts.extend(binding.hosts.iter().map(usual));
    }
    hosts.sort();
    hosts.dedup();
    v1::Secret {
        name: listed.name.to_string(),
        source: listed.source,
        vendor: listed.vendor,
        bindings: listed.bindings.iter().flat_map(Binding::sentences).collect(),
        project: listed
            .project
            .map(|project| project.into_os_string().into_encoded_bytes())
            .unwrap_or_default(),
        problem: listed.problem,
        hosts,
    }
}
