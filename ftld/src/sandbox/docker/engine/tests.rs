//! Engines that are none: what is said of each, and how soon.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

use super::super::endpoint::Way;
use super::*;

const PATIENCE: Patience = Patience {
    connect: Duration::from_millis(500),
    call: Duration::from_millis(800),
    work: Duration::from_millis(800),
};

/// The most that any of these may take.
const SOON: Duration = Duration::from_secs(10);

const VERSION: &str = r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64",
"Components":[{"Name":"Engine","Version":"20.10.24","Details":{"GitCommit":"5d6db84"}},
{"Name":"runc","Version":"1.1.5+ds1","Details":{"GitCommit":"1.1.5+ds1-1+deb12u1"}}]}"#;

/// Something that listens on a socket and deals with each request as `act` says.
struct StandIn {
    dir: tempfile::TempDir,
}

impl StandIn {
    fn new(act: impl Fn(&str, UnixStream) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::listen(&dir.path().join("engine.sock"), act);
        Self { dir }
    }

    fn listen(socket: &Path, act: impl Fn(&str, UnixStream) + Send + 'static) {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                act(&String::from_utf8(head).unwrap(), stream);
            }
        });
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { way: Way::Unix(self.dir.path().join("engine.sock")), found: "a test".into() }
    }

    async fn engine(&self) -> Result<Engine, EngineError> {
        let begun = Instant::now();
        let engine = Engine::connect(self.endpoint(), PATIENCE).await;
        assert!(begun.elapsed() < SOON);
        engine
    }

    async fn error(&self) -> EngineError {
        match self.engine().await {
            Ok(engine) => panic!("{:?}", engine.about()),
            Err(error) => error,
        }
    }
}

fn answer(stream: &mut UnixStream, status: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // Who asked may have gone.
    let _gone = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

#[tokio::test]
async fn a_version_is_agreed_on_and_kept() {
    let (heard, paths) = std::sync::mpsc::channel();
    let stand_in = StandIn::new(move |head, mut stream| {
        heard.send(head.lines().next().unwrap().to_owned()).unwrap();
        answer(&mut stream, "200 OK", VERSION);
    });
    let engine = stand_in.engine().await.unwrap();
    let about = engine.about();
    assert_eq!((about.kind, &*about.api, &*about.arch, about.local), ("Docker", "1.41", "amd64", true));
    assert_eq!(about.parts[1], ("runc".into(), "1.1.5+ds1-1+deb12u1".into()));
    assert_eq!(engine.info().await.unwrap().id, None);
    assert_eq!(paths.recv().unwrap(), "GET /version HTTP/1.1");
    assert_eq!(paths.recv().unwrap(), "GET /v1.41/info HTTP/1.1");
}

#[tokio::test]
async fn an_engine_that_hangs_is_given_up_soon() {
    let (kept, _streams) = std::sync::mpsc::channel();
    let stand_in = StandIn::new(move |_, stream| kept.send(stream).unwrap());
    let error = stand_in.error().await;
    assert!(matches!(error, EngineError::Silent { act: "version", .. }), "{error:?}");
    assert!(error.remedy().contains("restart"));
}

#[tokio::test]
async fn an_answer_that_hangs_in_its_middle_is_given_up_soon() {
    let (kept, _streams) = std::sync::mpsc::channel();
    let stand_in = StandIn::new(move |head, mut stream| {
        if head.starts_with("GET /version") {
            answer(&mut stream, "200 OK", VERSION);
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"ID\":").unwrap();
        }
        kept.send(stream).unwrap();
    });
    let engine = stand_in.engine().await.unwrap();
    let begun = Instant::now();
    let error = engine.info().await.unwrap_err();
    assert!(matches!(error, EngineError::Silent { act: "info", .. }), "{error:?}");
    assert!(begun.elapsed() < SOON);
}

#[tokio::test]
async fn what_is_no_engine_is_named_as_such() {
    for nonsense in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "\0\0\0"]
    {
        let stand_in = StandIn::new(move |_, mut stream| stream.write_all(nonsense.as_bytes()).unwrap());
        let error = stand_in.error().await;
        let named = matches!(error, EngineError::Garbled { .. } | EngineError::Gone { .. });
        assert!(named && !error.remedy().is_empty(), "{nonsense:?}: {error:?}");
    }
    let endless = StandIn::new(|_, mut stream| {
        let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
        let mut sent = stream.write_all(begun);
        while sent.is_ok() {
            sent = stream.write_all(&[b' '; 65536]);
        }
    });
    let error = endless.error().await;
    assert!(error.to_string().contains("an answer without end"), "{error:?}");
    for (version, expected) in [
        (r#"{"Version":"1.13.1","ApiVersion":"1.25","Os":"linux"}"#, "1.41 or later is needed"),
        (
            r#"{"Version":"99.0","ApiVersion":"1.99","MinAPIVersion":"1.80","Os":"linux"}"#,
            "its oldest is 1.80",
        ),
        (r#"{"Version":"27.0","ApiVersion":"1.47","Os":"windows"}"#, "windows containers"),
        (r#"{"ApiVersion":"one"}"#, "no container engine that FTL understands"),
    ] {
        let stand_in = StandIn::new(move |_, mut stream| answer(&mut stream, "200 OK", version));
        let error = stand_in.error().await;
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_engine_that_fails_is_quoted() {
    let stand_in = StandIn::new(|head, mut stream| {
        if head.starts_with("GET /version") {
            answer(&mut stream, "200 OK", VERSION);
        } else if head.contains("/kill") {
            answer(&mut stream, "404 Not Found", r#"{"message":"No such container: x"}"#);
        } else {
            answer(
                &mut stream,
                "500 Internal Server Error",
                r#"{"message":"write /data: no space left on device"}"#,
            );
        }
    });
    let engine = stand_in.engine().await.unwrap();
    engine.kill("x").await.unwrap();
    let error = engine.start("x").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the container engine refused (start): write /data: no space left on device"
    );
    assert!(error.remedy().contains("prune") && !error.is_lost());
    let stand_in = StandIn::new(|_, mut stream| answer(&mut stream, "500 Internal Server Error", "{}"));
    assert!(matches!(stand_in.error().await, EngineError::Refused { status: 500, .. }));
}

#[tokio::test]
async fn an_engine_that_dies_and_comes_back_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let around = Surroundings { system: dir.path().to_owned(), ..Surroundings::default() };
    let engines = Engines::new(around, PATIENCE);
    let error = engines.get().await.map(|_| ()).unwrap_err();
    assert!(matches!(&error, EngineError::None { looked } if looked.contains(&socket)), "{error:?}");
    StandIn::listen(&socket, |head, mut stream| match head.starts_with("GET /version") {
        true => answer(&mut stream, "200 OK", VERSION),
        false => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{").unwrap(),
    });
    let engine = engines.get().await.unwrap();
    let error = engine.info().await.unwrap_err();
    assert!(matches!(error, EngineError::Gone { act: "info", .. }), "{error:?}");
    std::fs::remove_file(&socket).unwrap();
    assert!(matches!(engine.info().await, Err(EngineError::NotRunning { .. })));
    assert!(engines.get().await.is_err());
    StandIn::listen(&socket, |_, mut stream| answer(&mut stream, "200 OK", &VERSION.replace("1.41", "1.47")));
    assert_eq!(engines.get().await.unwrap().about().api, "1.47");
    // The one from before works again too: every question has a connection of its own.
    assert!(engine.info().await.is_ok());
}

#[tokio::test]
async fn a_socket_that_nobody_may_use_or_listens_on_says_so() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let way = Way::Unix(dir.path().join("engine.sock"));
    drop(UnixListener::bind(dir.path().join("engine.sock")).unwrap());
    let endpoint = Endpoint { way, found: "a test".into() };
    let error = Engine::connect(endpoint, PATIENCE).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(error, EngineError::NotRunning { .. }) && error.remedy().contains("systemctl"),
        "{error:?}"
    );
    let denied = std::io::Error::new(
        std::io::ErrorKind::PermissionDenied,
        super::super::transport::Unreached(std::io::Error::from_raw_os_error(13)),
    );
    let error = EngineError::of("version", "unix:///x", SOON, denied.into());
    assert!(
        matches!(error, EngineError::Denied { .. }) && error.remedy().contains("usermod -aG docker"),
        "{error:?}"
    );
    // Root may use every socket; others meet the real thing.
    let listening = StandIn::new(|_, _| {});
    let socket = listening.dir.path().join("engine.sock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
    let error = listening.error().await;
    let root = rustix::process::geteuid().is_root();
    assert_eq!(matches!(error, EngineError::Denied { .. }), !root, "{error:?}");
}

/// What Podman 4.3.1 of Debian said.
const PODMAN: &str = r#"{"Platform":{"Name":"linux/amd64/debian-12"},"Components":[{"Name":"Podman Engine","Version":"4.3.1","Details":{"APIVersion":"4.3.1","Arch":"amd64","Experimental":"false","GitCommit":"","GoVersion":"go1.19.8","MinAPIVersion":"4.0.0","Os":"linux"}},{"Name":"OCI Runtime (crun)","Version":"crun version 1.8.1","Details":{"Package":"crun_1.8.1-1+deb12u1_amd64"}}],"Version":"4.3.1","ApiVersion":"1.41","MinAPIVersion":"1.24","GitCommit":"","GoVersion":"go1.19.8","Os":"linux","Arch":"amd64"}"#;

#[tokio::test]
async fn podman_is_known_by_its_parts() {
    let stand_in = StandIn::new(|_, mut stream| answer(&mut stream, "200 OK", PODMAN));
    let engine = stand_in.engine().await.unwrap();
    let about = engine.about();
    assert_eq!((about.kind, about.version.as_str(), about.api.as_str()), ("Podman", "4.3.1", "1.41"));
}
