//! The helper that builds a sandbox and is process 1 in it.
//!
//! Reading order: [`launch`] is the story, from the daemon's first message to a closed sandbox;
//! [`sources`], [`mounts`], [`root`] and [`etc`] make what is seen in it; [`privileges`], [`confine`] and [`seccomp`]
//! take away what is not needed; [`init`] and [`spawn`] run programs. One thread, no async runtime,
//! linked statically: it is executed from memory and needs nothing of any root directory.

mod confine;
mod etc;
mod init;
mod launch;
mod mounts;
mod privileges;
mod root;
mod seccomp;
mod sources;
mod spawn;

use std::process::ExitCode;

fn main() -> ExitCode {
    match launch::run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whatever went wrong was said on the control socket; there is nobody else to tell.
        Err(_) => ExitCode::FAILURE,
    }
}
