//! How a sandbox is served where descriptors cannot travel: all its programs over one stream of bytes.
//!
//! Owns the frames, their bytes and the limits that both ends keep. Must not know pipes, terminals or what
//! carries the stream. A frame is a number (eight bytes, little endian), a kind (one byte), a length (four
//! bytes) and that many bytes; the number is a program's, and 0 where none is meant:
//!
//! ```text
//! daemon                      guest
//!   Setup          ──────────>           once, first
//!                  <──────────  Ready    or Failed, and the end
//!   Spawn          ──────────>
//!                  <──────────  Spawned, NotSpawned
//!   Input, InputEnd ─────────>
//!                  <──────────  Taken, InputGone
//!                  <──────────  Output, OutputEnd
//!   Read, Forget   ──────────>
//!   Signal, Resize ──────────>
//!                  <──────────  Exited   after what the program had written by then
//! ```
//!
//! Each end may send bytes of a program as far as it has credit, [`WINDOW`] at first; `Taken` and `Read`
//! give more. So a program that does not read, or that nobody listens to, holds up no other. The end of
//! the stream is the order to die.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::arrived::Arrived;
use crate::protocol::{Exit, Failure, Limits, Size, Spawn};

/// The most bytes of a program in one frame.
pub const MAX_PAYLOAD: usize = 32 << 10;

/// The longest frame that a guest sends, bytes.
pub const MAX_REPLY: usize = 64 << 10;

/// The longest frame that a daemon sends, bytes: arguments and environment of one program.
pub const MAX_REQUEST: usize = 32 << 20;

/// The most credit that a program's input or one of its outputs ever has, bytes.
pub const WINDOW: usize = 256 << 10;

/// Bytes before a frame's own.
const HEADER: usize = 13;

/// What a guest does before it takes programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// What a program may use up. How many processes there may be, and how much shared memory, whoever
    /// made the sandbox limits.
    pub limits: Limits,
    /// Permissions that programs do not give to the files they make.
    pub umask: u32,
}

/// What a guest found around itself, once it has confined itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// Its process id.
    pub pid: u32,
    /// The number that its kernel gave to the namespace of its process id; 0 when there is none.
    pub pid_namespace: u64,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Groups beside that.
    pub groups: Vec<u32>,
    /// Every capability that any of its sets has, the bounding set among them, as bits.
    pub capabilities: u64,
    /// Whether no program can gain any.
    pub no_new_privileges: bool,
    /// Whether system calls were filtered before it filtered them itself.
    pub filtered_before: bool,
    /// Landlock's ABI version in force; 0 when the kernel has none.
    pub landlock: u32,
    /// Whether the root directory's file system refuses to be written.
    pub root_is_read_only: bool,
    /// The names of its network interfaces.
    pub interfaces: Vec<String>,
    /// Which of [`crate::tables::HIDDEN`] show something.
    pub seen: Vec<String>,
    /// Which of [`crate::tables::READ_ONLY`] do not refuse to be written by themselves.
    pub open: Vec<String>,
    /// Whether its user may write the workspace.
    pub can_work: bool,
    /// Whether there is a `/bin/bash`.
    pub has_bash: bool,
}

/// One of a program's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Standard output; all of a terminal.
    Output,
    /// Standard error.
    Errors,
}

/// What the daemon says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Be ready. First frame.
    Setup(Setup),
    /// Run a program.
    Spawn(Box<Spawn>),
    /// Bytes for its standard input.
    Input {
        /// Which.
        id: u64,
        /// They; not empty.
        bytes: Vec<u8>,
    },
    /// No more of them will follow.
    InputEnd {
        /// Which.
        id: u64,
    },
    /// More credit for one of its outputs.
    Read {
        /// Which.
        id: u64,
        /// Which of its outputs.
        channel: Channel,
        /// How much more, bytes.
        bytes: u32,
    },
    /// Nobody listens to one of its outputs any more.
    Forget {
        /// Which.
        id: u64,
        /// Which of its outputs.
        channel: Channel,
    },
    /// Send a signal to its process group.
    Signal {
        /// Which.
        id: u64,
        /// Signal number.
        signal: i32,
    },
    /// Give its terminal another size.
    Resize {
        /// Which.
        id: u64,
        /// The size.
        size: Size,
    },
}

/// What the guest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It takes programs.
    Ready(Box<Inside>),
    /// It cannot. Last frame.
    Failed(Failure),
    /// A program runs.
    Spawned {
        /// Which.
        id: u64,
        /// Its process id as seen from inside.
        pid: i32,
    },
    /// A program could not be started.
    NotSpawned {
        /// Which.
        id: u64,
        /// What could not be done: `request`, `workdir`, `terminal`, `exec`.
        stage: String,
        /// The system's error number.
        errno: i32,
    },
    /// More credit for a program's standard input.
    Taken {
        /// Which.
        id: u64,
        /// How much more, bytes.
        bytes: u32,
    },
    /// Nobody reads a program's standard input any more.
    InputGone {
        /// Which.
        id: u64,
    },
    /// Bytes of a program.
    Output {
        /// Which.
        id: u64,
        /// Which of its outputs.
        channel: Channel,
        /// They; not empty.
        bytes: Vec<u8>,
    },
    /// No more bytes of an output will follow.
    OutputEnd {
        /// Which.
        id: u64,
        /// Which of its outputs.
        channel: Channel,
    },
    /// A program has ended. Its children may live on, and hold its outputs.
    Exited {
        /// Which.
        id: u64,
        /// How.
        status: Exit,
    },
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are no frame of a sandbox's programs")]
pub struct Malformed;

/// A frame of one direction.
pub trait Frame: Sized {
    /// The longest payload, bytes.
    const LONGEST: usize;

    /// Adds its bytes to `out`. A program's bytes must not be more than [`MAX_PAYLOAD`].
    fn encode(&self, out: &mut Vec<u8>);

    /// The frame of that number, kind and payload.
    ///
    /// # Errors
    /// When there is none.
    fn decode(id: u64, kind: u8, payload: &[u8]) -> Result<Self, Malformed>;
}

/// Makes frames of bytes as they arrive.
#[derive(Debug, Default)]
pub struct Decoder(Arrived);

#[derive(Serialize, Deserialize)]
struct NotSpawned {
    stage: String,
    errno: i32,
}

// === impl Request ===

impl Frame for Request {
    const LONGEST: usize = MAX_REQUEST;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Setup(setup) => put(out, 0, 0, &json(setup)),
            Self::Spawn(spawn) => put(out, spawn.id, 1, &json(spawn)),
            Self::Input { id, bytes } => put(out, *id, 2, bytes),
            Self::InputEnd { id } => put(out, *id, 3, &[]),
            Self::Read { id, channel, bytes } => {
                let [a, b, c, d] = bytes.to_le_bytes();
                put(out, *id, 4, &[channel.number(), a, b, c, d]);
            }
            Self::Forget { id, channel } => put(out, *id, 5, &[channel.number()]),
            Self::Signal { id, signal } => put(out, *id, 6, &signal.to_le_bytes()),
            Self::Resize { id, size: Size { rows, columns } } => {
                let ([a, b], [c, d]) = (rows.to_le_bytes(), columns.to_le_bytes());
                put(out, *id, 7, &[a, b, c, d]);
            }
        }
    }

    fn decode(id: u64, kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        Ok(match (kind, payload) {
            (0, setup) if id == 0 => Self::Setup(of_json(setup)?),
            (1, spawn) => match of_json::<Spawn>(spawn)? {
                spawn if spawn.id == id => Self::Spawn(Box::new(spawn)),
                _ => return Err(Malformed),
            },
            (2, bytes @ [_, ..]) if bytes.len() <= MAX_PAYLOAD => Self::Input { id, bytes: bytes.into() },
            (3, []) => Self::InputEnd { id },
            (4, &[channel, a, b, c, d]) => {
                let bytes = u32::from_le_bytes([a, b, c, d]);
                Self::Read { id, channel: Channel::numbered(channel)?, bytes }
            }
            (5, &[channel]) => Self::Forget { id, channel: Channel::numbered(channel)? },
            (6, &[a, b, c, d]) => Self::Signal { id, signal: i32::from_le_bytes([a, b, c, d]) },
            (7, &[a, b, c, d]) => {
                let (rows, columns) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                Self::Resize { id, size: Size { rows, columns } }
            }
            _ => return Err(Malformed),
        })
    }
}

// === impl Reply ===

impl Frame for Reply {
    const LONGEST: usize = MAX_REPLY;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ready(inside) => put(out, 0, 0, &json(inside)),
            Self::Failed(failure) => put(out, 0, 1, &json(failure)),
            Self::Spawned { id, pid } => put(out, *id, 2, &pid.to_le_bytes()),
            Self::NotSpawned { id, stage, errno } => {
                put(out, *id, 3, &json(&NotSpawned { stage: stage.clone(), errno: *errno }));
            }
            Self::Taken { id, bytes } => put(out, *id, 4, &bytes.to_le_bytes()),
            Self::InputGone { id } => put(out, *id, 5, &[]),
            Self::Output { id, channel: Channel::Output, bytes } => put(out, *id, 6, bytes),
            Self::Output { id, channel: Channel::Errors, bytes } => put(out, *id, 7, bytes),
            Self::OutputEnd { id, channel } => put(out, *id, 8, &[channel.number()]),
            Self::Exited { id, status } => {
                let (how, number) = match status {
                    Exit::Code(code) => (0, code),
                    Exit::Signal(signal) => (1, signal),
                };
                let [a, b, c, d] = number.to_le_bytes();
                put(out, *id, 9, &[how, a, b, c, d]);
            }
        }
    }

    fn decode(id: u64, kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        let output = |channel, bytes: &[u8]| match bytes.len() {
            1..=MAX_PAYLOAD => Ok(Self::Output { id, channel, bytes: bytes.into() }),
            _ => Err(Malformed),
        };
        Ok(match (kind, payload) {
            (0, inside) if id == 0 => Self::Ready(of_json(inside)?),
            (1, failure) if id == 0 => Self::Failed(of_json(failure)?),
            (2, &[a, b, c, d]) => Self::Spawned { id, pid: i32::from_le_bytes([a, b, c, d]) },
            (3, why) => {
                let NotSpawned { stage, errno } = of_json(why)?;
                Self::NotSpawned { id, stage, errno }
            }
            (4, &[a, b, c, d]) => Self::Taken { id, bytes: u32::from_le_bytes([a, b, c, d]) },
            (5, []) => Self::InputGone { id },
            (6, bytes) => output(Channel::Output, bytes)?,
            (7, bytes) => output(Channel::Errors, bytes)?,
            (8, &[channel]) => Self::OutputEnd { id, channel: Channel::numbered(channel)? },
            (9, &[how @ (0 | 1), a, b, c, d]) => {
                let number = i32::from_le_bytes([a, b, c, d]);
                let status = if how == 0 { Exit::Code(number) } else { Exit::Signal(number) };
                Self::Exited { id, status }
            }
            _ => return Err(Malformed),
        })
    }
}

// === impl Channel, Decoder ===

impl Channel {
    fn number(self) -> u8 {
        match self {
            Self::Output => 1,
            Self::Errors => 2,
        }
    }

    fn numbered(number: u8) -> Result<Self, Malformed> {
        match number {
            1 => Ok(Self::Output),
            2 => Ok(Self::Errors),
            _ => Err(Malformed),
        }
    }
}

impl Decoder {
    /// Takes bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// The next frame; `None` when more bytes are needed for one.
    ///
    /// # Errors
    /// When the bytes are none. Nothing that follows can be understood then.
    pub fn next_frame<F: Frame>(&mut self) -> Result<Option<F>, Malformed> {
        let rest = self.0.rest();
        let Some((header, body)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let &[a, b, c, d, e, f, g, h, kind, i, j, k, l] = header;
        let length = u32::from_le_bytes([i, j, k, l]) as usize;
        if length > F::LONGEST {
            return Err(Malformed);
        }
        let Some(payload) = body.get(..length) else { return Ok(None) };
        let frame = F::decode(u64::from_le_bytes([a, b, c, d, e, f, g, h]), kind, payload)?;
        self.0.take(HEADER + length);
        Ok(Some(frame))
    }
}

fn put(out: &mut Vec<u8>, id: u64, kind: u8, payload: &[u8]) {
    out.extend(id.to_le_bytes());
    out.push(kind);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
}

/// Nothing that is sent here can fail to be written; if it did, the other end would not take it.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn of_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests;
