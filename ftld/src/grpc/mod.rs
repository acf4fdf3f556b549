//! The API: the only folder that knows protobuf.
//!
//! Owns the human's socket and the services on it. Must not decide: a handler parses, calls, converts.
//! No service here is reachable from a sandbox.

mod ask;
mod blame;
mod convert;
mod daemon;
mod egress;
mod entry;
mod event;
pub mod listen;
mod review;
mod secret;
mod session;
mod setup;
mod snapshot;
pub mod status;
mod travel;
mod verify;
mod wanted;

use std::future::Future;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use ftl_core::id::SessionId;
use ftl_proto::v1;
use ftl_proto::v1::ask_service_server::AskServiceServer;
use ftl_proto::v1::daemon_service_server::DaemonServiceServer;
use ftl_proto::v1::egress_service_server::EgressServiceServer;
use ftl_proto::v1::event_service_server::EventServiceServer;
use ftl_proto::v1::review_service_server::ReviewServiceServer;
use ftl_proto::v1::secret_service_server::SecretServiceServer;
use ftl_proto::v1::session_service_server::SessionServiceServer;
use ftl_proto::v1::setup_service_server::SetupServiceServer;
use ftl_proto::v1::snapshot_service_server::SnapshotServiceServer;
use ftl_proto::v1::verify_service_server::VerifyServiceServer;
use tonic::Status;
use tonic::transport::Server;

use crate::app::Control;
use crate::session::Sessions;
use crate::session::record::Record;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener does not work.
    #[error("cannot accept connections")]
    Accept {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Reflection's descriptors cannot be used.
    #[error("cannot serve reflection")]
    Reflection {
        /// Why not.
        #[source]
        source: tonic_reflection::server::Error,
    },
    /// The transport failed.
    #[error("the API's transport failed")]
    Transport {
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

/// How long calls may take to end once the daemon ends.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves the API until `end` and until every call has ended.
///
/// # Errors
/// When it cannot be served.
pub async fn serve(
    listener: UnixListener,
    sessions: Arc<Sessions>,
    control: Arc<Control>,
    end: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let incoming = listen::accept(listener).map_err(|source| ServeError::Accept { source })?;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<SessionServiceServer<session::SessionApi>>().await;
    health.set_serving::<ReviewServiceServer<review::ReviewApi>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(ftl_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|source| ServeError::Reflection { source })?;
    let (ended, drain) = tokio::sync::oneshot::channel();
    let end = async move {
        end.await;
        // Nobody waits any more when the server has failed meanwhile.
        let _failed = ended.send(());
    };
    let serving = Server::builder()
        .add_service(health_service)
        .add_service(reflection)
        .add_service(DaemonServiceServer::new(daemon::DaemonApi { sessions: Arc::clone(&sessions), control }))
        .add_service(SessionServiceServer::new(session::SessionApi(Arc::clone(&sessions))))
        .add_service(ReviewServiceServer::new(review::ReviewApi(Arc::clone(&sessions))))
        .add_service(VerifyServiceServer::new(verify::VerifyApi(Arc::clone(&sessions))))
        .add_service(AskServiceServer::new(ask::AskApi(Arc::clone(&sessions))))
        .add_service(SnapshotServiceServer::new(snapshot::SnapshotApi(Arc::clone(&sessions))))
        .add_service(EgressServiceServer::new(egress::EgressApi(Arc::clone(&sessions))))
        .add_service(SecretServiceServer::new(secret::SecretApi(Arc::clone(&sessions))))
        .add_service(SetupServiceServer::new(setup::SetupApi {
            sessions: Arc::clone(&sessions),
            busy: Arc::default(),
        }))
        .add_service(EventServiceServer::new(event::EventApi(sessions)))
        .serve_with_incoming_shutdown(incoming, end);
    let overdue = async {
        match drain.await {
            Ok(()) => tokio::time::sleep(DRAIN).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = serving => served.map_err(|source| ServeError::Transport { source }),
        // A client that keeps its call open must not keep the daemon alive.
        () = overdue => Ok(()),
    }
}

/// A session as the wire shows it.
fn wire(sessions: &Sessions, record: Record) -> Result<v1::Session, Status> {
    let last = sessions.parts().db.last_seq(&record.id).map_err(|error| status::status(&error.into()))?;
    Ok(convert::session(record, last))
}

/// The session that a request names.
fn resolve(sessions: &Sessions, text: &str) -> Result<SessionId, Status> {
    if text.is_empty() {
        return Err(Status::invalid_argument("`session` is empty"));
    }
    sessions.resolve(text, b"").map_err(|error| status::status(&error))
}

/// One page of a list.
struct Page<T> {
    items: Vec<T>,
    next: String,
}

/// Cuts a page out of a list; the token is the number of items before it.
fn page<T>(mut items: Vec<T>, size: u32, token: &str) -> Result<Page<T>, Status> {
    let start: usize = match token {
        "" => 0,
        token => token.parse().map_err(|_| Status::invalid_argument("`page_token` is not one"))?,
    };
    let size = match size {
        0 => 100,
        size => usize::try_from(size).unwrap_or(usize::MAX).min(1000),
    };
    let total = items.len();
    let items: Vec<T> = items.drain(start.min(total)..start.saturating_add(size).min(total)).collect();
    let end = start + items.len();
    Ok(Page { items, next: if end < total { end.to_string() } else { String::new() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_a_list_once_and_in_order() {
        let mut token = String::new();
        let mut seen = Vec::new();
        loop {
            let page = page((0..25).collect(), 10, &token).unwrap();
            seen.extend(page.items);
            token = page.next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, (0..25).collect::<Vec<_>>());
        assert!(page::<u8>(Vec::new(), 0, "x").is_err());
        assert!(page(vec![1], 0, "99").unwrap().items.is_empty());
    }
}
