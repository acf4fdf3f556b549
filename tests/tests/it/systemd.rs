//! The user units: a passed descriptor, a notification, a clean end.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Stdio;

use ftl_tests::repo;
use ftl_tests::world::{Who, World, programs};

#[test]
fn the_daemon_serves_on_a_passed_socket_and_notifies_when_it_does() {
    let world = World::new(Who::Me);
    let run = world.ftl_home().join("run");
    std::fs::create_dir_all(&run).unwrap();
    for dir in [world.ftl_home(), run] {
        std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    let listener = UnixListener::bind(world.socket()).unwrap();
    let notify = world.root().join("notify");
    let notified = UnixDatagram::bind(&notify).unwrap();
    // As systemd does it: descriptor 3, and LISTEN_PID is the process itself. A shell knows its own pid.
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve";
    let mut command = world.command("sh");
    command.arg("-c").arg(script).arg(programs().join("ftld"));
    command.env("NOTIFY_SOCKET", &notify);
    command.stdin(Stdio::from(listener.as_fd().try_clone_to_owned().unwrap())).stderr(Stdio::null());
    let mut daemon = command.spawn().unwrap();
    let mut message = [0; 64];
    let count = notified.recv(&mut message).unwrap();
    assert!(message[..count].starts_with(b"READY=1"), "{:?}", &message[..count]);
    let status = world.json(0, ["--no-start", "daemon", "status"]);
    assert_eq!(status["pid"], daemon.id());
    assert!(listener.as_raw_fd() >= 0);
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    assert!(world.socket().exists(), "a passed socket belongs to the service manager");
}

#[test]
fn the_units_say_what_the_daemon_needs() {
    let read = |name: &str| std::fs::read_to_string(repo::root().join("systemd").join(name)).unwrap();
    let service = read("ftld.service");
    for line in ["Type=notify", "Delegate=memory pids cpu", "UMask=0077", "NoNewPrivileges=yes", "ftld serve"]
    {
        assert!(service.contains(line), "{line}");
    }
    // Any of these would put the daemon into a mount or user namespace of its own.
    for setting in
        ["ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateUsers", "ReadOnlyPaths", "BindPaths"]
    {
        assert!(!service.lines().any(|line| line.starts_with(setting)), "{setting}");
    }
    let socket = read("ftld.socket");
    for line in ["ListenStream=%t/ftl/ftld.sock", "SocketMode=0600", "DirectoryMode=0700"] {
        assert!(socket.contains(line), "{line}");
    }
}
