//! Moving and hashing contents.
//!
//! Owns how bytes get from one file to another: shared where the file system can share them, and with holes
//! kept as holes, so that a sparse file costs neither its size on disk nor the time to write it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ftl_core::id::Hash;
use rustix::fs::{SeekFrom, ioctl_ficlone, seek};
use rustix::io::Errno;

use super::step;

const BLOCK: usize = 128 * 1024;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// What went over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moved {
    pub(super) hash: Hash,
    pub(super) size: u64,
}

/// A stored content, to be read from its beginning.
#[derive(Debug)]
pub struct Content(Held);

#[derive(Debug)]
enum Held {
    /// It has a file of its own.
    File(File),
    /// It came out of a pack, and is what its hash says.
    Bytes(io::Cursor<Vec<u8>>),
}

impl Content {
    pub(super) fn of_file(file: File) -> Self {
        Self(Held::File(file))
    }

    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self(Held::Bytes(io::Cursor::new(bytes)))
    }

    /// Its length in bytes.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn size(&self) -> io::Result<u64> {
        match &self.0 {
            Held::File(file) => Ok(file.metadata()?.len()),
            Held::Bytes(bytes) => Ok(bytes.get_ref().len() as u64),
        }
    }

    /// Whether it has this hash; it is read again when it has a file of its own.
    pub(super) fn is(&self, wanted: Hash) -> io::Result<bool> {
        match &self.0 {
            Held::File(file) => {
                let found = hash(file)?.hash;
                // Looking for holes moves the place that is read next.
                seek(file, SeekFrom::Start(0))?;
                Ok(found == wanted)
            }
            Held::Bytes(_) => Ok(true),
        }
    }

    /// Writes all of it into an empty file and hashes exactly what was written.
    pub(super) fn copy_to(&self, to: &File) -> io::Result<Moved> {
        match &self.0 {
            Held::File(file) => copy(file, to),
            Held::Bytes(bytes) => {
                step::write_at(to, bytes.get_ref(), 0)?;
                Ok(Moved { hash: Hash::of(bytes.get_ref()), size: bytes.get_ref().len() as u64 })
            }
        }
    }

    /// The same without hashing where it can be shared.
    pub(super) fn duplicate_to(&self, to: &File) -> io::Result<()> {
        match &self.0 {
            Held::File(file) => duplicate(file, to),
            Held::Bytes(bytes) => step::write_at(to, bytes.get_ref(), 0),
        }
    }
}

impl io::Read for Content {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Held::File(file) => file.read(into),
            Held::Bytes(bytes) => bytes.read(into),
        }
    }
}

/// Copies all of `from` into the empty file `to` and hashes exactly what was written.
pub(super) fn copy(from: &File, to: &File) -> io::Result<Moved> {
    match share(from, to)? {
        // What was shared is hashed where nobody changes it.
        true => hash(to),
        false => pass(from, Some(to)),
    }
}

/// Copies without hashing where the content can be shared.
pub(super) fn duplicate(from: &File, to: &File) -> io::Result<()> {
    if !share(from, to)? {
        pass(from, Some(to))?;
    }
    Ok(())
}

/// The hash and size of a file.
pub(super) fn hash(file: &File) -> io::Result<Moved> {
    pass(file, None)
}

/// Lets the file system share the content. Says whether it did.
fn share(from: &File, to: &File) -> io::Result<bool> {
    match ioctl_ficlone(to, from) {
        Ok(()) => {
            step::shared(to);
            Ok(true)
        }
        // Every way of saying that it cannot: another file system, or one without sharing.
        Err(
            Errno::OPNOTSUPP
            | Errno::XDEV
            | Errno::INVAL
            | Errno::NOTTY
            | Errno::NOSYS
            | Errno::PERM
            | Errno::BADF,
        ) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads a file extent by extent, hashes it, and writes what is not zero.
fn pass(from: &File, to: Option<&File>) -> io::Result<Moved> {
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    'extents: loop {
        let (start, end) = match seek(from, SeekFrom::Data(at)) {
            Ok(start) => (start, seek(from, SeekFrom::Hole(start)).unwrap_or(u64::MAX)),
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => {
                let size = from.metadata()?.len().max(at);
                (size, size)
            }
            Err(_) => (at, u64::MAX),
        };
        hash_zeros(&mut hasher, start.saturating_sub(at));
        at = start.max(at);
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            let read = match from.read_at(&mut block[..most], at) {
                Ok(0) => break 'extents,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hasher.update(&block[..read]);
            if let Some(to) = to.filter(|_| block[..read] != ZEROS[..read]) {
                step::write_at(to, &block[..read], at)?;
            }
            at += read as u64;
        }
        if start == end {
            break;
        }
    }
    if let Some(to) = to {
        step::cut(to, at)?;
    }
    Ok(Moved { hash: Hash(*hasher.finalize().as_bytes()), size: at })
}

fn hash_zeros(hasher: &mut blake3::Hasher, mut count: u64) {
    while count > 0 {
        let some = count.min(BLOCK as u64);
        hasher.update(&ZEROS[..some as usize]);
        count -= some;
    }
}
