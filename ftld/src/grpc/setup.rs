//! `ftl.v1.SetupService`: the image that sandboxes of a container engine are made of.

use std::path::Path;
use std::sync::Arc;

use ftl_proto::v1;
use ftl_proto::v1::setup_event::Kind;
use ftl_proto::v1::setup_service_server::SetupService;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::convert;
use super::status::told;
use crate::app::Parts;
use crate::sandbox::docker::setup::recipe::Reach;
use crate::sandbox::docker::setup::record::Record;
use crate::sandbox::docker::setup::{self, Base, Progress, SetupError, Wanted};
use crate::session::Sessions;

/// The service over the container engine.
pub(super) struct SetupApi {
    pub(super) sessions: Arc<Sessions>,
    /// Held while one is under way: two would only build the same twice.
    pub(super) busy: Arc<Mutex<()>>,
}

#[tonic::async_trait]
impl SetupService for SetupApi {
    type SetupStream = UnboundedReceiverStream<Result<v1::SetupEvent, Status>>;

    async fn setup(&self, request: Request<v1::SetupRequest>) -> Result<Response<Self::SetupStream>, Status> {
        let request = request.into_inner();
        let base = match (request.rootfs.is_empty(), request.usual_base) {
            (false, true) => return Err(Status::invalid_argument("`rootfs` and `usual_base` are two bases")),
            (false, false) => Base::Rootfs(convert::absolute(request.rootfs, "rootfs")?),
            (true, true) => Base::Usual,
            (true, false) => Base::Last,
        };
        let parts = Arc::clone(self.sessions.parts());
        let reach = Reach::from_env(&parts.user.env).map_err(|error| status(&error))?;
        let wanted = Wanted { base, agents: request.agents, rebuild: request.rebuild, reach };
        let busy = Arc::clone(&self.busy);
        let (events, stream) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let gone = events.clone();
            tokio::select! {
                () = run(&parts, wanted, &busy, &events) => {}
                // Nobody waits for it any more; the builder stops with its connection.
                () = gone.closed() => {}
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(stream)))
    }
}

/// Where events go.
type Events = mpsc::UnboundedSender<Result<v1::SetupEvent, Status>>;

async fn run(parts: &Parts, wanted: Wanted, busy: &Mutex<()>, events: &Events) {
    let send = |kind: Kind| {
        // When nobody listens any more, the work is given up from outside.
        let _gone = events.send(Ok(v1::SetupEvent { kind: Some(kind) }));
    };
    let _alone = match busy.try_lock() {
        Ok(alone) => alone,
        Err(_) => {
            send(Kind::Kept("waiting for another setup to end".to_owned()));
            busy.lock().await
        }
    };
    let mut hear = |progress| send(wire(progress));
    let done = make(parts, wanted, parts.home.root(), &mut hear).await;
    match done {
        Ok(record) => send(Kind::Result(result(record))),
        Err(error) => {
            let _gone = events.send(Err(status(&error)));
        }
    }
}

async fn make(
    parts: &Parts,
    wanted: Wanted,
    home: &Path,
    hear: setup::Hear<'_>,
) -> Result<Record, SetupError> {
    let engine = parts.engines.get().await?;
    setup::setup(&engine, wanted, home, parts.clock.now_us(), hear).await
}

fn wire(progress: Progress) -> Kind {
    match progress {
        Progress::Step { number, of, title } => Kind::Step(v1::SetupStep { number, of, title }),
        Progress::Line(line) => Kind::Line(line),
        Progress::Sent { bytes, total } => Kind::Sent(v1::SetupSent { bytes, total }),
        Progress::Kept(sentence) => Kind::Kept(sentence),
    }
}

fn result(record: Record) -> v1::SetupResult {
    let agents = record.agents.into_iter().map(|agent| v1::InstalledAgent {
        name: agent.name,
        version: agent.version,
        program: agent.program,
        said: agent.said,
    });
    v1::SetupResult {
        image: record.image,
        tag: record.tag,
        rootfs: record.rootfs.unwrap_or_default(),
        agents: agents.collect(),
    }
}

fn status(error: &SetupError) -> Status {
    let (code, reason) = match error {
        SetupError::Unknown { .. } | SetupError::NotPacked { .. } => (Code::InvalidArgument, "no-agent"),
        SetupError::Rootfs { .. } => (Code::InvalidArgument, "rootfs"),
        // No policy refused anything: to a client these have simply failed.
        SetupError::Engine(_) => (Code::Internal, "engine"),
        SetupError::Build { .. } => (Code::Internal, "build"),
        SetupError::Fetch { .. } | SetupError::Altered { .. } | SetupError::Pull { .. } => {
            (Code::Internal, "fetch")
        }
        _ => (Code::Internal, "setup"),
    };
    told(code, reason, &error.remedy(), error, error.lines())
}
