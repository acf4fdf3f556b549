//! `ftl.v1.EventService`: the audit log, read.

use std::sync::Arc;

use ftl_core::chain::Record;
use ftl_proto::v1;
use ftl_proto::v1::event_service_server::EventService;
use tokio_stream::Iter;
use tonic::{Request, Response, Status};

use super::convert;
use super::status::status;
use crate::session::{Error, Sessions};

/// The service over the audit log.
pub(super) struct EventApi(pub(super) Arc<Sessions>);

impl EventApi {
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn crate::audit::AuditSink) -> Result<T, crate::audit::AuditError> + Send + 'static,
    ) -> Result<T, Status> {
        let audit = Arc::clone(&self.0.parts().audit);
        tokio::task::spawn_blocking(move || read(&*audit))
            .await
            .map_err(|_| Status::internal("reading the audit log was interrupted"))?
            .map_err(|error| status(&Error::from(error)))
    }
}

#[tonic::async_trait]
impl EventService for EventApi {
    type LogStream = Iter<std::vec::IntoIter<Result<v1::LogRecord, Status>>>;

    async fn log(&self, request: Request<v1::LogRequest>) -> Result<Response<Self::LogStream>, Status> {
        let request = request.into_inner();
        let project = convert::optional_project(request.project)?;
        let mut records = self.read(|audit| audit.records()).await?;
        records.retain(|record| {
            (project.is_empty() || record.project.as_ref().is_some_and(|of| of.0 == project))
                && (request.session.is_empty()
                    || record.session.as_ref().is_some_and(|of| of.as_str().starts_with(&request.session)))
        });
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        if limit > 0 && records.len() > limit {
            records.drain(..records.len() - limit);
        }
        let records: Vec<_> = records.into_iter().map(|record| Ok(wire(record))).collect();
        Ok(Response::new(tokio_stream::iter(records)))
    }

    async fn verify_log(
        &self,
        _request: Request<v1::VerifyLogRequest>,
    ) -> Result<Response<v1::VerifyLogReply>, Status> {
        let verdict = self.read(|audit| audit.verify()).await?;
        Ok(Response::new(v1::VerifyLogReply {
            intact: verdict.is_intact(),
            records: verdict.records,
            problems: verdict.problems,
        }))
    }
}

fn wire(record: Record) -> v1::LogRecord {
    v1::LogRecord {
        seq: record.seq,
        time_us: record.time_us,
        action: record.action,
        session: record.session.map(String::from).unwrap_or_default(),
        project: record.project.map(|project| project.0).unwrap_or_default(),
        detail_json: record.detail.to_string(),
    }
}
