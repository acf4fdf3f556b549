//! Bytes, hosts and framing that the proxy must not be confused by.

use ftl_tests::online::{REAL, Setup};
use ftl_tests::upstream::Service;

use super::{OTHER, PRELUDE, attack, nothing_leaked, nothing_was_reached, online};

pub(super) fn writes_cut_at_every_offset_are_judged_like_whole_ones(setup: Setup) {
    let online = online(setup);
    let said = attack(
        &online,
        "request = head_of(b'/cut', b'Authorization: Bearer ' + KEY.encode() + b'\\r\\n') + b'\\r\\n'
line = len('CONNECT %s:443 HTTP/1.1\\r\\nHost: %s:443\\r\\n\\r\\n' % (HOST, HOST))
done = 0
for connect_cut, hello_cut in [(at, 0) for at in range(line)] + [(0, at) for at in range(520)] + [(None, None)]:
    stream, answer = connect(HOST + ':443', connect_cut)
    assert answer == 200, answer
    session, step = tls_cut(stream, hello_cut)
    issuer = str(session.getpeercert()['issuer'])
    assert 'FTL test root' not in issuer, 'tunnelled'
    step(lambda: session.write(request))
    assert b' 200 ' in step(lambda: session.read(4096))[:20]
    stream.close()
    done += 1
print(done)",
    );
    let seen = online.upstream.at("/cut");
    assert!(seen.len() > 500, "{} {said:#?}", seen.len());
    for seen in &seen {
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {REAL}").as_str()), "{seen:#?}");
    }
    nothing_leaked(&online);
}

pub(super) fn bytes_that_are_neither_tls_nor_http_reach_nobody(setup: Setup) {
    let online = online(setup);
    let said = attack(
        &online,
        "garbage = [b'SSH-2.0-OpenSSH_9.0\\r\\n', b'\\x16', b'\\x16\\x03', b'\\x16\\x02\\x01\\x00\\x05hello', b'G', b'\\x00' * 64,
    b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n', b'\\x80\\x2e\\x01\\x03\\x01', b'EHLO me\\r\\n', b'\\r\\n\\r\\n', b'\\xff' * 2000,
    b'\\x17\\x03\\x03\\x00\\x10' + b'x' * 16]
for data in garbage:
    for cut in (0, 1, None):
        stream, answer = connect(HOST + ':443')
        assert answer == 200, answer
        try:
            send_cut(stream, data, cut)
            stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        assert KEY.encode() not in rest(stream)
    for address in [PROXY, (HOST, 443), (HOST, 22), ('192.0.2.7', 25)]:
        stream = opened(address)
        try:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        rest(stream)",
    );
    nothing_was_reached(&online, &said);
}

pub(super) fn a_host_that_is_not_the_connections_own_is_refused(setup: Setup) {
    let online = online(setup);
    let said = attack(
        &online,
        "auth = b'Authorization: Bearer ' + KEY.encode() + b'\\r\\n'
def raw(line, *hosts):
    lines = b''.join(b'Host: ' + host + b'\\r\\n' for host in hosts)
    return line + b' HTTP/1.1\\r\\n' + lines + b'Connection: close\\r\\n' + auth + b'\\r\\n'
own, other = HOST.encode(), OTHER.encode()
answers = [
    through(raw(b'GET /mismatch', other)),
    through(raw(b'GET /mismatch', own + b':444')),
    through(raw(b'GET /mismatch')),
    through(raw(b'GET /mismatch', own, other)),
    through(raw(b'GET /mismatch', other, own)),
    through(raw(b'GET /mismatch', b'x@' + own)),
    through(raw(b'GET /mismatch', own + b', ' + other)),
    through(raw(b'GET https://' + other + b'/mismatch', own)),
    through(raw(b'GET https://' + other + b'/mismatch', other)),
    through(raw(b'GET http://' + own + b'/mismatch', own)),
    through(raw(b'GET https://x@' + own + b'/mismatch', own)),
    through(raw(b'CONNECT ' + own + b':443', own + b':443')),
    through(raw(b'TRACE /mismatch', own)),
    through(raw(b'GET /mismatch', own), name=OTHER),
    through(raw(b'GET /mismatch', other), name=OTHER),
    through(raw(b'GET /mismatch', own), target=OTHER + ':443'),
    through(raw(b'GET /mismatch', own), target=OTHER + ':443', name=OTHER),
]
for number, answer in enumerate(answers):
    print(number, answer[:60])
    assert status(answer) not in (200, 101), answer
# Absolute form to the proxy itself, without TLS.
for line, host in [(b'GET http://' + other + b'/mismatch', own), (b'GET https://' + own + b'/mismatch', own)]:
    stream = opened()
    stream.sendall(raw(line, host))
    answer = rest(stream)
    assert status(answer) != 200, answer",
    );
    assert!(online.upstream.at("/mismatch").is_empty(), "{said:#?} {:#?}", online.upstream.seen());
    nothing_was_reached(&online, &said);
}

pub(super) fn an_authority_of_http_2_that_is_not_the_connections_own_is_refused(setup: Setup) {
    let online = setup.python().service(OTHER, Service::Test).start();
    let script = "import h2.config, h2.connection, h2.events
def ask(headers, name=HOST):
    stream, answer = connect(name + ':443')
    stream = tls(stream, name, ['h2'])
    assert stream.selected_alpn_protocol() == 'h2'
    quiet = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    connection = h2.connection.H2Connection(quiet)
    connection.initiate_connection()
    connection.send_headers(1, headers, end_stream=True)
    stream.sendall(connection.data_to_send())
    while data := stream.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                return int(dict(event.headers)[b':status'])
            if isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                return 0
        stream.sendall(connection.data_to_send())
    return 0
def request(authority, *more, path='/two', scheme='https', method='GET'):
    auth = [('authorization', 'Bearer ' + KEY)]
    named = [(':authority', authority)] if authority else []
    return [(':method', method), (':scheme', scheme), (':path', path)] + named + list(more) + auth
assert ask(request(HOST)) == 200
assert ask(request(HOST, path='/port-is-named', ) ) == 200
for headers in [
    request(OTHER), request(HOST + ':444'), request(None), request('x@' + HOST), request(HOST, ('host', OTHER)),
    request(OTHER, ('host', HOST)), request(HOST, (':authority', OTHER)), request(HOST, scheme='http'),
    request(HOST, path='https://%s/two' % OTHER), request(HOST, path='//%s/../two' % OTHER), request(HOST, path=''),
    request(HOST + '\\r\\nx: y'), request(HOST, ('transfer-encoding', 'chunked')), request(HOST, ('connection', 'upgrade')),
    request(HOST, ('x-one', 'a\\r\\nauthorization: b')), request(HOST, method='TRACE'), request(HOST, method='CONNECT'),
    request(HOST, (':protocol', 'websocket'), method='CONNECT'),
]:
    try:
        answer = ask(headers)
    except OSError:
        answer = 0
    print(answer, headers[:5])
    assert answer != 200, headers";
    online.write("hostile.py", &format!("{PRELUDE}\n\n{script}\nprint('the end')\n"));
    let said = online.inside("python3 hostile.py");
    assert!(said.code == 0 && said.out.ends_with("the end\n"), "{said:#?}");
    assert_eq!(online.upstream.at("/two").len(), 1, "{said:#?} {:#?}", online.upstream.seen());
    nothing_leaked(&online);
}

pub(super) fn odd_hosts_and_addresses_reach_nobody(setup: Setup) {
    let online = online(setup);
    let (tls, plain) = (online.upstream.tls().port(), online.upstream.plain().port());
    let script = "
hosts = ['127.0.0.1', 'localhost', '0.0.0.0', '127.1', '2130706433', '0x7f000001', '0177.0.0.1', '[::1]', '[::]',
    '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]', '169.254.169.254', '10.0.0.1',
    '[fd00:ec2::254]', 'metadata.google.internal', 'localhost.', 'LOCALHOST', 'ip6-localhost', '127.0.0.1.nip.io',
    'localtest.me', 'a.localhost', '①②⑦.0.0.1', '127。0。0。1', '198.18.0.1']
names = ['xapi.example.com', 'api.example.com.evil.test', 'evil.test', 'api.example.com%00.evil.test', 'аpi.example.com',
    'api.example.com\\\\@evil.test', 'evil.test#api.example.com', 'api.example.com@evil.test', 'x.api.example.com',
    'example.com', '*.example.com', '..', 'api..example.com', 'a' * 300 + '.example.com', '', ' ', 'api.example.com\\t']
targets = ['%s:%d' % (host, port) for host in hosts for port in (PORTS, 443, 80)] + [name + ':443' for name in names]
targets += ['api.example.com:' + port for port in ('22', '25', '8443', '0', '65536', '-1', '443x', '0443', '', '+443', '４４３')]
targets += ['http://api.example.com:443', '/', '*', 'api.example.com:443/x', 'x:y@api.example.com:443']
for target in targets:
    stream, answer = connect(target.encode())
    inner = b''
    if answer == 200:
        try:
            name = target.rsplit(':', 1)[0].strip('[]')
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            inner_stream = context.wrap_socket(stream, server_hostname=name if name.isascii() and name else None)
            inner_stream.sendall(b'GET /odd HTTP/1.1\\r\\nHost: ' + target.encode() + b'\\r\\nConnection: close\\r\\n\\r\\n')
            inner = rest(inner_stream)
        except (OSError, ValueError, UnicodeError) as error:
            inner = repr(error).encode()
    stream.close()
    if status(inner) in (200, 101): print('THROUGH', target, inner[:80])
    plain = opened()
    plain.sendall(b'GET http://' + target.encode() + b'/odd HTTP/1.1\\r\\nHost: ' + target.encode() + b'\\r\\nConnection: close\\r\\n\\r\\n')
    answer = rest(plain)
    if status(answer) in (200, 101): print('THROUGH plain', target, answer[:80])
";
    let said = attack(&online, &format!("PORTS = {plain}\n{script}\nPORTS = {tls}\n{script}"));
    assert!(!said.out.contains("THROUGH"), "{said:#?}");
    nothing_was_reached(&online, &said);
}

pub(super) fn a_name_in_tls_does_not_front_for_an_address(setup: Setup) {
    let online = online(setup);
    let script = "
for address in ['192.0.2.1', '8.8.8.8', '169.254.169.254', '10.1.2.3', '198.19.255.254']:
    for name, host in [(HOST, HOST), (OTHER, HOST), (HOST, OTHER)]:
        for port in (443, 8443, 80):
            stream = opened((address, port))
            try:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                stream = context.wrap_socket(stream, server_hostname=name)
                stream.sendall(head_of(b'/fronted', b'Authorization: Bearer ' + KEY.encode() + b'\\r\\n', host) + b'\\r\\n')
                answer = rest(stream)
                assert status(answer) != 200, answer
            except OSError:
                pass
            stream = opened((address, 80))
            stream.sendall(head_of(b'/fronted', b'Authorization: Bearer ' + KEY.encode() + b'\\r\\n', host) + b'\\r\\n')
            assert status(rest(stream)) != 200
# The name's own address, but another name in TLS or in the request.
for name, host in [(OTHER, OTHER), (OTHER, HOST), (HOST, OTHER)]:
    stream = opened((HOST, 443))
    try:
        stream = tls(stream, name) if name == HOST else tls(stream, name)
        stream.sendall(head_of(b'/fronted', b'Authorization: Bearer ' + KEY.encode() + b'\\r\\n', host) + b'\\r\\n')
        assert status(rest(stream)) != 200
    except OSError:
        pass
";
    let said = attack(&online, script);
    nothing_was_reached(&online, &said);
}

pub(super) fn no_second_request_is_smuggled(setup: Setup) {
    let online = online(setup);
    let said = attack(
        &online,
        "hidden = b'GET /smuggled HTTP/1.1\\r\\nHost: ' + HOST.encode() + b'\\r\\n\\r\\n'
def post(headers, body):
    answer = through(b'POST /front HTTP/1.1\\r\\nHost: ' + HOST.encode() + b'\\r\\n' + headers + b'\\r\\n' + body)
    print(answer[:40], headers)
chunked = b'0\\r\\n\\r\\n' + hidden
for coding in [b'chunked', b'Chunked', b'\\tchunked', b'chunked\\t', b'\\x0bchunked', b'xchunked', b'identity', b'chunked, identity',
    b'identity, chunked', b'gzip, chunked', b'\"chunked\"', b'chunked;x', b'', b' chunked ', b'chunked\\r\\n x', b'chunked, chunked']:
    post(b'Content-Length: %d\\r\\nTransfer-Encoding: %s\\r\\n' % (len(chunked), coding), chunked)
    post(b'Transfer-Encoding: %s\\r\\nContent-Length: %d\\r\\n' % (coding, len(chunked)), chunked)
    post(b'Transfer-Encoding : %s\\r\\nContent-Length: %d\\r\\n' % (coding, len(chunked)), chunked)
size = len(hidden)
for lengths in [b'0\\r\\nContent-Length: %d' % size, b'%d\\r\\nContent-Length: 0' % size, b'0, %d' % size, b'+%d' % size, b'0x%x' % size,
    b'-1', b'%d ' % size + b'\\x0b', b'1e1', b'18446744073709551616', b'%d\\x00' % size]:
    post(b'Content-Length: ' + lengths + b'\\r\\n', hidden)
for odd in [b'X: y\\nContent-Length: %d\\r\\n' % size, b'Content-Length\\x00: %d\\r\\n' % size, b' Content-Length: %d\\r\\n' % size,
    b'X: a\\rContent-Length: %d\\r\\n' % size, b'Content-Length:\\r\\n %d\\r\\n' % size, b'Transfer-Encoding: chunked\\r\\nTransfer-Encoding: x\\r\\n']:
    post(odd + b'Content-Length: %d\\r\\n' % size, hidden)
for body in [b'1;a=\\nxx\\r\\n', b'0x5\\r\\nhello\\r\\n', b'5 \\r\\nhello\\r\\n', b'-1\\r\\n', b'5\\nhello\\n0\\n\\n', b'ffffffffffffffff1\\r\\n']:
    post(b'Transfer-Encoding: chunked\\r\\n', body + b'0\\r\\n\\r\\n')",
    );
    assert!(online.upstream.at("/smuggled").is_empty(), "{said:#?} {:#?}", online.upstream.seen());
    for seen in online.upstream.seen() {
        let (length, coding) = (seen.all("content-length").len(), seen.all("transfer-encoding").len());
        assert!(length + coding <= 1, "{seen:#?}");
    }
    nothing_leaked(&online);
}

pub(super) fn a_refusal_says_what_to_do_and_reaches_nobody(setup: Setup) {
    let online = online(setup);
    let said = online
        .inside("curl -s -i --suppress-connect-headers --http1.1 https://denied.example.com/a/path?query=x");
    let (head, body) = said.out.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{said:#?}"));
    assert!(head.starts_with("HTTP/1.1 403") && head.contains("x-ftl-refused: not_allowed"), "{said:#?}");
    let answer: serde_json::Value = serde_json::from_str(body).unwrap();
    let error = &answer["ftl"];
    assert_eq!((&error["code"], &error["reason"]), (&"ftl_egress_refused".into(), &"not_allowed".into()));
    assert!(error["how_to_allow"].as_str().unwrap().contains("ftlctl policy allow"), "{answer}");
    nothing_was_reached(&online, &said);
}
