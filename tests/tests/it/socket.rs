//! Who may speak to the daemon.

use std::os::unix::fs::PermissionsExt as _;

use ftl_tests::client::Client;
use ftl_tests::world::{Who, World};

#[test]
fn the_socket_is_private_and_only_one_daemon_has_it() {
    for who in World::everybody() {
        let world = World::new(who);
        world.ok(["daemon", "start"]);
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&world.socket()), 0o600);
        assert_eq!(mode(world.socket().parent().unwrap()), 0o700);
        assert_eq!(mode(&world.ftl_home()), 0o700);
        let second = ftl_tests::world::said(
            world.command(ftl_tests::world::programs().join("ftld")).arg("serve").output().unwrap(),
        );
        assert_eq!(second.code, 1, "{second:#?}");
        assert!(second.err.contains("another ftld"), "{second:#?}");
        let pid = world.daemon_pid();
        world.ok(["daemon", "start"]);
        assert_eq!(world.daemon_pid(), pid);
    }
}

#[test]
fn a_stale_socket_is_replaced_and_a_foreign_file_is_not() {
    let world = World::new(Who::Me);
    world.ok(["daemon", "start"]);
    let pid = rustix::process::Pid::from_raw(world.daemon_pid()).unwrap();
    let gone = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let mut wait = [rustix::event::PollFd::new(&gone, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut wait, None).unwrap();
    assert!(world.socket().exists(), "a killed daemon leaves its socket");
    world.ok(["daemon", "start"]);
    world.ok(["daemon", "stop"]);
    std::fs::remove_file(world.socket()).unwrap_or_default();
    std::fs::write(world.socket(), "mine").unwrap();
    let said = world.run(["daemon", "start"]);
    assert_eq!(said.code, 5, "{said:#?}");
    assert_eq!(std::fs::read_to_string(world.socket()).unwrap(), "mine");
    std::fs::remove_file(world.socket()).unwrap();
}

#[test]
fn a_state_directory_that_others_can_enter_is_refused() {
    let world = World::new(Who::Me);
    std::fs::create_dir_all(world.ftl_home()).unwrap();
    std::fs::set_permissions(world.ftl_home(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = world.run(["daemon", "start"]);
    assert_eq!(said.code, 5, "{said:#?}");
    assert!(said.err.contains("private") || said.err.contains("700"), "{said:#?}");
}

#[test]
fn a_peer_in_other_namespaces_is_refused_though_it_is_the_same_user() {
    for who in World::everybody() {
        let world = World::new(who);
        world.ok(["daemon", "start"]);
        let ftlctl = ftl_tests::world::programs().join("ftlctl");
        for flags in [&["--user", "--map-root-user"][..], &["--user", "--map-root-user", "--mount"]] {
            let mut command = world.command("unshare");
            command.args(flags).arg(&ftlctl).args(["--no-start", "daemon", "status"]);
            let said = ftl_tests::world::said(command.output().unwrap());
            assert_eq!(said.code, 5, "{who:?} {flags:?}: {said:#?}");
        }
        world.ok(["daemon", "status"]);
    }
}

#[test]
fn another_user_is_refused() {
    if World::everybody().len() < 2 {
        return;
    }
    let world = World::new(Who::Ordinary);
    world.ok(["daemon", "start"]);
    // Root reaches the socket whatever its mode; the daemon refuses it all the same.
    let mut other = std::process::Command::new(ftl_tests::world::programs().join("ftlctl"));
    other.env_clear().env("HOME", world.home()).args(["--no-start", "daemon", "status"]);
    let said = ftl_tests::world::said(other.output().unwrap());
    assert_eq!(said.code, 5, "{said:#?}");
}

#[test]
fn health_and_reflection_answer_on_the_socket() {
    let world = World::new(Who::Me);
    world.ok(["daemon", "start"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&world.socket()).await.unwrap();
        let mut health = tonic_health::pb::health_client::HealthClient::new(client.channel.clone());
        let request = tonic_health::pb::HealthCheckRequest { service: "ftl.v1.SessionService".into() };
        let reply = health.check(request).await.unwrap().into_inner();
        assert_eq!(reply.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);

        use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::v1::{
            ServerReflectionRequest, server_reflection_response::MessageResponse,
        };
        let mut reflection = ServerReflectionClient::new(client.channel);
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut replies =
            reflection.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
        let reply = replies.message().await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::ListServicesResponse(list) = reply else { panic!("{reply:?}") };
        let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
        for service in ["Daemon", "Session", "Review", "Snapshot", "Event"] {
            assert!(names.contains(&format!("ftl.v1.{service}Service").as_str()), "{names:?}");
        }
    });
}

#[test]
fn a_state_directory_may_lie_deeper_than_a_sockets_address_reaches() {
    let world = World::new(Who::Me);
    let deep = world.root().join("a-directory-with-a-rather-long-name".repeat(5));
    std::fs::create_dir(&deep).unwrap();
    let ctl = |args: &[&str]| {
        let mut command = world.ftlctl(args);
        ftl_tests::world::said(command.env("FTL_HOME", deep.join("ftl")).output().unwrap())
    };
    let status = ctl(&["--json", "daemon", "start"]);
    assert_eq!(status.code, 0, "{status:#?}");
    assert_eq!(ctl(&["--no-start", "daemon", "status"]).code, 0);
    assert_eq!(ctl(&["daemon", "stop"]).code, 0);
}
