//! How much the egress proxy costs: the same client to the same server directly, through FTL from inside a
//! sandbox, and through mitmproxy, in one run.
//!
//! Prints a table with ratios. `cargo run --release -p ftl-tests --bin bench_egress`, after
//! `tests/stub/install-tools.sh target/test-tools/mitmproxy mitmproxy`; without the peer its column is empty.

mod client;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use client::{HOST, IDLE, Way};
use ftl_tests::repo;
use ftl_tests::upstream::{Service, Upstream};
use ftl_tests::world::{Who, World};
use serde_json::Value;

/// What one way costs.
#[derive(Default)]
struct Cost {
    measured: Value,
    /// Memory that 1,000 idle connections take, MiB.
    idle_mib: Option<f64>,
}

/// The peer, running.
struct Peer {
    child: Child,
    address: SocketAddr,
    root: PathBuf,
    _dir: tempfile::TempDir,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [address, proxy, roots, idle] = &arguments[..] {
        let way = Way {
            address: address.parse().expect("an address"),
            proxy: proxy == "proxy",
            roots: roots.into(),
            idle: idle == "idle",
        };
        if let Err(error) = client::run(way) {
            eprintln!("bench_egress: {error}");
            std::process::exit(1);
        }
        return;
    }
    let upstream = Upstream::start(vec![(HOST, Service::Test)]);
    let direct = directly(&upstream);
    let ftl = through_ftl(&upstream);
    let peer = Peer::start(&upstream).map(|peer| peer.cost()).unwrap_or_default();
    print(&direct, &ftl, &peer);
}

fn print(direct: &Cost, ftl: &Cost, peer: &Cost) {
    println!("{:<34}{:>12}{:>12}{:>12}{:>16}", "", "direct", "FTL", "mitmproxy", "mitmproxy/FTL");
    let number = |cost: &Cost, key: &str| cost.measured[key].as_f64();
    let line = |name: &str, direct: Option<f64>, ftl: Option<f64>, peer: Option<f64>| {
        let show = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
        let ratio = ftl.zip(peer).map_or("-".into(), |(ftl, peer)| format!("{:.2}x", peer / ftl));
        println!("{name:<34}{:>12}{:>12}{:>12}{ratio:>16}", show(direct), show(ftl), show(peer));
    };
    let row = |name: &str, key: &str| line(name, number(direct, key), number(ftl, key), number(peer, key));
    row("request, keep-alive TLS, p50 (us)", "p50_us");
    row("request, keep-alive TLS, p99 (us)", "p99_us");
    for (name, key) in [("added latency, p50 (us)", "p50_us"), ("added latency, p99 (us)", "p99_us")] {
        let added = |cost| number(cost, key).zip(number(direct, key)).map(|(this, direct)| this - direct);
        line(name, None, added(ftl), added(peer));
    }
    row("requests per second, 16 at once", "per_second");
    row("1 GiB body (MiB/s)", "mib_per_second");
    row("first server-sent event (us)", "event_us");
    line("memory, 1,000 idle (MiB)", direct.idle_mib, ftl.idle_mib, peer.idle_mib);
}

fn myself() -> PathBuf {
    std::env::current_exe().expect("the running program has a path")
}

/// Runs the client and reads its one line.
fn measured(command: &mut Command) -> Value {
    let out = command.stderr(Stdio::inherit()).output().expect("the client runs");
    let text = String::from_utf8_lossy(&out.stdout);
    text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null)
}

/// Holds idle connections and tells how much a process has grown by them.
fn grown(command: &mut Command, pid: u32) -> Option<f64> {
    let before = resident(pid)?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    let stand = lines.any(|line| line.is_ok_and(|line| line.trim() == IDLE));
    let after = resident(pid)?;
    drop(child.stdin.take());
    child.wait().ok()?;
    stand.then_some(after - before)
}

/// Resident memory of a process, MiB.
fn resident(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn here(address: SocketAddr, proxy: bool, roots: &Path, idle: bool) -> Command {
    let mut command = Command::new(myself());
    command.arg(address.to_string()).arg(if proxy { "proxy" } else { "direct" }).arg(roots);
    command.arg(if idle { "idle" } else { "measure" });
    command
}

fn directly(upstream: &Upstream) -> Cost {
    let roots = upstream.root_file();
    Cost { measured: measured(&mut here(upstream.tls(), false, &roots, false)), idle_mib: None }
}

fn through_ftl(upstream: &Upstream) -> Cost {
    let mut world = World::new(Who::Me);
    world.set("FTL_UPSTREAM_CA", upstream.root_file());
    world.set("FTL_CONNECT_TO", upstream.routes());
    world.files(&[("a.txt", "one\n")]);
    // Beside the programs: a sandbox shows nothing of the world's own directory.
    let tools = myself().with_file_name("bench-egress-client");
    std::fs::create_dir_all(&tools).expect("a directory");
    std::fs::copy(myself(), tools.join("client")).expect("a copy");
    world.config(&serde_json::json!({ "tool_dirs": [tools] }));
    world.ok(["policy", "allow", HOST]);
    world.ok(["policy", "limit", HOST, "10000000/min", "--burst", "1000000"]);
    let started = world.shell("echo two > b.txt");
    let session = started["session"].as_str().expect("a session").to_owned();
    let inside = |what: &str| {
        let script = format!("exec client 127.0.0.1:3128 proxy \"$SSL_CERT_FILE\" {what}");
        world.ftlctl(["exec", &session, "--", "sh", "-c", &script])
    };
    let measured = measured(&mut inside("measure"));
    let daemon = u32::try_from(world.daemon_pid()).unwrap_or_default();
    Cost { measured, idle_mib: grown(&mut inside("idle"), daemon) }
}

// === impl Peer ===

impl Peer {
    /// Starts mitmproxy so that it reaches the server and streams what is long or must not wait. The address
    /// is set when the client asks for it: set later, it would cost a new connection for each request.
    fn start(upstream: &Upstream) -> Option<Self> {
        let program = repo::tools().join("mitmproxy/bin/mitmdump");
        if !program.exists() {
            eprintln!("{} is not installed", program.display());
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let script = format!(
            "def http_connect(flow):\n    flow.request.host, flow.request.port = '127.0.0.1', {}\n\n\
             def responseheaders(flow):\n    flow.response.stream = flow.request.path[:5] in ('/sse?', '/byte')\n\n\
             def running():\n    from mitmproxy import ctx\n    print('listening', flush=True)\n",
            upstream.tls().port()
        );
        std::fs::write(dir.path().join("addon.py"), script).expect("the add-on");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).ok()?.port();
        let mut command = Command::new(program);
        command.args(["-q", "--listen-host", "127.0.0.1", "-p", &port.to_string(), "--set"]);
        command.arg(format!("confdir={}", dir.path().display())).arg("--set");
        command.arg(format!("ssl_verify_upstream_trusted_ca={}", upstream.root_file().display()));
        command.args(["--set", "connection_strategy=lazy", "-s"]).arg(dir.path().join("addon.py"));
        let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
        let mut lines = BufReader::new(child.stdout.take()?).lines();
        lines.find(|line| line.as_ref().is_ok_and(|line| line == "listening"))?.ok()?;
        std::thread::spawn(move || lines.count());
        let root = dir.path().join("mitmproxy-ca-cert.pem");
        Some(Self { child, address: ([127, 0, 0, 1], port).into(), root, _dir: dir })
    }

    fn cost(&self) -> Cost {
        let measured = measured(&mut here(self.address, true, &self.root, false));
        let idle_mib = grown(&mut here(self.address, true, &self.root, true), self.child.id());
        Cost { measured, idle_mib }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}
