//! Nothing gets out of a sandbox: a program that tries everything runs in one and must fail throughout.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ftl_core::id::SessionId;
use ftld::pipe::Incoming;
use ftld::sandbox::docker::endpoint::Surroundings;
use ftld::sandbox::docker::engine::{Engines, Patience};
use ftld::sandbox::docker::{DockerBackend, DockerConfig, Workspace};
use ftld::sandbox::linux::{NativeBackend, NativeConfig};
use ftld::sandbox::{
    Carrier, Command, ExitStatus, Limits, Network, Sandbox, SandboxBackend, SandboxSpec, Stdio,
};
use tokio::io::AsyncReadExt;

use super::conformance::engine;

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
async fn run(
    sandbox: &dyn Sandbox,
    program: &Path,
    arguments: &[OsString],
) -> (ExitStatus, Vec<serde_json::Value>) {
    let argv = std::iter::once(program.as_os_str().to_owned()).chain(arguments.iter().cloned()).collect();
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

/// What the probe sees in a container and not in a native sandbox: parts of the image.
const OF_THE_IMAGE: &[&str] = &["see /etc/fstab", "see /var/lib", "see /var/log"];

/// What it says of every mount on which set-user-id files would count. An engine cannot be asked to mount
/// otherwise; that they do not count, because nobody gains privileges, is a promise that every launch checks.
const MOUNTS: &str = "gain rights from files in ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_to_get_out_of_a_container_is_refused() {
    attempt_everything_in_a_container(Network::None, Workspace::Auto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_containers_way_out_is_the_only_one() {
    attempt_everything_in_a_container(Network::Egress, Workspace::Auto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leads_out_of_a_container_whose_workspace_is_on_the_engines_disk() {
    attempt_everything_in_a_container(Network::Egress, Workspace::Stream).await;
}

async fn attempt_everything_in_a_container(network: Network, workspace: Workspace) {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (host, image) = engine();
    let around = Surroundings { configured: Some(host), ..Surroundings::default() };
    let config = DockerConfig {
        instance: format!("isolation-{network:?}-{workspace:?}-{}", std::process::id()).to_lowercase(),
        home: root.path().to_owned(),
        image: Some(image),
        workspace,
        runtime: None,
        disk_interval: Duration::from_secs(3600),
        umask: 0o022,
    };
    let backend = DockerBackend::new(config, Arc::new(Engines::new(around, Patience::default())));
    let other_spec = spec(root.path(), 1, &backend, network);
    let other = backend.launch(other_spec.clone()).await.unwrap();
    let wanted = spec(root.path(), 0, &backend, network);
    // The image has none; as a file of the workspace it is as any program of an agent's.
    let inside = PathBuf::from("/workspace/escape_probe");
    std::fs::copy(probe(), root.path().join("base/escape_probe")).unwrap();
    let sandbox = backend.launch(wanted).await.unwrap();
    let host = Host::new(root.path(), &format!("container-{network:?}-{workspace:?}"));
    let mut arguments = host.arguments(&other_spec);
    arguments.extend(["--read-only".into(), "/.ftl/guest".into()]);
    let swallowed = sandbox.take_pipe().map(|pipe| tokio::spawn(swallow(pipe.transparent.unwrap())));
    if swallowed.is_some() {
        arguments.push("--redirected".into());
    }
    let (_, lines) = run(&*sandbox, &inside, &arguments).await;
    let through = lines.iter().filter(|line| line["refused"] != true);
    let through = through.filter_map(|line| line["name"].as_str());
    let through: Vec<_> = through.filter(|name| !name.starts_with(MOUNTS)).collect();
    assert_eq!(through, OF_THE_IMAGE, "{lines:#?}");
    assert!(lines.len() > 200, "only {} attempts were made", lines.len());

    // The probe can tell: what is there is seen.
    arguments.extend(["--hidden".into(), "/usr/bin/env".into()]);
    let (_, lines) = run(&*sandbox, &inside, &arguments).await;
    let seen = |line: &serde_json::Value| line["name"] == "see /usr/bin/env" && line["refused"] != true;
    assert!(lines.iter().any(seen), "{lines:#?}");
    sandbox.kill().await;
    other.kill().await;
    if let Some(swallowed) = swallowed {
        assert_eq!(swallowed.await.unwrap(), 32);
    }
}

/// What the host has that no sandbox may reach.
struct Host {
    secret: PathBuf,
    socket: PathBuf,
    name: String,
    port: TcpListener,
    _listeners: [UnixListener; 2],
}

impl Host {
    fn new(root: &Path, name: &str) -> Self {
        let secret = root.join("secret");
        std::fs::write(&secret, "secret").unwrap();
        let socket = root.join("daemon.sock");
        let name = format!("ftl-isolation-{name}-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let listeners =
            [UnixListener::bind(&socket).unwrap(), UnixListener::bind_addr(&abstract_name).unwrap()];
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self { secret, socket, name, port, _listeners: listeners }
    }

    fn arguments(&self, other: &SandboxSpec) -> Vec<OsString> {
        let port = self.port.local_addr().unwrap().port().to_string();
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |option: &str, value: OsString| arguments.extend([option.into(), value]);
        add("--hidden", self.secret.clone().into());
        add("--hidden", other.dir.clone().into());
        add("--hidden", other.layers[0].clone().into());
        add("--socket", self.socket.clone().into());
        add("--abstract", self.name.clone().into());
        add("--tcp", port.into());
        arguments
    }
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

    let host = Host::new(root.path(), &format!("{network:?}-{carrier:?}"));
    let mut arguments = host.arguments(&other_spec);
    arguments.extend(["--read-only".into(), probe().into()]);
    let swallowed = sandbox.take_pipe().map(|pipe| tokio::spawn(swallow(pipe.transparent.unwrap())));
    let redirected: &[OsString] = if swallowed.is_some() { &["--redirected".into()] } else { &[] };
    arguments.extend_from_slice(redirected);
    let (status, lines) = run(&*sandbox, &probe(), &arguments).await;
    let through: Vec<_> = lines.iter().filter(|line| line["refused"] != true).collect();
    assert!(through.is_empty(), "{through:#?}");
    assert_eq!(status, ExitStatus::Code(0));
    assert!(lines.len() > 200, "only {} attempts were made", lines.len());

    // The probe can tell: what is there is seen.
    let (status, lines) =
        run(&*sandbox, &probe(), &[&["--hidden".into(), "/usr/bin/env".into()], redirected].concat()).await;
    assert_eq!(status, ExitStatus::Code(1));
    assert_eq!(lines.iter().filter(|line| line["refused"] != true).count(), 1);
    sandbox.kill().await;
    other.kill().await;
    if let Some(swallowed) = swallowed {
        assert_eq!(swallowed.await.unwrap(), 32);
    }
}
