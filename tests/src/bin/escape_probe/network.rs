//! Attempts on the network: kinds of sockets, the host's listeners, the sandbox's own interface.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
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
    for (name, address) in ADDRESSES {
        for port in [22, 53, 80, 443] {
            let address = SocketAddr::new(*address, port);
            let reached = if targets.redirected { answer_of(address) } else { reach(address).map(drop) };
            report.add(&format!("reach {name} at port {port}"), must_fail(reached));
        }
        for port in [53, 123, 443] {
            if targets.redirected && port == 53 && address.is_ipv4() {
                continue;
            }
            let sent = send(SocketAddr::new(*address, port));
            report.add(&format!("send a datagram to {name} at port {port}"), must_fail(sent));
        }
    }
    let broadcast = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.set_broadcast(true)?;
        socket.send_to(b"x", "255.255.255.255:67")
    });
    report.add("send a broadcast", must_fail(broadcast));
    for (name, kind, body) in CHANGES {
        report.add(name, change(*kind, body));
    }
    for (family, name) in [(libc::AF_INET, "ICMP"), (libc::AF_INET6, "ICMPv6")] {
        let protocol = if family == libc::AF_INET { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 };
        let arguments = [family as u64, libc::SOCK_DGRAM as u64, protocol as u64];
        report.add(&format!("make an {name} socket"), judge(call(libc::SYS_socket, arguments)));
    }
    for port in [53, 80] {
        let bound = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
        report.add(&format!("take port {port}"), must_fail(bound));
    }
    report.add(
        "find sockets in the file system",
        sockets_in(&["/run", "/var/run", "/tmp", "/var/tmp", "/home", "/dev"]),
    );
    report.add("have an interface besides lo", interfaces());
    report.add("change an interface", change_interface());
}

/// Hosts outside of any sandbox.
const ADDRESSES: &[(&str, IpAddr)] = &[
    ("the metadata service", IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254))),
    ("the internet", IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1))),
    ("a local network", IpAddr::V4(Ipv4Addr::new(192, 168, 0, 1))),
    ("a container engine's network", IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1))),
    ("the internet by IPv6", IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111))),
    ("the metadata service by IPv6", IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254))),
    ("a neighbour by IPv6", IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))),
    ("all neighbours by IPv6", IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1))),
];

/// Requests that would change the network: the kernel's number, and what stands behind the header.
const CHANGES: &[(&str, u16, &[u8])] = &[
    // The interface with number 1: no flags, of which one changes.
    ("take lo down", 16, &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
    // 10.0.0.1/8 for the interface with number 1.
    ("add an address", 20, &[2, 8, 0, 0, 1, 0, 0, 0, 8, 0, 2, 0, 10, 0, 0, 1]),
    ("remove an address", 21, &[2, 32, 0, 0, 1, 0, 0, 0, 8, 0, 2, 0, 198, 18, 0, 1]),
    // In the main table, by the interface with number 1.
    ("add a route", 24, &[2, 8, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0, 8, 0, 4, 0, 1, 0, 0, 0]),
    ("remove a route", 25, &[2, 0, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0, 8, 0, 4, 0, 1, 0, 0, 0]),
];

fn send(address: SocketAddr) -> std::io::Result<usize> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0))?.send_to(b"x", address)
}

/// Whether anything answers there: a proxy that takes the connection and closes it is no answer.
fn answer_of(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = reach(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    stream.read_exact(&mut [0])
}

fn change(kind: u16, body: &[u8]) -> Outcome {
    let arguments = [libc::AF_NETLINK as u64, libc::SOCK_RAW as u64, libc::NETLINK_ROUTE as u64];
    let socket = match call(libc::SYS_socket, arguments) {
        Ok(socket) => socket.unsigned_abs(),
        Err(errno) => return Outcome::Refused(describe(errno)),
    };
    // A header: length, kind, "request, to be confirmed", number, sender.
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend([5, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    if let Err(errno) = call(libc::SYS_sendto, [socket, message.as_ptr() as u64, message.len() as u64, 0]) {
        return Outcome::Refused(describe(errno));
    }
    let mut answer = [0u8; 64];
    match call(libc::SYS_recvfrom, [socket, answer.as_mut_ptr() as u64, answer.len() as u64, 0]) {
        Ok(20..) => match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Outcome::Through("the kernel did it".to_owned()),
            code => judge(Err(-code)),
        },
        Ok(_) => Outcome::Through("the kernel did not refuse".to_owned()),
        Err(errno) => Outcome::Refused(describe(errno)),
    }
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
