//! The way out over a stream, without a sandbox.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::super::super::pipe_stream;
use super::super::image::Image;
use super::*;
use crate::pipe::Incoming;

/// Where a name of the tests points to.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 3, 4);

/// Answers every connection with what it sent, up to the end of a line, and gives where they wanted to go.
async fn echo(door: &mut dyn Incoming, count: usize) -> Vec<Option<SocketAddrV4>> {
    let mut origins = Vec::new();
    for _ in 0..count {
        let mut arrived = door.accept().await.unwrap();
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(arrived.stream.read_u8().await.unwrap());
        }
        arrived.stream.write_all(&line).await.unwrap();
        arrived.stream.shutdown().await.unwrap();
        origins.push(arrived.origin);
    }
    origins
}

/// As an engine on another kernel would: the relay alone, in a network namespace that is not ours.
#[tokio::test]
async fn the_relay_works_on_its_own() {
    let root = tempfile::tempdir().unwrap();
    let image = Image::new().unwrap();
    let (go, said) = (root.path().join("go"), root.path().join("said"));
    let inside = "/proc/self/fd/9 relay <&0 & exec 9<&-; read line <\"$0\"; \
                  exec 3<>/dev/tcp/198.18.3.4/8443; echo hello >&3; cat <&3 >\"$1\"; \
                  grep -c '^Cap.*0000000000000000' /proc/$!/status >>\"$1\"";
    // The program is only in memory; a shell keeps it open for those after it.
    let outside =
        "mkfifo \"$1\"; exec 9<\"$0\" unshare --user --map-root-user --net /bin/bash -c \"$3\" \"$1\" \"$2\"";
    let program = image.path().to_string_lossy().replace("self", &std::process::id().to_string());
    let mut relay = tokio::process::Command::new("/bin/bash")
        .args(["-c", outside, &program])
        .args([&go, &said])
        .arg(inside)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (to, from) = (relay.stdin.take().unwrap(), relay.stdout.take().unwrap());
    let pipe = pipe_stream::open(from, to).await.unwrap();
    tokio::fs::write(&go, "\n").await.unwrap();
    let mut transparent = pipe.transparent.unwrap();
    let origins = echo(&mut *transparent, 1).await;
    assert_eq!(origins, [Some(SocketAddrV4::new(ADDRESS, 8443))]);
    assert!(relay.wait().await.unwrap().success());
    // The relay itself goes on, until the stream ends.
    drop((transparent, pipe.proxy, pipe.names));
    assert_eq!(std::fs::read_to_string(&said).unwrap(), "hello\n5\n");
}
