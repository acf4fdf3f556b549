//! Ways out that are not the proxy.

use ftl_tests::online::Setup;

use super::{Waiting, attack, nothing_was_reached, online};

pub(super) fn questions_for_names_carry_nothing_out(setup: Setup) {
    let online = online(setup);
    let said = attack(
        &online,
        "def query(name, kind, server='127.0.0.1', over_tcp=False):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    message = struct.pack('>HHHHHH', 7, 0x0100, 1, 0, 0, 0) + labels + b'\\0' + struct.pack('>HH', kind, 1)
    try:
        if over_tcp:
            stream = opened((server, 53))
            stream.sendall(struct.pack('>H', len(message)) + message)
            stream.settimeout(5)
            answer = stream.recv(65536)[2:]
        else:
            stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            stream.settimeout(5)
            stream.sendto(message, (server, 53))
            answer = stream.recv(65536)
    except OSError:
        return None
    code, counts = answer[3] & 15, struct.unpack('>HHH', answer[6:12])
    return code, counts[0], answer
# An allowed name has one address, and nothing else about it is told.
assert query(HOST, 1)[:2] == (0, 1), query(HOST, 1)
for kind in (28, 64, 65, 16, 255, 15, 5, 2, 10):
    answer = query(HOST, kind)
    assert answer is None or answer[1] == 0, (kind, answer)
for name in ['secret-data.attacker.test', 'x' * 60 + '.' + 'y' * 60 + '.attacker.test', 'xapi.example.com', 'a.' * 60 + 'test']:
    for kind in (1, 28, 16, 65, 255, 5, 10):
        for server in ('127.0.0.1', '8.8.8.8', '192.0.2.53'):
            for over_tcp in (False, True):
                answer = query(name, kind, server, over_tcp)
                assert answer is None or (answer[0] in (1, 3, 4, 5) and answer[1] == 0), (name, kind, answer)
for data in [b'', b'x', b'\\xff' * 12, b'\\0' * 600, os.urandom(200), struct.pack('>HHHHHH', 1, 0x100, 9, 0, 0, 0)]:
    stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stream.sendto(data, ('127.0.0.1', 53))
assert query(HOST, 1)[:2] == (0, 1)",
    );
    nothing_was_reached(&online, &said);
}

pub(super) fn nothing_but_tcp_leaves_and_that_only_to_the_proxy(setup: Setup) {
    let online = online(setup);
    let outside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    outside.set_nonblocking(true).unwrap();
    let port = outside.local_addr().unwrap().port();
    let said = attack(
        &online,
        &format!(
            "def refused(what, do):
    try:
        do()
    except OSError as error:
        print(what, error)
        return
    raise AssertionError(what)
def udp(address, family=socket.AF_INET):
    stream = socket.socket(family, socket.SOCK_DGRAM)
    stream.settimeout(1)
    stream.sendto(b'data', address)
    stream.recv(1)
for address in [('1.1.1.1', 443), ('8.8.8.8', 123), ('10.0.0.1', 1), ('192.0.2.1', 5353), ('224.0.0.251', 5353), ('255.255.255.255', 67)]:
    refused('udp', lambda: udp(address))
for address in ['2001:4860:4860::8888', 'fe80::1', '::ffff:1.1.1.1', 'ff02::1', '64:ff9b::808:808']:
    refused('udp6', lambda: udp((address, 443), socket.AF_INET6))
for address in ['2001:4860:4860::8888', 'fd00:ec2::254', 'fe80::1']:
    refused('tcp6', lambda: socket.create_connection((address, 443), 3))
for family, kind, protocol in [(socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_INET, socket.SOCK_RAW, 255), (socket.AF_INET6, socket.SOCK_RAW, 58),
    (socket.AF_PACKET, socket.SOCK_RAW, 3), (socket.AF_INET, socket.SOCK_RAW, 6)]:
    refused('raw', lambda: socket.socket(family, kind, protocol))
def ping():
    stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1)
    stream.settimeout(1)
    stream.sendto(b'\\x08\\0\\0\\0\\0\\1\\0\\1data', ('8.8.8.8', 0))
    stream.recv(1)
refused('icmp', ping)
refused('sctp', lambda: socket.create_connection.__call__ and socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).connect(('1.1.1.1', 80)))
refused('host', lambda: socket.create_connection(('127.0.0.1', {port}), 3))"
        ),
    );
    assert!(outside.accept().is_err(), "the host's loopback was reached");
    nothing_was_reached(&online, &said);
}

pub(super) fn without_the_daemon_nothing_goes_out_any_more(setup: Setup) {
    let online = online(setup);
    let script = "import threading
print(get('/before', bearer())[0])
sys.stdin.readline()
while True:
    get('/after', bearer())";
    let mut waiting = Waiting::start(&online, script);
    assert_eq!(waiting.line(), "200\n");
    let daemon = online.world.daemon_pid();
    let pid = rustix::process::Pid::from_raw(daemon).unwrap();
    let inside = online.processes();
    assert!(!inside.is_empty());
    let open = |pid: &i32| {
        let pid = rustix::process::Pid::from_raw(*pid).unwrap();
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
    };
    let handles: Vec<_> = inside.iter().filter_map(open).collect();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    waiting.go_on();
    for handle in &handles {
        let mut wanted = [rustix::event::PollFd::new(handle, rustix::event::PollFlags::IN)];
        let patience = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut wanted, Some(&patience)).unwrap(), 1, "a process lives on");
    }
    let _ended = waiting.child.wait().unwrap();
    assert!(online.upstream.at("/after").is_empty(), "{:#?}", online.upstream.seen());
}
