//! The daemon's half against a relay that is played here, honestly or not.

use ftl_guest::relay::{FIRST_CREDIT, LONGEST_QUESTION, MOST_CONNECTIONS, WINDOW};
use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;

/// The relay's end of a stream.
struct Relay {
    stream: DuplexStream,
    decoder: Decoder,
}

impl Relay {
    async fn send(&mut self, frames: &[Frame]) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        // The daemon may have given up in the middle.
        let _ = self.stream.write_all(&bytes).await;
    }

    /// The next frame of the daemon's; `None` at the end.
    async fn hear(&mut self) -> Option<Frame> {
        next(&mut self.stream, &mut self.decoder).await.ok()
    }
}

async fn opened() -> (Pipe, Relay) {
    let (here, stream) = tokio::io::duplex(1 << 20);
    let mut relay = Relay { stream, decoder: Decoder::default() };
    relay.send(&[Frame::Hello { redirected: true }]).await;
    let (reader, writer) = tokio::io::split(here);
    (open(reader, writer).await.unwrap(), relay)
}

fn origin() -> Option<SocketAddrV4> {
    Some("198.18.0.2:443".parse().unwrap())
}

fn data(id: u32, bytes: &[u8]) -> Frame {
    Frame::Data { id, bytes: bytes.into() }
}

fn welcomed(id: u32) -> Option<Frame> {
    Some(Frame::Window { id, bytes: (WINDOW - FIRST_CREDIT) as u32 })
}

/// Whether a pipe is closed after these frames.
async fn closes(frames: &[Frame]) -> bool {
    let (mut pipe, mut relay) = opened().await;
    relay.send(frames).await;
    // The daemon's end of the stream is closed only when it has given up, or nobody uses it.
    let mut arrived = Vec::new();
    relay.send(&[Frame::Open { id: u32::MAX, origin: None }]).await;
    loop {
        match pipe.proxy.accept().await {
            Err(_) => return true,
            Ok(connection) => arrived.push(connection),
        }
        if relay.hear().await == welcomed(u32::MAX) {
            return false;
        }
    }
}

#[tokio::test]
async fn a_connection_has_its_bytes_and_ends_both_ways() {
    let (mut pipe, mut relay) = opened().await;
    relay.send(&[Frame::Open { id: 1, origin: origin() }, data(1, b"hello"), Frame::End { id: 1 }]).await;
    let mut arrived = pipe.transparent.as_mut().unwrap().accept().await.unwrap();
    assert_eq!(arrived.origin, origin());
    assert_eq!(relay.hear().await, welcomed(1));
    let mut said = String::new();
    arrived.stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "hello");
    arrived.stream.write_all(b"answer").await.unwrap();
    arrived.stream.shutdown().await.unwrap();
    assert!(arrived.stream.write_all(b"x").await.is_err());
    assert_eq!(relay.hear().await, Some(data(1, b"answer")));
    assert_eq!(relay.hear().await, Some(Frame::End { id: 1 }));
    drop(arrived);

    // It was over; the next one is not when it is dropped.
    relay.send(&[Frame::Open { id: 2, origin: None }]).await;
    let arrived = pipe.proxy.accept().await.unwrap();
    assert_eq!((arrived.origin, relay.hear().await), (None, welcomed(2)));
    drop(arrived);
    assert_eq!(relay.hear().await, Some(Frame::Reset { id: 2 }));
    // What is still said of it changes nothing.
    relay
        .send(&[data(2, b"late"), Frame::Window { id: 2, bytes: 9 }, Frame::Open { id: 3, origin: None }])
        .await;
    assert!(pipe.proxy.accept().await.is_ok());
}

#[tokio::test]
async fn credit_limits_both_ways_and_is_given_back() {
    let (mut pipe, mut relay) = opened().await;
    relay.send(&[Frame::Open { id: 1, origin: None }]).await;
    let mut arrived = pipe.proxy.accept().await.unwrap();
    assert_eq!(relay.hear().await, welcomed(1));
    let writing = tokio::spawn(async move {
        arrived.stream.write_all(&vec![7; WINDOW + 1]).await.unwrap();
        arrived
    });
    let mut got = 0;
    while got < WINDOW {
        match relay.hear().await {
            Some(Frame::Data { id: 1, bytes }) => got += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, WINDOW);
    relay.send(&[Frame::Window { id: 1, bytes: 1 }]).await;
    assert_eq!(relay.hear().await, Some(data(1, &[7])));
    let mut arrived = writing.await.unwrap();

    let piece = vec![8; MAX_PAYLOAD];
    let frames = vec![data(1, &piece); WINDOW / MAX_PAYLOAD];
    relay.send(&frames).await;
    let mut half = vec![0; WINDOW / 2];
    arrived.stream.read_exact(&mut half).await.unwrap();
    let Some(Frame::Window { id: 1, bytes }) = relay.hear().await else { panic!() };
    assert!(bytes as usize >= WINDOW / 2);
    relay.send(&[Frame::Reset { id: 1 }]).await;
    arrived.stream.read_exact(&mut half).await.unwrap();
    let error = arrived.stream.read(&mut half).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(arrived.stream.write_all(b"x").await.is_err());
}

#[tokio::test]
async fn a_relay_that_breaks_a_rule_is_cut_off() {
    let open = |id| Frame::Open { id, origin: None };
    assert!(!closes(&[open(1)]).await);
    let most: Vec<Frame> = (1..MOST_CONNECTIONS as u32).map(open).collect();
    assert!(!closes(&most).await);
    let more: Vec<Frame> = (1..=MOST_CONNECTIONS as u32).map(open).collect();
    assert!(closes(&more).await);
    let piece = vec![0; FIRST_CREDIT];
    for rules in [
        vec![open(1), open(1)],
        vec![open(2), open(1)],
        vec![data(1, b"x")],
        vec![open(1), Frame::End { id: 1 }, data(1, b"x")],
        vec![open(1), Frame::End { id: 1 }, Frame::End { id: 1 }],
        vec![open(1), Frame::Window { id: 1, bytes: 1 }],
        vec![open(1), Frame::Window { id: 1, bytes: u32::MAX }],
        vec![Frame::Hello { redirected: true }],
        vec![Frame::Answer { id: 1, message: Vec::new() }],
    ] {
        assert!(closes(&rules).await, "{rules:?}");
    }
    // More than it may before anybody has taken the connection.
    let (mut pipe, mut relay) = opened().await;
    relay.send(&[open(1), data(1, &piece), data(1, b"x")]).await;
    assert_eq!(relay.hear().await, None);
    let mut arrived = pipe.proxy.accept().await.unwrap();
    assert!(pipe.proxy.accept().await.is_err());
    assert!(pipe.names.next().await.is_err());
    assert!(arrived.stream.read_to_end(&mut Vec::new()).await.is_err());
}

#[tokio::test]
async fn every_question_is_answered_once_whatever_becomes_of_it() {
    let (mut pipe, mut relay) = opened().await;
    let query = |id| Frame::Query { id, message: vec![id as u8; 3] };
    relay.send(&[query(1), query(2)]).await;
    let first = pipe.names.next().await.unwrap();
    assert_eq!(first.message, [1, 1, 1]);
    drop(pipe.names.next().await.unwrap());
    assert_eq!(relay.hear().await, Some(Frame::Answer { id: 2, message: Vec::new() }));
    (first.answer)(b"yes".to_vec());
    assert_eq!(relay.hear().await, Some(Frame::Answer { id: 1, message: b"yes".to_vec() }));
    let too_many: Vec<Frame> = (3..4 + MOST_QUESTIONS as u32).map(query).collect();
    relay.send(&too_many).await;
    let id = 3 + MOST_QUESTIONS as u32;
    assert_eq!(relay.hear().await, Some(Frame::Answer { id, message: Vec::new() }));
    drop(pipe.names);
    for _ in 0..MOST_QUESTIONS {
        assert!(matches!(relay.hear().await, Some(Frame::Answer { message, .. }) if message.is_empty()));
    }
    let longest = Frame::Query { id: 1, message: vec![0; LONGEST_QUESTION] };
    relay.send(&[longest]).await;
    assert_eq!(relay.hear().await, Some(Frame::Answer { id: 1, message: Vec::new() }));
}

#[tokio::test]
async fn a_door_that_is_closed_resets_what_comes_and_the_last_user_ends_the_stream() {
    let (pipe, mut relay) = opened().await;
    relay.send(&[Frame::Open { id: 1, origin: None }]).await;
    let Pipe { mut proxy, transparent, names } = pipe;
    let mut kept = proxy.accept().await.unwrap();
    assert_eq!(relay.hear().await, welcomed(1));
    drop((proxy, transparent));
    relay.send(&[Frame::Open { id: 2, origin: None }, Frame::Open { id: 3, origin: origin() }]).await;
    assert_eq!(relay.hear().await, Some(Frame::Reset { id: 2 }));
    assert_eq!(relay.hear().await, Some(Frame::Reset { id: 3 }));
    drop(names);
    kept.stream.write_all(b"last").await.unwrap();
    drop(kept);
    assert_eq!(relay.hear().await, Some(data(1, b"last")));
    assert_eq!(relay.hear().await, Some(Frame::Reset { id: 1 }));
    assert_eq!(relay.hear().await, None);
}

#[tokio::test]
async fn a_stream_that_ends_ends_everything_on_it() {
    let (mut pipe, mut relay) = opened().await;
    relay.send(&[Frame::Open { id: 1, origin: None }, data(1, b"cut")]).await;
    let mut arrived = pipe.proxy.accept().await.unwrap();
    drop(relay);
    let mut said = Vec::new();
    assert!(arrived.stream.read_to_end(&mut said).await.is_err());
    assert_eq!(said, b"cut");
    assert!(pipe.proxy.accept().await.is_err());
    for first in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 9]] {
        let (here, mut there) = tokio::io::duplex(64);
        there.write_all(first).await.unwrap();
        drop(there);
        let (reader, writer) = tokio::io::split(here);
        assert!(open(reader, writer).await.is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(0u8..9, 0..3000)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut pipe, mut relay) = opened().await;
            let _ = relay.stream.write_all(&bytes).await;
            drop(relay);
            let mut said = Vec::new();
            while let Ok(mut arrived) = pipe.proxy.accept().await {
                let _ = arrived.stream.read_to_end(&mut said).await;
            }
            while let Ok(question) = pipe.names.next().await {
                (question.answer)(question.message);
            }
            assert!(said.len() <= bytes.len());
        });
    }
}
