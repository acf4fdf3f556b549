//! `ftlctl setup`: an image for the docker sandbox, on a real engine.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use ftl_tests::engine::{self, Engine as Private};
use ftl_tests::world::{Who, World};
use ftld::sandbox::docker::endpoint::Surroundings;
use ftld::sandbox::docker::engine::{Engine, Patience};
use ftld::sandbox::docker::images::{Build, Context};
use ftld::sandbox::docker::setup::SetupError;
use ftld::sandbox::docker::setup::guest_layer::{guest_hash, with_guest};
use sha2::Digest as _;

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
        assert!(
            shown.contains(&format!("[4/4] do the agents start?\nready: ftl-{}/agents:", instance(&world))),
            "{shown}"
        );
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
    let build =
        Build { context: Context::Bytes(packed.stdout.into()), tag: tag.to_owned(), ..Default::default() };
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
fn a_registry_that_gives_other_bytes_stops_the_setup() {
    let (mut world, rootfs) = world(Who::Me);
    let (address, asked) = registry(b"not the package");
    world.set("NPM_CONFIG_REGISTRY", address);
    let lines = world.json_lines(1, ["setup", "--rootfs", &rootfs, "--agent", "codex"]);
    let failed = &lines.last().unwrap()["error"];
    assert_eq!(failed["code"], "fetch", "{lines:#?}");
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.contains("is not the package of codex") && message.contains("was not unpacked"),
        "{failed:#}"
    );
    assert!(failed["hint"].as_str().unwrap().contains("NPM_CONFIG_REGISTRY"), "{failed:#}");
    assert!(!world.ftl_home().join("setup").exists());
    assert!(asked.recv().unwrap().starts_with("GET /@openai/codex/-/codex-"));
    assert!(!world.ftl_home().join("image.json").exists());
}

#[test]
fn a_setup_whose_client_goes_away_ends_and_lets_the_next_one_in() {
    let (mut world, rootfs) = world(Who::Me);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    world.set("NPM_CONFIG_REGISTRY", format!("http://{}", listener.local_addr().unwrap()));
    let mut waiting = world.ftlctl(["setup", "--rootfs", &rootfs, "--agent", "claude-code"]).spawn().unwrap();
    // A registry that never answers holds the setup up for ever.
    let mut fetching = listener.accept().unwrap().0;
    let mut method = [0; 4];
    fetching.read_exact(&mut method).unwrap();
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    let next = world.json_lines(0, ["setup", "--rootfs", &rootfs]);
    assert_eq!(next.last().unwrap()["agents"].as_array().unwrap().len(), 0);
    // What is fetched ends with the call: its connection is closed when everything was read.
    let mut request = String::new();
    fetching.read_to_string(&mut request).unwrap();
    assert_eq!(&method, b"GET ");
    assert!(request.starts_with("/@anthropic-ai/claude-code-linux-"), "{request}");
}

/// A root file system with one file and no program.
fn bare(world: &World, content: &str) -> String {
    let (dir, archive) = (world.root().join("bare"), world.root().join("bare.tar"));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("file"), content).unwrap();
    let packed =
        std::process::Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&dir).arg(".").status();
    assert!(packed.unwrap().success());
    archive.display().to_string()
}

fn instance(world: &World) -> String {
    let hash = ftl_core::id::Hash::of(std::os::unix::ffi::OsStrExt::as_bytes(world.ftl_home().as_os_str()));
    hash.to_hex()[..12].to_owned()
}

#[test]
fn an_agent_is_installed_without_any_program_of_the_root_file_system() {
    let (mut world, _) = world(Who::Me);
    // The way to the registry is the tests' own.
    for name in ["SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY", "NPM_CONFIG_REGISTRY"] {
        if let Some(value) = std::env::var_os(name) {
            world.set(name, value);
        }
    }
    // There is no shell in it, no curl and no tar: whatever ran while it is built would be none of its own.
    let lines = world.json_lines(0, ["setup", "--rootfs", &bare(&world, "1"), "--agent", "codex"]);
    let result = lines.last().unwrap();
    let agent = &result["agents"][0];
    let said = format!("codex-cli {}", agent["version"].as_str().unwrap());
    assert_eq!((&agent["name"], &agent["said"]), (&"codex".into(), &said.into()), "{result:#}");
    assert!(agent["program"].as_str().unwrap().starts_with("/opt/agents/codex/"));
    assert!(kinds(&lines, "line") > 5 && kinds(&lines, "sent") > 5);
    assert!(!world.ftl_home().join("setup").exists(), "what was fetched is gone");
    // Without a choice it is the same again, and nothing is fetched.
    let again = world.json_lines(0, ["setup"]);
    assert_eq!((again.last().unwrap(), kinds(&again, "kept")), (result, 2));
    let text = std::fs::read_to_string(world.ftl_home().join("image.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["agents"][0]["name"], "codex");
    let history = history(record["image"].as_str().unwrap());
    assert!(!history.contains("RUN") && history.contains("/opt/agents/codex"), "{history}");
}

#[test]
fn two_daemons_of_one_engine_do_not_take_each_others_images() {
    let ((one, _), (other, _)) = (world(Who::Me), world(Who::Me));
    let archive = bare(&one, "the same in both");
    let first = one.json_lines(0, ["setup", "--rootfs", &archive]).pop().unwrap();
    let second = other.json_lines(0, ["setup", "--rootfs", &archive]).pop().unwrap();
    assert_ne!(first["tag"], second["tag"]);
    let has = |tag: &serde_json::Value| {
        let names = format!("reference={}", tag.as_str().unwrap());
        let docker = std::process::Command::new("docker")
            .args(["-H", &Private::shared().host(), "images", "-q", "--filter", &names])
            .output()
            .unwrap();
        !docker.stdout.is_empty()
    };
    assert!(has(&first["tag"]) && has(&second["tag"]));
    // One goes over to something else: its own are removed, with the helper's layer.
    let next = one.json_lines(0, ["setup", "--rootfs", &bare(&one, "another")]).pop().unwrap();
    assert!(has(&next["tag"]) && !has(&first["tag"]) && has(&second["tag"]));
    let left = std::process::Command::new("docker")
        .args(["-H", &Private::shared().host(), "images", "--format", "{{.Repository}}"])
        .output()
        .unwrap();
    let left = String::from_utf8(left.stdout).unwrap();
    let mut mine: Vec<&str> = left.lines().filter(|name| name.contains(&instance(&one))).collect();
    mine.sort_unstable();
    let expected = ["agents", "rootfs", "sandbox"].map(|what| format!("ftl-{}/{what}", instance(&one)));
    assert_eq!(mine, expected);
    let again = other.json_lines(0, ["setup"]);
    assert_eq!((again.last().unwrap(), kinds(&again, "kept")), (&second, 2), "{again:#?}");
}

/// A registry of one image, which has one file; gives the image's name.
fn registry_of_an_image() -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let packed = std::process::Command::new("tar").arg("-C").arg(dir.path()).args(["-c", "file"]).output();
    let layer = packed.unwrap().stdout;
    let digest = |bytes: &[u8]| {
        let hash: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hash}")
    };
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    })
    .to_string();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": { "mediaType": "application/vnd.docker.container.image.v1+json",
                    "size": config.len(), "digest": digest(config.as_bytes()) },
        "layers": [{ "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                     "size": layer.len(), "digest": digest(&layer) }],
    })
    .to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/base@{}", listener.local_addr().unwrap(), digest(manifest.as_bytes()));
    let blobs = [manifest.into_bytes(), config.into_bytes(), layer];
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = vec![0; 16384];
            let length = stream.read(&mut request).unwrap();
            let head = String::from_utf8_lossy(&request[..length]).into_owned();
            let found =
                blobs.iter().find(|blob| head.lines().next().unwrap_or_default().contains(&digest(blob)));
            let (status, body) = match found {
                Some(blob) => ("200 OK", blob.as_slice()),
                None if head.starts_with("GET /v2/ ") => ("200 OK", &b"{}"[..]),
                None => ("404 Not Found", &b""[..]),
            };
            let kind = if body.starts_with(b"{\"config\":{\"digest")
                || body.windows(13).any(|at| at == b"schemaVersion")
            {
                "application/vnd.docker.distribution.manifest.v2+json"
            } else {
                "application/octet-stream"
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nDocker-Content-Digest: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                digest(body),
                body.len()
            );
            let body = if head.starts_with("HEAD") { &b""[..] } else { body };
            let _gone = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    name
}

#[tokio::test]
async fn an_image_that_is_named_by_its_digest_is_fetched() {
    let engine = real().await;
    let name = registry_of_an_image();
    assert!(engine.image(&name).await.unwrap().is_none());
    let mut lines = Vec::new();
    let id = engine.pull(&name, &mut |line| lines.push(line.to_owned())).await.unwrap();
    assert_eq!(engine.image(&name).await.unwrap().unwrap().id, Some(id));
    assert!(lines.iter().any(|line| line.contains("Pull complete")), "{lines:#?}");
    engine.remove_image(&name).await.unwrap();
    let error = engine.pull("127.0.0.1:9/base:1", &mut |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn without_a_registry_the_usual_base_says_what_to_do_instead() {
    let nowhere = "http://127.0.0.1:9";
    let engine = Private::start_with("offline", &[("HTTPS_PROXY", nowhere), ("HTTP_PROXY", nowhere)]);
    let mut world = World::new(Who::Me);
    world.set("DOCKER_HOST", engine.host());
    let failed = world.json_lines(1, ["setup", "--usual-base"]).pop().unwrap()["error"].clone();
    assert_eq!(failed["code"], "fetch", "{failed:#}");
    assert!(failed["message"].as_str().unwrap().contains("cannot fetch the base image"), "{failed:#}");
    assert!(failed["hint"].as_str().unwrap().contains("--rootfs TAR"), "{failed:#}");
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
