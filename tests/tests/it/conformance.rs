//! What every sandbox backend promises, tried on each of them.

mod containers;
mod files;
mod network;
mod programs;
mod warm;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ftl_core::id::SessionId;
use ftl_tests::engine::Engine;
use ftl_tests::engines;
use ftld::sandbox::docker::endpoint::Surroundings;
use ftld::sandbox::docker::engine::{Engines, Patience};
use ftld::sandbox::docker::{DockerBackend, DockerConfig, Runtime, Workspace};
use ftld::sandbox::linux::{NativeBackend, NativeConfig};
use ftld::sandbox::{
    Carrier, Check, Command, Ending, ExitStatus, Limits, Network, Owner, Process, Sandbox, SandboxBackend,
    SandboxError, SandboxSpec, Size, Stdio,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMITS: Limits = Limits {
    memory_bytes: 512 << 20,
    processes: 200,
    cpu_percent: 200,
    file_size_bytes: 64 << 20,
    disk_bytes: 1 << 30,
    open_files: 256,
};

/// Longer than any test.
const SELDOM: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Native,
    /// Native, with the way out that there is where descriptors cannot be handed over.
    Streamed,
    Docker,
    /// Containers, each of them made ahead.
    Warmed,
    /// The same, with the workspace on the engine's disk.
    Elsewhere,
    /// Containers with a kernel of their own.
    Gvisor,
    /// On an engine of another kind.
    Other(engines::Kind),
}

/// A backend, a base tree with a few files, and a session's directory.
struct Bench {
    kind: Kind,
    backend: Box<dyn SandboxBackend>,
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
    fn native() -> Self {
        Self::with(Kind::Native, SELDOM)
    }

    fn streamed() -> Self {
        Self::with(Kind::Streamed, SELDOM)
    }

    fn docker() -> Self {
        Self::with(Kind::Docker, SELDOM)
    }

    fn warmed() -> Self {
        Self::with(Kind::Warmed, SELDOM)
    }

    fn elsewhere() -> Self {
        Self::with(Kind::Elsewhere, SELDOM)
    }

    fn gvisor() -> Self {
        Self::with(Kind::Gvisor, SELDOM)
    }

    fn remapped() -> Self {
        Self::with(Kind::Other(engines::Kind::Remapped), SELDOM)
    }

    fn rootless() -> Self {
        Self::with(Kind::Other(engines::Kind::Rootless), SELDOM)
    }

    fn podman() -> Self {
        Self::with(Kind::Other(engines::Kind::Podman), SELDOM)
    }

    fn podman_rootless() -> Self {
        Self::with(Kind::Other(engines::Kind::PodmanRootless), SELDOM)
    }

    /// Another one of the same kind, which measures more often.
    fn measuring(&self, interval: Duration) -> Self {
        Self::with(self.kind, interval)
    }

    fn with(kind: Kind, disk_interval: Duration) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let backend = backend(kind, root.path(), disk_interval);
        let bench = Self { kind, backend, root };
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

    async fn launch(&self) -> Box<dyn Sandbox> {
        self.backend.launch(self.spec()).await.unwrap()
    }

    /// The user and group that programs see.
    fn ids(&self) -> (u32, u32) {
        match (self.kind, self.backend.owner().unwrap()) {
            (Kind::Native | Kind::Streamed, _) => (1000, 1000),
            (Kind::Other(kind), _) if kind != engines::Kind::Podman => (1000, 1000),
            (_, Some(owner)) => (owner.uid, owner.gid),
            (_, None) => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        }
    }
}

/// What a backend calls itself whose things lie there.
fn instance(root: &Path) -> String {
    let name = root.file_name().unwrap().to_string_lossy().to_lowercase();
    format!("test-{}", name.trim_start_matches('.'))
}

fn backend(kind: Kind, root: &Path, disk_interval: Duration) -> Box<dyn SandboxBackend> {
    let instance = instance(root);
    match kind {
        Kind::Native | Kind::Streamed => {
            let carrier = if kind == Kind::Native { Carrier::Descriptors } else { Carrier::Stream };
            let protected = vec![root.join("state")];
            let config = NativeConfig { instance, protected, disk_interval, carrier, umask: 0o022 };
            Box::new(NativeBackend::new(config).unwrap())
        }
        Kind::Gvisor => {
            let (host, image) = engine();
            let runtime = Some(Runtime::Runsc);
            Box::new(run_by(runtime, host, image, root, (Workspace::Auto, disk_interval)))
        }
        Kind::Other(kind) => {
            let (host, image) = other(kind);
            Box::new(containers_of(host, image, root, (Workspace::Auto, disk_interval)))
        }
        Kind::Docker | Kind::Warmed | Kind::Elsewhere => {
            let (host, image) = engine();
            let workspace = if kind == Kind::Elsewhere { Workspace::Stream } else { Workspace::Auto };
            let docker = containers_of(host, image, root, (workspace, disk_interval));
            if kind == Kind::Warmed { Box::new(MadeAhead(docker)) } else { Box::new(docker) }
        }
    }
}

/// The address of an engine of another kind, and a small image that it has; one of each serves all tests.
fn other(kind: engines::Kind) -> (String, String) {
    static RUNNING: Mutex<Vec<(engines::Kind, engines::Other, &str)>> = Mutex::new(Vec::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, engine, image)) = running.iter().find(|(known, ..)| *known == kind) {
        return (engine.host(), (*image).to_owned());
    }
    let engine = engines::Other::start(kind);
    let image = engine.small_image();
    let found = (engine.host(), image.to_owned());
    running.push((kind, engine, image));
    found
}

/// The backend whose containers an engine makes.
pub(crate) fn containers_of(
    host: String,
    image: String,
    root: &Path,
    workspace: (Workspace, Duration),
) -> DockerBackend {
    run_by(None, host, image, root, workspace)
}

/// The same, with containers that are run in another way than the engine's own.
fn run_by(
    runtime: Option<Runtime>,
    host: String,
    image: String,
    root: &Path,
    (workspace, disk_interval): (Workspace, Duration),
) -> DockerBackend {
    let around = Surroundings { configured: Some(host), ..Surroundings::default() };
    let (instance, home, image) = (instance(root), root.to_owned(), Some(image));
    let engines = Arc::new(Engines::new(around, Patience::default()).of(&instance));
    DockerBackend::new(
        DockerConfig { instance, home, image, runtime, workspace, disk_interval, umask: 0o022 },
        engines,
    )
}

/// Every sandbox is made ahead, without what is given to it at its launch.
struct MadeAhead(DockerBackend);

#[async_trait::async_trait]
impl SandboxBackend for MadeAhead {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn owner(&self) -> Result<Option<Owner>, SandboxError> {
        self.0.owner()
    }

    async fn launch(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let files = spec.files.iter().map(|(path, _)| (path.clone(), Vec::new())).collect();
        let bare = SandboxSpec { env: Vec::new(), path: Vec::new(), files, ..spec.clone() };
        let session = spec.session.clone();
        match self.0.warm(bare, vec!["sh".into()]).await {
            Ok(()) => assert!(self.0.is_warm(&session)),
            // What cannot be made fails in the same way.
            Err(error) => assert_eq!(
                error.to_string(),
                self.0.launch(spec.clone()).await.err().map(|error| error.to_string()).unwrap_or_default()
            ),
        }
        let launched = self.0.launch(spec).await;
        assert!(!self.0.is_warm(&session));
        launched
    }

    async fn sweep(&self, session: &SessionId, dir: &Path) -> Result<(), SandboxError> {
        self.0.sweep(session, dir).await
    }

    async fn doctor(&self, scratch: &Path, limits: Limits) -> Vec<Check> {
        self.0.doctor(scratch, limits).await
    }
}

/// The address of the tests' engine, and the image that it has.
pub(crate) fn engine() -> (String, String) {
    let engine = Engine::shared();
    (engine.host(), engine.plain_image().to_owned())
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

/// How many processes of the machine have this in their arguments.
fn processes_with(marker: &str) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let text = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        count += usize::from(String::from_utf8_lossy(&text).contains(marker));
    }
    count
}

macro_rules! on {
    ($kind:ident: $($part:ident::$name:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            super::$part::$name(&super::Bench::$kind()).await;
        })*
    };
}

macro_rules! everything_on {
    ($kind:ident) => {
        on! { $kind:
            programs::files_behave_as_in_a_directory_of_ones_own,
            programs::a_session_goes_on_where_it_was,
            programs::nobody_in_it_has_any_privilege,
            programs::programs_get_their_arguments_environment_streams_and_status,
            programs::a_program_that_cannot_start_says_which_and_why,
            programs::a_terminal_is_one,
            programs::signals_reach_the_whole_group,
            programs::killing_ends_everything_also_what_hides,
            programs::dropping_a_sandbox_ends_it,
            programs::a_fork_bomb_stays_inside,
            programs::files_and_descriptors_are_limited,
            programs::memory_is_limited_where_it_can_be,
            programs::a_sandbox_with_too_much_on_disk_is_ended_and_says_so,
            programs::files_without_a_byte_fill_a_disk_too,
            files::given_files_are_seen_and_cannot_be_changed,
            files::a_file_is_put_where_links_lead,
            files::a_file_cannot_be_given_at_any_path,
            programs::what_an_earlier_daemon_left_is_ended,
            programs::twenty_at_once_do_not_see_one_another,
            programs::a_thousand_programs_one_after_the_other,
            programs::a_launch_that_fails_leaves_nothing,
        }
        the_way_out_on! { $kind }
    };
}

macro_rules! the_way_out_on {
    ($kind:ident) => {
        on! { $kind:
            network::connections_arrive_with_where_they_wanted_to_go,
            network::a_connection_that_is_refused_is_no_empty_answer,
            network::names_are_answered_over_datagrams_and_connections,
            network::everything_else_fails_at_once,
            network::a_sandboxs_own_servers_are_reached_and_its_network_cannot_be_changed,
            network::a_pipe_ends_with_its_sandbox_and_there_is_none_without_a_network,
            network::two_sandboxes_have_two_networks,
            network::much_goes_through_and_what_is_stuck_holds_up_nothing_else,
        }
    };
}

mod native {
    everything_on! { native }
}

mod streamed {
    the_way_out_on! { streamed }
}

mod docker {
    everything_on! { docker }
}

mod warmed {
    everything_on! { warmed }
}

mod elsewhere {
    everything_on! { elsewhere }
}

/// What shows that a container of another kind of engine is as closed, and its files come back.
macro_rules! enough_on {
    ($kind:ident) => {
        on! { $kind:
            programs::files_behave_as_in_a_directory_of_ones_own,
            programs::a_session_goes_on_where_it_was,
            programs::nobody_in_it_has_any_privilege,
            programs::killing_ends_everything_also_what_hides,
            files::given_files_are_seen_and_cannot_be_changed,
            network::connections_arrive_with_where_they_wanted_to_go,
            network::everything_else_fails_at_once,
        }
    };
}

mod remapped {
    enough_on! { remapped }
}

mod rootless {
    enough_on! { rootless }
}

mod podman {
    enough_on! { podman }
}

mod podman_rootless {
    enough_on! { podman_rootless }
}

mod gvisor {
    on! { gvisor:
        programs::a_session_goes_on_where_it_was,
        programs::programs_get_their_arguments_environment_streams_and_status,
        programs::killing_ends_everything_also_what_hides,
        network::what_knows_of_the_proxy_reaches_it_and_the_rest_nothing,
    }
}
