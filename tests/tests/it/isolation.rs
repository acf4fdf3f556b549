//! Nothing gets out of a sandbox: a program that tries everything runs in one and must fail throughout.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ftl_core::id::SessionId;
use ftld::pipe::Incoming;
use ftld::sandbox::linux::{NativeBackend, NativeConfig};
use ftld::sandbox::{
    Carrier, Command, ExitStatus, Limits, Network, Sandbox, SandboxBackend, SandboxSpec, Stdio,
};
use tokio::io::AsyncReadExt;

const LIMITS: Limits = Limits {
    memory_bytes: 256 << 20,
    processes: 64,
    cpu_percent: 200,
    file_size_bytes: 1 << 20,
    disk_bytes: 16 << 20,
    open_files: 256,
};

fn probe() -> PathBuf {
    env!("CARGO_BIN_EXE_escape_probe").into()
}

fn spec(root: &Path, session: u8, backend: &dyn SandboxBackend, network: Network) -> SandboxSpec {
    let session = SessionId::from_random([session; 10]);
    let (base, dir) = (root.join("base"), root.join(session.as_str()));
    for path in [&base, &dir] {
        std::fs::create_dir_all(path).unwrap();
    }
    if let Some(owner) = backend.owner().unwrap() {
        std::os::unix::fs::chown(&base, Some(owner.uid), Some(owner.gid)).unwrap();
    }
    SandboxSpec {
        session,
        layers: vec![base],
        dir,
        limits: LIMITS,
        tools: vec![probe()],
        shared: Vec::new(),
        path: Vec::new(),
        env: Vec::new(),
        network,
        files: Vec::new(),
    }
}

/// Runs the probe; gives its exit status and its lines.
async fn run(sandbox: &dyn Sandbox, arguments: &[OsString]) -> (ExitStatus, Vec<serde_json::Value>) {
    let argv = std::iter::once(probe().into_os_string()).chain(arguments.iter().cloned()).collect();
    let command = Command { argv, env: Vec::new(), workdir: None, stdio: Stdio::Pipes };
    let mut process = sandbox.spawn(command).await.unwrap();
    let mut said = String::new();
    process.stdout.read_to_string(&mut said).await.unwrap();
    let status = process.exit.await.unwrap();
    (status, said.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_to_get_out_of_a_native_sandbox_is_refused() {
    attempt_everything(Network::None, Carrier::Descriptors).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_out_is_the_only_one() {
    attempt_everything(Network::Egress, Carrier::Descriptors).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_out_is_the_only_one_also_over_a_stream() {
    attempt_everything(Network::Egress, Carrier::Stream).await;
}

/// Takes connections and says nothing.
async fn swallow(mut door: Box<dyn Incoming>) -> usize {
    let mut taken = 0;
    while let Ok(arrived) = door.accept().await {
        assert!(arrived.origin.is_some());
        taken += 1;
    }
    taken
}

async fn attempt_everything(network: Network, carrier: Carrier) {
    let root = tempfile::tempdir().unwrap();
    // Open to everybody, so that only the sandbox can be what refuses.
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = NativeConfig {
        instance: format!("isolation-{network:?}-{carrier:?}-{}", std::process::id()),
        protected: vec![root.path().join("run")],
        disk_interval: Duration::from_secs(3600),
        carrier,
        umask: 0o022,
    };
    let backend = NativeBackend::new(config).unwrap();
    let other_spec = spec(root.path(), 1, &backend, network);
    let other = backend.launch(other_spec.clone()).await.unwrap();
    let sandbox = backend.launch(spec(root.path(), 0, &backend, network)).await.unwrap();

    let secret = root.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let socket = root.path().join("daemon.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let name = format!("ftl-isolation-{network:?}-{carrier:?}-{}", std::process::id());
    let _listener_in_no_directory =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();

    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: OsString| arguments.extend([option.into(), value]);
    add("--hidden", secret.clone().into());
    add("--hidden", other_spec.dir.clone().into());
    add("--hidden", other_spec.layers[0].clone().into());
    add("--read-only", probe().into());
    add("--socket", socket.into());
    add("--abstract", name.into());
    add("--tcp", port.local_addr().unwrap().port().to_string().into());
    let swallowed = sandbox.take_pipe().map(|pipe| tokio::spawn(swallow(pipe.transparent.unwrap())));
    let redirected: &[OsString] = if swallowed.is_some() { &["--redirected".into()] } else { &[] };
    arguments.extend_from_slice(redirected);
    let (status, lines) = run(&*sandbox, &arguments).await;
    let through: Vec<_> = lines.iter().filter(|line| line["refused"] != true).collect();
    assert!(through.is_empty(), "{through:#?}");
    assert_eq!(status, ExitStatus::Code(0));
    assert!(lines.len() > 200, "only {} attempts were made", lines.len());

    // The probe can tell: what is there is seen.
    let (status, lines) =
        run(&*sandbox, &[&["--hidden".into(), "/usr/bin/env".into()], redirected].concat()).await;
    assert_eq!(status, ExitStatus::Code(1));
    assert_eq!(lines.iter().filter(|line| line["refused"] != true).count(), 1);
    sandbox.kill().await;
    other.kill().await;
    if let Some(swallowed) = swallowed {
        assert_eq!(swallowed.await.unwrap(), 32);
    }
}
