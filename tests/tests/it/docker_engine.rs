//! The container engine: what is said of it, and what it is asked, on a real one.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig, VolumeCreateRequest};
use ftl_tests::engine::{self, Engine as Private};
use ftl_tests::world::{Who, World, said};
use ftld::sandbox::docker::endpoint::Surroundings;
use ftld::sandbox::docker::engine::{Engine, EngineError, Engines, Patience};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A dead engine is told within this, with a machine under load.
const SECONDS: Duration = Duration::from_secs(60);

fn checks(world: &World, code: i32) -> HashMap<String, serde_json::Value> {
    let reply = world.json(code, ["doctor"]);
    let checks = reply["checks"].as_array().unwrap().iter();
    checks.map(|check| (check["name"].as_str().unwrap().to_owned(), check.clone())).collect()
}

fn detail<'a>(checks: &'a HashMap<String, serde_json::Value>, name: &str) -> &'a str {
    checks.get(name).unwrap_or_else(|| panic!("{name} in {checks:#?}"))["detail"].as_str().unwrap()
}

#[test]
fn doctor_describes_the_engine_as_root_and_as_an_ordinary_user() {
    for who in World::everybody() {
        let mut world = World::new(who);
        world.set("DOCKER_HOST", Private::shared().host());
        let checks = checks(&world, 0);
        let about = detail(&checks, "container engine");
        assert!(
            about.starts_with("Docker ") && about.contains("API 1.") && about.contains("(DOCKER_HOST)"),
            "{about}"
        );
        assert!(about.contains("runc"), "{about}");
        assert!(detail(&checks, "container storage").contains("it mounts overlays"), "{checks:#?}");
        assert!(detail(&checks, "container filters").contains("seccomp"), "{checks:#?}");
        assert!(detail(&checks, "container limits").starts_with("control groups"), "{checks:#?}");
        assert!(detail(&checks, "container image").starts_with("no image is set up"), "{checks:#?}");
        for check in checks.values().filter(|check| check["outcome"] != "ok") {
            assert_ne!(check["remedy"], "", "{check}");
        }
        // The trial leaves nothing behind.
        let state = world.ftl_home().join("sessions");
        assert_eq!(std::fs::read_dir(state).unwrap().count(), 0);
    }
}

#[test]
fn an_engine_that_does_not_see_this_machines_directories_is_found_out() {
    let mut world = World::new(Who::Me);
    world.set("DOCKER_HOST", Private::shared().host());
    std::fs::create_dir_all(world.ftl_home()).unwrap();
    // The daemon's home is on a file system that only it sees, as if the engine were on another machine.
    let ctl = ftl_tests::world::programs().join("ftlctl").display().to_string();
    let home = world.ftl_home().display().to_string();
    let script =
        format!("mount -t tmpfs -o mode=700 none {home}; {ctl} --json doctor; {ctl} daemon stop >&2");
    let mut command = world.command("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let said = said(command.output().unwrap());
    assert!(said.out.contains("it does not see this machine's directories"), "{said:#?}");
}

/// What is no engine, at a socket of the world's.
fn stand_in(world: &mut World, name: &str) -> UnixListener {
    let socket = world.root().join(name);
    let listener = UnixListener::bind(&socket).unwrap();
    world.set("DOCKER_HOST", format!("unix://{}", socket.display()));
    listener
}

#[test]
fn an_engine_that_hangs_is_told_in_seconds_and_the_daemon_works_on() {
    let mut world = World::new(Who::Me);
    let listener = stand_in(&mut world, "hangs.sock");
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            kept.push(stream);
        }
    });
    world.files(&[("a", "1\n")]);
    let begun = Instant::now();
    let failed = world.run(["setup"]);
    assert!(failed.code == 1 && failed.err.contains("did not answer for"), "{failed:#?}");
    assert!(failed.err.contains("systemctl restart docker"), "{failed:#?}");
    assert!(begun.elapsed() < SECONDS);
    let checks = checks(&world, 0);
    assert_eq!(checks["container engine"]["outcome"], "warning");
    assert_eq!(checks["sandbox"]["outcome"], "ok");
    world.shell("echo 2 > a");
}

#[test]
fn what_is_no_engine_and_where_none_is_are_told_with_the_way_out() {
    let mut world = World::new(Who::Me);
    let listener = stand_in(&mut world, "garbage.sock");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _request = stream.read(&mut [0; 1024]);
            let _gone = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH\r\n");
        }
    });
    let failed = world.json(1, ["setup"]);
    assert_eq!(failed["error"]["code"], "engine", "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("no container engine"), "{failed}");
    assert!(failed["error"]["hint"].as_str().unwrap().contains("DOCKER_HOST"), "{failed}");
    for (host, expected) in [
        ("unix:///var/tmp/ftl-there-is-no-such.sock", "no container engine listens at"),
        ("tcp://192.0.2.1:2375", "without TLS"),
        ("ssh://me@far", "SSH"),
    ] {
        let mut world = World::new(Who::Me);
        world.set("DOCKER_HOST", host);
        let failed = world.json(1, ["setup"])["error"].clone();
        let told = format!("{} {}", failed["message"], failed["causes"]);
        assert!(
            told.contains(expected) && failed["hint"].as_str().is_some_and(|hint| !hint.is_empty()),
            "{failed}"
        );
    }
}

fn around(private: &Private) -> Surroundings {
    Surroundings { docker_host: Some(private.host().into()), ..Surroundings::default() }
}

async fn with_root(private: &Private) -> (Engine, String) {
    let engine = Engine::find(&around(private), Patience::default()).await.unwrap();
    let image = engine.import(&engine::rootfs(), "ftl-test:root", &mut |_| {}).await.unwrap();
    (engine, image)
}

fn body(image: &str, script: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(["/bin/sh", "-c", script].map(str::to_owned).into()),
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        labels: Some(HashMap::from([("dev.ftl.test".to_owned(), "containers".to_owned())])),
        host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    }
}

#[tokio::test]
async fn a_containers_streams_end_and_removal_are_what_they_were_asked_to_be() {
    let (engine, image) = with_root(Private::shared()).await;
    let id = engine.create("ftl-test-streams", body(&image, "cat; echo why >&2; exit 3")).await.unwrap();
    let mut attached = engine.attach(&id).await.unwrap();
    engine.start(&id).await.unwrap();
    engine.start(&id).await.unwrap();
    // More than any buffer on the way holds: who writes waits for who reads.
    let sent: Vec<u8> = (0..4_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let bytes = sent.clone();
    let writing = tokio::spawn(async move {
        attached.stdin.write_all(&bytes).await.unwrap();
        attached.stdin.shutdown().await.unwrap();
        attached.stdin
    });
    let mut heard = Vec::new();
    attached.stdout.read_to_end(&mut heard).await.unwrap();
    writing.await.unwrap();
    assert!(heard == sent, "{} of {} bytes", heard.len(), sent.len());
    assert_eq!(attached.complaint.text(), "why");
    assert_eq!(engine.wait(&id).await.unwrap(), Some(3));
    engine.kill(&id).await.unwrap();
    let listed = engine.list(&["dev.ftl.test=containers"]).await.unwrap();
    assert!(listed.iter().any(|container| container.id.as_ref() == Some(&id)));
    assert!(engine.inspect(&id).await.unwrap().is_some());
    engine.remove(&id).await.unwrap();
    engine.remove(&id).await.unwrap();
    assert!(engine.inspect(&id).await.unwrap().is_none() && engine.wait(&id).await.unwrap().is_none());
    let error = engine.create("ftl-test-none", body("ftl-test:none", "true")).await.unwrap_err();
    assert!(error.is_absent(), "{error:?}");
}

#[tokio::test]
async fn volumes_are_made_found_and_removed() {
    let engine = Engine::find(&around(Private::shared()), Patience::default()).await.unwrap();
    let request = VolumeCreateRequest {
        name: Some("ftl-test-volume".to_owned()),
        labels: Some(HashMap::from([("dev.ftl.test".to_owned(), "volumes".to_owned())])),
        ..VolumeCreateRequest::default()
    };
    engine.create_volume(request).await.unwrap();
    let found = engine.volumes(&["dev.ftl.test=volumes"]).await.unwrap();
    assert_eq!((found.len(), found[0].name.as_str()), (1, "ftl-test-volume"));
    engine.remove_volume("ftl-test-volume").await.unwrap();
    engine.remove_volume("ftl-test-volume").await.unwrap();
    assert!(engine.volumes(&["dev.ftl.test=volumes"]).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_engine_that_was_killed_is_told_and_found_again() {
    let private = Private::start("killed");
    let engines = Engines::new(around(&private), Patience::default());
    let engine = engines.get().await.unwrap();
    let waiting = {
        let image = engine.import(&engine::rootfs(), "ftl-test:root", &mut |_| {}).await.unwrap();
        let id = engine.create("ftl-test-killed", body(&image, "sleep 1000")).await.unwrap();
        engine.start(&id).await.unwrap();
        let engine = engine.clone();
        tokio::spawn(async move { engine.wait(&id).await })
    };
    private.kill();
    let lost = waiting.await.unwrap();
    assert!(matches!(lost, Err(EngineError::Gone { .. } | EngineError::NotRunning { .. })), "{lost:?}");
    let error = engine.info().await.unwrap_err();
    assert!(matches!(error, EngineError::NotRunning { .. }), "{error:?}");
    assert!(engines.get().await.is_err());
    private.resume();
    let again = engines.get().await.unwrap();
    assert_eq!(again.info().await.unwrap().id, engine.info().await.unwrap().id);
    again.remove("ftl-test-killed").await.unwrap();
}
