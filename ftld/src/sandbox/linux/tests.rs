//! The native backend, driven alone: what only it has. What every backend promises is tried on each of them
//! in the integration tests.

mod network;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ftl_core::id::SessionId;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::{
    Carrier, Command, ExitStatus, Limits, Network, Outcome, Process, Sandbox, SandboxBackend, SandboxError,
    SandboxSpec, Stdio,
};
use super::{NativeBackend, NativeConfig};

const LIMITS: Limits = Limits {
    memory_bytes: 512 << 20,
    processes: 200,
    cpu_percent: 200,
    file_size_bytes: 64 << 20,
    disk_bytes: 1 << 30,
    open_files: 256,
};

/// A backend, a base tree with a few files, and a session's directory.
struct Bench {
    backend: NativeBackend,
    root: TempDir,
}

/// What a program left.
#[derive(Debug, PartialEq, Eq)]
struct Output {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Bench {
    fn new() -> Self {
        Self::with(Duration::from_secs(3600), Carrier::Descriptors)
    }

    fn with(disk_interval: Duration, carrier: Carrier) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let config = NativeConfig {
            instance: format!("test-{}", std::process::id()),
            protected: vec![root.path().join("state")],
            disk_interval,
            carrier,
            umask: 0o022,
        };
        let bench = Self { backend: NativeBackend::new(config).unwrap(), root };
        let base = bench.root.path().join("base");
        std::fs::create_dir_all(base.join("sub/deep")).unwrap();
        std::fs::write(base.join("file"), "from the base\n").unwrap();
        std::fs::write(base.join("sub/deep/gone"), "x").unwrap();
        std::fs::write(base.join("script.sh"), "#!/bin/sh\necho ran\n").unwrap();
        std::fs::set_permissions(base.join("script.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        if let Some(owner) = bench.backend.owner().unwrap() {
            for path in ["", "sub", "sub/deep", "file", "sub/deep/gone", "script.sh"] {
                std::os::unix::fs::chown(base.join(path), Some(owner.uid), Some(owner.gid)).unwrap();
            }
        }
        bench
    }

    fn spec(&self) -> SandboxSpec {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let session = SessionId::from_random([n % 20, n / 20, 0, 0, 0, 0, 0, 0, 0, 0]);
        let dir = self.root.path().join(session.as_str());
        std::fs::create_dir(&dir).unwrap();
        SandboxSpec {
            session,
            layers: vec![self.root.path().join("base")],
            dir,
            limits: LIMITS,
            tools: Vec::new(),
            shared: Vec::new(),
            path: Vec::new(),
            env: Vec::new(),
            network: Network::None,
            files: Vec::new(),
        }
    }
}

fn command(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(OsString::from).collect(),
        env: Vec::new(),
        workdir: None,
        stdio: Stdio::Pipes,
    }
}

fn script(text: &str) -> Command {
    command(&["/bin/sh", "-c", text])
}

async fn finish(mut process: Process) -> Result<Output, SandboxError> {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    drop(process.stdin);
    process.stdout.read_to_string(&mut stdout).await.unwrap();
    if let Some(errors) = &mut process.stderr {
        errors.read_to_string(&mut stderr).await.unwrap();
    }
    Ok(Output { status: process.exit.await?, stdout, stderr })
}

async fn run(sandbox: &dyn Sandbox, text: &str) -> Output {
    finish(sandbox.spawn(script(text)).await.unwrap()).await.unwrap()
}

async fn says(sandbox: &dyn Sandbox, text: &str) -> String {
    let output = run(sandbox, text).await;
    assert_eq!(output.status, ExitStatus::Code(0), "{text}: {output:?}");
    output.stdout
}

#[tokio::test]
async fn a_file_where_there_is_no_directory_is_left_out() {
    let bench = Bench::new();
    let files = vec![("/usr/share/no-such-directory/file".into(), b"nowhere".to_vec())];
    let sandbox = bench.backend.launch(SandboxSpec { files, ..bench.spec() }).await.unwrap();
    assert_eq!(says(&*sandbox, "ls -d /usr/share/no-such-directory 2>/dev/null; true").await, "");
    sandbox.kill().await;
}

#[tokio::test]
async fn a_launch_that_fails_says_why_and_leaves_nothing() {
    let bench = Bench::new();
    let spec = SandboxSpec { layers: vec![bench.root.path().join("missing")], ..bench.spec() };
    match bench.backend.launch(spec.clone()).await.map(|_| ()) {
        Err(SandboxError::Unavailable { source, .. }) => {
            assert_eq!(source.errno, libc::ENOENT);
            assert!(source.what.ends_with("/missing"), "{}", source.what);
        }
        other => panic!("{other:?}"),
    }
    assert!(!spec.dir.join("pid").exists());
    let spec = SandboxSpec { tools: vec![bench.root.path().into()], ..bench.spec() };
    assert!(matches!(bench.backend.launch(spec).await.map(|_| ()), Err(SandboxError::Tool(_))));
}

#[tokio::test]
async fn tools_are_seen_at_their_own_path_and_cannot_be_written() {
    let bench = Bench::new();
    let tool = bench.root.path().join("install/bin");
    std::fs::create_dir_all(&tool).unwrap();
    std::fs::write(tool.join("hello-tool"), "#!/bin/sh\necho hello\n").unwrap();
    std::fs::set_permissions(tool.join("hello-tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let spec = SandboxSpec { tools: vec![tool.clone()], path: vec![tool.clone()], ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    assert_eq!(says(&*sandbox, "hello-tool").await, "hello\n");
    let outside = bench.root.path().join("base");
    let text = format!("touch {}/x 2>&1; ls {} 2>&1", tool.display(), outside.display());
    let output = run(&*sandbox, &text).await;
    assert!(output.stdout.contains("Read-only") || output.stdout.contains("denied"), "{output:?}");
    assert!(output.stdout.contains("No such file"), "{output:?}");
    sandbox.kill().await;
}

#[tokio::test]
async fn the_doctor_finds_that_it_works() {
    let bench = Bench::new();
    let scratch = bench.root.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let checks = bench.backend.doctor(&scratch, LIMITS).await;
    assert!(checks.iter().all(|check| check.outcome != Outcome::Failed), "{checks:#?}");
    assert!(checks.iter().any(|check| check.name == "sandbox"));
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
}
