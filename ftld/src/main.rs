//! The daemon's program: parses options, wires the parts, runs.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use ftl_core::config;
use ftl_core::egress::host::Authority;
use ftl_core::id::Hash;
use ftld::app::{App, Listener, Ports, User};
use ftld::clock::SystemClock;
use ftld::egress::dial::DialConfig;
use ftld::grpc::listen;
use ftld::home::{Home, HomeEnv};
use ftld::sandbox::docker::endpoint::Surroundings;
use ftld::sandbox::docker::engine::{Engines, Patience};
use ftld::sandbox::docker::{DockerBackend, DockerConfig, Runtime, Workspace};
use ftld::sandbox::linux::{NativeBackend, NativeConfig};
use ftld::sandbox::{Carrier, SandboxBackend, SandboxError};
use rustix::fs::Mode;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::signal::unix::{SignalKind, signal};

/// FTL's daemon. `ftlctl` starts it by itself; systemd may do so too.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API on the user's socket until SIGTERM, SIGINT or `ftlctl daemon stop`.
    Serve {
        /// Write the line `ready` to this descriptor once the socket is there.
        #[arg(long, value_name = "FD")]
        ready_fd: Option<u32>,
        #[command(flatten)]
        egress: EgressOptions,
    },
}

/// What the egress proxy is told by whoever starts the daemon. No project can set any of it.
#[derive(clap::Args)]
struct EgressOptions {
    /// Trust the certificate authorities in this PEM file for upstream hosts too.
    #[arg(long, value_name = "FILE", env = "FTL_UPSTREAM_CA")]
    upstream_ca: Option<PathBuf>,
    /// Connect to another address for a host, also to a private one: HOST:PORT=ADDRESS:PORT.
    #[arg(long, value_name = "MAP", env = "FTL_CONNECT_TO", value_delimiter = ',')]
    connect_to: Vec<String>,
}

/// How often a sandbox's disk usage is measured.
const DISK_INTERVAL: Duration = Duration::from_millis(1000);

fn main() -> ExitCode {
    let Command::Serve { ready_fd, egress } = Options::parse().command;
    // Whatever is made below the state directory, also by libraries, is nobody else's to read. What goes
    // into projects gets its modes set.
    let umask = rustix::process::umask(Mode::from_raw_mode(0o077)).as_raw_mode();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("FTL_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // It would tell of a log that cannot be written by a macro that panics when the same log cannot be
        // written: on a full disk whatever logs would end, a session's task for instance.
        .log_internal_errors(false)
        .init();
    match serve(ready_fd, &egress, umask) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: the client shows the log's last lines as the cause of a daemon that did not start.
            let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln_all(&chain.join(": "));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard error; there is nobody to tell when that fails.
fn eprintln_all(line: &str) {
    let _unheard = writeln!(std::io::stderr(), "{line}");
}

fn serve(ready_fd: Option<u32>, egress: &EgressOptions, umask: u32) -> anyhow::Result<()> {
    let env = |name: &str| std::env::var_os(name);
    let home = Home::prepare(&HomeEnv {
        ftl_home: env("FTL_HOME"),
        runtime_dir: env("XDG_RUNTIME_DIR"),
        home: env("HOME"),
        socket: env("FTL_SOCKET"),
    })
    .context("cannot use the state directory")?;
    let user = User {
        name: user_name(),
        home: env("HOME").map(PathBuf::from),
        path: env("PATH"),
        env: std::env::vars_os().collect(),
        processors: std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        // A configuration that cannot be read is told to whoever starts a session.
        docker: ftld::config::user(home.root()).unwrap_or_default().docker,
    };
    // The client's directory may go away; nothing here is relative to it any more.
    std::env::set_current_dir("/").context("cannot leave the client's directory")?;
    let clock = Arc::new(SystemClock::new());
    let native = native(&home, umask).context("cannot prepare the native sandbox")?;
    let owner = native.owner().context("cannot choose the sandboxes' user")?;
    let settings = user.docker.clone();
    let engines =
        Arc::new(Engines::new(surroundings(settings.host.clone()), Patience::default()).of(&instance(&home)));
    let docker = docker(&home, settings, Arc::clone(&engines), umask);
    let ports = Ports {
        clock,
        audit: None,
        engines,
        dial: egress.read()?,
        owner: owner.map(|owner| (owner.uid, owner.gid)),
        sandboxes: [(native.name(), native), (docker.name(), docker)].into(),
    };

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(async {
        let socket = home.socket();
        let app = App::build(home, user, ports).await?;
        let listener = match listenfd::ListenFd::from_env().take_unix_listener(0).context("bad LISTEN_FDS")? {
            Some(passed) => Listener::Passed(listen::adopt(passed)?),
            None => Listener::Bound(listen::bind(&socket)?),
        };
        let control = app.control();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            control.end();
        });
        tell_ready(ready_fd)?;
        app.run(listener).await?;
        Ok(())
    })
}

impl EgressOptions {
    fn read(&self) -> anyhow::Result<DialConfig> {
        let roots = match &self.upstream_ca {
            Some(path) => CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect)
                .with_context(|| format!("cannot read the certificates in {}", path.display()))?,
            None => Vec::new(),
        };
        let connect_to = self.connect_to.iter().map(|map| {
            let both = map.split_once('=').and_then(|(host, address)| {
                Some((Authority::parse(host, None).ok()?, address.parse::<SocketAddr>().ok()?))
            });
            both.with_context(|| format!("{map:?} is not HOST:PORT=ADDRESS:PORT"))
        });
        Ok(DialConfig { roots, connect_to: connect_to.collect::<anyhow::Result<_>>()? })
    }
}

/// What the human and this daemon's environment say about container engines.
fn surroundings(configured: Option<String>) -> Surroundings {
    let env = |name: &str| std::env::var_os(name);
    Surroundings {
        configured,
        docker_host: env("DOCKER_HOST"),
        docker_context: env("DOCKER_CONTEXT"),
        docker_config: env("DOCKER_CONFIG"),
        docker_cert_path: env("DOCKER_CERT_PATH"),
        docker_tls_verify: env("DOCKER_TLS_VERIFY"),
        home: env("HOME").map(PathBuf::from),
        runtime_dir: env("XDG_RUNTIME_DIR"),
        system: "/var/run".into(),
    }
}

/// The `native` backend of this daemon, whose sandboxes have the mask that the daemon was started with.
fn native(home: &Home, umask: u32) -> Result<Arc<dyn SandboxBackend>, SandboxError> {
    // Not the human's home: tool-chains lie in it. That the home as a whole is no tool, `agent` sees to.
    let protected = vec![home.root().to_owned(), home.run().to_owned()];
    let instance = instance(home);
    let (disk_interval, carrier) = (DISK_INTERVAL, Carrier::Descriptors);
    let config = NativeConfig { instance, protected, disk_interval, carrier, umask };
    Ok(Arc::new(NativeBackend::new(config)?))
}

/// The `docker` backend of this daemon. It asks no engine before a sandbox is wanted.
fn docker(
    home: &Home,
    settings: config::DockerConfig,
    engines: Arc<Engines>,
    umask: u32,
) -> Arc<dyn SandboxBackend> {
    let config = DockerConfig {
        instance: instance(home),
        home: home.root().to_owned(),
        image: settings.image,
        runtime: settings.runtime.as_deref().and_then(Runtime::named),
        workspace: settings.workspace.as_deref().and_then(Workspace::named).unwrap_or_default(),
        disk_interval: DISK_INTERVAL,
        umask,
    };
    Arc::new(DockerBackend::new(config, engines))
}

/// A name for this daemon that is the same after a restart, so that what an earlier daemon left is found;
/// another one for another state directory.
fn instance(home: &Home) -> String {
    Hash::of(home.root().as_os_str().as_bytes()).to_hex()[..12].to_owned()
}

/// Tells whoever started us that the socket is there.
/// The name of the user that the daemon runs as, or the number.
fn user_name() -> String {
    let uid = nix::unistd::geteuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn tell_ready(ready_fd: Option<u32>) -> anyhow::Result<()> {
    // Without a service manager there is nobody to notify, which is not an error.
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("cannot notify the service manager")?;
    if let Some(fd) = ready_fd {
        let mut ready = std::fs::OpenOptions::new()
            .write(true)
            .open(format!("/proc/self/fd/{fd}"))
            .context("cannot open the descriptor of --ready-fd")?;
        ready.write_all(b"ready\n").context("cannot write to the descriptor of --ready-fd")?;
    }
    Ok(())
}
