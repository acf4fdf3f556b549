//! Real clients in a sandbox, none of them told of a proxy or a certificate: each reaches the host it asks
//! for, the host gets the real credential in its slot, and nothing inside ever holds it.

use std::process::Command;

use ftl_tests::online::{HOST, KEY, Online, REAL, Setup};
use ftl_tests::repo;
use ftl_tests::server::{Server, python};
use ftl_tests::upstream::{Packages, Seen, Service, VERSION};
use serde_json::Value;

/// Another real value, for a second credential.
const OTHER: &str = "hG7+nB2/cX9-zA4_sD6.fQ8wE1rT5yU3iO0pLkM=";

// Clients that the containers' image has as well.
in_each_sandbox! {
    curl_and_wget, python_requests_and_httpx, no_server_sent_event_is_held_back, git_clones_and_pushes,
}

/// The one request to a path, which must carry the real value as a bearer's.
fn arrived(online: &Online, path: &str) -> Seen {
    let seen = online.upstream.at(path);
    let [one] = &seen[..] else { panic!("{path}: {:#?}", online.upstream.seen()) };
    assert_eq!(one.header("authorization"), Some(format!("Bearer {REAL}").as_str()), "{one:#?}");
    assert_eq!(one.sni.as_deref(), Some(HOST), "{one:#?}");
    assert!(one.host == HOST || one.host == format!("{HOST}:443"), "{one:#?}");
    for header in ["proxy-authorization", "proxy-connection", "via", "forwarded", "x-forwarded-for"] {
        assert_eq!(one.all(header), Vec::<&str>::new(), "{one:#?}");
    }
    one.clone()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn curl_and_wget(setup: Setup) {
    let online = setup.start();
    let shadow = online.shadow(KEY);
    let header = "-H \"Authorization: Bearer $TEST_API_KEY\"";
    let ran = online.clean(&format!("curl -sS --fail {header} -d 'a body' https://{HOST}/curl"));
    assert!(ran.out.contains(&shadow) && ran.out.contains("a body"), "{ran:#?}");
    assert_eq!(arrived(&online, "/curl").body, b"a body");
    let header = "--header=\"Authorization: Bearer $TEST_API_KEY\"";
    let ran = online.clean(&format!("wget -qO- {header} https://{HOST}/wget"));
    assert!(ran.out.contains(&shadow), "{ran:#?}");
    arrived(&online, "/wget");
    // A client that is told to use no proxy goes the same way.
    let header = "-H \"Authorization: Bearer $TEST_API_KEY\"";
    let ran = online.clean(&format!("curl -sS --fail --noproxy '*' {header} https://{HOST}/redirected"));
    assert!(ran.out.contains(&shadow), "{ran:#?}");
    arrived(&online, "/redirected");
    let rows = online.world.json_lines(0, ["logs", "--egress", "--session", online.session()]);
    let row = rows.iter().find(|row| row["path"] == "/curl").unwrap_or_else(|| panic!("{rows:#?}"));
    assert_eq!((&row["decision"], &row["method"]), (&"allowed".into(), &"POST".into()), "{row}");
    assert_eq!(row["credentials"], serde_json::json!([KEY]), "{row}");
}

fn python_requests_and_httpx(setup: Setup) {
    let online = setup.python().start();
    let hold = "print('HELD', flush=True); sys.stdin.read()";
    let headers = "{'Authorization': 'Bearer ' + os.environ['TEST_API_KEY']}";
    for (name, import, get) in [
        ("requests", "import requests", "requests.get"),
        ("httpx", "import httpx", "httpx.Client(http2=True).get"),
        (
            "urllib",
            "from urllib.request import Request, urlopen",
            "lambda url, headers: urlopen(Request(url, headers=headers))",
        ),
    ] {
        let source = format!(
            "import os, sys\n{import}\nget = {get}\nreply = get('https://{HOST}/{name}', headers={headers})\n\
             text = reply.text if hasattr(reply, 'text') else reply.read().decode()\nprint(text)\n{hold}\n"
        );
        online.write(&format!("{name}_client.py"), &source);
        let ran = online.clean(&format!("python3 {name}_client.py"));
        assert!(ran.out.contains(&online.shadow(KEY)), "{ran:#?}");
        arrived(&online, &format!("/{name}"));
    }
}

#[test]
fn node_fetch() {
    let online = Setup::new().start();
    let source = format!(
        "const headers = {{ authorization: `Bearer ${{process.env.TEST_API_KEY}}` }};\n\
         const reply = await fetch('https://{HOST}/node', {{ headers, method: 'POST', body: 'a body' }});\n\
         console.log(await reply.text());\nconsole.log('HELD');\n\
         for await (const chunk of process.stdin) chunk.toString();\n"
    );
    online.write("client.mjs", &source);
    let ran = online.clean("node client.mjs");
    assert!(ran.out.contains(&online.shadow(KEY)), "{ran:#?}");
    assert_eq!(arrived(&online, "/node").body, b"a body");
}

#[test]
fn a_go_program() {
    let online = Setup::new().start();
    let source = format!(
        "package main\n\nimport (\n\t\"fmt\"\n\t\"io\"\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc main() {{\n\
         \trequest, _ := http.NewRequest(\"GET\", \"https://{HOST}/go\", nil)\n\
         \trequest.Header.Set(\"Authorization\", \"Bearer \"+os.Getenv(\"TEST_API_KEY\"))\n\
         \treply, err := http.DefaultClient.Do(request)\n\tif err != nil {{\n\t\tpanic(err)\n\t}}\n\
         \tbody, _ := io.ReadAll(reply.Body)\n\tfmt.Println(string(body))\n\tfmt.Println(\"HELD\")\n\
         \tio.ReadAll(os.Stdin)\n}}\n"
    );
    online.write("client.go", &source);
    let built = online.inside("go build -o /tmp/client client.go");
    assert_eq!(built.code, 0, "{built:#?}");
    let ran = online.clean("/tmp/client");
    assert!(ran.out.contains(&online.shadow(KEY)), "{ran:#?}");
    arrived(&online, "/go");
}

#[test]
fn javas_http_client() {
    let online = Setup::new().start();
    let source = format!(
        "import java.net.URI;\nimport java.net.http.*;\n\npublic class Client {{\n\
         \tpublic static void main(String[] args) throws Exception {{\n\
         \t\tvar request = HttpRequest.newBuilder(URI.create(\"https://{HOST}/java\"))\n\
         \t\t\t.header(\"Authorization\", \"Bearer \" + System.getenv(\"TEST_API_KEY\")).build();\n\
         \t\tvar reply = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());\n\
         \t\tSystem.out.println(reply.body());\n\t\tSystem.out.println(\"HELD\");\n\
         \t\tSystem.in.readAllBytes();\n\t}}\n}}\n"
    );
    online.write("Client.java", &source);
    let ran = online.clean("java Client.java");
    assert!(ran.out.contains(&online.shadow(KEY)), "{ran:#?}");
    arrived(&online, "/java");
}

#[test]
fn grpc_with_trailers_both_ways() {
    let online = Setup::new().python().start();
    let source = format!(
        "import grpc, os, sys\n\
         metadata = (('authorization', 'Bearer ' + os.environ['TEST_API_KEY']),)\n\
         with grpc.secure_channel('{HOST}:443', grpc.ssl_channel_credentials()) as channel:\n\
         \x20   print(channel.unary_unary('/test.Echo/Say')(b'a message', metadata=metadata))\n\
         \x20   many = channel.stream_stream('/test.Echo/Many')\n\
         \x20   print(list(many(iter([b'one', b'two', b'three']), metadata=metadata)))\n\
         \x20   try:\n\
         \x20       channel.unary_unary('/test.Echo/Fail')(b'', metadata=metadata)\n\
         \x20   except grpc.RpcError as error:\n\
         \x20       print(error.code(), error.details())\n\
         \x20   print('HELD', flush=True)\n\
         \x20   sys.stdin.read()\n"
    );
    online.write("client.py", &source);
    let ran = online.clean("python3 client.py");
    for line in
        ["b'a message'", "[b'one', b'two', b'three']", "StatusCode.PERMISSION_DENIED the test says so"]
    {
        assert!(ran.out.contains(line), "{ran:#?}");
    }
    for path in ["/test.Echo/Say", "/test.Echo/Many", "/test.Echo/Fail"] {
        assert_eq!(arrived(&online, path).version, http::Version::HTTP_2);
    }
}

#[test]
fn a_websocket() {
    let online = Setup::new().python().start();
    let source = format!(
        "import os, sys\nfrom websockets.sync.client import connect\n\
         headers = {{'Authorization': 'Bearer ' + os.environ['TEST_API_KEY']}}\n\
         with connect('wss://{HOST}/ws', additional_headers=headers) as socket:\n\
         \x20   for message in ['one', 'x' * 70000, 'three']:\n\
         \x20       socket.send(message)\n\
         \x20       assert socket.recv() == message\n\
         \x20   print('all came back')\n\
         \x20   print('HELD', flush=True)\n\
         \x20   sys.stdin.read()\n"
    );
    online.write("client.py", &source);
    let ran = online.clean("python3 client.py");
    assert!(ran.out.contains("all came back"), "{ran:#?}");
    arrived(&online, "/ws");
}

fn no_server_sent_event_is_held_back(setup: Setup) {
    let online = setup.start();
    // The server sends an event only when its forerunner is acknowledged: one that was held back would
    // hold up everything.
    let source = format!(
        "import http.client, os\nheaders = {{'Authorization': 'Bearer ' + os.environ['TEST_API_KEY']}}\n\
         def get(path):\n    connection = http.client.HTTPSConnection('{HOST}')\n\
         \x20   connection.request('GET', path, headers=headers)\n    return connection.getresponse()\n\
         stream = get('/sse?key=one&n=20')\n\
         for number in range(1, 21):\n\
         \x20   lines = [stream.readline() for _ in range(3)]\n\
         \x20   assert lines == [b'event: tick\\n', b'data: %d\\n' % number, b'\\n'], lines\n\
         \x20   get('/ack?key=one&n=%d' % number).read()\n\
         assert stream.read() == b''\nprint('all in order')\n"
    );
    let said = online.python(&source);
    assert!(said.code == 0 && said.out.contains("all in order"), "{said:#?}");
}

fn git_clones_and_pushes(setup: Setup) {
    let repositories = tempfile::tempdir_in("/var/tmp").unwrap();
    let git = |args: &[&str]| {
        let status = Command::new("git").args(args).current_dir(repositories.path()).status().unwrap();
        assert!(status.success(), "git {args:?}");
    };
    git(&["init", "--quiet", "--bare", "--initial-branch=main", "one.git"]);
    let service = Service::Git {
        root: repositories.path().to_owned(),
        authorization: format!("Basic {}", base64(&format!("dev:{OTHER}"))),
    };
    let online = setup
        .service("git.example.com", service)
        .env("GIT_PASSWORD", OTHER)
        .command([
            "secret",
            "bind",
            "GIT_PASSWORD",
            "--host",
            "git.example.com",
            "--basic",
            "password",
            "--optional",
        ])
        .start();
    let ran = online.clean(
        "set -e; cd /tmp; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git clone \"https://dev:$GIT_PASSWORD@git.example.com/one.git\" first 2>&1
        cd first; echo text > file; head -c 2000000 /dev/urandom > large; git add .; git commit -qm 'A commit'
        git push origin HEAD:main 2>&1; cd ..
        git clone \"https://dev:$GIT_PASSWORD@git.example.com/one.git\" second 2>&1; cmp first/large second/large",
    );
    let wanted = format!("Basic {}", base64(&format!("dev:{OTHER}")));
    let pushed = online.upstream.at("/one.git/git-receive-pack");
    assert!(pushed.iter().any(|seen| seen.header("authorization") == Some(&wanted)), "{ran:#?} {pushed:#?}");
    git(&["-C", "one.git", "rev-parse", "--quiet", "--verify", "main"]);
}

#[test]
fn pip_npm_and_cargo_from_registries_that_need_a_credential() {
    let real = |name: &str| format!("{OTHER}{name}");
    let basic = format!("Basic {}", base64(&format!("dev:{}", real("pypi"))));
    let packages =
        |packages, authorization: &str| Service::Packages { packages, authorization: authorization.into() };
    let bind = |name, host, slot: [&'static str; 2]| {
        ["secret", "bind", name, "--host", host, slot[0], slot[1], "--optional"]
    };
    let (npm, pypi, cargo) = ("npm.example.com", "pypi.example.com", "crates.example.com");
    let online = Setup::new()
        .python()
        .service(npm, packages(Packages::npm(npm), &format!("Bearer {}", real("npm"))))
        .service(pypi, packages(Packages::pypi(), &basic))
        .service(cargo, packages(Packages::cargo(cargo), &real("cargo")))
        .env("NPM_PASSWORD", &real("npm"))
        .env("PYPI_PASSWORD", &real("pypi"))
        .env("CARGO_PASSWORD", &real("cargo"))
        .command(bind("NPM_PASSWORD", npm, ["--header", "Authorization: Bearer {}"]))
        .command(bind("PYPI_PASSWORD", pypi, ["--basic", "password"]))
        .command(bind("CARGO_PASSWORD", cargo, ["--header", "Authorization: {}"]))
        .start();
    let ran = online.clean(
        "mkdir /tmp/n && cd /tmp/n && npm install --no-audit --no-fund --registry https://npm.example.com/ \
         \"--//npm.example.com/:_authToken=$NPM_PASSWORD\" ftl-test-left && \
         node -p \"require('ftl-test-left')\"",
    );
    assert!(ran.out.contains("left from the registry"), "{ran:#?}");
    let ran = online.clean(
        "python3 -m pip install --no-cache-dir --disable-pip-version-check --target /tmp/p --index-url \
         \"https://dev:$PYPI_PASSWORD@pypi.example.com/simple/\" ftl-test-right && \
         PYTHONPATH=/tmp/p python3 -c 'import ftl_test_right; print(ftl_test_right.SAYS)'",
    );
    assert!(ran.out.contains("right from the index"), "{ran:#?}");
    let manifest = format!(
        "[package]\nname = \"user\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
         [dependencies]\nftl-test-up = {{ version = \"={VERSION}\", registry = \"test\" }}\n"
    );
    online.write("user/Cargo.toml", &manifest);
    online.write("user/src/main.rs", "fn main() { println!(\"{}\", ftl_test_up::SAYS); }\n");
    let ran = online.clean(
        "export CARGO_REGISTRIES_TEST_INDEX=sparse+https://crates.example.com/index/ CARGO_HOME=/tmp/cargo
        export CARGO_REGISTRIES_TEST_TOKEN=\"$CARGO_PASSWORD\" CARGO_TARGET_DIR=/tmp/built
        export CARGO_REGISTRY_GLOBAL_CREDENTIAL_PROVIDERS=cargo:token
        cd user && cargo run --quiet",
    );
    assert!(ran.out.contains("up from the registry"), "{ran:#?}");
    assert_eq!(online.upstream.at(&format!("/dl/ftl-test-up/{VERSION}/download")).len(), 1);
}

/// The AWS CLI of the tests against moto, on the host.
pub(super) fn aws(moto: &Server, args: &[&str]) -> Value {
    let mut command = Command::new(python("aws"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("AWS_DEFAULT_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command.arg("--endpoint-url").arg(format!("http://{}", moto.address())).args(args);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{args:?}: {out:#?}");
    serde_json::from_slice(&out.stdout).unwrap_or(Value::Null)
}

#[test]
fn the_aws_cli_signs_anew_for_a_server_that_verifies() {
    let moto = Server::moto();
    aws(&moto, &["iam", "create-user", "--user-name", "dev"]);
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    aws(
        &moto,
        &[
            "iam",
            "put-user-policy",
            "--user-name",
            "dev",
            "--policy-name",
            "all",
            "--policy-document",
            policy,
        ],
    );
    let key = aws(&moto, &["iam", "create-access-key", "--user-name", "dev"]);
    let (id, secret) = (&key["AccessKey"]["AccessKeyId"], &key["AccessKey"]["SecretAccessKey"]);
    let (id, secret) = (id.as_str().unwrap(), secret.as_str().unwrap());
    // From now on it checks every signature.
    let url = format!("http://{}/moto-api/reset-auth", moto.address());
    let reset = ["-sS", "--fail", "--noproxy", "*", "-H", "content-type: text/plain", "-d", "0", &url];
    assert!(Command::new("curl").args(reset).status().unwrap().success());

    let mut setup = Setup::new().python().env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
    for host in [
        "s3.us-east-1.amazonaws.com",
        "one.s3.us-east-1.amazonaws.com",
        "s3.amazonaws.com",
        "one.s3.amazonaws.com",
        "sts.us-east-1.amazonaws.com",
        "sts.amazonaws.com",
    ] {
        setup = setup.service(host, Service::Forward(moto.address()));
    }
    let online = setup.start();
    let shadow = online.shadow("AWS_ACCESS_KEY_ID");
    // It is longer than the real one, which has less than 128 random bits.
    assert!(shadow.starts_with(&id[..4]) && shadow.len() >= id.len() && shadow != id, "{shadow}");
    let ran = online.clean(
        "set -e; export AWS_DEFAULT_REGION=us-east-1; cd /tmp; printf 'an object' > object
        aws sts get-caller-identity; aws s3 mb s3://one; aws s3 cp object 's3://one/a path/with +odd~names'
        aws s3 cp 's3://one/a path/with +odd~names' back; cat back; aws s3 ls --recursive s3://one
        head -c 20000000 /dev/zero > large; aws s3 cp --no-progress large s3://one/large; aws s3 cp --no-progress s3://one/large again
        cmp large again",
    );
    assert!(ran.out.contains("user/dev") && ran.out.contains("an object"), "{ran:#?}");
    // The server can tell: without the daemon's signature it refuses.
    let unsigned =
        online.inside("curl -s -o /dev/null -w '%{http_code}' https://s3.us-east-1.amazonaws.com/one");
    assert_ne!(unsigned.out, "200", "{unsigned:#?}");
}

/// A real agent at its model's own host.
struct Agent {
    name: &'static str,
    program: &'static str,
    host: &'static str,
    endpoint: &'static str,
    variable: &'static str,
    header: &'static str,
    prefix: &'static str,
    key: &'static str,
}

const CLAUDE: Agent = Agent {
    name: "claude-code",
    program: "claude",
    host: "api.anthropic.com",
    endpoint: "/v1/messages",
    variable: "ANTHROPIC_API_KEY",
    header: "x-api-key",
    prefix: "",
    key: "sk-ant-api03-Vq8ZrT2mXk5WcB9nLd4HjP7sGf1YuE6aQo3RiN0tKxMzCvJwSbFhDyUlGeApOqIrTnVkXmZc-8sWbAAA",
};

const CODEX: Agent = Agent {
    name: "codex",
    program: "codex",
    host: "api.openai.com",
    endpoint: "/v1/responses",
    variable: "OPENAI_API_KEY",
    header: "authorization",
    prefix: "Bearer ",
    key: "sk-proj-Zt7YqX4nWm2VbR9kLc6HdJ8sPg3FuE5aQo1TiM0rNyKxCvBwSzDhGjUl",
};

fn an_agent_streams_from_its_models_own_host(agent: &Agent) {
    use ftl_tests::leaks;
    use ftl_tests::upstream::Upstream;
    use ftl_tests::world::{Who, World};
    use std::io::Write as _;
    use std::process::Stdio;

    let program = repo::tools().join("agents/node_modules/.bin").join(agent.program);
    assert!(program.exists(), "{} is not installed: run `tests/run`", program.display());
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let model = Server::model(&dir.path().join("log"));
    let upstream = Upstream::start(vec![(agent.host, Service::Forward(model.address()))]);
    let mut world = World::new(Who::Me);
    world.set("FTL_UPSTREAM_CA", upstream.root_file());
    world.set("FTL_CONNECT_TO", upstream.routes());
    world.files(&[("a.txt", "one\n")]);
    world.config(&serde_json::json!({ "agents": { agent.name: { "path": program } } }));
    let mut set = world.ftlctl(["secret", "set", "--global", agent.variable]);
    let mut set = set.stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(agent.key.as_bytes()).unwrap();
    assert!(set.wait().unwrap().success());

    let lines = world.json_lines(
        0,
        ["code", "--no-review", "--agent", agent.name, "Please.\nWRITE /workspace/hello.txt hello there"],
    );
    let last = lines.last().unwrap();
    assert_eq!(last["state"], "awaiting_review", "{lines:#?}");
    let wanted = format!("{}{}", agent.prefix, agent.key);
    let prompts = upstream.at(agent.endpoint);
    assert!(prompts.len() >= 2, "{:#?}", upstream.seen());
    for prompt in &prompts {
        assert_eq!(prompt.header(agent.header), Some(wanted.as_str()), "{prompt:#?}");
    }
    let session = last["session"].as_str().unwrap();
    let variables = world.run(["exec", session, "--", "env"]);
    let printed = format!("{lines:?}{}", variables.out);
    assert!(!leaks::holds(printed.as_bytes(), &[agent.key]), "{printed}");
    let found = leaks::in_files(&world.ftl_home(), &[agent.key], &[world.ftl_home().join("credentials")]);
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(
        leaks::in_processes(leaks::descendants(world.daemon_pid()), &[agent.key]).found,
        Vec::<String>::new()
    );
}

#[test]
fn claude_code_streams_from_its_models_own_host() {
    an_agent_streams_from_its_models_own_host(&CLAUDE);
}

#[test]
fn codex_streams_from_its_models_own_host() {
    an_agent_streams_from_its_models_own_host(&CODEX);
}
