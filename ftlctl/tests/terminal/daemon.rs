//! A daemon that has one session, tells what the test wants and remembers what it was asked.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ftl_proto::v1;
use ftl_proto::v1::daemon_service_server::{DaemonService, DaemonServiceServer};
use ftl_proto::v1::egress_service_server::{EgressService, EgressServiceServer};
use ftl_proto::v1::event::Kind;
use ftl_proto::v1::secret_service_server::{SecretService, SecretServiceServer};
use ftl_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// How long a call may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something that was asked of the daemon.
#[derive(Debug)]
pub(crate) enum Call {
    /// To tell what happens.
    Watch(v1::WatchRequest),
    /// To let a request go on, or not.
    Answer(v1::AnswerRequest),
    /// To keep a value.
    Set(v1::SetSecretRequest),
    /// To add a rule.
    Add(v1::AddRuleRequest),
}

/// A daemon on a socket in a directory of its own.
pub(crate) struct Daemon {
    dir: tempfile::TempDir,
    calls: Receiver<Call>,
    state: Arc<Mutex<State>>,
    _runtime: tokio::runtime::Runtime,
}

struct State {
    session: v1::Session,
    watchers: Vec<mpsc::UnboundedSender<Result<v1::Event, Status>>>,
}

#[derive(Clone)]
struct Services {
    state: Arc<Mutex<State>>,
    calls: Sender<Call>,
}

impl Daemon {
    /// Listens.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, calls) = channel();
        let session = v1::Session {
            session: "s-1".into(),
            project: b"/p".to_vec(),
            state: v1::State::Working.into(),
            ..Default::default()
        };
        let state = Arc::new(Mutex::new(State { session, watchers: Vec::new() }));
        let services = Services { state: Arc::clone(&state), calls: sender };
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::bind(dir.path().join("ftld.sock")).unwrap()
        };
        let server = tonic::transport::Server::builder()
            .add_service(DaemonServiceServer::new(services.clone()))
            .add_service(SessionServiceServer::new(services.clone()))
            .add_service(EgressServiceServer::new(services.clone()))
            .add_service(SecretServiceServer::new(services));
        runtime.spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        Self { dir, calls, state, _runtime: runtime }
    }

    /// The next call that is of interest.
    pub(crate) fn call(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).unwrap()
    }

    /// Whether nothing more was asked.
    pub(crate) fn is_quiet(&self) -> bool {
        self.calls.try_recv().is_err()
    }

    /// Tells whoever watches.
    pub(crate) fn tell(&self, kind: Kind) {
        let mut state = self.state.lock().unwrap();
        state.session.last_seq += 1;
        let time_us = i64::try_from(
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros(),
        );
        let event = v1::Event {
            session: "s-1".into(),
            seq: state.session.last_seq,
            time_us: time_us.unwrap(),
            kind: Some(kind),
        };
        for watcher in &state.watchers {
            let _ = watcher.send(Ok(event.clone()));
        }
    }

    /// Ends the session and every watch.
    pub(crate) fn end(&self, to: v1::State) {
        self.tell(Kind::StateChanged(v1::StateChanged { state: to.into(), reason: String::new() }));
        let mut state = self.state.lock().unwrap();
        state.session.state = to.into();
        state.watchers.clear();
    }

    /// `ftlctl` with these arguments, nothing to read.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftlctl"));
        self.set_env(&mut command);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// The variables with which `ftlctl` is found and speaks to this daemon.
    pub(crate) fn set_env(&self, command: &mut Command) {
        let bin = Path::new(env!("CARGO_BIN_EXE_ftlctl")).parent().unwrap();
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", self.dir.path())
            .env("FTL_HOME", self.dir.path())
            .env("FTL_SOCKET", self.dir.path().join("ftld.sock"))
            .env("FTL_NO_AUTOSTART", "1")
            .current_dir("/usr");
    }
}

impl Services {
    fn session(&self) -> v1::Session {
        self.state.lock().unwrap().session.clone()
    }

    fn note(&self, call: Call) {
        let _ = self.calls.send(call);
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn nothing<T>() -> Answer<T> {
    Err(Status::unimplemented("not in this test"))
}

#[tonic::async_trait]
impl DaemonService for Services {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusReply> {
        Ok(Response::new(v1::StatusReply { api_version: 1, notify_after_s: 1, ..Default::default() }))
    }
    async fn doctor(&self, _: Request<v1::DoctorRequest>) -> Answer<v1::DoctorReply> {
        nothing()
    }
    async fn shutdown(&self, _: Request<v1::ShutdownRequest>) -> Answer<v1::ShutdownReply> {
        nothing()
    }
    async fn init_project(&self, _: Request<v1::InitProjectRequest>) -> Answer<v1::InitProjectReply> {
        nothing()
    }
    async fn trust_project(&self, _: Request<v1::TrustProjectRequest>) -> Answer<v1::TrustProjectReply> {
        nothing()
    }
}

#[tonic::async_trait]
impl SessionService for Services {
    async fn start(&self, _: Request<v1::StartRequest>) -> Answer<v1::StartReply> {
        Ok(Response::new(v1::StartReply { session: "s-1".into() }))
    }
    async fn get(&self, _: Request<v1::GetSessionRequest>) -> Answer<v1::Session> {
        Ok(Response::new(self.session()))
    }
    async fn list(&self, _: Request<v1::ListSessionsRequest>) -> Answer<v1::ListSessionsReply> {
        nothing()
    }
    type WatchStream = UnboundedReceiverStream<Result<v1::Event, Status>>;
    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let (sender, events) = mpsc::unbounded_channel();
        self.state.lock().unwrap().watchers.push(sender);
        self.note(Call::Watch(request.into_inner()));
        Ok(Response::new(UnboundedReceiverStream::new(events)))
    }
    async fn say(&self, _: Request<v1::SayRequest>) -> Answer<v1::SayReply> {
        nothing()
    }
    async fn stop(&self, _: Request<v1::StopRequest>) -> Answer<v1::StopReply> {
        nothing()
    }
    async fn remove(&self, _: Request<v1::RemoveRequest>) -> Answer<v1::RemoveReply> {
        nothing()
    }
    async fn list_checkpoints(
        &self,
        _: Request<v1::ListCheckpointsRequest>,
    ) -> Answer<v1::ListCheckpointsReply> {
        nothing()
    }
    async fn wipe(&self, _: Request<v1::WipeRequest>) -> Answer<v1::WipeReply> {
        nothing()
    }
    async fn make_ready(&self, _: Request<v1::MakeReadyRequest>) -> Answer<v1::MakeReadyReply> {
        nothing()
    }
    async fn rewind(&self, _: Request<v1::RewindRequest>) -> Answer<v1::RewindReply> {
        nothing()
    }
    async fn branch(&self, _: Request<v1::BranchRequest>) -> Answer<v1::BranchReply> {
        nothing()
    }
    async fn export(&self, _: Request<v1::ExportRequest>) -> Answer<v1::ExportReply> {
        nothing()
    }
    type ExecStream = ReceiverStream<Result<v1::ExecOutput, Status>>;
    async fn exec(&self, _: Request<Streaming<v1::ExecInput>>) -> Answer<Self::ExecStream> {
        nothing()
    }
}

#[tonic::async_trait]
impl EgressService for Services {
    async fn show_policy(&self, _: Request<v1::ShowPolicyRequest>) -> Answer<v1::ShowPolicyReply> {
        nothing()
    }
    async fn add_rule(&self, request: Request<v1::AddRuleRequest>) -> Answer<v1::AddRuleReply> {
        let request = request.into_inner();
        let reply = v1::AddRuleReply { rule: request.rule.clone(), warning: String::new() };
        self.note(Call::Add(request));
        Ok(Response::new(reply))
    }
    async fn remove_rule(&self, _: Request<v1::RemoveRuleRequest>) -> Answer<v1::RemoveRuleReply> {
        nothing()
    }
    async fn test_policy(&self, request: Request<v1::TestPolicyRequest>) -> Answer<v1::TestPolicyReply> {
        let allowed = request.into_inner().url.contains("allowed");
        Ok(Response::new(v1::TestPolicyReply { allowed, ..Default::default() }))
    }
    async fn suggest_rules(&self, _: Request<v1::SuggestRulesRequest>) -> Answer<v1::SuggestRulesReply> {
        let rule = v1::SuggestedRule { rule: "allow GET a.example/".into(), requests: 1, name_only: false };
        Ok(Response::new(v1::SuggestRulesReply { rules: vec![rule] }))
    }
    async fn answer(&self, request: Request<v1::AnswerRequest>) -> Answer<v1::AnswerReply> {
        self.note(Call::Answer(request.into_inner()));
        Ok(Response::new(v1::AnswerReply { waiting: true }))
    }
    type LedgerStream = ReceiverStream<Result<v1::LedgerRow, Status>>;
    async fn ledger(&self, _: Request<v1::LedgerRequest>) -> Answer<Self::LedgerStream> {
        nothing()
    }
}

#[tonic::async_trait]
impl SecretService for Services {
    async fn set(&self, request: Request<v1::SetSecretRequest>) -> Answer<v1::SetSecretReply> {
        self.note(Call::Set(request.into_inner()));
        Ok(Response::new(v1::SetSecretReply::default()))
    }
    async fn bind(&self, _: Request<v1::BindSecretRequest>) -> Answer<v1::BindSecretReply> {
        nothing()
    }
    async fn list(&self, _: Request<v1::ListSecretsRequest>) -> Answer<v1::ListSecretsReply> {
        nothing()
    }
    async fn remove(&self, _: Request<v1::RemoveSecretRequest>) -> Answer<v1::RemoveSecretReply> {
        Ok(Response::new(v1::RemoveSecretReply { removed: false }))
    }
}
