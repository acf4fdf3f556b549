//! `ftlctl setup`: an image for the docker sandbox, on a real engine.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use ftl_tests::engine::{self, Engine as Private};
use ftl_tests::world::{Who, World};
use ftld::sandbox::docker::endpoint::Surroundings;
use ftld::sandbox::docker::engine::{Engine, Patience};
use ftld::sandbox::docker::setup::SetupError;
use ftld::sandbox::docker::setup::guest_layer::{guest_hash, with_guest};

fn world(who: Who) -> (World, String) {
    let mut world = World::new(who);
    world.set("DOCKER_HOST", Private::shared().host());
    (world, engine::rootfs().display().to_string())
}

fn kinds(lines: &[serde_json::Value], kind: &str) -> usize {
    lines.iter().filter(|line| line["type"] == kind).count()
}

async fn real() -> Engine {
    let around =
        Surroundings { docker_host: Some(Private::shared().host().into()), ..Surroundings::default() };
    Engine::find(&around, Patience::default()).await.unwrap()
}

#[test]
fn a_root_file_system_becomes_an_image_once() {
    for who in World::everybody() {
        let (world, rootfs) = world(who);
        let first = world.json_lines(0, ["setup", "--rootfs", &rootfs]);
        assert_eq!(kinds(&first, "step"), 4, "{first:#?}");
        let result = first.last().unwrap();
        assert_eq!((&result["type"], result["agents"].as_array().unwrap().len()), (&"result".into(), 0));
        assert!(result["image"].as_str().unwrap().starts_with("sha256:"), "{result}");
        assert_eq!(result["rootfs"].as_str().unwrap().len(), 64);
        // Again, with the archive and without: nothing is made, the image is the same.
        for again in [&["setup", "--rootfs", &rootfs][..], &["setup"]] {
            let lines = world.json_lines(0, again);
            assert_eq!((kinds(&lines, "kept"), kinds(&lines, "line")), (2, 0), "{lines:#?}");
            assert_eq!(lines.last().unwrap()["image"], result["image"]);
        }
        let record = world.ftl_home().join("image.json").metadata().unwrap();
        assert_eq!(record.mode() & 0o777, 0o600);
        let doctor = world.ok(["doctor"]);
        let told = format!("{} with no agents", result["tag"].as_str().unwrap());
        assert!(doctor.contains(&told), "{doctor}");
        let shown = world.ok(["setup"]);
        assert!(shown.contains("[4/4] do the agents start?\nready: ftl-agents:"), "{shown}");
    }
}

#[tokio::test]
async fn the_helper_is_a_layer_on_top_and_hostile_images_get_none() {
    let engine = real().await;
    let image = engine.import(&engine::rootfs(), "ftl-test:helper", &mut |_| {}).await.unwrap();
    let with = with_guest(&engine, &image).await.unwrap();
    assert_eq!((with_guest(&engine, &image).await.unwrap(), &with.guest), (with.clone(), &guest_hash()));
    let found = engine.image(&with.id).await.unwrap().unwrap();
    let layers = |image: bollard::models::ImageInspect| image.root_fs.unwrap().layers.unwrap();
    let below = layers(engine.image(&image).await.unwrap().unwrap());
    let config = found.config.clone().unwrap();
    let all = layers(found);
    assert!(all.starts_with(&below) && all.len() == below.len() + 1, "{all:?}");
    assert_eq!(config.entrypoint.unwrap(), ["/.ftl/guest"]);
    assert_eq!(config.labels.unwrap()["dev.ftl.base"], image);
    for (line, word) in [("VOLUME /data", "volumes"), ("ONBUILD RUN id", "ONBUILD")] {
        let tag = format!("ftl-test:hostile-{}", word.to_lowercase());
        derive(&engine, &image, line, &tag).await;
        let error = with_guest(&engine, &tag).await.unwrap_err();
        assert!(matches!(error, SetupError::Image { .. }) && error.to_string().contains(word), "{error}");
    }
    assert!(matches!(with_guest(&engine, "ftl-test:nothing").await, Err(SetupError::NoImage { .. })));
}

/// An image with one more line in its Dockerfile, made by the builder.
async fn derive(engine: &Engine, image: &str, line: &str, tag: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), format!("FROM {image}\n{line}\n")).unwrap();
    let packed = std::process::Command::new("tar").args(["-cC"]).arg(dir.path()).arg(".").output().unwrap();
    let build = ftld::sandbox::docker::images::Build {
        context: packed.stdout.into(),
        tag: tag.to_owned(),
        ..Default::default()
    };
    engine.build(build, &mut |_| {}).await.unwrap();
}

#[test]
fn what_cannot_be_used_is_named() {
    let (world, rootfs) = world(Who::Me);
    for (arguments, code, words) in [
        (&["setup", "--rootfs", "/nowhere.tar"][..], "rootfs", "/nowhere.tar"),
        (&["setup", "--rootfs", "/tmp"], "rootfs", "it is no file"),
        (&["setup", "--agent", "clippy"], "no-agent", "claude-code, codex"),
    ] {
        let failed = world.json(1, arguments);
        assert_eq!(failed["error"]["code"], code, "{failed}");
        assert!(failed.to_string().contains(words), "{failed}");
    }
    let garbage = world.root().join("garbage.tar");
    std::fs::write(&garbage, vec![b'x'; 5000]).unwrap();
    let failed = world.json(1, ["setup", "--rootfs", garbage.to_str().unwrap()]);
    assert!(failed["error"]["message"].as_str().unwrap().contains("refused (import)"), "{failed}");
    // What failed left no record.
    assert!(!world.ftl_home().join("image.json").exists());
    world.ok(["setup", "--rootfs", &rootfs]);
}

/// A registry that gives the same bytes whatever is asked, and what was asked.
fn registry(bytes: &'static [u8]) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).unwrap();
            let line =
                String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
            let _gone = asked.send(line);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
            let _gone = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(bytes));
        }
    });
    (address, heard)
}

#[test]
fn a_registry_that_gives_other_bytes_stops_the_build() {
    let (mut world, rootfs) = world(Who::Me);
    let (address, asked) = registry(b"not the package");
    world.set("NPM_CONFIG_REGISTRY", address);
    let lines = world.json_lines(1, ["setup", "--rootfs", &rootfs, "--agent", "codex"]);
    let failed = &lines.last().unwrap()["error"];
    assert_eq!(failed["code"], "build", "{lines:#?}");
    let causes = failed["causes"].to_string();
    assert!(causes.contains("a step returned a non-zero code") && causes.contains("FAILED"), "{failed:#}");
    assert!(!causes.contains("curl") && !causes.contains("u001b"), "{failed:#}");
    assert!(asked.recv().unwrap().starts_with("GET /@openai/codex/-/codex-"));
    assert!(!world.ftl_home().join("image.json").exists());
}

#[test]
fn a_setup_whose_client_goes_away_ends_and_lets_the_next_one_in() {
    let (mut world, rootfs) = world(Who::Me);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    world.set("NPM_CONFIG_REGISTRY", format!("http://{}", listener.local_addr().unwrap()));
    let mut waiting = world.ftlctl(["setup", "--rootfs", &rootfs, "--agent", "claude-code"]).spawn().unwrap();
    // A registry that never answers holds the build up for ever.
    let mut build = listener.accept().unwrap().0;
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    let next = world.json_lines(0, ["setup", "--rootfs", &rootfs]);
    assert_eq!(next.last().unwrap()["agents"].as_array().unwrap().len(), 0);
    // The builder's step ends with the call: its connection is closed when everything was read.
    let mut request = String::new();
    build.read_to_string(&mut request).unwrap();
    assert!(request.starts_with("GET /@anthropic-ai/claude-code-linux-"), "{request}");
}

#[test]
fn an_agent_is_installed_starts_and_is_found_again() {
    let (mut world, rootfs) = world(Who::Me);
    // The way to the registry is the tests' own.
    for name in ["SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY", "NPM_CONFIG_REGISTRY"] {
        if let Some(value) = std::env::var_os(name) {
            world.set(name, value);
        }
    }
    let lines = world.json_lines(0, ["setup", "--rootfs", &rootfs, "--agent", "codex"]);
    let result = lines.last().unwrap();
    let agent = &result["agents"][0];
    let said = format!("codex-cli {}", agent["version"].as_str().unwrap());
    assert_eq!((&agent["name"], &agent["said"]), (&"codex".into(), &said.into()), "{result:#}");
    assert!(agent["program"].as_str().unwrap().starts_with("/opt/agents/codex/"));
    assert!(kinds(&lines, "line") > 5);
    // Without a choice it is the same again, and nothing is fetched.
    let again = world.json_lines(0, ["setup"]);
    assert_eq!((again.last().unwrap(), kinds(&again, "kept")), (result, 2));
    // What was used to reach the registry is in no layer.
    let text = std::fs::read_to_string(world.ftl_home().join("image.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["agents"][0]["name"], "codex");
    let history = history(record["image"].as_str().unwrap());
    assert!(!history.contains("ftl-reach") && history.contains("/opt/agents/codex"), "{history}");
}

/// The engine's own words about how an image was made.
fn history(image: &str) -> String {
    let socket: PathBuf = Private::shared().socket();
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let request = format!("GET /v1.41/images/{image}/history HTTP/1.0\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
