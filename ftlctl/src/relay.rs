//! A command in a sandbox as if it ran here: its stdio, terminal, signals and exit status pass through.
//!
//! Owns the two streams of `Exec`. Must not know why the command runs or what happens to its work.

use ftl_proto::v1;
use ftl_proto::v1::exec_input::Input as Sent;
use ftl_proto::v1::exec_output::Output as Received;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::connect::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::render::json;
use crate::terminal::{self, Input, Raw};

/// Signals that are handed on, with their numbers.
struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hangup: Signal,
    resized: Signal,
}

/// Runs the command and gives its exit status.
pub(crate) async fn run(
    context: &Context,
    client: &Client,
    session: &str,
    argv: Vec<Vec<u8>>,
) -> Result<u8, Failure> {
    let on_terminal = context.output.is_interactive();
    let (sender, receiver) = mpsc::channel(8);
    let start = v1::ExecStart {
        session: session.to_owned(),
        argv,
        terminal: on_terminal.then(terminal::size),
        term: if on_terminal { context.environment.term.clone() } else { String::new() },
        ..v1::ExecStart::default()
    };
    // The receiver is held below, so there is room and somebody to take it.
    let _ = sender.try_send(message(Sent::Start(start)));
    let signals = Signals::listen().map_err(Failure::io("listen to signals"))?;
    let replies = client.sessions().exec(ReceiverStream::new(receiver)).await?.into_inner();
    let raw = if on_terminal {
        Some(Raw::enter().map_err(Failure::io("switch the terminal to raw mode"))?)
    } else {
        None
    };
    let input = Input::open().map_err(Failure::io("read standard input"))?;
    let mut pump = JoinSet::new();
    pump.spawn(send(input, signals, sender, on_terminal));
    let status = receive(&context.output, replies).await;
    drop(pump);
    // A terminal that understands no sequences would show them.
    if raw.is_some() && !matches!(context.environment.term.as_str(), "" | "dumb") {
        context.output.stdout(terminal::RESET)?;
    }
    drop(raw);
    status
}

/// Hands on what is typed and which signals come, until nobody takes them.
async fn send(
    mut input: Input,
    mut signals: Signals,
    sender: mpsc::Sender<v1::ExecInput>,
    on_terminal: bool,
) {
    let mut ended = false;
    loop {
        let sent = tokio::select! {
            chunk = input.next(), if !ended => chunk.map_or(Sent::StdinEof(true), Sent::Stdin),
            sent = signals.next() => sent,
        };
        ended |= matches!(sent, Sent::StdinEof(_));
        if !on_terminal && matches!(sent, Sent::Resize(_)) {
            continue;
        }
        if sender.send(message(sent)).await.is_err() {
            return;
        }
    }
}

/// Hands on what the command says until it has ended.
async fn receive(output: &Output, mut replies: tonic::Streaming<v1::ExecOutput>) -> Result<u8, Failure> {
    while let Some(reply) = replies.message().await? {
        match reply.output {
            Some(Received::Stdout(data)) if output.is_json() => output.json(&said(&data, false))?,
            Some(Received::Stderr(data)) if output.is_json() => output.json(&said(&data, true))?,
            Some(Received::Stdout(data)) => output.pass(&data)?,
            Some(Received::Stderr(data)) => output.stderr(&data)?,
            Some(Received::Exit(exit)) => {
                output.json(&json!({"type": "exec_exit", "exit_code": exit.code}))?;
                let impossible = |_| Failure::Protocol { what: "sent an exit status that cannot be one" };
                return u8::try_from(exit.code).map_err(impossible);
            }
            Some(Received::Replaced(_)) | None => {}
        }
    }
    Err(Failure::Protocol { what: "did not say how the command ended" })
}

fn said(data: &[u8], stderr: bool) -> serde_json::Value {
    let mut value = json::bytes("data", data);
    value["type"] = json!("output");
    value["stderr"] = json!(stderr);
    value
}

fn message(input: Sent) -> v1::ExecInput {
    v1::ExecInput { input: Some(input) }
}

// === impl Signals ===

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            resized: signal(SignalKind::window_change())?,
        })
    }

    async fn next(&mut self) -> Sent {
        let signal = |kind: SignalKind| Sent::Signal(kind.as_raw_value());
        tokio::select! {
            _ = self.interrupt.recv() => signal(SignalKind::interrupt()),
            _ = self.quit.recv() => signal(SignalKind::quit()),
            _ = self.terminate.recv() => signal(SignalKind::terminate()),
            _ = self.hangup.recv() => signal(SignalKind::hangup()),
            _ = self.resized.recv() => Sent::Resize(terminal::size()),
        }
    }
}
