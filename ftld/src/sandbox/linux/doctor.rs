//! What this machine allows, found out by trying.
//!
//! Owns the checks. Must not know how their results are shown.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use ftl_core::id::SessionId;
use tokio::io::AsyncReadExt;

use super::super::{
    Check, Command, ExitStatus, Limits, Network, Outcome, Sandbox, SandboxError, SandboxSpec, Stdio,
};
use super::cgroup::Resource;
use super::diagnosis::{Host, OLDEST_KERNEL};
use super::{Backend, launch};

/// Examines everything that a sandbox needs.
pub(super) async fn examine(backend: Arc<Backend>, scratch: &Path, limits: Limits) -> Vec<Check> {
    let host = Host::read();
    let mut checks = vec![kernel(&host)];
    match try_it(Arc::clone(&backend), scratch, limits).await {
        Ok(tried) => checks.extend(tried),
        Err(error) => checks.push(refused(&error)),
    }
    for (resource, why) in backend.cgroups.missing() {
        if *resource == Resource::Processes {
            // A resource limit takes its place, which is told above.
            continue;
        }
        checks.push(Check {
            name: resource.name().to_owned(),
            outcome: Outcome::Warning,
            detail: why.clone(),
            remedy: "run ftld as a systemd user service with Delegate=yes".to_owned(),
        });
    }
    checks
}

fn kernel(host: &Host) -> Check {
    let ((major, minor), (needed_major, needed_minor)) = (host.kernel, OLDEST_KERNEL);
    let enough = host.kernel >= OLDEST_KERNEL;
    Check {
        name: "kernel".to_owned(),
        outcome: if enough { Outcome::Ok } else { Outcome::Failed },
        detail: format!("Linux {major}.{minor}; {needed_major}.{needed_minor} or later is needed"),
        remedy: if enough { String::new() } else { "update the kernel".to_owned() },
    }
}

/// Runs a program in a throw-away sandbox and says what held in it.
async fn try_it(backend: Arc<Backend>, scratch: &Path, limits: Limits) -> Result<Vec<Check>, SandboxError> {
    let failed = |source| SandboxError::File { act: "preparing", path: scratch.to_owned(), source };
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    let session = SessionId::from_random(random);
    let dir = scratch.join(session.as_str());
    let base = dir.join("base");
    std::fs::create_dir_all(&base).map_err(failed)?;
    // Set, not only asked for: the daemon's mask must not decide what a sandbox sees.
    std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let spec = SandboxSpec {
        session,
        layers: vec![base],
        dir: dir.clone(),
        limits,
        tools: Vec::new(),
        shared: Vec::new(),
        path: Vec::new(),
        env: Vec::new(),
        network: Network::Egress,
        files: Vec::new(),
    };
    let result = run_once(backend, spec).await;
    if let Err(error) = remove(&dir) {
        tracing::warn!(dir = %dir.display(), %error, "a check's directory stays behind");
    }
    result
}

async fn run_once(backend: Arc<Backend>, spec: SandboxSpec) -> Result<Vec<Check>, SandboxError> {
    let sandbox = launch::launch(backend, spec).await?;
    let script = "touch /workspace/x && grep -q '^Seccomp:.2' /proc/self/status && echo works";
    let command = Command {
        argv: ["/bin/sh", "-c", script].map(Into::into).into(),
        env: Vec::new(),
        workdir: None,
        stdio: Stdio::Pipes,
    };
    let mut process = sandbox.spawn(command).await?;
    let mut said = String::new();
    let read = process.stdout.read_to_string(&mut said).await;
    let status = process.exit.await?;
    sandbox.kill().await;
    let works = read.is_ok() && status == ExitStatus::Code(0) && said == "works\n";
    let mut checks = vec![Check {
        name: "sandbox".to_owned(),
        outcome: if works { Outcome::Ok } else { Outcome::Failed },
        detail: match works {
            true => "a program ran in one and wrote to its workspace".to_owned(),
            false => format!("a program ran in one and could not do its work ({status:?})"),
        },
        remedy: String::new(),
    }];
    let enforcement = sandbox.enforcement();
    let check = |outcome| {
        move |sentence: &String| {
            let (name, detail) = sentence.split_once(": ").unwrap_or(("sandbox", sentence));
            Check { name: name.to_owned(), outcome, detail: detail.to_owned(), remedy: String::new() }
        }
    };
    checks.extend(enforcement.enforced.iter().map(check(Outcome::Ok)));
    // Control groups are examined on their own, with a remedy.
    let others = enforcement
        .unenforced
        .iter()
        .filter(|sentence| sentence.starts_with("Landlock") || sentence.starts_with("network"));
    checks.extend(others.map(check(Outcome::Warning)));
    Ok(checks)
}

fn refused(error: &SandboxError) -> Check {
    let name = match error {
        SandboxError::Unavailable { stage, .. } => format!("sandbox ({stage:?})"),
        _ => "sandbox".to_owned(),
    };
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    let remedy = error.remedy().unwrap_or_default();
    Check { name, outcome: Outcome::Failed, detail, remedy }
}

fn remove(dir: &Path) -> std::io::Result<()> {
    super::super::disk::remove_tree(dir)
}
