//! Frames arrive as they were sent, however they are cut, and what is none is refused.

use proptest::prelude::*;

use super::*;
use crate::protocol::{Bytes, Stage};

fn bytes(least: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), least..200)
}

fn channel() -> impl Strategy<Value = Channel> {
    prop_oneof![Just(Channel::Output), Just(Channel::Errors)]
}

fn spawn() -> impl Strategy<Value = Spawn> {
    let pairs = proptest::collection::vec((bytes(0), bytes(0)), 0..4);
    let size = proptest::option::of(any::<(u16, u16)>());
    (any::<u64>(), proptest::collection::vec(bytes(0), 0..4), pairs, bytes(0), size).prop_map(
        |(id, argv, env, workdir, size)| Spawn {
            id,
            argv: argv.into_iter().map(Bytes).collect(),
            env: env.into_iter().map(|(name, value)| (Bytes(name), Bytes(value))).collect(),
            workdir: Bytes(workdir),
            terminal: size.map(|(rows, columns)| Size { rows, columns }),
        },
    )
}

fn requests() -> impl Strategy<Value = Request> {
    let limits = Limits { processes: 1, file_size: 2, open_files: 3, shared_memory: 4 };
    prop_oneof![
        any::<u32>().prop_map(move |umask| Request::Setup(Setup { limits, umask })),
        spawn().prop_map(|spawn| Request::Spawn(Box::new(spawn))),
        (any::<u64>(), bytes(1)).prop_map(|(id, bytes)| Request::Input { id, bytes }),
        any::<u64>().prop_map(|id| Request::InputEnd { id }),
        (any::<u64>(), channel(), any::<u32>()).prop_map(|(id, channel, bytes)| Request::Read {
            id,
            channel,
            bytes
        }),
        (any::<u64>(), channel()).prop_map(|(id, channel)| Request::Forget { id, channel }),
        any::<(u64, i32)>().prop_map(|(id, signal)| Request::Signal { id, signal }),
        any::<(u64, u16, u16)>()
            .prop_map(|(id, rows, columns)| Request::Resize { id, size: Size { rows, columns } }),
    ]
}

fn inside(number: u32) -> Inside {
    Inside {
        pid: 1,
        pid_namespace: 4_026_532_000,
        uid: number,
        gid: number,
        groups: vec![number],
        capabilities: number.into(),
        no_new_privileges: true,
        filtered_before: false,
        landlock: number,
        root_is_read_only: true,
        interfaces: vec!["lo".to_owned()],
        seen: vec!["/sys".to_owned()],
        open: Vec::new(),
        can_work: true,
        has_bash: false,
    }
}

fn replies() -> impl Strategy<Value = Reply> {
    prop_oneof![
        any::<u32>().prop_map(|number| Reply::Ready(Box::new(inside(number)))),
        any::<i32>().prop_map(|errno| Reply::Failed(Failure {
            stage: Stage::Limits,
            errno,
            what: "it".to_owned()
        })),
        any::<(u64, i32)>().prop_map(|(id, pid)| Reply::Spawned { id, pid }),
        (any::<u64>(), ".{0,20}", any::<i32>()).prop_map(|(id, stage, errno)| Reply::NotSpawned {
            id,
            stage,
            errno
        }),
        any::<(u64, u32)>().prop_map(|(id, bytes)| Reply::Taken { id, bytes }),
        any::<u64>().prop_map(|id| Reply::InputGone { id }),
        (any::<u64>(), channel(), bytes(1)).prop_map(|(id, channel, bytes)| Reply::Output {
            id,
            channel,
            bytes
        }),
        (any::<u64>(), channel()).prop_map(|(id, channel)| Reply::OutputEnd { id, channel }),
        any::<(u64, i32)>().prop_map(|(id, code)| Reply::Exited { id, status: Exit::Code(code) }),
        any::<(u64, i32)>().prop_map(|(id, signal)| Reply::Exited { id, status: Exit::Signal(signal) }),
    ]
}

fn decode<F: Frame>(pieces: &[&[u8]]) -> Result<Vec<F>, Malformed> {
    let (mut decoder, mut decoded) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        while let Some(frame) = decoder.next_frame()? {
            decoded.push(frame);
        }
    }
    Ok(decoded)
}

fn encode<F: Frame>(frames: &[F]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    bytes
}

proptest! {
    #[test]
    fn frames_arrive_however_they_are_cut(
        asked in proptest::collection::vec(requests(), 0..12),
        said in proptest::collection::vec(replies(), 0..12),
        size in 1usize..100,
    ) {
        let (requests, replies) = (encode(&asked), encode(&said));
        prop_assert_eq!(decode(&requests.chunks(size).collect::<Vec<_>>()), Ok(asked));
        prop_assert_eq!(decode(&replies.chunks(size).collect::<Vec<_>>()), Ok(said));
    }

    #[test]
    fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0u8..11) {
        let framed = {
            let mut framed = Vec::new();
            put(&mut framed, 0, kind, &bytes);
            framed
        };
        for bytes in [&bytes, &framed] {
            let _ = decode::<Reply>(&[bytes]);
            let _ = decode::<Request>(&[bytes]);
        }
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    let long = vec![0; MAX_PAYLOAD + 1];
    for (id, kind, payload) in [
        (1, 0, &b"{}"[..]),
        (0, 0, b"{}"),
        (0, 0, &[0xff; 3]),
        (1, 1, b"{}"),
        (1, 2, &[1, 2, 3]),
        (1, 3, b"[]"),
        (1, 4, &[1]),
        (1, 5, &[1]),
        (1, 6, &[]),
        (1, 7, &long),
        (1, 8, &[0]),
        (1, 8, &[3]),
        (1, 9, &[2, 0, 0, 0, 0]),
        (1, 10, &[]),
    ] {
        let mut bytes = Vec::new();
        put(&mut bytes, id, kind, payload);
        assert_eq!(decode::<Reply>(&[&bytes]), Err(Malformed), "{kind}");
    }
    let spawn = Spawn { id: 7, argv: vec![], env: vec![], workdir: Bytes(vec![]), terminal: None };
    let mut of_another = Vec::new();
    put(&mut of_another, 8, 1, &json(&spawn));
    assert_eq!(decode::<Request>(&[&of_another]), Err(Malformed));
    let mut too_long = vec![0; 8];
    too_long.push(6);
    too_long.extend((MAX_REPLY as u32 + 1).to_le_bytes());
    assert_eq!(decode::<Reply>(&[&too_long]), Err(Malformed), "it is not waited for");
}
