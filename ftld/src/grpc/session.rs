//! `ftl.v1.SessionService`: handlers that parse, call and convert.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;

use ftl_core::event::{Bytes, Kind};
use ftl_core::id::SessionId;
use ftl_core::lifecycle::State;
use ftl_proto::v1;
use ftl_proto::v1::session_service_server::SessionService;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert;
use super::status::{status, status_of};
use crate::session::record::{Spec, TestsSpec};
use crate::session::{Back, Error, ExecInput, ExecOutput, ExecSpec, Sessions, Wiping};

/// The service over the registry of sessions.
pub(super) struct SessionApi(pub(super) Arc<Sessions>);

/// Events read from the database at once.
const READ_AHEAD: usize = 256;
/// Replies that wait for a slow client at most; then the writer waits for it.
const STREAM_BUFFER: usize = 64;

#[tonic::async_trait]
impl SessionService for SessionApi {
    async fn start(&self, request: Request<v1::StartRequest>) -> Result<Response<v1::StartReply>, Status> {
        let request = request.into_inner();
        let project = convert::absolute(request.project, "project")?;
        let spec = Spec {
            agent: request.agent,
            sandbox: request.sandbox,
            task: request.task,
            argv: request.argv.into_iter().map(Bytes).collect(),
            search_path: request.search_path.into_iter().map(Bytes).collect(),
            interactive: request.interactive,
            tests: TestsSpec {
                model: Some(request.tests).filter(|model| !model.is_empty()),
                fix: request.fix,
                off: request.no_tests,
                same_model: request.same_model,
            },
        };
        let id = self.0.start(&project, spec).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::StartReply { session: id.to_string() }))
    }

    async fn get(&self, request: Request<v1::GetSessionRequest>) -> Result<Response<v1::Session>, Status> {
        let request = request.into_inner();
        let project = convert::optional_project(request.project)?;
        let id = self.0.resolve(&request.session, &project).map_err(|error| status(&error))?;
        let record = self.0.get(&id).map_err(|error| status(&error))?;
        super::wire(&self.0, record).map(Response::new)
    }

    async fn list(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsReply>, Status> {
        let request = request.into_inner();
        let project = convert::optional_project(request.project)?;
        let records = self.0.list(&project).map_err(|error| status(&error))?;
        let page = super::page(records, request.page_size, &request.page_token)?;
        let mut sessions = Vec::new();
        for record in page.items {
            let kept = match request.kept {
                true => Some(self.0.keeps(&record).await.map_err(|error| status(&error))?),
                false => None,
            };
            let session = super::wire(&self.0, record)?;
            sessions.push(v1::Session { kept: kept.map(convert::kept), ..session });
        }
        Ok(Response::new(v1::ListSessionsReply { sessions, next_page_token: page.next }))
    }

    type WatchStream = ReceiverStream<Result<v1::Event, Status>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let (events, stream) = mpsc::channel(STREAM_BUFFER);
        let sessions = Arc::clone(&self.0);
        tokio::spawn(async move {
            if let Err(error) = watch(&sessions, &id, &request, &events).await {
                // The client may have gone; then there is nobody to tell.
                let _gone = events.send(Err(status(&error))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn say(&self, request: Request<v1::SayRequest>) -> Result<Response<v1::SayReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let seq = self.0.say(&id, request.text).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::SayReply { seq }))
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::StopReply>, Status> {
        let id = super::resolve(&self.0, &request.into_inner().session)?;
        let record = self.0.stop(&id, "stopped by the human").await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::StopReply { session: Some(super::wire(&self.0, record)?) }))
    }

    async fn remove(&self, request: Request<v1::RemoveRequest>) -> Result<Response<v1::RemoveReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        self.0.remove(&id, request.discard).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::RemoveReply {}))
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsReply>, Status> {
        let id = super::resolve(&self.0, &request.into_inner().session)?;
        let record = self.0.get(&id).map_err(|error| status(&error))?;
        Ok(Response::new(v1::ListCheckpointsReply {
            session: id.to_string(),
            checkpoints: record.checkpoints.into_iter().map(convert::checkpoint).collect(),
            at: record.at,
        }))
    }

    async fn rewind(&self, request: Request<v1::RewindRequest>) -> Result<Response<v1::RewindReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let back = match request.to {
            Some(v1::rewind_request::To::Checkpoint(number)) => Back::To(number),
            Some(v1::rewind_request::To::Turns(count)) => Back::Turns(count),
            None => return Err(Status::invalid_argument("the request does not say where to go back to")),
        };
        let record = self.0.rewind(&id, back).await.map_err(|error| status(&error))?;
        let at = record.at;
        Ok(Response::new(v1::RewindReply { session: Some(super::wire(&self.0, record)?), at }))
    }

    async fn wipe(&self, request: Request<v1::WipeRequest>) -> Result<Response<v1::WipeReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let wiping = Wiping { workspace: request.workspace, discard: request.discard };
        let (record, bytes) = self.0.wipe(&id, wiping).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::WipeReply { session: Some(super::wire(&self.0, record)?), bytes }))
    }

    async fn make_ready(
        &self,
        request: Request<v1::MakeReadyRequest>,
    ) -> Result<Response<v1::MakeReadyReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let made = self.0.make_ready(&id, request.anew).await.map_err(|error| status_of(&id, &error))?;
        Ok(Response::new(v1::MakeReadyReply {
            session: Some(super::wire(&self.0, made.record)?),
            stands: made.why.is_none(),
            why: made.why.unwrap_or_default(),
            elapsed_us: made.elapsed_us,
            stopped: made.stopped,
        }))
    }

    async fn branch(&self, request: Request<v1::BranchRequest>) -> Result<Response<v1::BranchReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let branch = self.0.branch(&id, request.checkpoint).await.map_err(|error| status(&error))?;
        let record = self.0.get(&branch).map_err(|error| status(&error))?;
        Ok(Response::new(v1::BranchReply { session: Some(super::wire(&self.0, record)?) }))
    }

    async fn export(&self, request: Request<v1::ExportRequest>) -> Result<Response<v1::ExportReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let made = self.0.export(&id, request.git_branch).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::ExportReply { reference: made.name, commit: made.tip.to_string() }))
    }

    type ExecStream = ReceiverStream<Result<v1::ExecOutput, Status>>;

    async fn exec(
        &self,
        request: Request<Streaming<v1::ExecInput>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|message| message.input);
        let Some(v1::exec_input::Input::Start(start)) = first else {
            return Err(Status::invalid_argument("the first message is not `start`"));
        };
        let id = super::resolve(&self.0, &start.session)?;
        let (input, from_client) = mpsc::channel(STREAM_BUFFER);
        let (output, mut from_command) = mpsc::channel(STREAM_BUFFER);
        let (replies, stream) = mpsc::channel(STREAM_BUFFER);
        let begun = match start.attach {
            true => self.0.sit_down(&id, size(start.terminal.unwrap_or_default()), from_client, output).await,
            false => self.0.exec(&id, exec_spec(start), from_client, output).await,
        };
        begun.map_err(|error| status(&error))?;
        tokio::spawn(async move {
            // The sender is dropped when the client's stream ends: that is how the command learns of it.
            while let Some(Ok(message)) = messages.next().await {
                let Some(message) = exec_input(message) else { continue };
                if input.send(message).await.is_err() {
                    break;
                }
            }
        });
        let sessions = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Some(message) = from_command.recv().await {
                if replies.send(Ok(exec_output(&sessions, message))).await.is_err() {
                    break;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Sends the stored events from a number on, then waits for more as the request says.
async fn watch(
    sessions: &Sessions,
    id: &SessionId,
    request: &v1::WatchRequest,
    events: &mpsc::Sender<Result<v1::Event, Status>>,
) -> Result<(), Error> {
    // As long as this lives, requests may wait for the human behind it.
    let _watching =
        (request.follow && request.answers_egress).then(|| sessions.parts().outlets.asks(id).watch());
    let mut head = sessions.parts().publisher.head(id)?;
    let mut gates = sessions.parts().tests.changes();
    let mut next = request.from_seq.max(1);
    let mut at_rest = false;
    loop {
        let reached = *head.borrow_and_update();
        gates.mark_unchanged();
        while next <= reached {
            let stored = sessions.parts().db.events(id, next, READ_AHEAD)?;
            // What lies beyond is written but not yet durable: shown now, a crash could take it back.
            for event in stored.into_iter().take_while(|event| event.seq <= reached) {
                next = event.seq + 1;
                if let Kind::StateChanged { state, .. } = &event.kind {
                    at_rest =
                        if request.until_idle { rests(sessions, id, *state) } else { state.has_ended() };
                }
                if events.send(Ok(convert::event(event))).await.is_err() {
                    return Ok(());
                }
            }
        }
        // After a reconnection the last change of state may lie before the first number asked for.
        let at_end = at_rest || (resting(sessions, id, request)? && sessions.parts().db.last_seq(id)? < next);
        if !request.follow || at_end {
            return Ok(());
        }
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return Ok(()) },
            changed = gates.changed() => if changed.is_err() { return Ok(()) },
            () = events.closed() => return Ok(()),
        }
    }
}

/// Whether the session itself says that no more events are to be expected.
fn resting(sessions: &Sessions, id: &SessionId, request: &v1::WatchRequest) -> Result<bool, Error> {
    let state = sessions.get(id)?.state;
    Ok(if request.until_idle { rests(sessions, id, state) } else { state.has_ended() })
}

/// Whether nothing goes on in a session until a human asks for it: the gate has said its word, too.
fn rests(sessions: &Sessions, id: &SessionId, state: State) -> bool {
    state.is_idle() && !sessions.parts().tests.is_due(id)
}

fn exec_spec(start: v1::ExecStart) -> ExecSpec {
    ExecSpec {
        argv: start.argv.into_iter().map(OsString::from_vec).collect(),
        terminal: start.terminal.map(size),
        term: start.term,
        of_agent: start.agent,
        env: Vec::new(),
    }
}

fn size(size: v1::TerminalSize) -> (u16, u16) {
    let clamp = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    (clamp(size.rows), clamp(size.columns))
}

fn exec_input(message: v1::ExecInput) -> Option<ExecInput> {
    use v1::exec_input::Input;
    Some(match message.input? {
        Input::Start(_) => return None,
        Input::Stdin(data) => ExecInput::Data(data),
        Input::StdinEof(_) => ExecInput::End,
        Input::Resize(given) => {
            let (rows, columns) = size(given);
            ExecInput::Resize { rows, columns }
        }
        Input::Signal(signal) => ExecInput::Signal(signal),
    })
}

fn exec_output(sessions: &Sessions, message: ExecOutput) -> v1::ExecOutput {
    use v1::exec_output::Output;
    let output = match message {
        ExecOutput::Stdout(data) => Output::Stdout(data),
        ExecOutput::Stderr(data) => Output::Stderr(data),
        ExecOutput::Replaced => Output::Replaced(true),
        ExecOutput::Exit { code, record } => Output::Exit(v1::ExecExit {
            code,
            session: record.map(|record| {
                let last = sessions.parts().db.last_seq(&record.id).unwrap_or_default();
                convert::session(*record, last)
            }),
        }),
    };
    v1::ExecOutput { output: Some(output) }
}
