//! Frames pass when they are in order, and a host's without values, however they are cut.

use proptest::prelude::*;

use super::{FrameError, Frames, Side};
use crate::scrub::Scrubber;

const REAL: &str = "sk-real-0123456789";
const SHADOW: &str = "sk-mock-9876543210";

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    super::write(first & 0x0f, first & 0x80 != 0, payload, &mut out);
    out
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = frame(first, payload);
    let head = out.len() - payload.len();
    out[1] |= 0x80;
    out.splice(head..head, [0; 4]);
    out
}

fn pass(frames: &mut Frames, pieces: &[&[u8]]) -> Result<Vec<u8>, FrameError> {
    let mut out = Vec::new();
    for piece in pieces {
        frames.push(piece, &mut out)?;
    }
    Ok(out)
}

fn host() -> Frames {
    Frames::new(Side::Host, Some(Scrubber::new(&[(REAL, SHADOW)])))
}

/// Messages and control frames as `(opcode, payload)`, whatever their fragments.
fn read(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    let mut open: Option<(u8, Vec<u8>)> = None;
    while let [first, second, rest @ ..] = bytes {
        assert!(*second < 128);
        let (length, rest) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            short => (usize::from(*short), rest),
        };
        let (payload, rest) = rest.split_at(length);
        bytes = rest;
        match first & 0x0f {
            0 => open.as_mut().unwrap().1.extend_from_slice(payload),
            opcode @ (1 | 2) => assert!(open.replace((opcode, payload.to_vec())).is_none()),
            opcode => {
                all.push((opcode, payload.to_vec()));
                continue;
            }
        }
        if first & 0x80 != 0 {
            all.push(open.take().unwrap());
        }
    }
    assert!(bytes.is_empty() && open.is_none());
    all
}

#[test]
fn a_value_leaves_every_kind_of_frame() {
    for opcode in [1, 2, 8, 9, 10] {
        let text = format!("\u{3}\u{4}{REAL}!");
        let out = pass(&mut host(), &[&frame(0x80 | opcode, text.as_bytes())]).unwrap();
        assert_eq!(read(&out), [(opcode, format!("\u{3}\u{4}{SHADOW}!").into_bytes())]);
    }
}

#[test]
fn a_value_that_is_split_over_frames_is_found() {
    for at in 0..=REAL.len() {
        let (one, two) = REAL.as_bytes().split_at(at);
        // A ping in between belongs to no message.
        let bytes = [frame(1, one), frame(0x89, b"p"), frame(0, b""), frame(0x80, two)].concat();
        let out = pass(&mut host(), &[&bytes]).unwrap();
        assert_eq!(read(&out), [(9, b"p".to_vec()), (1, SHADOW.into())]);
    }
    let single: Vec<u8> =
        REAL.bytes().enumerate().flat_map(|(at, byte)| frame(u8::from(at == 0), &[byte])).collect();
    let out = pass(&mut host(), &[&single, &frame(0x80, b"")]).unwrap();
    assert_eq!(read(&out), [(1, SHADOW.into())]);
}

#[test]
fn a_frame_goes_on_at_once_and_messages_end_apart() {
    let mut frames = host();
    let whole = frame(0x81, b"sk-real-012");
    assert_eq!(pass(&mut frames, &[&whole]).unwrap(), whole);
    // The rest of a value in another message is another text.
    let whole = frame(0x81, b"3456789");
    assert_eq!(pass(&mut frames, &[&whole]).unwrap(), whole);
    assert!(frames.is_whole());
    // Of a frame that has not ended, all but what may become a value.
    let long = frame(0x82, &[7; 1000]);
    let out = pass(&mut frames, &[&long[..504]]).unwrap();
    assert_eq!(out, frame(2, &[7; 500]));
    assert!(!frames.is_whole());
    assert_eq!(pass(&mut frames, &[&long[504..]]).unwrap(), frame(0x80, &[7; 500]));
}

#[test]
fn control_frames_stay_within_their_limit() {
    let scrubber = Scrubber::new(&[(REAL, "é".repeat(80))]);
    let mut frames = Frames::new(Side::Host, Some(scrubber));
    let out = pass(&mut frames, &[&frame(0x88, format!("\u{3}\u{4}x{REAL}").as_bytes())]).unwrap();
    let [(8, payload)] = &read(&out)[..] else { panic!("a closing frame") };
    assert!(payload.len() <= 125 && std::str::from_utf8(&payload[2..]).is_ok());
}

#[test]
fn what_is_not_in_order_is_refused() {
    use FrameError as E;
    let long = [0x89, 126, 0, 126].to_vec();
    for (bytes, error) in [
        (vec![0xc1], E::Extension),
        (vec![0x91], E::Extension),
        (vec![0x83], E::Opcode),
        (vec![0x8b], E::Opcode),
        (vec![0x81, 0x80], E::Mask),
        (long, E::Control),
        (vec![0x09, 0], E::Control),
        (vec![0x81, 126, 0, 125], E::Length),
        (vec![0x81, 127, 0, 0, 0, 0, 0, 0, 255, 255], E::Length),
        (vec![0x81, 127, 128, 0, 0, 0, 0, 0, 0, 0], E::Length),
        (vec![0x80, 0], E::Order),
        ([frame(1, b"a"), frame(0x81, b"b")].concat(), E::Order),
        ([frame(0x88, b""), frame(0x81, b"b")].concat(), E::AfterClose),
    ] {
        assert_eq!(pass(&mut host(), &[&bytes]), Err(error), "{bytes:?}");
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(pass(&mut host(), &single), Err(error), "{bytes:?}");
    }
    let mut sandbox = Frames::new(Side::Sandbox, None);
    assert_eq!(pass(&mut sandbox, &[&frame(0x81, b"a")]), Err(E::Mask));
}

#[test]
fn what_a_sandbox_sends_goes_on_as_it_came() {
    let bytes = [masked(1, &[1; 70_000]), masked(0x89, b"ping"), masked(0x80, &[2; 300]), masked(0x88, b"")];
    let bytes = bytes.concat();
    for size in [1, 7, bytes.len()] {
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        let mut frames = Frames::new(Side::Sandbox, Some(Scrubber::new(&[(REAL, SHADOW)])));
        assert_eq!(pass(&mut frames, &pieces).unwrap(), bytes);
        assert!(frames.is_whole());
    }
}

proptest! {
    #[test]
    fn no_cut_of_messages_or_reads_brings_a_value_through(
        texts in prop::collection::vec(("[a-z]{0,9}", any::<bool>(), 1_usize..9), 1..6),
        size in 1_usize..40,
    ) {
        let mut bytes = Vec::new();
        let mut wanted = Vec::new();
        for (around, with, cut) in texts {
            let text = if with { format!("{around}{REAL}{around}") } else { around.clone() };
            wanted.push((1, text.replace(REAL, SHADOW).into_bytes()));
            let mut opcode = 1;
            for piece in text.as_bytes().chunks(cut) {
                bytes.extend(frame(opcode, piece));
                opcode = 0;
            }
            bytes.extend(frame(0x80 | opcode, b""));
        }
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        prop_assert_eq!(read(&pass(&mut host(), &pieces).unwrap()), wanted);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_alike_in_pieces(
        bytes in prop::collection::vec(prop_oneof![Just(0x81_u8), Just(0), Just(0x80), any::<u8>()], 0..200),
    ) {
        for side in [Side::Host, Side::Sandbox] {
            let whole = pass(&mut Frames::new(side, None), &[&bytes]).is_ok();
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(pass(&mut Frames::new(side, None), &single).is_ok(), whole);
        }
    }
}
