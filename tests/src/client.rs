//! The API over a real socket, for tests that look closer than the command line.

use std::path::{Path, PathBuf};

use ftl_proto::v1;
use ftl_proto::v1::daemon_service_client::DaemonServiceClient;
use ftl_proto::v1::event_service_client::EventServiceClient;
use ftl_proto::v1::review_service_client::ReviewServiceClient;
use ftl_proto::v1::session_service_client::SessionServiceClient;
use ftl_proto::v1::snapshot_service_client::SnapshotServiceClient;
use ftl_proto::v1::verify_service_client::VerifyServiceClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// Every service over one connection.
#[derive(Clone)]
pub struct Client {
    /// The connection itself.
    pub channel: Channel,
    /// `DaemonService`.
    pub daemon: DaemonServiceClient<Channel>,
    /// `SessionService`.
    pub sessions: SessionServiceClient<Channel>,
    /// `ReviewService`.
    pub reviews: ReviewServiceClient<Channel>,
    /// `SnapshotService`.
    pub snapshots: SnapshotServiceClient<Channel>,
    /// `VerifyService`.
    pub verify: VerifyServiceClient<Channel>,
    /// `EventService`.
    pub events: EventServiceClient<Channel>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(socket: &Path) -> Result<Self, tonic::transport::Error> {
        let path: PathBuf = socket.to_owned();
        let connect = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://ftl.invalid").connect_with_connector(connect).await?;
        Ok(Self {
            daemon: DaemonServiceClient::new(channel.clone()),
            sessions: SessionServiceClient::new(channel.clone()),
            reviews: ReviewServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20),
            snapshots: SnapshotServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20),
            verify: VerifyServiceClient::new(channel.clone()),
            events: EventServiceClient::new(channel.clone()),
            channel,
        })
    }

    /// Starts a session with the agent `shell`.
    ///
    /// # Errors
    /// What the daemon says.
    pub async fn shell(&mut self, project: &Path, script: &str) -> Result<String, tonic::Status> {
        use std::os::unix::ffi::OsStrExt as _;
        let request = v1::StartRequest {
            project: project.as_os_str().as_bytes().to_vec(),
            agent: "shell".into(),
            task: script.into(),
            ..v1::StartRequest::default()
        };
        Ok(self.sessions.start(request).await?.into_inner().session)
    }

    /// Every event of a session from a number on, until it is idle.
    ///
    /// # Errors
    /// What the daemon says.
    pub async fn until_idle(
        &mut self,
        session: &str,
        from_seq: u64,
    ) -> Result<Vec<v1::Event>, tonic::Status> {
        let request = v1::WatchRequest {
            session: session.into(),
            from_seq,
            follow: true,
            until_idle: true,
            ..Default::default()
        };
        let mut stream = self.sessions.watch(request).await?.into_inner();
        let mut events = Vec::new();
        while let Some(event) = stream.message().await? {
            events.push(event);
        }
        Ok(events)
    }
}
