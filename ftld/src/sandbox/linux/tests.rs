//! The native backend, driven alone: file semantics, limits, terminals, ends.

mod files;
mod network;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ftl_core::id::SessionId;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::{
    Carrier, Command, Ending, ExitStatus, Limits, Network, Outcome, Process, Sandbox, SandboxBackend,
    SandboxError, SandboxSpec, Size, Stdio,
};
use super::{NativeBackend, NativeConfig};

const LIMITS: Limits = Limits {
    memory_bytes: 512 << 20,
    processes: 200,
    cpu_percent: 200,
    file_size_bytes: 64 << 20,
    disk_bytes: 1 << 30,
    open_files: 256,
};

/// A backend, a base tree with a few files, and a session's directory.
struct Bench {
    backend: NativeBackend,
    root: TempDir,
}

/// What a program left.
#[derive(Debug, PartialEq, Eq)]
struct Output {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Bench {
    fn new() -> Self {
        Self::with(Duration::from_secs(3600), Carrier::Descriptors)
    }

    fn with(disk_interval: Duration, carrier: Carrier) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let config = NativeConfig {
            instance: format!("test-{}", std::process::id()),
            protected: vec![root.path().join("state")],
            disk_interval,
            carrier,
            umask: 0o022,
        };
        let bench = Self { backend: NativeBackend::new(config).unwrap(), root };
        let base = bench.root.path().join("base");
        std::fs::create_dir_all(base.join("sub/deep")).unwrap();
        std::fs::write(base.join("file"), "from the base\n").unwrap();
        std::fs::write(base.join("sub/deep/gone"), "x").unwrap();
        std::fs::write(base.join("script.sh"), "#!/bin/sh\necho ran\n").unwrap();
        std::fs::set_permissions(base.join("script.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        if let Some(owner) = bench.backend.owner().unwrap() {
            for path in ["", "sub", "sub/deep", "file", "sub/deep/gone", "script.sh"] {
                std::os::unix::fs::chown(base.join(path), Some(owner.uid), Some(owner.gid)).unwrap();
            }
        }
        bench
    }

    fn spec(&self) -> SandboxSpec {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let session = SessionId::from_random([n % 20, n / 20, 0, 0, 0, 0, 0, 0, 0, 0]);
        let dir = self.root.path().join(session.as_str());
        std::fs::create_dir(&dir).unwrap();
        SandboxSpec {
            session,
            layers: vec![self.root.path().join("base")],
            dir,
            limits: LIMITS,
            tools: Vec::new(),
            shared: Vec::new(),
            path: Vec::new(),
            env: Vec::new(),
            network: Network::None,
            files: Vec::new(),
        }
    }

    async fn launch(&self) -> Box<dyn Sandbox> {
        self.backend.launch(self.spec()).await.unwrap()
    }
}

fn command(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(OsString::from).collect(),
        env: Vec::new(),
        workdir: None,
        stdio: Stdio::Pipes,
    }
}

fn script(text: &str) -> Command {
    command(&["/bin/sh", "-c", text])
}

async fn finish(mut process: Process) -> Result<Output, SandboxError> {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    drop(process.stdin);
    process.stdout.read_to_string(&mut stdout).await.unwrap();
    if let Some(errors) = &mut process.stderr {
        errors.read_to_string(&mut stderr).await.unwrap();
    }
    Ok(Output { status: process.exit.await?, stdout, stderr })
}

async fn run(sandbox: &dyn Sandbox, text: &str) -> Output {
    finish(sandbox.spawn(script(text)).await.unwrap()).await.unwrap()
}

async fn says(sandbox: &dyn Sandbox, text: &str) -> String {
    let output = run(sandbox, text).await;
    assert_eq!(output.status, ExitStatus::Code(0), "{text}: {output:?}");
    output.stdout
}

/// How many processes of the machine have this in their arguments.
fn processes_with(marker: &str) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let text = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        count += usize::from(String::from_utf8_lossy(&text).contains(marker));
    }
    count
}

#[tokio::test]
async fn files_behave_as_in_a_directory_of_ones_own() {
    let bench = Bench::new();
    let spec = bench.spec();
    let upper = spec.dir.join("upper");
    let sandbox = bench.backend.launch(spec).await.unwrap();
    let sandbox = &*sandbox;
    assert_eq!(says(sandbox, "pwd; cat file; ./script.sh").await, "/workspace\nfrom the base\nran\n");
    let changes = "echo more >> file && rm -r sub/deep && mkdir new && mv file new/moved && ln -s ../x new/link && \
                   ln new/moved new/hard && chmod 640 new/moved && touch 'a\nb' ./-dash && stat -c %a:%h new/moved";
    assert_eq!(says(sandbox, changes).await, "640:2\n");
    assert_eq!(
        says(sandbox, "id -u; id -g; whoami; echo $HOME; hostname; echo $$ > /tmp/x; ls ~ | wc -l").await,
        "1000\n1000\nagent\n/home/agent\nftl\n0\n"
    );
    sandbox.kill().await;

    assert_eq!(std::fs::read_to_string(upper.join("new/moved")).unwrap(), "from the base\nmore\n");
    assert_eq!(std::fs::read_link(upper.join("new/link")).unwrap(), Path::new("../x"));
    assert!(upper.join("a\nb").exists() && upper.join("-dash").exists());
    assert_eq!(std::fs::read_to_string(bench.root.path().join("base/file")).unwrap(), "from the base\n");
    assert!(bench.root.path().join("base/sub/deep/gone").exists());
}

#[tokio::test]
async fn a_session_goes_on_where_it_was() {
    let bench = Bench::new();
    let spec = bench.spec();
    let sandbox = bench.backend.launch(spec.clone()).await.unwrap();
    says(&*sandbox, "echo one > kept; echo two > ~/kept; echo three > /tmp/kept").await;
    sandbox.kill().await;
    let sandbox = bench.backend.launch(spec).await.unwrap();
    assert_eq!(says(&*sandbox, "cat kept ~/kept /tmp/kept /var/tmp/kept").await, "one\ntwo\nthree\nthree\n");
    sandbox.kill().await;
}

#[tokio::test]
async fn nobody_in_it_has_any_privilege() {
    let bench = Bench::new();
    let sandbox = bench.launch().await;
    let status = says(&*sandbox, "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status").await;
    let value = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("{name}: {status}"));
        line.trim_start_matches(':').trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!((value("NoNewPrivs").as_str(), value("Seccomp").as_str()), ("1", "2"));
    if rustix::process::geteuid().is_root() {
        assert_eq!(value("Groups"), "");
    }
    assert_eq!(
        says(&*sandbox, "ls /proc/self/fd | wc -l; ls / | tr '\\n' ' '").await.lines().next(),
        Some("4")
    );
    assert_eq!(says(&*sandbox, "cat /proc/sys/user/max_user_namespaces").await, "0\n");
    assert_eq!(says(&*sandbox, "cat /sys/class 2>/dev/null || echo none").await, "none\n");
    assert_eq!(says(&*sandbox, "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '").await, "lo\n");
    sandbox.kill().await;
}

#[tokio::test]
async fn programs_get_their_arguments_environment_streams_and_status() {
    let bench = Bench::new();
    let spec = SandboxSpec { env: vec![("SESSION_VALUE".into(), "s".into())], ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    let mut wanted =
        command(&["sh", "-c", "cat; echo \"$0 $VALUE $SESSION_VALUE $PATH\" >&2; exit 7", "zero"]);
    wanted.env = vec![("VALUE".into(), "v".into())];
    wanted.workdir = Some("/tmp".into());
    let mut process = sandbox.spawn(wanted).await.unwrap();
    process.stdin.write_all(b"through the pipe").await.unwrap();
    let output = finish(process).await.unwrap();
    assert_eq!((output.status, output.stdout.as_str()), (ExitStatus::Code(7), "through the pipe"));
    assert!(
        output.stderr.starts_with("zero v s /home/agent/.local/bin:/usr/local/sbin:"),
        "{}",
        output.stderr
    );
    assert_eq!(run(&*sandbox, "kill -TERM $$").await.status, ExitStatus::Signal(15));
    sandbox.kill().await;
}

#[tokio::test]
async fn a_program_that_cannot_start_says_which_and_why() {
    let bench = Bench::new();
    let sandbox = bench.launch().await;
    let error = |result: Result<Process, SandboxError>| match result {
        Err(SandboxError::Spawn { stage, source, .. }) => (stage, source.raw_os_error()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        error(sandbox.spawn(command(&["no-such-program"])).await),
        ("exec".to_owned(), Some(libc::ENOENT))
    );
    assert_eq!(
        error(sandbox.spawn(command(&["/workspace/file"])).await),
        ("exec".to_owned(), Some(libc::EACCES))
    );
    assert_eq!(error(sandbox.spawn(command(&[])).await), ("request".to_owned(), Some(libc::EINVAL)));
    let elsewhere = Command { workdir: Some("/nowhere".into()), ..command(&["true"]) };
    assert_eq!(error(sandbox.spawn(elsewhere).await), ("workdir".to_owned(), Some(libc::ENOENT)));
    assert_eq!(says(&*sandbox, "echo still here").await, "still here\n");
    sandbox.kill().await;
}

#[tokio::test]
async fn a_terminal_is_one() {
    let bench = Bench::new();
    let sandbox = bench.launch().await;
    let stdio = Stdio::Terminal { size: Size { rows: 31, columns: 97 }, term: "xterm".into() };
    let text = "tty; stty size; echo $TERM; read x; echo got $x; stty size; ps -o tpgid= -p $$ | grep -q . && echo done";
    let mut process = sandbox.spawn(Command { stdio, ..script(text) }).await.unwrap();
    let mut said = String::new();
    let mut buffer = [0; 256];
    while !said.contains("xterm") {
        let count = process.stdout.read(&mut buffer).await.unwrap();
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    process.control.resize(Size { rows: 11, columns: 22 }).unwrap();
    process.stdin.write_all(b"hello\n").await.unwrap();
    process.stdout.read_to_string(&mut said).await.unwrap();
    assert_eq!(process.exit.await.unwrap(), ExitStatus::Code(0), "{said}");
    assert!(said.starts_with("/dev/pts/0\r\n31 97\r\nxterm\r\n"), "{said}");
    assert!(said.ends_with("got hello\r\n11 22\r\ndone\r\n"), "{said}");
    sandbox.kill().await;
}

#[tokio::test]
async fn signals_reach_the_whole_group() {
    let bench = Bench::new();
    let sandbox = bench.launch().await;
    let mut process = sandbox.spawn(script("sleep 1000 & echo ready; wait")).await.unwrap();
    process.stdout.read_exact(&mut [0; 6]).await.unwrap();
    process.control.signal(libc::SIGTERM).await.unwrap();
    assert_eq!(finish(process).await.unwrap().status, ExitStatus::Signal(libc::SIGTERM));
    sandbox.kill().await;
}

#[tokio::test]
async fn killing_ends_everything_also_what_hides() {
    let bench = Bench::new();
    let spec = bench.spec();
    let sandbox = bench.backend.launch(spec.clone()).await.unwrap();
    let marker = format!("10{}", std::process::id());
    let text = format!(
        "(setsid sh -c 'trap \"\" TERM HUP; echo hidden > /tmp/fifo; exec sleep {marker}' >/dev/null 2>&1 </dev/null &)"
    );
    assert_eq!(says(&*sandbox, &format!("mkfifo /tmp/fifo; {text}; cat /tmp/fifo")).await, "hidden\n");
    let open = sandbox.spawn(script(&format!("exec sleep {marker}"))).await.unwrap();
    assert_eq!(sandbox.kill().await, Ending::Killed);
    assert_eq!(processes_with(&marker), 0);
    assert!(matches!(open.exit.await, Err(SandboxError::Ended { ending: Ending::Killed })));
    assert!(matches!(sandbox.spawn(script("true")).await, Err(SandboxError::Ended { .. })));
    assert!(!spec.dir.join("pid").exists());
}

#[tokio::test]
async fn dropping_a_sandbox_ends_it() {
    let bench = Bench::new();
    let sandbox = bench.launch().await;
    let mut process = sandbox.spawn(script("echo ready; sleep 1000")).await.unwrap();
    process.stdout.read_exact(&mut [0; 6]).await.unwrap();
    drop(sandbox);
    assert!(matches!(process.exit.await, Err(SandboxError::Ended { ending: Ending::Killed })));
}

#[tokio::test]
async fn a_later_daemon_ends_what_is_left() {
    let bench = Bench::new();
    let spec = bench.spec();
    let sandbox = bench.backend.launch(spec.clone()).await.unwrap();
    let process = sandbox.spawn(script("sleep 1000")).await.unwrap();
    let later = NativeBackend::new(NativeConfig {
        instance: format!("test-{}", std::process::id()),
        protected: Vec::new(),
        disk_interval: Duration::from_secs(3600),
        carrier: Carrier::Descriptors,
        umask: 0o022,
    });
    later.unwrap().sweep(&spec.session, &spec.dir).await.unwrap();
    assert!(process.exit.await.is_err());
    assert_eq!(sandbox.ended().await, Ending::Lost);
}

#[tokio::test]
async fn a_fork_bomb_stays_inside() {
    let bench = Bench::new();
    let spec = SandboxSpec { limits: Limits { processes: 20, ..LIMITS }, ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    let text =
        "i=0; while [ $i -lt 40 ]; do sleep 1000 >/dev/null 2>&1 </dev/null & i=$((i+1)); done; echo all";
    let output = run(&*sandbox, text).await;
    assert!(!output.stdout.contains("all"), "{output:?}");
    sandbox.kill().await;
}

#[tokio::test]
async fn files_and_descriptors_are_limited() {
    let bench = Bench::new();
    let sandbox = bench.launch().await;
    let output =
        run(&*sandbox, "head -c 70000000 /dev/zero > big; stat -c %s big; ulimit -n; ulimit -c").await;
    assert_eq!(output.stdout, format!("{}\n256\n0\n", LIMITS.file_size_bytes));
    sandbox.kill().await;
}

#[tokio::test]
async fn memory_is_limited_where_it_can_be() {
    let bench = Bench::new();
    let spec = SandboxSpec { limits: Limits { memory_bytes: 64 << 20, ..LIMITS }, ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    let limited = sandbox.enforcement().enforced.iter().any(|line| line.starts_with("memory: 64 MiB"));
    let unlimited = sandbox.enforcement().unenforced.iter().any(|line| line.starts_with("memory: 64 MiB: "));
    assert!(limited != unlimited, "{:?}", sandbox.enforcement());
    if limited {
        let output = run(&*sandbox, "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c").await;
        assert_ne!(output.stdout, "150000000\n", "{output:?}");
    }
    sandbox.kill().await;
}

#[tokio::test]
async fn a_sandbox_with_too_much_on_disk_is_ended_and_says_so() {
    let bench = Bench::with(Duration::from_millis(20), Carrier::Descriptors);
    let spec = SandboxSpec { limits: Limits { disk_bytes: 1 << 20, ..LIMITS }, ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    let process = sandbox.spawn(script("head -c 5000000 /dev/zero > ~/big; sleep 1000")).await.unwrap();
    let ending = sandbox.ended().await;
    assert!(matches!(ending, Ending::DiskFull { used, limit } if used > limit), "{ending}");
    assert!(process.exit.await.is_err());
}

#[tokio::test]
async fn a_launch_that_fails_says_why_and_leaves_nothing() {
    let bench = Bench::new();
    let spec = SandboxSpec { layers: vec![bench.root.path().join("missing")], ..bench.spec() };
    match bench.backend.launch(spec.clone()).await.map(|_| ()) {
        Err(SandboxError::Unavailable { source, .. }) => {
            assert_eq!(source.errno, libc::ENOENT);
            assert!(source.what.ends_with("/missing"), "{}", source.what);
        }
        other => panic!("{other:?}"),
    }
    assert!(!spec.dir.join("pid").exists());
    let spec = SandboxSpec { tools: vec![bench.root.path().into()], ..bench.spec() };
    assert!(matches!(bench.backend.launch(spec).await.map(|_| ()), Err(SandboxError::Tool(_))));
}

#[tokio::test]
async fn tools_are_seen_at_their_own_path_and_cannot_be_written() {
    let bench = Bench::new();
    let tool = bench.root.path().join("install/bin");
    std::fs::create_dir_all(&tool).unwrap();
    std::fs::write(tool.join("hello-tool"), "#!/bin/sh\necho hello\n").unwrap();
    std::fs::set_permissions(tool.join("hello-tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let spec = SandboxSpec { tools: vec![tool.clone()], path: vec![tool.clone()], ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    assert_eq!(says(&*sandbox, "hello-tool").await, "hello\n");
    let outside = bench.root.path().join("base");
    let text = format!("touch {}/x 2>&1; ls {} 2>&1", tool.display(), outside.display());
    let output = run(&*sandbox, &text).await;
    assert!(output.stdout.contains("Read-only") || output.stdout.contains("denied"), "{output:?}");
    assert!(output.stdout.contains("No such file"), "{output:?}");
    sandbox.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_at_once_do_not_see_one_another() {
    let bench = Arc::new(Bench::new());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let bench = Arc::clone(&bench);
        tasks.spawn(async move {
            let sandbox = bench.launch().await;
            let text = format!(
                "echo {n} > mine; echo {n} > /tmp/mine; cat mine /tmp/mine; ls | wc -l; ls /tmp | wc -l"
            );
            assert_eq!(says(&*sandbox, &text).await, format!("{n}\n{n}\n4\n1\n"));
            sandbox.kill().await;
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn the_doctor_finds_that_it_works() {
    let bench = Bench::new();
    let scratch = bench.root.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let checks = bench.backend.doctor(&scratch, LIMITS).await;
    assert!(checks.iter().all(|check| check.outcome != Outcome::Failed), "{checks:#?}");
    assert!(checks.iter().any(|check| check.name == "sandbox"));
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
}
