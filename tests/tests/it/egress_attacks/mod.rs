//! Attacks on the egress proxy from inside a sandbox, black box: what counts is what the server outside
//! received, and what came back.
//!
//! Owns running a hostile script and the two ways to judge it; the scripts are in the modules.

mod credentials;
mod network;
mod reflection;
mod requests;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Stdio};

use ftl_tests::leaks;
use ftl_tests::online::{HOST, KEY, Online, REAL, Setup};
use ftl_tests::upstream::Service;
use ftl_tests::world::Said;

use credentials::*;
use network::*;
use reflection::*;
use requests::*;

/// A host that is allowed, and that no credential is bound to.
const OTHER: &str = "other.example.com";
/// A real value that the daemon keeps itself.
const KEPT: &str = "wB6+kT9/mZ3-xR8_cN5.vL2hG7fD4sA1qY0pJiU=";

const PRELUDE: &str = include_str!("../../../stub/hostile_client.py");

in_each_sandbox! {
    what_a_host_reflects_comes_back_as_the_shadow_in_every_encoding_and_chunking,
    a_shadow_in_the_wrong_place_never_becomes_real,
    a_redirect_is_a_new_decision,
    what_is_revoked_on_an_open_connection_is_gone_from_the_next_request_on,
    a_credential_that_is_removed_on_an_open_connection_is_gone_from_the_next_request_on,
    questions_for_names_carry_nothing_out,
    nothing_but_tcp_leaves_and_that_only_to_the_proxy,
    without_the_daemon_nothing_goes_out_any_more,
    rarer_encodings_and_broken_lines_come_back_without_the_value,
    names_silent_compression_and_parts_bring_nothing_back,
    a_websocket_that_reflects_in_fragments_brings_the_shadow,
    writes_cut_at_every_offset_are_judged_like_whole_ones,
    bytes_that_are_neither_tls_nor_http_reach_nobody,
    a_host_that_is_not_the_connections_own_is_refused,
    an_authority_of_http_2_that_is_not_the_connections_own_is_refused,
    odd_hosts_and_addresses_reach_nobody,
    a_name_in_tls_does_not_front_for_an_address,
    no_second_request_is_smuggled,
    a_refusal_says_what_to_do_and_reaches_nobody,
}

fn online(setup: Setup) -> Online {
    setup.service(OTHER, Service::Test).start()
}

/// Runs a hostile script, which must come to its end and print nothing real.
fn attack(online: &Online, script: &str) -> Said {
    online.write("hostile.py", &format!("{PRELUDE}\n\n{script}\nprint('the end')\n"));
    let said = online.inside("/usr/bin/python3 hostile.py");
    assert!(said.code == 0 && said.out.ends_with("the end\n"), "{said:#?}");
    assert!(!leaks::holds(said.out.as_bytes(), &[REAL, KEPT]), "a real value came back: {said:#?}");
    said
}

/// What the server saw is fit: the real value in its one slot at its own host, and nowhere else; the shadow
/// at no other host.
fn nothing_leaked(online: &Online) {
    let shadow = online.shadow(KEY);
    for seen in online.upstream.seen() {
        let own = seen.sni.as_deref() == Some(HOST);
        if own {
            assert!(seen.host == HOST || seen.host == format!("{HOST}:443"), "{seen:#?}");
        }
        for (name, value) in &seen.headers {
            let slot = own && name == "authorization" && *value == format!("Bearer {REAL}");
            assert!(slot || !leaks::holds(value.as_bytes(), &[REAL, KEPT]), "{seen:#?}");
            assert!(own || !leaks::holds(value.as_bytes(), &[&shadow]), "{seen:#?}");
        }
        assert!(seen.all("authorization").len() <= 1, "{seen:#?}");
        assert!(!leaks::holds(seen.target.as_bytes(), &[REAL, KEPT]), "{seen:#?}");
        assert!(!leaks::holds(&seen.body, &[REAL, KEPT]), "{seen:#?}");
    }
}

/// The hostile script did not bring about a single connection.
fn nothing_was_reached(online: &Online, said: &Said) {
    assert_eq!(online.upstream.connections(), 0, "{said:#?} {:#?}", online.upstream.seen());
}

/// A hostile script that waits for the test in its middle.
struct Waiting {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Waiting {
    fn start(online: &Online, script: &str) -> Self {
        online.write("hostile.py", &format!("{PRELUDE}\n\n{script}\nprint('the end')\n"));
        let mut command = online.command(&["/usr/bin/python3", "-u", "hostile.py"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"go on\n").unwrap();
    }
}
