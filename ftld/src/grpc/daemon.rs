//! `ftl.v1.DaemonService`: the daemon itself, and what a human says about a project as a whole.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::Arc;

use ftl_proto::v1;
use ftl_proto::v1::daemon_service_server::DaemonService;
use tonic::{Request, Response, Status};

use super::convert;
use super::status::status;
use crate::app::Control;
use crate::sandbox::{Check, Outcome};
use crate::session::{Error, Sessions, outlet, prepare, trust, watching, wishes};
use crate::snapshot::{Sweeping, Watching};

/// Version of the API that this daemon speaks.
const API_VERSION: u32 = 1;

/// The service over the daemon.
pub(super) struct DaemonApi {
    pub(super) sessions: Arc<Sessions>,
    pub(super) control: Arc<Control>,
}

#[tonic::async_trait]
impl DaemonService for DaemonApi {
    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusReply>, Status> {
        let (working, total) = self.sessions.count().map_err(|error| status(&error))?;
        let home = &self.control.home;
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let now = self.sessions.parts().clock.monotonic_us();
        Ok(Response::new(v1::StatusReply {
            version: env!("CARGO_PKG_VERSION").into(),
            api_version: API_VERSION,
            pid: std::process::id(),
            home: bytes(home.root()),
            socket: bytes(&home.socket()),
            sessions_working: u32::try_from(working).unwrap_or(u32::MAX),
            sessions_total: u32::try_from(total).unwrap_or(u32::MAX),
            uptime_us: now.saturating_sub(self.control.started_us),
            projects: self.sessions.parts().store.watching().into_iter().map(watched).collect(),
            notify_after_s: wishes::notify_after_s(self.sessions.parts()).unwrap_or(0),
        }))
    }

    async fn doctor(
        &self,
        _request: Request<v1::DoctorRequest>,
    ) -> Result<Response<v1::DoctorReply>, Status> {
        let parts = self.sessions.parts();
        let limits = prepare::usual_limits(parts).map_err(|error| status(&error))?;
        let scratch = self.control.home.sessions();
        let mut checks = Vec::new();
        for backend in parts.sandboxes.values() {
            checks.extend(backend.doctor(&scratch, limits).await.into_iter().map(check));
        }
        checks.push(check(outlet::check(&parts.policies, &parts.home)));
        checks.extend(prepare::agents(parts).map_err(|error| status(&error))?.into_iter().map(check));
        checks.push(check(watching::check(&parts.store.watching(), parts.store.watch_limit())));
        Ok(Response::new(v1::DoctorReply { checks }))
    }

    async fn shutdown(
        &self,
        _request: Request<v1::ShutdownRequest>,
    ) -> Result<Response<v1::ShutdownReply>, Status> {
        self.control.end();
        Ok(Response::new(v1::ShutdownReply {}))
    }

    async fn init_project(
        &self,
        request: Request<v1::InitProjectRequest>,
    ) -> Result<Response<v1::InitProjectReply>, Status> {
        let request = request.into_inner();
        let project = convert::absolute(request.project, "project")?;
        let (path, content) =
            trust::init(self.sessions.parts(), &project, &request.agent).map_err(|error| status(&error))?;
        let path = path.as_os_str().as_bytes().to_vec();
        Ok(Response::new(v1::InitProjectReply { path, content }))
    }

    async fn trust_project(
        &self,
        request: Request<v1::TrustProjectRequest>,
    ) -> Result<Response<v1::TrustProjectReply>, Status> {
        let request = request.into_inner();
        let project = convert::absolute(request.project, "project")?;
        let sessions = Arc::clone(&self.sessions);
        let trusted =
            tokio::task::spawn_blocking(move || trust::trust(sessions.parts(), &project, !request.revoke))
                .await
                .map_err(|_| Status::internal("interrupted"))?
                .map_err(|error: Error| status(&error))?;
        Ok(Response::new(v1::TrustProjectReply {
            digest: trusted.digest.map(|digest| digest.to_hex()).unwrap_or_default(),
            widening: trusted.widening.into_iter().map(str::to_owned).collect(),
        }))
    }
}

fn watched(project: Watching) -> v1::WatchedProject {
    let mode = match project.sweeping {
        None => v1::WatchMode::Live,
        Some(Sweeping::Beginning) => v1::WatchMode::Beginning,
        Some(_) => v1::WatchMode::Sweep,
    };
    v1::WatchedProject {
        path: project.project.into_os_string().into_vec(),
        files: project.files,
        directories_watched: project.directories as u64,
        mode: mode.into(),
        reason: project.sweeping.map(|why| why.to_string()).unwrap_or_default(),
        memory: project.memory,
    }
}

fn check(check: Check) -> v1::Check {
    let outcome = match check.outcome {
        Outcome::Ok => v1::CheckOutcome::Ok,
        Outcome::Warning => v1::CheckOutcome::Warning,
        Outcome::Failed => v1::CheckOutcome::Failed,
    };
    v1::Check { name: check.name, outcome: outcome.into(), detail: check.detail, remedy: check.remedy }
}
