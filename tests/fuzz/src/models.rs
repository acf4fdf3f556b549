//! What models' services send, and what is said to models.
//!
//! Owns what must hold for them. Must not know connections.

use std::collections::BTreeSet;

use ftl_core::hunk::{Limits, hunks};
use ftl_core::llm::{Api, Decoder, Event, StreamError};
use ftl_core::opinion::{self, File, Material};
use ftl_core::tester;
use ftl_core::tree::RelPath;

use crate::pieces::{cut, first};

/// Cuts make no difference, nothing comes after the end or an error, and nothing is made up.
pub(crate) fn replies(input: &[u8]) {
    let (control, rest) = first(input);
    let (bytes, pieces) = cut(rest);
    let api = [Api::Anthropic, Api::Chat, Api::Bedrock][usize::from(control % 3)];
    let (whole, ended) = read(api, &[bytes]);
    assert_eq!((&whole, &ended), (&read(api, &pieces).0, &read(api, &pieces).1));
    let ends = whole.iter().filter(|event| matches!(event, Event::End(_))).count();
    assert_eq!(ends, usize::from(ended.is_ok()), "{whole:?}");
    assert!(ended.is_err() || matches!(whole.last(), Some(Event::End(_))));
    let mut told = 0;
    for event in &whole {
        match event {
            Event::Text(text) => {
                assert!(!text.is_empty());
                told += text.len();
            }
            Event::ToolCall(call) => {
                assert!(call.input.is_object() && !call.name.is_empty());
                told += call.name.len() + call.id.len();
            }
            Event::Again { .. } => panic!("only a connection is opened again"),
            Event::Usage(_) | Event::End(_) => {}
        }
    }
    assert!(told <= 4 * bytes.len(), "{told} bytes of {}", bytes.len());
    if let Err(StreamError::Said { message, status }) = &ended {
        assert!(message.chars().count() <= 300 && !message.contains(char::is_control));
        assert!((400..600).contains(status));
    }
    let fault = ftl_core::llm::fault(bytes);
    assert!(fault.chars().count() <= 300 && !fault.contains(char::is_control));
}

fn read(api: Api, pieces: &[&[u8]]) -> (Vec<Event>, Result<(), StreamError>) {
    let (mut decoder, mut events, mut ended) = (Decoder::new(api), Vec::new(), Ok(()));
    for piece in pieces {
        ended = decoder.push(piece, &mut events);
        if ended.is_err() {
            break;
        }
    }
    let ended = ended.and_then(|()| decoder.end(&mut events));
    let told = events.len();
    decoder
        .push(b"data: {\"type\":\"message_stop\"}\n\ndata: [DONE]\n\n", &mut events)
        .expect("nothing is read");
    assert_eq!(events.len(), told, "something was read after the end");
    (events, ended)
}

/// A project that holds what was fuzzed.
struct Sources<'a>(&'a str);

impl tester::trial::Around for Sources<'_> {
    fn paths(&self) -> Vec<String> {
        self.0.lines().map(str::to_owned).collect()
    }

    fn text(&self, _path: &str) -> Option<String> {
        Some(self.0.to_owned())
    }
}

/// A tester's answer is files with plain paths of their own, or none; whatever they hold, what is run names them, and
/// a control run is another one. No text leaves its place in a prompt.
pub(crate) fn tester(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(reply) = tester::reply::read(&text, |path| path.as_bytes() == b"there") {
        assert!(!reply.tests.is_empty() && reply.tests.len() <= tester::reply::MOST_FILES);
        for test in &reply.tests {
            assert!(
                !test.contents.trim().is_empty() && !test.covers.trim().is_empty() && test.path != "there"
            );
            let plain = |c: char| c.is_ascii_alphanumeric() || "_.+/-".contains(c);
            assert!(test.path.chars().all(plain) && !test.path.starts_with('/'));
            assert!(!test.path.split('/').any(|part| part.is_empty() || part.starts_with(['.', '-'])));
            for framework in tester::framework::ALL {
                let trial = tester::Trial { framework, path: &test.path, contents: &test.contents };
                if tester::trial::unfit(&trial).is_some() {
                    continue;
                }
                let plain = tester::control::plain(&trial, &Sources(&text));
                assert_eq!(plain.files, [(test.path.clone(), test.contents.clone())]);
                assert!(!plain.command.contains('\0'));
                let control = tester::control::control(&trial, &Sources(&text), 7);
                assert!(control.files != plain.files && control.files[0].0 == test.path);
            }
        }
    }
    let lines = vec![(1, text.clone().into_owned())];
    let excerpt = tester::prompt::Excerpt { path: text.clone().into_owned(), lines };
    let told = tester::prompt::Told {
        layout: vec![text.clone().into_owned()],
        more: 1,
        interfaces: vec![excerpt.clone()],
        examples: vec![excerpt],
    };
    let prompt = tester::prompt::write(&text, tester::Framework::Cargo, &told, 7);
    let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
    let ours: Vec<&str> = prompt.user.split(ends).filter(|line| !line.starts_with("| ")).collect();
    assert_eq!(ours[..2], ["BEGIN DATA 0000000000000007", "END DATA 0000000000000007"]);
    assert_eq!(ours.len(), 5, "{ours:?}");
}

/// An answer is an opinion about what was shown, or none; and no text leaves its place in a prompt. The first line
/// is a path, the rest stands in a file, in the task, in the question and in the answer.
pub(crate) fn opinions(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (name, rest) = input.split_at(at);
    if let Ok(answer) = std::str::from_utf8(rest)
        && let Ok(opinion) = opinion::read(answer, |path| path == "a")
    {
        assert!(!opinion.summary.trim().is_empty() && opinion.findings.len() <= 100);
        for finding in &opinion.findings {
            assert!(finding.path.as_deref().is_none_or(|path| path == "a"));
            assert!(finding.line != Some(0) && (finding.path.is_some() || finding.line.is_none()));
        }
        assert!(opinion.findings.is_sorted_by_key(|finding| finding.severity));
    }
    let text = String::from_utf8_lossy(rest);
    let mut material = Material::new(1 << 20);
    if let Ok(path) = RelPath::new(name.to_vec()) {
        let (hunks, none) = (hunks(b"", rest, Limits::default()), BTreeSet::new());
        material.add(&File { path: &path, kind: "added", hunks: &hunks, only: None, secret: &none });
    }
    for prompt in [opinion::question(&text, &text, &material, 7), opinion::review(&text, &material, 7)] {
        let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
        let ours = prompt.user.split(ends).filter(|line| !line.starts_with("| ") && !line.starts_with("> "));
        let ours: Vec<&str> = ours.collect();
        assert_eq!(ours[..2], ["BEGIN DATA 0000000000000007", "END DATA 0000000000000007"]);
        assert_eq!(ours.len(), 5, "{ours:?}");
    }
}
