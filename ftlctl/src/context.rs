//! What every verb is given.
//!
//! Owns the steps that nearly every verb begins with: which project, which daemon, which session. Must
//! not know any verb.

use std::path::PathBuf;

use ftl_proto::v1;
use jiff::Timestamp;

use crate::args::Global;
use crate::connect::{self, Client, ConnectError, Start};
use crate::environment::{Environment, Places};
use crate::failure::Failure;
use crate::output::Output;
use crate::project;

/// The process's environment, its output and the options of every verb.
pub(crate) struct Context {
    /// Variables and working directory.
    pub(crate) environment: Environment,
    /// Where everything is written.
    pub(crate) output: Output,
    /// Options of every verb.
    pub(crate) global: Global,
}

// === impl Context ===

impl Context {
    /// Where the daemon is.
    pub(crate) fn places(&self) -> Result<Places, Failure> {
        Ok(self.environment.places().ok_or(ConnectError::NoHome)?)
    }

    /// Whether a daemon may be started on the way.
    pub(crate) fn start(&self) -> Start {
        if self.global.no_start || self.environment.no_autostart { Start::Forbidden } else { Start::Allowed }
    }

    /// A connection; starts the daemon when that is allowed.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(connect::connect(&self.places()?, self.start()).await?)
    }

    /// The project's root.
    pub(crate) fn project(&self) -> Result<PathBuf, Failure> {
        Ok(project::root(self.global.project.as_deref(), &self.environment.cwd)?)
    }

    /// The project's root in the API's form.
    pub(crate) fn project_bytes(&self) -> Result<Vec<u8>, Failure> {
        Ok(project::bytes(&self.project()?))
    }

    /// The named session, or the newest of the project.
    pub(crate) async fn session(&self, client: &Client, named: Option<&str>) -> Result<v1::Session, Failure> {
        let request = match named {
            Some(session) => v1::GetSessionRequest { session: session.to_owned(), project: Vec::new() },
            None => v1::GetSessionRequest { session: String::new(), project: self.project_bytes()? },
        };
        Ok(client.sessions().get(request).await?.into_inner())
    }

    /// The present.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
