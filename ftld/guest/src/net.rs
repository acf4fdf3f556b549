//! The network of a sandbox: its loopback interface, and the sockets at which its ways out begin.
//!
//! Owns the steps and their order. Must not know what becomes of a connection: the sockets are handed
//! on. A socket belongs to its namespace for ever, wherever its descriptor goes, so that whoever has it
//! knows from which sandbox a connection came, and nobody in between copies a byte.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ftl_guest::protocol::{At, Failure, Network, PROXY_PORT, Stage, TRANSPARENT_PORT};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::firewall;
use crate::netlink::{Attribute, Messages, Part};

/// The address that programs get for connections to elsewhere, from a range that no network routes.
const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// Where questions for names arrive.
const NAMES_PORT: u16 = 53;

/// Whichever is free.
const ANY_PORT: u16 = 0;

/// The kernel gives the loopback interface of every namespace this number.
const LOOPBACK_INDEX: u32 = 1;

/// Connections that wait to be accepted; the kernel allows no more either.
const BACKLOG: i32 = 4096;

/// The sockets at which ways out begin.
pub(crate) struct Doors {
    /// Connections of programs that know of the proxy.
    pub(crate) proxy: OwnedFd,
    /// Questions for names, in datagrams.
    pub(crate) names: OwnedFd,
    /// Questions for names, in connections.
    pub(crate) names_stream: OwnedFd,
    /// Connections of programs that do not, or why there are none.
    pub(crate) transparent: Result<OwnedFd, Failure>,
}

/// Raises the interface of this process's namespace and opens what is wanted.
pub(crate) fn open(network: Network) -> Result<Option<Doors>, Failure> {
    raise_loopback().at(Stage::Network, "bringing up the loopback interface")?;
    match network {
        Network::None => Ok(None),
        Network::Egress => Ok(Some(Doors {
            proxy: listen(PROXY_PORT)?,
            names: bind(SocketType::DGRAM, NAMES_PORT)?,
            names_stream: listen(NAMES_PORT)?,
            transparent: redirect()?,
        })),
    }
}

/// Opens what a program without rights can: the proxy's address. Nobody asks for names where they are heard then, as
/// their port is the system's, and nothing is redirected.
pub(crate) fn open_inside() -> Result<Doors, Failure> {
    Ok(Doors {
        proxy: listen(PROXY_PORT)?,
        names: bind(SocketType::DGRAM, ANY_PORT)?,
        names_stream: listen(ANY_PORT)?,
        transparent: Err(Failure {
            stage: Stage::Network,
            errno: libc::EPERM,
            what: "redirecting without rights".to_owned(),
        }),
    })
}

/// Redirects what would leave. Without packet rules there is no route either: what does not know of the
/// proxy then fails at once instead of waiting for nobody. That is the inner error.
fn redirect() -> Result<Result<OwnedFd, Failure>, Failure> {
    let listener = listen(TRANSPARENT_PORT)?;
    let rules = firewall::close(OWN_ADDRESS, TRANSPARENT_PORT, NAMES_PORT);
    if let Err(failure) = rules.at(Stage::Network, "setting packet rules") {
        return Ok(Err(failure));
    }
    route_everything().at(Stage::Network, "routing to the loopback interface")?;
    Ok(Ok(listener))
}

fn raise_loopback() -> std::io::Result<()> {
    let up = (libc::IFF_UP as u32).to_ne_bytes();
    // The interface's family, kind and number; which flags, and which of them change.
    let mut fixed = vec![libc::AF_UNSPEC as u8, 0, 0, 0];
    fixed.extend(LOOPBACK_INDEX.to_ne_bytes());
    fixed.extend([up, up].concat());
    let mut message = Messages::default();
    message.add(libc::RTM_NEWLINK.into(), libc::NLM_F_ACK, &fixed, []);
    message.send(Part::Route)
}

fn route_everything() -> std::io::Result<()> {
    let index = LOOPBACK_INDEX.to_ne_bytes();
    let new = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let mut messages = Messages::default();
    let mut fixed = vec![libc::AF_INET as u8, 32, 0, libc::RT_SCOPE_UNIVERSE];
    fixed.extend(index);
    let address = OWN_ADDRESS.octets();
    let attributes = [libc::IFA_LOCAL, libc::IFA_ADDRESS].map(|kind| Attribute::of(kind.into(), &address));
    messages.add(libc::RTM_NEWADDR.into(), new, &fixed, attributes);

    // To any destination, from any source, with no special service.
    let mut fixed = vec![libc::AF_INET as u8, 0, 0, 0];
    fixed.extend([libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, libc::RT_SCOPE_LINK, libc::RTN_UNICAST]);
    fixed.extend([0; 4]);
    let attributes =
        [Attribute::of(libc::RTA_OIF.into(), &index), Attribute::of(libc::RTA_PREFSRC.into(), &address)];
    messages.add(libc::RTM_NEWROUTE.into(), new, &fixed, attributes);
    messages.send(Part::Route)
}

fn listen(port: u16) -> Result<OwnedFd, Failure> {
    let socket = bind(SocketType::STREAM, port)?;
    rustix::net::listen(&socket, BACKLOG).at(Stage::Network, format_args!("listening at port {port}"))?;
    Ok(socket)
}

fn bind(kind: SocketType, port: u16) -> Result<OwnedFd, Failure> {
    let opened = || {
        let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        Ok(socket)
    };
    let opened: rustix::io::Result<OwnedFd> = opened();
    opened.at(Stage::Network, format_args!("taking port {port}"))
}

impl Doors {
    /// Their descriptors, in the order in which they travel.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.proxy.as_fd(), self.names.as_fd(), self.names_stream.as_fd()];
        all.extend(self.transparent.iter().map(AsFd::as_fd));
        all
    }
}
