//! The keeper of a session's files, where the daemon's own directories cannot be seen.
//!
//! Owns the trees on the engine's disk: those that stay, which no program ever writes, and the session's own.
//! Must not know what they are for. Nothing of an agent's runs where this runs; but what an agent wrote is
//! read here, after its end. One thread, and one thing at a time: it hears an order, does it, and answers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use ftl_guest::protocol::{At, Failure, Stage};
use ftl_guest::tree::read::{Choice, usage, walk};
use ftl_guest::tree::write::{Most, WriteError, Writer, clone, remove};
use ftl_guest::tree::{
    Answer, Content, Decoder, Entry, Frame, LAYERS, MOST_NODES, Node, Order, Part, Place, SESSION, Seal,
    TREE, Usage, understood, word,
};
use rustix::fs::{CWD, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, mkdirat, openat, renameat};
use rustix::io::Errno;

use crate::{confine, multiplex, privileges, seccomp};

/// What a tree may be: whoever sends it is the daemon, which has its own limits.
const MOST: Most = Most { entries: u64::MAX, bytes: u64::MAX, file: u64::MAX };

/// What is written at once, bytes.
const PIECE: usize = 256 << 10;

/// What is noted with a tree.
const NOTE: &str = "note";

/// The directories of a session, and their modes.
const OWN: [(&str, u32); 4] = [("upper", 0o755), ("work", 0o700), ("home", 0o755), ("tmp", 0o1777)];

/// What a file was when it was filled in: its number and when anything of it was changed last, which no program
/// can set.
type Stamp = (u64, i64, i64);

struct Keeper {
    input: File,
    output: File,
    decoder: Decoder,
    layers: OwnedFd,
    session: OwnedFd,
    owner: (u32, u32),
    /// The files that were filled in, by the hashes of their paths: a path may be as long as memory is short.
    filled: BTreeMap<Place, BTreeMap<Content, Stamp>>,
}

/// Keeps until the stream ends.
pub(crate) fn keep() -> Result<(), Failure> {
    let stage = Stage::Protocol;
    multiplex::allow_descriptors().at(stage, "allowing descriptors")?;
    rustix::process::umask(Mode::empty());
    rustix::thread::set_no_new_privs(true).at(Stage::Privileges, "refusing new privileges")?;
    privileges::hide().at(Stage::Privileges, "hiding memory")?;
    let copy = |fd| rustix::io::fcntl_dupfd_cloexec(fd, 3).at(stage, "taking the stream");
    let (input, output) = (copy(rustix::stdio::stdin())?, copy(rustix::stdio::stdout())?);
    let place = |path: &'static str| directory(CWD, path).at(stage, path);
    let mut keeper = Keeper {
        input: input.into(),
        output: output.into(),
        decoder: Decoder::default(),
        layers: place(LAYERS)?,
        session: place(SESSION)?,
        owner: (0, 0),
        filled: BTreeMap::new(),
    };
    keeper.run().at(stage, "keeping")
}

impl Keeper {
    fn run(&mut self) -> io::Result<()> {
        while let Some(frame) = self.hear()? {
            let order = understood(frame).map_err(io::Error::other)?;
            let what = format!("{order:?}");
            match self.obey(order) {
                Ok(answer) => self.say(&word(&answer))?,
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EPROTO);
                    self.say(&word(&Answer::Failed { what: format!("{what}: {error}"), errno }))?;
                    // Parts of a tree may still be on their way, which nobody can tell from orders.
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The next frame; `None` at the end of the stream.
    fn hear(&mut self) -> io::Result<Option<Frame>> {
        let mut buffer = vec![0; 128 << 10];
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                return Ok(Some(frame));
            }
            match self.input.read(&mut buffer)? {
                0 => return Ok(None),
                count => self.decoder.push(buffer.get(..count).unwrap_or_default()),
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.output.flush()
    }

    fn obey(&mut self, order: Order) -> io::Result<Answer> {
        match order {
            Order::Begin { uid, gid } => {
                self.owner = (uid, gid);
                self.make_own()?;
                let ipv6 = rustix::fs::stat("/proc/sys/net/ipv6/conf/lo").is_ok();
                Ok(Answer::Ready { ipv6 })
            }
            Order::Layer { name, like, note } => self.layer(&name, like.as_deref(), &note).map(Answer::Seal),
            Order::Check { name } => match directory(&self.layers, &format!("{}/{TREE}", named(&name)?)) {
                Ok(tree) => seal(tree).map(Answer::Seal),
                Err(Errno::NOENT) => Ok(Answer::Absent),
                Err(error) => Err(error.into()),
            },
            Order::Names => self.names().map(Answer::Names),
            Order::Remove { name } => {
                remove(self.layers.as_fd(), named(&name)?.as_bytes())?;
                Ok(Answer::Done)
            }
            Order::Fill { place } => self.fill(place),
            Order::Rest => {
                // A whiteout is a device to the filter, so that it could not be had before.
                seccomp::install().map_err(io::Error::other)?;
                confine::write_nothing().map_err(io::Error::other)?;
                Ok(Answer::Done)
            }
            Order::Measure => {
                let mut total = Some(Usage::default());
                for place in [Place::Upper, Place::Home, Place::Tmp] {
                    let used = usage(directory(&self.session, place.name())?, MOST_NODES)?;
                    total = total.zip(used).map(|(total, used)| total.and(used));
                }
                Ok(Answer::Used(total))
            }
            Order::Read { place, same } => self.read(place, same),
        }
    }

    /// Makes the session's directories; those that are there stay as they are.
    fn make_own(&self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        for (name, mode) in OWN {
            match mkdirat(&self.session, name, Mode::from_raw_mode(0o700)) {
                Ok(()) => {
                    let made = directory(&self.session, name)?;
                    chownat(
                        &self.session,
                        name,
                        Some(uid),
                        Some(gid),
                        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
                    )?;
                    fchmod(&made, Mode::from_raw_mode(mode))?;
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes a tree that stays aside, and gives it its name when it is complete.
    fn layer(&mut self, name: &str, like: Option<&str>, note: &str) -> io::Result<String> {
        let (name, half) = (named(name)?.to_owned(), format!("{name}.new"));
        for left in [&name, &half] {
            remove(self.layers.as_fd(), left.as_bytes())?;
        }
        mkdirat(&self.layers, half.as_str(), Mode::from_raw_mode(0o755))?;
        let aside = directory(&self.layers, &half)?;
        match like {
            Some(like) => {
                let from = directory(&self.layers, named(like)?)?;
                clone(from.as_fd(), aside.as_fd(), TREE.as_bytes())?;
            }
            None => mkdirat(&aside, TREE, Mode::from_raw_mode(0o755))?,
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(&aside, NOTE, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(note.as_bytes())?;
        self.write(directory(&aside, TREE)?)?;
        let found = seal(directory(&aside, TREE)?)?;
        renameat(&self.layers, half.as_str(), &self.layers, name.as_str())?;
        Ok(found)
    }

    fn fill(&mut self, place: Place) -> io::Result<Answer> {
        self.write(directory(&self.session, place.name())?)?;
        let mut stamps = BTreeMap::new();
        let mut choose = |entry: &Entry, stat: &Stat| {
            if matches!(entry.node, Node::File { .. }) {
                stamps.insert(blake3::hash(&entry.path).into(), stamp(stat));
            }
            Choice::Skip
        };
        walk(directory(&self.session, place.name())?, &mut choose, &mut |_| Ok(()))?;
        self.filled.insert(place, stamps);
        Ok(Answer::Done)
    }

    /// Writes the parts that follow.
    fn write(&mut self, root: OwnedFd) -> io::Result<()> {
        let mut writer = Writer::new(root, Some(self.owner), None, MOST);
        while !writer.is_complete() {
            match self.hear()? {
                Some(Frame::Part(part)) => writer.take(part).map_err(|error| match error {
                    // Its number is what the daemon needs.
                    WriteError::Write { source, .. } => source,
                    other => io::Error::other(other),
                })?,
                Some(Frame::Word(_)) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<(String, String)>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.layers)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if named(name).is_err() {
                // Half of one, or the engine's own.
                if name.ends_with(".new") {
                    remove(self.layers.as_fd(), name.as_bytes())?;
                }
                continue;
            }
            let note = std::fs::read_to_string(format!("{LAYERS}/{name}/{NOTE}")).unwrap_or_default();
            names.push((name.to_owned(), note));
        }
        Ok(names)
    }

    /// Tells a tree of the session's own; its end is the answer's place.
    fn read(&mut self, place: Place, same: bool) -> io::Result<Answer> {
        let filled = self.filled.get(&place).filter(|_| same);
        let mut choose = |entry: &Entry, stat: &Stat| {
            let before = filled.and_then(|filled| filled.get(blake3::hash(&entry.path).as_bytes()));
            if before == Some(&stamp(stat)) { Choice::Named } else { Choice::Whole }
        };
        let (mut waiting, output) = (Vec::with_capacity(PIECE), &mut self.output);
        let mut hear = |part: Part| {
            part.encode(&mut waiting);
            if waiting.len() >= PIECE {
                output.write_all(&waiting)?;
                waiting.clear();
            }
            Ok(())
        };
        walk(directory(&self.session, place.name())?, &mut choose, &mut hear)?;
        Part::End.encode(&mut waiting);
        self.output.write_all(&waiting)?;
        Ok(Answer::Done)
    }
}

fn directory(at: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

/// A name that a tree that stays may have.
fn named(name: &str) -> io::Result<&str> {
    let plain = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { Ok(name) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn seal(tree: OwnedFd) -> io::Result<String> {
    let mut seal = Seal::default();
    walk(tree, &mut |_, _| Choice::Whole, &mut |part| {
        seal.take(&part);
        Ok(())
    })?;
    Ok(seal.finish())
}

#[allow(clippy::unnecessary_cast, reason = "the width of these fields differs between architectures")]
fn stamp(stat: &Stat) -> Stamp {
    (stat.st_ino as u64, stat.st_ctime as i64, stat.st_ctime_nsec as i64)
}
