//! Hosts that send the real value back in rarer ways, and where a search could not see it.

use ftl_tests::online::{KEY, REAL, Setup};
use ftl_tests::upstream::{RARE, encoded};

use super::{attack, nothing_leaked, online};

pub(super) fn rarer_encodings_and_broken_lines_come_back_without_the_value(setup: Setup) {
    let online = online(setup);
    let said = attack(
        &online,
        &format!(
            "connection = http.client.HTTPSConnection(HOST, timeout=PATIENCE)
for encoding in '{}'.split():
    for cut in ['', '?cut=each'] + ['?cut=%d' % at for at in range(1, 60, 4)]:
        connection.request('GET', '/reflect/' + encoding + cut, headers=bearer())
        reply = connection.getresponse()
        body = reply.read().decode('latin-1')
        assert reply.status == 200 and body.startswith('before ') and body.endswith(' after'), (encoding, body)
        print(encoding, cut, body)",
            RARE.join(" ")
        ),
    );
    for encoding in RARE {
        let written = encoded(encoding, REAL);
        assert!(!said.out.contains(&written), "{encoding}: {said:#?}");
        // Nor more than half of it.
        let tail = encoded(encoding, &REAL[REAL.len() / 2..]);
        let tail = tail.trim_end_matches([',', ':', ' ']);
        let aligned = !matches!(encoding, "base32" | "mime" | "folded" | "escaped-lines");
        assert!(!(aligned && said.out.contains(tail)), "{encoding}: {said:#?}");
    }
    nothing_leaked(&online);
}

pub(super) fn names_silent_compression_and_parts_bring_nothing_back(setup: Setup) {
    let online = online(setup);
    let said = attack(
        &online,
        "answer = through(head_of(b'/reflect/name', b'Authorization: Bearer ' + KEY.encode() + b'\\r\\n') + b'\\r\\n')
assert answer.startswith(b'HTTP/1.1 200 OK\\r\\n'), answer
print(answer)
import gzip
for how in ('silent', 'gzip', 'part'):
    status_of, headers, body = get('/reflect/' + how, bearer())
    print(how, status_of, headers, body)
    assert status_of in (0, 502), (how, status_of)
    assert b'\\x1f\\x8b' not in body
status_of, headers, body = get('/reflect/archive', bearer())
assert status_of == 200 and gzip.decompress(body) == b'a package', (status_of, headers, body)",
    );
    for name in [encoded("hex", REAL), encoded("base32", REAL).to_ascii_lowercase()] {
        assert!(!said.out.contains(&name), "{said:#?}");
    }
    nothing_leaked(&online);
}

pub(super) fn a_websocket_that_reflects_in_fragments_brings_the_shadow(setup: Setup) {
    let online = online(setup);
    let said = attack(
        &online,
        "for size in (1, 2, 3, 7, 16, 100):
    lines = b'Authorization: Bearer ' + KEY.encode() + b'\\r\\n'
    request = b'GET /ws?reflect=%d HTTP/1.1\\r\\nHost: ' % size + HOST.encode() + b'\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n'
    request += b'Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n'
    answer = through(request + lines + b'\\r\\n' + b'\\x88\\x80' + bytes(4))
    assert status(answer) == 101, answer
    frames, message, closed = answer.split(b'\\r\\n\\r\\n', 1)[1], b'', False
    while frames:
        first, length = frames[0], frames[1]
        assert length < 126 and not first & 0x70
        if first & 0xf in (0, 1):
            message += frames[2:2 + length]
        closed |= first & 0xf == 8
        frames = frames[2 + length:]
    assert closed
    print(message.decode())",
    );
    let shadow = format!("Bearer {}", online.shadow(KEY));
    assert_eq!(said.out.lines().filter(|line| **line == shadow).count(), 6, "{said:#?}");
    nothing_leaked(&online);
}
