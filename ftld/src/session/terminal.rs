//! The terminal that an agent talks to its human on: it stays when the human goes, and shows itself to whoever comes.
//!
//! Owns which of them it has, one at a time, and that the program is never kept waiting by any of them: what they are
//! sent is the screen as it is when they can take it ([`ftl_core::screen`]). Must not know why the program runs or
//! what happens to its work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::id::SessionId;
use ftl_core::screen::{SLICE, Screen};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::exec::{self, ExecInput, ExecOutput};
use super::{Error, Sessions};
use crate::sandbox::{ExitStatus, Process, ProcessControl, Reader, SandboxError, Size, Writer};

/// The terminals of all sessions.
#[derive(Default)]
pub struct Terminals(Arc<Mutex<HashMap<SessionId, mpsc::Sender<Visitor>>>>);

/// The place of one terminal in the list; it goes with the terminal.
pub(super) struct Place {
    list: Arc<Mutex<HashMap<SessionId, mpsc::Sender<Visitor>>>>,
    session: SessionId,
    visitors: mpsc::Receiver<Visitor>,
}

/// Somebody at a terminal.
pub(super) struct Visitor {
    pub(super) input: mpsc::Receiver<ExecInput>,
    pub(super) output: mpsc::Sender<ExecOutput>,
    /// Rows and columns.
    pub(super) size: (u16, u16),
}

/// A terminal at work.
struct Kept {
    screen: Screen,
    stdin: mpsc::Sender<Vec<u8>>,
    control: Arc<dyn ProcessControl>,
    visitor: Option<Visitor>,
    /// Whether the visitor has not seen all.
    is_stale: bool,
}

/// Something that happens to a terminal.
enum Happening {
    Output(usize),
    Typed(Option<ExecInput>),
    Came(Visitor),
    Left,
    Room(mpsc::OwnedPermit<ExecOutput>),
    Exit(Result<ExitStatus, SandboxError>),
    Over,
}

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// Bytes that are shown after the program has ended at most; a terminal's queue has fewer. What it left running may
/// write for ever.
const MOST_AFTER_THE_END: usize = 256 * 1024;
/// Pieces for a program that does not read; those that are typed beyond them are lost, as on any terminal.
const TYPED: usize = 256;
/// Visitors that wait at the door.
const DOOR: usize = 4;

impl Terminals {
    /// Makes room for a session's terminal.
    ///
    /// # Errors
    /// When the session has one.
    pub(super) fn open(&self, session: &SessionId) -> Result<Place, Error> {
        let (sender, visitors) = mpsc::channel(DOOR);
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.contains_key(session) {
            return Err(Error::HasTerminal { session: session.clone() });
        }
        list.insert(session.clone(), sender);
        Ok(Place { list: Arc::clone(&self.0), session: session.clone(), visitors })
    }

    fn door(&self, session: &SessionId) -> Option<mpsc::Sender<Visitor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.session);
    }
}

impl Sessions {
    /// Puts a client at the terminal of a session's agent; whoever sat there is told to go.
    ///
    /// # Errors
    /// When no terminal is open.
    pub async fn sit_down(
        &self,
        session: &SessionId,
        size: (u16, u16),
        input: mpsc::Receiver<ExecInput>,
        output: mpsc::Sender<ExecOutput>,
    ) -> Result<(), Error> {
        let none = || Error::NoTerminal { session: session.clone() };
        let door = self.parts().terminals.door(session).ok_or_else(none)?;
        door.send(Visitor { input, output, size }).await.map_err(|_| none())
    }
}

/// Serves a terminal until its program has ended; gives its exit status and whoever sits there.
pub(super) async fn keep(
    process: Process,
    first: Visitor,
    mut place: Place,
    over: CancellationToken,
) -> (i32, mpsc::Sender<ExecOutput>) {
    let Process { stdin, mut stdout, control, mut exit, .. } = process;
    let (sender, typed) = mpsc::channel(TYPED);
    let feeding = tokio::spawn(feed(stdin, typed));
    let screen = Screen::new(screen_size(first.size));
    let mut kept = Kept { screen, stdin: sender, control, visitor: Some(first), is_stale: true };
    let mut chunk = vec![0; CHUNK];
    let mut is_open = true;
    let code = loop {
        let (keys, view) = kept.visitor.as_mut().map(|one| (&mut one.input, &one.output)).unzip();
        let happening = tokio::select! {
            count = stdout.read(&mut chunk), if is_open => Happening::Output(count.unwrap_or(0)),
            typed = next(keys) => Happening::Typed(typed),
            Some(visitor) = place.visitors.recv() => Happening::Came(visitor),
            happening = room(view, kept.is_stale) => happening,
            status = &mut exit => Happening::Exit(status),
            () = over.cancelled() => Happening::Over,
        };
        match happening {
            Happening::Output(0) => is_open = false,
            Happening::Output(count) => kept.show(&chunk[..count]).await,
            Happening::Typed(Some(input)) => kept.typed(input),
            Happening::Typed(None) | Happening::Left => kept.visitor = None,
            Happening::Came(visitor) => kept.receive(visitor),
            Happening::Room(permit) => kept.send(permit),
            Happening::Exit(status) => break exec::code(&status),
            Happening::Over => break exec::code(&(&mut exit).await),
        }
    };
    feeding.abort();
    if is_open {
        kept.rest(&mut stdout, &mut chunk).await;
    }
    (code, kept.leave(&over).await)
}

/// What whoever sits there types next; nobody types nothing.
async fn next(keys: Option<&mut mpsc::Receiver<ExecInput>>) -> Option<ExecInput> {
    match keys {
        Some(keys) => keys.recv().await,
        None => std::future::pending().await,
    }
}

/// Room for a frame where one is due, or that nobody is there any more.
async fn room(view: Option<&mpsc::Sender<ExecOutput>>, is_stale: bool) -> Happening {
    let Some(view) = view else { return std::future::pending().await };
    if !is_stale {
        view.closed().await;
        return Happening::Left;
    }
    match view.clone().reserve_owned().await {
        Ok(permit) => Happening::Room(permit),
        Err(_) => Happening::Left,
    }
}

/// Hands on what is typed, as fast as the program reads.
async fn feed(mut stdin: Writer, mut typed: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = typed.recv().await {
        if stdin.write_all(&bytes).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

fn screen_size((rows, columns): (u16, u16)) -> ftl_core::screen::Size {
    ftl_core::screen::Size { rows, columns }
}

impl Kept {
    async fn show(&mut self, bytes: &[u8]) {
        for slice in bytes.chunks(SLICE) {
            let answers = self.screen.feed(slice);
            self.give(answers);
            // A few bytes can mean much work: others have their turn between.
            tokio::task::yield_now().await;
        }
        self.is_stale = true;
    }

    fn give(&self, bytes: Vec<u8>) {
        if !bytes.is_empty() && self.stdin.try_send(bytes).is_err() {
            tracing::debug!("what was typed is lost: the program does not read");
        }
    }

    fn typed(&mut self, input: ExecInput) {
        match input {
            ExecInput::Data(data) => self.give(data),
            ExecInput::Resize { rows, columns } => self.resize((rows, columns)),
            // Keys are bytes here, and the program stays when the client ends.
            ExecInput::End | ExecInput::Signal(_) => {}
        }
    }

    fn resize(&mut self, size: (u16, u16)) {
        self.screen.resize(screen_size(size));
        self.is_stale = true;
        let now = self.screen.size();
        if let Err(error) = self.control.resize(Size { rows: now.rows, columns: now.columns }) {
            tracing::debug!(%error, "a terminal's program could not be told of its size");
        }
    }

    fn receive(&mut self, visitor: Visitor) {
        if let Some(before) = self.visitor.take() {
            // One that does not read notices the end of its stream.
            let _full = before.output.try_send(ExecOutput::Replaced);
        }
        self.screen.forget_shown();
        self.resize(visitor.size);
        self.visitor = Some(visitor);
    }

    fn send(&mut self, permit: mpsc::OwnedPermit<ExecOutput>) {
        self.is_stale = false;
        let frame = self.screen.frame();
        if !frame.is_empty() {
            permit.send(ExecOutput::Stdout(frame));
        }
    }

    /// Reads what is there already: what was written before the end.
    async fn rest(&mut self, stdout: &mut Reader, chunk: &mut [u8]) {
        let mut left = MOST_AFTER_THE_END;
        while let Ok(Ok(count @ 1..)) = tokio::time::timeout(exec::TURN, stdout.read(chunk)).await {
            self.show(&chunk[..count]).await;
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    }

    /// Shows the last picture, and leaves its text; gives whoever is to be told of the end.
    async fn leave(mut self, over: &CancellationToken) -> mpsc::Sender<ExecOutput> {
        let Some(visitor) = self.visitor.take() else { return mpsc::channel(1).0 };
        let frame = ExecOutput::Stdout(self.screen.frame());
        let text = ExecOutput::Stderr(self.screen.text().into_bytes());
        let telling = async {
            for message in [frame, text] {
                if visitor.output.send(message).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = telling => {}
            () = over.cancelled() => {}
            // Whoever does not read must not hold up the session.
            () = tokio::time::sleep(exec::PATIENCE) => {}
        }
        visitor.output
    }
}

#[cfg(test)]
#[path = "terminal/tests.rs"]
mod tests;
