//! Which model writes a session's tests.
//!
//! Owns that it is settled when the session begins, and that it is another one than the agent's unless the human
//! says otherwise. Its key is asked for when it is called.

use ftl_core::config::Settings;
use ftl_core::opinion::{Sameness, sameness};

use crate::app::Parts;
use crate::session::Error;
use crate::session::ask::{ModelError, of_agent};
use crate::session::record::{Spec, TestsSpec};

/// What of tests counts for a new session: what was asked for, else what is configured.
pub(in crate::session) fn resolve(
    parts: &Parts,
    settings: &Settings,
    spec: &Spec,
) -> Result<TestsSpec, Error> {
    let asked = &spec.tests;
    let fix = asked.fix.min(MOST_ROUNDS);
    let has_agent = !spec.is_by_hand();
    let model = match &asked.model {
        _ if asked.off || !has_agent => None,
        Some(model) => Some(model.clone()),
        None => settings.tester.clone(),
    };
    let fix = if has_agent { fix } else { 0 };
    let Some(model) = model else { return Ok(TestsSpec { fix, off: asked.off, ..TestsSpec::default() }) };
    let (name, _) = of_agent(parts, Some(&model))?;
    if !asked.same_model && !settings.tester_same_model {
        let agents = settings.agent_settings(&spec.agent).model;
        match sameness(&name, &spec.agent, agents.as_deref()) {
            Sameness::Different => {}
            Sameness::Same => return Err(ModelError::SameTester { model: name.to_string() }.into()),
            Sameness::Unknown => {
                let (model, agent) = (name.to_string(), spec.agent.clone());
                return Err(ModelError::MaybeSameTester { model, agent }.into());
            }
        }
    }
    Ok(TestsSpec { model: Some(model), fix, off: false, same_model: asked.same_model })
}

/// Rounds that an agent gets at most.
const MOST_ROUNDS: u32 = 20;
