//! Starting a sandbox, from the specification to a closed one.
//!
//! Owns the order of the daemon's steps and that a failure leaves nothing behind. Must not know what the
//! helper does in between. It runs as a task of its own: whoever asked may lose interest at any moment,
//! and the sandbox is then ended like any other.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ftl_guest::protocol::{self, Failure, Ready, Reply, Request, Setup, Stage};
use ftl_guest::tree::MOST_NODES;
use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::pipe::Pipe;

use super::super::{
    Carrier, Enforcement, Network, Owner, SandboxError, SandboxSpec, disk, pipe_stream, tools,
};
use super::cgroup::{Group, OWN_PROCESSES};
use super::control::{self, Replies, Requests};
use super::doors::{self, End};
use super::record::{self, Record};
use super::session::{NativeSandbox, Parts};
use super::{Backend, diagnosis, files, identity};

/// How long building a sandbox may take, on a machine that does a hundred other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A helper on its way.
struct Launching {
    child: Child,
    requests: Requests,
    replies: Replies,
    group: Group,
    /// Process 1, once there is one.
    init: Option<OwnedFd>,
}

/// A sandbox that was just closed.
struct Closed {
    /// Process 1.
    init: OwnedFd,
    /// What holds in it.
    ready: Ready,
    /// Its way out, if it has one.
    pipe: Option<Pipe>,
}

/// Starts a sandbox.
pub(super) async fn launch(backend: Arc<Backend>, spec: SandboxSpec) -> Result<NativeSandbox, SandboxError> {
    let examined = tools::examine(&spec.tools, &backend.config.protected)?;
    files::examine(&spec.files)?;
    let owner = identity::owner()?;
    disk::prepare(&spec.dir, owner)?;

    let mut enforcement = Enforcement::default();
    let mut group = backend.cgroups.of(&spec.session);
    group.make(&spec.limits, &mut enforcement);
    let mut launching = match start(&backend) {
        Ok((child, requests, replies)) => Launching { child, requests, replies, group, init: None },
        Err(error) => {
            group.remove().await;
            return Err(error);
        }
    };
    let setup = setup(&spec, examined, &backend.config);
    let ended = watch::Sender::new(None);
    let end = ended.subscribe();
    let hands = shake_hands(&mut launching, &spec, setup, owner, &end);
    let ready = tokio::time::timeout(PATIENCE, hands).await;
    match ready.unwrap_or(Err(SandboxError::Slow { after: PATIENCE })) {
        Ok(Closed { init, ready, pipe }) => {
            describe(&mut enforcement, &spec, &ready, backend.config.disk_interval);
            let Launching { child, requests, replies, group, .. } = launching;
            let disk_interval = backend.config.disk_interval;
            Ok(NativeSandbox::new(Parts {
                child,
                requests,
                replies,
                group,
                init,
                spec,
                enforcement,
                disk_interval,
                pipe,
                ended,
            }))
        }
        Err(error) => {
            launching.abandon().await;
            record::forget(&spec.dir);
            Err(error)
        }
    }
}

fn start(backend: &Backend) -> Result<(Child, Requests, Replies), SandboxError> {
    let failed = |act| move |source| SandboxError::Helper { act, source };
    let (here, there) =
        std::os::unix::net::UnixStream::pair().map_err(failed("making a socket for the helper"))?;
    let child = Command::new(backend.image.path())
        .arg0("ftl-guest")
        .env_clear()
        .current_dir("/")
        .stdin(OwnedFd::from(there))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A Ctrl-C at the daemon's terminal is the daemon's, which then ends its sandboxes in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed("starting the helper"))?;
    let (requests, replies) = control::open(here).map_err(failed("talking to the helper"))?;
    Ok((child, requests, replies))
}

async fn shake_hands(
    launching: &mut Launching,
    spec: &SandboxSpec,
    setup: Setup,
    owner: Option<Owner>,
    end: &End,
) -> Result<Closed, SandboxError> {
    let talking = |source| SandboxError::Helper { act: "talking to the helper", source };
    let pid = launching.child.id().ok_or_else(|| talking(io::ErrorKind::BrokenPipe.into()))?;
    let launcher = record::name(pid.cast_signed()).map_err(talking)?;
    record::write(&spec.dir, &Record { processes: vec![launcher] })?;
    let limiting = |source| SandboxError::Helper { act: "limiting the helper", source };
    let mut descriptors: Vec<OwnedFd> = files::content(&spec.files).map_err(talking)?.into_iter().collect();
    descriptors.extend(launching.group.doors().map_err(limiting)?);
    let carrier = setup.carrier;
    launching.requests.send(&Request::Setup(Box::new(setup)), descriptors).map_err(talking)?;
    loop {
        let frame = launching.replies.next().await.map_err(talking)?;
        let Some(frame) = frame else { return Err(talking(io::ErrorKind::UnexpectedEof.into())) };
        match (frame.message, launching.init.take()) {
            (Reply::NeedsIds, None) => {
                identity::map(pid, owner).map_err(|error| unmapped(&error))?;
                launching.requests.send(&Request::IdsMapped, Vec::new()).map_err(talking)?;
            }
            (Reply::Started, None) => {
                let Some(init) = frame.fds.into_iter().next() else { return Err(talking(nonsense())) };
                // One that has failed may be gone already; its last message says why.
                if let Some(process_1) = process_of(&init).and_then(|pid| record::name(pid).ok()) {
                    record::write(&spec.dir, &Record { processes: vec![launcher, process_1] })?;
                }
                launching.init = Some(init);
            }
            (Reply::Ready(ready), Some(init)) => {
                let opened = match spec.network {
                    Network::None => Ok(None),
                    Network::Egress => open_pipe(carrier, frame.fds, end).await.map(Some),
                };
                match opened {
                    Ok(pipe) => return Ok(Closed { init, ready, pipe }),
                    Err(error) => {
                        launching.init = Some(init);
                        return Err(talking(error));
                    }
                }
            }
            (Reply::Failed(failure), init) => {
                launching.init = init;
                return Err(diagnosis::explain(failure));
            }
            (_, init) => {
                launching.init = init;
                return Err(talking(nonsense()));
            }
        }
    }
}

/// Makes a pipe of what the helper sent.
async fn open_pipe(carrier: Carrier, mut sockets: Vec<OwnedFd>, end: &End) -> io::Result<Pipe> {
    match (carrier, sockets.len()) {
        (Carrier::Descriptors, _) => doors::open(sockets, end),
        (Carrier::Stream, 1) => {
            let stream = std::os::unix::net::UnixStream::from(sockets.remove(0));
            stream.set_nonblocking(true)?;
            let (reader, writer) = UnixStream::from_std(stream)?.into_split();
            pipe_stream::open(reader, writer).await
        }
        (Carrier::Stream, _) => Err(nonsense()),
    }
}

impl Launching {
    /// Ends a helper that did not make it, and waits until nothing is left of it.
    async fn abandon(mut self) {
        match &self.init {
            // The launcher outlives process 1, and so tells when everything has ended.
            Some(init) => drop(rustix::process::pidfd_send_signal(init.as_fd(), Signal::KILL)),
            None => drop(self.child.start_kill()),
        }
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, "a helper cannot be waited for");
        }
        self.group.remove().await;
    }
}

/// The id, as seen by this process, of the process that a descriptor stands for, unless it has ended.
fn process_of(process: &OwnedFd) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0)
}

fn setup(spec: &SandboxSpec, mut tools: Vec<protocol::Tool>, config: &super::NativeConfig) -> Setup {
    tools.extend(spec.shared.iter().map(|(source, target)| protocol::Tool {
        source: source.as_path().into(),
        target: target.as_path().into(),
    }));
    Setup {
        layers: spec.layers.iter().map(|layer| layer.as_path().into()).collect(),
        dir: spec.dir.as_path().into(),
        tools,
        limits: protocol::Limits {
            processes: spec.limits.processes + OWN_PROCESSES,
            file_size: spec.limits.file_size_bytes,
            open_files: spec.limits.open_files,
            shared_memory: spec.limits.memory_bytes / 4,
        },
        network: spec.network,
        carrier: config.carrier,
        files: files::described(&spec.files),
        umask: config.umask,
    }
}

fn describe(enforcement: &mut Enforcement, spec: &SandboxSpec, ready: &Ready, disk_interval: Duration) {
    let limits = &spec.limits;
    let enforced = &mut enforcement.enforced;
    enforced.push("namespaces: user, mount, process, network, ipc, host name, control group".to_owned());
    enforced.push("privileges: none, and none to be gained".to_owned());
    enforced.push("system calls: filtered".to_owned());
    enforced.push(match spec.network {
        Network::None => "network: only the sandbox's own loopback interface".to_owned(),
        Network::Egress => {
            "network: the sandbox's own loopback interface, and a pipe to the proxy".to_owned()
        }
    });
    if let Some(why) = &ready.not_redirected {
        // Nothing gets out by that: what is not redirected fails.
        let what = "network of programs that ignore the proxy settings: none";
        enforcement.unenforced.push(format!("{what}; {why}"));
    }
    enforced.push(format!("one file: {} MiB", limits.file_size_bytes >> 20));
    enforced.push(format!("open files: {}", limits.open_files));
    enforced.push(format!(
        "disk: {} MiB, {MOST_NODES} files (checked every {} ms)",
        limits.disk_bytes >> 20,
        disk_interval.as_millis()
    ));
    match ready.landlock {
        0 => enforcement.unenforced.push("Landlock: this kernel has none; the mounts hold alone".to_owned()),
        version => enforced.push(format!("Landlock: version {version}")),
    }
}

fn unmapped(error: &io::Error) -> SandboxError {
    let what = "giving the sandbox its user and group".to_owned();
    let errno = error.raw_os_error().unwrap_or(libc::EPERM);
    diagnosis::explain(Failure { stage: Stage::UserNamespace, errno, what })
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the helper does not keep to the protocol")
}
