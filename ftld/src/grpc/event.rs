//! `ftl.v1.EventService`: the audit log, read.

use std::ops::ControlFlow;
use std::sync::Arc;

use ftl_core::chain::Record;
use ftl_proto::v1;
use ftl_proto::v1::event_service_server::EventService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert;
use super::status::status;
use crate::session::outlet::{self, Wanted};
use crate::session::{Error, Sessions};

/// What is read ahead of a client, messages.
const AHEAD: usize = 64;
/// The longest particulars that fit a message, bytes.
const LONGEST: usize = 1 << 20;

/// The service over the audit log.
pub(super) struct EventApi(pub(super) Arc<Sessions>);

#[tonic::async_trait]
impl EventService for EventApi {
    type LogStream = ReceiverStream<Result<v1::LogRecord, Status>>;

    async fn log(&self, request: Request<v1::LogRequest>) -> Result<Response<Self::LogStream>, Status> {
        let v1::LogRequest { session, project, limit, since_us } = request.into_inner();
        let project = convert::optional_project(project)?;
        let wanted = Wanted { session, project, since_us, limit: limit as usize };
        let audit = Arc::clone(&self.0.parts().audit);
        Ok(Response::new(streamed(move |show| {
            outlet::records(&*audit, &wanted, |record| show(wire(record))).map_err(Error::from)
        })))
    }

    async fn verify_log(
        &self,
        _request: Request<v1::VerifyLogRequest>,
    ) -> Result<Response<v1::VerifyLogReply>, Status> {
        let audit = Arc::clone(&self.0.parts().audit);
        let verdict = tokio::task::spawn_blocking(move || audit.verify())
            .await
            .map_err(|_| Status::internal("reading the audit log was interrupted"))?
            .map_err(|error| status(&Error::from(error)))?;
        Ok(Response::new(v1::VerifyLogReply {
            intact: verdict.is_intact(),
            records: verdict.records,
            problems: verdict.problems,
        }))
    }
}

/// Sends what a thread that may wait shows one by one, as fast as it is taken. The thread ends with the
/// stream.
pub(super) fn streamed<T: Send + 'static>(
    read: impl FnOnce(&mut dyn FnMut(T) -> ControlFlow<()>) -> Result<(), Error> + Send + 'static,
) -> ReceiverStream<Result<T, Status>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut show = |one| match sender.blocking_send(Ok(one)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        if let Err(error) = read(&mut show) {
            let _gone = sender.blocking_send(Err(status(&error)));
        }
    });
    ReceiverStream::new(receiver)
}

fn wire(record: Record) -> v1::LogRecord {
    let mut detail_json = record.detail.to_string();
    if detail_json.len() > LONGEST {
        detail_json = serde_json::json!({ "bytes": detail_json.len(), "cut": true }).to_string();
    }
    v1::LogRecord {
        seq: record.seq,
        time_us: record.time_us,
        action: record.action,
        session: record.session.map(String::from).unwrap_or_default(),
        project: record.project.map(|project| project.0).unwrap_or_default(),
        detail_json,
    }
}
