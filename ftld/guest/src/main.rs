//! The helper that builds a sandbox and is process 1 in it.
//!
//! Reading order: [`launch`] is the story, from the daemon's first message to a closed sandbox;
//! [`sources`], [`mounts`], [`root`], [`etc`] and [`files`] make what is seen in it; [`net`], [`firewall`] and [`netlink`] its
//! network, [`carry`] and [`multiplex`] bring its way out where descriptors cannot; [`privileges`], [`confine`] and [`seccomp`] take away what is not needed; [`init`] and [`spawn`] run programs; [`serve`] does in a sandbox that others made; [`load`] reads ahead what will be run there, and [`keep`] has a session's files where the daemon's own cannot be seen. One thread, no async runtime,
//! linked statically: it is executed from memory and needs nothing of any root directory.

mod carry;
mod confine;
mod etc;
mod files;
mod firewall;
mod init;
mod keep;
mod launch;
mod load;
mod mounts;
mod multiplex;
mod net;
mod netlink;
mod outgoing;
mod privileges;
mod root;
mod seccomp;
mod serve;
mod sources;
mod spawn;

use std::process::ExitCode;

use ftl_guest::relay::INSIDE;

fn main() -> ExitCode {
    let done = match std::env::args_os().nth(1) {
        Some(mode) if mode == "relay" => carry::relay(),
        Some(mode) if mode == INSIDE => carry::relay_inside(),
        Some(mode) if mode == "serve" => serve::serve(),
        Some(mode) if mode == "load" => {
            load::load();
            Ok(())
        }
        Some(mode) if mode == "keep" => keep::keep(),
        // Whatever goes wrong is said on the control socket; there is nobody else to tell.
        _ => launch::run(),
    };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
