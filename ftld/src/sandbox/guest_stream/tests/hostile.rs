//! A guest that does not keep the rules is cut off, and costs no more than its credit.

use ftl_guest::protocol::Exit;
use ftl_guest::stream::{Frame, MAX_PAYLOAD, MAX_REPLY, WINDOW};
use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;

fn inside() -> Inside {
    Inside {
        pid: 1,
        pid_namespace: 4_026_532_000,
        uid: 1,
        gid: 1,
        groups: Vec::new(),
        capabilities: 0,
        no_new_privileges: true,
        filtered_before: true,
        landlock: 0,
        root_is_read_only: true,
        interfaces: Vec::new(),
        seen: Vec::new(),
        open: Vec::new(),
        can_work: true,
        has_bash: true,
    }
}

async fn say(stream: &mut DuplexStream, replies: &[Reply]) {
    let mut bytes = Vec::new();
    replies.iter().for_each(|reply| reply.encode(&mut bytes));
    // The daemon may have given up in the middle.
    let _ = stream.write_all(&bytes).await;
}

async fn opened() -> (Guest, DuplexStream) {
    let (here, mut stream) = tokio::io::duplex(1 << 20);
    say(&mut stream, &[Reply::Ready(Box::new(inside()))]).await;
    let (reader, writer) = tokio::io::split(here);
    (open(reader, writer, SETUP).await.unwrap().0, stream)
}

/// A guest of which one program was asked, that began.
async fn running() -> (Guest, DuplexStream, Process, watch::Sender<Option<Ending>>) {
    let (guest, mut stream) = opened().await;
    let ended = watch::Sender::new(None);
    let spawning = guest.spawn(script("x"), &[], ended.subscribe());
    let answering = say(&mut stream, &[Reply::Spawned { id: 1, pid: 9 }]);
    // A frame that arrives before the question would be a fault, so the question goes first.
    let asked = async {
        while guest.shared.known() == 0 {
            tokio::task::yield_now().await;
        }
        answering.await;
    };
    let (process, ()) = tokio::join!(spawning, asked);
    (guest, stream, process.unwrap(), ended)
}

#[tokio::test]
async fn what_breaks_a_rule_ends_the_stream() {
    let output = |bytes: usize| Reply::Output { id: 1, channel: Channel::Output, bytes: vec![0; bytes] };
    let end = |channel| Reply::OutputEnd { id: 1, channel };
    let exited = || Reply::Exited { id: 1, status: Exit::Code(0) };
    let too_much = vec![output(MAX_PAYLOAD); WINDOW / MAX_PAYLOAD + 1];
    for replies in [
        vec![Reply::Ready(Box::new(inside()))],
        vec![Reply::Spawned { id: 1, pid: 2 }],
        vec![Reply::Spawned { id: 2, pid: 2 }],
        vec![Reply::NotSpawned { id: 1, stage: "exec".to_owned(), errno: 2 }],
        vec![Reply::Exited { id: 2, status: Exit::Code(0) }],
        vec![exited(), exited()],
        vec![end(Channel::Output), end(Channel::Output)],
        vec![end(Channel::Output), output(1)],
        vec![Reply::Taken { id: 1, bytes: 1 }],
        vec![Reply::Taken { id: 1, bytes: u32::MAX }],
        vec![Reply::InputGone { id: u64::MAX }],
        too_much,
    ] {
        let (guest, mut stream, process, ended) = running().await;
        say(&mut stream, &replies).await;
        guest.gone().await;
        ended.send_replace(Some(Ending::Lost));
        // The first of two ends counts.
        if replies != [exited(), exited()] {
            assert!(process.exit.await.is_err(), "{replies:?}");
        }
    }
}

#[tokio::test]
async fn what_keeps_the_rules_goes_on() {
    let (guest, mut stream, mut process, _ended) = running().await;
    let bytes = vec![7; MAX_PAYLOAD];
    let full = vec![Reply::Output { id: 1, channel: Channel::Errors, bytes }; WINDOW / MAX_PAYLOAD];
    say(&mut stream, &full).await;
    say(&mut stream, &[Reply::InputGone { id: 1 }, Reply::Exited { id: 1, status: Exit::Signal(9) }]).await;
    assert_eq!(process.exit.await.unwrap(), ExitStatus::Signal(9));
    assert!(process.stdin.write_all(b"x").await.is_err());
    let mut all = vec![0; WINDOW];
    process.stderr.take().unwrap().read_exact(&mut all).await.unwrap();
    drop((process.stdin, process.stdout, process.control));
    assert_eq!(guest.shared.known(), 0, "it is forgotten");
    // What was on its way is not held against it.
    let late = Reply::Output { id: 1, channel: Channel::Output, bytes: vec![1] };
    say(&mut stream, &[late, Reply::Taken { id: 1, bytes: 1 }]).await;
    drop(stream);
    guest.gone().await;
}

#[tokio::test]
async fn what_is_no_guest_is_no_guest() {
    let mut too_long = vec![0; 8];
    too_long.push(0);
    too_long.extend((MAX_REPLY as u32 + 1).to_le_bytes());
    for said in [&b"exec /.ftl/guest: no such file or directory\n"[..], &too_long, b""] {
        let (here, mut stream) = tokio::io::duplex(1 << 16);
        stream.write_all(said).await.unwrap();
        stream.shutdown().await.unwrap();
        let (reader, writer) = tokio::io::split(here);
        let opened = open(reader, writer, SETUP).await.map(|_| ());
        assert!(matches!(opened, Err(OpenError::Stream(_))), "{opened:?}");
    }
}

#[tokio::test]
async fn one_that_reads_nothing_holds_up_no_end() {
    let (guest, stream, mut process, ended) = running().await;
    let writing = tokio::spawn(async move { while process.stdin.write_all(&[0; 4096]).await.is_ok() {} });
    for _ in 0..20_000 {
        process.control.resize(Size { rows: 1, columns: 1 }).unwrap();
        if guest.shared.known() == 0 {
            break;
        }
    }
    guest.close();
    ended.send_replace(Some(Ending::Killed));
    writing.await.unwrap();
    guest.gone().await;
    drop(stream);
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0u8..11) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (guest, mut stream, process, _ended) = running().await;
            let mut framed = 1_u64.to_le_bytes().to_vec();
            framed.push(kind);
            framed.extend((bytes.len() as u32).to_le_bytes());
            framed.extend(&bytes);
            let _ = stream.write_all(&framed).await;
            let _ = stream.write_all(&bytes).await;
            drop(stream);
            guest.gone().await;
            drop(process);
        });
    }
}
