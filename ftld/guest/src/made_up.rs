//! What a sandbox has in `/etc` instead of the host's or the image's own.
//!
//! Owns the files and their content. Must not know how they get into place. They name the sandbox's one
//! user, its loopback addresses and its name server, and nobody else.

use crate::protocol::Network;

/// Files of `/etc` that are made up, with their content; `ids` are the agent's user and group.
#[must_use]
pub fn made_up(shell: &str, network: Network, ids: (u32, u32)) -> [(&'static str, String); 8] {
    let (uid, gid) = ids;
    let resolver = match network {
        Network::None => "# There is no name server here.\n",
        // An answer may wait for the human; a resolver that asks again meanwhile gets the same one.
        Network::Egress => "nameserver 127.0.0.1\noptions edns0 timeout:30 attempts:2\n",
    };
    [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/:/usr/sbin/nologin\n\
                 agent:x:{uid}:{gid}:agent:/home/agent:{shell}\n\
                 nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
            ),
        ),
        ("group", format!("root:x:0:\nagent:x:{gid}:\nnogroup:x:65534:\n")),
        ("hosts", "127.0.0.1 localhost ftl\n::1 localhost ip6-localhost ip6-loopback\n".to_owned()),
        ("hostname", "ftl\n".to_owned()),
        ("resolv.conf", resolver.to_owned()),
        ("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n".to_owned()),
        // The host's own would replace PATH, by which the agent's tools are found.
        ("profile", "[ -n \"$BASH_VERSION\" ] && [ -r /etc/bash.bashrc ] && . /etc/bash.bashrc\n".to_owned()),
        ("environment", String::new()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_who_the_sandbox_says_and_names_are_asked_only_where_somebody_answers() {
        let files = made_up("/bin/sh", Network::Egress, (501, 20));
        let content = |name| &files.iter().find(|(file, _)| *file == name).unwrap().1;
        assert!(content("passwd").contains("agent:x:501:20:agent:/home/agent:/bin/sh\n"));
        assert!(content("group").contains("agent:x:20:\n"));
        assert!(content("resolv.conf").starts_with("nameserver 127.0.0.1\n"));
        let files = made_up("/bin/sh", Network::None, (1, 1));
        assert!(files.iter().all(|(_, content)| !content.contains("nameserver")));
    }
}
