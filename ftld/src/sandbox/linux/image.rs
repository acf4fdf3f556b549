//! The helper's program, in memory.
//!
//! Owns how it gets there and that nobody can change it: there is no file that anyone could exchange,
//! and the memory is sealed. Must not know what it does.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags};

pub(in super::super) static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ftl-guest"));

/// The program, ready to be executed.
pub(in super::super) struct Image(OwnedFd);

impl Image {
    /// Puts it into memory and seals it.
    pub(in super::super) fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = match rustix::fs::memfd_create("ftl-guest", flags | MemfdFlags::EXEC) {
            // Kernels before 6.3 do not know that a memory file must be asked to be executable.
            Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("ftl-guest", flags)?,
            made => made?,
        };
        let mut rest = PROGRAM;
        while !rest.is_empty() {
            let written = rustix::io::write(&memory, rest)?;
            rest = &rest[written..];
        }
        rustix::fs::fcntl_add_seals(
            &memory,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
        Ok(Self(memory))
    }

    /// The path by which this process's children execute it.
    pub(in super::super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kind of segment that names a loader.
    const PT_INTERP: u32 = 3;

    /// The kinds of the program's segments, by the layout of 64-bit ELF.
    fn segment_kinds() -> Vec<u32> {
        let number = |at: usize, length: usize| {
            PROGRAM[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
        };
        let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
        assert!(count > 0);
        (0..count).map(|n| u32::try_from(number(table + n * size, 4)).unwrap()).collect()
    }

    #[test]
    fn the_program_is_static_and_cannot_be_changed() {
        let image = Image::new().unwrap();
        assert_eq!(&PROGRAM[..4], b"\x7fELF");
        assert!(!segment_kinds().contains(&PT_INTERP), "it asks for a loader");
        assert_eq!(rustix::io::write(&image.0, b"x"), Err(rustix::io::Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&image.0, 0), Err(rustix::io::Errno::PERM));
    }
}
