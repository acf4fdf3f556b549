//! The packet rules of a sandbox with a way out.
//!
//! Owns the rules: connections and questions for names that would leave end at the sandbox's own
//! sockets, and whatever else would leave is refused at once. Must not know who listens there. They are
//! set by one transaction, before any program runs, and nothing in the sandbox may change them.

use std::io;
use std::net::Ipv4Addr;

use crate::netlink::{Attribute, Messages, Part};

/// The name of the table; seen by nobody, since nobody in the sandbox may ask.
const TABLE: &str = "ftl";

/// The first byte of every address of a loopback interface.
const LOOPBACK: u8 = 127;

/// Where a chain stands among others: after the place where destinations change, which is before.
const PRIORITY_REDIRECT: i32 = -100;
const PRIORITY_CONFINE: i32 = 0;

/// Attributes that the C library's binding does not name; numbers of the kernel's `nf_tables.h`.
mod attribute {
    use libc::c_int;

    pub(super) const TABLE_NAME: c_int = 1;

    pub(super) const CHAIN_TABLE: c_int = 1;
    pub(super) const CHAIN_NAME: c_int = 3;
    pub(super) const CHAIN_HOOK: c_int = 4;
    pub(super) const CHAIN_POLICY: c_int = 5;
    pub(super) const CHAIN_TYPE: c_int = 7;
    pub(super) const HOOK_NUMBER: c_int = 1;
    pub(super) const HOOK_PRIORITY: c_int = 2;

    pub(super) const RULE_TABLE: c_int = 1;
    pub(super) const RULE_CHAIN: c_int = 2;
    pub(super) const RULE_EXPRESSIONS: c_int = 4;
    pub(super) const ELEMENT: c_int = 1;
    pub(super) const EXPRESSION_NAME: c_int = 1;
    pub(super) const EXPRESSION_DATA: c_int = 2;

    pub(super) const PAYLOAD_TO: c_int = 1;
    pub(super) const PAYLOAD_BASE: c_int = 2;
    pub(super) const PAYLOAD_OFFSET: c_int = 3;
    pub(super) const PAYLOAD_LENGTH: c_int = 4;
    pub(super) const META_TO: c_int = 1;
    pub(super) const META_KEY: c_int = 2;
    pub(super) const COMPARE_FROM: c_int = 1;
    pub(super) const COMPARE_OPERATION: c_int = 2;
    pub(super) const COMPARE_DATA: c_int = 3;
    pub(super) const IMMEDIATE_TO: c_int = 1;
    pub(super) const IMMEDIATE_DATA: c_int = 2;
    pub(super) const DATA_VALUE: c_int = 1;
    pub(super) const DATA_VERDICT: c_int = 2;
    pub(super) const VERDICT_CODE: c_int = 1;
    pub(super) const REDIRECT_PORT: c_int = 1;
}

/// Sends connections to elsewhere to port `connections` of the loopback address and questions for names
/// to port `names`; of the rest only what goes to the loopback interface or to `own` gets through.
pub(crate) fn close(own: Ipv4Addr, connections: u16, names: u16) -> io::Result<()> {
    let mut rules = Messages::default();
    mark(&mut rules, libc::NFNL_MSG_BATCH_BEGIN);
    let table = [Attribute::text(attribute::TABLE_NAME, TABLE)];
    change(&mut rules, libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, table);
    chain(&mut rules, "redirect", "nat", PRIORITY_REDIRECT, libc::NF_ACCEPT);
    chain(&mut rules, "confine", "filter", PRIORITY_CONFINE, libc::NF_DROP);

    let elsewhere = || destination(libc::NFT_CMP_NEQ, &[LOOPBACK]);
    let to_port = |port: u16| [load(&port.to_be_bytes()), redirect()];
    rule(
        &mut rules,
        "redirect",
        elsewhere().into_iter().chain(protocol(libc::IPPROTO_TCP)).chain(to_port(connections)),
    );
    let question = protocol(libc::IPPROTO_UDP).into_iter().chain(destination_port(53));
    rule(&mut rules, "redirect", elsewhere().into_iter().chain(question).chain(to_port(names)));
    for address in [&[LOOPBACK][..], &own.octets()] {
        rule(&mut rules, "confine", destination(libc::NFT_CMP_EQ, address).into_iter().chain([accept()]));
    }
    mark(&mut rules, libc::NFNL_MSG_BATCH_END);
    rules.send(Part::Netfilter)
}

/// Begins or ends a transaction.
fn mark(rules: &mut Messages, kind: libc::c_int) {
    let [high, low] = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
    rules.add(kind, 0, &[libc::AF_UNSPEC as u8, 0, high, low], []);
}

fn change(
    rules: &mut Messages,
    kind: libc::c_int,
    flags: libc::c_int,
    attributes: impl IntoIterator<Item = Attribute>,
) {
    let kind = libc::NFNL_SUBSYS_NFTABLES << 8 | kind;
    rules.add(kind, flags | libc::NLM_F_ACK, &[libc::NFPROTO_IPV4 as u8, 0, 0, 0], attributes);
}

fn chain(rules: &mut Messages, name: &str, kind: &str, priority: i32, policy: libc::c_int) {
    let hook = [
        Attribute::number(attribute::HOOK_NUMBER, libc::NF_INET_LOCAL_OUT as u32),
        Attribute::number(attribute::HOOK_PRIORITY, priority.cast_unsigned()),
    ];
    let attributes = [
        Attribute::text(attribute::CHAIN_TABLE, TABLE),
        Attribute::text(attribute::CHAIN_NAME, name),
        Attribute::nest(attribute::CHAIN_HOOK, hook),
        Attribute::number(attribute::CHAIN_POLICY, policy as u32),
        Attribute::text(attribute::CHAIN_TYPE, kind),
    ];
    change(rules, libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, attributes);
}

fn rule(rules: &mut Messages, chain: &str, expressions: impl IntoIterator<Item = Attribute>) {
    let attributes = [
        Attribute::text(attribute::RULE_TABLE, TABLE),
        Attribute::text(attribute::RULE_CHAIN, chain),
        Attribute::nest(attribute::RULE_EXPRESSIONS, expressions),
    ];
    change(rules, libc::NFT_MSG_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND, attributes);
}

// === expressions ===

fn expression(name: &str, data: impl IntoIterator<Item = Attribute>) -> Attribute {
    let parts = [
        Attribute::text(attribute::EXPRESSION_NAME, name),
        Attribute::nest(attribute::EXPRESSION_DATA, data),
    ];
    Attribute::nest(attribute::ELEMENT, parts)
}

/// The packet goes (or does not go) to an address that begins with these bytes.
fn destination(operation: libc::c_int, address: &[u8]) -> [Attribute; 2] {
    /// Where it stands in the header.
    const OFFSET: u32 = 16;
    [payload(libc::NFT_PAYLOAD_NETWORK_HEADER, OFFSET, address.len()), compare(operation, address)]
}

/// The packet goes to this port; asked only where the protocol has ports.
fn destination_port(port: u16) -> [Attribute; 2] {
    const OFFSET: u32 = 2;
    let port = port.to_be_bytes();
    [payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, OFFSET, port.len()), compare(libc::NFT_CMP_EQ, &port)]
}

fn protocol(number: libc::c_int) -> [Attribute; 2] {
    let load = expression(
        "meta",
        [
            Attribute::number(attribute::META_KEY, libc::NFT_META_L4PROTO as u32),
            Attribute::number(attribute::META_TO, libc::NFT_REG_1 as u32),
        ],
    );
    [load, compare(libc::NFT_CMP_EQ, &[number as u8])]
}

fn payload(base: libc::c_int, offset: u32, length: usize) -> Attribute {
    expression(
        "payload",
        [
            Attribute::number(attribute::PAYLOAD_TO, libc::NFT_REG_1 as u32),
            Attribute::number(attribute::PAYLOAD_BASE, base as u32),
            Attribute::number(attribute::PAYLOAD_OFFSET, offset),
            Attribute::number(attribute::PAYLOAD_LENGTH, length as u32),
        ],
    )
}

fn compare(operation: libc::c_int, value: &[u8]) -> Attribute {
    expression(
        "cmp",
        [
            Attribute::number(attribute::COMPARE_FROM, libc::NFT_REG_1 as u32),
            Attribute::number(attribute::COMPARE_OPERATION, operation as u32),
            Attribute::nest(attribute::COMPARE_DATA, [Attribute::of(attribute::DATA_VALUE, value)]),
        ],
    )
}

fn load(value: &[u8]) -> Attribute {
    let data = [Attribute::of(attribute::DATA_VALUE, value)];
    immediate(libc::NFT_REG_1, data)
}

fn accept() -> Attribute {
    let verdict = [Attribute::number(attribute::VERDICT_CODE, libc::NF_ACCEPT as u32)];
    immediate(libc::NFT_REG_VERDICT, [Attribute::nest(attribute::DATA_VERDICT, verdict)])
}

fn immediate(register: libc::c_int, data: [Attribute; 1]) -> Attribute {
    expression(
        "immediate",
        [
            Attribute::number(attribute::IMMEDIATE_TO, register as u32),
            Attribute::nest(attribute::IMMEDIATE_DATA, data),
        ],
    )
}

/// Ends the packet's way at this namespace's own loopback address, at the port that was loaded.
fn redirect() -> Attribute {
    expression("redir", [Attribute::number(attribute::REDIRECT_PORT, libc::NFT_REG_1 as u32)])
}
