//! The human's credentials, seen from the API.
//!
//! Owns that keeping, binding and forgetting are recorded before they are done, by name and never by
//! value. Must not know where a value lies.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use ftl_core::credential::catalogue::Catalogue;
use ftl_core::credential::secret_value::Secret;
use ftl_core::credential::{Binding, CredentialName, shadow};
use ftl_core::event::Bytes;
use serde_json::json;

use super::{Error, Sessions, told};
use crate::audit::{Entry as AuditEntry, Sync};
use crate::vault::{Bound, Entry, Scope, Wanted};

/// What is known of a value that was just kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Whether there was another one before.
    pub replaced: bool,
    /// Vendor as which it was recognised; empty when none was.
    pub vendor: String,
    /// Hosts that it is bound to, as patterns.
    pub hosts: Vec<String>,
}

/// A credential without its value.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: CredentialName,
    /// Where the value comes from, in a word or two.
    pub source: String,
    /// Vendor as which it was recognised; empty when none was.
    pub vendor: String,
    /// Where it may be used.
    pub bindings: Vec<Binding>,
    /// Project it belongs to.
    pub project: Option<PathBuf>,
    /// Why it cannot be used; empty when it can.
    pub problem: String,
}

impl Sessions {
    /// Keeps a value under a name.
    ///
    /// # Errors
    /// When it cannot be recorded or kept.
    pub fn keep_secret(&self, scope: &Scope, name: &CredentialName, value: &Secret) -> Result<Kept, Error> {
        self.audit_secret("secret_set", scope, name, json!({}))?;
        let replaced = self.parts().vault.set(scope, name, value)?;
        let vendor = Catalogue::builtin().recognise(name.as_str(), value.expose()).ok();
        let hosts = vendor.map(|vendor| hosts(&vendor.bindings(name, &[]))).unwrap_or_default();
        let vendor = vendor.map(|vendor| vendor.name.clone()).unwrap_or_default();
        Ok(Kept { replaced, vendor, hosts })
    }

    /// Keeps what the human says about a credential.
    ///
    /// # Errors
    /// When it cannot be recorded or kept.
    pub fn bind_secret(&self, scope: &Scope, name: &CredentialName, said: Bound) -> Result<Bound, Error> {
        let hosts = hosts(&said.bindings);
        self.audit_secret("secret_bound", scope, name, json!({ "hosts": hosts }))?;
        let bound = self.parts().vault.bind(scope, name, said)?;
        if !bound.bindings.is_empty() {
            self.parts().outlets.credential_changed(project(scope), name, Some(&bound.bindings));
        }
        Ok(bound)
    }

    /// Forgets a credential; whether there was one.
    ///
    /// # Errors
    /// When it cannot be recorded or forgotten.
    pub fn forget_secret(&self, scope: &Scope, name: &CredentialName) -> Result<bool, Error> {
        self.audit_secret("secret_removed", scope, name, json!({}))?;
        let removed = self.parts().vault.remove(scope, name)?;
        self.parts().outlets.credential_changed(project(scope), name, None);
        Ok(removed)
    }

    /// Every credential that the daemon knows, and what a project's `.env` files add.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub async fn list_secrets(&self, project: Option<&Path>) -> Result<Vec<Listed>, Error> {
        let vault = &self.parts().vault;
        let mut entries = vault.entries(&Scope::Global)?;
        if let Some(project) = project {
            let dotenv = super::outlet::dotenv_at_root(project);
            let wanted = Wanted { project, dotenv: &dotenv, named: &[], agent: &[] };
            let of_project = vault.of_session(&wanted)?.0;
            // What is bound and has no value yet is told as well.
            let scope = Scope::Project(project.to_owned());
            let valueless = vault.entries(&scope)?.into_iter();
            let known = |entry: &Entry| of_project.iter().any(|known| known.name == entry.name);
            entries.extend(valueless.filter(|entry| !known(entry)));
            entries.extend(of_project);
        }
        let mut listed = Vec::new();
        for entry in entries {
            listed.extend(self.listed(entry).await);
        }
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    /// What there is to say of an entry: a line for each secret part of it, none when it holds no secret.
    async fn listed(&self, entry: Entry) -> Vec<Listed> {
        let Entry { name, source, scope, bindings } = entry;
        let project = match scope {
            Scope::Global => None,
            Scope::Project(project) => Some(project),
        };
        let line = |name: CredentialName, bindings: Vec<Binding>, vendor: String, problem: String| Listed {
            name,
            source: source.describe(),
            vendor,
            bindings,
            project: project.clone(),
            problem,
        };
        let value = match self.parts().vault.value(&name, &source).await {
            Ok(value) => value,
            Err(error) => return vec![line(name, bindings, String::new(), told(&Error::from(error)))],
        };
        let is_dotenv = matches!(source, crate::vault::Source::DotEnv { .. });
        // The shadows are thrown away: nothing depends on what they are.
        let mut zeros = |bytes: &mut [u8]| bytes.fill(7);
        let minted = match is_dotenv && bindings.is_empty() {
            true => shadow::mint_value(name.as_str(), value.expose(), &mut zeros),
            false => Some(shadow::mint_secret(name.as_str(), value.expose(), &[], &mut zeros)),
        };
        let parts = minted.map(|minted| minted.credentials).unwrap_or_default();
        parts
            .into_iter()
            .map(|part| {
                let bindings = if bindings.is_empty() { part.grant.bindings } else { bindings.clone() };
                line(part.grant.name, bindings, part.vendor.unwrap_or_default().to_owned(), String::new())
            })
            .collect()
    }

    fn audit_secret(
        &self,
        action: &'static str,
        scope: &Scope,
        name: &CredentialName,
        mut detail: serde_json::Value,
    ) -> Result<(), Error> {
        let parts = self.parts();
        let project = match scope {
            Scope::Global => None,
            Scope::Project(project) => Some(Bytes::from(project.as_os_str().as_bytes())),
        };
        detail["name"] = name.as_str().into();
        let entry = AuditEntry { time_us: parts.clock.now_us(), action, session: None, project, detail };
        Ok(parts.audit.append(entry, Sync::Disk)?)
    }
}

fn project(scope: &Scope) -> Option<&Path> {
    match scope {
        Scope::Global => None,
        Scope::Project(project) => Some(project),
    }
}

fn hosts(bindings: &[Binding]) -> Vec<String> {
    bindings.iter().flat_map(|binding| &binding.hosts).map(ToString::to_string).collect()
}
