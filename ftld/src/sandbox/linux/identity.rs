//! Who a sandbox is on the host.
//!
//! Owns the choice of user and group ids and the maps that give them. Must not know what they own.
//! A daemon of an ordinary user gives its sandboxes that user's ids. A daemon of root must not: even
//! without capabilities, root's id may write what the system keeps for root. Its sandboxes get an id
//! that belongs to nobody.

use std::io;
use std::path::Path;

use ftl_guest::protocol::AGENT_ID;

use super::super::{Owner, SandboxError};

/// The id that sandboxes of root's daemon have: above every range that distributions, systemd or
/// container engines hand out, below the largest that all tools can read.
pub(super) const SANDBOX_ID: u32 = 0x7246_544c;

/// Whom a sandbox's files belong to; `None` for the daemon's own user.
pub(in super::super) fn owner() -> Result<Option<Owner>, SandboxError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let chosen = |path: &str| -> Result<u32, SandboxError> {
        let path = Path::new(path);
        let failed = |source| SandboxError::File { act: "reading", path: path.to_owned(), source };
        let map = std::fs::read_to_string(path).map_err(failed)?;
        choose(&map).ok_or_else(|| failed(io::Error::other("it leaves no id for sandboxes")))
    };
    Ok(Some(Owner { uid: chosen("/proc/self/uid_map")?, gid: chosen("/proc/self/gid_map")? }))
}

/// The id to use where `map` says which ids exist: on most machines all; in a container maybe few, and
/// then the last one.
fn choose(map: &str) -> Option<u32> {
    let ranges = map.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u32>);
        let first = fields.next()?.ok()?;
        let count = fields.nth(1)?.ok()?;
        Some((first, first.checked_add(count.checked_sub(1)?)?))
    });
    let mut last = None;
    for (first, end) in ranges {
        if (first..=end).contains(&SANDBOX_ID) {
            return Some(SANDBOX_ID);
        }
        last = last.max(Some(end));
    }
    // The lowest ids belong to the system's own users wherever they exist.
    last.filter(|id| *id >= AGENT_ID)
}

/// Gives a process that has entered a user namespace its ids.
pub(super) fn map(pid: u32, owner: Option<Owner>) -> io::Result<()> {
    let owner = owner.unwrap_or_else(|| Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    });
    let write = |name: &str, text: String| std::fs::write(format!("/proc/{pid}/{name}"), text);
    // An ordinary user may map groups only after giving up to change them.
    write("setgroups", "deny".to_owned())?;
    write("gid_map", format!("{AGENT_ID} {} 1\n", owner.gid))?;
    write("uid_map", format!("{AGENT_ID} {} 1\n", owner.uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_exists_and_is_nobodys_is_chosen() {
        assert_eq!(choose("         0          0 4294967295\n"), Some(SANDBOX_ID));
        assert_eq!(choose("0 100000 65536\n"), Some(65535));
        assert_eq!(choose("0 1000 1\n1 100000 65536\n"), Some(65536));
        assert_eq!(choose("0 1000 1\n"), None);
        assert_eq!(choose("nonsense\n"), None);
    }
}
