//! A program's terminal without a sandbox: pipes for its output and its keys.

use std::time::Duration;

use async_trait::async_trait;
use tokio::io::DuplexStream;
use tokio::sync::oneshot;

use super::*;

/// Notes how large the terminal is said to be.
struct Control(mpsc::UnboundedSender<(u16, u16)>);

#[async_trait]
impl ProcessControl for Control {
    async fn signal(&self, _signal: i32) -> Result<(), SandboxError> {
        panic!("a client's signals are not the program's")
    }

    fn resize(&self, size: Size) -> Result<(), SandboxError> {
        self.0.send((size.rows, size.columns)).unwrap();
        Ok(())
    }
}

/// A program, as seen from its own side.
struct Program {
    screen: DuplexStream,
    keys: DuplexStream,
    sizes: mpsc::UnboundedReceiver<(u16, u16)>,
    exit: oneshot::Sender<()>,
}

/// A client, as seen from its own side.
struct Client {
    input: mpsc::Sender<ExecInput>,
    output: mpsc::Receiver<ExecOutput>,
    seen: String,
}

fn program() -> (Process, Program) {
    let (screen, stdout) = tokio::io::duplex(64 * 1024);
    let (stdin, keys) = tokio::io::duplex(1024);
    let (sizes, told) = mpsc::unbounded_channel();
    let (exit, ended) = oneshot::channel();
    let process = Process {
        pid: 7,
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: None,
        control: Arc::new(Control(sizes)),
        exit: Box::pin(async {
            let _ended = ended.await;
            Ok(ExitStatus::Code(3))
        }),
    };
    (process, Program { screen, keys, sizes: told, exit })
}

fn client(size: (u16, u16)) -> (Visitor, Client) {
    let (input, typed) = mpsc::channel(8);
    let (told, output) = mpsc::channel(8);
    (Visitor { input: typed, output: told, size }, Client { input, output, seen: String::new() })
}

impl Client {
    /// Reads pictures until a word is in them.
    async fn sees(&mut self, word: &str) {
        while !self.seen.contains(word) {
            match self.output.recv().await {
                Some(ExecOutput::Stdout(frame)) => self.seen += &String::from_utf8(frame).unwrap(),
                other => panic!("{other:?} instead of {word}: {:?}", self.seen),
            }
        }
    }
}

#[tokio::test]
async fn it_stays_when_its_human_goes_and_shows_itself_whole_to_the_next() {
    let terminals = Terminals::default();
    let id: SessionId = "s-bcdfghjkmn".parse().unwrap();
    let (process, mut program) = program();
    let (visitor, mut first) = client((10, 40));
    let place = terminals.open(&id).unwrap();
    assert!(matches!(terminals.open(&id), Err(Error::HasTerminal { .. })));
    let kept = tokio::spawn(keep(process, visitor, place, CancellationToken::new()));
    program.screen.write_all(b"\x1b]52;c;eA==\x07hello \x1b[6n").await.unwrap();
    first.sees("hello").await;
    let mut keys = [0; 6];
    program.keys.read_exact(&mut keys).await.unwrap();
    assert_eq!(&keys, b"\x1b[1;7R", "the daemon answers for the terminal");
    first.input.send(ExecInput::Signal(1)).await.unwrap();
    first.input.send(ExecInput::Data(b"typed".to_vec())).await.unwrap();
    program.keys.read_exact(&mut keys[..5]).await.unwrap();
    assert_eq!(&keys[..5], b"typed");
    assert!(!first.seen.contains("52"), "{:?}", first.seen);
    drop(first);

    program.screen.write_all(b"world").await.unwrap();
    let door = terminals.door(&id).unwrap();
    let (visitor, mut second) = client((20, 60));
    door.send(visitor).await.unwrap();
    second.sees("hello world").await;
    assert_eq!(program.sizes.recv().await, Some((20, 60)));
    second.input.send(ExecInput::Resize { rows: 0, columns: 9000 }).await.unwrap();
    assert_eq!(program.sizes.recv().await, Some((1, ftl_core::screen::LARGEST)), "no size that cannot be");

    let (visitor, mut third) = client((10, 40));
    door.send(visitor).await.unwrap();
    while let Some(told) = second.output.recv().await {
        if matches!(told, ExecOutput::Replaced) {
            break;
        }
    }
    assert!(second.output.recv().await.is_none(), "one at a time");
    program.screen.write_all(b"\r\nlast words").await.unwrap();
    program.exit.send(()).unwrap();
    third.sees("last words").await;
    let text = loop {
        match third.output.recv().await {
            Some(ExecOutput::Stderr(text)) => break text,
            Some(ExecOutput::Stdout(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(String::from_utf8(text).unwrap(), "hello world\nlast words");
    assert_eq!(kept.await.unwrap().0, 3);
    assert!(terminals.door(&id).is_none());
}

#[tokio::test]
async fn a_human_who_does_not_look_keeps_no_program_waiting_and_misses_only_pictures() {
    let terminals = Terminals::default();
    let (process, mut program) = program();
    let (visitor, mut lazy) = client((5, 20));
    let place = terminals.open(&"s-bcdfghjkmn".parse().unwrap()).unwrap();
    let kept = tokio::spawn(keep(process, visitor, place, CancellationToken::new()));
    let flood = "line of the flood\r\n".repeat(60_000);
    let written = program.screen.write_all(flood.as_bytes());
    tokio::time::timeout(Duration::from_secs(50), written).await.expect("it is read all the same").unwrap();
    program.screen.write_all(b"the end").await.unwrap();
    lazy.sees("the end").await;
    assert!(lazy.seen.len() < flood.len() / 4, "{}", lazy.seen.len());
    drop(program.exit);
    kept.abort();
}
