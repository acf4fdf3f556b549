//! What a new session of a project would have: its rules and credentials, before there is a session.
//!
//! Owns that this is collected as for a real session. Must not know what is done with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ftl_core::config::Settings;
use ftl_core::credential::Grant;
use ftl_core::id::SessionId;

use super::super::record::Record;
use super::super::{Error, Sessions, prepare, trust};
use super::holdings::Holdings;
use super::{Layered, dotenv_at_root, layered, project_of};
use crate::app::Parts;
use crate::vault::Wanted;

/// The rules that count, and the credentials that could travel.
pub(super) struct Effective {
    pub(super) layered: Layered,
    pub(super) grants: Vec<Grant>,
}

/// Whose rules are asked for.
struct Whose<'a> {
    session: Option<&'a SessionId>,
    project: PathBuf,
    agent: String,
    dotenv: Vec<PathBuf>,
}

impl Sessions {
    /// What counts for a session, for the next session of a project, or everywhere.
    pub(super) async fn effective(
        &self,
        session: Option<&SessionId>,
        project: &[u8],
    ) -> Result<Effective, Error> {
        let parts = self.parts();
        if let Some(session) = session {
            if let Some(outlet) = parts.outlets.get(session) {
                return Ok(Effective { layered: outlet.layered(), grants: outlet.grants() });
            }
            return of_record(parts, &self.get(session)?).await;
        }
        if project.is_empty() {
            let layered = layered(&parts.policies, &parts.home, None, None, &[]);
            return Ok(Effective { layered, grants: Vec::new() });
        }
        let project = super::root(&project.into());
        let settings = trust::settings(parts, &project)?;
        let dotenv = dotenv_at_root(&project);
        let whose = Whose { session: None, project, agent: settings.agent.clone(), dotenv };
        of(parts, &settings, whose).await
    }
}

async fn of_record(parts: &Arc<Parts>, record: &Record) -> Result<Effective, Error> {
    let project = project_of(record);
    let settings = trust::settings(parts, &project)?;
    let dotenv = record.dotenv.iter().map(super::root).collect();
    let whose = Whose { session: Some(&record.id), project, agent: record.spec.agent.clone(), dotenv };
    of(parts, &settings, whose).await
}

async fn of(parts: &Arc<Parts>, settings: &Settings, whose: Whose<'_>) -> Result<Effective, Error> {
    let project: &Path = &whose.project;
    let agent = prepare::adapter_named(&whose.agent, settings);
    let keys = agent.as_ref().map(|agent| agent.keys()).unwrap_or_default();
    let wanted = Wanted { project, dotenv: &whose.dotenv, named: &settings.shadow_env, agent: keys };
    // What cannot be had is told where credentials are listed and when a session starts.
    let (holdings, _notices) = Holdings::gather(parts, &wanted, &BTreeMap::new()).await?;
    let rules = agent.map(|agent| prepare::agent_rules(settings, &*agent)).unwrap_or_default();
    let layered = layered(&parts.policies, &parts.home, whose.session, Some(project), &settings.egress);
    let layered = layered.with_implied(&whose.agent, &rules, &holdings.agreed());
    Ok(Effective { layered, grants: holdings.grants().to_vec() })
}
