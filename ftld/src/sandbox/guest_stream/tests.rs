//! The daemon's half against a real guest, and against one that is played here and does not keep the rules.

mod hostile;

use std::ffi::OsString;
use std::process::Stdio as ChildStdio;

use ftl_guest::protocol::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Child;

use super::super::linux::image::Image;
use super::super::{Command, ExitStatus, SandboxError, Size, Stdio};
use super::*;

const SETUP: Setup = Setup {
    limits: Limits { processes: 100, file_size: 64 << 20, open_files: 128, shared_memory: 1 << 20 },
    umask: 0o022,
};

/// A real guest in a process namespace of its own.
struct Bench {
    guest: Guest,
    inside: Inside,
    child: Child,
    ended: watch::Sender<Option<Ending>>,
}

impl Bench {
    async fn new() -> Self {
        let image = Image::new().unwrap();
        let program = image.path().to_string_lossy().replace("self", &std::process::id().to_string());
        let (here, there) = UnixStream::pair().unwrap();
        let there = std::os::fd::OwnedFd::from(there.into_std().unwrap());
        // The program is only in memory; a shell keeps it open for the one that becomes it.
        let script = "exec 9<\"$0\" unshare --user --map-root-user --pid --fork --kill-child --mount-proc \
                      --net /bin/bash -c 'exec /proc/self/fd/9 serve'";
        let child = tokio::process::Command::new("/bin/bash")
            .args(["-c", script, &program])
            .stdin(there.try_clone().unwrap())
            .stdout(ChildStdio::from(there))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (reader, writer) = here.into_split();
        let (guest, inside) = open(reader, writer, SETUP).await.unwrap();
        Self { guest, inside, child, ended: watch::Sender::new(None) }
    }

    async fn spawn(&self, command: Command) -> Result<Process, SandboxError> {
        let base = [("PATH".into(), "/usr/bin:/bin".into()), ("BASE".into(), "b".into())];
        self.guest.spawn(command, &base, self.ended.subscribe()).await
    }

    async fn run(&self, text: &str) -> (ExitStatus, String, String) {
        finish(self.spawn(script(text)).await.unwrap()).await
    }
}

fn command(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(OsString::from).collect(),
        env: Vec::new(),
        workdir: Some("/".into()),
        stdio: Stdio::Pipes,
    }
}

fn script(text: &str) -> Command {
    command(&["/bin/bash", "-c", text])
}

async fn finish(mut process: Process) -> (ExitStatus, String, String) {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    drop(process.stdin);
    let mut errors = process.stderr.take().unwrap();
    let (read, also) =
        tokio::join!(process.stdout.read_to_string(&mut stdout), errors.read_to_string(&mut stderr));
    read.and(also).unwrap();
    (process.exit.await.unwrap(), stdout, stderr)
}

#[tokio::test]
async fn a_guest_says_what_it_found_and_confines_itself() {
    let bench = Bench::new().await;
    let inside = &bench.inside;
    assert_eq!((inside.pid, inside.uid, inside.capabilities), (1, 0, 0));
    assert!(inside.no_new_privileges && inside.has_bash && !inside.filtered_before, "{inside:?}");
    assert_eq!(inside.interfaces, ["lo"]);
    let (_, said, _) = bench.run("grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status").await;
    assert_eq!(said, "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n");
    let (_, said, _) = bench.run("ulimit -n; ulimit -f; ulimit -c; ls /proc/self/fd | wc -l; umask").await;
    assert_eq!(said, "128\n65536\n0\n4\n0022\n");
}

#[tokio::test]
async fn programs_get_their_arguments_environment_streams_and_status() {
    let bench = Bench::new().await;
    let mut wanted = command(&["bash", "-c", "cat; echo \"$0 $VALUE $BASE\" >&2; exit 7", "zero"]);
    wanted.env = vec![("VALUE".into(), "v".into())];
    let mut process = bench.spawn(wanted).await.unwrap();
    process.stdin.write_all(b"through the pipe").await.unwrap();
    let expected = (ExitStatus::Code(7), "through the pipe".to_owned(), "zero v b\n".to_owned());
    assert_eq!(finish(process).await, expected);
    assert_eq!(bench.run("kill -TERM $$").await.0, ExitStatus::Signal(15));
}

#[tokio::test]
async fn a_program_that_cannot_start_says_which_and_why() {
    let bench = Bench::new().await;
    let elsewhere = Command { workdir: Some("/no/such/directory".into()), ..command(&["true"]) };
    for (wanted, step, errno) in [
        (command(&["no-such-program"]), "exec", libc::ENOENT),
        (command(&["/etc/passwd"]), "exec", libc::EACCES),
        (command(&[]), "request", libc::EINVAL),
        (elsewhere, "workdir", libc::ENOENT),
    ] {
        match bench.spawn(wanted).await {
            Err(SandboxError::Spawn { stage, source, .. }) => {
                assert_eq!((stage.as_str(), source.raw_os_error()), (step, Some(errno)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.run("echo still here").await.1, "still here\n");
}

#[tokio::test]
async fn a_terminal_is_one_and_hangs_up_when_it_is_let_go() {
    let bench = Bench::new().await;
    let stdio = Stdio::Terminal { size: Size { rows: 31, columns: 97 }, term: "xterm".into() };
    let text = "trap 'exit 9' HUP; stty size; echo $TERM; read x; echo got $x; stty size; read y; exit 8";
    let mut process = bench.spawn(Command { stdio, ..script(text) }).await.unwrap();
    assert!(process.stderr.is_none());
    let mut said = String::new();
    let mut buffer = [0; 256];
    while !said.contains("xterm") {
        let count = process.stdout.read(&mut buffer).await.unwrap();
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    process.control.resize(Size { rows: 11, columns: 22 }).unwrap();
    process.stdin.write_all(b"hello\n").await.unwrap();
    while !said.contains("11 22\r\n") {
        let count = process.stdout.read(&mut buffer).await.unwrap();
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert_eq!(said, "31 97\r\nxterm\r\nhello\r\ngot hello\r\n11 22\r\n");
    drop((process.stdin, process.stdout));
    assert_eq!(process.exit.await.unwrap(), ExitStatus::Code(9));
}

#[tokio::test]
async fn signals_reach_the_whole_group() {
    let bench = Bench::new().await;
    let mut process = bench.spawn(script("sleep 1000 & echo ready; wait")).await.unwrap();
    process.stdout.read_exact(&mut [0; 6]).await.unwrap();
    process.control.signal(libc::SIGTERM).await.unwrap();
    assert_eq!(finish(process).await.0, ExitStatus::Signal(libc::SIGTERM));
}

#[tokio::test]
async fn much_goes_through_and_a_reader_that_does_not_read_holds_up_nobody() {
    let bench = Bench::new().await;
    let stuck = bench.spawn(script("exec yes")).await.unwrap();
    let mut deaf = bench.spawn(script("sleep 1000")).await.unwrap();
    let writing = tokio::spawn(async move {
        let sent = deaf.stdin.write_all(&vec![0; 2 * ftl_guest::stream::WINDOW]).await;
        (sent.is_err(), deaf)
    });
    let text = "tee >(md5sum >&2) | cat";
    let mut through = bench.spawn(script(text)).await.unwrap();
    let sent: Vec<u8> = (0..20_000_000_u32).map(|n| (n >> 3) as u8 ^ n as u8).collect();
    let (mut stdin, expected) = (through.stdin, sent.clone());
    let feeding = tokio::spawn(async move {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    through.stdout.read_to_end(&mut got).await.unwrap();
    assert!(got == expected, "{} of {} bytes", got.len(), expected.len());
    feeding.await.unwrap();
    assert_eq!(through.exit.await.unwrap(), ExitStatus::Code(0));
    // Whoever writes for nobody is told, as with a pipe.
    drop(stuck.stdout);
    assert_eq!(stuck.exit.await.unwrap(), ExitStatus::Signal(libc::SIGPIPE));
    bench.guest.close();
    assert!(writing.await.unwrap().0);
}

#[tokio::test]
async fn what_a_program_had_written_comes_before_its_end_and_its_childrens_after() {
    let bench = Bench::new().await;
    for _ in 0..50 {
        let process = bench.spawn(script("head -c 60000 /dev/zero; echo x >&2; exit 3")).await.unwrap();
        assert_eq!(process.exit.await.unwrap(), ExitStatus::Code(3));
        let (mut stdout, mut stderr) = (process.stdout, process.stderr.unwrap());
        // Nothing more is sent after its end; what counts has arrived.
        let mut buffer = vec![0; 60000];
        stdout.read_exact(&mut buffer).await.unwrap();
        stderr.read_exact(&mut buffer[..2]).await.unwrap();
    }
    let text = "(read line < /proc/self/fd/0; echo late) <&0 & exit 0";
    let mut process = bench.spawn(script(text)).await.unwrap();
    assert_eq!(process.exit.await.unwrap(), ExitStatus::Code(0));
    process.stdin.write_all(b"go\n").await.unwrap();
    let mut said = String::new();
    process.stdout.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "late\n");
}

#[tokio::test]
async fn a_program_that_does_not_read_its_input_tells_the_writer() {
    let bench = Bench::new().await;
    let mut process = bench.spawn(script("exec <&-; echo closed; sleep 1000")).await.unwrap();
    process.stdout.read_exact(&mut [0; 7]).await.unwrap();
    let error = loop {
        if let Err(error) = process.stdin.write_all(b"x").await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_programs_run_and_nothing_is_left_of_them() {
    let bench = Bench::new().await;
    // When the input has ended, the guest has closed its end of it. The shell itself counts processes: of a
    // pipeline, one may look before the other has begun.
    let open = "cat; ls /proc/1/fd 2>/dev/null | wc -l; set -- /proc/[0-9]*; echo $#";
    let before = bench.run(open).await.1;
    for _ in 0..10 {
        let mut running = Vec::new();
        for n in 0..100 {
            running.push((n, bench.spawn(script(&format!("echo {n}; exit {n}"))).await.unwrap()));
        }
        for (n, process) in running {
            assert_eq!(finish(process).await, (ExitStatus::Code(n), format!("{n}\n"), String::new()));
        }
    }
    assert_eq!(bench.run(open).await.1, before);
    assert_eq!(bench.guest.shared.known(), 0);
}

#[tokio::test]
async fn the_end_of_the_stream_ends_everything_and_what_was_said_is_still_heard() {
    let mut bench = Bench::new().await;
    let mut process = bench.spawn(script("echo said; sleep 1000")).await.unwrap();
    process.stdout.read_exact(&mut [0; 1]).await.unwrap();
    bench.ended.send_replace(Some(Ending::Killed));
    bench.guest.close();
    assert!(!bench.child.wait().await.unwrap().success() || bench.child.id().is_none());
    let mut rest = String::new();
    process.stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "aid\n");
    assert!(matches!(process.exit.await, Err(SandboxError::Ended { ending: Ending::Killed })));
    assert!(matches!(bench.spawn(script("true")).await, Err(SandboxError::Ended { .. })));
}
