//! The human at the terminal of a session's agent, which stays when the human goes.
//!
//! Owns the two streams of `Exec` for that, and the key that leaves. What comes from the daemon are pictures of the
//! agent's screen; they are shown on the terminal's other screen, so that what stood there before is there again
//! afterwards. Must not know what the agent does or what happens to its work.

use ftl_proto::v1;
use ftl_proto::v1::exec_input::Input as Sent;
use ftl_proto::v1::exec_output::Output as Received;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::connect::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::event;
use crate::terminal::{self, Input, Raw};

/// How the human's time at the terminal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The program ended, with this exit status.
    Exit(u8),
    /// The human left.
    Left,
    /// Somebody else sat down.
    Replaced,
}

/// Where the human sits down.
#[derive(Debug)]
pub(crate) enum At {
    /// The agent is started, with these further arguments.
    New(Vec<Vec<u8>>),
    /// At the terminal that it has.
    Open,
}

/// Ctrl-\, in raw mode.
const LEAVE: u8 = 0x1c;
/// How that key is called.
pub(crate) const LEAVE_KEY: &str = "Ctrl-\\";
/// The terminal's other screen, empty.
const OTHER: &[u8] = b"\x1b[?1049h\x1b[H\x1b[2J";
/// Its first one, as it was.
const FIRST: &[u8] = b"\x1b[?1049l";

/// Whether there is somebody with a terminal.
pub(crate) fn can_sit(context: &Context) -> bool {
    context.output.is_interactive() && !matches!(context.environment.term.as_str(), "" | "dumb")
}

/// Asks for the terminal; nothing is changed here yet.
pub(crate) async fn ask(
    client: &Client,
    session: &str,
    at: At,
) -> Result<(mpsc::Sender<v1::ExecInput>, Streaming<v1::ExecOutput>), tonic::Status> {
    let (sender, receiver) = mpsc::channel(8);
    let (attach, argv) = match at {
        At::New(argv) => (false, argv),
        At::Open => (true, Vec::new()),
    };
    let start = v1::ExecStart {
        session: session.to_owned(),
        argv,
        terminal: Some(terminal::size()),
        term: String::new(),
        agent: !attach,
        attach,
    };
    // The receiver is held below, so there is room and somebody to take it.
    let _ = sender.try_send(message(Sent::Start(start)));
    let replies = client.sessions().exec(ReceiverStream::new(receiver)).await?.into_inner();
    Ok((sender, replies))
}

/// Sits there until the program ends, the human leaves, or somebody else comes.
pub(crate) async fn sit(
    context: &Context,
    sender: mpsc::Sender<v1::ExecInput>,
    mut replies: Streaming<v1::ExecOutput>,
) -> Result<End, Failure> {
    let listen = |kind| signal(kind).map_err(Failure::io("listen to signals"));
    let (mut resized, mut hangup) = (listen(SignalKind::window_change())?, listen(SignalKind::hangup())?);
    let mut terminate = listen(SignalKind::terminate())?;
    let raw = Raw::enter().map_err(Failure::io("switch the terminal to raw mode"))?;
    let mut input = Input::open().map_err(Failure::io("read standard input"))?;
    context.output.stdout(OTHER)?;
    let mut last = Vec::new();
    // Whether what is typed is still taken; when not, the other stream tells of the end.
    let mut takes = true;
    let end = loop {
        tokio::select! {
            reply = replies.message() => match reply.map(|reply| reply.and_then(|reply| reply.output)) {
                Ok(Some(Received::Stdout(frame))) => context.output.stdout(&frame)?,
                Ok(Some(Received::Stderr(text))) => last = text,
                Ok(Some(Received::Replaced(_))) => break Ok(End::Replaced),
                Ok(Some(Received::Exit(exit))) => {
                    let impossible = |_| Failure::Protocol { what: "sent an exit status that cannot be one" };
                    break u8::try_from(exit.code).map(End::Exit).map_err(impossible);
                }
                Ok(None) => break Err(Failure::Protocol { what: "did not say how the program ended" }),
                Err(status) => break Err(status.into()),
            },
            typed = input.next() => {
                let Some(typed) = typed else { break Ok(End::Left) };
                let (before, leaves) = until_leave(&typed);
                if leaves {
                    // Leaving waits for nobody: what was typed before goes when there is room for it.
                    if !before.is_empty() {
                        let _full_or_gone = sender.try_send(message(Sent::Stdin(before.to_vec())));
                    }
                    break Ok(End::Left);
                }
                if takes && !before.is_empty() {
                    takes = tokio::select! {
                        sent = sender.send(message(Sent::Stdin(before.to_vec()))) => sent.is_ok(),
                        _ = hangup.recv() => break Ok(End::Left),
                        _ = terminate.recv() => break Ok(End::Left),
                    };
                }
            }
            _ = resized.recv() => {
                let _gone = sender.send(message(Sent::Resize(terminal::size()))).await;
            }
            _ = hangup.recv() => break Ok(End::Left),
            _ = terminate.recv() => break Ok(End::Left),
        }
    };
    context.output.stdout(&[terminal::RESET, FIRST].concat())?;
    drop(raw);
    if !last.is_empty() && matches!(end, Ok(End::Exit(_))) {
        // The agent's last words stand above FTL's own, and must not pass for them.
        context.output.piece(&event::said(context.output.style, last.trim_ascii_end()))?;
    }
    end
}

/// What is typed before the key that leaves, and whether it is there.
fn until_leave(typed: &[u8]) -> (&[u8], bool) {
    match typed.iter().position(|byte| *byte == LEAVE) {
        Some(at) => (&typed[..at], true),
        None => (typed, false),
    }
}

fn message(input: Sent) -> v1::ExecInput {
    v1::ExecInput { input: Some(input) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_before_leaving_is_typed() {
        assert_eq!(until_leave(b"abc"), (&b"abc"[..], false));
        assert_eq!(until_leave(b"ab\x1ccd"), (&b"ab"[..], true));
        assert_eq!(until_leave(b"\x1c"), (&b""[..], true));
    }
}
