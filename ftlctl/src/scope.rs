//! What a rule or a credential is for: one session, one project, or everything.
//!
//! Owns the default (the project that `code` would work on) and its words. Must not know rules or values.

use ftl_proto::v1;
use serde_json::{Map, Value, json};

use crate::args::RuleScopeArg;
use crate::connect::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::project;
use crate::render::{escape, json};

/// What something is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One session.
    Session {
        /// Its id.
        session: String,
        /// Its project, in the API's form.
        project: Vec<u8>,
    },
    /// Every session of a project, in the API's form.
    Project(Vec<u8>),
    /// Every session.
    Global,
}

/// Refuses options that name more than one scope. Options of every verb may stand before the verb, where
/// the parser does not see the contradiction.
pub(crate) fn check(context: &Context, arg: &RuleScopeArg) -> Result<(), Failure> {
    let other = match (context.global.project.is_some(), &arg.session, arg.everywhere) {
        (true, Some(_), _) => "--session",
        (true, None, true) => "--global",
        _ => return Ok(()),
    };
    Err(Failure::Usage {
        what: format!("--project and {other} contradict each other"),
        hint: "name one of --session, --project and --global; without any, the project is meant".to_owned(),
    })
}

/// The scope of a rule.
pub(crate) async fn of_rule(
    context: &Context,
    client: &Client,
    arg: &RuleScopeArg,
) -> Result<Scope, Failure> {
    match (&arg.session, arg.everywhere) {
        (Some(named), _) => {
            let session = context.session(client, Some(named)).await?;
            Ok(Scope::Session { session: session.session, project: session.project })
        }
        (None, true) => Ok(Scope::Global),
        (None, false) => Ok(Scope::Project(context.project_bytes()?)),
    }
}

/// The scope of a credential. A home directory is nobody's project: what is kept there is for all.
pub(crate) fn of_credential(context: &Context, everywhere: bool) -> Result<Scope, Failure> {
    check(context, &RuleScopeArg { session: None, everywhere })?;
    if everywhere {
        return Ok(Scope::Global);
    }
    let root = context.project()?;
    let home = context.environment.home.as_ref().and_then(|home| home.canonicalize().ok());
    let chosen = context.global.project.is_some();
    if !chosen && (root.parent().is_none() || home.is_some_and(|home| home == root)) {
        return Ok(Scope::Global);
    }
    Ok(Scope::Project(project::bytes(&root)))
}

// === impl Scope ===

impl Scope {
    /// The API's form.
    pub(crate) fn wire(&self) -> v1::RuleScope {
        match self {
            Self::Session { .. } => v1::RuleScope::Session,
            Self::Project(_) => v1::RuleScope::Project,
            Self::Global => v1::RuleScope::Global,
        }
    }

    /// The project, empty when it is for all of them.
    pub(crate) fn project(&self) -> Vec<u8> {
        match self {
            Self::Session { project, .. } | Self::Project(project) => project.clone(),
            Self::Global => Vec::new(),
        }
    }

    /// The session, empty when it is for more than one.
    pub(crate) fn session(&self) -> String {
        match self {
            Self::Session { session, .. } => session.clone(),
            Self::Project(_) | Self::Global => String::new(),
        }
    }

    /// For people, escaped.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Session { session, .. } => format!("session {}", escape::name(session)),
            Self::Project(project) => format!("project {}", escape::name(project)),
            Self::Global => "every project".to_owned(),
        }
    }

    /// The option that means this scope, with a space before it; empty for the default.
    pub(crate) fn option(&self) -> String {
        match self {
            Self::Session { session, .. } => format!(" --session {}", escape::name(session)),
            Self::Project(_) => String::new(),
            Self::Global => " --global".to_owned(),
        }
    }

    /// Sets `scope`, and `session` or `project` where there is one.
    pub(crate) fn put(&self, object: &mut Map<String, Value>) {
        let name = match self {
            Self::Session { session, .. } => {
                object.insert("session".to_owned(), json!(session));
                "session"
            }
            Self::Project(project) => {
                json::put_bytes(object, "project", project);
                "project"
            }
            Self::Global => "global",
        };
        object.insert("scope".to_owned(), json!(name));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::args::Global;
    use crate::environment::Environment;
    use crate::output::{ColorChoice, Format, Output, Terminals};

    fn context(cwd: &Path, home: &Path, project: Option<&Path>) -> Context {
        let variable = |name: &str| (name == "HOME").then(|| home.as_os_str().to_owned());
        let terminals = Terminals { stdin: false, stdout: false, stderr: false };
        Context {
            environment: Environment::read(variable, cwd.to_path_buf()),
            output: Output::new(Format::Human, terminals, ColorChoice::Never, true),
            global: Global {
                json: false,
                color: ColorChoice::Never,
                project: project.map(Path::to_path_buf),
                plain: false,
                no_start: true,
            },
        }
    }

    #[test]
    fn a_credential_is_the_projects_unless_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let project = home.join("p");
        std::fs::create_dir(&project).unwrap();
        let scope = |cwd: &Path, named: Option<&Path>, everywhere| {
            of_credential(&context(cwd, &home, named), everywhere).ok()
        };
        let of = |path: &Path| Some(Scope::Project(project::bytes(path)));
        assert_eq!(scope(&project, None, false), of(&project));
        assert_eq!(scope(&project, None, true), Some(Scope::Global));
        assert_eq!(scope(&home, None, false), Some(Scope::Global));
        assert_eq!(scope(Path::new("/"), None, false), Some(Scope::Global));
        assert_eq!(scope(Path::new("/"), Some(&home), false), of(&home));
        assert_eq!(scope(&project, Some(&project), true), None, "two scopes are a contradiction");
    }
}
