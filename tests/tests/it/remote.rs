//! Snapshots in a bucket: a real daemon against a server that plays S3.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use ftl_tests::server::Server;
use ftl_tests::world::{Who, World, said};
use serde_json::{Value, json};

use super::egress_clients::aws;

/// A secret key that must be nowhere but in the daemon's memory.
const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYq9";

/// What a request to moto without a real signature gives: status and body.
fn raw(moto: &Server, method: &str, path: &str, body: &[u8]) -> (String, Vec<u8>) {
    let url = format!("http://{}/{path}", moto.address());
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "--noproxy",
        "*",
        "-g",
        "-X",
        method,
        "-w",
        "%{http_code}",
        "--data-binary",
        "@-",
        &url,
    ]);
    curl.args(["-H", "content-type: application/octet-stream"]);
    // It hands no object to whoever says nothing, and looks at no signature.
    curl.args(["-H", "authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"]);
    let mut curl = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    curl.stdin.take().unwrap().write_all(body).unwrap();
    let mut out = curl.wait_with_output().unwrap().stdout;
    let status = String::from_utf8(out.split_off(out.len() - 3)).unwrap();
    (status, out)
}

/// The keys of the bucket.
fn keys(moto: &Server) -> Vec<String> {
    let (status, listing) = raw(moto, "GET", "one?list-type=2&max-keys=1000", b"");
    assert_eq!(status, "200");
    let listing = String::from_utf8(listing).unwrap();
    let keys = listing.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
    keys.collect()
}

fn bucket() -> Server {
    let moto = Server::moto();
    assert_eq!(raw(&moto, "PUT", "one", b"").0, "200");
    moto
}

/// A machine that knows the bucket.
fn machine(endpoint: SocketAddr) -> World {
    let mut world = World::new(Who::Me);
    world.set("FTL_S3_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    world.set("FTL_S3_SECRET_ACCESS_KEY", SECRET);
    configure(&world, "s3://one/ftl", endpoint);
    world
}

fn configure(world: &World, url: &str, endpoint: SocketAddr) {
    world.config(&json!({ "remote": { "url": url, "endpoint": format!("http://{endpoint}") } }));
}

fn snapshot(world: &World) -> String {
    world.json(0, ["snapshots", "create"])["snapshot"].as_str().unwrap().to_owned()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name}: {value}"))
}

/// Bytes that no compression makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(next).collect()
}

/// Everything beneath a directory: kind, mode, time, path, target and content.
fn look(dir: &Path) -> String {
    let script = "find . -mindepth 1 -printf '%y %m %T@ %p %l\\n' | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum";
    let out = Command::new("sh").args(["-c", script]).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn a_snapshot_moves_to_another_machine_and_later_ones_send_what_changed() {
    let moto = bucket();
    let one = machine(moto.address());
    let files: Vec<(String, String)> =
        (0..40).map(|n| (format!("src/d{}/f{n}", n % 4), format!("file {n}"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    one.files(&files);
    one.files(&[(".gitignore", "*.log\n"), ("run.sh", "#!/bin/sh\n"), ("empty", ""), ("a.log", "ignored")]);
    let project = one.project();
    fs::set_permissions(project.join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("src/d0", project.join("link")).unwrap();
    fs::write(project.join("large"), noise(20 << 20)).unwrap();
    let first = snapshot(&one);
    assert_eq!(one.json_lines(0, ["snapshots", "list", "--remote"]), Vec::<Value>::new());

    let sent = one.json(0, ["snapshots", "push"]);
    // 40 files, three small ones and a large one; the root, src, and four directories in it.
    assert_eq!((number(&sent, "objects"), number(&sent, "present")), (44 + 6, 0));
    assert!(number(&sent, "bytes") > 20 << 20, "{sent}");
    // And the ignore rules and the reference.
    assert_eq!(keys(&moto).len(), 44 + 6 + 2);
    let again = one.ok(["snapshots", "push", &first[..12]]);
    assert!(again.ends_with("0 objects, 0 B sent, 50 were there\n"), "{again}");

    one.files(&[("src/d0/f0", "changed"), ("src/d0/f4", "changed too"), ("run.sh", "#!/bin/sh\nexit\n")]);
    let second = snapshot(&one);
    let sent = one.json(0, ["snapshots", "push", &second]);
    assert_eq!((number(&sent, "objects"), number(&sent, "present")), (3 + 3, 50 - 6));
    fs::remove_file(project.join("a.log")).unwrap();

    let two = machine(moto.address());
    let there = two.json_lines(0, ["snapshots", "list", "--remote", "--all"]);
    let ids: Vec<&str> = there.iter().map(|row| row["snapshot"].as_str().unwrap()).collect();
    assert_eq!(ids, [second.as_str(), &first]);
    let got = two.json(0, ["snapshots", "pull", &second[..10]]);
    assert_eq!((number(&got, "objects"), number(&got, "present")), (50, 0));
    assert_eq!(number(&two.json(0, ["snapshots", "pull", &first, "--here"]), "objects"), 6);
    let out = two.home().join("out");
    two.ok(["snapshots", "restore", &second, "--to", out.to_str().unwrap()]);
    assert_eq!(look(&out), look(&project));
    let diff = two.ok(["snapshots", "diff", &first, &second, "--stat"]);
    assert!(diff.contains("src/d0/f4") && diff.contains("run.sh"), "{diff}");
    let here = two.json_lines(0, ["snapshots", "list"]);
    assert_eq!((here.len(), &here[0]["snapshot"]), (1, &json!(first)));
    assert!(two.ok(["snapshots", "verify"]).contains("all intact"));
    // A project goes back to what came in, through a review like any other.
    let session = two.json(0, ["snapshots", "restore", &second, "--into-project"]);
    assert_eq!(session["state"], "awaiting_review", "{session}");

    let log = one.ok(["logs", "--all"]);
    assert!(log.contains("push_begun") && two.ok(["logs", "--all"]).contains("pull_begun"), "{log}");
    for world in [&one, &two] {
        let found = Command::new("grep").args(["-rlF", SECRET]).arg(world.ftl_home()).output().unwrap();
        assert!(found.stdout.is_empty(), "{found:?}");
    }
}

/// Passes bytes on to a server until so many came from clients; then tells of it and passes nothing more.
struct Line {
    address: SocketAddr,
    broke: mpsc::Receiver<()>,
}

impl Line {
    fn to(server: SocketAddr, most: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, broke) = mpsc::channel();
        let left = Arc::new(AtomicI64::new(most));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, mut server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                let (mut back, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut back, &mut to_client));
                let (left, tell) = (Arc::clone(&left), tell.clone());
                thread::spawn(move || {
                    let mut bytes = vec![0; 65536];
                    while let Ok(length @ 1..) = client.read(&mut bytes) {
                        if left.fetch_sub(length as i64, Ordering::SeqCst) < length as i64 {
                            // Whoever waits may have heard already.
                            let _heard = tell.send(());
                            loop {
                                thread::park();
                            }
                        }
                        if server.write_all(&bytes[..length]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, broke }
    }
}

#[test]
fn an_upload_that_dies_in_the_middle_leaves_nothing_half_and_is_finished_later() {
    let moto = bucket();
    let line = Line::to(moto.address(), 12 << 20);
    let one = machine(line.address);
    one.files(&[("a", "small")]);
    fs::write(one.project().join("large"), noise(24 << 20)).unwrap();
    let id = snapshot(&one);
    let mut push = one.ftlctl(["snapshots", "push"]);
    let push = push.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    line.broke.recv().unwrap();
    let pid = one.daemon_pid().to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    assert_ne!(said(push.wait_with_output().unwrap()).code, 0);
    // Some of the small objects are there, nothing of the large one, and no reference.
    let left = keys(&moto);
    assert!(left.len() <= 1 && !left.iter().any(|key| key.contains("/snapshots/")), "{left:?}");
    let (_, uploads) = raw(&moto, "GET", "one?uploads", b"");
    assert!(String::from_utf8(uploads).unwrap().contains("<UploadId>"), "the upload was under way");

    configure(&one, "s3://one/ftl", moto.address());
    let sent = one.json(0, ["snapshots", "push", &id]);
    assert_eq!(number(&sent, "objects") + number(&sent, "present"), 3, "{sent}");
    let two = machine(moto.address());
    two.ok(["snapshots", "pull", &id]);
    let out = two.home().join("out");
    two.ok(["snapshots", "restore", &id, "--to", out.to_str().unwrap()]);
    assert_eq!(look(&out), look(&one.project()));
}

#[test]
fn an_object_that_was_changed_or_lost_is_named_and_nothing_wrong_is_restored() {
    let moto = bucket();
    let one = machine(moto.address());
    one.files(&[("a", "content a"), ("d/b", "content b")]);
    let id = snapshot(&one);
    one.ok(["snapshots", "push"]);
    for key in keys(&moto) {
        // What came in before stays, so that each object is asked for by a machine that has none.
        let two = machine(moto.address());
        let (status, whole) = raw(&moto, "GET", &format!("one/{key}"), b"");
        assert_eq!(status, "200");
        let name = key.rsplit('/').next().unwrap();
        let mut wrong = whole.clone();
        *wrong.last_mut().unwrap() ^= 1;
        for bytes in [Some(wrong.as_slice()), Some(b"<html>"), Some(&whole[..whole.len() - 1]), None] {
            let at = format!("one/{key}");
            let status = match bytes {
                Some(bytes) => raw(&moto, "PUT", &at, bytes).0,
                None => raw(&moto, "DELETE", &at, b"").0,
            };
            assert!(status.starts_with('2'), "{status}");
            let said = two.run(["snapshots", "pull", &id]);
            assert_eq!(said.code, 1, "{key}: {said:#?}");
            if key.contains("/snapshots/") {
                assert!(said.err.contains("the bucket has no snapshot"), "{}", said.err);
                continue;
            }
            let what = if bytes.is_some() { "is damaged" } else { "is missing" };
            assert!(said.err.contains(&format!("object {name} {what}")), "{}", said.err);
            assert!(said.err.contains("push --verify"), "{}", said.err);
            let out = two.home().join("out");
            assert_ne!(two.run(["snapshots", "restore", &id, "--to", out.to_str().unwrap()]).code, 0);
            assert!(!out.exists());
        }
        if key.contains("/snapshots/") {
            one.ok(["snapshots", "push"]);
        } else {
            // What is missing comes back when everything is looked for.
            assert!(number(&one.json(0, ["snapshots", "push", "--verify"]), "objects") <= 1);
        }
    }
    let two = machine(moto.address());
    two.ok(["snapshots", "pull", &id]);
    assert!(two.ok(["snapshots", "verify"]).contains("all intact"));
}

#[test]
fn what_is_wrong_with_the_bucket_or_the_key_is_said_with_what_to_do() {
    let moto = bucket();
    let one = World::new(Who::Me);
    one.files(&[("a", "content a")]);
    snapshot(&one);
    let refused = |world: &World, code: i32, texts: &[&str]| {
        let said = world.run(["snapshots", "push"]);
        assert_eq!(said.code, code, "{said:#?}");
        for text in texts {
            assert!(said.err.contains(text), "{text}: {}", said.err);
        }
    };
    refused(&one, 3, &["no bucket is configured", "remote"]);
    configure(&one, "s3://one", moto.address());
    refused(&one, 3, &["no key pair", "secret set --global FTL_S3_ACCESS_KEY_ID"]);

    aws(&moto, &["iam", "create-user", "--user-name", "dev"]);
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let put =
        ["iam", "put-user-policy", "--user-name", "dev", "--policy-name", "all", "--policy-document", policy];
    aws(&moto, &put);
    let key = aws(&moto, &["iam", "create-access-key", "--user-name", "dev"]);
    let part = |name: &str| key["AccessKey"][name].as_str().unwrap().to_owned();
    // From now on it checks every signature.
    let url = format!("http://{}/moto-api/reset-auth", moto.address());
    let reset = ["-sS", "--fail", "--noproxy", "*", "-H", "content-type: text/plain", "-d", "0", &url];
    assert!(Command::new("curl").args(reset).status().unwrap().success());
    let keep = |world: &World, name: &str, value: &str| {
        let mut set =
            world.ftlctl(["secret", "set", "--global", name]).stdin(Stdio::piped()).spawn().unwrap();
        set.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        assert!(set.wait().unwrap().success());
    };
    keep(&one, "FTL_S3_ACCESS_KEY_ID", &part("AccessKeyId"));
    refused(&one, 3, &["FTL_S3_SECRET_ACCESS_KEY has no value"]);
    keep(&one, "FTL_S3_SECRET_ACCESS_KEY", SECRET);
    refused(&one, 1, &["the service answers 403 (SignatureDoesNotMatch)", "secret set --global"]);
    keep(&one, "FTL_S3_SECRET_ACCESS_KEY", &part("SecretAccessKey"));
    configure(&one, "s3://other", moto.address());
    refused(&one, 1, &["NoSuchBucket", "make the bucket"]);
    configure(&one, "s3://one", moto.address());
    one.ok(["snapshots", "push"]);
    assert_eq!(one.json_lines(0, ["snapshots", "list", "--remote"]).len(), 1);

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    configure(&one, "s3://one", nobody);
    refused(&one, 1, &["cannot connect to 127.0.0.1:", "remote.endpoint"]);
    // A project cannot name a bucket.
    one.files(&[(".ftlconfig", r#"{"remote": {"url": "s3://evil"}}"#)]);
    refused(&one, 1, &["cannot connect"]);
}
