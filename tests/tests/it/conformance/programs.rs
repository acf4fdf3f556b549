//! Programs, limits, terminals and ends.

use super::*;

pub(super) async fn files_behave_as_in_a_directory_of_ones_own(bench: &Bench) {
    let (uid, gid) = bench.ids();
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
        format!("{uid}\n{gid}\nagent\n/home/agent\nftl\n0\n")
    );
    sandbox.kill().await;

    assert_eq!(std::fs::read_to_string(upper.join("new/moved")).unwrap(), "from the base\nmore\n");
    assert_eq!(std::fs::read_link(upper.join("new/link")).unwrap(), Path::new("../x"));
    assert!(upper.join("a\nb").exists() && upper.join("-dash").exists());
    assert_eq!(std::fs::read_to_string(bench.root.path().join("base/file")).unwrap(), "from the base\n");
    assert!(bench.root.path().join("base/sub/deep/gone").exists());
}

pub(super) async fn a_session_goes_on_where_it_was(bench: &Bench) {
    let spec = bench.spec();
    let sandbox = bench.backend.launch(spec.clone()).await.unwrap();
    says(&*sandbox, "echo one > kept; echo two > ~/kept; echo three > /tmp/kept").await;
    sandbox.kill().await;
    let sandbox = bench.backend.launch(spec).await.unwrap();
    assert_eq!(says(&*sandbox, "cat kept ~/kept /tmp/kept /var/tmp/kept").await, "one\ntwo\nthree\nthree\n");
    sandbox.kill().await;
}

pub(super) async fn nobody_in_it_has_any_privilege(bench: &Bench) {
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
        let (_, gid) = bench.ids();
        assert!(value("Groups").is_empty() || value("Groups") == gid.to_string(), "{status}");
    }
    assert_eq!(
        says(&*sandbox, "ls /proc/self/fd | wc -l; ls / | tr '\\n' ' '").await.lines().next(),
        Some("4")
    );
    let namespace = run(&*sandbox, "unshare --user true").await;
    assert_ne!(namespace.status, ExitStatus::Code(0), "{namespace:?}");
    assert_eq!(says(&*sandbox, "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '").await, "lo\n");
    sandbox.kill().await;
}

pub(super) async fn programs_get_their_arguments_environment_streams_and_status(bench: &Bench) {
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

pub(super) async fn a_program_that_cannot_start_says_which_and_why(bench: &Bench) {
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

pub(super) async fn a_terminal_is_one(bench: &Bench) {
    let sandbox = bench.launch().await;
    let stdio = Stdio::Terminal { size: Size { rows: 31, columns: 97 }, term: "xterm".into() };
    let text = "tty; stty size; echo $TERM; read x; echo got $x; stty size; [ $(cut -d' ' -f8 /proc/$$/stat) -gt 0 ] && echo done";
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

pub(super) async fn signals_reach_the_whole_group(bench: &Bench) {
    let sandbox = bench.launch().await;
    let mut process = sandbox.spawn(script("sleep 1000 & echo ready; wait")).await.unwrap();
    process.stdout.read_exact(&mut [0; 6]).await.unwrap();
    process.control.signal(libc::SIGTERM).await.unwrap();
    assert_eq!(finish(process).await.unwrap().status, ExitStatus::Signal(libc::SIGTERM));
    sandbox.kill().await;
}

pub(super) async fn killing_ends_everything_also_what_hides(bench: &Bench) {
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

pub(super) async fn dropping_a_sandbox_ends_it(bench: &Bench) {
    let sandbox = bench.launch().await;
    let mut process = sandbox.spawn(script("echo ready; sleep 1000")).await.unwrap();
    process.stdout.read_exact(&mut [0; 6]).await.unwrap();
    drop(sandbox);
    assert!(matches!(process.exit.await, Err(SandboxError::Ended { ending: Ending::Killed })));
}

pub(super) async fn a_fork_bomb_stays_inside(bench: &Bench) {
    let spec = SandboxSpec { limits: Limits { processes: 20, ..LIMITS }, ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    let text =
        "i=0; while [ $i -lt 40 ]; do sleep 1000 >/dev/null 2>&1 </dev/null & i=$((i+1)); done; echo all";
    let output = run(&*sandbox, text).await;
    assert!(!output.stdout.contains("all"), "{output:?}");
    sandbox.kill().await;
}

pub(super) async fn files_and_descriptors_are_limited(bench: &Bench) {
    let sandbox = bench.launch().await;
    let output =
        run(&*sandbox, "head -c 70000000 /dev/zero > big; stat -c %s big; ulimit -n; ulimit -c").await;
    assert_eq!(output.stdout, format!("{}\n256\n0\n", LIMITS.file_size_bytes));
    sandbox.kill().await;
}

pub(super) async fn memory_is_limited_where_it_can_be(bench: &Bench) {
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

pub(super) async fn a_sandbox_with_too_much_on_disk_is_ended_and_says_so(bench: &Bench) {
    let bench = &bench.measuring(Duration::from_millis(20));
    let spec = SandboxSpec { limits: Limits { disk_bytes: 1 << 20, ..LIMITS }, ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    let spawned = sandbox.spawn(script("head -c 5000000 /dev/zero > ~/big; sleep 1000")).await;
    let ending = sandbox.ended().await;
    assert!(matches!(ending, Ending::DiskFull { used, limit } if used > limit), "{ending}");
    // It may have ended before anybody heard that the program was started.
    let ended = match spawned {
        Ok(process) => process.exit.await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(ended, Err(SandboxError::Ended { .. })), "{ended:?}");
}

pub(super) async fn files_without_a_byte_fill_a_disk_too(bench: &Bench) {
    let bench = &bench.measuring(Duration::from_millis(20));
    let spec = SandboxSpec { limits: Limits { disk_bytes: 4 << 20, ..LIMITS }, ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    let make = "mkdir ~/m; for a in $(seq 2000); do : > ~/m/$a; done; sleep 1000";
    let _spawned = sandbox.spawn(script(make)).await;
    let ending = sandbox.ended().await;
    assert!(matches!(ending, Ending::DiskFull { used, limit } if used > limit), "{ending}");
}

pub(super) async fn what_an_earlier_daemon_left_is_ended(bench: &Bench) {
    let spec = bench.spec();
    let sandbox = bench.backend.launch(spec.clone()).await.unwrap();
    let process = sandbox.spawn(script("sleep 1000")).await.unwrap();
    let later = backend(bench.kind, bench.root.path(), SELDOM);
    later.sweep(&spec.session, &spec.dir).await.unwrap();
    assert!(process.exit.await.is_err());
    assert!(matches!(sandbox.ended().await, Ending::Lost | Ending::Gone { .. }));
    later.sweep(&spec.session, &spec.dir).await.unwrap();
}

pub(super) async fn a_launch_that_fails_leaves_nothing(bench: &Bench) {
    let spec = SandboxSpec { layers: vec![bench.root.path().join("missing")], ..bench.spec() };
    let Err(error) = bench.backend.launch(spec.clone()).await.map(|_| ()) else { panic!("it was launched") };
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    assert!(text.contains("missing") || text.contains("no such file"), "{text}");
    assert!(!spec.dir.join("pid").exists());
    let spec = SandboxSpec { layers: vec![bench.root.path().join("base")], ..spec };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    assert_eq!(says(&*sandbox, "cat file").await, "from the base\n");
    sandbox.kill().await;
}

pub(super) async fn twenty_at_once_do_not_see_one_another(bench: &Bench) {
    let all = (0..20).map(|n| async move {
        let sandbox = bench.launch().await;
        let text =
            format!("echo {n} > mine; echo {n} > /tmp/mine; cat mine /tmp/mine; ls | wc -l; ls /tmp | wc -l");
        assert_eq!(says(&*sandbox, &text).await, format!("{n}\n{n}\n4\n1\n"));
        sandbox.kill().await;
    });
    futures_util::future::join_all(all).await;
}

pub(super) async fn a_thousand_programs_one_after_the_other(bench: &Bench) {
    let sandbox = bench.launch().await;
    let before = says(&*sandbox, "set -- /proc/[0-9]*; echo $#").await;
    for n in 0..1000 {
        let output = finish(sandbox.spawn(command(&["/bin/echo", "x"])).await.unwrap()).await.unwrap();
        assert_eq!((output.status, output.stdout.as_str()), (ExitStatus::Code(0), "x\n"), "{n}");
    }
    assert_eq!(says(&*sandbox, "set -- /proc/[0-9]*; echo $#").await, before);
    sandbox.kill().await;
}
