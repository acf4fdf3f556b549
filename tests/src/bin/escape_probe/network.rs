//! Attempts on the network: kinds of sockets, the host's listeners, the sandbox's own interface.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::calls::{call, describe, judge, must_fail};
use super::{Outcome, Report, Targets};

/// Socket families, kinds and protocols that no program here needs.
const SOCKETS: &[(&str, libc::c_int, libc::c_int, libc::c_int)] = &[
    ("a raw socket", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
    ("a raw socket, with flags", libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW),
    ("a raw IPv6 socket", libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
    ("a packet socket", libc::AF_PACKET, libc::SOCK_RAW, 0),
    ("an old packet socket", libc::AF_INET, 10, 0),
    ("a vsock", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
    ("a crypto socket", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
    ("an SCTP socket", libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
    ("an SCTP packet socket", libc::AF_INET, libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP),
    ("an MPTCP socket", libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
    ("a DCCP socket", libc::AF_INET, 6, 33),
    ("a key socket", libc::AF_KEY, libc::SOCK_RAW, 2),
    ("a CAN socket", libc::AF_CAN, libc::SOCK_RAW, 1),
    ("a Bluetooth socket", libc::AF_BLUETOOTH, libc::SOCK_RAW, 1),
    ("an RDS socket", libc::AF_RDS, libc::SOCK_SEQPACKET, 0),
    ("a TIPC socket", libc::AF_TIPC, libc::SOCK_RDM, 0),
    ("an XDP socket", libc::AF_XDP, libc::SOCK_RAW, 0),
    ("a netfilter socket", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
    ("a generic netlink socket", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_GENERIC),
    ("a kernel events socket", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT),
    ("an audit socket", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT),
    ("an IPsec socket", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_XFRM),
];

pub(super) fn attempt(report: &mut Report, targets: &Targets) {
    for (name, family, kind, protocol) in SOCKETS {
        let arguments = [*family as u64, *kind as u64, *protocol as u64];
        report.add(&format!("make {name}"), judge(call(libc::SYS_socket, arguments)));
    }
    let mut pair = [0i32; 2];
    let arguments = [libc::AF_TIPC as u64, libc::SOCK_STREAM as u64, 0, pair.as_mut_ptr() as u64];
    report.add("make a pair of TIPC sockets", judge(call(libc::SYS_socketpair, arguments)));

    for path in &targets.sockets {
        report.add(&format!("connect to {}", path.display()), must_fail(UnixStream::connect(path)));
    }
    for name in &targets.abstract_names {
        let connected =
            UnixAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address));
        report.add(&format!("connect to @{name}"), must_fail(connected));
    }
    for port in &targets.tcp_ports {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        report.add(&format!("connect to port {port} of the host"), must_fail(reach(address)));
    }
    for (name, address) in [("the metadata service", [169, 254, 169, 254]), ("the internet", [1, 1, 1, 1])] {
        report.add(&format!("reach {name}"), must_fail(reach(SocketAddr::from((address, 80)))));
    }
    let datagram = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", "1.1.1.1:53"));
    report.add("send a datagram", must_fail(datagram));
    report.add(
        "find sockets in the file system",
        sockets_in(&["/run", "/var/run", "/tmp", "/var/tmp", "/home", "/dev"]),
    );
    report.add("have an interface besides lo", interfaces());
    report.add("change an interface", change_interface());
}

fn reach(address: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, Duration::from_secs(2))
}

fn sockets_in(directories: &[&str]) -> Outcome {
    let mut pending: Vec<PathBuf> = directories.iter().map(PathBuf::from).collect();
    let mut found = Vec::new();
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_socket() => found.push(entry.path()),
                Ok(kind) if kind.is_dir() => pending.push(entry.path()),
                _ => {}
            }
        }
    }
    if found.is_empty() {
        Outcome::Refused("there are none".to_owned())
    } else {
        Outcome::Through(format!("{found:?}"))
    }
}

fn interfaces() -> Outcome {
    let text = fs::read_to_string(Path::new("/proc/net/dev")).unwrap_or_default();
    let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    if names == ["lo"] {
        Outcome::Refused("there is only lo".to_owned())
    } else {
        Outcome::Through(format!("{names:?}"))
    }
}

fn change_interface() -> Outcome {
    let socket = match call(libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_DGRAM as u64]) {
        Ok(socket) => socket.unsigned_abs(),
        Err(errno) => return Outcome::Refused(describe(errno)),
    };
    // A struct ifreq: the name, then the flags, here none.
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    judge(call(libc::SYS_ioctl, [socket, libc::SIOCSIFFLAGS, request.as_ptr() as u64]))
}
